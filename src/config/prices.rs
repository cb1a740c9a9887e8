//! LiteLLM's price map (`model_prices_and_context_window_backup.json` of 1.106.2, keys that bear on cost, limits and
//! abilities), kept as text in the binary and searched line by line: nothing is parsed but the entries asked for.
//! Pure. It must never guess a price: what [`Pricing`] cannot express is marked for Python.
use serde_json::{Map, Value};

use crate::spend::{Pricing, cost::Above};

static TEXT: &str = include_str!("../../data/model_prices.json");

pub(crate) type Entry = Map<String, Value>;

/// The map. One entry a line, sorted by the bytes of the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PriceMap {
    text: &'static str,
}

/// What `/model/info` says beside it; written by `tests/golden/model_listing.py`.
static LISTING: &str = include_str!("../../data/model_listing.json");

impl Default for PriceMap {
    fn default() -> Self {
        Self { text: TEXT }
    }
}

impl PriceMap {
    /// `get_model_info` (utils.py `get_model_info_helper`): the names are tried in LiteLLM's order, an entry of
    /// another provider does not count. `provider` is `openai` or `anthropic`.
    pub(crate) fn find(&self, model: &str, provider: &str) -> Option<Entry> {
        let split = model.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(model);
        let stripped = without_snapshot(split);
        let names = [
            format!("{provider}/{split}"),
            model.to_owned(),
            split.to_owned(),
            format!("{provider}/{stripped}"),
            stripped.to_owned(),
        ];
        names
            .iter()
            .filter_map(|name| self.get(name))
            .find(|entry| entry.get("litellm_provider").is_none_or(|p| p.is_null() || p == provider))
            .or_else(|| generalised(split, provider).then(Entry::new))
    }

    /// Neither the map nor one of LiteLLM's rules for names says anything of it, with or without what stands in front.
    pub(crate) fn never_heard_of(&self, name: &str) -> bool {
        // `fallback_generalizations`, and names that LiteLLM's code looks for
        const WORDS: &[&str] = &["gpt-5", "gpt-6", "claude-fable-", "claude-mythos-", "claude-3-7-sonnet", "gemini-"];
        let lower = name.to_ascii_lowercase();
        let ruled = |tail: &str| generalised(tail, "anthropic") || generalised(tail, "openai");
        !self.lists(name) && !WORDS.iter().any(|word| lower.contains(word)) && !tails(&lower).any(ruled)
    }

    /// The map has it, with or without what stands in front, whoever's model it is.
    pub(crate) fn lists(&self, name: &str) -> bool {
        // regions of Bedrock: the model stands behind them
        const REGIONS: &[&str] = &["us.", "eu.", "apac.", "jp.", "au.", "us-gov.", "global.", "ap-northeast-1."];
        tails(name).any(|tail| {
            let names = [tail.to_owned(), format!("openai/{tail}"), format!("anthropic/{tail}")];
            names.iter().any(|name| self.get(name).is_some() || self.get(without_snapshot(name)).is_some())
                || REGIONS.iter().any(|region| tail.starts_with(region))
        })
    }

    /// LiteLLM's answers about models, by the name a deployment may have, in the same form: see [`super::listing`].
    pub(crate) fn listing() -> Self {
        Self { text: LISTING }
    }

    /// The entry with exactly this key.
    pub(crate) fn value<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.line(key)?).ok()
    }

    /// The entry with this key, letter case aside.
    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let line = self.line(key).or_else(|| self.line_any_case(key))?;
        serde_json::from_str(line).ok()
    }

    /// `litellm_provider` of the entry with exactly this key.
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
            let (name, entry) = split_line(text.get(start..end)?)?;
            match name.as_bytes().cmp(key.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(entry),
                std::cmp::Ordering::Less => low = (end + 1).min(high),
                std::cmp::Ordering::Greater => high = start,
            }
        }
        None
    }

    /// Only names with capitals in them can match another case: the map's own keys are looked through once then.
    fn line_any_case(&self, key: &str) -> Option<&'static str> {
        let may_differ = key.bytes().any(|b| b.is_ascii_uppercase());
        if may_differ && let Some(line) = self.line(&key.to_ascii_lowercase()) {
            return Some(line);
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().filter_map(split_line).map(|(key, _)| key)
    }
}

/// `a/b/c`, `b/c`, `c`.
fn tails(name: &str) -> impl Iterator<Item = &str> {
    let starts = name.match_indices('/').map(|(at, _)| at + 1);
    [0].into_iter().chain(starts).filter_map(|at| name.get(at..))
}

/// The price map's rates of a model, for tests of other modules.
#[cfg(test)]
pub(crate) fn list_pricing(model: &str, provider: &str) -> Option<Pricing> {
    PriceMap::default().find(model, provider).map(|entry| pricing(&entry))
}

/// `"key":{...},` -> key and entry. Keys need no JSON escapes (asserted by a test).
fn split_line(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, entry) = line.strip_prefix('"')?.split_once("\":")?;
    Some((name, entry.trim_end_matches(',')))
}

/// utils.py `_strip_model_name`: a fine-tune's owner and id, or a dated snapshot's `-2024-08-06`.
fn without_snapshot(model: &str) -> &str {
    if model.contains("ft:") {
        // `ft:base:org:suffix:id` -> `ft:base`
        let mut parts = model.rsplitn(4, ':');
        return if model.matches(':').count() >= 4 { parts.nth(3).unwrap_or(model) } else { model };
    }
    let Some((head, tail)) = model.len().checked_sub(11).and_then(|at| model.split_at_checked(at)) else {
        return model;
    };
    let dated = tail.bytes().enumerate().all(|(i, b)| match i {
        0 | 5 | 8 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    if dated { head } else { model }
}

/// Names the map does not hold but a `fallback_generalizations` rule describes: known models without any price.
fn generalised(model: &str, provider: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    match provider {
        // `claude-[a-z]+-\d+`, anywhere in the name
        "anthropic" => lower.match_indices("claude-").any(|(at, word)| {
            let rest = lower.get(at + word.len()..).unwrap_or("");
            rest.split_once('-').is_some_and(|(family, version)| {
                !family.is_empty()
                    && family.bytes().all(|b| b.is_ascii_lowercase())
                    && version.starts_with(|c: char| c.is_ascii_digit())
            })
        }),
        // o-series, gpt-5 and later, codex, deep-research and chat-latest
        _ => {
            if lower.contains("search-api") {
                return false;
            }
            let name = lower.rsplit('/').next().unwrap_or(&lower);
            let name = name.strip_prefix("ft:").unwrap_or(name);
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            let after_digits = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
            if let Some(rest) = name.strip_prefix('o')
                && rest.starts_with(|c: char| ('1'..='9').contains(&c))
            {
                return ends(&after_digits(rest));
            }
            if let Some(rest) = name.strip_prefix("gpt-")
                && rest.starts_with(|c: char| ('5'..='9').contains(&c))
            {
                let rest = rest.get(1..).unwrap_or("");
                let minor = rest.strip_prefix('.').map(after_digits).unwrap_or_else(|| rest.to_owned());
                return !minor.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            }
            name.split('-').any(|part| part == "codex")
                || name.contains("deep-research")
                || name.contains("chat-latest")
        }
    }
}

/// `get_cost_per_unit`: a number, or the text of one (`1e-6` in config.yaml is text to PyYAML).
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
}

/// Suffixes of cost keys by service tier (llm_cost_calc/utils.py `_SERVICE_TIER_TO_COST_KEY_SUFFIX`).
const TIERS: &[&str] = &["balanced", "flex", "priority", "ultrafast"];

/// The rates of an entry, for every service tier it prices.
pub(crate) fn pricing(entry: &Entry) -> Pricing {
    let mut pricing = rates(entry, None);
    pricing.service_tiers = TIERS
        .iter()
        .filter(|tier| entry.keys().any(|key| key.contains("cost") && key.ends_with(&format!("_{tier}"))))
        .map(|tier| (*tier, rates(entry, Some(tier))))
        .collect();
    if let Some(Value::Object(factors)) = entry.get("provider_specific_entry") {
        pricing.factors = factors.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect();
    }
    pricing.needs_python = needs_python(entry, &pricing);
    pricing
}

/// Keys whose effect [`Pricing`] does not express and that can touch a text call. Audio, image and video rates touch
/// only usage that reports such tokens; search and grounding rates only calls with those tools, which decline.
fn needs_python(entry: &Entry, pricing: &Pricing) -> bool {
    let set = |key: &str| entry.get(key).is_some_and(|value| !value.is_null());
    set("tiered_pricing")
        || set("off_peak_pricing")
        || set("input_cost_per_character")
        || set("input_cost_per_audio_token")
        || set("output_cost_per_audio_token")
        || (pricing.output == 0.0 && set("output_cost_per_image_token"))
        || (!set("input_cost_per_token")
            && (set("input_cost_per_second") || set("output_cost_per_second") || set("cost_per_second")))
        || (set("citation_cost_per_token"))
}

/// `_get_token_base_cost` for one service tier.
fn rates(entry: &Entry, tier: Option<&str>) -> Pricing {
    let get = |key: &str| entry.get(key).and_then(number);
    // a tier's key, or the standard one where the tier has none
    let tiered = |key: &str| match tier {
        Some(tier) => get(&format!("{key}_{tier}")).or_else(|| get(key)),
        None => get(key),
    };
    let reasoning = match tier {
        None => get("output_cost_per_reasoning_token"),
        Some(tier) => get(&format!("output_cost_per_reasoning_token_{tier}")).or_else(|| {
            let own_output = entry.get(&format!("output_cost_per_token_{tier}")).is_some_and(|value| !value.is_null());
            if own_output { None } else { get("output_cost_per_reasoning_token") }
        }),
    };
    let mut thresholds: Vec<(u64, String)> = entry
        .iter()
        .filter(|(key, value)| !value.is_null() && counts(key, tier))
        .filter_map(|(key, _)| threshold(key))
        .collect();
    thresholds.sort();
    thresholds.dedup();
    let above = thresholds
        .into_iter()
        .map(|(tokens, text)| Above {
            tokens,
            input: tiered(&format!("input_cost_per_token_above_{text}_tokens")),
            output: tiered(&format!("output_cost_per_token_above_{text}_tokens")),
            cache_read: tiered(&format!("cache_read_input_token_cost_above_{text}_tokens")),
            cache_creation: tiered(&format!("cache_creation_input_token_cost_above_{text}_tokens")),
            cache_creation_1h: tiered(&format!("cache_creation_input_token_cost_above_1hr_above_{text}_tokens")),
        })
        .collect();
    Pricing {
        input: tiered("input_cost_per_token").unwrap_or(0.0),
        output: tiered("output_cost_per_token").unwrap_or(0.0),
        cache_read: tiered("cache_read_input_token_cost"),
        cache_creation: tiered("cache_creation_input_token_cost"),
        cache_creation_1h: get("cache_creation_input_token_cost_above_1hr"),
        output_reasoning: reasoning,
        above,
        ..Pricing::default()
    }
}

/// Whether a key names a threshold of this tier.
fn counts(key: &str, tier: Option<&str>) -> bool {
    let other =
        TIERS.iter().chain(&["batches"]).find(|suffix| key.strip_suffix(*suffix).is_some_and(|k| k.ends_with('_')));
    other.is_none_or(|suffix| Some(*suffix) == tier)
}

/// `..._above_200k_tokens` -> (200000, "200k"); LiteLLM looks at these four families.
fn threshold(key: &str) -> Option<(u64, String)> {
    const FAMILIES: &[&str] = &[
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
    ];
    FAMILIES.iter().find(|family| key.strip_prefix(*family).is_some_and(|rest| rest.starts_with("_above_")))?;
    let text = key.rsplit_once("_above_")?.1.split("_tokens").next()?;
    if !key.contains("_tokens") {
        return None;
    }
    let (digits, factor) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1000));
    Some((digits.parse::<u64>().ok()? * factor, text.to_owned()))
}
