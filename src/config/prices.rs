//! LiteLLM's price map (`model_prices_and_context_window_backup.json` of 1.106.2, keys that bear on cost and limits
//! only), kept as text in the binary and searched line by line: nothing is parsed but the entries asked for.
use serde_json::{Map, Value};

static TEXT: &str = include_str!("../../data/model_prices.json");

/// The map. One entry a line, sorted by the bytes of the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PriceMap {
    text: &'static str,
}

impl Default for PriceMap {
    fn default() -> Self {
        Self { text: TEXT }
    }
}

impl PriceMap {
    /// The entry with exactly this key.
    pub(crate) fn get(&self, key: &str) -> Option<Map<String, Value>> {
        serde_json::from_str(self.line(key)?).ok()
    }

    /// `litellm_provider` of an entry.
    pub(crate) fn provider_of(&self, key: &str) -> Option<&'static str> {
        let entry = self.line(key)?;
        let at = entry.find("\"litellm_provider\":\"")? + "\"litellm_provider\":\"".len();
        entry.get(at..)?.split('"').next()
    }

    /// Binary search over byte positions: the probe is moved to the start of its line.
    fn line(&self, key: &str) -> Option<&'static str> {
        let text = self.text;
        let (mut low, mut high) = (2, text.len().saturating_sub(2));
        while low < high {
            let middle = low + (high - low) / 2;
            let start = text.get(low..middle)?.rfind('\n').map_or(low, |at| low + at + 1);
            let end = text.get(start..high)?.find('\n').map_or(high, |at| start + at);
            let (name, entry) = split(text.get(start..end)?)?;
            match name.as_bytes().cmp(key.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(entry),
                std::cmp::Ordering::Less => low = (end + 1).min(high),
                std::cmp::Ordering::Greater => high = start,
            }
        }
        None
    }
}

/// `"key":{...},` -> key and entry. Keys need no JSON escapes (asserted by a test).
fn split(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, entry) = line.strip_prefix('"')?.split_once("\":")?;
    Some((name, entry.trim_end_matches(',')))
}

/// The price map's prices of an OpenAI model, for LiteLLM prices a call by the name the provider answers with. `tier`:
/// the served tier, where it has prices of its own (`priority`, `flex`). `None`: the map does not know the model.
pub fn openai_pricing(model: &str, tier: Option<&str>) -> Option<crate::spend::Pricing> {
    let map = PriceMap::default();
    if map.provider_of(model)? != "openai" {
        return None;
    }
    let entry = map.get(model)?;
    let tier = tier.filter(|tier| matches!(*tier, "priority" | "flex"));
    let price = |key: &str| {
        let tiered = tier.and_then(|tier| entry.get(&format!("{key}_{tier}")).and_then(Value::as_f64));
        tiered.or_else(|| entry.get(key).and_then(Value::as_f64))
    };
    Some(crate::spend::Pricing {
        input: price("input_cost_per_token")?,
        output: price("output_cost_per_token").unwrap_or(0.0),
        cache_read: price("cache_read_input_token_cost"),
        cache_creation: price("cache_creation_input_token_cost"),
        cache_creation_1h: price("cache_creation_input_token_cost_above_1hr"),
        output_reasoning: price("output_cost_per_reasoning_token"),
        needs_python: false,
    })
}
