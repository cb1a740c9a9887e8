//! The row LiteLLM writes of a call that its authentication or its limits refuse (proxy/auth/auth_exception_handler.py,
//! proxy/common_request_processing.py, then proxy/hooks/proxy_track_cost_callback.py `async_post_call_failure_hook`). Only
//! refusals whose row is known exactly leave one.
use std::time::SystemTime;

use super::{Call, settle};
use crate::{
    auth::{self, Caller, Named, Refusal},
    config::name_provider,
    json::{Object, Raw},
    limits,
    spend::{Facts, Failed, Payer, Record, Shape, Trouble},
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

/// What LiteLLM says of a model where it knows none.
const NO_MODEL: &str = r#"{"model_map_key":"","model_map_value":null}"#;

/// The row of a refusal by LiteLLM's authentication. `Err`: LiteLLM's is not known.
pub(super) fn of_authentication(call: &Call, refusal: &Refusal) -> Result<Option<Record>, Unknown> {
    if !refusal.recorded || !is_kept(call) {
        return Ok(None);
    }
    let late = refusal.late
        || refusal.failure.kind.as_deref().is_some_and(|kind| LATE.contains(&kind))
        || LATE_TEXTS.iter().any(|text| refusal.failure.message.starts_with(text));
    let call_id = super::litellm_headers::call_id(call.head.header("x-litellm-call-id"));
    let made = || record(call, &call_id, failed(refusal)?, late);
    made().map(Some).ok_or(Unknown)
}

/// The row of a call that a limit or a budget stopped.
pub(super) fn of_limits(call: &Call, call_id: &str, group: &str, refusal: &limits::Refusal) -> Option<Record> {
    if !is_kept(call) {
        return None;
    }
    let provider = asked_provider(call, group);
    let failed = match refusal {
        limits::Refusal::Budget { message, spent, late } => {
            let failed = Failed::new("BudgetExceededError", refusal.status().as_str(), &provider, message);
            let failed = Failed {
                normalized: "429_BUDGET_EXCEEDED",
                rate_limit: Some("litellm_rate_limit"),
                rate_limit_type: Some("budget"),
                budget: Some(spent.clone()),
                ..failed
            };
            let record = record(call, call_id, failed, *late)?;
            let Named { end_user, tags, .. } = named(call).unwrap_or_default();
            return Some(Record {
                // by then LiteLLM knows whom the call names
                payer: Payer { end_user: end_user.filter(|_| *late), ..record.payer },
                tags: if *late { tags.over_budget } else { tags.over_key_budget },
                ..record
            });
        }
        limits::Refusal::Rate(rate) => {
            let message = format!("litellm.RateLimitError: {}", rate.message());
            let failed = Failed::new("ProxyRateLimitError", refusal.status().as_str(), &provider, &message);
            let kind = if rate.kind == "max_parallel_requests" { "concurrent_requests" } else { rate.kind };
            Failed { rate_limit: Some("litellm_rate_limit"), rate_limit_type: Some(kind), ..failed }
        }
        // settings that ask for these decline
        limits::Refusal::Unverifiable { .. } => return None,
    };
    let record = record(call, call_id, failed, true)?;
    let named = named(call)?;
    // its authentication was over, and more is known; LiteLLM takes whatever has messages for a completion then
    Some(Record {
        payer: Payer { end_user: named.end_user, ..record.payer },
        call_type: "acompletion",
        tags: settle::tags(&call.head, &named.tags.over_rate),
        session_id: settle::session(&call.head, named.session).unwrap_or(record.session_id),
        facts: Facts { shape: Shape::Limited, ..record.facts },
        ..record
    })
}

fn named(call: &Call) -> Option<Named> {
    auth::named(&call.head, &call.caller, &Object::parse(&call.body).ok()?).ok()
}

/// A refusal whose row is not known exactly.
pub(super) struct Unknown;

fn is_kept(call: &Call) -> bool {
    call.snapshot.database_url.is_some() && !call.snapshot.settings.other_books
}

/// `resolve_llm_provider_for_rate_limit`: of the name as it stands, else that of the group's first deployment.
fn asked_provider(call: &Call, group: &str) -> String {
    let named = name_provider(group).map(|(provider, _)| provider);
    let first = || Some(call.snapshot.resolve(group).ok()?.deployments.first()?.provider.as_str().to_owned());
    named.or_else(first).unwrap_or_else(|| "litellm_proxy".to_owned())
}

/// `late`: by the checks that LiteLLM makes last.
fn record(call: &Call, call_id: &str, failed: Failed, late: bool) -> Option<Record> {
    let path = call.head.path.as_str();
    let (_, call_type) = CALL_TYPES.iter().find(|(end, _)| path.ends_with(end))?;
    let body = Object::parse(&call.body).unwrap_or_default();
    let payer = match &call.caller {
        Caller::Unknown(hash) => Payer { api_key: hash.to_string(), ..Payer::default() },
        Caller::Stranger => Payer::default(),
        caller => settle::payer(caller, None)?,
    };
    let knows_client = !(late && *call_type == "anthropic_messages");
    let blank = Record::refused(call_id.to_owned(), call_type, payer, call.now, NO_MODEL.into());
    let record = Record {
        ended: SystemTime::now(),
        requester_ip: call.head.client.filter(|_| knows_client).map(|ip| ip.to_string()),
        session_id: uuid::Uuid::new_v4().to_string(),
        facts: Facts {
            user_agent: call.head.header("user-agent").filter(|_| knows_client).map(str::to_owned),
            trouble: Trouble::Failed(Box::new(failed)),
            ..blank.facts
        },
        ..blank
    };
    if call_type.starts_with('/') { Some(record) } else { attributed(call, &body, record) }
}

/// What LiteLLM says of the model that was asked for: of several deployments only what they share.
fn attributed(call: &Call, body: &Object<'_>, record: Record) -> Option<Record> {
    let named = body.some("model").and_then(Raw::as_str);
    let name = call.params.get("model").cloned().or(named.map(|name| name.into_owned()))?;
    let group = call.snapshot.resolve(&name).ok()?;
    let first = group.deployments.first()?;
    let provider = first.provider.as_str();
    if group.deployments.len() > 1 {
        let shared = group.deployments.iter().all(|deployment| deployment.provider.as_str() == provider);
        let provider = if shared { provider.to_owned() } else { String::new() };
        return Some(Record { model: group.name.clone(), provider, ..record });
    }
    Some(Record {
        model: first.litellm_model.clone(),
        model_id: first.id.clone(),
        model_group: group.name.clone(),
        provider: provider.to_owned(),
        facts: Facts { model_map: first.model_map.clone()?, ..record.facts },
        ..record
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
    if kind != "auth_error" {
        return None;
    }
    if let Some(text) = message.strip_prefix("Authentication Error, ") {
        // a plain exception of Python's
        return Some(Failed::new("Exception", "", "", text));
    }
    // a dict; the row of what is no key at all has its hash, which is not kept here
    let status = failure.status.as_str();
    message.starts_with('{').then(|| Failed::new("HTTPException", status, "", &format!("{status}: {message}")))
}
