//! Provider `openai` and every OpenAI-compatible `api_base`: what LiteLLM makes of a chat completion on its way to the
//! provider and of the provider's answer, as its OpenAI SDK client (openai 2.54) and `llms/openai` do. Pure. It must
//! never build a tree of what only passes through, and never show a credential.
mod delta;
pub mod error;
pub mod messages;
pub mod params;
pub mod python;
pub mod request;
pub mod response;
pub mod stream;
mod tool_calls;
pub mod usage;

#[cfg(test)]
pub(crate) mod golden_tests;

use std::borrow::Cow;

use crate::json::{Kind, Object, Raw, push_string};

/// LiteLLM `core_helpers.py:_FINISH_REASON_MAP`; every other reason becomes `stop`.
static FINISH_REASONS: &[(&str, &str)] = &[
    ("stop", "stop"),
    ("length", "length"),
    ("tool_calls", "tool_calls"),
    ("function_call", "function_call"),
    ("content_filter", "content_filter"),
    ("max_tokens", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
    ("compaction", "length"),
    ("ERROR_TOXIC", "content_filter"),
    ("MAX_TOKENS", "length"),
    ("SAFETY", "content_filter"),
    ("RECITATION", "content_filter"),
    ("LANGUAGE", "content_filter"),
    ("OTHER", "content_filter"),
    ("BLOCKLIST", "content_filter"),
    ("PROHIBITED_CONTENT", "content_filter"),
    ("SPII", "content_filter"),
    ("IMAGE_SAFETY", "content_filter"),
    ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
    ("NO_IMAGE", "content_filter"),
    ("IMAGE_RECITATION", "content_filter"),
    ("IMAGE_OTHER", "content_filter"),
    ("ESCALATION", "content_filter"),
    ("sensitive", "content_filter"),
    ("guardrail_intervened", "content_filter"),
    ("content_filtered", "content_filter"),
];

/// LiteLLM's `map_finish_reason`.
pub(crate) fn map_finish_reason(reason: &str) -> &'static str {
    FINISH_REASONS.iter().find(|(from, _)| *from == reason).map_or("stop", |(_, to)| to)
}

/// Seconds since the epoch, as Python's `int(time.time())`.
pub(crate) fn unix_seconds(now: std::time::SystemTime) -> u64 {
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A new id in LiteLLM's form.
pub(crate) fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::new_v4())
}

/// The members of an object, the last of every name, in the order of the first (as a Python dict has them).
pub(crate) fn members<'o, 'a>(object: &'o Object<'a>) -> impl Iterator<Item = (&'o str, Raw<'a>)> {
    let merged = object.has_duplicates().then(|| {
        let mut seen: Vec<(&str, Raw<'a>)> = Vec::with_capacity(object.len());
        for (name, value) in object.iter() {
            match seen.iter_mut().find(|(other, _)| *other == name) {
                Some(slot) => slot.1 = value,
                None => seen.push((name, value)),
            }
        }
        seen
    });
    let as_they_stand = merged.is_none().then(|| object.iter());
    as_they_stand.into_iter().flatten().chain(merged.into_iter().flatten())
}

/// Writes `{...}` of members that stand as JSON already.
pub(crate) fn write_object<'a>(out: &mut Vec<u8>, members: impl IntoIterator<Item = (&'a str, Cow<'a, str>)>) {
    out.push(b'{');
    let mut first = true;
    for (name, json) in members {
        if !first {
            out.push(b',');
        }
        first = false;
        push_string(out, name);
        out.push(b':');
        out.extend_from_slice(json.as_bytes());
    }
    out.push(b'}');
}

/// Writes the value without object members that are null, at every depth (pydantic `exclude_none` over models).
pub(crate) fn write_without_nulls(out: &mut Vec<u8>, value: Raw<'_>) {
    match value.kind() {
        Kind::Object => {
            let Some(object) = value.object() else { return };
            out.push(b'{');
            let mut first = true;
            for (name, value) in members(&object) {
                if value.is_null() {
                    continue;
                }
                if !first {
                    out.push(b',');
                }
                first = false;
                push_string(out, name);
                out.push(b':');
                write_without_nulls(out, value);
            }
            out.push(b'}');
        }
        Kind::Array => {
            out.push(b'[');
            for (at, value) in value.array().unwrap_or_default().into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_without_nulls(out, value);
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(value.text().as_bytes()),
    }
}

/// The value as Python's truth: null, false, 0, "", [] and {} are false.
pub(crate) fn truthy(value: Raw<'_>) -> bool {
    match value.kind() {
        Kind::Null => false,
        Kind::Bool => value.as_bool() == Some(true),
        Kind::Number => value.as_f64() != Some(0.0),
        Kind::String => value.text().len() > 2,
        Kind::Array => value.array().is_some_and(|elements| !elements.is_empty()),
        Kind::Object => value.object().is_some_and(|object| !object.is_empty()),
    }
}
