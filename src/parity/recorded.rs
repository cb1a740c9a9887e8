//! What a recorded case says the live gateway answered, and how the Python gateway's answer of today differs from it.
//! Pure. Compared: status, type and body of each answer. Other headers say which deployment answered, and when.
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    case::{Answer, Case, base64},
    diff::{Difference, diff},
    normalise::{Context, normalise},
    observe,
};

/// `recorded:` of a case file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// RFC 3339
    pub at: String,
    /// `native` or `python`
    pub by: String,
    /// one a request
    pub answers: Vec<Answer>,
}

/// The file without what was recorded.
pub(super) fn own_text(text: &str) -> String {
    let mut tree: serde_yaml::Mapping = serde_yaml::from_str(text).unwrap_or_default();
    tree.remove("recorded");
    serde_yaml::to_string(&tree).unwrap_or_default()
}

/// The differences between `python` (a normalised tree) and what was recorded; paths begin with `recorded`.
pub fn differences(case: &Case, python: &Value) -> Vec<Difference> {
    let Some(recorded) = &case.recorded else { return Vec::new() };
    let at = OffsetDateTime::parse(&recorded.at, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp);
    let raw = json!({ "response": recorded.answers.iter().map(tree).collect::<Vec<_>>() });
    let mut then = raw.clone();
    let context = Context { window: (at - 600, at + 600), case_text: case.text.clone(), ..Context::default() };
    normalise(&context, &mut then);
    let responses = python.get("response").and_then(Value::as_array).into_iter().flatten();
    let mut now = json!({ "response": responses.map(part).collect::<Vec<_>>() });
    let (mut raw, mut then) = (raw, then);
    [&mut raw, &mut then, &mut now].into_iter().for_each(unnumbered);
    // what the provider made up moved neither then nor now; what the gateway makes up moved both times
    let literally = diff(&now, &raw);
    let mut found = diff(&now, &then);
    found.retain(|difference| literally.iter().any(|other| other.path == difference.path));
    for difference in &mut found {
        difference.path = difference.path.replacen("response", "recorded", 1);
    }
    found
}

/// The part of an observed answer that is compared.
fn part(response: &Value) -> Value {
    let mut out = Map::new();
    for key in ["status", "body", "events", "text"] {
        if let Some(value) = response.get(key) {
            out.insert(key.into(), value.clone());
        }
    }
    if let Some(kind) = response.pointer("/header/content-type") {
        out.insert("header".into(), json!({ "content-type": kind }));
    }
    Value::Object(out)
}

/// A recorded answer as `observe` would have seen it.
fn tree(answer: &Answer) -> Value {
    let body = match answer {
        Answer { json: Some(json), .. } => json.to_string().into_bytes(),
        Answer { body: Some(text), .. } => text.clone().into_bytes(),
        Answer { body_base64: Some(text), .. } => base64(text).unwrap_or_default(),
        Answer { sse: Some(frames), .. } => {
            frames.iter().flat_map(|frame| [frame.as_bytes(), b"\n\n"].concat()).collect()
        }
        _ => Vec::new(),
    };
    let mut out = Map::new();
    out.insert("status".into(), answer.status.unwrap_or(200).into());
    let kind = answer.headers.get("content-type").map(|value| value.values().to_vec());
    let stream = kind.iter().flatten().any(|kind| kind.starts_with("text/event-stream"));
    if let Some(kind) = kind {
        out.insert("header".into(), json!({ "content-type": kind }));
    }
    if stream {
        out.insert("events".into(), observe::events(&body));
    } else {
        observe::insert_body(&mut out, &body);
    }
    Value::Object(out)
}

/// `<uuid#3>` -> `<uuid>`: ids are counted over more of the answer than is compared here.
fn unnumbered(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('#') => {
            let mut out = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once('#') {
                out.push_str(before);
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                let tail = after.get(digits..).unwrap_or_default();
                if digits == 0 || !tail.starts_with('>') || !before.contains('<') {
                    out.push('#');
                    rest = after;
                } else {
                    rest = tail;
                }
            }
            out.push_str(rest);
            *text = out;
        }
        Value::Array(items) => items.iter_mut().for_each(unnumbered),
        Value::Object(map) => map.values_mut().for_each(unnumbered),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(answer: &str) -> Case {
        let text = format!(
            "{{route: r, why: w, expect: native, request: {{method: GET, path: /}}, provider: {{answers: [{{json: {{created: 1700000000}}}}]}}, \
             recorded: {{at: '2023-11-14T22:13:20Z', by: python, answers: [{answer}]}}}}"
        );
        super::super::case::parse(std::path::Path::new("r/x.yaml"), &text).unwrap()
    }

    fn now(body: Value) -> Value {
        let mut tree = json!({"response": [{"status": 200, "header": {"content-type": ["application/json"], "x": ["y"]}, "body": body, "end": "complete"}]});
        let context = Context { window: (1_800_000_000, 1_800_000_001), ..Context::default() };
        normalise(&context, &mut tree);
        tree
    }

    const HEAD: &str = "status: 200, headers: {content-type: application/json}";

    #[test]
    fn what_moves_by_itself_is_no_difference_and_the_rest_is() {
        let body = |id: &str, created: i64, text: &str| json!({"id": id, "created": created, "text": text});
        // made up by the gateway, then and now
        let recorded = case(&format!("{{{HEAD}, json: {{id: chatcmpl-123456789012, created: 1700000001, text: a}}}}"));
        assert_eq!(differences(&recorded, &now(body("chatcmpl-abcdefghij12", 1_800_000_000, "a"))), []);
        // the provider's own number comes back as it is
        let recorded = case(&format!("{{{HEAD}, json: {{id: x, created: 1700000000, text: a}}}}"));
        assert_eq!(differences(&recorded, &now(body("x", 1_700_000_000, "a"))), []);
        let found = differences(&recorded, &now(body("x", 1_700_000_000, "b")));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "recorded[0].body/text");
        let other = case("{status: 500, json: {}}");
        assert!(differences(&other, &now(json!({}))).iter().any(|d| d.path == "recorded[0].status"));
    }

    #[test]
    fn streams_are_compared_by_event() {
        let recorded =
            case("{status: 200, headers: {content-type: text/event-stream}, sse: ['data: {\"a\":1}', 'data: [DONE]']}");
        let seen = |a: i64| {
            json!({"response": [{"status": 200, "header": {"content-type": ["text/event-stream"]},
                "events": [{"data": {"a": a}}, {"data": "[DONE]"}]}]})
        };
        assert_eq!(differences(&recorded, &seen(1)), []);
        assert_eq!(differences(&recorded, &seen(2))[0].path, "recorded[0].events[0].data/a");
    }
}
