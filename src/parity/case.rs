//! The case format (`parity-tests/cases/<route>/<name>.yaml`; its reference is parity-tests/README.md). Pure but for
//! [`load()`]. An unknown key is an error that names file and key: a typo must never weaken a case.
mod load;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{recorded::Recorded, sdk::ClientCall};
pub use crate::base64::decode as base64;
pub use load::{load, parse};

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
    /// sent to the Python gateway itself before the case, on either side: keys, teams, budgets it needs
    pub setup: Vec<Request>,
    /// statements for the gateway's database, after `setup`: what LiteLLM lets only a licence write
    pub sql: Vec<String>,
    /// the same after it: what `setup` made is taken away
    pub teardown: Vec<Request>,
    /// sent one after the other; none where a client drives the case
    pub requests: Vec<Request>,
    /// a real client instead of requests
    pub client: Option<ClientCall>,
    /// one per expected provider call
    pub answers: Vec<Answer>,
    pub expect: Expect,
    /// the edge runs with `configs/<this>.yaml` instead of config.yaml
    pub config: Option<String>,
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

    /// A client of it leaves before its answer is complete.
    pub fn leaves(&self) -> bool {
        self.requests.iter().any(|request| request.connection.is_some_and(Conduct::leaves))
    }

    /// A case for each client it names, `<name>@<client>`; itself where it names none.
    fn for_each_client(self) -> Vec<Case> {
        let Some(call) = &self.client else { return vec![self] };
        let with = |program: &String| Case {
            name: format!("{}@{program}", self.name),
            client: Some(ClientCall { programs: vec![program.clone()], ..call.clone() }),
            ..self.clone()
        };
        call.programs.iter().map(with).collect()
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

/// What a client does with its connection besides reading the answer to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ConductKeys")]
pub enum Conduct {
    /// closes it once the provider was called so often, without a look at the answer
    LeaveAfterCalls(usize),
    /// closes it once the answer's head is there
    LeaveAfterHead,
    /// closes it once so many events of the stream are there
    LeaveAfterEvents(usize),
    /// waits so many milliseconds before each piece it reads; pieces are small
    ReadDelayMs(u64),
}

impl Conduct {
    /// It is gone before the answer is complete.
    pub fn leaves(self) -> bool {
        !matches!(self, Conduct::ReadDelayMs(_))
    }
}

/// [`Conduct`] as written: exactly one key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConductKeys {
    leave_after_calls: Option<usize>,
    leave_after_head: Option<bool>,
    leave_after_events: Option<usize>,
    read_delay_ms: Option<u64>,
}

impl TryFrom<ConductKeys> for Conduct {
    type Error = &'static str;
    fn try_from(keys: ConductKeys) -> Result<Self, Self::Error> {
        match (keys.leave_after_calls, keys.leave_after_head, keys.leave_after_events, keys.read_delay_ms) {
            (Some(calls @ 1..), None, None, None) => Ok(Conduct::LeaveAfterCalls(calls)),
            (None, Some(true), None, None) => Ok(Conduct::LeaveAfterHead),
            (None, None, Some(events @ 1..), None) => Ok(Conduct::LeaveAfterEvents(events)),
            (None, None, None, Some(ms @ 1..)) => Ok(Conduct::ReadDelayMs(ms)),
            _ => Err("connection: give exactly one of leave_after_calls (1 or more), leave_after_head: true, \
                      leave_after_events (1 or more), read_delay_ms (1 or more)"),
        }
    }
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
    /// asks for a WebSocket, and says these texts on it, one after each one heard
    pub websocket: Option<Vec<String>>,
    pub connection: Option<Conduct>,
}

impl Request {
    /// How often the provider is called before the client leaves; 0: it does not wait for that.
    pub fn calls_before_leaving(&self) -> usize {
        match self.connection {
            Some(Conduct::LeaveAfterCalls(calls)) => calls,
            _ => 0,
        }
    }
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
    /// accepts the WebSocket that was asked for, and says the first of these texts at once, each other after one heard
    pub websocket: Option<Vec<String>>,
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
    /// A call that gets this whole is one LiteLLM counts.
    pub fn is_success(&self) -> bool {
        !self.is_silent() && self.then == Then::End && self.status.is_none_or(|status| (200..300).contains(&status))
    }

    /// Nothing is written before [`Answer::then`] happens.
    pub fn is_silent(&self) -> bool {
        matches!(self.then, Then::Hang | Then::Refuse)
            || (self.status.is_none()
                && self.headers.is_empty()
                && self.json.is_none()
                && self.body.is_none()
                && self.body_base64.is_none()
                && self.sse.is_none()
                && self.websocket.is_none()
                && self.then != Then::End)
    }
}

/// `json: null` is a body, no `json` is none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn a_connection_has_one_conduct() {
        let conduct = |keys: &str| {
            let with = format!("key: master, connection: {keys},");
            parse_text(&GOOD.replace("key: master,", &with)).map(|case| case.requests[0].connection)
        };
        assert_eq!(conduct("{leave_after_calls: 3}").unwrap(), Some(Conduct::LeaveAfterCalls(3)));
        assert_eq!(conduct("{leave_after_head: true}").unwrap(), Some(Conduct::LeaveAfterHead));
        assert_eq!(conduct("{leave_after_events: 2}").unwrap(), Some(Conduct::LeaveAfterEvents(2)));
        assert_eq!(conduct("{read_delay_ms: 5}").unwrap(), Some(Conduct::ReadDelayMs(5)));
        for wrong in [
            "{}",
            "{leave_after_calls: 0}",
            "{leave_after_events: 0}",
            "{leave_after_head: false}",
            "{read_delay_ms: 0}",
            "{leave_after_calls: 1, read_delay_ms: 1}",
            "{leave_after_evnts: 1}",
        ] {
            assert!(conduct(wrong).is_err(), "{wrong}");
        }
        assert!(!parse_text(GOOD).unwrap().leaves());
    }

    #[test]
    fn a_config_is_for_what_python_serves_and_exists() {
        let with = |config: &str| GOOD.replace("expect:", &format!("config: {config}\nexpect:"));
        assert_eq!(parse_text(&with("caching")).unwrap().config.as_deref(), Some("caching"));
        for wrong in ["''", "../config", "Caching"] {
            assert!(parse_text(&with(wrong)).is_err(), "{wrong}");
        }
        let native = with("caching").replace("declined:virtual_key", "native");
        assert!(parse_text(&native).unwrap_err().to_string().contains("Python serves"));
        let dir = crate::manifest::testing::TempDir::new();
        std::fs::create_dir_all(dir.path().join("cases/messages")).unwrap();
        std::fs::write(dir.path().join("cases/messages/x.yaml"), with("caching")).unwrap();
        assert!(load(&dir.path().join("cases")).unwrap_err().to_string().contains("configs/caching.yaml"));
        std::fs::create_dir_all(dir.path().join("configs")).unwrap();
        std::fs::write(dir.path().join("configs/caching.yaml"), "").unwrap();
        assert_eq!(load(&dir.path().join("cases")).unwrap().len(), 1);
    }

    #[test]
    fn what_is_set_up_is_read_and_checked_as_requests_are() {
        let with = |path: &str| {
            let made = format!("setup: [{{ method: POST, path: {path}, key: master, json: {{ key: sk-x }} }}]");
            parse_text(&GOOD.replace("provider:", &format!("{made}\nprovider:")))
        };
        let case = with("/key/generate").unwrap();
        assert_eq!((case.setup.len(), case.teardown.len(), case.requests.len()), (1, 0, 1));
        assert!(with("key").unwrap_err().to_string().contains("setup.path"));
    }

    #[test]
    fn json_null_is_a_body() {
        let case =
            parse_text("{route: messages, why: x, expect: native, request: {method: POST, path: /, json: null}}");
        assert_eq!(case.unwrap().requests[0].json, Some(Value::Null));
    }
}
