//! `POST /v1/messages` for provider `anthropic`: JSON and streaming (LiteLLM proxy/anthropic_endpoints/endpoints.py,
//! llms/custom_httpx/llm_http_handler.py `async_anthropic_messages_handler`). Owns what may be served natively and the
//! order of things; what is said to and heard from Anthropic is `providers::anthropic`. It must never call a provider
//! before admission is through, and never twice but for the one retry LiteLLM makes too.
mod bill;
mod execute;
mod headers;
mod relay;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Method, header};

use super::{
    Admission, Call, Decline, Halt, Head, NativeRoute,
    limited::{Limited, limited},
    litellm_headers::{self, KeyHeaders},
    named_rows::standings,
    refused::stopped,
    settle::{self, Account},
};
use crate::{
    auth::{self, Named, named::HEADERS},
    config::{Deployment, ModelGroup, Provider, Slot, Snapshot},
    error::Dialect,
    faults::fault,
    json::{Object, Raw},
    providers::anthropic::{self, Outgoing},
    router,
};

/// The row of the route table.
pub const MESSAGES: NativeRoute = NativeRoute {
    id: "messages",
    methods: &[Method::POST],
    paths: &["/v1/messages"],
    needs_body: true,
    needs_caller: true,
    fetch: None,
    dialect: Dialect::Anthropic,
    serves: "provider anthropic, any api_base: JSON and streaming, tools, images, thinking, cache_control",
    declines: &[
        Decline::NoKey,
        Decline::VirtualKey,
        Decline::KeyFeature,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Query,
        Decline::ContentType,
        Decline::ContentEncoding,
        Decline::ControlHeader,
        Decline::BodyNotJson,
        Decline::DuplicateKey,
        Decline::Field,
        Decline::FieldType,
        Decline::MissingField,
        Decline::UnsupportedParam,
        Decline::MessageShape,
        Decline::Tools,
        Decline::Model,
        Decline::Provider,
        Decline::DeploymentParam,
        Decline::NoDeployment,
        Decline::Callbacks,
        Decline::SecretManager,
        Decline::RouterSettings,
        Decline::Caching,
        Decline::ModelsInDatabase,
        Decline::SpendInDatabase,
        Decline::Setting,
        Decline::NotThisPath,
    ],
    admit_head,
    admit,
};

/// LiteLLM's HTTP handler without any configured timeout (`COMPLETION_HTTP_FALLBACK_SECONDS`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// An admitted call.
struct Admitted {
    outgoing: Outgoing,
    deployment: Arc<Deployment>,
    /// the model group as the caller named it
    group: String,
    timeout: Duration,
    /// nothing sets a timeout
    default_timeout: bool,
    /// whom the caller says it asks for
    named: Named,
    call_id: String,
    key: KeyHeaders,
    limited: Limited,
    /// taken by the settlement
    account: Option<Account>,
    /// the provider's id of a request that failed
    provider_request_id: OnceLock<String>,
    /// one of the deployment's calls at a time; free when the answer, or its stream, is over or dropped
    _slot: Slot,
}

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    auth::present(head, snapshot)?;
    if !matches!(head.query.as_deref(), None | Some("" | "beta=true")) {
        return Err(Decline::Query);
    }
    if !is_json(head) {
        return Err(Decline::ContentType);
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Decline::ContentEncoding);
    }
    judge_headers(head)
}

fn is_json(head: &Head) -> bool {
    let Some(value) = head.header("content-type") else { return false };
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
        && value.split(';').skip(1).all(|part| part.trim().eq_ignore_ascii_case("charset=utf-8"))
}

/// Headers that steer LiteLLM, or that it would read in a way of its own.
fn judge_headers(head: &Head) -> Result<(), Decline> {
    for name in head.headers.keys() {
        let name = name.as_str();
        let steers = match name {
            "x-litellm-api-key" => head.headers.contains_key(header::AUTHORIZATION),
            "x-litellm-call-id" => head.header(name).is_none_or(|id| !(1..=256).contains(&id.len())),
            // only the error body shows it, as text
            "x-request-id" | "anthropic-version" | "anthropic-beta" => head.header(name).is_none(),
            // the caller's own Anthropic token would be forwarded
            "authorization" => head.header(name).is_none_or(|value| value.contains("sk-ant-oat")),
            _ if HEADERS.contains(&name) => head.header(name).is_none(),
            _ => name.starts_with("x-litellm-") || name.starts_with("x-mcp-"),
        };
        if steers {
            return Err(Decline::ControlHeader);
        }
    }
    Ok(())
}

fn admit(call: Call) -> Admission {
    if fault!(PromptInLog) {
        tracing::info!(body = %String::from_utf8_lossy(&call.body), "a prompt");
    }
    let snapshot = Arc::clone(&call.snapshot);
    let accepted = |reason: Decline| reason == Decline::SpendInDatabase && call.policy.accept_no_spend_rows;
    if let Some(reason) = snapshot.declines.iter().find(|reason| !accepted(reason.decline)) {
        return Err(reason.decline.into());
    }
    if !call.policy.allows(Provider::Anthropic.as_str()) {
        return Err(Decline::Provider.into());
    }
    let admitted = {
        let body = Object::parse_request(&call.body).map_err(|_| Decline::BodyNotJson)?;
        if body.has_duplicates() {
            return Err(Decline::DuplicateKey.into());
        }
        let judged = auth::judge(&auth::Request {
            head: &call.head,
            snapshot: &snapshot,
            caller: &call.caller,
            body: &body,
            named_by_path: false,
            now: call.now,
        });
        if let Err(stop) = judged {
            drop(body);
            return stopped(call, stop);
        }
        let named = auth::named(&call.head, &call.caller, &body)?;
        let standings = match standings(&call, &named) {
            Ok(standings) => standings,
            Err(unread) => {
                drop(body);
                return Err(Halt::unread(call, unread));
            }
        };
        let group = group(&body, &snapshot)?;
        judge_group(group)?;
        let deployment = router::simple_shuffle(group, fastrand::f64()).ok_or(Decline::NoDeployment)?;
        let slot = deployment.slots.take().ok_or(Decline::NoDeployment)?;
        let version = call.head.header("anthropic-version");
        let beta = call.head.header("anthropic-beta");
        let limited = limited(&call, group, &body, (&named, &standings))?;
        let capped = limited.body(&body, &call.body);
        let outgoing = match &capped {
            Cow::Borrowed(_) => anthropic::outgoing(&body, deployment, version, beta)?,
            Cow::Owned(capped) => {
                let body = Object::parse_request(capped).map_err(|_| Decline::BodyNotJson)?;
                anthropic::outgoing(&body, deployment, version, beta)?
            }
        };
        // a stream of messages tells its prompt's tokens at its beginning, and LiteLLM counts no other
        settle::billable(&call, deployment, outgoing.stream, false)?;
        let by_config = deployment
            .stream_timeout
            .filter(|_| outgoing.stream)
            .or(deployment.timeout)
            .or(snapshot.settings.request_timeout);
        Admitted {
            outgoing,
            deployment: Arc::clone(deployment),
            group: group.name.clone(),
            timeout: by_config.unwrap_or(DEFAULT_TIMEOUT),
            default_timeout: by_config.is_none(),
            named,
            call_id: litellm_headers::call_id(call.head.header("x-litellm-call-id")),
            key: KeyHeaders::of(&call.caller, call.now),
            limited,
            account: None,
            provider_request_id: OnceLock::new(),
            _slot: slot,
        }
    };
    Ok(Box::pin(execute::execute(call, admitted)))
}

/// The model group the body names. `claude-router-<hex>` and `...[1m]` are LiteLLM's own encodings of other names.
fn group<'a>(body: &Object<'_>, snapshot: &'a Snapshot) -> Result<&'a ModelGroup, Decline> {
    let model = body.some("model").ok_or(Decline::MissingField)?;
    let name = Raw::as_str(model).ok_or(Decline::FieldType)?;
    if name.starts_with("claude-router-") || name.ends_with("[1m]") || name.contains([',', '*']) {
        return Err(Decline::Model);
    }
    snapshot.resolve(&name).map(Arc::as_ref)
}

/// Every deployment must be servable: otherwise declining the unlucky draws would shift LiteLLM's own odds.
fn judge_group(group: &ModelGroup) -> Result<(), Decline> {
    for deployment in &group.deployments {
        if deployment.provider != Provider::Anthropic {
            return Err(Decline::Provider);
        }
        if let Some(reason) = deployment.declines.first() {
            return Err(reason.decline);
        }
        if deployment.pricing.as_ref().is_some_and(|pricing| pricing.needs_python) {
            return Err(Decline::DeploymentParam);
        }
    }
    Ok(())
}

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
mod messages_tests;
