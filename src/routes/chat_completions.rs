//! `POST /v1/chat/completions` and its aliases for provider `openai`, any `api_base`: JSON and streaming (LiteLLM
//! proxy/proxy_server.py `chat_completion`, llms/openai/openai.py). Owns what may be served natively and the order of
//! things; what is said to and heard from the provider is `providers::openai`. It must never call a provider before
//! admission is through, and never twice.
mod bill;
mod events;
mod execute;
mod headers;
mod price;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, Method, header};

use super::{
    Admission, Call, Decline, Halt, Head, NativeRoute,
    limited::{Limited, limited},
    litellm_headers::KeyHeaders,
    named_rows::standings,
    refused::stopped,
    settle,
};
use crate::{
    auth::{self, Named, named::HEADERS},
    config::{Deployment, ModelGroup, Provider, Slot, Snapshot},
    error::Dialect,
    json::{Object, Raw},
    providers::openai::request::{self, Prepared},
    router,
    spend::cost::python_float,
};

/// The row of the route table.
pub const CHAT_COMPLETIONS: NativeRoute = NativeRoute {
    id: "chat_completions",
    methods: &[Method::POST],
    paths: &[
        "/v1/chat/completions",
        "/chat/completions",
        "/engines/{model:path}/chat/completions",
        "/openai/deployments/{model:path}/chat/completions",
    ],
    needs_body: true,
    needs_caller: true,
    fetch: None,
    dialect: Dialect::OpenAi,
    serves: "provider openai and OpenAI-compatible api_bases: JSON and streaming, tools, images, reasoning fields",
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

/// LiteLLM's `request_timeout` where nothing sets one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6000);

/// An admitted call.
struct Admitted {
    prepared: Prepared,
    /// whom the caller says it asks for
    named: Named,
    deployment: Arc<Deployment>,
    /// the model group as the caller named it, in the path or in the body
    group: String,
    /// the body's `model`
    requested: Option<String>,
    uri: http::Uri,
    headers: HeaderMap,
    timeout: Timeout,
    key: KeyHeaders,
    limited: Limited,
    /// one of the deployment's calls at a time; free when the answer, or its stream, is over or dropped
    _slot: Slot,
}

/// How long the provider may be silent, and how LiteLLM prints that.
struct Timeout {
    duration: Duration,
    /// `x-litellm-timeout` of errors: as configured (`30`, `2.0`)
    shown: String,
    /// `x-stainless-read-timeout` and error texts: a float
    float: String,
}

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    auth::present(head, snapshot)?;
    if head.query.as_deref().is_some_and(|query| !query.is_empty()) {
        return Err(Decline::Query);
    }
    if !is_json(head) {
        return Err(Decline::ContentType);
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Decline::ContentEncoding);
    }
    for name in head.headers.keys() {
        let name = name.as_str();
        let steers = match name {
            "x-litellm-api-key" => false,
            _ if HEADERS.contains(&name) => head.header(name).is_none(),
            "x-litellm-call-id" => head.header(name).is_none_or(|id| !(1..=256).contains(&id.len())),
            _ => ["x-litellm-", "x-mcp-", "langfuse_"].iter().any(|prefix| name.starts_with(prefix)),
        };
        if steers {
            return Err(Decline::ControlHeader);
        }
    }
    Ok(())
}

fn is_json(head: &Head) -> bool {
    let Some(value) = head.header("content-type") else { return false };
    let mut parts = value.split(';');
    let media = parts.next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
        && parts.all(|part| part.trim().eq_ignore_ascii_case("charset=utf-8"))
}

fn admit(call: Call) -> Admission {
    let snapshot = Arc::clone(&call.snapshot);
    if let Some(reason) = snapshot.declines.first() {
        return Err(reason.decline.into());
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
            named_by_path: call.params.contains_key("model"),
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
        let requested = match body.some("model") {
            None => None,
            Some(model) => Some(Raw::as_str(model).ok_or(Decline::FieldType)?.into_owned()),
        };
        let group = resolve(&call, requested.as_deref())?;
        if !call.policy.allows("openai") {
            return Err(Decline::Provider.into());
        }
        judge_group(group)?;
        let deployment = router::simple_shuffle(group, fastrand::f64()).ok_or(Decline::NoDeployment)?;
        let slot = deployment.slots.take().ok_or(Decline::NoDeployment)?;
        let limited = limited(&call, group, &body, (&named, &standings))?;
        let capped = limited.body(&body, &call.body);
        let prepared = match &capped {
            Cow::Borrowed(_) => request::prepare(&body, deployment)?,
            Cow::Owned(capped) => {
                let body = Object::parse_request(capped).map_err(|_| Decline::BodyNotJson)?;
                request::prepare(&body, deployment)?
            }
        };
        settle::billable(&call, deployment, prepared.stream, true)?;
        let timeout = timeout(deployment, &snapshot, prepared.stream);
        Admitted {
            headers: headers::provider(deployment, &timeout, prepared.stream).ok_or(Decline::DeploymentParam)?,
            uri: deployment.uri.clone().ok_or(Decline::DeploymentParam)?,
            prepared,
            named,
            deployment: Arc::clone(deployment),
            group: group.name.clone(),
            requested,
            timeout,
            key: KeyHeaders::of(&call.caller, call.now),
            limited,
            _slot: slot,
        }
    };
    Ok(Box::pin(execute::execute(call, admitted)))
}

/// The path's model wins over the body's.
fn resolve<'a>(call: &'a Call, requested: Option<&str>) -> Result<&'a ModelGroup, Decline> {
    let name = match call.params.get("model") {
        Some(path) if path.contains(['%', '+']) => return Err(Decline::NotThisPath),
        Some(path) => path.as_str(),
        None => requested.ok_or(Decline::MissingField)?,
    };
    if name.is_empty() || name.contains([',', '*']) {
        return Err(Decline::Model);
    }
    call.snapshot.resolve(name).map(Arc::as_ref)
}

/// Every deployment must be servable: otherwise declining the unlucky draws would shift LiteLLM's own odds.
fn judge_group(group: &ModelGroup) -> Result<(), Decline> {
    for deployment in &group.deployments {
        if deployment.provider != Provider::OpenAi {
            return Err(Decline::Provider);
        }
        if let Some(reason) = deployment.declines.first() {
            return Err(reason.decline);
        }
        if deployment.api_key.is_none() || deployment.pricing.as_ref().is_some_and(|pricing| pricing.needs_python) {
            return Err(Decline::DeploymentParam);
        }
    }
    Ok(())
}

/// LiteLLM router `_get_timeout`: `stream_timeout` first for streams, then the deployment's, then the settings'.
fn timeout(deployment: &Deployment, snapshot: &Snapshot, stream: bool) -> Timeout {
    let own = deployment.stream_timeout.filter(|_| stream).or(deployment.timeout);
    let settings = snapshot.settings.request_timeout;
    let duration = own.or(settings).unwrap_or(DEFAULT_TIMEOUT);
    let float = python_float(duration.as_secs_f64());
    // a whole number in `litellm_settings` stays an int
    let shown = match (own, settings) {
        (None, Some(_)) => float.strip_suffix(".0").unwrap_or(&float).to_owned(),
        _ => float.clone(),
    };
    Timeout { duration, shown, float }
}

#[cfg(test)]
#[path = "chat_completions/admission_tests.rs"]
mod admission_tests;
#[cfg(test)]
#[path = "chat_completions/chat_completions_tests.rs"]
mod chat_completions_tests;
