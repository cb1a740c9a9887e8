//! `delta` of a streamed choice as LiteLLM's `Delta` (types/utils.py) reads and writes it. Pure.
use super::{members, tool_calls, truthy};
use crate::{
    json::{Kind, Object, Raw, push_string},
    spend::heard::{Heard, ToolCall},
};

/// What becomes of the delta's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Keep,
    Drop,
    Assistant,
}

/// The members of a delta that are not null, `reasoning` read as `reasoning_content`.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    object: Object<'a>,
}

/// A delta with one of these is not written by the fast serialiser.
const RICH: &[&str] = &[
    "function_call",
    "tool_calls",
    "audio",
    "images",
    "annotations",
    "reasoning_content",
    "reasoning",
    "thinking_blocks",
    "provider_specific_fields",
    "refusal",
];

impl<'a> Delta<'a> {
    pub(super) fn read(delta: Option<Raw<'a>>) -> Self {
        let object = delta.and_then(Raw::object).unwrap_or_default();
        // a call that LiteLLM's model refuses makes it take an empty delta instead
        let refused = object.some("tool_calls").and_then(Raw::array).into_iter().flatten().any(is_refused);
        Self { object: if refused { Object::default() } else { object } }
    }

    fn some(&self, name: &str) -> Option<Raw<'a>> {
        self.object.some(name)
    }

    fn reasoning(&self) -> Option<Raw<'a>> {
        self.some("reasoning_content").or_else(|| self.some("reasoning"))
    }

    /// JSON text of the content, or nothing.
    pub(super) fn content_text(&self) -> &'a str {
        self.some("content").map_or("", Raw::text)
    }

    fn has_content(&self) -> bool {
        self.some("content").is_some_and(|content| content.kind() == Kind::String && content.text().len() > 2)
    }

    /// `tool_calls` or `function_call`, even empty ones.
    pub(super) fn has_calls(&self) -> bool {
        self.some("tool_calls").is_some() || self.some("function_call").is_some()
    }

    fn has_media(&self) -> bool {
        self.some("audio").is_some() || self.some("images").is_some()
    }

    /// Notes what LiteLLM would count. `choice`: the choice's index.
    pub(super) fn tell(&self, heard: &mut Heard, choice: u64) {
        let text = |value: Option<Raw<'a>>| value.and_then(Raw::as_str);
        if let Some(content) = text(self.some("content")) {
            heard.say(&content);
        }
        if let Some(reasoning) = text(self.reasoning()) {
            heard.think(&reasoning);
        }
        if let Some(function) = self.some("function_call").and_then(Raw::object) {
            let name = text(function.some("name"));
            heard.function(name.as_deref(), &tool_calls::arguments_text(function.some("arguments")));
        }
        let calls = self.some("tool_calls").and_then(Raw::array).unwrap_or_default();
        for (at, call) in calls.into_iter().filter_map(Raw::object).enumerate() {
            let member = |name: &str| text(call.some(name)).unwrap_or_default().into_owned();
            let Some(function) = call.some("function").and_then(Raw::object) else { continue };
            let index = call.some("index").and_then(Raw::as_u64).unwrap_or(at as u64);
            let name = text(function.some("name")).unwrap_or_default().into_owned();
            let arguments = tool_calls::arguments_text(function.some("arguments"));
            heard.call((choice, index), ToolCall { id: member("id"), name, kind: member("type"), arguments });
        }
    }

    /// LiteLLM's `is_chunk_non_empty`.
    pub(super) fn says_something(&self, sent_first: bool) -> bool {
        if self.has_content() || self.some("function_call").is_some() {
            return true;
        }
        if self.some("tool_calls").is_some_and(truthy) {
            return true;
        }
        // audio and images hide what else there is
        if self.has_media() && !self.has_calls() {
            return false;
        }
        self.reasoning().is_some()
            || ["provider_specific_fields", "annotations", "reasoning_items"]
                .iter()
                .any(|name| self.some(name).is_some())
            || !sent_first && (self.some("role").is_some() || self.has_calls())
    }

    /// LiteLLM's `_has_special_delta_content`.
    pub(super) fn is_special(&self) -> bool {
        self.has_calls() || self.has_media()
    }

    /// LiteLLM's `_delta_carries_more_than_text`.
    pub(super) fn carries_more_than_text(&self) -> bool {
        self.has_calls()
            || self.has_media()
            || self.reasoning().is_some()
            || ["thinking_blocks", "annotations", "provider_specific_fields"]
                .iter()
                .any(|name| self.some(name).is_some())
    }

    /// Whether the fast serialiser writes it (role and content only).
    pub(super) fn is_plain(&self) -> bool {
        self.object
            .iter()
            .all(|(name, value)| value.is_null() || !RICH.contains(&name) || name == "images" && !truthy(value))
    }

    /// LiteLLM's `_is_delta_non_empty`: any member that is a number, a bool or not empty.
    pub(super) fn is_meaningful(&self) -> bool {
        self.object.iter().any(|(_, value)| match value.kind() {
            Kind::Null => false,
            Kind::Bool | Kind::Number => true,
            Kind::String | Kind::Array | Kind::Object => truthy(value),
        })
    }

    /// Only what LiteLLM copies of a chunk with audio or images and nothing else, or the calls.
    pub(super) fn write_special(&self, out: &mut Vec<u8>, role: Role) {
        if self.has_calls() {
            self.write(out, role, false);
            return;
        }
        out.push(b'{');
        let mut first = true;
        if role == Role::Assistant {
            out.extend_from_slice(b"\"role\":\"assistant\"");
            first = false;
        }
        for name in ["audio", "images"] {
            if let Some(value) = self.some(name).filter(|value| name == "audio" || truthy(*value)) {
                key(out, &mut first, name);
                out.extend_from_slice(value.text().as_bytes());
            }
        }
        out.push(b'}');
    }

    /// The object. `plain`: role and content only.
    pub(super) fn write(&self, out: &mut Vec<u8>, role: Role, plain: bool) {
        out.push(b'{');
        let mut first = true;
        match (role, self.some("role")) {
            (Role::Assistant, _) => {
                key(out, &mut first, "role");
                out.extend_from_slice(b"\"assistant\"");
            }
            (Role::Keep, Some(role)) => {
                key(out, &mut first, "role");
                out.extend_from_slice(role.text().as_bytes());
            }
            _ => {}
        }
        if let Some(content) = self.some("content") {
            key(out, &mut first, "content");
            out.extend_from_slice(content.text().as_bytes());
        }
        if !plain {
            self.write_rich(out, &mut first);
        }
        out.push(b'}');
    }

    fn write_rich(&self, out: &mut Vec<u8>, first: &mut bool) {
        let renamed = self.some("reasoning_content").is_none();
        for (name, value) in members(&self.object) {
            if value.is_null() {
                continue;
            }
            match name {
                "role" | "content" => {}
                "tool_calls" => {
                    key(out, first, name);
                    write_calls(out, value);
                }
                "function_call" => {
                    key(out, first, name);
                    write_function(out, value.object().unwrap_or_default());
                }
                "images" if !truthy(value) => {}
                "reasoning" if renamed => {
                    key(out, first, "reasoning_content");
                    out.extend_from_slice(value.text().as_bytes());
                }
                _ => {
                    key(out, first, name);
                    out.extend_from_slice(value.text().as_bytes());
                }
            }
        }
    }
}

fn key(out: &mut Vec<u8>, first: &mut bool, name: &str) {
    if !*first {
        out.push(b',');
    }
    *first = false;
    push_string(out, name);
    out.push(b':');
}

/// LiteLLM's `FunctionCall` / `Function`: `arguments` always, `name` where it is one, nothing else.
fn write_function(out: &mut Vec<u8>, function: Object<'_>) {
    out.extend_from_slice(b"{\"arguments\":");
    match function.some("arguments") {
        Some(arguments) if arguments.kind() == Kind::Object => {
            push_string(out, &tool_calls::arguments_text(Some(arguments)))
        }
        Some(arguments) => out.extend_from_slice(arguments.text().as_bytes()),
        None => out.extend_from_slice(b"\"\""),
    }
    if let Some(name) = function.some("name") {
        out.extend_from_slice(b",\"name\":");
        out.extend_from_slice(name.text().as_bytes());
    }
    out.push(b'}');
}

/// A call without a function, unless it is a custom tool's.
fn is_refused(call: Raw<'_>) -> bool {
    let Some(call) = call.object() else { return false };
    let is_object = |name: &str| call.some(name).is_some_and(|value| value.kind() == Kind::Object);
    let custom = call.get("type").and_then(Raw::as_str).as_deref() == Some("custom");
    if custom { !is_object("custom") } else { !is_object("function") && !is_object("custom") }
}

fn write_calls(out: &mut Vec<u8>, calls: Raw<'_>) {
    // LiteLLM skips what is no object
    let calls: Vec<_> = calls.array().unwrap_or_default().into_iter().filter_map(Raw::object).collect();
    let mut next_index = 0;
    out.push(b'[');
    for (at, call) in calls.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let custom =
            call.some("custom").is_some() || call.get("type").and_then(Raw::as_str).as_deref() == Some("custom");
        out.push(b'{');
        let mut first = true;
        for (name, value) in members(&call) {
            if value.is_null() {
                continue;
            }
            key(out, &mut first, name);
            match name {
                "function" => write_function(out, value.object().unwrap_or_default()),
                _ => out.extend_from_slice(value.text().as_bytes()),
            }
        }
        if !custom && call.some("function").is_none() {
            key(out, &mut first, "function");
            out.extend_from_slice(b"{\"arguments\":\"\"}");
        }
        if !custom && call.some("type").is_none() {
            key(out, &mut first, "type");
            out.extend_from_slice(b"\"function\"");
        }
        if call.some("index").is_none() {
            key(out, &mut first, "index");
            out.extend_from_slice(next_index.to_string().as_bytes());
            next_index += 1;
        }
        out.push(b'}');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(delta: &str) -> (bool, String) {
        let delta = Delta::read(Some(Raw::parse(delta.as_bytes()).unwrap()));
        let mut out = Vec::new();
        delta.write(&mut out, Role::Keep, false);
        (delta.says_something(true), String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_call_without_a_function_empties_the_delta() {
        for call in [r#"{"index":0,"id":"a","type":"function"}"#, "{}", r#"{"index":0,"function":null}"#] {
            let delta = format!(r#"{{"role":"assistant","tool_calls":[{call}]}}"#);
            assert_eq!(written(&delta), (false, "{}".into()), "{call}");
        }
        let custom = r#"{"tool_calls":[{"index":0,"type":"custom","custom":{"name":"c","input":""}}]}"#;
        assert_eq!(written(custom), (true, custom.into()));
    }

    #[test]
    fn what_is_no_call_goes_and_arguments_become_text() {
        assert_eq!(written(r#"{"tool_calls":["x",null]}"#).1, r#"{"tool_calls":[]}"#);
        assert_eq!(
            written(r#"{"tool_calls":[{"index":0,"type":"function","function":{"arguments":{"a":1}}}]}"#).1,
            r#"{"tool_calls":[{"index":0,"type":"function","function":{"arguments":"{\"a\": 1}"}}]}"#
        );
    }
}
