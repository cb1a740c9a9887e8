//! One entry of `model_list` -> [`Deployment`]: id, provider, credentials, defaults, prices, declines. Pure.
use std::time::Duration;

use http::Uri;
use serde_json::Map as Json;
use sha2::{Digest, Sha256};

use super::{
    ConfigDecline, Deployment, Provider,
    env::{self, Env},
    prices::PriceMap,
    provider,
    yaml::{Map, Value},
};
use crate::{routes::Decline, secret::Secret, spend::Pricing};

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

/// Keys that steer LiteLLM or name credentials; they are no request defaults.
const OWN: &[&str] = &[
    "model",
    "api_key",
    "api_base",
    "base_url",
    "organization",
    "timeout",
    "stream_timeout",
    "weight",
    "rpm",
    "tpm",
    "extra_headers",
    "custom_llm_provider",
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

/// `None`: LiteLLM cannot name the provider and skips the deployment.
pub(crate) fn build(
    model_group: &str,
    params: &Map,
    model_info: Option<&Map>,
    env: &Env,
    prices: &PriceMap,
) -> Option<Deployment> {
    let string = |key: &str| params.get(key).and_then(|node| node.value.as_str()).filter(|text| !text.is_empty());
    let litellm_model = string("model")?;
    let base = string("api_base").or_else(|| string("base_url"));
    let inferred = provider::infer(litellm_model, string("custom_llm_provider"), base, prices)?;
    let mut declines = Vec::new();
    let mut decline = |decline: Decline, key: &str| {
        declines.push(ConfigDecline { decline, key: format!("litellm_params.{key}") });
    };
    let (env_base, env_key, default_base) = match &inferred.provider {
        Provider::OpenAi => (
            env::text(env, "OPENAI_BASE_URL").or_else(|| env::text(env, "OPENAI_API_BASE")),
            env::text(env, "OPENAI_API_KEY"),
            "https://api.openai.com/v1",
        ),
        Provider::Anthropic => (
            env::text(env, "ANTHROPIC_API_BASE").or_else(|| env::text(env, "ANTHROPIC_BASE_URL")),
            env::text(env, "ANTHROPIC_API_KEY"),
            "https://api.anthropic.com",
        ),
        Provider::Other(_) => {
            decline(Decline::Provider, "model");
            (None, None, "")
        }
    };
    let api_base = base.or(env_base).map(|base| base.trim_end_matches('/').to_owned());
    let seconds = |key: &str| {
        let value = params.get(key).and_then(|node| node.value.as_f64())?;
        (value > 0.0 && value.is_finite()).then(|| Duration::from_secs_f64(value))
    };
    let number = |key: &str| params.get(key).and_then(|node| node.value.as_f64());
    let default_params: Json<String, serde_json::Value> = params
        .iter()
        .filter(|(key, node)| !OWN.contains(&key.as_str()) && !node.value.is_null())
        .map(|(key, node)| (key, node.value.to_json()))
        .collect();
    let extra_headers = params
        .get("extra_headers")
        .and_then(|node| node.value.as_map())
        .map(|map| map.iter().map(|(name, node)| (name, node.value.python_str())).collect())
        .unwrap_or_default();
    let id = model_info
        .and_then(|info| info.get("id"))
        .map_or_else(|| generate_model_id(model_group, params), |node| node.value.python_str());
    // LiteLLM looks for `provider/model` before `model` (utils.py `_get_potential_model_names`)
    let info = prices.get(litellm_model).or_else(|| prices.get(&inferred.model)).unwrap_or_default();
    let price = |key: &str| number(key).or_else(|| info.get(key).and_then(serde_json::Value::as_f64));
    let pricing = price("input_cost_per_token").map(|input| Pricing {
        input,
        output: price("output_cost_per_token").unwrap_or(0.0),
        cache_read: price("cache_read_input_token_cost"),
        cache_creation: price("cache_creation_input_token_cost"),
        cache_creation_1h: price("cache_creation_input_token_cost_above_1hr"),
        output_reasoning: price("output_cost_per_reasoning_token"),
        needs_python: false,
    });
    let endpoint = |path: &str| -> Option<Uri> {
        let base = api_base.as_deref().unwrap_or(default_base);
        if base.ends_with(path) { base.parse().ok() } else { format!("{base}{path}").parse().ok() }
    };
    let uri = match &inferred.provider {
        Provider::OpenAi => endpoint("/chat/completions"),
        Provider::Anthropic => endpoint("/v1/messages"),
        Provider::Other(_) => None,
    };
    Some(Deployment {
        id,
        model_group: model_group.to_owned(),
        litellm_model: litellm_model.to_owned(),
        api_key: string("api_key").or(env_key).map(Secret::new),
        organization: string("organization").map(str::to_owned),
        default_params,
        extra_headers,
        timeout: seconds("timeout"),
        stream_timeout: seconds("stream_timeout"),
        weight: number("weight"),
        rpm: number("rpm"),
        tpm: number("tpm"),
        pricing,
        model_info: info,
        declines,
        uri,
        api_base,
        model: inferred.model,
        provider: inferred.provider,
    })
}
