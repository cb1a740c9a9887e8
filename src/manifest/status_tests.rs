//! The status page of a manifest with every kind of route, and the admin switch.
use super::*;
use crate::manifest::{
    Refused,
    load::Places,
    testing::{NOW, TABLE, TempDir, manifest},
};

const FILE: &str = r#"
schema = 1
[[route]]
id = "messages"
mode = "canary"
canary = { percent = 5, key = "ip" }
providers = ["anthropic"]
accept = ["no_spend_rows"]
owner = "gateway team"
match = { methods = ["POST"], paths = ["/v1/messages"] }
[[route.tolerate]]
what = "w"
why = "y"
until = 2026-12-31
[[route]]
id = "models"
mode = "native"
match = { methods = ["GET"], paths = ["/v1/models"] }
[[route]]
id = "key"
mode = "python"
match = { paths = ["/key/*"] }
"#;

fn status(switch: SwitchState) -> HandleStatus {
    HandleStatus {
        places: Places { routes: "routes.toml".into(), evidence: "evidence".into(), switch_file: None },
        loaded: NOW(),
        refused: Some(Refused { message: "line 3".into(), at: NOW() }),
        switch,
        python_version: Some("1.106.2".into()),
    }
}

#[test]
fn the_body_says_what_runs_where_and_why() {
    let manifest = manifest(FILE, &["messages"]);
    let metrics = Metrics::new().unwrap();
    let answered = |route: &str, side, status, times| {
        (0..times).for_each(|_| metrics.route(route).answered(&metrics, side, status, 0.1, None));
    };
    answered("messages", Side::Native, 200, 3);
    answered("messages", Side::Native, 404, 1);
    answered("messages", Side::Python, 200, 1);
    answered("other", Side::Python, 200, 7);
    answered("edge", Side::Edge, 200, 9);
    (0..2).for_each(|_| metrics.route("messages").declined(&metrics, crate::routes::Decline::VirtualKey));
    let body = |switch| {
        let input = StatusInput {
            handle: &status(switch),
            python: PythonVersion::from_text(Some("1.106.2")),
            counters: &counters(&metrics),
            now: NOW(),
        };
        routes_body(&manifest, &input)
    };
    let value = body(SwitchState::default());
    assert_eq!(
        value["routes"][0],
        json!({
            "id": "messages", "mode": "canary", "effective": "canary", "reason": null, "why": null,
            "methods": ["POST"], "paths": ["/v1/messages"],
            "requests": { "native": 4, "python": 1, "declines": { "virtual_key": 2 } },
            "canary": { "percent": 5.0, "key": "ip" },
            "providers": ["anthropic"], "accept": ["no_spend_rows"], "owner": "gateway team",
            "tolerate": [{ "what": "w", "why": "y", "until": "2026-12-31" }],
            "evidence": {
                "verdict": "fresh", "why": "green, of this binary, this LiteLLM and this suite", "age_seconds": 3600,
                "result": "green", "litellm_version": "1.106.2", "finished": "2026-11-21T23:00:00Z",
                "cases": { "total": 10, "passed": 9, "failed": 0, "tolerated": 1 },
            },
        })
    );
    assert_eq!(value["routes"][1]["effective"], "python");
    assert_eq!(value["routes"][1]["reason"], "no_evidence");
    assert_eq!(value["routes"][1]["evidence"]["verdict"], "missing");
    assert_eq!(value["routes"][2]["reason"], "mode");
    assert_eq!(value["routes"][2]["evidence"], Value::Null);
    assert_eq!(value["unlisted"]["python"], 7);
    assert_eq!(value["file"]["refused"], json!({ "message": "line 3", "at": "2026-11-22T00:00:00Z" }));
    assert_eq!(value["python"], json!({ "version": "1.106.2", "versions": "=1.106.2", "in_range": true }));
    assert_eq!(value["switch"], json!({ "all_python": false, "by": [] }));

    let value = body(SwitchState { env: true, file: false, admin: true });
    assert_eq!(value["switch"], json!({ "all_python": true, "by": ["env", "admin"] }));
    assert_eq!(value["routes"][0]["effective"], "python");
    assert_eq!(value["routes"][0]["reason"], "killswitch");
}

#[test]
fn only_a_clear_word_turns_the_switch() {
    let dir = TempDir::new();
    let path = dir.write("routes.toml", "schema = 1\n");
    let handle = ManifestHandle::open(&path, TABLE, None, None).unwrap();
    for bad in [
        &b""[..],
        b"{}",
        b"true",
        br#"{"all_python":"false"}"#,
        br#"{"all_python":1}"#,
        br#"{"all_pyhton":true}"#,
        br#"{"all_python":true,"x":1}"#,
        br#"{"all_python":true,"all_python":false}"#,
    ] {
        assert_eq!(post_switch(&handle, bad), Err(SwitchBodyError));
        assert!(!handle.all_python());
    }
    assert_eq!(post_switch(&handle, br#"{"all_python":true}"#), Ok(json!({ "all_python": true, "by": ["admin"] })));
    assert!(handle.all_python());
    assert_eq!(handle.routes_body(&Counters::new(), NOW())["switch"]["all_python"], true);
    assert_eq!(post_switch(&handle, br#" {"all_python": false} "#), Ok(json!({ "all_python": false, "by": [] })));
    assert!(!handle.all_python());
}
