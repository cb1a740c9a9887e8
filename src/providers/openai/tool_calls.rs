//! `tool_calls` of an answer as LiteLLM's `chat_completion_tool_call_from_dict` and
//! `handle_invalid_parallel_tool_calls` make them. Pure.
use serde_json::Value;

use super::{members, python};
use crate::json::{Kind, Object, Raw, push_string};

const PARALLEL: &str = "multi_tool_use.parallel";

/// Writes the array. `None`: a shape that LiteLLM's models refuse.
pub(super) fn write(out: &mut Vec<u8>, calls: &[Raw<'_>]) -> Option<()> {
    let calls: Vec<Object<'_>> = calls.iter().map(|call| call.object()).collect::<Option<_>>()?;
    // as in LiteLLM one argument text that is no JSON leaves every pseudo call alone
    let all_json = || calls.iter().all(|call| arguments(call).is_none_or(|text| parsed(&text).is_some()));
    let split = calls.iter().any(|call| name(call).as_deref() == Some(PARALLEL)) && all_json();
    out.push(b'[');
    let mut first = true;
    for call in &calls {
        if split && name(call).as_deref() == Some(PARALLEL) {
            for (at, (name, arguments)) in inner_calls(call)?.into_iter().enumerate() {
                comma(out, &mut first);
                let id = call.get("id").and_then(Raw::as_str)?;
                write_plain(out, &format!("{id}_{at}"), &name, &arguments);
            }
            continue;
        }
        comma(out, &mut first);
        if is_custom(call) { write_custom(out, call) } else { write_function(out, call)? }
    }
    out.push(b']');
    Some(())
}

fn comma(out: &mut Vec<u8>, first: &mut bool) {
    if !*first {
        out.push(b',');
    }
    *first = false;
}

fn is_custom(call: &Object<'_>) -> bool {
    call.get("type").and_then(Raw::as_str).as_deref() == Some("custom") && call.some("custom").is_some()
}

fn function<'a>(call: &Object<'a>) -> Option<Object<'a>> {
    call.some("function")?.object()
}

fn name(call: &Object<'_>) -> Option<String> {
    Some(function(call)?.get("name")?.as_str()?.into_owned())
}

fn arguments(call: &Object<'_>) -> Option<String> {
    let value = function(call)?.some("arguments");
    Some(arguments_text(value))
}

/// Text as it is, an object as `json.dumps` writes it, nothing as `""`.
pub(super) fn arguments_text(value: Option<Raw<'_>>) -> String {
    match value {
        None => String::new(),
        Some(value) => match value.as_str() {
            Some(text) => text.into_owned(),
            None => serde_json::from_str::<Value>(value.text()).map_or_else(|_| String::new(), |v| python::dumps(&v)),
        },
    }
}

fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn inner_calls(call: &Object<'_>) -> Option<Vec<(String, String)>> {
    let arguments = parsed(&arguments(call)?)?;
    let uses = arguments.get("tool_uses")?.as_array()?;
    uses.iter()
        .map(|inner| {
            let name = inner.get("recipient_name")?.as_str()?;
            let name = name.strip_prefix("functions.").unwrap_or(name);
            Some((name.to_owned(), python::dumps(inner.get("parameters")?)))
        })
        .collect()
}

fn write_plain(out: &mut Vec<u8>, id: &str, name: &str, arguments: &str) {
    out.extend_from_slice(b"{\"function\":{\"arguments\":");
    push_string(out, arguments);
    out.extend_from_slice(b",\"name\":");
    push_string(out, name);
    out.extend_from_slice(b"},\"id\":");
    push_string(out, id);
    out.extend_from_slice(b",\"type\":\"function\"}");
}

fn write_function(out: &mut Vec<u8>, call: &Object<'_>) -> Option<()> {
    let function = match call.some("function") {
        Some(value) => value.object()?,
        None => Object::default(),
    };
    out.push(b'{');
    for (name, value) in members(call) {
        if !value.is_null() && !matches!(name, "id" | "type" | "function") {
            push_string(out, name);
            out.push(b':');
            out.extend_from_slice(value.text().as_bytes());
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\"function\":{\"arguments\":");
    match function.some("arguments") {
        Some(text) if text.kind() == Kind::String => out.extend_from_slice(text.text().as_bytes()),
        other => push_string(out, &arguments_text(other)),
    }
    if let Some(name) = function.some("name") {
        out.extend_from_slice(b",\"name\":");
        out.extend_from_slice(name.text().as_bytes());
    }
    out.extend_from_slice(b"},\"id\":");
    match call.some("id").filter(|id| super::truthy(*id) || id.kind() == Kind::String) {
        Some(id) => out.extend_from_slice(id.text().as_bytes()),
        None => push_string(out, &uuid::Uuid::new_v4().to_string()),
    }
    out.extend_from_slice(b",\"type\":");
    match call.some("type").filter(|kind| super::truthy(*kind)) {
        Some(kind) => out.extend_from_slice(kind.text().as_bytes()),
        None => out.extend_from_slice(b"\"function\""),
    }
    out.push(b'}');
    Some(())
}

fn write_custom(out: &mut Vec<u8>, call: &Object<'_>) {
    let kept = members(call).filter(|(_, value)| !value.is_null());
    super::write_object(out, kept.map(|(name, value)| (name, value.text().into())));
}
