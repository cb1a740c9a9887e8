//! What is taken out of a recorded case before it is written: keys the gateway knows, keys the caller or the gateway
//! sent, what looks like a key, and whatever the operator names. Pure. Errs on the side of taking out.
//!
//! The same secret becomes the same word wherever it stands, so that a case stays consistent. Not seen: a secret that
//! nobody named and that looks like none, and one cut into pieces by the events of a stream.
use std::{borrow::Cow, collections::BTreeSet, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

use crate::{capture::Headers, error::redact::redact, percent, secret::Secret};

/// What stands in place of a secret.
pub const PLACEHOLDER: &str = "redacted";

/// Shorter known secrets would shred every text; a case that holds one all the same is not written.
const SHORTEST: usize = 4;

/// Headers whose value is a credential.
const CREDENTIALS: &str = r"(?i)(?:^|[-_])(?:authorization|api-?key|key|token|secret|password|passwd|cookie|session|credentials?|signature|jwt)(?:$|[-_])";

/// JSON keys whose value is a credential, besides those the operator names. Not `token` and `*_tokens`: log
/// probabilities and usage.
const FIELDS: &str = concat!(
    r"(?i)^(?:.*[-_])?(?:api[-_]?key|apikey|authorization|secret|secret[-_]key|password|passwd|private[-_]key|access[-_]key(?:[-_]id)?|",
    r"(?:access|refresh|auth|id|session|bearer|ad|security|hf)[-_]token|credentials?|cookie|webhook[-_]url)$"
);

/// The query's parameters of that kind.
const PARAMETERS: &str =
    r"(?i)^(?:key|sig|code|.*(?:api[-_]?key|token|secret|password|passwd|signature|credential).*)$";

fn regex(pattern: &'static str) -> Option<Regex> {
    Regex::new(pattern).ok() // a test holds that they are right
}

static CREDENTIAL: LazyLock<Option<Regex>> = LazyLock::new(|| regex(CREDENTIALS));
static FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| regex(FIELDS));
static PARAMETER: LazyLock<Option<Regex>> = LazyLock::new(|| regex(PARAMETERS));
/// `"name": "value"` in a text that is no whole JSON, also escaped inside another string.
static PAIR: LazyLock<Option<Regex>> =
    LazyLock::new(|| regex(r#"(\\?")([^"\\]{1,64})(\\?"\s*:\s*\\?")((?:[^"\\]|\\[^"])*)"#));
/// `"name": ` before anything but a text.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r#"\\?"([^"\\]{1,64})\\?"\s*:\s*(?:[^"\\\s]|$)"#));

fn is(kind: &LazyLock<Option<Regex>>, name: &str) -> bool {
    kind.as_ref().is_none_or(|kind| kind.is_match(name))
}

/// Whether the header's value is a credential, and so never recorded.
pub fn is_credential(header: &str) -> bool {
    is(&CREDENTIAL, header)
}

/// What an operator names.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// JSON keys, at any depth
    pub fields: BTreeSet<String>,
    pub patterns: Vec<Regex>,
    /// further headers, lower-case, that are no credential but must not be recorded
    pub headers: BTreeSet<String>,
    /// further headers, lower-case, that are recorded
    pub keep: BTreeSet<String>,
}

/// Takes secrets out of the texts of one case.
#[derive(Debug)]
pub struct Redactor<'a> {
    rules: &'a Rules,
    known: Vec<Secret>,
}

impl<'a> Redactor<'a> {
    /// `known`: the gateway's own secrets; `headers`: of the client's request and of the calls to providers.
    pub fn new<'h>(rules: &'a Rules, known: Vec<Secret>, headers: impl Iterator<Item = &'h Headers>) -> Self {
        let mut all: Vec<Secret> = known;
        for (name, value) in headers.flatten() {
            if is_credential(name) || rules.headers.contains(name) {
                let text = String::from_utf8_lossy(value);
                let bare = text.split_once(' ').map_or("", |(_, bare)| bare.trim());
                all.extend([text.trim(), bare].map(Secret::new));
            }
        }
        all.retain(|secret| secret.expose().len() >= SHORTEST && secret.expose() != PLACEHOLDER);
        let escaped: Vec<Secret> = all.iter().flat_map(|secret| variants(secret.expose())).collect();
        all.extend(escaped);
        // the longest first: a part of another secret must not leave the rest behind
        all.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        all.dedup();
        Self { rules, known: all }
    }

    /// Any text.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.known {
            if text.contains(secret.expose()) {
                text = Cow::Owned(text.replace(secret.expose(), PLACEHOLDER));
            }
        }
        if let Some(pairs) = PAIR.as_ref()
            && pairs.captures_iter(&text).any(|pair| pair.get(2).is_some_and(|name| self.is_field(name.as_str())))
        {
            let out = pairs.replace_all(&text, |pair: &Captures<'_>| match pair.get(2) {
                Some(name) if self.is_field(name.as_str()) => {
                    format!("{}{}{}{PLACEHOLDER}", &pair[1], &pair[2], &pair[3])
                }
                _ => pair[0].to_owned(),
            });
            text = Cow::Owned(out.into_owned());
        }
        if let Cow::Owned(out) = redact(&text) {
            text = Cow::Owned(out);
        }
        for pattern in &self.rules.patterns {
            if pattern.is_match(&text) {
                text = Cow::Owned(pattern.replace_all(&text, PLACEHOLDER).into_owned());
            }
        }
        text
    }

    /// Whether a key that is taken out stands there with more than a text as its value: [`Self::text`] does not see that.
    pub fn names_field(&self, text: &str) -> bool {
        let field = |pair: Captures<'_>| pair.get(1).is_some_and(|name| self.is_field(name.as_str()));
        NAME.as_ref().is_none_or(|names| names.captures_iter(text).any(field))
    }

    /// A text that should have been JSON, perhaps cut: it goes whole where not all of it can be judged.
    pub fn loose<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.names_field(text) { PLACEHOLDER.into() } else { self.text(text) }
    }

    /// Bytes that are no text.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let latin1: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        match self.text(&latin1) {
            Cow::Borrowed(_) => bytes.to_vec(),
            Cow::Owned(text) => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
        }
    }

    fn is_field(&self, name: &str) -> bool {
        self.rules.fields.contains(name) || is(&FIELD, name)
    }

    /// A whole JSON value, in place.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(out) = self.text(text) {
                    *text = out;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(map) => {
                let entries = std::mem::take(map);
                for (key, mut value) in entries {
                    if self.is_field(&key) {
                        blank(&mut value)
                    } else {
                        self.json(&mut value)
                    }
                    map.insert(self.text(&key).into_owned(), value);
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if matches!(self.text(&text), Cow::Owned(_)) {
                    *value = Value::from(0);
                }
            }
            _ => {}
        }
    }

    /// Raw path and query.
    pub fn target(&self, target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let segments: Vec<Cow<'_, str>> = path.split('/').map(|segment| self.spelled(segment)).collect();
        let path = segments.join("/");
        let whole = match query {
            Some(query) => format!("{path}?{}", self.pairs(query)),
            None => path,
        };
        self.text(&whole).into_owned()
    }

    /// A form: `a=b&c=d`.
    pub fn form(&self, form: &str) -> String {
        // as a query, which the patterns know
        let query = format!("?{}", self.pairs(form));
        let text = self.text(&query);
        text.strip_prefix('?').unwrap_or(&text).to_owned()
    }

    fn pairs(&self, pairs: &str) -> String {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if self.is_parameter(&decoded(name)) => format!("{}={PLACEHOLDER}", self.spelled(name)),
            Some((name, value)) => format!("{}={}", self.spelled(name), self.spelled(value)),
            None => self.spelled(pair).into_owned(),
        };
        let pairs: Vec<String> = pairs.split('&').map(pair).collect();
        pairs.join("&")
    }

    fn is_parameter(&self, name: &str) -> bool {
        is(&PARAMETER, name) || self.is_field(name)
    }

    /// A percent-encoded word: taken out whole where it says what [`Self::text`] would take out.
    fn spelled<'t>(&self, word: &'t str) -> Cow<'t, str> {
        match self.text(&decoded(word)) {
            Cow::Borrowed(_) => Cow::Borrowed(word),
            Cow::Owned(_) => PLACEHOLDER.into(),
        }
    }

    /// Whether the operator wants this header left out.
    pub fn leaves_out(&self, header: &str) -> bool {
        self.rules.headers.contains(header)
    }

    /// Whether a secret or a pattern of the operator stands in a finished file.
    pub fn is_in(&self, text: &str) -> bool {
        self.known.iter().any(|secret| text.contains(secret.expose()))
            || self.rules.patterns.iter().any(|pattern| pattern.is_match(text))
    }
}

/// The shape stays, the values go.
fn blank(value: &mut Value) {
    match value {
        Value::String(_) => *value = PLACEHOLDER.into(),
        Value::Number(_) => *value = 0.into(),
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(map) => map.values_mut().for_each(blank),
        Value::Bool(_) | Value::Null => {}
    }
}

/// `%20` and `+` are blanks.
fn decoded(word: &str) -> Cow<'_, str> {
    if !word.contains(['%', '+']) {
        return Cow::Borrowed(word);
    }
    let spaced = word.replace('+', " ");
    String::from_utf8_lossy(&percent::decode(&spaced)).into_owned().into()
}

/// As it stands inside JSON, in a URL, and in base64.
fn variants(secret: &str) -> Vec<Secret> {
    let json = Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let url = |lower: bool| -> String {
        let escaped = |byte: u8| if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
        secret.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { escaped(byte) }).collect()
    };
    let base64 = crate::base64::encode(secret.as_bytes());
    let base64 = base64.trim_end_matches('=').to_owned();
    [json, url(false), url(true), base64].into_iter().filter(|found| found != secret).map(Secret::new).collect()
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
