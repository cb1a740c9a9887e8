//! What a stream has said so far: the texts that LiteLLM counts where the provider told no usage (`ChunkProcessor`,
//! `get_content_from_model_response`). Bounded; dropped uncounted when usage came. It must never be logged.
use std::collections::BTreeMap;

use serde_json::json;

use super::{Meter, tokens::Encoding};

/// Most bytes kept of one stream; what is longer is counted by the share that is kept.
const MOST: usize = 4 << 20;

/// The answer's texts.
#[derive(Default)]
pub struct Heard {
    text: Text,
    reasoning: Text,
    /// by choice and index
    calls: BTreeMap<(u64, u64), ToolCall>,
    /// the old kind of call: arguments, name
    function: Option<(String, Option<String>)>,
    /// bytes kept
    size: usize,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heard").field("size", &self.size).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Text {
    kept: String,
    /// bytes that were too much
    beyond: usize,
}

/// A tool's call, put together from its fragments.
#[derive(Debug, Default)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub arguments: String,
}

impl Heard {
    pub fn say(&mut self, text: &str) {
        self.text.push(text, &mut self.size);
    }

    pub fn think(&mut self, text: &str) {
        self.reasoning.push(text, &mut self.size);
    }

    /// A fragment of a call: what is not empty replaces, arguments are appended.
    pub fn call(&mut self, at: (u64, u64), fragment: ToolCall) {
        let size = fragment.id.len() + fragment.name.len() + fragment.kind.len() + fragment.arguments.len() + 16;
        if self.size + size > MOST {
            self.text.beyond += size;
            return;
        }
        self.size += size;
        let call = self.calls.entry(at).or_default();
        for (into, from) in
            [(&mut call.id, fragment.id), (&mut call.name, fragment.name), (&mut call.kind, fragment.kind)]
        {
            if !from.is_empty() {
                *into = from;
            }
        }
        call.arguments.push_str(&fragment.arguments);
    }

    /// A fragment of the old `function_call`; its first one's name counts.
    pub fn function(&mut self, name: Option<&str>, arguments: &str) {
        let size = name.map_or(0, str::len) + arguments.len();
        if self.size + size > MOST {
            self.text.beyond += size;
            return;
        }
        self.size += size;
        self.function.get_or_insert_with(|| (String::new(), name.map(str::to_owned))).0.push_str(arguments);
    }

    /// Bytes that are to be counted.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes of what was thought aloud.
    pub fn reasoning_size(&self) -> usize {
        self.reasoning.kept.len()
    }

    /// Tokens of what was thought aloud, as a model without a name has them; `None`: nothing was.
    pub fn reasoning_tokens(&self, meter: Meter) -> Option<u64> {
        let text = &self.reasoning.kept;
        (!text.is_empty()).then(|| self.reasoning.count(text, meter, Encoding::Cl100k))
    }

    /// Tokens of what was said and called, without reasoning.
    pub fn tokens(&self, meter: Meter, encoding: Encoding) -> u64 {
        self.text.count(&self.output(), meter, encoding)
    }

    /// Whether anything was said or called.
    pub fn is_empty(&self) -> bool {
        self.text.kept.is_empty() && self.calls.is_empty() && self.function.is_none()
    }

    /// The text and the calls' JSON, as pydantic writes it.
    fn output(&self) -> String {
        let mut out = self.text.kept.clone();
        if let Some((arguments, name)) = &self.function {
            out.push_str(&json!({"arguments": arguments, "name": name}).to_string());
        }
        for call in self.calls.values().filter(|call| !call.id.is_empty() && !call.name.is_empty()) {
            let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
            let kind = if call.kind.is_empty() { "function" } else { &call.kind };
            let function = json!({"arguments": arguments, "name": call.name});
            out.push_str(&json!({"function": function, "id": call.id, "type": kind}).to_string());
        }
        out
    }
}

impl Text {
    fn push(&mut self, text: &str, size: &mut usize) {
        if *size + text.len() > MOST {
            self.beyond += text.len();
            return;
        }
        *size += text.len();
        self.kept.push_str(text);
    }

    fn count(&self, text: &str, meter: Meter, encoding: Encoding) -> u64 {
        let counted = meter.count(encoding, text);
        if self.beyond == 0 {
            return counted;
        }
        (counted as f64 * (1.0 + self.beyond as f64 / text.len().max(1) as f64)).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: id.into(), name: name.into(), kind: String::new(), arguments: arguments.into() }
    }

    /// The counts are LiteLLM's own, of the same fragments.
    #[test]
    fn calls_are_counted_as_litellm_writes_them() {
        let mut heard = Heard::default();
        heard.call((0, 0), fragment("call_1", "f", ""));
        heard.call((0, 0), fragment("", "", "{\"a\":"));
        heard.call((0, 0), fragment("", "", "1}"));
        assert_eq!(
            heard.output(),
            r#"{"function":{"arguments":"{\"a\":1}","name":"f"},"id":"call_1","type":"function"}"#
        );
        assert_eq!(heard.tokens(Meter::EXACT, Encoding::O200k), 26);
        heard.call((0, 1), fragment("", "nameless", "1"));
        assert_eq!(heard.tokens(Meter::EXACT, Encoding::O200k), 26);
        let mut heard = Heard::default();
        heard.function(Some("f"), "{");
        heard.function(None, "}");
        assert_eq!(heard.tokens(Meter::EXACT, Encoding::O200k), 9);
        heard.think("let me think about it");
        assert_eq!(heard.reasoning_tokens(Meter::EXACT), Some(5));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut heard = Heard::default();
        (0..6).for_each(|_| heard.say(&"word ".repeat(1 << 18)));
        assert!(heard.size() <= MOST && heard.text.beyond > 0);
        heard.call((0, 0), fragment("a", "b", &"x".repeat(MOST)));
        assert!(heard.calls.is_empty());
    }
}
