//! `model_map_information` of a spend log: what LiteLLM's `get_model_info` says of the deployment's model. The facts are
//! LiteLLM's own answers, kept as data by `tests/golden/model_info.py`, and those that the configuration gives; nothing is
//! worked out here. Built when the configuration is read, never for a request.
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

type Facts = Map<String, Value>;

/// `keys`: all keys of an answer; `params`: lists of `supported_openai_params`; `models`: what is not null, by
/// `provider/model`, and as `bare` the list of the same model without its provider in front, where it is another.
static DATA: LazyLock<Facts> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../data/model_info.json")).unwrap_or_default());

/// A model of each provider that takes what a model takes that LiteLLM does not know.
const PLAIN: &[(&str, &str)] = &[("openai", "openai/gpt-4o"), ("anthropic", "anthropic/claude-haiku-4-5")];

/// But these, of an Anthropic model, only where it is said to think.
const THINKING: &[&str] = &["thinking", "reasoning_effort"];
const THINKS: &[&str] = &["supports_reasoning", "supports_adaptive_thinking"];

/// JSON text of the object. `shown`: the name LiteLLM looked for; `facts`: `None`: it found nothing.
pub fn text(shown: &str, facts: Option<Facts>) -> Arc<str> {
    json!({"model_map_key": shown, "model_map_value": facts}).to_string().into()
}

/// Whether an answer has this key.
pub fn is_fact(key: &str) -> bool {
    keys().any(|known| known == key)
}

/// Whether a key is a rate of long prompts (`ABOVE_THRESHOLD_COST_KEY_PATTERN`): answers have those, whatever the threshold.
pub fn is_threshold(key: &str) -> bool {
    let key = key.strip_suffix("_batches").unwrap_or(key);
    let count = key.strip_suffix("_tokens").and_then(|rest| rest.rsplit_once("_above_"));
    count.is_some_and(|(_, count)| {
        let digits = count.strip_suffix('k').unwrap_or(count);
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// What LiteLLM says of a model of its price map, with what the configuration changes. `bare`: it looked for it without
/// its provider in front. `None`: its answer is not known here.
pub fn listed(provider: &str, model: &str, bare: bool, changes: &Facts) -> Option<Facts> {
    let own = model_of(&format!("{provider}/{model}"))?;
    let params = own.get("supported_openai_params")?;
    let plain = model_of(plain_model(provider)?)?.get("supported_openai_params") == Some(params);
    // what a model supports may change which parameters it takes
    let steers = |key: &String| match provider {
        "anthropic" => THINKS.contains(&key.as_str()),
        _ => key.starts_with("supports_") && !plain,
    };
    if changes.keys().any(steers) {
        return None;
    }
    let params = list(own.get("bare").filter(|_| bare).unwrap_or(params))?;
    let mut facts = own.clone();
    facts.remove("bare");
    facts.extend(changes.clone());
    Some(answer(facts, (provider, model), params))
}

/// What it says of a model that nothing but the configuration describes, found under `key`.
pub fn described(provider: &str, key: &str, facts: Facts) -> Option<Facts> {
    let mut params = list(model_of(plain_model(provider)?)?.get("supported_openai_params")?)?;
    let thinks = THINKS.iter().any(|key| facts.get(*key) == Some(&Value::Bool(true)));
    if let (Some(params), "anthropic", false) = (params.as_array_mut(), provider, thinks) {
        params.retain(|param| !THINKING.iter().any(|word| param == word));
    }
    let mut facts: Facts = facts.into_iter().filter(|(key, _)| is_fact(key) || is_threshold(key)).collect();
    for price in ["input_cost_per_token", "output_cost_per_token"] {
        facts.entry(price).or_insert_with(|| 0.into());
    }
    Some(answer(facts, (provider, key), params))
}

fn keys() -> impl Iterator<Item = &'static str> {
    DATA.get("keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn model_of(name: &str) -> Option<&'static Facts> {
    DATA.get("models")?.get(name)?.as_object()
}

fn plain_model(provider: &str) -> Option<&'static str> {
    PLAIN.iter().find(|(known, _)| *known == provider).map(|(_, model)| *model)
}

fn list(at: &Value) -> Option<Value> {
    DATA.get("params")?.get(usize::try_from(at.as_u64()?).ok()?).cloned()
}

/// Every key, whether it is known or not; some models have keys of their own.
fn answer(mut facts: Facts, (provider, key): (&str, &str), params: Value) -> Facts {
    facts.insert("supported_openai_params".into(), params);
    facts.entry("key").or_insert_with(|| key.into());
    facts.entry("litellm_provider").or_insert_with(|| provider.into());
    for key in keys().filter(|key| !facts.contains_key(*key)).collect::<Vec<_>>() {
        facts.insert(key.to_owned(), Value::Null);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_model_has_every_key_and_an_unknown_one_nothing() {
        let value = listed("openai", "gpt-4o", false, &Facts::new()).unwrap();
        assert_eq!(value.len(), 167);
        assert_eq!((&value["key"], &value["rpm"]), (&json!("gpt-4o"), &Value::Null));
        assert_eq!(value["supported_openai_params"][0], "frequency_penalty");
        assert_eq!(listed("openai", "no-such-model", false, &Facts::new()), None);
        assert!(text("openai/x", None).contains("\"model_map_value\":null"));
    }
}
