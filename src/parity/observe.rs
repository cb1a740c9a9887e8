//! From raw answers and calls to the tree that is normalised and compared:
//! `{"response": [{status, header, body | events | text, end, length}], "provider": [{line, header, body | text, length}]}`.
//! Pure. Header names are lower-case here, their values in order; case and order of headers are kept in [`Raw`].
use std::{io::Read, time::Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    case::Case,
    client::Response,
    http1::{End, Head, event_ends},
    provider::ProviderCall,
};

/// What is recorded for reading, not compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Raw {
    /// header names of each answer, as sent
    pub response_headers: Vec<Vec<String>>,
    /// chunks of each answer: milliseconds and bytes
    pub response_chunks: Vec<Vec<(u64, usize)>>,
    /// header names of each provider-bound request, as sent
    pub provider_headers: Vec<Vec<String>>,
    /// milliseconds from the case's start to each provider-bound request
    pub provider_at_ms: Vec<u64>,
}

/// The recorded side of an observation.
pub fn raw(responses: &[Response], calls: &[ProviderCall]) -> Raw {
    let names = |head: &Head| head.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    Raw {
        response_headers: responses.iter().map(|response| names(&response.head)).collect(),
        response_chunks: responses.iter().map(|response| response.body.chunks.clone()).collect(),
        provider_headers: calls.iter().map(|call| names(&call.head)).collect(),
        provider_at_ms: calls.iter().map(|call| call.at_ms).collect(),
    }
}

/// From this delay between frames on, it is compared how many events had reached the client before each further frame.
const PACED_MS: u64 = 200;

/// The tree of a case in one phase.
pub fn tree(case: &Case, responses: &[Response], calls: &[ProviderCall]) -> Value {
    let one = |response: &Response| {
        let mut tree = response_tree(response, case.compare_bytes);
        // with one call it is clear whose frames these are
        if let ([answer], [call]) = (case.answers.as_slice(), calls)
            && answer.frame_delay_ms >= PACED_MS
        {
            tree.insert("arrival".into(), arrival(response, &call.frames));
        }
        Value::Object(tree)
    };
    json!({
        "response": responses.iter().map(one).collect::<Vec<_>>(),
        "provider": calls.iter().map(|call| call_tree(call, case.leaves())).collect::<Vec<_>>(),
    })
}

/// How many events had reached the client when the provider sent its second frame, its third, ...: no event may wait
/// for what follows it.
fn arrival(response: &Response, frames: &[Instant]) -> Value {
    let at = |frame: &Instant| frame.saturating_duration_since(response.started).as_millis();
    let arrived = |frame: &Instant| {
        let chunks = response.body.chunks.iter().take_while(|(ms, _)| u128::from(*ms) < at(frame));
        let bytes: usize = chunks.map(|(_, length)| length).sum();
        event_ends(response.body.bytes.get(..bytes).unwrap_or_default()).count()
    };
    frames.iter().skip(1).map(arrived).collect()
}

fn response_tree(response: &Response, bytes: bool) -> Map<String, Value> {
    let head = &response.head;
    let mut out = Map::new();
    out.insert("status".into(), response.status.into());
    out.insert("header".into(), headers(head));
    let mut body = response.body.bytes.clone();
    if head.get("content-encoding").is_some_and(|value| value.eq_ignore_ascii_case("gzip")) {
        let mut plain = Vec::new();
        // a cut gzip body gives what could be unpacked
        let read = flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut plain);
        if read.is_err() && response.body.end == End::Complete {
            out.insert("encoding".into(), "broken".into());
        }
        body = plain;
    }
    if head.get("content-type").is_some_and(|value| value.starts_with("text/event-stream")) {
        out.insert("events".into(), events(&body));
    } else {
        insert_body(&mut out, &body);
    }
    if bytes {
        out.insert("bytes".into(), latin1(&body).into());
    }
    out.insert("end".into(), response.body.end.as_str().into());
    out.insert("length".into(), response.body.bytes.len().into());
    out
}

/// `leaves`: the case's client leaves, so it counts whether the caller hung up on the provider.
fn call_tree(call: &ProviderCall, leaves: bool) -> Value {
    let mut out = Map::new();
    out.insert("line".into(), call.head.line.clone().into());
    out.insert("header".into(), headers(&call.head));
    insert_body(&mut out, &call.body);
    out.insert("length".into(), call.body.len().into());
    if !call.complete {
        out.insert("incomplete".into(), true.into());
    }
    if !call.expected {
        out.insert("unexpected".into(), true.into());
    }
    if leaves {
        out.insert("left".into(), (call.left == Some(true)).into());
    }
    Value::Object(out)
}

/// `{name: [values]}`, names lower-case and sorted, values in order.
fn headers(head: &Head) -> Value {
    let mut sorted: Vec<(String, &str)> =
        head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0)); // stable: the values of a name keep their order
    let mut out = Map::new();
    for (name, value) in sorted {
        if let Some(values) = out.entry(name).or_insert_with(|| json!([])).as_array_mut() {
            values.push(value.into());
        }
    }
    Value::Object(out)
}

/// `body` where it is JSON, else `text`.
pub(super) fn insert_body(out: &mut Map<String, Value>, body: &[u8]) {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => out.insert("body".into(), value),
        Err(_) => out.insert("text".into(), text(body).into()),
    };
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => latin1(bytes),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The events of an SSE body: `{event?, data, lines?}`; `data` is a tree where it is JSON. What stands behind the last
/// blank line is `{"tail": ...}`: a cut stream may end anywhere.
pub fn events(body: &[u8]) -> Value {
    let text = text(body).replace("\r\n", "\n");
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    let tail = blocks.pop().unwrap_or_default();
    let mut out: Vec<Value> = blocks.into_iter().map(event).collect();
    if !tail.is_empty() {
        out.push(json!({ "tail": tail }));
    }
    Value::Array(out)
}

fn event(block: &str) -> Value {
    let mut out = Map::new();
    let mut data: Vec<&str> = Vec::new();
    let mut other: Vec<Value> = Vec::new();
    for line in block.split('\n') {
        if let Some(value) = line.strip_prefix("data:") {
            data.push(value.strip_prefix(' ').unwrap_or(value));
        } else if let Some(value) = line.strip_prefix("event:") {
            out.insert("event".into(), value.strip_prefix(' ').unwrap_or(value).into());
        } else {
            other.push(line.into());
        }
    }
    if !data.is_empty() {
        let data = data.join("\n");
        out.insert("data".into(), serde_json::from_str(&data).unwrap_or_else(|_| data.into()));
    }
    if !other.is_empty() {
        out.insert("lines".into(), Value::Array(other));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_a_client_reads_them() {
        let seen = events(b"event: a\ndata: {\"x\": 1}\n\n: ping\n\ndata: [DONE]\n\ndata: {\"cut");
        let expected = json!([
            {"event": "a", "data": {"x": 1}},
            {"lines": [": ping"]},
            {"data": "[DONE]"},
            {"tail": "data: {\"cut"},
        ]);
        assert_eq!(seen, expected);
    }

    fn answer(headers: &[(&str, &str)], bytes: &[u8], chunks: &[(u64, usize)]) -> Response {
        let mut response = Response::none(End::Complete);
        response.head.headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        response.body.bytes = bytes.to_vec();
        response.body.chunks = chunks.to_vec();
        response
    }

    #[test]
    fn what_arrived_before_each_further_frame_is_counted() {
        let response = answer(&[], b"1\n\n2\n\n3\n\n", &[(3, 3), (9, 3), (9, 3)]);
        let frames = [0, 5, 9, 12].map(|ms| response.started + std::time::Duration::from_millis(ms));
        assert_eq!(arrival(&response, &frames), json!([1, 1, 3]), "what comes in the very millisecond is too late");
        let late = answer(&[], b"1\n\n2\n\n", &[(20, 6)]);
        let frames = frames.map(|_| late.started + std::time::Duration::from_millis(10));
        assert_eq!(arrival(&late, &frames), json!([0, 0, 0]));
    }

    #[test]
    fn compressed_bodies_are_compared_unpacked_and_broken_ones_are_marked() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"{\"a\":1}").unwrap();
        let packed = packed.finish().unwrap();
        let gzip = [("content-encoding", "gzip")];
        let tree = response_tree(&answer(&gzip, &packed, &[]), false);
        assert_eq!((tree.get("body"), tree.get("encoding")), (Some(&json!({"a": 1})), None));
        let tree = response_tree(&answer(&gzip, b"{\"a\":1}", &[]), false);
        assert_eq!(tree.get("encoding"), Some(&json!("broken")));
    }

    #[test]
    fn header_values_keep_their_order_and_duplicates() {
        let head = Head {
            line: String::new(),
            headers: vec![("B".into(), "2".into()), ("a".into(), "x".into()), ("b".into(), "1".into())],
        };
        assert_eq!(headers(&head).to_string(), r#"{"a":["x"],"b":["2","1"]}"#);
    }
}
