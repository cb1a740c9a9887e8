//! A provider's whole answer -> the client's: `convert_to_model_response_object` after the OpenAI SDK's model, then
//! LiteLLM's dump (`exclude_none`, `content` kept). Members are spliced, nothing is built as a tree. Pure: the clock
//! is an argument; ids the provider left out are new.
use std::{borrow::Cow, time::SystemTime};

use serde_json::Value;

use super::{
    error::Fault, map_finish_reason, members, new_id, python, tool_calls, truthy, unix_seconds, usage::Usage,
    write_without_nulls,
};
use crate::{
    faults::fault,
    json::{Kind, Object, ObjectWriter, Raw, push_number, push_string},
    spend,
};

/// What LiteLLM knows of the answer besides its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    pub body: Vec<u8>,
    pub id: String,
    /// the usage as it stands in `body`: JSON text, and its prompt, completion and total counts
    pub usage_text: String,
    pub counts: (u64, u64, u64),
    pub usage: spend::Usage,
    /// the provider's own name of the model: LiteLLM prices by it
    pub model: Option<String>,
    pub service_tier: Option<String>,
}

/// Transforms a 2xx body. `requested`: the client's `model`; `None` where it named it in the path only.
pub fn transform(
    body: &[u8],
    content_type: Option<&str>,
    requested: Option<&str>,
    now: SystemTime,
) -> Result<Completed, Fault> {
    let top = parse(body, content_type)?;
    if let Some(error) = top.some("error")
        && let Some(fault) = error_in_answer(error)
    {
        return Err(fault);
    }
    let choices = match top.get("choices") {
        Some(choices) if choices.kind() == Kind::Array => choices.array_of_objects().unwrap_or_default(),
        other => return Err(no_choices(&top, other)),
    };
    let mut out = ObjectWriter::with_capacity(body.len() + 256);
    let id = match top.some("id").filter(|id| truthy(*id)) {
        Some(id) => {
            out.raw("id", id.text());
            id.as_str().map_or_else(|| id.text().to_owned(), |id| id.into_owned())
        }
        None => {
            let id = new_id();
            out.string("id", &id);
            id
        }
    };
    let created = created(top.some("created")).unwrap_or_else(|| unix_seconds(now));
    push_number(out.key("created"), created);
    let model = top.some("model").and_then(Raw::as_str).map(|model| model.into_owned());
    if let Some(name) = requested.filter(|name| !name.is_empty()).or(model.as_deref()) {
        out.string("model", name);
    }
    out.raw("object", "\"chat.completion\"");
    if let Some(fingerprint) = top.some("system_fingerprint").filter(|_| !fault!(DroppedField)) {
        out.raw("system_fingerprint", fingerprint.text());
    }
    let json = out.key("choices");
    json.push(b'[');
    for (index, (_, choice)) in choices.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_choice(json, index, &choice.ok_or_else(Fault::invalid_response)?)?;
    }
    json.push(b']');
    let usage = Usage::read(top.some("usage").filter(|_| !fault!(LostUsage)));
    let mut usage_text = Vec::with_capacity(256);
    usage.write(&mut usage_text, None);
    out.key("usage").extend_from_slice(&usage_text);
    let usage_text = String::from_utf8(usage_text).unwrap_or_default();
    let counts = (usage.prompt, usage.completion, usage.total);
    for (name, value) in members(&top) {
        let own = ["id", "created", "model", "object", "system_fingerprint", "choices", "usage"];
        if !value.is_null() && !own.contains(&name) {
            out.raw(name, value.text());
        }
    }
    let service_tier = top.some("service_tier").and_then(Raw::as_str).map(|tier| tier.into_owned());
    Ok(Completed { body: out.finish(), id, usage_text, counts, usage: usage.tokens(), model, service_tier })
}

/// The SDK reads any body that parses; one that does not is an error only where it was declared JSON.
fn parse<'a>(body: &'a [u8], content_type: Option<&str>) -> Result<Object<'a>, Fault> {
    if let Ok(object) = Object::parse(body) {
        return Ok(object);
    }
    if let Ok(value) = Raw::parse(body) {
        let value = serde_json::from_str::<Value>(value.text()).unwrap_or(Value::Null);
        return Err(not_a_completion(&python::repr(&value)));
    }
    let text = String::from_utf8_lossy(body);
    let declared = content_type.and_then(|kind| kind.split(';').next()).is_some_and(|kind| kind.ends_with("json"));
    if !declared {
        return Err(not_a_completion(&python::repr_str(&text)));
    }
    Err(match python::json_error(&text) {
        Some(error) => Fault::plain(Some(500), error),
        // Python reads it and then cannot write it (NaN, lone surrogates)
        None => Fault::bare("Internal server error"),
    })
}

fn not_a_completion(received: &str) -> Fault {
    Fault::plain(
        Some(500),
        format!(
            "Empty or invalid response from LLM endpoint. Received: {received}. \
             Check the reverse proxy or model server configuration."
        ),
    )
}

/// `error` of a 200: meaningful unless it says nothing.
fn error_in_answer(error: Raw<'_>) -> Option<Fault> {
    let Some(object) = error.object() else {
        let says = error.kind() != Kind::String || truthy(error);
        return says.then(|| Fault::plain(Some(422), "Error in response object".into()));
    };
    let code = object.get("code");
    let message = object.get("message");
    if !message.is_some_and(truthy) && object.some("code").is_none() {
        return None;
    }
    let value = |raw: Raw<'_>| serde_json::from_str::<Value>(raw.text()).unwrap_or(Value::Null);
    let text = match message.map(value) {
        None => "Error in response object".to_owned(),
        Some(map @ Value::Object(_)) => python::dumps(&map),
        Some(other) => python::str_of(&other),
    };
    let status = match code {
        None => Some(422),
        Some(code) => match (code.kind(), code.text().parse::<u16>()) {
            (Kind::Number, Ok(status)) => Some(status),
            (Kind::String, _) => {
                return Some(Fault::unmapped("'>=' not supported between instances of 'str' and 'int'"));
            }
            // a status that is none: LiteLLM's last class
            _ => Some(0),
        },
    };
    Some(Fault::plain(status, text))
}

fn no_choices(top: &Object<'_>, choices: Option<Raw<'_>>) -> Fault {
    let kind = match choices.map(Raw::kind) {
        None | Some(Kind::Null) => "NoneType",
        Some(Kind::String) => "str",
        Some(Kind::Object) => "dict",
        Some(Kind::Bool) => "bool",
        Some(_) if choices.is_some_and(|n| n.as_u64().is_some()) => "int",
        Some(_) => "float",
    };
    // the SDK's model lists its own fields first
    let own =
        ["id", "choices", "created", "model", "object", "moderation", "service_tier", "system_fingerprint", "usage"];
    let keys = own.into_iter().chain(members(top).map(|(name, _)| name).filter(|name| !own.contains(name)));
    let keys: Vec<_> = keys.map(python::repr_str).collect();
    Fault::plain(
        Some(500),
        format!(
            "litellm.APIError: LiteLLM: provider returned 'choices' that is not a list ({kind}). Raw keys: [{}]",
            keys.join(", ")
        ),
    )
}

/// LiteLLM's `safe_convert_created_field`.
fn created(value: Option<Raw<'_>>) -> Option<u64> {
    let value = value?;
    if let Some(int) = value.as_u64() {
        return Some(int);
    }
    let float = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok()?,
        None => value.as_f64()?,
    };
    (0.0..9e15).contains(&float).then_some(float as u64)
}

fn write_choice(out: &mut Vec<u8>, index: usize, choice: &Object<'_>) -> Result<(), Fault> {
    let message = choice.get("message").and_then(Raw::object).ok_or_else(Fault::invalid_request_format)?;
    let calls = match message.some("tool_calls") {
        None => Vec::new(),
        Some(calls) => calls.array().ok_or_else(Fault::invalid_response)?,
    };
    let reason = choice.some("finish_reason").and_then(Raw::as_str);
    let details = choice.some("finish_details").filter(|details| truthy(*details)).and_then(Raw::as_str);
    let mut reason = reason.or(details).unwrap_or(Cow::Borrowed("stop"));
    if reason == "stop" && !calls.is_empty() {
        reason = "tool_calls".into();
    }
    let mapped = if fault!(FinishReason) { "stop" } else { map_finish_reason(&reason) };
    out.extend_from_slice(b"{\"finish_reason\":\"");
    out.extend_from_slice(mapped.as_bytes());
    out.extend_from_slice(b"\",\"index\":");
    push_number(out, index as u64);
    out.extend_from_slice(b",\"message\":");
    write_message(out, &message, &calls)?;
    if let Some(logprobs) = choice.some("logprobs") {
        out.extend_from_slice(b",\"logprobs\":");
        write_without_nulls(out, logprobs);
    }
    if let Some(enhancements) = choice.some("enhancements") {
        out.extend_from_slice(b",\"enhancements\":");
        out.extend_from_slice(enhancements.text().as_bytes());
    }
    out.extend_from_slice(b",\"provider_specific_fields\":");
    let own = ["finish_reason", "index", "message", "logprobs", "provider_specific_fields"];
    let native = (mapped != reason).then(|| serde_json::json!(reason).to_string());
    let native = native.as_deref().map(|native| ("native_finish_reason", native));
    let unknown = members(choice).filter(|(name, _)| !own.contains(name));
    super::write_object(
        out,
        unknown.map(|(name, value)| (name, value.text())).chain(native).map(|(name, json)| (name, json.into())),
    );
    out.push(b'}');
    Ok(())
}

/// The fields of LiteLLM's `Message`; every other member goes to `provider_specific_fields`.
const MESSAGE_FIELDS: &[&str] = &[
    "content",
    "role",
    "tool_calls",
    "function_call",
    "audio",
    "images",
    "reasoning_content",
    "thinking_blocks",
    "reasoning_items",
    "provider_specific_fields",
    "annotations",
];

fn write_message(out: &mut Vec<u8>, message: &Object<'_>, calls: &[Raw<'_>]) -> Result<(), Fault> {
    let role = message.some("role").filter(|role| truthy(*role)).and_then(Raw::as_str);
    let role = match role.as_deref().unwrap_or("assistant") {
        known @ ("assistant" | "user" | "system" | "tool" | "function") => known,
        _ => return Err(Fault::invalid_response()),
    };
    let content = message.some("content");
    if content.is_some_and(|content| content.kind() != Kind::String) {
        return Err(Fault::invalid_response());
    }
    let reasoning = message.get("reasoning_content").or_else(|| message.get("reasoning"));
    // nothing is decoded that cannot begin with a tag
    let tagged = content.filter(|content| content.text().starts_with("\"<") || content.text().starts_with("\"\\"));
    let thought = match (reasoning, tagged.and_then(Raw::as_str)) {
        (None, Some(content)) => split_thinking(&content),
        _ => None,
    };
    out.extend_from_slice(b"{\"content\":");
    match (&thought, content) {
        (Some((_, rest)), _) => push_string(out, rest),
        (None, Some(content)) => out.extend_from_slice(content.text().as_bytes()),
        (None, None) => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"role\":\"");
    out.extend_from_slice(role.as_bytes());
    out.push(b'"');
    if !calls.is_empty() {
        out.extend_from_slice(b",\"tool_calls\":");
        tool_calls::write(out, calls).ok_or_else(Fault::invalid_response)?;
    }
    let raw = |out: &mut Vec<u8>, name: &str, value: Raw<'_>| {
        out.push(b',');
        push_string(out, name);
        out.push(b':');
        out.extend_from_slice(value.text().as_bytes());
    };
    if let Some(call) = message.some("function_call") {
        if call.kind() != Kind::Object {
            return Err(Fault::invalid_response());
        }
        raw(out, "function_call", call);
    }
    if let Some(audio) = message.some("audio") {
        raw(out, "audio", audio);
    }
    if let Some(images) = message.some("images") {
        out.extend_from_slice(b",\"images\":");
        write_images(out, images);
    }
    match (&thought, reasoning.filter(|value| !value.is_null())) {
        (Some((thought, _)), _) => {
            out.extend_from_slice(b",\"reasoning_content\":");
            push_string(out, thought);
        }
        (None, Some(reasoning)) => raw(out, "reasoning_content", reasoning),
        (None, None) => {}
    }
    if let Some(blocks) = message.some("thinking_blocks") {
        raw(out, "thinking_blocks", blocks);
    }
    write_unknown(out, message);
    if let Some(annotations) = message.some("annotations") {
        out.extend_from_slice(b",\"annotations\":");
        write_without_nulls(out, annotations);
    }
    out.push(b'}');
    Ok(())
}

/// `provider_specific_fields` of a message; `refusal` is always in it, as the SDK's model has the field.
fn write_unknown(out: &mut Vec<u8>, message: &Object<'_>) {
    let given = message.some("provider_specific_fields").and_then(Raw::object).unwrap_or_default();
    let given: Vec<_> = members(&given).collect();
    let own: Vec<_> =
        members(message).filter(|(name, _)| !MESSAGE_FIELDS.contains(name) || *name == "thinking_blocks").collect();
    let refusal = [("refusal", "null")].into_iter().filter(|_| message.get("refusal").is_none());
    let shadowed = |name: &str| own.iter().any(|(other, _)| *other == name) || name == "refusal";
    let kept = given.iter().filter(|(name, _)| !shadowed(name)).chain(own.iter());
    out.extend_from_slice(b",\"provider_specific_fields\":");
    super::write_object(
        out,
        kept.map(|(name, value)| (*name, value.text())).chain(refusal).map(|(name, json)| (name, json.into())),
    );
}

/// `index` is filled where it is missing (LiteLLM `_normalize_images_for_message`).
fn write_images(out: &mut Vec<u8>, images: Raw<'_>) {
    let Some(elements) = images.array() else {
        out.extend_from_slice(images.text().as_bytes());
        return;
    };
    out.push(b'[');
    for (at, image) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match image.object() {
            Some(object) if object.get("index").is_none() => {
                let index = at.to_string();
                let all = members(&object).map(|(name, value)| (name, value.text()));
                super::write_object(
                    out,
                    all.chain([("index", index.as_str())]).map(|(name, json)| (name, json.into())),
                );
            }
            _ => out.extend_from_slice(image.text().as_bytes()),
        }
    }
    out.push(b']');
}

/// `<think>reasoning</think>content` at the very start of the text (LiteLLM `parse_content_for_reasoning`).
fn split_thinking(content: &str) -> Option<(String, String)> {
    let tags = ["think", "thinking", "budget:thinking"];
    let rest = tags.iter().find_map(|tag| content.strip_prefix('<')?.strip_prefix(tag)?.strip_prefix('>'))?;
    let ends = tags.iter().filter_map(|tag| {
        let close = format!("</{tag}>");
        rest.find(&close).map(|at| (at, at + close.len()))
    });
    let (end, next) = ends.min()?;
    Some((rest.get(..end)?.to_owned(), rest.get(next..)?.to_owned()))
}
