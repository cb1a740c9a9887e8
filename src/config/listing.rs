//! What LiteLLM's `/model/info` says of one deployment (proxy_server.py `_enrich_model_info_with_litellm_data`): its
//! `litellm_params` without secrets, its `model_info`, and the price map's facts about its model. Built when the
//! configuration is read; a request only joins texts. Pure. What is not known exactly has no listing, and is Python's.
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use serde_json::{Value as Fact, json};

use super::{
    key_names,
    keys::{self, Rule, Section},
    prices::{Entry as Json, PriceMap},
    yaml::{Map, Value},
};

/// The texts of one row, each without its braces.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// `"model_name":...,"litellm_params":{...}`
    pub head: String,
    /// members of `model_info` as configured: `"id":...,"db_model":false,...`
    pub own: String,
    /// further members: prices of `litellm_params`, `"pricing_overrides":[...]`
    pub stamps: String,
    /// further members: facts of the price map that the configuration does not override
    pub facts: Arc<str>,
}

/// Fields of `litellm_params` that LiteLLM gives a type (types/router.py `GenericLiteLLMParams`); those that are read here,
/// in its order.
const TYPED: &[(&str, Kind)] = &[
    ("api_key", Kind::Secret),
    ("api_base", Kind::Text),
    ("api_version", Kind::Text),
    ("vertex_project", Kind::Text),
    ("vertex_location", Kind::Text),
    ("region_name", Kind::Text),
    ("aws_access_key_id", Kind::Secret),
    ("aws_secret_access_key", Kind::Secret),
    ("aws_session_token", Kind::Text),
    ("aws_region_name", Kind::Text),
    ("aws_bedrock_runtime_endpoint", Kind::Text),
    ("custom_llm_provider", Kind::Text),
    ("tpm", Kind::Int),
    ("rpm", Kind::Int),
    ("timeout", Kind::Number),
    ("stream_timeout", Kind::Number),
    ("max_retries", Kind::Int),
    ("organization", Kind::Text),
    ("allow_client_keepalive_override", Kind::No),
    ("use_in_pass_through", Kind::No),
    ("use_litellm_proxy", Kind::No),
    ("use_xai_oauth", Kind::No),
    ("merge_reasoning_content_in_choices", Kind::No),
    ("model", Kind::Text),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    /// never shown
    Secret,
    Int,
    /// shown with a fraction
    Number,
    /// `false`, and shown so where it is not set
    No,
}

/// Fields without a type there: shown as they are configured.
const UNTYPED: &[&str] = &[
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
    "safety_identifier",
    "extra_headers",
    "weight",
    "request_timeout",
    "base_model",
];

/// Prices that LiteLLM shows in `model_info` although they stand in `litellm_params` (types/utils.py
/// `MirroredPricingParams`), in its order.
const MIRRORED: &[&str] = &[
    "input_cost_per_token",
    "output_cost_per_token",
    "input_cost_per_character",
    "output_cost_per_character",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

/// Names with a type in `model_info`, which may change what is shown (types/router.py `ModelInfo`).
const INFO_FIELDS: &[&str] = &[
    "db_model",
    "updated_at",
    "updated_by",
    "created_at",
    "created_by",
    "tier",
    "team_id",
    "team_public_model_name",
    "member_auto_router",
    "blocked",
    "discoverable",
    "access_windows",
    "key",
    "litellm_provider",
    "mode",
    "access_via_team_ids",
    "direct_access",
    "pricing_overrides",
    "display_name",
];

/// What a `model_list` entry is listed as. `None`: only LiteLLM knows.
pub(super) fn listing(
    model_group: &str,
    params: &Map,
    info: Option<&Map>,
    id: &str,
    prices: PriceMap,
) -> Option<Listing> {
    let mut own_prices = Json::new();
    for (key, node) in params.iter().filter(|(key, node)| is_price(key) && !node.value.is_null()) {
        own_prices.insert(key, number(&node.value)?);
    }
    let shown = shown_params(params, &own_prices)?;
    let mut own = Json::new();
    for key in MIRRORED.iter().filter(|key| own_prices.contains_key(**key)) {
        own.insert((*key).to_owned(), own_prices.get(*key)?.clone());
    }
    own.insert("id".into(), id.into());
    own.insert("db_model".into(), false.into());
    let mut base_model = None;
    let fields = info.map(Map::iter).into_iter().flatten().filter(|(key, node)| key != "id" && !node.value.is_null());
    let mut further = Json::new();
    let fact_names = &*KEYS;
    for (key, node) in fields {
        match key.as_str() {
            "base_model" => base_model = Some(node.value.as_str()?),
            _ if fact_names.contains(&key) || !is_plain_info(&key) => return None,
            _ => drop(further.insert(key, plain(&node.value)?)),
        }
    }
    if let Some(base_model) = base_model {
        own.insert("base_model".into(), base_model.into());
    }
    own.insert("member_auto_router".into(), false.into());
    own.append(&mut further);
    let mut stamps: Json = own_prices
        .iter()
        .filter(|(key, _)| !own.contains_key(*key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut overrides: Vec<&String> = own_prices.keys().collect();
    overrides.sort();
    stamps.insert("pricing_overrides".into(), json!(overrides));
    let model = base_model.filter(|name| !name.is_empty()).or_else(|| params.get("model")?.value.as_str())?;
    let priced = own_prices.keys().any(|key| TOKEN_PRICES.contains(&key.as_str()));
    let name = model.rsplit('/').next().unwrap_or_default();
    let is_name = id.eq_ignore_ascii_case(name) || id.eq_ignore_ascii_case(model);
    // most deployments share what is said of their model
    let shared = own_prices.is_empty() && !is_name;
    let facts = match shared.then(|| seen(model)).flatten() {
        Some(facts) => facts,
        None => {
            let mut facts = facts(model, priced, prices)?;
            // a deployment's id is a name in LiteLLM's price map, too
            if is_name {
                // without an entry of the list's own it is the one that is found
                let unlisted = id == name && PriceMap::listing().value::<Json>(model).is_none();
                facts.insert("key".into(), unlisted.then_some(id)?.into());
            }
            facts.retain(|key, _| !own.contains_key(key) && !stamps.contains_key(key));
            let facts: Arc<str> = members(facts).into();
            if shared {
                remember(model, &facts);
            }
            facts
        }
    };
    Some(Listing {
        head: format!("\"model_name\":{},\"litellm_params\":{}", json!(model_group), Fact::Object(shown)),
        own: members(own),
        stamps: members(stamps),
        facts,
    })
}

/// All keys of LiteLLM's facts.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| PriceMap::listing().value("#keys").unwrap_or_default());

/// Texts of facts by model, for deployments that override none; bounded.
static SEEN: LazyLock<RwLock<HashMap<String, Arc<str>>>> = LazyLock::new(RwLock::default);
const MAX_SEEN: usize = 1024;

fn seen(model: &str) -> Option<Arc<str>> {
    SEEN.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
}

fn remember(model: &str, facts: &Arc<str>) {
    let mut seen = SEEN.write().unwrap_or_else(PoisonError::into_inner);
    if seen.len() < MAX_SEEN {
        seen.insert(model.to_owned(), facts.clone());
    }
}

fn members(map: Json) -> String {
    let text = Fact::Object(map).to_string();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

const TOKEN_PRICES: &[&str] = &["input_cost_per_token", "output_cost_per_token"];

fn is_price(key: &str) -> bool {
    key_names::PRICING.contains(&key)
}

/// A key of `model_info` that nothing but the row itself shows.
fn is_plain_info(key: &str) -> bool {
    let native = key == "access_groups" || keys::rule(Section::ModelInfo, key) == Rule::NoBearing;
    native && !INFO_FIELDS.contains(&key) && !key.contains("cost") && !key.starts_with("token_count")
}

/// `litellm_params` as they are shown (common_utils/openai_endpoint_utils.py `remove_sensitive_info_from_deployment`).
fn shown_params(params: &Map, own_prices: &Json) -> Option<Json> {
    let known = |key: &str| TYPED.iter().any(|(name, _)| *name == key) || UNTYPED.contains(&key) || is_price(key);
    let set = |key: &str| params.get(key).map(|node| &node.value).filter(|value| !value.is_null());
    if params.iter().any(|(key, node)| !node.value.is_null() && !known(&key)) {
        return None;
    }
    let mut shown = own_prices.clone();
    for (name, kind) in TYPED {
        let value = match (kind, set(name)) {
            (Kind::No, None | Some(Value::Bool(false))) => false.into(),
            (_, None) => continue,
            (Kind::Secret, Some(Value::Str(_))) => continue,
            (Kind::Text, Some(Value::Str(text))) => masked(name, &text.as_str().into())?,
            (Kind::Int, Some(Value::Int(number))) => i64::try_from(*number).ok()?.into(),
            (Kind::Number, Some(value)) => number(value)?,
            _ => return None,
        };
        shown.insert((*name).to_owned(), value);
    }
    for (key, node) in params.iter().filter(|(key, node)| UNTYPED.contains(&key.as_str()) && !node.value.is_null()) {
        shown.insert(key.clone(), masked(&key, &plain(&node.value)?)?);
    }
    Some(shown)
}

/// A float as LiteLLM's data classes make it of a number.
fn number(value: &Value) -> Option<Fact> {
    match value {
        Value::Int(_) | Value::Float(_) => value.as_f64().filter(|number| number.is_finite()).map(Fact::from),
        _ => None,
    }
}

/// A value that YAML and JSON have in common, with nothing left out of it.
fn plain(value: &Value) -> Option<Fact> {
    let whole = match value {
        Value::Null | Value::BigInt(_) | Value::Time(_) | Value::Bytes(_) | Value::Opaque(_) => false,
        Value::Int(number) => i64::try_from(*number).is_ok(),
        Value::Float(number) => number.is_finite(),
        Value::Bool(_) | Value::Str(_) => true,
        Value::List(items) => items.iter().all(|item| plain(&item.value).is_some()),
        Value::Map(map) => map.iter().all(|(_, node)| plain(&node.value).is_some()),
    };
    whole.then(|| value.to_json())
}

/// Words in a name that make its value a secret (litellm_core_utils/sensitive_data_masker.py).
const SENSITIVE: &[&str] = &[
    "password",
    "secret",
    "key",
    "token",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "access",
    "private",
    "certificate",
    "fingerprint",
    "tenancy",
];

/// `SensitiveDataMasker.mask_dict`, down to the values.
fn masked(key: &str, value: &Fact) -> Option<Fact> {
    let lower = key.to_lowercase();
    let mut words = lower.split(['_', '-']);
    let sensitive = !words.clone().any(|word| word == "cost") && words.any(|word| SENSITIVE.contains(&word));
    match value {
        Fact::Object(map) => map
            .iter()
            .map(|(key, value)| Some((key.clone(), masked(key, value)?)))
            .collect::<Option<Json>>()
            .map(Fact::Object),
        Fact::Array(items) if items.iter().all(Fact::is_string) => {
            items.iter().map(|item| if sensitive { mask(item) } else { Some(item.clone()) }).collect()
        }
        Fact::Array(_) => None,
        value if sensitive => mask(value),
        value => Some(value.clone()),
    }
}

/// The first four and the last four characters of a text; what is no text is left to Python.
fn mask(value: &Fact) -> Option<Fact> {
    let text: Vec<char> = value.as_str()?.chars().collect();
    let hidden = text.len().checked_sub(8).filter(|hidden| *hidden > 0);
    let Some(hidden) = hidden else { return Some("*".repeat(text.len()).into()) };
    let (head, tail) = (text.iter().take(4), text.iter().skip(4 + hidden));
    Some(head.chain(vec![&'*'; hidden]).chain(tail).collect::<String>().into())
}

/// Parts of names by which LiteLLM tells families of OpenAI's models apart, listed or not.
const FAMILIES: &[&str] =
    &["gpt", "o1", "o2", "o3", "o4", "o5", "codex", "audio", "search", "research", "chat-latest", "computer", "claude"];

/// A model of a compatible server that no price list has and no rule of LiteLLM's describes: it is shown without facts.
fn unlisted(model: &str, prices: PriceMap) -> Option<Json> {
    let (provider, name) = model.split_once('/')?;
    let lower = name.to_ascii_lowercase();
    let own = match provider {
        "openai" => !FAMILIES.iter().any(|family| lower.contains(family)),
        "anthropic" => !lower.bytes().any(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    let plain = own && !name.is_empty() && !name.contains(['/', ':', '*']) && prices.find(name, provider).is_none();
    plain.then(|| PriceMap::listing().value(&format!("#{provider}")))?
}

/// LiteLLM's `get_model_info` of a model of its price map. `priced`: the deployment has a price for tokens.
fn facts(model: &str, priced: bool, prices: PriceMap) -> Option<Json> {
    let known = PriceMap::listing();
    let line: Json = known.value(model).or_else(|| unlisted(model, prices))?;
    let own = line.get("facts").and_then(Fact::as_object);
    let key = line.get("key").and_then(Fact::as_str).unwrap_or(model);
    let entry: Json = prices.value(key).unwrap_or_default();
    let unpriced = !priced && !entry.keys().any(|key| TOKEN_PRICES.contains(&key.as_str()));
    let mut facts = Json::new();
    for name in KEYS.iter().cloned() {
        let fact = match name.as_str() {
            "key" => key.into(),
            "supported_openai_params" => known.value(&format!("#{}", line.get("p")?.as_u64()?))?,
            name if TOKEN_PRICES.contains(&name) && unpriced => Fact::Null,
            name => match (own.and_then(|own| own.get(name)), entry.get(name)) {
                (Some(fact), _) | (None, Some(fact)) if !fact.is_null() => fact.clone(),
                _ if TOKEN_PRICES.contains(&name) => 0.into(),
                _ => Fact::Null,
            },
        };
        facts.insert(name, fact);
    }
    // some models have keys of their own
    for (name, fact) in own.into_iter().flatten() {
        facts.entry(name.clone()).or_insert_with(|| fact.clone());
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_as_litellm_masks_them() {
        let cases = [
            ("aws_session_token", json!("0123456789"), json!("0123**6789")),
            ("aws_session_token", json!("01234567"), json!("********")),
            ("max_tokens", json!(5), json!(5)),
            ("stop", json!(["a"]), json!(["a"])),
            (
                "extra_headers",
                json!({"Authorization": "Bearer sk-123456", "x-api-key": "short", "x-team": "blue"}),
                json!({"Authorization": "Bear********3456", "x-api-key": "*****", "x-team": "blue"}),
            ),
        ];
        for (key, value, wanted) in cases {
            assert_eq!(masked(key, &value), Some(wanted), "{key}");
        }
        assert_eq!(masked("some_key", &json!(5)), None);
    }

    #[test]
    fn facts_are_whole_and_nulls_are_shown() {
        let known = facts("openai/gpt-4o", false, PriceMap::default()).unwrap();
        assert_eq!((known["key"].as_str(), known["input_cost_per_token"].as_f64()), (Some("gpt-4o"), Some(2.5e-6)));
        assert_eq!((&known["rpm"], known["max_output_tokens"].as_i64()), (&Fact::Null, Some(16384)));
        let unlisted = facts("openai/no-such-model", false, PriceMap::default()).unwrap();
        assert_eq!(
            (&unlisted["key"], &unlisted["input_cost_per_token"]),
            (&json!("openai/no-such-model"), &Fact::Null)
        );
        assert_eq!((unlisted["litellm_provider"].as_str(), unlisted.len()), (Some("openai"), known.len()));
        for described in ["openai/gpt-9", "openai/o4", "anthropic/claude-new-9", "azure/no-such-model", "no-such-model"]
        {
            assert_eq!(facts(described, false, PriceMap::default()), None, "{described}");
        }
    }
}
