use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use super::*;

fn of(path: &str, header: Option<&str>, owners: [Value; 3], body: &str) -> Result<Tags, Decline> {
    let mut headers = HeaderMap::new();
    if let Some(text) = header {
        headers.append(HEADER, HeaderValue::from_str(text).unwrap());
    }
    let head = Head { method: Method::POST, path: path.into(), query: None, headers, client: None };
    let [key, team, project] = owners.map(|tags| json!({ "tags": tags }));
    let rows = json!({
        "key": {"token": "h", "team_id": "t", "metadata": key}, "team": {"team_id": "t", "metadata": team},
        "project": {"project_id": "p", "metadata": project},
    });
    let caller = Caller::Key(Arc::new(serde_json::from_value(rows).unwrap()));
    let body = Object::parse(body.as_bytes()).unwrap();
    let metadata = body.some("metadata").and_then(Raw::object);
    tags(&head, &caller, &body, metadata.as_ref())
}

fn none() -> [Value; 3] {
    [Value::Null, Value::Null, Value::Null]
}

fn all() -> [Value; 3] {
    [json!(["k", "h"]), json!(["t", "k"]), json!(["p"])]
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn who_has_no_tags_has_none() {
    for body in ["{}", r#"{"tags":null,"metadata":{"tags":null}}"#, r#"{"metadata":{"user_id":"u"}}"#] {
        assert_eq!(of(CHAT, None, none(), body), Ok(Tags::default()), "{body}");
    }
    assert_eq!(of("/files/chat/completions", None, none(), "{}"), Ok(Tags::default()));
    assert_eq!(of("/files/chat/completions", None, none(), r#"{"tags":["a"]}"#), Err(Decline::NotThisPath));
}

#[test]
fn chat_completions_merge_them_in_litellms_order() {
    let body = r#"{"metadata":{"tags":["m","m"]},"tags":["r","m"]}"#;
    let tags = of(CHAT, Some("h, i"), all(), body).unwrap();
    assert_eq!(tags.billed, ["m", "m", "h", "i", "k", "t", "p", "r"]);
    assert_eq!(tags.budgeted, ["m", "h", "i", "k", "r"]);
    assert_eq!(tags.rated, ["m", "h", "i", "k", "t", "p", "r"]);
    assert_eq!(tags.over_budget, ["m", "m", "h", "i", "k"]);
    assert_eq!(tags.over_key_budget, ["m", "m"]);
    assert_eq!(tags.over_rate, tags.billed);
    // what its authentication merged is lost where the caller sent no metadata, and the header gives way to the field
    let tags = of(CHAT, Some("i"), all(), r#"{"tags":["r"]}"#).unwrap();
    assert_eq!(tags.billed, ["k", "h", "t", "p", "r"]);
    assert_eq!(tags.budgeted, ["i", "k", "h", "r"]);
    assert_eq!(tags.over_budget, ["i", "k", "h"]);
    assert_eq!(tags.looked_up().collect::<Vec<_>>(), ["k", "h", "t", "p", "r", "i"]);
    let tags = of(CHAT, Some("i"), all(), r#"{"metadata":null}"#).unwrap();
    assert_eq!(tags.billed, ["i", "k", "h", "t", "p"]);
}

#[test]
fn messages_keep_them_beside_the_callers_metadata() {
    let body = r#"{"metadata":{"tags":["m"]},"tags":["r"]}"#;
    let tags = of(MESSAGES, Some("i"), all(), body).unwrap();
    assert_eq!(tags.billed, ["k", "h", "t", "p", "r", "m"]);
    assert_eq!(tags.budgeted, ["i", "k", "h", "r"]);
    for refused in [tags.over_budget, tags.over_key_budget, tags.over_rate] {
        assert_eq!(refused, ["m"]);
    }
    let tags = of(MESSAGES, Some("i"), all(), "{}").unwrap();
    assert_eq!(tags.billed, ["k", "h", "t", "p", "i"]);
    assert_eq!((tags.over_budget, tags.over_rate), (tags.budgeted, tags.billed));
    assert!(tags.over_key_budget.is_empty());
}

#[test]
fn what_only_python_can_take_declines() {
    let named = |body: &str| of(CHAT, None, none(), body);
    for tags in ["\"a\"", "{}", "[1]", "[null]", "[[]]", "1"] {
        assert_eq!(named(&format!(r#"{{"tags":{tags}}}"#)), Err(Decline::FieldType), "{tags}");
        assert_eq!(named(&format!(r#"{{"metadata":{{"tags":{tags}}}}}"#)), Err(Decline::FieldType), "{tags}");
    }
    for tag in ["", "a\\u0000", "a\\n", &"x".repeat(LONGEST + 1)] {
        assert_eq!(named(&format!(r#"{{"tags":["{tag}"]}}"#)), Err(Decline::Field), "{tag}");
    }
    let many = |count: usize| named(&format!(r#"{{"tags":{}}}"#, json!(vec!["a"; count])));
    assert!(many(MOST).is_ok());
    assert_eq!(many(MOST + 1), Err(Decline::Field));
    assert_eq!(named(r#"{"metadata":{"tags":["a"],"tags":["b"]}}"#), Err(Decline::DuplicateKey));
    for header in ["", "a,", "a\u{e9}"] {
        assert_eq!(of(CHAT, Some(header), none(), "{}"), Err(Decline::ControlHeader), "{header}");
    }
    for tags in [json!("a"), json!([1]), json!([""]), json!({}), json!(vec!["a"; MOST + 1])] {
        for at in 0..3 {
            let mut owners = none();
            owners[at] = tags.clone();
            assert_eq!(of(CHAT, None, owners, "{}"), Err(Decline::KeyFeature), "{tags}");
        }
    }
}
