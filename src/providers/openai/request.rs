//! The client's body -> the body the provider is sent, as LiteLLM builds it through the OpenAI SDK: fields of the
//! client win over the deployment's defaults, nulls and LiteLLM's own fields go, streams always ask for usage.
//! Pure; declines whatever it does not know to send as LiteLLM would.
use serde_json::Value;

use super::{
    messages,
    params::{Family, Fate, family, fate},
};
use crate::{
    config::Deployment,
    faults::fault,
    json::{Kind, Object, ObjectWriter, Raw},
    routes::Decline,
};

/// What the answer's transforms need to know about the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub body: Vec<u8>,
    pub stream: bool,
    /// the client asked for the usage chunk itself (`stream_options.include_usage` is true)
    pub client_usage: bool,
}

/// Metadata a client may send that LiteLLM would act on.
const METADATA_ACT: &[&str] = &[
    "guardrails",
    "policies",
    "disable_global_guardrails",
    "priority",
    "fallbacks",
    "model_group",
    "spend_logs_metadata",
    "include_guardrail_response",
    "return_raw_model_name",
    "generation_name",
    "session_id",
];

/// Builds the provider's body. `fields`: the client's body, known to have no duplicate keys.
pub fn prepare(fields: &Object<'_>, deployment: &Deployment) -> Result<Prepared, Decline> {
    let provider = deployment.model_info.get("litellm_provider").and_then(Value::as_str);
    let family = family(&deployment.model, !deployment.model_info.is_empty() && provider.is_none_or(|p| p == "openai"));
    if family == Family::Special {
        return Err(Decline::UnsupportedParam);
    }
    let raw_messages = fields.some("messages").ok_or(Decline::MissingField)?;
    let mut out = ObjectWriter::with_capacity(raw_messages.text().len() + 512);
    messages::write(out.key("messages"), raw_messages)?;
    out.string("model", &deployment.model);
    let stream = fields.get("stream").and_then(Raw::as_bool) == Some(true);
    for (name, value) in fields.iter() {
        match fate(name) {
            // LiteLLM decides by the key being there, whatever its value
            Fate::Act => return Err(Decline::Field),
            _ if value.is_null() => {}
            Fate::Unsupported => return Err(Decline::UnsupportedParam),
            Fate::Keep => {}
            Fate::Forward if fault!(ProviderFieldDropped) && name == "temperature" => {}
            Fate::Forward => out.raw(name, value.text()),
            Fate::Read => read(&mut out, fields, family, name, value)?,
        }
    }
    for (name, value) in &deployment.default_params {
        if fields.get(name).is_some() || value.is_null() {
            continue;
        }
        match fate(name) {
            Fate::Forward => out.raw(name, &value.to_string()),
            _ => return Err(Decline::DeploymentParam),
        }
    }
    let options = fields.get("stream_options").filter(|_| stream);
    let client_usage = stream_options(&mut out, stream, options)?;
    Ok(Prepared { body: out.finish(), stream, client_usage })
}

/// Fields with rules of their own. `value` is not null.
fn read(
    out: &mut ObjectWriter,
    fields: &Object<'_>,
    family: Family,
    name: &str,
    value: Raw<'_>,
) -> Result<(), Decline> {
    match name {
        // a `stream` that is no boolean is no stream; written with its options, or not at all
        "messages" | "model" | "stream" | "stream_options" => return Ok(()),
        "metadata" => {
            let inner = value.object().ok_or(Decline::FieldType)?;
            let acts = |name: &str| METADATA_ACT.contains(&name) || name.starts_with('_') || name.contains("litellm");
            return if inner.iter().any(|(name, _)| acts(name)) { Err(Decline::Field) } else { Ok(()) };
        }
        "tools" => check_tools(value)?,
        // without tools LiteLLM drops it
        "tool_choice" if !fields.some("tools").is_some_and(super::truthy) => return Err(Decline::UnsupportedParam),
        // LiteLLM cuts the list to four
        "stop" if value.array().is_some_and(|stops| stops.len() > 4) => return Err(Decline::UnsupportedParam),
        // other tiers have other prices
        "service_tier" if !matches!(value.as_str().as_deref(), Some("auto" | "default")) => return Err(Decline::Field),
        // LiteLLM's access checks fail on what they cannot iterate over
        "functions" if value.kind() != Kind::Array => return Err(Decline::FieldType),
        "response_format" if value.kind() != Kind::Object => return Err(Decline::FieldType),
        "user" if family == Family::Unknown => return Ok(()),
        "reasoning_effort" if family == Family::Catalog && !fault!(NotDeclined) => {
            return Err(Decline::UnsupportedParam);
        }
        _ => {}
    }
    out.raw(name, value.text());
    Ok(())
}

fn check_tools(tools: Raw<'_>) -> Result<(), Decline> {
    for tool in tools.array().ok_or(Decline::FieldType)? {
        let tool = tool.object().ok_or(Decline::Tools)?;
        let kind = tool.get("type").and_then(Raw::as_str).ok_or(Decline::Tools)?;
        if tool.has_duplicates() || !matches!(kind.as_ref(), "function" | "custom") {
            return Err(Decline::Tools);
        }
    }
    Ok(())
}

/// LiteLLM's `_stream_usage_tracking_updates`: usage is always asked for; what the client asked decides whether it
/// sees it.
fn stream_options(out: &mut ObjectWriter, stream: bool, options: Option<Raw<'_>>) -> Result<bool, Decline> {
    if !stream {
        return Ok(false);
    }
    out.raw("stream", "true");
    let Some(options) = options.and_then(Raw::object) else {
        out.raw("stream_options", r#"{"include_usage":true}"#);
        return Ok(false);
    };
    if options.has_duplicates() {
        return Err(Decline::DuplicateKey);
    }
    let client_usage = options.get("include_usage").and_then(Raw::as_bool) == Some(true);
    let mut merged = ObjectWriter::with_capacity(64);
    for (name, value) in options.iter().filter(|(name, _)| *name != "include_usage") {
        merged.raw(name, value.text());
    }
    merged.raw("include_usage", "true");
    out.key("stream_options").extend_from_slice(&merged.finish());
    Ok(client_usage)
}
