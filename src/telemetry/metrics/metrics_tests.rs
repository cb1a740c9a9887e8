//! The table and the registry are the same list.
use super::*;
use crate::routes::Decline;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).unwrap()
}

/// Touches everything, so that each metric has a series.
fn exercised() -> Metrics {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("r");
    for side in [Side::Python, Side::Native, Side::Edge] {
        route.answered(&metrics, side, 200, 0.003, Some(0.001));
        route.bytes(&metrics, side, 10, 20);
        route.aborted(&metrics, side, AbortedBy::Client);
    }
    route.declined(&metrics, Decline::Field);
    route.waited(&metrics, 0.1);
    route.replayed(&metrics);
    route.resent(&metrics);
    metrics.provider_calls.with_label_values(&["2xx"]).observe(0.1);
    metrics.python_errors.with_label_values(&["cut"]).inc();
    metrics.before_reading(|metrics| {
        for gauges in [&metrics.route_wanted, &metrics.route_native, &metrics.evidence_fresh] {
            gauges.with_label_values(&["r"]).set(1);
        }
        metrics.evidence_age.with_label_values(&["r"]).set(1.5);
        metrics.store_up.with_label_values(&["postgres"]).set(1);
        metrics.given_up(1, 2, 3);
    });
    metrics.spans.with_label_values(&["sent"]).inc();
    metrics.reloaded("config", true);
    metrics.upgrades.with_label_values(&["handed_over"]).inc();
    metrics
}

#[test]
fn every_metric_of_the_table_is_registered_with_its_type_and_labels_and_no_other() {
    let metrics = exercised();
    text(&metrics); // reading is what fills some
    let families = metrics.registry.gather();
    let mut found: Vec<&str> = families.iter().map(prometheus::proto::MetricFamily::name).collect();
    let mut listed: Vec<&str> = table::ALL.iter().map(|meta| meta.name).collect();
    found.sort_unstable();
    listed.sort_unstable();
    assert_eq!(found, listed);
    for family in &families {
        let meta = table::ALL.iter().find(|meta| meta.name == family.name()).unwrap();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        assert_eq!(kind, meta.kind.as_str(), "{}", meta.name);
        for metric in family.get_metric() {
            let mut labels: Vec<&str> = metric.get_label().iter().map(prometheus::proto::LabelPair::name).collect();
            let mut wanted = meta.labels.to_vec();
            labels.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(labels, wanted, "{}", meta.name);
        }
    }
}

#[test]
fn a_route_has_one_set_of_handles_and_counts_by_them() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("messages");
    assert!(Arc::ptr_eq(&route, &metrics.route("messages")));
    for (status, seconds) in [(200, 0.0004), (404, 0.02), (502, 700.0), (999, 0.0)] {
        route.answered(&metrics, Side::Native, status, seconds, None);
    }
    route.declined(&metrics, Decline::Fault);
    let totals = route.totals(Side::Native);
    assert_eq!((totals.requests, totals.refused, totals.failed), (4, 1, 1));
    assert_eq!(totals.buckets.len(), BUCKETS.len() + 1);
    assert_eq!(totals.buckets.iter().sum::<u64>(), 4);
    assert_eq!(totals.buckets.last(), Some(&1), "what is above all bounds");
    assert_eq!(route.totals(Side::Python), SideTotals::default());
    assert_eq!(route.declines(), [(Decline::Fault, 1)]);
    let text = text(&metrics);
    for line in [
        r#"litellm_edge_requests_total{route="messages",side="native",status="5xx"} 1"#,
        r#"litellm_edge_requests_total{route="messages",side="native",status="other"} 1"#,
        r#"litellm_edge_declines_total{reason="fault",route="messages"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("side=\"python\",status"), "a series appears with its first event");
}

#[test]
fn every_decline_has_its_place() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("r");
    Decline::ALL.iter().for_each(|reason| route.declined(&metrics, *reason));
    assert_eq!(route.declines().len(), Decline::ALL.len());
}

#[test]
fn a_hostile_route_id_cannot_break_the_text() {
    let metrics = Metrics::new().unwrap();
    metrics.route("a\"} 1\nfake 2\\").answered(&metrics, Side::Python, 200, 0.1, None);
    let text = text(&metrics);
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
    assert!(text.contains(r#"route="a\"} 1\nfake 2\\""#), "{text}");
}

#[test]
fn the_process_is_measured() {
    let metrics = Metrics::new().unwrap();
    let usage = metrics.process();
    assert!(usage.resident_bytes > 100_000 && usage.open_files > 2 && usage.threads > 0, "{usage:?}");
    assert!(usage.started > 1.0e9 && usage.started <= process::unix_now() + 1.0, "{usage:?}");
    assert!(text(&metrics).contains("\nprocess_resident_memory_bytes "));
}
