//! The key out of a request's headers, parsed exactly as LiteLLM does (proxy/auth/user_api_key_auth.py `get_api_key`,
//! `get_bearer_token`; fastapi's `APIKeyHeader`). Pure. The key itself goes no further than this file: what is handed on
//! is its hash and the few characters LiteLLM shows of it.
use std::borrow::Cow;

use super::hash::KeyHash;
use crate::{routes::Head, secret::Secret};

/// Whom the headers claim to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// the master key
    Master,
    /// of LiteLLM's form; `shown`: `sk-...1234`, as refusals abbreviate it
    Candidate { hash: KeyHash, shown: String },
    /// no `sk-` in front; `shown`: `abcd****wxyz`, as the refusal masks it; `jwt`: three parts with dots between;
    /// `short`: too short to be a session of LiteLLM's admin pages, which is an encrypted text
    NotAKey { shown: String, jwt: bool, short: bool },
    /// no header carries one
    Missing,
    /// `authorization` without a known scheme, or nothing after it
    Malformed,
}

/// The headers a key is taken from without a scheme, after `x-litellm-api-key` and `authorization`; first present wins.
const RAW_KEY_HEADERS: [&str; 4] = ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

/// `MINIMUM_CUSTOM_KEY_LENGTH`: of a shorter key nothing is shown.
const SHOWN_FROM: usize = 16;
/// A nonce and a tag of NaCl alone are 54 characters of base64.
const SHORTEST_SESSION: usize = 48;

/// What the headers present. `master`: LiteLLM's master key.
pub fn presented(head: &Head, master: &Secret) -> Presented {
    let Some(key) = raw(head) else { return Presented::Missing };
    if key.is_empty() {
        return Presented::Malformed;
    }
    // Python compares str by `secrets.compare_digest`, which refuses non-ASCII
    if key.is_ascii() && master.matches(&key) {
        return Presented::Master;
    }
    if key.starts_with("sk-") {
        return Presented::Candidate { hash: KeyHash::of(&key), shown: abbreviated(&key) };
    }
    let length = key.chars().count();
    let shown = match length {
        ..=8 => "****".to_owned(),
        _ => format!("{}****{}", key.chars().take(4).collect::<String>(), tail(&key)),
    };
    Presented::NotAKey { shown, jwt: key.matches('.').count() == 2, short: length < SHORTEST_SESSION }
}

/// proxy/auth/auth_utils.py `abbreviate_api_key`
pub fn abbreviated(key: &str) -> String {
    if key.chars().count() < SHOWN_FROM { "sk-...".to_owned() } else { format!("sk-...{}", tail(key)) }
}

fn tail(key: &str) -> String {
    let from = key.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    key.get(from..).unwrap_or_default().to_owned()
}

/// `None`: no header has one. Empty: LiteLLM calls it malformed.
fn raw(head: &Head) -> Option<String> {
    // an empty header is none at all; of a header sent twice the first counts
    let header = |name: &str| head.headers.get(name).map(|value| latin1(value.as_bytes())).filter(|v| !v.is_empty());
    if let Some(value) = header("x-litellm-api-key") {
        return Some(unwrapped(&value).map_or_else(|| value.clone().into_owned(), Cow::into_owned));
    }
    if let Some(value) = header("authorization") {
        return Some(unwrapped(&value).map_or_else(String::new, Cow::into_owned));
    }
    RAW_KEY_HEADERS.iter().find_map(|name| header(name)).map(Cow::into_owned)
}

/// Starlette decodes header values as latin-1.
fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Without its scheme. LiteLLM takes the scheme out wherever it stands (`str.replace`). `None`: no known scheme.
fn unwrapped(value: &str) -> Option<Cow<'_, str>> {
    for scheme in ["Bearer ", "Basic ", "bearer "] {
        if value.starts_with(scheme) {
            return Some(Cow::Owned(value.replace(scheme, "")));
        }
    }
    if !value.starts_with("AWS4-HMAC-SHA256") {
        return None;
    }
    signature(value, true).or_else(|| signature(value, false)).map(Cow::Borrowed)
}

/// `Credential=Bearer\s+([^/\s,]+)`, and without the scheme: the first match of either.
fn signature(value: &str, bearer: bool) -> Option<&str> {
    let ends = |c: char| c == '/' || c == ',' || python_space(c);
    value.match_indices("Credential=").find_map(|(at, word)| {
        let mut rest = value.get(at + word.len()..)?;
        if bearer {
            let after = rest.strip_prefix("Bearer")?;
            rest = after.trim_start_matches(python_space);
            if rest.len() == after.len() {
                return None;
            }
        }
        let key = rest.split(ends).next()?;
        (!key.is_empty()).then_some(key)
    })
}

/// `\s` of Python's `re` among latin-1 characters.
fn python_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\x1c'..='\x1f' | ' ' | '\u{85}' | '\u{a0}')
}

#[cfg(test)]
#[path = "presented_tests.rs"]
mod presented_tests;
