//! The normalisers: named, pure, idempotent. Each takes out one thing that cannot be equal twice; status, error
//! type, param and code pass all of them untouched.
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Iso8601, macros::format_description};

use super::fresh;
use crate::base64;

/// What a normaliser may know.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// unix seconds between which the case ran
    pub window: (i64, i64),
    /// the text of the case: an id that stands in it is the case's own and is never renamed
    pub case_text: String,
    /// what differs between the gateways' addresses: `127.0.0.1:4000` -> `<gateway>`
    pub addresses: Vec<String>,
    /// what `<run>` became in this phase ([`fresh::renames`])
    pub renames: Vec<(String, String)>,
}

impl Context {
    fn is_now(&self, unix: i64) -> bool {
        // clocks are read before and after; one second of rounding each way, one for a late flush
        (self.window.0 - 2..=self.window.1 + 2).contains(&unix)
    }
}

type Normaliser = fn(&Context, &mut Value);

/// All of them, in the order they run.
pub const NORMALISERS: &[(&str, Normaliser)] = &[
    ("run", run),
    ("provenance", provenance),
    ("keep_alive", keep_alive),
    ("content_length", content_length),
    ("clock", clock),
    ("durations", durations),
    ("measured_times", measured_times),
    ("expiry_times", expiry_times),
    ("reset_times", reset_times),
    ("costs_in_text", costs_in_text),
    ("object_addresses", object_addresses),
    ("boundaries", boundaries),
    ("websocket_keys", websocket_keys),
    ("addresses", addresses),
    ("ids", ids),
];

/// Runs all of them.
pub fn normalise(context: &Context, tree: &mut Value) {
    for (_, normaliser) in NORMALISERS {
        normaliser(context, tree);
    }
}

/// Calls `f` with the name of the last object key above, for every value, parents first, keys in sorted order (so
/// that what is counted does not depend on the order of keys).
fn visit(key: &str, value: &mut Value, f: &mut impl FnMut(&str, &mut Value)) {
    f(key, value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(key, item, f)),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &mut Value)> = map.iter_mut().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            entries.into_iter().for_each(|(key, value)| visit(key, value, f));
        }
        _ => {}
    }
}

fn visit_strings(tree: &mut Value, mut f: impl FnMut(&str, &mut String)) {
    visit("", tree, &mut |key, value| {
        if let Value::String(text) = value {
            f(key, text);
        }
    });
}

/// The messages (`response[i]`, `provider[i]`) of the tree.
fn messages(tree: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    tree.as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_array_mut)
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn header_values<'a>(message: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    message.get_mut("header")?.get_mut(name)?.as_array_mut()
}

/// The word of this phase, and the hashes of keys with it.
fn run(context: &Context, tree: &mut Value) {
    if !context.renames.is_empty() {
        fresh::rename(tree, &context.renames);
    }
}

/// The edge says who served; `expect` of the case checks it.
fn provenance(_: &Context, tree: &mut Value) {
    for message in messages(tree) {
        if let Some(headers) = message.get_mut("header").and_then(Value::as_object_mut) {
            headers.shift_remove("x-litellm-edge");
        }
    }
}

/// `connection: keep-alive` in an answer says what HTTP/1.1 means anyway, to the next hop alone. `close` stays.
fn keep_alive(_: &Context, tree: &mut Value) {
    let Some(responses) = tree.get_mut("response").and_then(Value::as_array_mut) else { return };
    for headers in responses.iter_mut().filter_map(|response| response.get_mut("header")?.as_object_mut()) {
        if headers.get("connection").is_some_and(|values| *values == serde_json::json!(["keep-alive"])) {
            headers.shift_remove("connection");
        }
    }
}

/// A content-length that is the body's length is right, whatever the number: key order and white space of bodies are
/// not compared. A wrong one stays.
fn content_length(_: &Context, tree: &mut Value) {
    for message in messages(tree) {
        let Some(length) = message.shift_remove("length") else { continue };
        if let Some(values) = header_values(message, "content-length")
            && values.as_slice() == [Value::String(length.to_string())]
        {
            *values = vec!["<length of the body>".into()];
        }
    }
}

/// Header `date`, `created` and ISO times within the case's window are now. Outside of it they stay: a clock that is
/// an hour off is a difference.
fn clock(context: &Context, tree: &mut Value) {
    for message in messages(tree) {
        for value in header_values(message, "date").into_iter().flatten() {
            if value.as_str().and_then(http_date).is_some_and(|unix| context.is_now(unix)) {
                *value = "<now>".into();
            }
        }
    }
    visit("", tree, &mut |key, value| {
        let unix = match value {
            Value::Number(number) if matches!(key, "created" | "created_at") => number.as_f64().map(|n| n as i64),
            Value::String(text) => iso_time(text),
            _ => None,
        };
        if unix.is_some_and(|unix| context.is_now(unix)) {
            *value = "<now>".into();
        }
    });
}

/// `Sun, 22 Nov 2026 01:00:00 GMT` -> unix seconds.
fn http_date(text: &str) -> Option<i64> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    PrimitiveDateTime::parse(text, format).ok().map(|date| date.assume_utc().unix_timestamp())
}

/// `2026-11-22T01:00:00.123[+00:00|Z]`, also with a blank for the T; without zone it is UTC.
fn iso_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !(19..=40).contains(&bytes.len()) || bytes.get(4) != Some(&b'-') || bytes.get(13) != Some(&b':') {
        return None;
    }
    let text = text.trim_end_matches(" UTC").replacen(' ', "T", 1);
    OffsetDateTime::parse(&text, &Iso8601::DEFAULT)
        .or_else(|_| PrimitiveDateTime::parse(&text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc))
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

/// `*-duration-ms` headers and `*_ms` fields of rows: there, a number, not negative.
fn durations(_: &Context, tree: &mut Value) {
    for message in messages(tree) {
        let Some(headers) = message.get_mut("header").and_then(Value::as_object_mut) else { continue };
        for (_, values) in headers.iter_mut().filter(|(name, _)| name.ends_with("-duration-ms")) {
            for value in values.as_array_mut().into_iter().flatten() {
                if value.as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(|ms| ms >= 0.0) {
                    *value = "<ms>".into();
                }
            }
        }
    }
    if let Some(rows) = tree.get_mut("rows") {
        visit("", rows, &mut |key, value| {
            if (key.ends_with("_ms") || key.ends_with("_time_ms")) && value.as_f64().is_some_and(|ms| ms >= 0.0) {
                *value = "<ms>".into();
            }
        });
    }
}

/// Measured seconds inside texts: `time taken=1.02 seconds`.
fn measured_times(_: &Context, tree: &mut Value) {
    const BEFORE: &[&str] = &["time taken="];
    visit_strings(tree, |_, text| {
        for before in BEFORE {
            let mut from = 0;
            while let Some(at) = text.get(from..).and_then(|rest| rest.find(before)) {
                let start = from + at + before.len();
                let digits = text.bytes().skip(start).take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
                if digits > 0 {
                    text.replace_range(start..start + digits, "<s>");
                }
                from = start;
            }
        }
    });
}

/// The two times of an expired key's refusal, where both are of the case: microseconds and zone stay part of the text.
fn expiry_times(context: &Context, tree: &mut Value) {
    const BEFORE: &[&str] = &["Key Expiry time ", " and current time "];
    const LENGTH: usize = "2026-11-22 08:46:38.215000+00:00".len();
    visit_strings(tree, |_, text| {
        for before in BEFORE {
            let Some(start) = text.find(before).map(|at| at + before.len()) else { continue };
            let Some(time) = text.get(start..start + LENGTH) else { continue };
            if time.ends_with("+00:00") && iso_time(time).is_some_and(|unix| context.is_now(unix)) {
                text.replace_range(start..start + LENGTH, "<now>");
            }
        }
    });
}

/// When a limit's window ends, a minute after the refusal: in its text and, alone, in its header.
fn reset_times(context: &Context, tree: &mut Value) {
    const BEFORE: &str = "Limit resets at: ";
    const LENGTH: usize = "2026-11-22 08:46:38 UTC".len();
    visit_strings(tree, |_, text| {
        let start = match text.find(BEFORE) {
            Some(at) => at + BEFORE.len(),
            None if text.len() == LENGTH => 0,
            None => return,
        };
        let unix = text.get(start..start + LENGTH).and_then(|time| iso_time(time.strip_suffix(" UTC")?));
        if unix.is_some_and(|unix| context.is_now(unix - 60)) {
            text.replace_range(start..start + LENGTH, "<now + 60 s>");
        }
    });
}

/// US dollars in a refusal: what is added to a counter in Redis and taken off again leaves some noise, as in numbers.
fn costs_in_text(_: &Context, tree: &mut Value) {
    visit_strings(tree, |_, text| {
        for before in ["Current cost: ", "Spend="] {
            let Some(start) = text.find(before).map(|at| at + before.len()) else { continue };
            let Some((cost, _)) = text.get(start..).and_then(|rest| rest.split_once(',')) else { continue };
            if let Ok(dollars) = cost.parse::<f64>() {
                text.replace_range(start..start + cost.len(), &format!("{}", (dollars * 1e9).round() / 1e9));
            }
        }
    });
}

/// Where a Python object lay in memory (`<ssl.SSLContext object at 0x7f7b9a9ccb00>`): another address in every process.
fn object_addresses(_: &Context, tree: &mut Value) {
    const BEFORE: &str = " object at 0x";
    visit_strings(tree, |_, text| {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(BEFORE)) {
            let start = from + at + BEFORE.len();
            let digits = text.bytes().skip(start).take_while(u8::is_ascii_hexdigit).count();
            text.replace_range(start..start + digits, "");
            from = start;
        }
    });
}

/// The boundary of a multipart body that the sender made up, in its content-type and in the body.
fn boundaries(context: &Context, tree: &mut Value) {
    const KIND: &str = "multipart/form-data; boundary=";
    for message in messages(tree) {
        let named =
            header_values(message, "content-type").and_then(|values| values.first()?.as_str()?.strip_prefix(KIND));
        let Some(boundary) = named.filter(|text| text.len() >= 16 && !context.case_text.contains(*text)) else {
            continue;
        };
        let boundary = boundary.to_owned();
        message
            .values_mut()
            .for_each(|part| visit_strings(part, |_, text| *text = text.replace(&boundary, "<boundary>")));
    }
}

/// What a WebSocket's client made up for its handshake: 16 bytes.
fn websocket_keys(_: &Context, tree: &mut Value) {
    for value in messages(tree).filter_map(|message| header_values(message, "sec-websocket-key")).flatten() {
        if value.as_str().and_then(base64::decode).is_some_and(|bytes| bytes.len() == 16) {
            *value = "<key>".into();
        }
    }
}

/// The gateways' own addresses.
fn addresses(context: &Context, tree: &mut Value) {
    visit_strings(tree, |_, text| {
        for address in context.addresses.iter().filter(|address| !address.is_empty()) {
            if text.contains(address.as_str()) {
                *text = text.replace(address.as_str(), "<gateway>");
            }
        }
    });
}

/// Prefixes of ids that LiteLLM, OpenAI's and Anthropic's formats and LangChain make up.
const ID_PREFIXES: &[&str] =
    &["chatcmpl-", "cmpl-", "msg_", "resp_", "call_", "toolu_", "req_", "embd-", "batch_", "lc_run--"];

/// Generated ids, renamed consistently by first appearance: an id in two places stays the same in both.
fn ids(context: &Context, tree: &mut Value) {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    visit_strings(tree, |_, text| {
        let mut out = String::with_capacity(text.len());
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let end = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                rest.find(is_word).unwrap_or(rest.len())
            };
            let (word, tail) = rest.split_at(end);
            rest = tail;
            match id_kind(word).filter(|_| !context.case_text.contains(word)) {
                Some(kind) => out.push_str(names.entry(word.to_owned()).or_insert_with(|| {
                    let count = counts.entry(kind).or_default();
                    *count += 1;
                    format!("<{kind}#{count}>")
                })),
                None => out.push_str(word),
            }
        }
        if out != *text {
            *text = out;
        }
    });
}

fn id_kind(word: &str) -> Option<&'static str> {
    if is_uuid(word) {
        return Some("uuid");
    }
    let prefix = ID_PREFIXES.iter().find(|prefix| word.starts_with(**prefix))?;
    let rest = word.get(prefix.len()..)?;
    // a generated tail, not a word: long, with a digit
    (rest.len() >= 12 && rest.bytes().any(|byte| byte.is_ascii_digit())).then(|| prefix.trim_end_matches(['-', '_']))
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;
