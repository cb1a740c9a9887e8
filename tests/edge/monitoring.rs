//! The dashboard and the alerts name only metrics and labels that exist, in an edge that has had traffic.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use litellm_rust::telemetry::metrics::table::{ALL, Kind};
use serde_json::Value;

use crate::{
    gateway::Gateway,
    support::{Client, FakePython, ask, eventually, post_bytes},
};

type Labels = BTreeSet<String>;

fn path(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Series by name, with the labels they have; a histogram counts as its three.
fn series(text: &str) -> BTreeMap<String, Labels> {
    let mut found: BTreeMap<String, Labels> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = found.entry(name.to_owned()).or_default();
        if let Some((inside, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) {
            labels.extend(inside.split(',').filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned())));
        }
    }
    found
}

/// What the table says there is.
fn known() -> BTreeMap<String, Labels> {
    let mut known = BTreeMap::new();
    for meta in ALL {
        let labels: Labels = meta.labels.iter().map(|label| (*label).to_owned()).collect();
        if meta.kind == Kind::Histogram {
            for suffix in ["_sum", "_count"] {
                known.insert(format!("{}{suffix}", meta.name), labels.clone());
            }
            let bucket = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{}_bucket", meta.name), bucket);
        } else {
            known.insert(meta.name.to_owned(), labels);
        }
    }
    known
}

/// What a PromQL expression names: metrics with the labels asked of each, and labels to group or match by.
#[derive(Debug, Default, PartialEq)]
struct Named {
    metrics: BTreeMap<String, Labels>,
    grouped: Labels,
}

const WORDS: [&str; 17] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "sum",
    "min",
    "max",
    "count",
    "avg",
    "inf",
];

fn named(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression;
    let mut last = String::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).count();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let (found, after) = rest.split_at(word(rest));
            rest = after;
            let called = after.trim_start().starts_with('(') || WORDS.contains(&found);
            if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&found) {
                let Some((inside, after)) = after.trim_start().strip_prefix('(').and_then(|text| text.split_once(')'))
                else {
                    continue;
                };
                named.grouped.extend(inside.split(',').map(|label| label.trim().to_owned()).filter(|l| !l.is_empty()));
                rest = after;
            } else if !called {
                named.metrics.entry(found.to_owned()).or_default();
                last = found.to_owned();
            }
        } else if first == '{' {
            let (inside, after) = rest[1..].split_once('}').expect("a closed matcher");
            // no value of ours has a comma or a brace
            let labels = inside.split(',').map(|pair| pair.split(['=', '!']).next().unwrap().trim().to_owned());
            named.metrics.get_mut(&last).expect("a metric before its matcher").extend(labels);
            rest = after;
        } else if first == '[' {
            rest = rest.split_once(']').expect("a closed range").1;
        } else if first.is_ascii_digit() {
            rest = &rest[word(rest)..]; // 0, 1d, 512
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    named
}

/// Given by the scraper, not by us.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

fn check(what: &str, expression: &str, known: &BTreeMap<String, Labels>) -> BTreeSet<String> {
    let named = named(expression);
    assert!(!named.metrics.is_empty(), "{what}: {expression}");
    let mut all: Labels = OF_THE_SCRAPE.map(str::to_owned).into();
    for (metric, labels) in &named.metrics {
        if metric == "up" {
            continue;
        }
        let has = known.get(metric).unwrap_or_else(|| panic!("{what}: there is no metric {metric} in {expression}"));
        for label in labels {
            assert!(has.contains(label) || OF_THE_SCRAPE.contains(&&**label), "{what}: {metric} has no label {label}");
        }
        all.extend(has.iter().cloned());
    }
    for label in &named.grouped {
        assert!(all.contains(label), "{what}: nothing in it has the label {label}: {expression}");
    }
    named.metrics.into_keys().filter(|metric| metric != "up").collect()
}

/// Every expression of the dashboard and of the alerts.
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_slice(&fs::read(path("deploy/grafana/litellm-rust.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((panel["title"].to_string(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).unwrap();
            let (metric, label) = inside.rsplit_once(',').unwrap();
            found.push((variable["name"].to_string(), format!("sum by ({}) ({metric})", label.trim())));
        }
    }
    for rule in rules() {
        found.push((rule["alert"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned()));
    }
    found
}

fn rules() -> Vec<serde_yaml::Value> {
    let file: serde_yaml::Value =
        serde_yaml::from_slice(&fs::read(path("deploy/alerts/litellm-rust.yaml")).unwrap()).unwrap();
    let groups = file["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

#[test]
fn promql_is_read() {
    let read =
        named(r#"sum by (le, side) (rate(a_bucket{route=~"$route",side!="edge"}[5m] offset 1d)) / on (job) b > 0.9"#);
    let labels = |list: &[&str]| list.iter().map(|label| (*label).to_owned()).collect::<Labels>();
    assert_eq!(read.metrics, [("a_bucket".into(), labels(&["route", "side"])), ("b".into(), labels(&[]))].into());
    assert_eq!(read.grouped, labels(&["job", "le", "side"]));
    let known = known();
    for wrong in
        ["litellm_edge_no_such_total", "litellm_edge_python_up{route=\"x\"}", "sum by (route) (litellm_edge_python_up)"]
    {
        assert!(std::panic::catch_unwind(|| check("test", wrong, &known)).is_err(), "{wrong}");
    }
}

/// Needs more than traffic: an upgrade, a stale pooled connection, evidence, a database.
const RARE: [&str; 4] = [
    "litellm_edge_upgrades_total",
    "litellm_edge_resends_total",
    "litellm_edge_evidence_age_seconds",
    "litellm_edge_store_up",
];

#[test]
fn dashboard_and_alerts_name_what_an_exercised_edge_shows() {
    let known = known();
    let used: BTreeSet<String> =
        expressions().iter().flat_map(|(what, expression)| check(what, expression, &known)).collect();
    assert!(used.len() > 25, "{used:?}");

    let python = FakePython::start(|request, stream| {
        let cut = request.line().contains("/cut");
        let head =
            if cut { "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_owned() } else { crate::support::ok("python") };
        std::io::Write::write_all(stream, head.as_bytes()).is_ok() && !cut
    });
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    assert_eq!(gateway.side(), "native");
    let declined = r#"{"model":"no-such-model","messages":[]}"#;
    assert_eq!(ask(gateway.process.port, post_bytes("/v1/chat/completions", declined)).text(), "python");
    let mut client = Client::to(gateway.process.port);
    client.send(post_bytes("/cut", "x"));
    assert!(client.answer().is_none());
    gateway.process.signal("-HUP");
    eventually(Duration::from_secs(10), "reloaded", || {
        gateway.metric("litellm_edge_reloads_total{file=\"routes\",result=\"ok\"}") > 0
    });
    eventually(Duration::from_secs(10), "the cut answer is counted", || {
        gateway.metric(r#"litellm_edge_aborts_total{by="origin",route="other",side="python"}"#) == 1
    });
    let scraped = gateway.get("/edge/metrics");
    assert_eq!(scraped.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let shown = series(&scraped.text());
    for metric in &used {
        assert!(shown.contains_key(metric) || RARE.contains(&&**metric), "{metric} has no series");
    }
    for (name, labels) in &shown {
        let known = known.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(labels, known, "{name}");
    }
    let text = scraped.text();
    for line in [
        r#"litellm_edge_aborts_total{by="origin",route="other",side="python"} 1"#,
        r#"litellm_edge_replays_total{route="chat_completions"} 1"#,
        r#"litellm_edge_provider_call_seconds_count{result="2xx"} 1"#,
        r#"litellm_edge_route_wanted{route="chat_completions"} 1"#,
        r#"litellm_edge_evidence_fresh{route="chat_completions"} 0"#,
        "litellm_edge_python_configured 1",
        "litellm_edge_body_budget_bytes 268435456",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(crate::support::get(gateway.process.port, "/edge/metrics").status, 401);
}

#[test]
fn the_alerts_are_rules() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap().to_owned();
        assert!(name.starts_with("Litellm") && names.insert(name.clone()), "{name}");
        for key in rule.as_mapping().unwrap().keys() {
            assert!(
                ["alert", "expr", "for", "labels", "annotations"].contains(&key.as_str().unwrap()),
                "{name}: {key:?}"
            );
        }
        assert!(["info", "warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        if let Some(wait) = rule.get("for") {
            let wait = wait.as_str().unwrap();
            let (number, unit) = wait.split_at(wait.len() - 1);
            assert!(number.parse::<u32>().is_ok() && ["s", "m", "h"].contains(&unit), "{name}: {wait}");
        }
        // what the text says of labels is what the expression leaves of them
        let text = serde_yaml::to_string(&rule["annotations"]).unwrap();
        assert!(rule["annotations"]["summary"].is_string(), "{name}");
        let expression = rule["expr"].as_str().unwrap();
        let known = known();
        let (named, of_metrics) = (named(expression), |metric: &String| known.get(metric).cloned().unwrap_or_default());
        let mut kept: Labels =
            named.metrics.keys().flat_map(of_metrics).chain(["instance".into(), "job".into()]).collect();
        if expression.contains("sum by") {
            kept = named.grouped;
        }
        for part in text.split("$labels.").skip(1) {
            let label = &part[..part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap()];
            assert!(kept.contains(label), "{name}: {label} is not left");
        }
    }
    // Prometheus' own word, where it is installed
    let file = path("deploy/alerts/litellm-rust.yaml");
    if let Ok(checked) = Command::new("promtool").args(["check", "rules"]).arg(file).output() {
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
