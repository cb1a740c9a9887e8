use super::*;

fn recorder(folder: &Path, max_cases: usize, routes: &[&str]) -> Arc<Recorder> {
    let options = Options {
        out: folder.to_owned(),
        max_cases,
        max_body: 64,
        percent: 100.0,
        routes: routes.iter().map(|route| (*route).to_owned()).collect(),
        rules: Rules::default(),
    };
    Recorder::start(options, Metrics::new().unwrap(), Box::new(|| (None, Vec::new()))).unwrap()
}

fn begin(recorder: &Recorder, route: &str) -> Option<Tap> {
    recorder.begin(route, &Method::POST, "/v1/messages", &HeaderMap::new())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn cases_are_written_whole_for_the_owner_and_no_more_than_wanted() {
    use std::os::unix::fs::PermissionsExt;
    let dir = crate::manifest::testing::TempDir::new();
    let recorder = recorder(dir.path(), 2, &[]);
    for route in ["unlisted", "other"] {
        assert!(begin(&recorder, route).is_none(), "what has no name is not recorded unasked");
    }
    for _ in 0..2 {
        let tap = begin(&recorder, "messages").unwrap();
        tap.body(b"{\"a\":1}");
        tap.answer_head(http::StatusCode::OK, vec![("content-type".into(), b"application/json".to_vec())]);
        tap.answer(b"{\"b\":2}");
        recorder.finish(&tap, Served::Native);
    }
    recorder.flush().await;
    assert!(begin(&recorder, "messages").is_none(), "two were wanted");
    let found = files(&dir.path().join("cases/messages"));
    assert_eq!(found.len(), 2, "{found:?}");
    for file in &found {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(file.extension().is_some_and(|extension| extension == "yaml"));
    }
    let cases = crate::parity::case::load(&dir.path().join("cases")).unwrap();
    assert_eq!(cases[0].requests[0].json.as_ref().unwrap()["a"], 1);
}

#[tokio::test]
async fn memory_is_bounded_and_what_does_not_fit_is_counted() {
    let dir = crate::manifest::testing::TempDir::new();
    let recorder = recorder(dir.path(), 1000, &["messages"]);
    assert!(begin(&recorder, "models").is_none());
    let taps: Vec<Tap> = (0..SLOTS).map(|_| begin(&recorder, "messages").unwrap()).collect();
    assert!(begin(&recorder, "messages").is_none());
    assert_eq!(recorder.counts.dropped.load(Ordering::Relaxed), 1);
    taps[0].answer(&[b'x'; 40]);
    taps[0].answer(&[b'x'; 40]);
    assert!(taps[0].with(|taken| taken.answer.over && taken.answer.bytes.capacity() == 0));
    recorder.finish(&taps[0], Served::Native);
    drop(taps);
    recorder.flush().await;
    assert_eq!(recorder.counts.skipped.lock().unwrap().get("too_large"), Some(&1));
    // the places are free again, once the writer has let go
    for _ in 0..100 {
        if recorder.slots.load(Ordering::Acquire) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begin(&recorder, "messages").is_some());
}

#[test]
fn a_providers_call_belongs_to_the_request_whose_texts_it_carries() {
    let dir = crate::manifest::testing::TempDir::new();
    let recorder = recorder(dir.path(), 10, &[]);
    let ask = |text: &str| {
        let tap = begin(&recorder, "messages").unwrap();
        tap.with(|taken| taken.body.bytes = format!("{{\"messages\":[{{\"content\":\"{text}\"}}]}}").into_bytes());
        tap
    };
    let call = |text: &str| recorder.owner(format!("{{\"x\":1,\"messages\":[{{\"content\":\"{text}\"}}]}}").as_bytes());
    let python = recorder.metrics.in_flight(Side::Python);
    let one = ask("the first question");
    python.inc();
    assert!(call("the first question").is_some() && !one.with(|taken| taken.unsure));
    assert!(call("another text entirely").is_none(), "not even where it is alone");
    let two = ask("the second question");
    python.inc();
    assert!(call("the second question").is_some());
    assert!(two.with(|taken| taken.unsure) && !two.with(|taken| taken.spoiled));
    let same = ask("the second question");
    assert!(call("the second question").is_none());
    let own = ask("a third question");
    own.edge_calls();
    assert!(call("a third question").is_none(), "the edge's own call by way of the forwarder is noted already");
    assert!(two.with(|taken| taken.spoiled) && same.with(|taken| taken.spoiled) && !one.with(|taken| taken.spoiled));
}
