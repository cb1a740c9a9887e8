//! How Python writes and reads values, where LiteLLM lets that through to clients: `repr` and `str` in error texts,
//! `json.dumps` of arguments, and the message of `json.JSONDecodeError`. Pure; only on error and repair paths.
use std::fmt::Write;

use serde_json::Value;

use crate::spend::cost::python_float;

/// Deeper documents are not explained (CPython itself gives up near 1000).
const MAX_DEPTH: usize = 200;

/// `repr(value)` of what `json.loads` made of it.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number_text(number),
        Value::String(text) => repr_str(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let members: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", repr_str(k), repr(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// `str(value)`: strings as they are.
pub fn str_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

fn number_text(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(int), ..) => int.to_string(),
        (_, Some(int), _) => int.to_string(),
        (_, _, Some(float)) => python_float(float),
        _ => number.to_string(),
    }
}

/// `repr` of a str: single quotes unless it has one and no double quote.
pub fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        let written = match c {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            _ if c == quote => write!(out, "\\{c}"),
            _ if printable(c) => out.write_char(c),
            _ if code <= 0xff => write!(out, "\\x{code:02x}"),
            _ if code <= 0xffff => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
        debug_assert!(written.is_ok());
    }
    out.push(quote);
    out
}

/// `str.isprintable` without the tables of unassigned code points.
fn printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..))
}

/// `json.dumps(value)`: `, ` and `: `, non-ASCII escaped.
pub fn dumps(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) => value.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => dumps_str(text),
        Value::Array(items) => format!("[{}]", items.iter().map(dumps).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let members: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", dumps_str(k), dumps(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// A JSON string in ASCII.
pub fn dumps_str(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
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
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// What `json.loads` says about the document; `None` where it accepts it (NaN, lone surrogates) or nests too deep.
pub fn json_error(document: &str) -> Option<String> {
    let chars: Vec<char> = document.chars().collect();
    let reader = Reader { chars: &chars };
    let at = reader.space(0);
    let (text, at) = match reader.value(at, 0) {
        Ok(end) => {
            let end = reader.space(end);
            if end == chars.len() {
                return None;
            }
            ("Extra data", end)
        }
        Err(Fault::At(text, at)) => (text, at),
        Err(Fault::TooDeep) => return None,
    };
    let before = chars.get(..at).unwrap_or(&chars);
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = at - before.iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1) + 1;
    Some(format!("{text}: line {line} column {column} (char {at})"))
}

enum Fault {
    At(&'static str, usize),
    TooDeep,
}

/// The grammar and the positions of CPython's `_json` scanner.
struct Reader<'a> {
    chars: &'a [char],
}

impl Reader<'_> {
    fn peek(&self, at: usize) -> Option<char> {
        self.chars.get(at).copied()
    }

    fn space(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(' ' | '\t' | '\n' | '\r')) {
            at += 1;
        }
        at
    }

    fn value(&self, at: usize, depth: usize) -> Result<usize, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        let literal = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
        match self.peek(at) {
            Some('"') => self.string(at),
            Some('{') => self.object(at, depth),
            Some('[') => self.array(at, depth),
            Some(_) => {
                for word in literal {
                    if word.chars().enumerate().all(|(i, c)| self.peek(at + i) == Some(c)) {
                        return Ok(at + word.len());
                    }
                }
                self.number(at)
            }
            None => Err(Fault::At("Expecting value", at)),
        }
    }

    fn number(&self, start: usize) -> Result<usize, Fault> {
        let digits = |mut at: usize| {
            while self.peek(at).is_some_and(|c| c.is_ascii_digit()) {
                at += 1;
            }
            at
        };
        let mut at = start + usize::from(self.peek(start) == Some('-'));
        at = match self.peek(at) {
            Some('0') => at + 1,
            Some('1'..='9') => digits(at),
            _ => return Err(Fault::At("Expecting value", start)),
        };
        if self.peek(at) == Some('.') && digits(at + 1) > at + 1 {
            at = digits(at + 1);
        }
        if matches!(self.peek(at), Some('e' | 'E')) {
            let sign = at + 1 + usize::from(matches!(self.peek(at + 1), Some('+' | '-')));
            if digits(sign) > sign {
                at = digits(sign);
            }
        }
        Ok(at)
    }

    fn string(&self, begin: usize) -> Result<usize, Fault> {
        let unterminated = Fault::At("Unterminated string starting at", begin);
        let mut at = begin + 1;
        loop {
            match self.peek(at) {
                None => return Err(unterminated),
                Some('"') => return Ok(at + 1),
                Some('\\') => match self.peek(at + 1) {
                    None => return Err(unterminated),
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => at += 2,
                    Some('u') => {
                        if at + 6 >= self.chars.len() {
                            return Err(Fault::At("Invalid \\uXXXX escape", at + 2));
                        }
                        if !(2..6).all(|i| self.peek(at + i).is_some_and(|c| c.is_ascii_hexdigit())) {
                            return Err(Fault::At("Invalid \\uXXXX escape", at + 1));
                        }
                        at += 6;
                    }
                    Some(_) => return Err(Fault::At("Invalid \\escape", at)),
                },
                Some(c) if c <= '\u{1f}' => return Err(Fault::At("Invalid control character at", at)),
                Some(_) => at += 1,
            }
        }
    }

    fn object(&self, begin: usize, depth: usize) -> Result<usize, Fault> {
        let mut at = self.space(begin + 1);
        if self.peek(at) == Some('}') {
            return Ok(at + 1);
        }
        loop {
            if self.peek(at) != Some('"') {
                return Err(Fault::At("Expecting property name enclosed in double quotes", at));
            }
            at = self.space(self.string(at)?);
            if self.peek(at) != Some(':') {
                return Err(Fault::At("Expecting ':' delimiter", at));
            }
            at = self.value(self.space(at + 1), depth + 1)?;
            at = self.space(at);
            match self.peek(at) {
                Some('}') => return Ok(at + 1),
                Some(',') => at = self.space(at + 1),
                _ => return Err(Fault::At("Expecting ',' delimiter", at)),
            }
        }
    }

    fn array(&self, begin: usize, depth: usize) -> Result<usize, Fault> {
        let mut at = self.space(begin + 1);
        if self.peek(at) == Some(']') {
            return Ok(at + 1);
        }
        loop {
            at = self.space(self.value(at, depth + 1)?);
            match self.peek(at) {
                Some(']') => return Ok(at + 1),
                Some(',') => at = self.space(at + 1),
                _ => return Err(Fault::At("Expecting ',' delimiter", at)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expectation is CPython 3.11's.
    #[test]
    fn json_errors_are_cpythons() {
        for (document, error) in [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("<html>", "Expecting value: line 1 column 1 (char 0)"),
            ("{\"a\": 1} x", "Extra data: line 1 column 10 (char 9)"),
            ("{\"a\" 1}", "Expecting ':' delimiter: line 1 column 6 (char 5)"),
            ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
            ("[1,]", "Expecting value: line 1 column 4 (char 3)"),
            ("{\n  oops", "Expecting property name enclosed in double quotes: line 2 column 3 (char 4)"),
            ("\"\\u12\"", "Invalid \\uXXXX escape: line 1 column 4 (char 3)"),
            ("\"\\u12zz\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"),
            ("01", "Extra data: line 1 column 2 (char 1)"),
            ("tru", "Expecting value: line 1 column 1 (char 0)"),
        ] {
            assert_eq!(json_error(document).as_deref(), Some(error), "{document}");
        }
        assert_eq!(json_error("{\"a\": [NaN, -Infinity, \"\\ud800\"]}"), None);
    }

    #[test]
    fn values_read_as_python_prints_them() {
        let value: Value = serde_json::from_str(r#"{"a":null,"b":[true,1,1.0,"it's","x\"'\n\u00e9\u2028"]}"#).unwrap();
        assert_eq!(repr(&value), "{'a': None, 'b': [True, 1, 1.0, \"it's\", 'x\"\\'\\né\\u2028']}");
        assert_eq!(dumps(&value), r#"{"a": null, "b": [true, 1, 1.0, "it's", "x\"'\n\u00e9\u2028"]}"#);
    }
}
