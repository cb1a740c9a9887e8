//! The typed difference of two observations (`observe`): a tree with `response[i]`, `provider[i]`, `rows`, `redis`.
//! Pure. Paths are dotted down to a body, and a JSON pointer inside it: `response[0].body/choices/0/index`.
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Relative tolerance for numbers: float formatting, never a wrong price.
const TOLERANCE: f64 = 1e-9;

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Python has it, the other side has not
    Missing,
    /// the other side has it, Python has not
    Extra,
    /// another JSON type
    Type,
    Value,
    HeaderMissing,
    HeaderExtra,
    HeaderValue,
    /// a stream has more or fewer events
    EventCount,
    /// the provider was called more or less often
    AttemptCount,
    /// more or fewer rows
    RowCount,
    /// another array has more or fewer elements
    Length,
    /// recorded, never compared: order of keys or headers
    Order,
    /// recorded, never compared: `1` and `1.0`
    NumberForm,
}

impl Kind {
    /// Goes into the report, decides nothing.
    pub fn is_recorded_only(self) -> bool {
        matches!(self, Kind::Order | Kind::NumberForm)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub path: String,
    pub kind: Kind,
    /// what Python has; `None`: nothing
    pub python: Option<Value>,
    /// what the other side has
    pub other: Option<Value>,
}

/// All differences between two trees; `python` is the reference.
pub fn diff(python: &Value, other: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", false, python, other, &mut found);
    found
}

fn walk(path: &str, pointer: bool, python: &Value, other: &Value, found: &mut Vec<Difference>) {
    let mut add = |kind, python: Option<&Value>, other: Option<&Value>| {
        found.push(Difference { path: path.to_owned(), kind, python: python.cloned(), other: other.cloned() });
    };
    match (python, other) {
        (Value::Object(a), Value::Object(b)) => {
            if pointer && !a.keys().filter(|k| b.contains_key(*k)).eq(b.keys().filter(|k| a.contains_key(*k))) {
                add(Kind::Order, None, None);
            }
            for (key, value) in a {
                let (path, pointer) = child(path, pointer, key);
                match b.get(key) {
                    Some(other) => walk(&path, pointer, value, other, found),
                    None => {
                        let kind = if is_header(&path) { Kind::HeaderMissing } else { Kind::Missing };
                        found.push(Difference { path, kind, python: Some(value.clone()), other: None });
                    }
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                let (path, _) = child(path, pointer, key);
                let kind = if is_header(&path) { Kind::HeaderExtra } else { Kind::Extra };
                found.push(Difference { path, kind, python: None, other: Some(value.clone()) });
            }
        }
        (Value::Array(_), Value::Array(_)) if is_header(path) && python == other => {}
        (Value::Array(_), Value::Array(_)) if is_header(path) => add(Kind::HeaderValue, Some(python), Some(other)),
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                add(length_kind(path), Some(&a.len().into()), Some(&b.len().into()));
            }
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let path = if pointer { format!("{path}/{i}") } else { format!("{path}[{i}]") };
                walk(&path, pointer, a, b, found);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            if !close(a, b) {
                add(Kind::Value, Some(python), Some(other));
            } else if a.is_f64() != b.is_f64() {
                add(Kind::NumberForm, Some(python), Some(other));
            }
        }
        _ if std::mem::discriminant(python) != std::mem::discriminant(other) => {
            add(Kind::Type, Some(python), Some(other));
        }
        _ if python != other => add(Kind::Value, Some(python), Some(other)),
        _ => {}
    }
}

/// The path of a key, and whether it is inside a JSON document.
fn child(path: &str, pointer: bool, key: &str) -> (String, bool) {
    if pointer {
        (format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), true)
    } else {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        (path, matches!(key, "body" | "data"))
    }
}

/// `response[0].header.<name>`, but not what is below.
fn is_header(path: &str) -> bool {
    match path.split_once("].header.") {
        Some((_, name)) => !name.contains(['/', '[']),
        None => false,
    }
}

fn length_kind(path: &str) -> Kind {
    match path {
        "provider" => Kind::AttemptCount,
        _ if path.ends_with("].events") => Kind::EventCount,
        _ if path.starts_with("rows.") => Kind::RowCount,
        _ => Kind::Length,
    }
}

fn close(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    if a == b {
        return true;
    }
    // integers beyond 2^53 must not be equal by rounding
    if let (Some(a), Some(b)) = (a.as_i128(), b.as_i128()) {
        return a == b;
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds(a: Value, b: Value) -> Vec<(String, Kind)> {
        diff(&a, &b).into_iter().map(|d| (d.path, d.kind)).collect()
    }

    #[test]
    fn every_kind_has_its_place() {
        let python = json!({
            "response": [{"status": 200, "header": {"a": ["1"], "b": ["2"]}, "body": {"x": [1, 2], "y": null, "a/b": 1}}],
            "provider": [{"line": "POST /"}],
            "rows": {"T": [1]}
        });
        let other = json!({
            "response": [{"status": 400, "header": {"a": ["1", "1"], "c": ["2"]}, "body": {"x": [1], "y": "s", "z": 1}}],
            "provider": [{"line": "POST /"}, {"line": "POST /"}],
            "rows": {"T": []}
        });
        let expected = [
            ("response[0].status", Kind::Value),
            ("response[0].header.a", Kind::HeaderValue),
            ("response[0].header.b", Kind::HeaderMissing),
            ("response[0].header.c", Kind::HeaderExtra),
            ("response[0].body/x", Kind::Length),
            ("response[0].body/y", Kind::Type),
            ("response[0].body/a~1b", Kind::Missing),
            ("response[0].body/z", Kind::Extra),
            ("provider", Kind::AttemptCount),
            ("rows.T", Kind::RowCount),
        ];
        assert_eq!(kinds(python, other), expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn events_are_counted_and_compared() {
        let a = json!({"response": [{"events": [{"data": {"a": 1}}, {"data": "[DONE]"}]}]});
        let b = json!({"response": [{"events": [{"data": {"a": 2}}]}]});
        let found = kinds(a, b);
        assert_eq!(found[0], ("response[0].events".into(), Kind::EventCount));
        assert_eq!(found[1], ("response[0].events[0].data/a".into(), Kind::Value));
    }

    #[test]
    fn numbers_are_equal_to_1e9_but_not_beyond() {
        assert!(kinds(json!({"body": 0.1}), json!({"body": 0.100_000_000_000_01})).is_empty());
        assert_eq!(kinds(json!({"body": 0.1}), json!({"body": 0.100_001}))[0].1, Kind::Value);
        assert_eq!(kinds(json!({"body": 1}), json!({"body": 1.0}))[0].1, Kind::NumberForm);
        assert_eq!(
            kinds(json!({"body": 9_007_199_254_740_993_i64}), json!({"body": 9_007_199_254_740_992_i64}))[0].1,
            Kind::Value
        );
        assert_eq!(kinds(json!({"body": 0}), json!({"body": false}))[0].1, Kind::Type);
    }

    #[test]
    fn order_is_only_recorded() {
        let found = diff(&json!({"body": {"a": 1, "b": 2}}), &json!({"body": {"b": 2, "a": 1}}));
        assert_eq!(found.len(), 1);
        assert!(found[0].kind.is_recorded_only());
    }
}
