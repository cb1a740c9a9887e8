//! The row LiteLLM writes of a call that its authentication refuses (proxy/auth/auth_exception_handler.py, then
//! proxy/hooks/proxy_track_cost_callback.py `async_post_call_failure_hook`). Only refusals whose row is known exactly
//! leave one.
use std::time::SystemTime;

use super::{Call, settle};
use crate::{
    auth::{Caller, Refusal},
    json::{Object, Raw},
    spend::{Cost, Facts, Failed, Payer, Record, Shape, Trouble},
};

/// What LiteLLM calls the calls of these paths, by their end.
const CALL_TYPES: &[(&str, &str)] = &[
    ("/chat/completions", "acompletion"),
    ("/v1/messages", "anthropic_messages"),
    ("/v1/models", "/v1/models"),
    ("/models", "/models"),
    ("/v1/model/info", "/v1/model/info"),
    ("/model/info", "/model/info"),
    ("/key/info", "/key/info"),
];

/// `normalized_error` by the type of LiteLLM's own refusals.
const TYPES: &[(&str, &str)] = &[
    ("expired_key", "401_AUTHENTICATION_FAILED"),
    ("token_not_found_in_db", "401_AUTHENTICATION_FAILED"),
    ("key_model_access_denied", "403_MODEL_ACCESS_DENIED"),
    ("team_model_access_denied", "403_MODEL_ACCESS_DENIED"),
    ("user_model_access_denied", "403_MODEL_ACCESS_DENIED"),
    ("project_model_access_denied", "403_MODEL_ACCESS_DENIED"),
];

/// Refusals of the checks that LiteLLM makes last: of messages it no longer knows the agent then.
const LATE: &[&str] = &["team_model_access_denied", "user_model_access_denied", "project_model_access_denied"];
const LATE_TEXTS: &[&str] = &["Authentication Error, Team=", "Authentication Error, Project="];

/// Writes it, if it is known.
pub(super) fn write(call: &Call, refusal: &Refusal) {
    if let Some(record) = record(call, refusal) {
        call.services.control.ledger.submit(record);
    }
}

fn record(call: &Call, refusal: &Refusal) -> Option<Record> {
    let snapshot = &call.snapshot;
    snapshot.database_url.as_ref().filter(|_| refusal.recorded && !snapshot.settings.other_books)?;
    let failed = failed(refusal)?;
    let path = call.head.path.as_str();
    let (_, call_type) = CALL_TYPES.iter().find(|(end, _)| path.ends_with(end))?;
    let is_call = !call_type.starts_with('/');
    let body = Object::parse(&call.body).unwrap_or_default();
    let deployment = match is_call {
        true => {
            let named = body.some("model").and_then(Raw::as_str);
            let name = call.params.get("model").cloned().or(named.map(|name| name.into_owned()))?;
            let group = snapshot.resolve(&name).ok()?;
            // of several LiteLLM names only what they share
            let [deployment] = group.deployments.as_slice() else { return None };
            Some((deployment, group.name.clone()))
        }
        false => None,
    };
    let payer = match &call.caller {
        Caller::Unknown(hash) => Payer { api_key: hash.to_string(), ..Payer::default() },
        Caller::Stranger => Payer::default(),
        caller => settle::payer(caller, None)?,
    };
    let late = refusal.late
        || refusal.failure.kind.as_deref().is_some_and(|kind| LATE.contains(&kind))
        || LATE_TEXTS.iter().any(|text| refusal.failure.message.starts_with(text));
    let knows_client = !(late && *call_type == "anthropic_messages");
    let call_id = super::litellm_headers::call_id(call.head.header("x-litellm-call-id"));
    let text =
        |of: fn(&crate::config::Deployment) -> String| deployment.as_ref().map(|(d, _)| of(d)).unwrap_or_default();
    Some(Record {
        request_id: call_id.clone(),
        call_id,
        call_type,
        payer,
        spend: 0.0,
        prompt_tokens: 0,
        completion_tokens: 0,
        total_tokens: 0,
        cache_read_tokens: 0,
        cache_creation_tokens: 0,
        reasoning_tokens: 0,
        started: call.now,
        ended: SystemTime::now(),
        first_token: None,
        model: text(|deployment| deployment.litellm_model.clone()),
        model_id: text(|deployment| deployment.id.clone()),
        model_group: deployment.as_ref().map(|(_, group)| group.clone()).unwrap_or_default(),
        provider: text(|deployment| deployment.provider.as_str().to_owned()),
        api_base: String::new(),
        cache_hit: "False",
        tags: Vec::new(),
        requester_ip: call.head.client.filter(|_| knows_client).map(|ip| ip.to_string()),
        session_id: uuid::Uuid::new_v4().to_string(),
        succeeded: false,
        caching_savings: 0.0,
        facts: Facts {
            user_agent: call.head.header("user-agent").filter(|_| knows_client).map(str::to_owned),
            usage: String::new(),
            shape: Shape::Refused,
            cost: Cost::default(),
            service_tier: None,
            overhead_ms: None,
            model_map: match deployment {
                Some((deployment, _)) => deployment.model_map.clone()?,
                None => r#"{"model_map_key":"","model_map_value":null}"#.into(),
            },
            trouble: Trouble::Failed(Box::new(failed)),
        },
    })
}

/// The exception behind a refusal.
fn failed(refusal: &Refusal) -> Option<Failed> {
    let failure = &refusal.failure;
    let (kind, message) = (failure.kind.as_deref()?, failure.message.as_str());
    if let Some((_, word)) = TYPES.iter().find(|(name, _)| *name == kind) {
        let class = match kind {
            "token_not_found_in_db" => "KeyNotFoundError",
            _ if word.ends_with("MODEL_ACCESS_DENIED") => "ModelAccessDeniedProxyException",
            _ => "ProxyException",
        };
        return Some(Failed { normalized: word, ..Failed::new(class, failure.status.as_str(), "", message) });
    }
    // a plain exception of Python's
    let text = message.strip_prefix("Authentication Error, ").filter(|_| kind == "auth_error")?;
    Some(Failed::new("Exception", "", "", text))
}
