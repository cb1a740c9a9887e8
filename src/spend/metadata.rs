//! The `metadata` column of a spend log (proxy/spend_tracking/spend_tracking_utils.py `_get_spend_logs_metadata`, keys of
//! proxy/_types.py `SpendLogsMetadata`). Built in the io runtime, from the few facts a request keeps.
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Cost, Failed, Record, Trouble};

/// What of one call stands in its metadata beside the payer. Cheap to make: texts that exist already.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub user_agent: Option<String>,
    /// JSON text of LiteLLM's usage
    pub usage: String,
    pub shape: Shape,
    pub cost: Cost,
    pub service_tier: Option<String>,
    /// milliseconds spent in the gateway; streams have none
    pub overhead_ms: Option<f64>,
    /// JSON text, see [`super::model_map`]
    pub model_map: Arc<str>,
    pub trouble: Trouble,
}

/// Which of LiteLLM's usage objects it is: they differ in the nulls they show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Json,
    /// put together from chunks: details show what they do not know
    Stream,
    /// the same, left by the client before the provider told details of the prompt
    StreamLeft,
    /// Anthropic's: `usage` is the provider's own
    Messages,
    MessagesStream,
    /// its output was counted: `usage` has no cost
    MessagesCounted,
    /// an event of it could not be read: only its usage was
    MessagesUnread,
    /// broken off: LiteLLM's row knows neither deployment nor agent
    MessagesBroken,
    /// the same, before it had begun
    MessagesUnbegun,
    /// a call that failed before there was usage
    Failed,
    /// the same of a stream: LiteLLM has priced it at nothing
    FailedStream,
    MessagesFailed,
    /// never called: LiteLLM's authentication refused it
    Refused,
    /// never called: a rate limit refused it
    Limited,
}

impl Shape {
    fn is_stream_of_messages(self) -> bool {
        matches!(self, Shape::MessagesStream | Shape::MessagesCounted | Shape::MessagesUnread | Shape::MessagesBroken)
    }
}

/// Keys that are null for every call served here.
const NULL: &[&str] = &[
    "actor_agent_id",
    "target_agent_id",
    "billing_agent_id",
    "agent_execution_mode",
    "verified_human_user_id",
    "spend_logs_metadata",
    "mcp_tool_call_metadata",
    "vector_store_request_metadata",
    "routing_decision",
    "internal_call_origin",
    "guardrail_information",
    "eval_information",
    "status",
    "proxy_server_request",
    "batch_models",
    "batch_successful_requests",
    "batch_failed_requests",
    "error_information",
    "cold_storage_object_key",
    "compression_savings",
    "litellm_gateway_injected_cache",
    "autorouter_savings",
    "autorouter_savings_estimate",
    "autorouter_baseline_observation",
    "router_metadata",
    "azure_spillover",
];

/// Members a stream's details have even where the provider does not report them.
const PROMPT_DETAILS: &[&str] = &["text_tokens", "audio_tokens", "image_tokens", "video_tokens", "cached_tokens"];
const COMPLETION_DETAILS: &[&str] = &[
    "text_tokens",
    "audio_tokens",
    "image_tokens",
    "video_tokens",
    "reasoning_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
];

/// Members that OpenAI's own types have: a whole answer's details show these.
const OWN_PROMPT_DETAILS: &[&str] = &["audio_tokens", "cached_tokens"];
const OWN_COMPLETION_DETAILS: &[&str] =
    &["accepted_prediction_tokens", "audio_tokens", "reasoning_tokens", "rejected_prediction_tokens"];

/// The object without its largest member, and that member's text: `model_map_information`, which calls of one model share.
pub fn metadata(record: &Record) -> (Value, Arc<str>) {
    let (payer, facts) = (&record.payer, &record.facts);
    let mut out: Map<String, Value> = NULL.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    let usage = match facts.shape {
        Shape::Json | Shape::Stream | Shape::StreamLeft => usage_object(facts),
        Shape::Failed | Shape::FailedStream | Shape::MessagesFailed | Shape::MessagesUnbegun => Map::new(),
        Shape::Refused | Shape::Limited => Map::new(),
        _ => messages_usage(record),
    };
    // what was sent is counted, and nothing else is known of it
    let sent = usage.is_empty() && record.prompt_tokens > 0;
    let details = || json!({"prompt_tokens_details": null, "completion_tokens_details": null});
    let rest = json!({
        "additional_usage_values": if sent { details() } else { additional(&usage).into() },
        "user_api_key": payer.api_key,
        "user_api_key_alias": payer.key_alias,
        "user_api_key_team_id": payer.team_id,
        "user_api_key_project_id": payer.project_id,
        "user_api_key_project_alias": payer.project_alias,
        "user_api_key_org_id": payer.org_id,
        "user_api_key_user_id": payer.user_id,
        "user_api_key_team_alias": payer.team_alias,
        "requester_ip_address": record.requester_ip,
        "user_agent": facts.user_agent,
        "litellm_call_id": record.call_id,
        "applied_guardrails": [],
        "usage_object": usage,
        "litellm_overhead_time_ms": facts.overhead_ms,
        "attempted_retries": 0,
        "max_retries": 0,
        "attempted_fallbacks": 0,
        "original_model_group": record.model_group,
        "cost_breakdown": breakdown(&facts.cost, facts.service_tier.as_deref()),
        "used_client_oauth_token": false,
        "litellm_roi_estimator": false,
    });
    if let Value::Object(rest) = rest {
        out.extend(rest);
    }
    match &facts.trouble {
        Trouble::None => {}
        Trouble::Left => {
            let message = "Client disconnected the request";
            let left = json!({"error_code": "499", "error_class": "ClientDisconnected", "error_message": message});
            out.insert("error_information".into(), left);
        }
        Trouble::Failed(failed) => {
            out.insert("status".into(), "failure".into());
            out.insert("error_information".into(), error_information(failed));
        }
    }
    let unknown: &[&str] = match facts.shape {
        Shape::MessagesBroken | Shape::MessagesUnbegun => UNKNOWN_TO_BROKEN,
        Shape::MessagesFailed => UNKNOWN_TO_FAILED,
        Shape::Refused => UNKNOWN_TO_REFUSED,
        Shape::Limited => UNKNOWN_TO_REFUSED.split_last().map_or(&[], |(_, rest)| rest),
        Shape::Failed => &["cost_breakdown"],
        _ => &[],
    };
    unknown.iter().for_each(|key| _ = out.insert((*key).to_owned(), Value::Null));
    if facts.shape == Shape::Refused && payer.api_key.is_empty() {
        out.insert("user_api_key".into(), Value::Null);
    }
    let is_known = out.remove(MODEL_MAP).is_none() && !facts.model_map.is_empty();
    let model_map = if is_known { facts.model_map.clone() } else { "null".into() };
    (Value::Object(out), model_map)
}

/// The member that [`metadata`] gives apart.
pub const MODEL_MAP: &str = "model_map_information";

/// What LiteLLM's row of a broken stream of messages does not say.
const UNKNOWN_TO_BROKEN: &[&str] = &[
    "user_agent",
    "requester_ip_address",
    "usage_object",
    "cost_breakdown",
    "applied_guardrails",
    MODEL_MAP,
    "attempted_retries",
    "max_retries",
    "attempted_fallbacks",
    "original_model_group",
];

/// And that of messages that failed.
const UNKNOWN_TO_FAILED: &[&str] = &[
    "user_agent",
    "requester_ip_address",
    "cost_breakdown",
    "attempted_retries",
    "max_retries",
    "attempted_fallbacks",
    "original_model_group",
];

/// And that of a call that was refused; the last is known where its authentication was over.
const UNKNOWN_TO_REFUSED: &[&str] = &[
    "cost_breakdown",
    "attempted_retries",
    "max_retries",
    "attempted_fallbacks",
    "original_model_group",
    "used_client_oauth_token",
];

/// Without a traceback: there is none.
fn error_information(failed: &Failed) -> Value {
    let budget = failed.budget.as_ref();
    json!({
        "traceback": "", "error_code": failed.code, "error_class": failed.class, "llm_provider": failed.provider,
        "error_message": failed.message, "normalized_error": failed.normalized,
        "error_budget_limit": budget.map(|budget| budget.limit), "error_budget_spend": budget.map(|budget| budget.spend),
        "error_rate_limit_type": failed.rate_limit_type, "error_budget_entity_id": budget.map(|budget| &budget.id),
        "error_budget_entity_type": budget.map(|budget| budget.entity), "error_provider_request_id": failed.provider_request_id,
        "error_rate_limit_category": failed.rate_limit,
    })
}

fn usage_object(facts: &Facts) -> Map<String, Value> {
    let mut usage: Map<String, Value> = serde_json::from_str(&facts.usage).unwrap_or_default();
    let (prompt, completion) = match facts.shape {
        Shape::Stream => (PROMPT_DETAILS, COMPLETION_DETAILS),
        Shape::StreamLeft => (&[][..], COMPLETION_DETAILS),
        _ => (OWN_PROMPT_DETAILS, OWN_COMPLETION_DETAILS),
    };
    for (name, members) in [("prompt_tokens_details", prompt), ("completion_tokens_details", completion)] {
        let details = usage.entry(name).or_insert(Value::Null);
        if let Some(details) = details.as_object_mut() {
            members.iter().for_each(|member| _ = details.entry(*member).or_insert(Value::Null));
        }
    }
    usage
}

/// Anthropic's usage in OpenAI's words (llms/anthropic/chat/transformation.py `calculate_usage`).
fn messages_usage(record: &Record) -> Map<String, Value> {
    let own: Map<String, Value> = serde_json::from_str(&record.facts.usage).unwrap_or_default();
    let (read, written) = (record.cache_read_tokens, record.cache_creation_tokens);
    let text = record.prompt_tokens.saturating_sub(read).saturating_sub(written);
    let shape = record.facts.shape;
    let stream = shape.is_stream_of_messages();
    let reasoning = record.reasoning_tokens.min(record.completion_tokens);
    let mut prompt = json!({
        "text_tokens": text, "audio_tokens": null, "image_tokens": null, "video_tokens": null, "cached_tokens": read,
        "cache_write_tokens": written, "cache_creation_tokens": written,
    });
    if let (Some(details), Some(prompt)) = (own.get("cache_creation").filter(|d| d.is_object()), prompt.as_object_mut())
    {
        prompt.insert("cache_creation_token_details".into(), details.clone());
    }
    let mut completion = json!({"text_tokens": record.completion_tokens - reasoning, "reasoning_tokens": reasoning});
    if let (true, Some(completion)) = (stream, completion.as_object_mut()) {
        COMPLETION_DETAILS.iter().for_each(|member| _ = completion.entry(*member).or_insert(Value::Null));
    }
    let mut out = json!({
        "prompt_tokens": record.prompt_tokens, "completion_tokens": record.completion_tokens,
        "total_tokens": record.total_tokens, "prompt_tokens_details": prompt, "completion_tokens_details": completion,
        "cache_read_input_tokens": read, "cache_creation_input_tokens": written,
    });
    let mut out = out.as_object_mut().map(std::mem::take).unwrap_or_default();
    if stream && shape != Shape::MessagesUnread {
        let counted = matches!(shape, Shape::MessagesCounted | Shape::MessagesBroken);
        out.insert("cost".into(), if counted { Value::Null } else { record.facts.cost.total.into() });
    } else {
        for name in ["speed", "iterations", "service_tier", "inference_geo"] {
            out.insert(name.into(), own.get(name).cloned().unwrap_or_default());
        }
    }
    out
}

/// `additional_usage_values`: everything but the counts, and the cache counts where there are any.
fn additional(usage: &Map<String, Value>) -> Map<String, Value> {
    const COUNTS: [&str; 3] = ["completion_tokens", "prompt_tokens", "total_tokens"];
    let mut out: Map<String, Value> = usage
        .iter()
        .filter(|(key, _)| !COUNTS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let details = usage.get("prompt_tokens_details");
    let count = |name: &str| details.and_then(|details| details.get(name)?.as_u64()).filter(|count| *count > 0);
    let read = count("cached_tokens");
    let written = count("cache_write_tokens").or(count("cache_creation_tokens"));
    for (name, count) in [("cache_read_input_tokens", read), ("cache_creation_input_tokens", written)] {
        if let Some(count) = count {
            out.entry(name).or_insert_with(|| count.into());
        }
    }
    out
}

/// `cost_breakdown` (litellm_logging.py `set_cost_breakdown`): US dollars, no discounts, no margins.
fn breakdown(cost: &Cost, service_tier: Option<&str>) -> Value {
    let mut out = json!({
        "input_cost": cost.input, "output_cost": cost.output, "total_cost": cost.total, "original_cost": cost.total,
        "tool_usage_cost": cost.tools, "service_tier": service_tier, "data_residency": null, "vertex_location": null,
        "discount_percent": 0.0, "discount_amount": 0.0, "margin_percent": 0.0, "margin_fixed_amount": 0.0,
        "margin_total_amount": 0.0,
    });
    let parts = [
        ("cache_read_cost", cost.cache_read),
        ("cache_creation_cost", cost.cache_creation),
        ("reasoning_cost", cost.reasoning),
    ];
    if let Some(out) = out.as_object_mut() {
        out.extend(
            parts.into_iter().filter(|(_, part)| *part > 0.0).map(|(name, part)| (name.to_owned(), part.into())),
        );
    }
    out
}
