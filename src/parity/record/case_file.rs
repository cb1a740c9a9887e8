//! From a capture to the text of a case file. Pure. What could not be played back the same way is not written at all,
//! with a counted reason.
use std::io::Read;

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::redact::{Redactor, Rules, is_credential};
use crate::{
    base64,
    capture::{End, Exchange, Headers, Part, Served, Taken},
    edge::decide::UNLISTED,
    manifest::decide::OTHER,
    parity::case,
    secret::Secret,
};

macro_rules! skips {
    ($($variant:ident = $name:literal, $why:literal;)*) => {
        /// Why a capture became no case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Skip { $(#[doc = $why] $variant,)* }

        impl Skip {
            /// The name in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Skip::$variant => $name,)* }
            }

            /// One line for people.
            pub fn why(self) -> &'static str {
                match self { $(Skip::$variant => $why,)* }
            }
        }
    };
}

skips! {
    TooLarge = "too_large", "a body was over --max-body";
    Ambiguous = "ambiguous", "it could not be told which of several requests a provider's call belonged to";
    NoProvider = "no_provider", "Python called a provider, and not by way of --provider";
    Unreachable = "unreachable", "the provider could not be reached: nothing to script";
    Encoded = "encoded", "a body was compressed in a way that is not read";
    Caller = "caller", "the caller's credential is of a kind that a case cannot carry";
    Secret = "secret", "a secret was still there after redaction";
    Unfit = "unfit", "what came out is no valid case";
}

/// Headers of a request that are recorded; the rest may be anybody's secret and is left out.
const KEPT: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "origin",
    "user-agent",
];
const KEPT_PREFIXES: &[&str] = &["x-stainless-", "x-litellm-"];

/// Headers of a provider's answer that move, are the connection's, or name the account.
const VOLATILE: &[&str] = &[
    "age",
    "alt-svc",
    "anthropic-organization-id",
    "cf-cache-status",
    "cf-ray",
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "keep-alive",
    "nel",
    "openai-organization",
    "openai-project",
    "report-to",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "via",
    "x-cloud-trace-context",
];

const FORM: &str = "application/x-www-form-urlencoded";

/// How [`render`] sees the gateway.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    pub rules: &'a Rules,
    pub master_key: Option<Secret>,
    /// provider keys and whatever else it knows
    pub secrets: Vec<Secret>,
}

/// The file's text; `name` is its name without folder.
pub(super) fn render(taken: &Taken, served: Served, gateway: &Gateway<'_>, name: &str) -> Result<String, Skip> {
    let parts = taken.exchanges.iter().flat_map(|call| [&call.body, &call.answer]);
    if parts.chain([&taken.body, &taken.answer]).any(|part| part.over) {
        return Err(Skip::TooLarge);
    }
    if taken.spoiled || (taken.unsure && !confirmed(taken)) {
        return Err(Skip::Ambiguous);
    }
    let from_provider =
        |name: &str| name.starts_with("llm_provider-") || name.eq_ignore_ascii_case("x-litellm-model-api-base");
    if taken.exchanges.is_empty() && taken.answer_headers.iter().any(|(name, _)| from_provider(name)) {
        return Err(Skip::NoProvider);
    }
    if header(&taken.headers, "content-encoding").is_some() {
        return Err(Skip::Encoded);
    }
    let mut known = gateway.secrets.clone();
    known.extend(gateway.master_key.clone());
    let headers = taken.exchanges.iter().map(|call| &call.headers).chain([&taken.headers]);
    let redactor = Redactor::new(gateway.rules, known, headers);

    let expect = match served {
        Served::Native => "native".to_owned(),
        Served::Python(Some(reason)) => format!("declined:{reason}"),
        Served::Python(None) => "passed".to_owned(),
    };
    let at = OffsetDateTime::from(taken.at).format(&Rfc3339).unwrap_or_default();
    let by = if served == Served::Native { "native" } else { "python" };
    let mut file = Map::new();
    let route = folder(&taken.route);
    file.insert("route".into(), route.clone().into());
    file.insert("why".into(), format!("recorded traffic, answered by {by}").into());
    file.insert("request".into(), request(taken, gateway, &redactor)?);
    let answers = taken.exchanges.iter().map(|call| answer(call, served, &redactor)).collect::<Result<Vec<_>, _>>()?;
    file.insert("provider".into(), json!({ "answers": answers }));
    file.insert("expect".into(), expect.into());
    file.insert("recorded".into(), json!({"at": at, "by": by, "answers": [recorded(taken, &redactor)?]}));
    let text = serde_yaml::to_string(&Value::Object(file)).map_err(|_| Skip::Unfit)?;
    if redactor.is_in(&text) {
        return Err(Skip::Secret);
    }
    let path = std::path::Path::new(&route).join(format!("{name}.yaml"));
    case::parse(&path, &text).map_err(|_| Skip::Unfit)?;
    Ok(text)
}

/// The folder of a route's cases.
pub(super) fn folder(route: &str) -> String {
    let plain = !route.is_empty() && route.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain && ![OTHER, UNLISTED].contains(&route) { route.to_owned() } else { "pass_through".to_owned() }
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

/// A text of the provider's answer stands in the client's: the call was this request's.
fn confirmed(taken: &Taken) -> bool {
    let shown = String::from_utf8_lossy(&taken.answer.bytes);
    taken.exchanges.iter().all(|call| {
        let answer = plain(&call.answer_headers, &call.answer).unwrap_or_default();
        let text = String::from_utf8_lossy(&answer);
        let mut words = text.split('"').filter(|word| word.len() >= 16 && !word.contains(['\\', '{', ' ']));
        words.any(|word| shown.contains(word))
    })
}

fn request(taken: &Taken, gateway: &Gateway<'_>, redactor: &Redactor<'_>) -> Result<Value, Skip> {
    let mut out = Map::new();
    out.insert("method".into(), taken.method.clone().into());
    out.insert("path".into(), redactor.target(&taken.target).into());
    caller(taken, gateway, &mut out)?;
    let mut headers = Map::new();
    for (name, value) in &taken.headers {
        let name = name.to_ascii_lowercase();
        let listed = KEPT.contains(&name.as_str()) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let kept = gateway.rules.keep.contains(&name) || (listed && !gateway.rules.headers.contains(&name));
        if kept && !is_credential(&name) {
            push(&mut headers, name, redactor.text(&latin1(value)).into_owned());
        }
    }
    // a case adds these by itself
    for default in ["accept", "user-agent"] {
        if !headers.contains_key(default) {
            headers.insert(default.into(), Value::Null);
        }
    }
    let json_type = headers.get("content-type").is_some_and(|value| value == "application/json");
    let form = headers.get("content-type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with(FORM));
    let body = match std::str::from_utf8(&taken.body.bytes) {
        Ok(text) if form => Some(("body", redactor.form(text).into())),
        _ => content(&taken.body.bytes, redactor, |text, tree| skeleton(text) == skeleton(tree)),
    };
    match body {
        Some((kind, body)) if !taken.body.bytes.is_empty() => {
            if kind == "json" && json_type {
                headers.remove("content-type");
            } else if kind == "json" && !headers.contains_key("content-type") {
                headers.insert("content-type".into(), Value::Null);
            }
            out.insert("headers".into(), headers.into());
            out.insert(kind.into(), body);
        }
        _ => {
            out.insert("headers".into(), headers.into());
        }
    }
    Ok(Value::Object(out))
}

/// Whose key it was. A key of the gateway's database is named by an environment variable: a case holds none.
fn caller(taken: &Taken, gateway: &Gateway<'_>, out: &mut Map<String, Value>) -> Result<(), Skip> {
    const HEADERS: [&str; 5] = ["x-litellm-api-key", "authorization", "api-key", "x-api-key", "x-goog-api-key"];
    // Google's clients send it as a parameter
    let query = taken.target.split_once('?').map_or("", |(_, query)| query);
    if query.split('&').any(|pair| pair.starts_with("key=")) {
        return Err(Skip::Caller);
    }
    let sent: Vec<(&str, String)> =
        HEADERS.iter().filter_map(|name| header(&taken.headers, name).map(|value| (*name, latin1(value)))).collect();
    let (name, value) = match sent.as_slice() {
        [] => {
            out.insert("key".into(), "none".into());
            return Ok(());
        }
        [one] => one,
        _ => return Err(Skip::Caller),
    };
    let bare = match *name {
        "authorization" => value.strip_prefix("Bearer ").ok_or(Skip::Caller)?,
        _ => {
            out.insert("key_header".into(), (*name).into());
            value
        }
    };
    let master = gateway.master_key.as_ref().is_some_and(|key| key.matches(bare));
    out.insert("key".into(), if master { "master".into() } else { format!("env:{CALLER_KEY}").into() });
    Ok(())
}

/// Names the environment variable with the caller's key at play-back.
pub const CALLER_KEY: &str = "PARITY_CALLER_KEY";

fn push(headers: &mut Map<String, Value>, name: String, value: String) {
    match headers.get_mut(&name) {
        None => {
            headers.insert(name, value.into());
        }
        Some(Value::Array(values)) => values.push(value.into()),
        Some(one) => *one = json!([one.take(), value]),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The key of the case format and the value. `same`: whether the tree, as it will be sent, may stand for the text. One
/// that something must be taken out of always does: only there is everything found.
fn content(bytes: &[u8], redactor: &Redactor<'_>, same: impl Fn(&str, &str) -> bool) -> Option<(&'static str, Value)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some(("body_base64", base64::encode(&redactor.bytes(bytes)).into()));
    };
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let mut redacted = value.clone();
        redactor.json(&mut redacted);
        if redacted != value || redactor.names_field(text) || same(text, &value.to_string()) {
            return Some(("json", redacted));
        }
    }
    Some(("body", redactor.loose(text).into()))
}

/// All but white space and what stands in strings: what a tree loses (a key twice, digits) is missed here.
fn skeleton(json: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in json.chars() {
        match (inside, c) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (true, '"') => inside = false,
            (true, _) => {}
            (false, '"') => inside = true,
            (false, c) if c.is_ascii_whitespace() => {}
            (false, c) => out.push(c),
        }
    }
    out
}

/// The body without its compression.
fn plain(headers: &Headers, part: &Part) -> Option<Vec<u8>> {
    const MOST: u64 = 64 << 20;
    let mut out = Vec::new();
    let bytes = part.bytes.as_slice();
    match header(headers, "content-encoding").map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"identity") => return Some(part.bytes.clone()),
        // what was cut gives what could be unpacked
        Some(b"gzip" | b"x-gzip") => flate2::read::MultiGzDecoder::new(bytes).take(MOST).read_to_end(&mut out).ok()?,
        Some(b"deflate") => flate2::read::ZlibDecoder::new(bytes).take(MOST).read_to_end(&mut out).ok()?,
        Some(_) => return None,
    };
    Some(out)
}

/// Status, headers and body as the case format has them.
fn message(
    status: u16,
    headers: Map<String, Value>,
    kind: &str,
    body: &[u8],
    redactor: &Redactor<'_>,
) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("status".into(), status.into());
    let frames = frames(body).filter(|_| kind.starts_with("text/event-stream"));
    let content = match frames {
        Some(frames) => {
            let frames: Vec<Value> = frames.iter().map(|frame| event(frame, redactor).into()).collect();
            Some(("sse", Value::from(frames)))
        }
        // LiteLLM shows a provider's error as it came, white space and all
        None => content(body, redactor, |text, tree| status < 400 || text == tree).filter(|_| !body.is_empty()),
    };
    if !headers.is_empty() {
        out.insert("headers".into(), headers.into());
    }
    if let Some((key, value)) = content {
        out.insert(key.into(), value);
    }
    out
}

/// The frames of a whole event stream; `None` where its last one is not complete or lines end otherwise.
fn frames(body: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.strip_suffix("\n\n")?;
    (!text.contains('\r')).then(|| text.split("\n\n").collect())
}

/// One frame; its JSON is walked where that is all that `data` holds.
fn event(frame: &str, redactor: &Redactor<'_>) -> String {
    let line = |line: &str| {
        let Some(data) = line.strip_prefix("data:") else { return redactor.text(line).into_owned() };
        let Ok(value) = serde_json::from_str::<Value>(data) else { return redactor.loose(line).into_owned() };
        let mut redacted = value.clone();
        redactor.json(&mut redacted);
        if redacted == value && matches!(redactor.text(data), std::borrow::Cow::Borrowed(_)) {
            line.to_owned()
        } else {
            format!("data: {redacted}")
        }
    };
    frame.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// One scripted answer of the provider.
fn answer(call: &Exchange, served: Served, redactor: &Redactor<'_>) -> Result<Value, Skip> {
    let Some(status) = call.status else {
        return match call.end {
            Some(End::Connect) => Err(Skip::Unreachable),
            Some(End::Timeout) => Ok(json!({"then": "hang"})),
            Some(End::Reset) if served == Served::Native => Ok(json!({"then": "reset"})),
            // Python saw the forwarder close, whatever the provider did
            _ => Ok(json!({"then": "refuse"})),
        };
    };
    let kind = header(&call.answer_headers, "content-type").map(latin1).unwrap_or_default();
    let mut headers = Map::new();
    for (name, value) in &call.answer_headers {
        let name = name.to_ascii_lowercase();
        if !VOLATILE.contains(&name.as_str()) && !is_credential(&name) && !redactor.leaves_out(&name) {
            push(&mut headers, name, redactor.text(&latin1(value)).into_owned());
        }
    }
    let body = plain(&call.answer_headers, &call.answer).ok_or(Skip::Encoded)?;
    let mut out = message(status, headers, &kind, &body, redactor);
    let chunked = header(&call.answer_headers, "content-length").is_none() && !out.contains_key("sse");
    if chunked && !body.is_empty() {
        out.insert("chunked".into(), true.into());
    }
    match call.end {
        Some(End::Cut | End::Reset | End::Connect) => out.insert("then".into(), "cut".into()),
        Some(End::Timeout) => out.insert("then".into(), "stall".into()),
        Some(End::Complete) | None => None,
    };
    Ok(Value::Object(out))
}

/// What the client got: status, type and body. Other headers say which deployment answered, and when.
fn recorded(taken: &Taken, redactor: &Redactor<'_>) -> Result<Value, Skip> {
    let kind = header(&taken.answer_headers, "content-type").map(latin1).unwrap_or_default();
    let mut headers = Map::new();
    if !kind.is_empty() {
        headers.insert("content-type".into(), redactor.text(&kind).into());
    }
    let body = plain(&taken.answer_headers, &taken.answer).ok_or(Skip::Encoded)?;
    Ok(Value::Object(message(taken.status, headers, &kind, &body, redactor)))
}

#[cfg(test)]
#[path = "case_file_tests.rs"]
mod tests;
