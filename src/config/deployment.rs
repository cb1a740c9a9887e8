//! One entry of `model_list` -> [`Deployment`]: id, provider, address, credentials, defaults, prices, declines. Pure.
//! It must never print a value of `litellm_params`, and never serve what it does not understand: a key it does not
//! know makes the deployment decline.
use std::{sync::Arc, time::Duration};

use http::Uri;
use serde_json::Map as Json;
use sha2::{Digest, Sha256};

use super::{
    ConfigDecline, Deployment, Provider,
    env::{self, Env},
    keys::{self, Rule, Section},
    listing,
    prices::{Entry, PriceMap},
    provider,
    registered::Registered,
    snapshot::{Prices, Slots},
    yaml::{Map, Node, Value},
};
use crate::{routes::Decline, secret::Secret};

/// LiteLLM's deployment id over name and params in file order (router.py `generate_model_id`).
pub(crate) fn generate_model_id(model_group: &str, params: &Map) -> String {
    let mut text = model_group.to_owned();
    for (key, value) in &params.entries {
        text += &key.value.python_str();
        text += &match &value.value {
            Value::Map(_) => value.value.json_dumps(),
            other => other.python_str(),
        };
    }
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keys of `litellm_params` that are request defaults: LiteLLM puts them under the client's own values.
/// Only plain values: a nested default is merged by rules of its own.
const DEFAULTS: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "stop_sequences",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
];

/// Keys that must be numbers to be understood.
const NUMBERS: &[&str] = &["weight", "rpm", "tpm", "timeout", "stream_timeout", "request_timeout"];

/// Fields whose type LiteLLM checks (types/router.py `LiteLLM_Params`); a wrong one makes it skip the deployment.
const STRINGS: &[&str] = &["model", "api_key", "api_base", "api_version", "organization", "custom_llm_provider"];

/// What one entry comes to.
pub(crate) enum Built {
    /// without its `model_map`, which depends on the other deployments
    Deployment(Box<Deployment>, Box<Registered>),
    /// LiteLLM logs an error, skips the entry and goes on; the reason names no value
    Skipped(String),
}

/// The parts of a `model_list` entry and of the configuration around it.
pub(crate) struct Input<'a> {
    pub(crate) model_group: &'a str,
    pub(crate) params: &'a Map,
    pub(crate) model_info: Option<&'a Map>,
    pub(crate) env: &'a Env,
    pub(crate) prices: &'a PriceMap,
    /// `router_settings.timeout` / `stream_timeout` and `litellm_settings.request_timeout`, seconds
    pub(crate) router_timeout: Option<f64>,
    pub(crate) router_stream_timeout: Option<f64>,
    pub(crate) request_timeout: Option<f64>,
}

pub(crate) fn build(input: &Input<'_>) -> Built {
    let Input { model_group, params, model_info, prices, .. } = *input;
    for key in STRINGS {
        let shape = params.get(key).map(|node| &node.value);
        if let Some(value) = shape.filter(|value| !value.is_null() && value.as_str().is_none())
            && !(*key == "organization" && value.as_list().is_some())
        {
            return Built::Skipped(format!("litellm_params.{key} must be a string, found {}", value.shape()));
        }
    }
    let string = |key: &str| params.get(key).and_then(|node| node.value.as_str()).filter(|text| !text.is_empty());
    let Some(litellm_model) = string("model") else {
        return Built::Skipped("litellm_params.model is missing".into());
    };
    let configured_base = string("api_base");
    let Some(inferred) = provider::infer(litellm_model, string("custom_llm_provider"), configured_base, prices) else {
        return Built::Skipped("LiteLLM knows no provider for litellm_params.model; write it as provider/model".into());
    };
    let mut declines = Declines::default();
    let (mut default_params, mut extra_headers) = (Json::new(), Vec::new());
    for (key, node) in params.iter() {
        let value = &node.value;
        match keys::rule(Section::LitellmParams, &key) {
            _ if value.is_null() => {}
            _ if DEFAULTS.contains(&key.as_str()) => match plain(value) {
                true => {
                    default_params.insert(key, value.to_json());
                }
                false => declines.param(&key),
            },
            Rule::Native if key == "extra_headers" => match headers(value) {
                Some(headers) => extra_headers = headers,
                None => declines.param(&key),
            },
            Rule::Native if NUMBERS.contains(&key.as_str()) && !is_number(value) => declines.param(&key),
            Rule::Native if key == "organization" && value.as_list().is_some() => declines.param(&key),
            Rule::Declines(decline, when) if when.holds(value) => {
                declines.add(decline, format!("litellm_params.{key}"))
            }
            _ => {}
        }
    }
    for (key, node) in model_info.map(Map::iter).into_iter().flatten() {
        if let Rule::Declines(decline, when) = keys::rule(Section::ModelInfo, &key)
            && when.holds(&node.value)
        {
            declines.add(decline, format!("model_info.{key}"));
        }
    }
    let access_groups = match model_info.and_then(|info| info.get("access_groups")).map(|node| &node.value) {
        None => Vec::new(),
        Some(value) if value.is_null() => Vec::new(),
        Some(value) => names(value).unwrap_or_else(|| {
            declines.add(Decline::DeploymentParam, "model_info.access_groups".into());
            Vec::new()
        }),
    };
    let name = inferred.provider.as_str().to_owned();
    let mut info = prices.find(&inferred.model, &name).unwrap_or_default();
    let configured = |(key, node): (String, &Node)| {
        let known = key.starts_with("supports_") || key.starts_with("max_");
        (known && !node.value.is_null()).then(|| (key, node.value.to_json()))
    };
    let configured: Entry = model_info.map(Map::iter).into_iter().flatten().filter_map(configured).collect();
    let base_model = model_info.and_then(|info| info.get("base_model")).filter(|node| !node.value.is_null());
    let base_info = base_model.and_then(|node| prices.find(node.value.as_str()?, &name)).map(|base| {
        let named = info.iter().map(|(key, fact)| (key.clone(), fact.clone()));
        named.chain(base).chain(configured.clone()).collect()
    });
    let base_is_known = base_model.is_some() == base_info.is_some();
    info.extend(configured);
    let Address { api_base, uri, api_key, organization } = address(&inferred.provider, input, &mut declines);
    served_natively(&inferred.provider, &inferred.model, &info, uri.as_ref(), &mut declines);
    let id = match model_info.and_then(|info| info.get("id")) {
        Some(node) => node.value.python_str(),
        None => generate_model_id(model_group, params),
    };
    let registered = Registered::new(input, (&name, &inferred.model), litellm_model, &id);
    if registered.pricing.as_ref().is_some_and(|pricing| pricing.needs_python) {
        declines.add(Decline::DeploymentParam, "the model's price".into());
    }
    let number = |key: &str| params.get(key).and_then(|node| node.value.as_f64()).filter(|n| *n > 0.0);
    let seconds =
        |value: Option<f64>| value.filter(|s| s.is_finite()).and_then(|s| Duration::try_from_secs_f64(s).ok());
    // router.py `_get_non_stream_timeout`, `_get_stream_timeout`; the settings' request_timeout comes last, by the route
    let per_attempt = input.request_timeout.filter(|_| input.router_timeout.is_some());
    let timeout = number("timeout").or(number("request_timeout")).or(per_attempt).or(input.router_timeout);
    let stream_timeout = number("stream_timeout").or(input.router_stream_timeout).or(per_attempt);
    let (rpm, tpm) = (number("rpm"), number("tpm"));
    let limit = rpm.or(tpm.map(|tpm| (tpm / 1000.0 * 6.0).max(1.0))).map(|limit| limit as u32);
    let listing = listing::listing(model_group, params, model_info, &id, *prices).map(Arc::new);
    let deployment = Deployment {
        listing,
        id,
        model_group: model_group.to_owned(),
        litellm_model: litellm_model.to_owned(),
        model: inferred.model,
        provider: inferred.provider,
        api_base,
        uri,
        api_key,
        organization,
        default_params,
        extra_headers,
        timeout: seconds(timeout),
        stream_timeout: seconds(stream_timeout),
        weight: number("weight"),
        rpm,
        tpm,
        pricing: registered.pricing.clone(),
        model_info: info,
        base_info,
        model_map: None,
        access_groups,
        lists_plainly: params.get("base_model").is_none()
            && base_is_known
            && model_info.is_none_or(|info| LISTING.iter().all(|key| info.get(key).is_none())),
        declines: declines.0,
        prices: Prices { fixed: registered.fixed, ..Prices::default() },
        slots: Slots { limit, ..Slots::default() },
        outgoing: Default::default(),
    };
    Built::Deployment(Box::new(deployment), Box::new(registered))
}

/// Keys of `model_info` that change lists of models (proxy_server.py `model_list`).
const LISTING: &[&str] = &["blocked", "discoverable", "display_name", "mode", "team_id", "team_public_model_name"];

/// A list of strings.
fn names(value: &Value) -> Option<Vec<String>> {
    value.as_list()?.iter().map(|node| node.value.as_str().map(str::to_owned)).collect()
}

#[derive(Default)]
struct Declines(Vec<ConfigDecline>);

impl Declines {
    fn add(&mut self, decline: Decline, key: String) {
        self.0.push(ConfigDecline { decline, key });
    }

    fn param(&mut self, key: &str) {
        self.add(Decline::DeploymentParam, format!("litellm_params.{key}"));
    }
}

fn is_number(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0)
}

fn plain(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().all(|item| item.value.as_str().is_some()),
        Value::Int(number) => i64::try_from(*number).is_ok(),
        Value::Float(number) => number.is_finite(),
        value => matches!(value, Value::Bool(_) | Value::Str(_)),
    }
}

fn headers(value: &Value) -> Option<Vec<(String, String)>> {
    let map = value.as_map()?;
    map.iter()
        .map(|(name, node)| {
            let text = node.value.as_str()?;
            let valid = http::HeaderName::try_from(&name).is_ok() && http::HeaderValue::try_from(text).is_ok();
            valid.then(|| (name, text.to_owned()))
        })
        .collect()
}

struct Address {
    api_base: Option<String>,
    uri: Option<Uri>,
    api_key: Option<Secret>,
    organization: Option<String>,
}

/// Address and credentials with the environment's fall-backs (main.py `_complete_custom_openai`,
/// llms/anthropic/common_utils.py `AnthropicModelInfo`).
fn address(provider: &Provider, input: &Input<'_>, declines: &mut Declines) -> Address {
    let (params, env) = (input.params, input.env);
    let string = |key: &str| params.get(key).and_then(|node| node.value.as_str()).filter(|text| !text.is_empty());
    let variable = |name: &str| env::text(env, name).filter(|text| !text.is_empty());
    let (base, key, default_base, path) = match provider {
        Provider::OpenAi => (
            string("api_base").or_else(|| variable("OPENAI_BASE_URL")).or_else(|| variable("OPENAI_API_BASE")),
            string("api_key").or_else(|| variable("OPENAI_API_KEY")),
            "https://api.openai.com/v1",
            "/chat/completions",
        ),
        Provider::Anthropic => (
            string("api_base").or_else(|| variable("ANTHROPIC_API_BASE")).or_else(|| variable("ANTHROPIC_BASE_URL")),
            string("api_key").or_else(|| variable("ANTHROPIC_API_KEY")),
            "https://api.anthropic.com",
            "/v1/messages",
        ),
        Provider::Other(_) => {
            declines.add(Decline::Provider, "litellm_params.model".into());
            return Address {
                api_base: string("api_base").map(str::to_owned),
                uri: None,
                api_key: None,
                organization: None,
            };
        }
    };
    // a trailing slash, a query or blanks are joined differently by LiteLLM's clients
    let uri = match base.unwrap_or(default_base) {
        base if base.ends_with('/') || base.contains(['?', '#', ' ']) => None,
        base if base.ends_with(path) && *provider == Provider::Anthropic => base.parse::<Uri>().ok(),
        base => format!("{base}{path}").parse::<Uri>().ok(),
    };
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if uri.is_none() {
        declines.param("api_base");
    }
    // without a key LiteLLM looks further (tokens, federation) or refuses; a subscription token changes the headers
    let usable = |key: &&str| !key.trim().is_empty() && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let key = key.filter(usable).filter(|key| *provider == Provider::OpenAi || !key.contains("sk-ant-oat"));
    if key.is_none() {
        declines.param("api_key");
    }
    let organization = string("organization")
        .or_else(|| variable("OPENAI_ORGANIZATION"))
        .or_else(|| variable("OPENAI_ORG_ID"))
        .filter(|_| *provider == Provider::OpenAi);
    if *provider == Provider::OpenAi && variable("OPENAI_PROJECT_ID").is_some() {
        declines.add(Decline::Setting, "environment OPENAI_PROJECT_ID".into());
    }
    Address {
        api_base: base.map(str::to_owned),
        uri,
        api_key: key.map(Secret::new),
        organization: organization.map(str::to_owned),
    }
}

/// Models that LiteLLM serves by another way than the provider's chat endpoint.
fn served_natively(provider: &Provider, model: &str, info: &Entry, uri: Option<&Uri>, declines: &mut Declines) {
    if matches!(provider, Provider::Other(_)) {
        return;
    }
    let mode = info.get("mode").and_then(serde_json::Value::as_str);
    let lower = model.to_ascii_lowercase();
    let bridged = lower.starts_with("responses/") || mode.is_some_and(|mode| mode != "chat");
    let searching = lower.contains("search") || lower.contains("audio") || lower.contains("deep-research");
    if bridged || searching || model.contains('*') || model.starts_with("auto_router/") {
        declines.add(Decline::Provider, "litellm_params.model".into());
    }
    // regional hosts are billed with a surcharge
    if uri.and_then(Uri::host).is_some_and(|host| host.ends_with(".api.openai.com")) {
        declines.param("api_base");
    }
}
