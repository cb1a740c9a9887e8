//! US dollars of one call, by LiteLLM's `generic_cost_per_token`
//! (litellm_core_utils/llm_cost_calc/utils.py), and Python's way of writing a float.
use crate::{faults::fault, json::plain_float};

/// Prices of one model in US dollars per token; from LiteLLM's price map or `litellm_params`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pricing {
    pub input: f64,
    pub output: f64,
    pub cache_read: Option<f64>,
    /// 5-minute cache writes
    pub cache_creation: Option<f64>,
    /// 1-hour cache writes
    pub cache_creation_1h: Option<f64>,
    pub output_reasoning: Option<f64>,
    /// rates of long prompts, by rising threshold; a rate that is `None` keeps what held before
    pub above: Vec<Above>,
    /// rates by the service tier that served the call (`flex`, `priority`, ...); see [`Pricing::for_tier`]
    pub service_tiers: Vec<(&'static str, Pricing)>,
    /// Anthropic's factors on the whole cost by `usage.inference_geo` and, as `fast`, by `usage.speed`
    pub factors: Vec<(String, f64)>,
    /// the price map has keys this does not cover (schedules, audio, per-second prices): calls decline
    pub needs_python: bool,
}

/// Rates once a prompt has more than `tokens` tokens (`input_cost_per_token_above_200k_tokens`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Above {
    pub tokens: u64,
    pub input: Option<f64>,
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    pub cache_creation: Option<f64>,
    pub cache_creation_1h: Option<f64>,
}

impl Pricing {
    /// The rates of the tier that served the call: `service_tier` of the answer, else of the request. `auto`, `default`,
    /// `standard` and unknown names are the standard rates (cost_calculator.py `_resolve_billable_service_tier`).
    pub fn for_tier(&self, service_tier: Option<&str>) -> &Pricing {
        let Some(name) = service_tier else { return self };
        let name = if name.eq_ignore_ascii_case("fast") { "priority" } else { name };
        self.service_tiers.iter().find(|(tier, _)| tier.eq_ignore_ascii_case(name)).map_or(self, |(_, tier)| tier)
    }

    /// What the whole cost is multiplied by: Anthropic's `usage.inference_geo` and `usage.speed`.
    pub fn factor(&self, inference_geo: Option<&str>, speed: Option<&str>) -> f64 {
        let of = |name: &str| self.factors.iter().find(|(key, _)| key == name).map_or(1.0, |(_, factor)| *factor);
        let geo = inference_geo.map(str::to_lowercase).filter(|geo| geo != "global" && geo != "not_available");
        geo.map_or(1.0, |geo| of(&geo)) * if speed == Some("fast") { of("fast") } else { 1.0 }
    }
}

/// Tokens of one call as LiteLLM counts them: `prompt` includes cache reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub cache_read: u64,
    pub cache_creation: u64,
    pub cache_creation_1h: u64,
    pub reasoning: u64,
}

/// US dollars, split as LiteLLM's `x-litellm-response-cost-*` headers split them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_creation: f64,
    /// the part of `output` for reasoning
    pub reasoning: f64,
    /// the provider's own tools, by use (`x-litellm-response-cost-tool-usage`)
    pub tools: f64,
    pub total: f64,
}

/// What `usage` costs at `pricing` (`generic_cost_per_token`). A missing cache rate is the input rate.
pub fn cost(pricing: &Pricing, usage: &Usage) -> Cost {
    let (mut input_rate, mut output_rate) = (pricing.input, pricing.output);
    let (mut read, mut creation, mut creation_1h) =
        (pricing.cache_read, pricing.cache_creation, pricing.cache_creation_1h);
    for above in pricing.above.iter().filter(|above| usage.prompt > above.tokens) {
        input_rate = above.input.unwrap_or(input_rate);
        output_rate = above.output.unwrap_or(output_rate);
        read = above.cache_read.or(read);
        creation = above.cache_creation.or(creation);
        creation_1h = above.cache_creation_1h.or(creation_1h);
    }
    let creation = creation.unwrap_or(input_rate);
    let creation_5m = usage.cache_creation.saturating_sub(usage.cache_creation_1h);
    let plain = usage.prompt.saturating_sub(usage.cache_read).saturating_sub(usage.cache_creation);
    let cache_read = usage.cache_read as f64 * read.unwrap_or(input_rate);
    let cache_creation =
        creation_5m as f64 * creation + usage.cache_creation_1h as f64 * creation_1h.unwrap_or(creation);
    let input = plain as f64 * input_rate + cache_read + cache_creation;
    let text_out = usage.completion.saturating_sub(usage.reasoning) as f64;
    let reasoning = usage.reasoning as f64 * pricing.output_reasoning.unwrap_or(output_rate);
    let output = text_out * output_rate + reasoning;
    let total = if fault!(WrongCost) { input } else { input + output };
    Cost { input, output, cache_read, cache_creation, reasoning, tools: 0.0, total }
}

/// `str(float)` of Python: shortest digits that read back, exponent form below 1e-4 and from 1e16
/// (`4.75e-05`, `0.0`, `7.500000000000001e-05`).
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if let Some(text) = plain_float(value, &mut [0; 32]) {
        return text.to_owned();
    }
    if !(1e-4..1e16).contains(&value.abs()) {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (4.75e-5, "4.75e-05"),
            (0.0001, "0.0001"),
            (0.0001475, "0.0001475"),
            (7.500000000000001e-5, "7.500000000000001e-05"),
            (1.0, "1.0"),
            (1e16, "1e+16"),
            (123456789.0, "123456789.0"),
            (-2.5e-7, "-2.5e-07"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn a_call_without_cache_is_input_plus_output() {
        let pricing = Pricing { input: 2.5e-6, output: 1e-5, ..Pricing::default() };
        let cost = cost(&pricing, &Usage { prompt: 19, completion: 10, ..Usage::default() });
        assert_eq!((cost.input, cost.output, cost.total), (4.75e-5, 1e-4, 1.475e-4));
    }
}
