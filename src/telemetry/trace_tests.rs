use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn traceparent_is_read_by_the_letter() {
    let good = TraceParent::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(good.header(), GOOD);
    assert!(good.sampled && !TraceParent::parse(GOOD.replace("-01", "-00").as_bytes()).unwrap().sampled);
    // later versions may say more, and unknown flags are no reason to refuse
    assert_eq!(TraceParent::parse(format!("cc{}-what", &GOOD[2..]).as_bytes()), Some(good));
    assert_eq!(TraceParent::parse(GOOD.replace("-01", "-ff").as_bytes()), Some(good));
    for bad in [
        String::new(),
        GOOD[..54].into(),
        format!("{GOOD}-what"),
        format!("{GOOD} "),
        format!(" {GOOD}"),
        format!("cc{}.what", &GOOD[2..]),
        GOOD.to_uppercase(),
        GOOD.replace("00-4b", "ff-4b"),
        GOOD.replace("00-4b", "0x-4b"),
        GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
        GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902bg"),
        GOOD.replace('-', "_"),
        // the fields' lengths moved against each other
        "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01".into(),
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b701-".into(),
    ] {
        assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn samplers_have_the_standards_names() {
    let parent = |sampled| TraceParent { trace_id: 1, span_id: 1, sampled };
    let on = Sampler::named("always_on", None).unwrap();
    assert!(on.samples(1, Some(&parent(false))) && on.samples(1, None));
    let off = Sampler::named("always_off", None).unwrap();
    assert!(!off.samples(1, Some(&parent(true))) && !off.samples(u128::MAX, None) && !off.samples(0, None));
    let based = Sampler::named("parentbased_always_on", None).unwrap();
    assert!(!based.samples(1, Some(&parent(false))) && based.samples(1, Some(&parent(true))) && based.samples(1, None));
    let based = Sampler::named("parentbased_traceidratio", Some(0.0)).unwrap();
    assert!(based.samples(1, Some(&parent(true))) && !based.samples(1, None));
    assert_eq!(Sampler::named("sometimes", None), None);
    let quarter = Sampler::named("traceidratio", Some(0.25)).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let sampled = (0..10_000).filter(|_| quarter.samples(random.u128(..), None)).count();
    assert!((2300..2700).contains(&sampled), "{sampled}");
}

fn tracer(sampler: &str) -> Tracer {
    let metrics = crate::telemetry::Metrics::new().unwrap();
    Tracer { sampler: Sampler::named(sampler, None).unwrap(), queue: Arc::new(Queue::new(16, metrics.spans.clone())) }
}

#[test]
fn a_trace_is_continued_only_by_one_valid_header() {
    let tracer = tracer("parentbased_always_on");
    let begin = |headers: &[&str]| tracer.begin(headers.iter().map(|header| header.as_bytes()));
    let trace = begin(&[GOOD]);
    assert!(trace.continues());
    let (parent, python) = (TraceParent::parse(GOOD.as_bytes()).unwrap(), trace.for_python());
    assert_eq!(python.trace_id, parent.trace_id);
    assert!(python.sampled && python.span_id != parent.span_id && python.span_id != trace.own.span_id);
    for headers in [&[][..], &[GOOD, GOOD], &["nonsense"]] {
        let trace = begin(headers);
        assert!(!trace.continues() && trace.for_python().trace_id != parent.trace_id && trace.for_python().sampled);
    }
    assert!(!begin(&[&GOOD.replace("-01", "-00")]).for_python().sampled);
}
