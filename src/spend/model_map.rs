//! `model_map_information` of a spend log: what LiteLLM's `get_model_info` says of the deployment's model. The facts are
//! LiteLLM's own answers, kept as data by `tests/golden/model_info.py`; nothing is worked out here. Built when the
//! configuration is read, never for a request.
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

/// `keys`: all keys of an answer; `params`: lists of `supported_openai_params`; `models`: what is not null, by
/// `provider/model`.
static DATA: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../data/model_info.json")).unwrap_or_default());

/// JSON text of the object. `None`: LiteLLM's answer for this model is not known here.
pub fn model_map(provider: &str, model: &str, litellm_model: &str) -> Option<Arc<str>> {
    // without its provider in front LiteLLM lists other parameters
    if litellm_model.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')) != Some(model) {
        return None;
    }
    let own = DATA.get("models")?.get(format!("{provider}/{model}"))?.as_object()?;
    let mut value = Map::new();
    for key in DATA.get("keys")?.as_array()?.iter().filter_map(Value::as_str) {
        let fact = match (key, own.get(key)) {
            ("supported_openai_params", Some(at)) => {
                let at = usize::try_from(at.as_u64()?).ok()?;
                DATA.get("params")?.get(at)?.clone()
            }
            (_, Some(fact)) => fact.clone(),
            ("key", None) => model.into(),
            ("litellm_provider", None) => provider.into(),
            (_, None) => Value::Null,
        };
        value.insert(key.to_owned(), fact);
    }
    // some models have keys of their own
    for (key, fact) in own.iter().filter(|(key, _)| *key != "supported_openai_params") {
        value.entry(key.clone()).or_insert_with(|| fact.clone());
    }
    Some(json!({"model_map_key": litellm_model, "model_map_value": value}).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_model_has_every_key_and_an_unknown_one_nothing() {
        let text = model_map("openai", "gpt-4o", "openai/gpt-4o").unwrap();
        let map: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(map["model_map_key"], "openai/gpt-4o");
        let value = &map["model_map_value"];
        assert_eq!(value.as_object().unwrap().len(), 167);
        assert_eq!((&value["key"], &value["rpm"]), (&json!("gpt-4o"), &Value::Null));
        assert_eq!(value["supported_openai_params"][0], "frequency_penalty");
        assert_eq!(model_map("openai", "no-such-model", "openai/no-such-model"), None);
    }
}
