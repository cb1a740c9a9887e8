//! The case format (`parity-tests/cases/<route>/<name>.yaml`; its reference is parity-tests/README.md). Pure but for
//! [`load`]. An unknown key is an error that names file and key: a typo must never weaken a case.
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::recorded::Recorded;

/// What is wrong with a case file.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("{file}: {source}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file}: {message}")]
    Invalid { file: PathBuf, message: String },
}

/// One file of the suite.
#[derive(Debug, Clone)]
pub struct Case {
    /// `<route>/<file name without .yaml>`
    pub name: String,
    /// route id, or `pass_through`
    pub route: String,
    /// what could go wrong
    pub why: String,
    /// at least one, sent one after the other
    pub requests: Vec<Request>,
    /// one per expected provider call
    pub answers: Vec<Answer>,
    pub expect: Expect,
    /// the client's body must be equal byte for byte too
    pub compare_bytes: bool,
    /// what the live gateway answered, in a case of `parity record`
    pub recorded: Option<Recorded>,
    /// the file itself, but for `recorded`: what stands in it is the case's own and is never normalised away
    pub text: String,
}

impl Case {
    /// The file's name without `.yaml`.
    pub fn file(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// Who must serve the case on the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    Native,
    /// passed to Python with this counted reason (a word of `routes::Decline`)
    Declined(String),
    /// passed to Python without a decline: no native route matches
    Passed,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Native => f.write_str("native"),
            Expect::Declined(reason) => write!(f, "declined:{reason}"),
            Expect::Passed => f.write_str("passed"),
        }
    }
}

/// A header's value in a case: `null` drops the default, a list sends it more than once.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    None(()),
    One(String),
    Many(Vec<String>),
}

impl HeaderValue {
    /// The values to send.
    pub fn values(&self) -> &[String] {
        match self {
            HeaderValue::None(()) => &[],
            HeaderValue::One(value) => std::slice::from_ref(value),
            HeaderValue::Many(values) => values,
        }
    }
}

/// Whose key the request carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    Master,
    #[default]
    None,
    /// well-formed, known to nobody
    Wrong,
    /// this text as it is
    Raw(String),
    /// what the environment variable of this name holds
    Env(String),
}

/// One client request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// raw target with query
    pub path: String,
    #[serde(default)]
    pub key: KeyText,
    /// the header the key goes into, bare; default: `authorization: Bearer <key>`
    pub key_header: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderValue>,
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
    pub body: Option<String>,
    pub body_base64: Option<String>,
}

/// [`Key`] as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyText(pub Key);

impl TryFrom<String> for KeyText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Ok(KeyText(match text.as_str() {
            "master" => Key::Master,
            "none" => Key::None,
            "wrong" => Key::Wrong,
            _ => match text.strip_prefix("raw:") {
                Some(raw) => Key::Raw(raw.to_owned()),
                None => match text.strip_prefix("env:") {
                    Some(name) if !name.is_empty() => Key::Env(name.to_owned()),
                    _ => return Err(format!("key {text:?}: must be master, none, wrong, raw:<text> or env:<NAME>")),
                },
            },
        }))
    }
}

/// How an answer of the provider ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// complete; the connection is kept
    #[default]
    End,
    /// FIN in the middle of the framing
    Cut,
    /// RST after what was scripted
    Reset,
    /// silence after what was scripted
    Stall,
    /// no answer at all, until the caller gives up
    Hang,
    /// closed without a byte
    Refuse,
}

/// One answer of the scripted provider.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: Option<u16>,
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderValue>,
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
    pub body: Option<String>,
    pub body_base64: Option<String>,
    pub sse: Option<Vec<String>>,
    /// chunked although the length is known
    #[serde(default)]
    pub chunked: bool,
    #[serde(default)]
    pub delay_ms: u64,
    #[serde(default)]
    pub frame_delay_ms: u64,
    #[serde(default)]
    pub then: Then,
}

impl Answer {
    /// Nothing is written before [`Answer::then`] happens.
    pub fn is_silent(&self) -> bool {
        matches!(self.then, Then::Hang | Then::Refuse)
            || (self.status.is_none()
                && self.headers.is_empty()
                && self.json.is_none()
                && self.body.is_none()
                && self.body_base64.is_none()
                && self.sse.is_none()
                && self.then != Then::End)
    }
}

/// `json: null` is a body, no `json` is none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    #[serde(default)]
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    route: String,
    why: String,
    request: Option<Request>,
    requests: Option<Vec<Request>>,
    #[serde(default = "no_answers")]
    provider: Provider,
    expect: String,
    compare: Option<Compare>,
    recorded: Option<Recorded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compare {
    Bytes,
}

fn no_answers() -> Provider {
    Provider { answers: Vec::new() }
}

/// Parses one case. `file`: names it in errors; its last two components are the case's name.
pub fn parse(file: &Path, text: &str) -> Result<Case, CaseError> {
    let invalid = |message: String| CaseError::Invalid { file: file.to_owned(), message };
    let parsed: File = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if parsed.route != folder {
        return Err(invalid(format!("route: {:?} is in the folder {folder:?}", parsed.route)));
    }
    if parsed.why.trim().is_empty() {
        return Err(invalid("why: says nothing".into()));
    }
    let requests = match (parsed.request, parsed.requests) {
        (Some(request), None) => vec![request],
        (None, Some(requests)) if !requests.is_empty() => requests,
        _ => return Err(invalid("request: give exactly one of `request` and a non-empty `requests`".into())),
    };
    for request in &requests {
        let bodies = [request.json.is_some(), request.body.is_some(), request.body_base64.is_some()];
        if bodies.iter().filter(|given| **given).count() > 1 {
            return Err(invalid("request: give one of json, body, body_base64".into()));
        }
        if let Some(text) = &request.body_base64 {
            base64(text).ok_or_else(|| invalid("request.body_base64: not base64".into()))?;
        }
        if !request.path.starts_with('/') && request.path != "*" {
            return Err(invalid(format!("request.path: {:?} does not start with /", request.path)));
        }
    }
    for (i, answer) in parsed.provider.answers.iter().enumerate() {
        let bodies = [answer.json.is_some(), answer.body.is_some(), answer.body_base64.is_some(), answer.sse.is_some()];
        if bodies.iter().filter(|given| **given).count() > 1 {
            return Err(invalid(format!("provider.answers[{i}]: give one of json, body, body_base64, sse")));
        }
        if let Some(text) = &answer.body_base64 {
            base64(text).ok_or_else(|| invalid(format!("provider.answers[{i}].body_base64: not base64")))?;
        }
    }
    let expect = match parsed.expect.as_str() {
        "native" => Expect::Native,
        "passed" => Expect::Passed,
        other => match other.strip_prefix("declined:") {
            Some(reason) if !reason.is_empty() => Expect::Declined(reason.to_owned()),
            _ => return Err(invalid(format!("expect: {other:?} must be native, passed or declined:<reason>"))),
        },
    };
    Ok(Case {
        name: format!("{folder}/{stem}"),
        route: parsed.route,
        why: parsed.why,
        requests,
        answers: parsed.provider.answers,
        expect,
        compare_bytes: matches!(parsed.compare, Some(Compare::Bytes)),
        text: if parsed.recorded.is_some() { own_text(text) } else { text.to_owned() },
        recorded: parsed.recorded,
    })
}

/// The file without what was recorded.
fn own_text(text: &str) -> String {
    let mut tree: serde_yaml::Mapping = serde_yaml::from_str(text).unwrap_or_default();
    tree.remove("recorded");
    serde_yaml::to_string(&tree).unwrap_or_default()
}

/// Reads every case below `dir`, in order of name.
pub fn load(dir: &Path) -> Result<Vec<Case>, CaseError> {
    let read = |file: &Path, source| CaseError::Read { file: file.to_owned(), source };
    let mut cases = Vec::new();
    for folder in sorted_entries(dir).map_err(|e| read(dir, e))?.into_iter().filter(|path| path.is_dir()) {
        for file in sorted_entries(&folder).map_err(|e| read(&folder, e))? {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&file).map_err(|e| read(&file, e))?;
                cases.push(parse(&file, &text)?);
            }
        }
    }
    Ok(cases)
}

fn sorted_entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Standard base64 with padding; white space is skipped. `None`: not base64.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut bits, mut padding) = (0u32, 0u32, false);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding = true;
                continue;
            }
            _ => return None,
        };
        if padding {
            return None;
        }
        group = (group << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    (bits < 6 && group == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
route: messages
why: something
request: { method: POST, path: /v1/messages, key: master, headers: { a: [x, y], accept: null }, json: { z: 1, a: [2.5, null] } }
provider:
  answers:
    - { status: 200, sse: ["data: {}"], then: cut }
    - { then: refuse }
expect: declined:virtual_key
"#;

    fn parse_text(text: &str) -> Result<Case, CaseError> {
        parse(Path::new("cases/messages/x.yaml"), text)
    }

    #[test]
    fn a_case_is_read() {
        let case = parse_text(GOOD).unwrap();
        assert_eq!(case.name, "messages/x");
        assert_eq!(case.expect, Expect::Declined("virtual_key".into()));
        assert_eq!(case.requests[0].key.0, Key::Master);
        assert_eq!(case.requests[0].headers["a"].values(), ["x", "y"]);
        assert!(case.requests[0].headers["accept"].values().is_empty());
        // the order of keys is the order sent
        assert_eq!(case.requests[0].json.as_ref().unwrap().to_string(), r#"{"z":1,"a":[2.5,null]}"#);
        assert_eq!(case.answers[0].then, Then::Cut);
        assert!(!case.answers[0].is_silent() && case.answers[1].is_silent());
    }

    #[test]
    fn errors_name_file_and_key() {
        for (from, to, word) in [
            ("why:", "whyy:", "whyy"),
            ("key: master", "key: mister", "mister"),
            ("then: cut", "then: cutt", "cutt"),
            ("status: 200", "statu: 200", "statu"),
            ("declined:virtual_key", "decline", "decline"),
            ("route: messages", "route: models", "models"),
            ("path: /v1", "path: v1", "v1/messages"),
        ] {
            let error = parse_text(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains("messages/x.yaml") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn json_null_is_a_body() {
        let case =
            parse_text("{route: messages, why: x, expect: native, request: {method: POST, path: /, json: null}}");
        assert_eq!(case.unwrap().requests[0].json, Some(Value::Null));
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(base64("aGk=").unwrap(), b"hi");
        assert_eq!(base64("aGkh\naGkh").unwrap(), b"hi!hi!");
        assert_eq!(base64("a"), None);
        assert_eq!(base64("aG=k"), None);
        assert_eq!(base64("aGk%"), None);
    }
}
