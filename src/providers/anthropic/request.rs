//! The provider's request out of the client's: LiteLLM's list of parameters, the deployment's defaults, the headers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri, header};
use serde_json::Value;

use super::{
    history::{self, Findings},
    thinking::{self, Change, Given, Model},
};
use crate::{
    config::Deployment,
    faults::fault,
    json::{Kind, Object, ObjectWriter, Raw},
    routes::Decline,
};

/// One call to Anthropic, ready to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub uri: Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub stream: bool,
    /// the caller asked for the 400 about foreign thinking blocks (`thinking.block_binding`): LiteLLM does not retry it
    pub wants_binding_error: bool,
}

/// Parameters that reach Anthropic (types/llms/anthropic.py `AnthropicMessagesRequestOptionalParams`) and need no look.
const FORWARDED: [&str; 14] = [
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "context_management",
    "container",
    "output_format",
    "output_config",
    "cache_control",
    "inference_geo",
];
/// Anthropic's own fields that LiteLLM leaves out, and its own.
const DROPPED: [&str; 3] = ["service_tier", "betas", "tags"];
/// Tools Anthropic or the client runs without LiteLLM (and without a price of their own) taking part.
const TOOL_TYPES: [&str; 5] = ["custom", "bash_", "text_editor_", "computer_", "memory_"];
const TOOL_SEARCH: [&str; 2] = ["tool_search_tool_regex_20251119", "tool_search_tool_bm25_20251119"];

const OAUTH_KEY: &str = "sk-ant-oat";
const USER_AGENT: HeaderValue = HeaderValue::from_static("litellm/1.106.2");
const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// The parameters of a request by name, the client's before the deployment's; null counts as absent.
struct Params<'a> {
    client: &'a Object<'a>,
    defaults: &'a [(&'a str, String)],
}

impl<'a> Params<'a> {
    fn get(&self, name: &str) -> Option<Raw<'a>> {
        match self.client.get(name) {
            Some(value) => Some(value).filter(|value| !value.is_null()),
            None => self
                .defaults
                .iter()
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| Raw::parse(value.as_bytes()).ok())
                .filter(|value| !value.is_null()),
        }
    }
}

/// Builds the call, or says why LiteLLM must. `version` and `beta`: the client's `anthropic-version` and
/// `anthropic-beta`.
pub fn outgoing(
    client: &Object<'_>,
    deployment: &Deployment,
    version: Option<&str>,
    beta: Option<&str>,
) -> Result<Outgoing, Decline> {
    let defaults = defaults(deployment)?;
    for (name, value) in client.iter() {
        let known = FORWARDED.contains(&name)
            || DROPPED.contains(&name)
            || matches!(name, "model" | "messages" | "max_tokens" | "stream" | "metadata")
            || (name == "mcp_servers" && (value.is_null() || value.text() == "[]"));
        if !known {
            return Err(Decline::Field);
        }
    }
    let params = Params { client, defaults: &defaults };
    let messages = params.get("messages").ok_or(Decline::MissingField)?;
    let max_tokens = params.get("max_tokens").ok_or(Decline::MissingField)?;
    if max_tokens.kind() != Kind::Number {
        return Err(Decline::FieldType);
    }
    let stream = match client.get("stream") {
        None => Some(false),
        Some(value) if value.is_null() => None,
        Some(value) => Some(value.as_bool().ok_or(Decline::FieldType)?),
    };
    let findings = history::look(messages)?;
    let tool_search = look_at_tools(params.get("tools"))?;
    let given = Given {
        thinking: params.get("thinking"),
        output_config: params.get("output_config"),
        temperature: params.get("temperature"),
        other_sampling: params.get("top_p").is_some() || params.get("top_k").is_some(),
        max_tokens: max_tokens.text().parse().ok(),
    };
    let changes = thinking::changes(|| Model::new(&deployment.model, &deployment.model_info), &given)?;
    let metadata = metadata(params.get("metadata"))?;

    let mut body = ObjectWriter::with_capacity(messages.text().len() + params_len(&params) + 256);
    body.raw("messages", messages.text());
    body.raw("max_tokens", if fault!(ProviderFieldChanged) { "1" } else { max_tokens.text() });
    body.string("model", &deployment.model);
    if let Some(metadata) = metadata {
        body.raw("metadata", &metadata);
    }
    if let Some(stream) = stream {
        body.raw("stream", if stream { "true" } else { "false" });
    }
    if client.some("mcp_servers").is_some() {
        body.raw("mcp_servers", "[]");
    }
    for name in FORWARDED {
        let change = match name {
            "thinking" => &changes.thinking,
            "output_config" => &changes.output_config,
            "temperature" => &changes.temperature,
            _ => &Change::Keep,
        };
        match (change, params.get(name)) {
            (Change::Keep, Some(value)) => body.raw(name, value.text()),
            (Change::Replace(json), _) => body.raw(name, json),
            (Change::Drop, _) | (Change::Keep, None) => {}
        }
    }
    let betas = betas(beta, &params, &findings, tool_search)?;
    Ok(Outgoing {
        uri: uri(deployment)?,
        headers: headers(deployment, version, betas)?,
        body: Bytes::from(body.finish()),
        stream: stream.unwrap_or(false),
        wants_binding_error: wants_binding_error(given.thinking),
    })
}

/// `litellm_params` that are request defaults, as JSON text.
fn defaults(deployment: &Deployment) -> Result<Vec<(&str, String)>, Decline> {
    let mut defaults = Vec::with_capacity(deployment.default_params.len());
    for (name, value) in &deployment.default_params {
        if !FORWARDED.contains(&name.as_str()) && name != "max_tokens" {
            return Err(Decline::DeploymentParam);
        }
        defaults.push((name.as_str(), Value::to_string(value)));
    }
    Ok(defaults)
}

fn params_len(params: &Params<'_>) -> usize {
    params
        .client
        .iter()
        .map(|(name, value)| if name == "messages" { 0 } else { name.len() + value.text().len() + 4 })
        .sum()
}

/// `validate_anthropic_api_metadata` keeps `user_id` alone; tags are LiteLLM's. Other keys may steer it.
fn metadata(metadata: Option<Raw<'_>>) -> Result<Option<String>, Decline> {
    let Some(metadata) = metadata else { return Ok(None) };
    let object = metadata.object().ok_or(Decline::FieldType)?;
    if object.has_duplicates() {
        return Err(Decline::DuplicateKey);
    }
    if object.iter().any(|(key, _)| !matches!(key, "user_id" | "tags")) {
        return Err(Decline::Field);
    }
    match object.some("user_id") {
        None => Ok(Some("{}".into())),
        Some(user) if user.kind() == Kind::String => {
            let mut kept = ObjectWriter::with_capacity(metadata.text().len());
            kept.raw("user_id", user.text());
            Ok(Some(String::from_utf8_lossy(&kept.finish()).into_owned()))
        }
        Some(_) => Err(Decline::FieldType),
    }
}

/// Whether tool search is used; declines what LiteLLM (or a price per use) takes part in.
fn look_at_tools(tools: Option<Raw<'_>>) -> Result<bool, Decline> {
    let Some(tools) = tools else { return Ok(false) };
    let mut search = false;
    for tool in tools.array().ok_or(Decline::FieldType)? {
        let tool = tool.object().ok_or(Decline::FieldType)?;
        let Some(kind) = tool.get("type") else { continue };
        let kind = kind.as_str().ok_or(Decline::Tools)?;
        if TOOL_SEARCH.contains(&kind.as_ref()) {
            search = true;
        } else if !TOOL_TYPES.iter().any(|known| kind.starts_with(known)) {
            return Err(Decline::Tools);
        }
    }
    Ok(search)
}

/// `_update_headers_with_anthropic_beta`: the client's values and those of used features, each once, sorted.
fn betas(
    client: Option<&str>,
    params: &Params<'_>,
    findings: &Findings,
    tool_search: bool,
) -> Result<Option<String>, Decline> {
    let mut values: Vec<&str> =
        client.unwrap_or_default().split(',').map(str::trim).filter(|v| !v.is_empty()).collect();
    if findings.compaction {
        values.push("compact-2026-09-04");
    }
    if let Some(management) = params.get("context_management") {
        let management = management.object().ok_or(Decline::UnsupportedParam)?;
        let edits = management.get("edits").and_then(Raw::array).ok_or(Decline::UnsupportedParam)?;
        for edit in edits {
            let edit = edit.object().ok_or(Decline::UnsupportedParam)?;
            let compact = edit.get("type").and_then(Raw::as_str).is_some_and(|kind| kind == "compact_20260112");
            values.push(if compact { "compact-2026-01-12" } else { "context-management-2025-06-27" });
        }
    }
    let format =
        params.get("output_config").and_then(Raw::object).is_some_and(|config| config.some("format").is_some());
    if format || params.get("output_format").is_some() {
        values.push("structured-outputs-2025-11-13");
    }
    if findings.output_config {
        values.push("per-turn-control-2026-07-01");
    }
    if tool_search {
        values.push("advanced-tool-use-2025-11-20");
    }
    if thinking::shows_updates(params.get("thinking")) {
        values.push("thinking-display-updates-2026-08-18");
    }
    if values.is_empty() {
        // an empty header of the client's goes out as it came
        return Ok(client.map(str::to_owned));
    }
    values.sort_unstable();
    values.dedup();
    Ok(Some(values.join(",")))
}

fn uri(deployment: &Deployment) -> Result<Uri, Decline> {
    // an address with a query or a user is for httpx to read
    if deployment.api_base.as_deref().is_some_and(|base| base.contains(['?', '#', '@'])) {
        return Err(Decline::DeploymentParam);
    }
    deployment.uri.clone().ok_or(Decline::DeploymentParam)
}

fn headers(
    deployment: &Deployment,
    version: Option<&str>,
    beta: Option<String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Decline> {
    let key = deployment.api_key.as_ref().map(|key| key.expose()).unwrap_or_default();
    // an OAuth token, an environment variable or a federation would be LiteLLM's next choice
    if key.is_empty() || key.trim() != key || key.starts_with(OAUTH_KEY) {
        return Err(Decline::DeploymentParam);
    }
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Decline::DeploymentParam);
    let mut key = value(key)?;
    key.set_sensitive(true);
    let mut headers = Vec::with_capacity(9 + deployment.extra_headers.len());
    headers.push((header::ACCEPT, HeaderValue::from_static("*/*")));
    headers.push((header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")));
    headers.push((header::CONNECTION, HeaderValue::from_static("keep-alive")));
    headers.push((header::USER_AGENT, USER_AGENT));
    for (name, text) in &deployment.extra_headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Decline::DeploymentParam)?;
        if !name.as_str().starts_with("x-") || name == X_API_KEY {
            return Err(Decline::DeploymentParam);
        }
        headers.push((name, value(text)?));
    }
    headers.push((X_API_KEY, key));
    headers.push((VERSION, version.map_or(Ok(DEFAULT_VERSION), value)?));
    headers.retain(|(name, _)| !(fault!(ProviderHeaderDropped) && *name == VERSION));
    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if let Some(beta) = beta {
        headers.push((BETA, value(&beta)?));
    }
    Ok(headers)
}

fn wants_binding_error(thinking: Option<Raw<'_>>) -> bool {
    let binding =
        thinking.and_then(Raw::object).and_then(|thinking| thinking.get("block_binding")).and_then(Raw::object);
    let behavior = binding.and_then(|binding| binding.get("prefix_mismatch_behavior")).and_then(Raw::as_str);
    behavior.is_some_and(|behavior| behavior == "error")
}
