//! How many tokens a request may use before it is sent, and the output cap that goes with a small limit
//! (parallel_request_limiter_v3 `_estimate_input_and_output_tokens`, `_apply_implicit_output_cap`). Pure.
use serde_json::{Map, Value};

use super::descriptors::Subject;
use crate::json::{Object, Raw};

/// What the request asks for; other kinds of calls have no native route with limits yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// chat completions, messages: `messages`, `max_tokens`
    Messages,
    /// `input`, `max_output_tokens`
    Responses,
    Embeddings,
}

/// The result: how much to reserve, and what must be written into the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// at least 1
    pub tokens: i64,
    /// set this field of the request to this value before it is sent
    pub cap: Option<(&'static str, i64)>,
}

const CHARS_PER_TOKEN: usize = 4;
const BASELINE_FLOOR: i64 = 4096 / 4;
const RESPONSES_MINIMUM: i64 = 16;

/// Estimates `body` against the smallest token limit it is charged to; `declared` is [`declared_output`].
pub fn estimate(kind: Kind, body: &Object<'_>, smallest_limit: i64, declared: Option<i64>) -> Estimate {
    let floor = BASELINE_FLOOR.min((smallest_limit.div_euclid(4)).max(1));
    let floor = if kind == Kind::Responses { floor.max(RESPONSES_MINIMUM) } else { floor };
    let mut explicit = explicit_cap(kind, body);
    let mut cap = None;
    if floor < BASELINE_FLOOR && explicit.is_none() && kind != Kind::Embeddings {
        let field = if kind == Kind::Responses { "max_output_tokens" } else { "max_tokens" };
        // Python compares with a value that is there but no number by `<` and fails; such requests never get here
        let value = floor.max(declared.unwrap_or(0));
        cap = Some((field, value));
        explicit = Some(if kind == Kind::Responses { value.max(RESPONSES_MINIMUM) } else { value });
    }
    let chars = match kind {
        Kind::Messages => messages_chars(body.get("messages")),
        Kind::Responses | Kind::Embeddings => input_chars(body.get("input")),
    };
    let input = if chars > 0 { ((chars / CHARS_PER_TOKEN) as i64).max(1) } else { 0 };
    let output = match (kind, explicit, declared) {
        (Kind::Embeddings, ..) => 0,
        (_, Some(cap), _) => cap,
        (_, None, Some(declared)) => declared,
        (_, None, None) if chars == 0 => 0,
        (_, None, None) => input.max(floor),
    };
    Estimate { tokens: input.saturating_add(output.saturating_mul(candidates(body))).max(1), cap }
}

/// What a call to a model can cost at most.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// US dollars a token
    pub input: f64,
    pub output: f64,
    /// `max_output_tokens` of the model
    pub ceiling: Option<i64>,
}

const DEFAULT_OUTPUT: i64 = 16384;

/// US dollars that a chat or message of `input` tokens can cost at most (budget_reservation.py
/// `estimate_request_max_cost`).
pub fn highest_cost(fields: &Object<'_>, input: i64, rates: Rates) -> f64 {
    let of = |name: &&str| fields.some(name).and_then(python_int);
    let requested = ["max_completion_tokens", "max_tokens", "max_output_tokens"].iter().find_map(of);
    let ceiling = rates.ceiling.filter(|tokens| *tokens != 0).unwrap_or(DEFAULT_OUTPUT);
    let output = requested.unwrap_or(DEFAULT_OUTPUT).min(ceiling);
    let answers = ["n", "best_of"].iter().filter_map(of).fold(1, i64::max);
    input as f64 * rates.input + (output as f64 * answers as f64) * rates.output
}

/// Python's `int(value)`.
fn python_int(value: Raw<'_>) -> Option<i64> {
    if let Some(flag) = value.as_bool() {
        return Some(i64::from(flag));
    }
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => value.as_f64().filter(|number| number.is_finite()).map(|number| number as i64),
    }
}

/// `default_estimated_output_tokens(_per_model)` of the key, else of its team. Values that are no positive whole number
/// count as absent.
pub fn declared_output(subject: &Subject<'_>) -> Option<i64> {
    let identity = subject.identity?;
    let positive = |value: &Value| value.as_i64().filter(|tokens| *tokens > 0);
    let of = |metadata: &Map<String, Value>| {
        let per_model = metadata.get("default_estimated_output_tokens_per_model").and_then(Value::as_object);
        // one bad value spoils the map
        let per_model = per_model.filter(|map| map.values().all(|value| positive(value).is_some()));
        let model = per_model.zip(subject.model).and_then(|(map, model)| map.get(model));
        model.or_else(|| metadata.get("default_estimated_output_tokens")).and_then(positive)
    };
    of(&identity.key.metadata).or_else(|| of(&identity.team.as_ref()?.metadata))
}

/// Python's `int(float(value))`; booleans and others are no cap.
fn number(value: Raw<'_>) -> Option<i64> {
    let value: f64 = match value.as_str() {
        Some(text) => text.trim().parse().ok()?,
        None => value.as_f64()?,
    };
    value.is_finite().then_some(value as i64)
}

fn explicit_cap(kind: Kind, body: &Object<'_>) -> Option<i64> {
    let of = |field: &str| body.get(field).and_then(number);
    match kind {
        Kind::Messages => of("max_tokens").max(of("max_completion_tokens")),
        Kind::Responses => of("max_output_tokens").map(|cap| cap.max(RESPONSES_MINIMUM)),
        Kind::Embeddings => None,
    }
}

fn candidates(body: &Object<'_>) -> i64 {
    let of = |field: &str| {
        let value = body.get(field)?;
        match value.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => value.as_f64().map(|value| value as i64),
        }
    };
    of("n").unwrap_or(1).max(of("best_of").unwrap_or(1)).max(1)
}

fn messages_chars(messages: Option<Raw<'_>>) -> usize {
    let messages = messages.and_then(Raw::array_of_objects).unwrap_or_default();
    messages.iter().filter_map(|(_, message)| message.as_ref()).map(message_chars).sum()
}

fn message_chars(message: &Object<'_>) -> usize {
    let chars = |text: Option<Raw<'_>>| text.and_then(Raw::as_str).map_or(0, |text| text.chars().count());
    let content = message.get("content");
    let blocks = content.and_then(Raw::array_of_objects).unwrap_or_default();
    let blocks = blocks.iter().filter_map(|(_, block)| block.as_ref()).map(|block| chars(block.get("text")));
    let found = message.get("search_results").and_then(|raw| serde_json::from_str(raw.text()).ok());
    chars(content) + blocks.sum::<usize>() + found.map_or(0, |results| search_chars(&results))
}

fn search_chars(results: &Value) -> usize {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, |text| text.chars().count());
    let of = |result: &Value| {
        let blocks = result.get("content").and_then(Value::as_array);
        let content: usize = blocks.map_or(0, |blocks| blocks.iter().map(|block| text(block.get("text"))).sum());
        let citations = result.get("citations").filter(|value| !value.is_null());
        // json.dumps writes what is not ASCII as \uXXXX
        let ascii =
            |value: &Value| value.to_string().chars().map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() }).sum();
        text(result.get("source")) + text(result.get("title")) + content + citations.map_or(0, ascii)
    };
    results.as_array().map_or(0, |results| results.iter().map(of).sum())
}

fn input_chars(input: Option<Raw<'_>>) -> usize {
    match input.and_then(|raw| serde_json::from_str(raw.text()).ok()) {
        Some(Value::String(text)) => text.chars().count(),
        Some(Value::Array(items)) => items.iter().map(python_str_chars).sum(),
        _ => 0,
    }
}

/// Characters of Python's `str(value)`: of a text itself, of others the length of their repr.
fn python_str_chars(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        other => python_repr_chars(other),
    }
}

fn python_repr_chars(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string().len(),
        Value::Number(number) => crate::spend::cost::python_float(number.as_f64().unwrap_or(0.0)).len(),
        Value::String(text) => python_quoted_chars(text),
        Value::Array(items) => {
            2 + items.iter().map(python_repr_chars).sum::<usize>() + 2 * items.len().saturating_sub(1)
        }
        Value::Object(map) => {
            let pairs: usize =
                map.iter().map(|(key, value)| python_quoted_chars(key) + 2 + python_repr_chars(value)).sum();
            2 + pairs + 2 * map.len().saturating_sub(1)
        }
    }
}

/// Length of `repr(str)`; characters that Python does not print are taken as printable above U+009F.
fn python_quoted_chars(text: &str) -> usize {
    let double = text.contains('\'') && !text.contains('"');
    let of = |c: char| match c {
        '\\' | '\n' | '\r' | '\t' => 2,
        '\'' if !double => 2,
        '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' => 4,
        _ => 1,
    };
    2 + text.chars().map(of).sum::<usize>()
}
