//! Python's `str()`, `repr()` and `json.dumps()` of a loaded value: LiteLLM hashes these texts into deployment ids.
use std::fmt::Write;

use super::{Map, Value};
use crate::spend::cost::python_float;

impl Value {
    /// `str(value)`
    pub fn python_str(&self) -> String {
        match self {
            Value::Str(text) => text.clone(),
            Value::Time(text) => text.clone(),
            _ => {
                let mut out = String::new();
                self.repr(&mut out);
                out
            }
        }
    }

    fn repr(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(value) => out.push_str(&value.to_string()),
            Value::BigInt(digits) => out.push_str(digits),
            Value::Float(value) => out.push_str(&python_float(*value)),
            Value::Str(text) => quote(text, out),
            Value::Time(text) => time_repr(text, out),
            Value::Bytes(bytes) => bytes_repr(bytes, out),
            Value::Opaque(kind) => out.push_str(kind),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.value.repr(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push('{');
                for (i, (key, value)) in map.entries.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    key.value.repr(out);
                    out.push_str(": ");
                    value.value.repr(out);
                }
                out.push('}');
            }
        }
    }

    /// `json.dumps(value, default=Router._json_default_stable_id)`: spaces after `,` and `:`, ASCII only.
    pub fn json_dumps(&self) -> String {
        let mut out = String::new();
        self.json(&mut out);
        out
    }

    fn json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(_) | Value::BigInt(_) => self.repr(out),
            Value::Float(value) if value.is_nan() => out.push_str("NaN"),
            Value::Float(value) if value.is_infinite() => {
                out.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Value::Float(_) => self.repr(out),
            Value::Str(text) => json_quote(text, out),
            // objects json cannot write: module and class name
            Value::Time(text) if text.len() == 10 => out.push_str("\"datetime.date\""),
            Value::Time(_) => out.push_str("\"datetime.datetime\""),
            Value::Bytes(_) => out.push_str("\"builtins.bytes\""),
            Value::Opaque(_) => out.push_str("\"builtins.set\""),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.value.json(out);
                }
                out.push(']');
            }
            Value::Map(map) => json_map(map, out),
        }
    }

    /// The value as JSON data, for request defaults. Integers beyond 64 bits become floats.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(small), _) => small.into(),
                (_, Ok(large)) => large.into(),
                _ => serde_json::Number::from_f64(*value as f64).map_or(Json::Null, Json::Number),
            },
            Value::BigInt(digits) => digits.parse().map_or(Json::Null, Json::Number),
            Value::Float(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Value::Str(text) | Value::Time(text) => Json::String(text.clone()),
            Value::Bytes(_) | Value::Opaque(_) => Json::Null,
            Value::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Value::Map(map) => Json::Object(map.iter().map(|(key, value)| (key, value.value.to_json())).collect()),
        }
    }
}

fn json_map(map: &Map, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in map.entries.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        match &key.value {
            Value::Str(text) => json_quote(text, out),
            other => {
                let mut text = String::new();
                other.json(&mut text);
                json_quote(&text, out);
            }
        }
        out.push_str(": ");
        value.value.json(out);
    }
    out.push('}');
}

fn json_quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0_u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// `repr(str)`. Characters Python does not call printable are escaped; unassigned code points are not told apart.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if c == mark => {
                out.push('\\');
                out.push(c);
            }
            '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            '\u{1680}'
            | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{3000}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            '\u{e0000}'.. => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push(mark);
}

fn bytes_repr(bytes: &[u8], out: &mut String) {
    let mark = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(mark);
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            _ if char::from(*byte) == mark => {
                out.push('\\');
                out.push(mark);
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(mark);
}

/// `datetime.date(2024, 1, 2)`; the form with a time is written for naive and UTC values only, others keep their text.
fn time_repr(text: &str, out: &mut String) {
    let numbers: Vec<&str> = text.split(['-', ' ', ':', '.', '+']).collect();
    let plain = |part: &str| part.trim_start_matches('0').to_owned();
    let parts: Vec<String> = numbers
        .iter()
        .take(if text.contains('.') { 7 } else { 6 })
        .map(|part| if plain(part).is_empty() { "0".to_owned() } else { plain(part) })
        .collect();
    match parts.len() {
        3 => {
            let _ = write!(out, "datetime.date({})", parts.join(", "));
        }
        _ => out.push_str(text),
    }
}
