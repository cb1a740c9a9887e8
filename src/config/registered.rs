//! What LiteLLM registers of a deployment in its price map (router.py `_register_deployment_in_model_cost`): its own entry
//! under its id, and facts under its model's name that all deployments of that model share. What a spend log says of the
//! model (`get_model_cost_information`), and prices, come out of these entries. Pure. It must never guess.
use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{
    deployment::Input,
    key_names,
    prices::{self, Entry, PriceMap},
    yaml::Map,
};
use crate::spend::{Pricing, model_map};

/// One deployment, registered.
pub(crate) struct Registered {
    pub(crate) pricing: Option<Pricing>,
    /// the price holds whatever model the answer names (`use_custom_pricing_for_model`, `base_model`)
    pub(crate) fixed: bool,
    /// `provider/model`, as its model is called
    backend: String,
    /// what it says of its model to all of them; `None`: more than is understood
    facts: Option<Entry>,
    said: Said,
}

/// Where LiteLLM finds what it says of the model.
enum Said {
    /// in the deployment's own entry
    Own(Option<Arc<str>>),
    /// in that of a model, registered as `key`
    Of { provider: String, model: String, shown: String, key: Option<String> },
}

/// Facts by `provider/model`. `None`: deployments differ, or more is said than is understood.
#[derive(Default)]
pub(crate) struct Shared(HashMap<String, Option<Entry>>);

/// Facts that no deployment shares (types/utils.py `DEPLOYMENT_SCOPED_*`).
const SCOPED: &[&str] = &["off_peak_pricing", "supports_regex_lookaround", "token_count_framing", "token_count_model"];

/// Members of LiteLLM's answers that are none of a configuration's business.
const STRANGE: &[&str] = &["key", "litellm_provider", "supported_openai_params"];

impl Registered {
    /// `model`: without its provider in front; `id`: the deployment's.
    pub(crate) fn new(input: &Input<'_>, (provider, model): (&str, &str), litellm_model: &str, id: &str) -> Self {
        let Prices { mut pricing, fixed, entry } = own_prices(input, model, provider);
        if let (Some(pricing), Some(_), true) = (&mut pricing, &entry, input.prices.lists(id)) {
            // LiteLLM takes the id for that model, and the rest of its price with it
            pricing.needs_python = true;
        }
        let facts = facts(input.model_info);
        let explicit = input.params.get("custom_llm_provider").and_then(|node| node.value.as_str());
        let base_model = base_model(input);
        let said = match entry {
            Some(mut entry) => {
                // a name of the price map's would be merged with it, and is looked for under its provider
                let plain = input.prices.never_heard_of(id) && !id.contains('/');
                let all = facts.clone().filter(|_| plain);
                let shown = base_model.as_deref().unwrap_or(litellm_model);
                let shown = match shown.split_once('/') {
                    Some((first, _)) if super::provider::is_provider(first) => shown.to_owned(),
                    _ => format!("{provider}/{shown}"),
                };
                let value = all.and_then(|facts| {
                    facts.into_iter().for_each(|(key, fact)| _ = entry.entry(key).or_insert(fact));
                    model_map::described(provider, id, entry)
                });
                Said::Own(value.map(|value| model_map::text(&shown, Some(value))))
            }
            None => {
                let shown = base_model.clone().unwrap_or_else(|| litellm_model.to_owned());
                let model = shown.strip_prefix(&format!("{provider}/")).unwrap_or(&shown).to_owned();
                let registered = match explicit.filter(|text| !text.is_empty()) {
                    Some(explicit) => format!("{explicit}/{litellm_model}"),
                    None => litellm_model.to_owned(),
                };
                let key = Some(registered).filter(|_| base_model.is_none());
                Said::Of { provider: provider.to_owned(), model, shown, key }
            }
        };
        Self { pricing, fixed, backend: format!("{provider}/{model}"), facts, said }
    }

    /// The backend model about which LiteLLM answers otherwise because of this deployment, some of it only once it was
    /// called: what it says of all deployments of that model depends on what happened.
    pub(crate) fn changes(&self) -> Option<&str> {
        let says = matches!(self.said, Said::Own(_)) || self.facts.as_ref().is_none_or(|facts| !facts.is_empty());
        says.then_some(self.backend.as_str())
    }

    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    /// JSON text for spend logs; `None`: LiteLLM's is not known.
    pub(crate) fn model_map(&self, shared: &Shared, prices: &PriceMap) -> Option<Arc<str>> {
        let (provider, model, shown, key) = match &self.said {
            Said::Own(text) => return text.clone(),
            Said::Of { provider, model, shown, key } => (provider, model, shown, key),
        };
        let changes = match shared.0.get(&format!("{provider}/{model}")) {
            Some(facts) => facts.clone()?,
            None => Entry::new(),
        };
        let bare = !shown.starts_with(&format!("{provider}/"));
        if let Some(value) = model_map::listed(provider, model, bare, &changes) {
            return Some(model_map::text(shown, Some(value)));
        }
        let key = key.as_deref()?;
        if !prices.never_heard_of(model) {
            return None;
        }
        Some(model_map::text(shown, Some(model_map::described(provider, key, changes)?)))
    }
}

impl Shared {
    pub(crate) fn add(&mut self, registered: &Registered) {
        let Some(facts) = &registered.facts else {
            self.0.insert(registered.backend.clone(), None);
            return;
        };
        let known = self.0.entry(registered.backend.clone()).or_insert_with(|| Some(Entry::new()));
        for (key, fact) in facts.iter().filter(|(key, _)| !SCOPED.contains(&key.as_str())) {
            let agrees = known.as_mut().is_some_and(|known| known.entry(key).or_insert_with(|| fact.clone()) == fact);
            if !agrees {
                *known = None;
            }
        }
    }
}

/// What `model_info` says besides prices.
fn facts(model_info: Option<&Map>) -> Option<Entry> {
    let said = model_info.map(Map::iter).into_iter().flatten().filter(|(_, node)| !node.value.is_null());
    let known = said.filter(|(key, _)| model_map::is_fact(key) && !key_names::PRICING.contains(&key.as_str()));
    known
        .map(|(key, node)| (!STRANGE.contains(&key.as_str())).then(|| (key, registered_value(node.value.to_json()))))
        .collect()
}

/// Texts of numbers are numbers (utils.py `_convert_stringified_numbers`).
fn registered_value(value: Value) -> Value {
    let Some(text) = value.as_str() else { return value };
    let number = match text.contains(['e', 'E', '.']) {
        true => text.trim().parse::<f64>().ok().map(Value::from),
        false => text.trim().parse::<i64>().ok().map(Value::from),
    };
    number.unwrap_or(value)
}

fn base_model(input: &Input<'_>) -> Option<String> {
    let text = |map: Option<&Map>| {
        let node = map.and_then(|map| map.get("base_model"))?;
        node.value.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
    };
    text(input.model_info).or_else(|| text(Some(input.params)))
}

struct Prices {
    pricing: Option<Pricing>,
    fixed: bool,
    /// the deployment has prices of its own: these, and what they inherit
    entry: Option<Entry>,
}

/// The deployment's own prices (router.py `_deployment_model_cost_payload`).
fn own_prices(input: &Input<'_>, model: &str, provider: &str) -> Prices {
    let mut custom = Entry::new();
    for (key, node) in input.model_info.map(Map::iter).into_iter().flatten() {
        if key_names::PRICING.contains(&key.as_str()) && !node.value.is_null() {
            custom.insert(key, registered_value(node.value.to_json()));
        }
    }
    for (key, node) in input.params.iter() {
        if key_names::PRICING.contains(&key.as_str()) && !node.value.is_null() {
            let value = node.value.to_json();
            // `litellm_params` is typed
            custom.insert(key, prices::number(&value).map_or(value, Value::from));
        }
    }
    let base_model = base_model(input);
    let own = input.prices.find(base_model.as_deref().unwrap_or(model), provider);
    if custom.is_empty() {
        // LiteLLM would look for a price under the names that are left, or take parts of another provider's
        let foreign = own.is_none() && (base_model.is_some() || !input.prices.never_heard_of(model));
        let pricing = own.as_ref().map(prices::pricing).or_else(|| foreign.then(Pricing::default));
        let pricing = pricing.map(|pricing| Pricing { needs_python: pricing.needs_python || foreign, ..pricing });
        return Prices { pricing, fixed: base_model.is_some(), entry: None };
    }
    let backend = own.unwrap_or_default();
    if !custom.keys().any(|key| key.contains("cost_per") && key.contains("token")) {
        // prices by second, character, tier table, ...
        let pricing = Pricing { needs_python: true, ..prices::pricing(&backend) };
        return Prices { pricing: Some(pricing), fixed: true, entry: Some(custom) };
    }
    const CACHE: &[&str] = &[
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
        "cache_creation_input_token_cost_above_200k_tokens",
        "cache_read_input_token_cost",
        "cache_read_input_token_cost_above_200k_tokens",
    ];
    let (has_input, has_output) =
        (custom.contains_key("input_cost_per_token"), custom.contains_key("output_cost_per_token"));
    for (key, value) in backend {
        let tier = ["_flex", "_priority", "_balanced", "_ultrafast"].iter().any(|suffix| key.ends_with(suffix));
        let inherits = (has_input && CACHE.contains(&key.as_str())) || ((has_input || has_output) && tier);
        if inherits && !custom.contains_key(&key) && !value.is_null() {
            custom.insert(key, value);
        }
    }
    // thresholds that LiteLLM declares nowhere
    for (key, node) in input.model_info.map(Map::iter).into_iter().flatten() {
        if model_map::is_threshold(&key) && !node.value.is_null() {
            custom.insert(key, registered_value(node.value.to_json()));
        }
    }
    Prices { pricing: Some(prices::pricing(&custom)), fixed: true, entry: Some(custom) }
}

#[cfg(test)]
#[path = "registered_tests.rs"]
mod tests;
