//! `usage` of a provider's answer as LiteLLM's `Usage` (types/utils.py) reads and writes it: counts default to 0,
//! details lose their nulls, foreign cache fields are folded in. Of a stream: merged over its chunks as
//! `ChunkProcessor.calculate_usage` does. Pure.
use std::borrow::Cow;

use super::{members, truthy, write_object};
use crate::{
    json::{Raw, push_number, push_string},
    spend,
};

type Members<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Counts, and the members of the details as JSON text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage<'a> {
    pub prompt: u64,
    pub completion: u64,
    pub total: u64,
    pub completion_details: Option<Members<'a>>,
    pub prompt_details: Option<Members<'a>>,
    /// the provider's own `cost`
    pub cost: Option<Cow<'a, str>>,
    /// every other member that is not null
    pub extra: Members<'a>,
}

/// An integer as pydantic coerces one: 7, 7.0, "7".
fn integer(value: Raw<'_>) -> Option<u64> {
    if let Some(int) = value.as_u64() {
        return Some(int);
    }
    let float = match value.as_str() {
        Some(text) => text.trim().parse().ok()?,
        None => value.as_f64()?,
    };
    (0.0..9e15).contains(&float).then_some(float as u64)
}

fn detail<'m>(details: &'m Option<Members<'_>>, name: &str) -> Option<&'m str> {
    details.as_ref()?.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
}

fn count(details: &Option<Members<'_>>, name: &str) -> u64 {
    detail(details, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set<'a>(details: &mut Option<Members<'a>>, name: &'static str, value: impl Into<Cow<'a, str>>) {
    let details = details.get_or_insert_default();
    let value = value.into();
    match details.iter_mut().find(|(key, _)| key == name) {
        Some(slot) => slot.1 = value,
        None => details.push((name.into(), value)),
    }
}

impl<'a> Usage<'a> {
    /// Reads the provider's `usage`; `None` and null are all zeros.
    pub fn read(usage: Option<Raw<'a>>) -> Self {
        let mut out = Self::default();
        let Some(object) = usage.and_then(Raw::object) else { return out };
        let mut reasoning = None;
        for (name, value) in members(&object) {
            if value.is_null() {
                continue;
            }
            match name {
                "prompt_tokens" => out.prompt = integer(value).unwrap_or(0),
                "completion_tokens" => out.completion = integer(value).unwrap_or(0),
                "total_tokens" => out.total = integer(value).unwrap_or(0),
                "completion_tokens_details" => out.completion_details = read_details(value),
                "prompt_tokens_details" => out.prompt_details = read_details(value),
                "cost" => out.cost = Some(Cow::Borrowed(value.text())),
                "reasoning_tokens" => reasoning = Some(value).filter(|value| truthy(*value)),
                _ => out.extra.push((name.to_owned().into(), Cow::Borrowed(value.text()))),
            }
        }
        if let Some(reasoning) = reasoning {
            out.add_reasoning(reasoning);
        }
        out.add_cache();
        out
    }

    /// `reasoning_tokens` beside the details: fills what the details do not say.
    fn add_reasoning(&mut self, reasoning: Raw<'a>) {
        let details = &mut self.completion_details;
        if detail(details, "reasoning_tokens").is_none() {
            set(details, "reasoning_tokens", reasoning.text());
        }
        if detail(details, "text_tokens").is_none() {
            let others =
                integer(reasoning).unwrap_or(0) + count(details, "image_tokens") + count(details, "audio_tokens");
            set(details, "text_tokens", self.completion.saturating_sub(others).to_string());
        }
    }

    /// DeepSeek's and Anthropic's cache fields, and the two names of cache writes.
    fn add_cache(&mut self) {
        let extra = |name: &str| {
            let found = self.extra.iter().find(|(key, _)| key == name)?;
            found.1.parse::<u64>().ok()
        };
        let read = extra("cache_read_input_tokens").or(extra("prompt_cache_hit_tokens"));
        let written = extra("cache_creation_input_tokens");
        if let Some(read) = read {
            set(&mut self.prompt_details, "cached_tokens", read.to_string());
        }
        let names = ["cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens"];
        let own = names.iter().find_map(|name| detail(&self.prompt_details, name)).map(str::to_owned);
        if let Some(written) = written.map(|n| n.to_string()).or(own) {
            set(&mut self.prompt_details, "cache_write_tokens", written.clone());
            set(&mut self.prompt_details, "cache_creation_tokens", written);
        }
    }

    /// Writes the object; `cost` is LiteLLM's own, where the provider sent none.
    pub fn write(&self, out: &mut Vec<u8>, cost: Option<f64>) {
        for (name, number) in [
            ("{\"completion_tokens\":", self.completion),
            (",\"prompt_tokens\":", self.prompt),
            (",\"total_tokens\":", self.total),
        ] {
            out.extend_from_slice(name.as_bytes());
            push_number(out, number);
        }
        for (name, details) in [
            (",\"completion_tokens_details\":", &self.completion_details),
            (",\"prompt_tokens_details\":", &self.prompt_details),
        ] {
            if let Some(details) = details {
                out.extend_from_slice(name.as_bytes());
                write_object(out, details.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_ref()))));
            }
        }
        let own = cost.map(|cost| serde_json::json!(cost).to_string());
        let cost = self.cost.as_deref().or(own.as_deref()).map(|cost| ("cost", cost));
        for (name, json) in self.extra.iter().map(|(name, json)| (name.as_ref(), json.as_ref())).chain(cost) {
            out.push(b',');
            push_string(out, name);
            out.push(b':');
            out.extend_from_slice(json.as_bytes());
        }
        out.push(b'}');
    }

    /// What the price is made of: details that name their text tokens are taken at their word, whatever the counts
    /// beside them say (LiteLLM `generic_cost_per_token`).
    pub fn tokens(&self) -> spend::Usage {
        let sum = |details: &Option<Members<'_>>, names: &[&str], total: u64| match count(details, "text_tokens") {
            0 => total,
            text => names.iter().fold(text, |sum, name| sum.saturating_add(count(details, name))),
        };
        let read = ["cached_tokens", "cache_creation_tokens", "audio_tokens", "image_tokens"];
        let written = ["reasoning_tokens", "audio_tokens", "image_tokens"];
        spend::Usage {
            prompt: sum(&self.prompt_details, &read, self.prompt),
            completion: sum(&self.completion_details, &written, self.completion),
            cache_read: count(&self.prompt_details, "cached_tokens"),
            cache_creation: count(&self.prompt_details, "cache_creation_tokens"),
            cache_creation_1h: 0,
            reasoning: count(&self.completion_details, "reasoning_tokens"),
        }
    }

    /// Adds up a stream's usage (`calculate_usage`). `reasoning`: what was counted of it; only details that do not tell
    /// it take it.
    pub fn complete(&mut self, reasoning: Option<u64>) {
        self.total = self.prompt.saturating_add(self.completion);
        let Some(reasoning) = reasoning.map(|reasoning| reasoning.min(self.completion)) else { return };
        let details = &mut self.completion_details;
        if detail(details, "reasoning_tokens").is_none() {
            set(details, "reasoning_tokens", reasoning.to_string());
            if detail(details, "text_tokens").is_none() {
                set(details, "text_tokens", (self.completion - reasoning).to_string());
            }
        }
    }

    /// The cache fields that LiteLLM gives a stream that broke off (`backfill_missing_cache_usage_fields`). True: there
    /// were no details of the prompt.
    pub fn backfill(&mut self) -> bool {
        let bare = self.prompt_details.is_none();
        let read = count(&self.prompt_details, "cached_tokens");
        let written = count(&self.prompt_details, "cache_write_tokens");
        for (name, tokens) in [("cache_read_input_tokens", read), ("cache_creation_input_tokens", written)] {
            if !self.extra.iter().any(|(other, _)| other == name) {
                self.extra.push((name.into(), tokens.to_string().into()));
            }
        }
        if bare {
            set(&mut self.prompt_details, "cached_tokens", "0");
        }
        bare
    }

    fn into_owned(self) -> Usage<'static> {
        let own = |members: Members<'a>| -> Members<'static> {
            members.into_iter().map(|(k, v)| (Cow::Owned(k.into_owned()), Cow::Owned(v.into_owned()))).collect()
        };
        Usage {
            prompt: self.prompt,
            completion: self.completion,
            total: self.total,
            completion_details: self.completion_details.map(own),
            prompt_details: self.prompt_details.map(own),
            cost: self.cost.map(|cost| Cow::Owned(cost.into_owned())),
            extra: own(self.extra),
        }
    }
}

fn read_details(value: Raw<'_>) -> Option<Members<'_>> {
    let object = value.object()?;
    let kept = members(&object).filter(|(_, value)| !value.is_null());
    Some(kept.map(|(name, value)| (Cow::Owned(name.to_owned()), Cow::Borrowed(value.text()))).collect())
}

/// The usage of a stream so far.
#[derive(Debug, Clone, Default)]
pub struct StreamUsage {
    seen: Option<Usage<'static>>,
}

impl StreamUsage {
    /// A chunk's usage: counts of 0 do not replace counts, details and cost do replace.
    pub fn add(&mut self, usage: Usage<'_>) {
        let mut usage = usage.into_owned();
        usage.extra.retain(|(name, _)| {
            let name = name.as_ref();
            matches!(name, "cache_creation_input_tokens" | "cache_read_input_tokens" | "server_tool_use")
        });
        let Some(seen) = &mut self.seen else {
            self.seen = Some(usage);
            return;
        };
        if usage.prompt > 0 {
            seen.prompt = usage.prompt;
        }
        if usage.completion > 0 {
            seen.completion = usage.completion;
        }
        seen.completion_details = usage.completion_details.or(seen.completion_details.take());
        seen.prompt_details = usage.prompt_details.or(seen.prompt_details.take());
        seen.cost = usage.cost.or(seen.cost.take());
        for (name, value) in usage.extra {
            seen.extra.retain(|(other, _)| *other != name);
            seen.extra.push((name, value));
        }
    }

    /// As far as the provider reported one.
    pub fn reported(&self) -> Option<&Usage<'static>> {
        self.seen.as_ref()
    }

    /// The whole stream's usage. `text_only`: no chunk carried more than text; then LiteLLM knows there was no
    /// reasoning and says so. `None`: the provider reported none (LiteLLM then counts with a tokenizer).
    pub fn total(&self, text_only: bool) -> Option<Usage<'static>> {
        let mut usage = self.seen.clone()?;
        usage.complete(text_only.then_some(0));
        Some(usage)
    }
}
