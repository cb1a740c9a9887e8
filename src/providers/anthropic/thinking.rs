//! `thinking`, `output_config.effort` and the sampling parameters, which LiteLLM bends to what the model takes
//! (llms/anthropic/pass_through/messages/transformation.py). Works on the four small values only.
use serde_json::{Map, Value};

use crate::{
    json::{Kind, Object, ObjectWriter, Raw},
    routes::Decline,
};

/// What LiteLLM's cost map says about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// the map has the model; for others LiteLLM guesses by name
    known: bool,
    adaptive: bool,
    legacy: bool,
    always_on: bool,
    reasoning: bool,
    effort: bool,
    effort_max: bool,
    effort_xhigh: bool,
    sampling: bool,
}

/// What becomes of a parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Change {
    #[default]
    Keep,
    Drop,
    /// JSON text
    Replace(String),
}

/// The changes to one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub thinking: Change,
    pub output_config: Change,
    pub temperature: Change,
}

/// The values as the client (or the deployment's defaults) gave them; null counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given<'a> {
    pub thinking: Option<Raw<'a>>,
    pub output_config: Option<Raw<'a>>,
    pub temperature: Option<Raw<'a>>,
    pub other_sampling: bool,
    pub max_tokens: Option<i64>,
}

/// `DEFAULT_REASONING_EFFORT_*_THINKING_BUDGET` (constants.py) by effort.
const BUDGETS: [(&str, i64); 6] =
    [("minimal", 1024), ("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16384)];
const LEAST_BUDGET: i64 = 1024;

impl Model {
    pub(super) fn new(name: &str, info: &Map<String, Value>) -> Self {
        let flag = |key: &str| info.get(key).and_then(Value::as_bool);
        let is = |key: &str| flag(key) == Some(true);
        let lower = name.to_ascii_lowercase();
        let by_name = || {
            !["fable", "opus-4-7", "opus_4_7", "opus-4.7", "opus-4-8", "opus_4_8", "opus-4.8"]
                .iter()
                .any(|n| lower.contains(n))
        };
        Self {
            known: ["litellm_provider", "mode", "max_output_tokens", "max_tokens"]
                .iter()
                .any(|key| info.contains_key(*key)),
            adaptive: is("supports_adaptive_thinking"),
            legacy: is("supports_legacy_thinking"),
            always_on: is("thinking_always_on"),
            reasoning: is("supports_reasoning"),
            effort: is("supports_output_config")
                || ["low", "minimal", "medium", "high", "xhigh", "max"]
                    .iter()
                    .any(|level| is(&format!("supports_{level}_reasoning_effort"))),
            effort_max: is("supports_max_reasoning_effort"),
            effort_xhigh: is("supports_xhigh_reasoning_effort"),
            sampling: flag("supports_sampling_params").unwrap_or_else(by_name),
        }
    }

    /// `_apply_sampling_param`: models of 2026 refuse all but `temperature: 1`; LiteLLM then refuses or drops.
    fn judge_sampling(&self, given: &Given<'_>) -> Result<(), Decline> {
        let one = given.temperature.is_none_or(is_one);
        if self.sampling || (one && !given.other_sampling) { Ok(()) } else { Err(Decline::UnsupportedParam) }
    }
}

fn is_one(value: Raw<'_>) -> bool {
    value.as_f64() == Some(1.0)
}

/// What LiteLLM makes of the four values for this model.
pub(super) fn changes(model: impl FnOnce() -> Model, given: &Given<'_>) -> Result<Changes, Decline> {
    let mut changes = Changes::default();
    if given.thinking.is_none() && given.output_config.is_none() && given.temperature.is_none() && !given.other_sampling
    {
        return Ok(changes);
    }
    let model = &model();
    if !model.known {
        return Err(Decline::UnsupportedParam);
    }
    model.judge_sampling(given)?;
    let thinking = object(given.thinking)?;
    let output = object(given.output_config)?;
    let kind = thinking.as_ref().and_then(|t| t.get("type")).and_then(Raw::as_str);
    let mut kind = kind.as_deref();
    let effort = output.as_ref().and_then(|o| o.some("effort"));
    let mut has_effort = effort.is_some();

    if kind == Some("disabled") && model.always_on {
        changes.thinking = Change::Drop;
        kind = None;
    }
    if model.adaptive {
        if kind == Some("enabled") && !model.legacy {
            to_adaptive(model, thinking.as_ref(), output.as_ref(), &mut changes)?;
        }
        return Ok(changes);
    }
    if has_effort || kind == Some("adaptive") {
        let effort = match effort {
            None => None,
            Some(effort) => Some(effort.as_str().ok_or(Decline::UnsupportedParam)?),
        };
        let level = effort.as_deref();
        let level_fits = match level {
            Some("max") => model.effort_max,
            Some("xhigh") => model.effort_xhigh,
            _ => true,
        };
        if model.effort && (kind != Some("adaptive") || level_fits) {
            if kind == Some("adaptive") {
                changes.thinking = Change::Drop;
                kind = None;
            }
        } else {
            kind = to_budget(model, level, given.max_tokens, &mut changes)?;
            if has_effort {
                changes.output_config = without_effort(output.as_ref());
                has_effort = false;
            }
        }
    }
    let thinks = kind == Some("enabled") || has_effort;
    if thinks && given.temperature.is_some_and(|temperature| !is_one(temperature)) {
        changes.temperature = Change::Drop;
    }
    Ok(changes)
}

fn object(value: Option<Raw<'_>>) -> Result<Option<Object<'_>>, Decline> {
    let Some(value) = value else { return Ok(None) };
    let object = value.object().ok_or(Decline::FieldType)?;
    if object.has_duplicates() { Err(Decline::DuplicateKey) } else { Ok(Some(object)) }
}

/// `translate_legacy_thinking_for_adaptive_model`: `enabled` with a budget becomes `adaptive` with an effort.
fn to_adaptive(
    model: &Model,
    thinking: Option<&Object<'_>>,
    output: Option<&Object<'_>>,
    changes: &mut Changes,
) -> Result<(), Decline> {
    let get = |key: &str| thinking.and_then(|thinking| thinking.some(key));
    if get("block_binding").is_some() {
        return Err(Decline::UnsupportedParam);
    }
    let budget = match get("budget_tokens") {
        None => 0,
        Some(budget) => budget.text().parse::<i64>().map_err(|_| Decline::UnsupportedParam)?,
    };
    let effort = match budget {
        8192.. if model.effort_xhigh => "xhigh",
        4096.. => "high",
        2048.. => "medium",
        _ => "low",
    };
    let mut adaptive = ObjectWriter::with_capacity(64);
    adaptive.string("type", "adaptive");
    let display = get("display").and_then(Raw::as_str);
    if let Some(display) = display.filter(|display| matches!(display.as_ref(), "summarized" | "omitted")) {
        adaptive.string("display", &display);
    }
    changes.thinking = Change::Replace(String::from_utf8_lossy(&adaptive.finish()).into_owned());
    let mut config = ObjectWriter::with_capacity(64);
    if output.is_none_or(|output| output.get("effort").is_none()) {
        config.string("effort", effort);
    }
    for (key, value) in output.into_iter().flat_map(Object::iter) {
        config.raw(key, value.text());
    }
    changes.output_config = Change::Replace(String::from_utf8_lossy(&config.finish()).into_owned());
    Ok(())
}

/// `_map_reasoning_effort` and `cap_thinking_budget_to_max_tokens` for models before adaptive thinking.
/// Gives the `thinking.type` that is left.
fn to_budget(
    model: &Model,
    level: Option<&str>,
    max_tokens: Option<i64>,
    changes: &mut Changes,
) -> Result<Option<&'static str>, Decline> {
    changes.thinking = Change::Drop;
    if !model.reasoning {
        return Ok(None);
    }
    let level = level.unwrap_or("medium");
    let (_, budget) = BUDGETS.iter().find(|(name, _)| *name == level).ok_or(Decline::UnsupportedParam)?;
    let max_tokens = max_tokens.ok_or(Decline::FieldType)?;
    if max_tokens <= LEAST_BUDGET {
        return Ok(None);
    }
    let budget = (*budget).min(max_tokens - 1);
    changes.thinking = Change::Replace(format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#));
    Ok(Some("enabled"))
}

fn without_effort(output: Option<&Object<'_>>) -> Change {
    let mut rest = ObjectWriter::with_capacity(64);
    let mut empty = true;
    for (key, value) in output.into_iter().flat_map(Object::iter).filter(|(key, _)| *key != "effort") {
        rest.raw(key, value.text());
        empty = false;
    }
    if empty { Change::Drop } else { Change::Replace(String::from_utf8_lossy(&rest.finish()).into_owned()) }
}

/// `anthropic-beta: thinking-display-updates` goes with `display: updates`, judged on what the client sent.
pub(super) fn shows_updates(thinking: Option<Raw<'_>>) -> bool {
    let Some(thinking) = thinking.filter(|t| t.kind() == Kind::Object).and_then(Raw::object) else { return false };
    let is = |key: &str, wanted: &[&str]| {
        thinking.get(key).and_then(Raw::as_str).is_some_and(|value| wanted.contains(&value.as_ref()))
    };
    is("type", &["adaptive", "enabled"]) && is("display", &["updates"])
}
