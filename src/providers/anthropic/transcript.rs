//! What a stream of messages has said, for the bill of one that breaks off: its bytes are kept as they come, and read
//! when somebody counts (proxy/pass_through_endpoints/llm_provider_handlers/anthropic_passthrough_logging_handler.py).
//! Bounded: what is too much is read, and its texts are kept instead.
use std::collections::HashMap;

use memchr::memmem;

use crate::{
    json::{Object, Raw},
    spend::heard::{Heard, ToolCall},
};

/// Bytes that are kept unread.
const MOST_RAW: usize = 128 << 10;
/// Bytes of one line that are read.
const MOST_LINE: usize = 1 << 20;

/// The bytes of one stream.
#[derive(Default)]
pub struct Transcript {
    raw: Vec<u8>,
    said: Said,
    /// tool blocks by their index in the answer: their number among calls
    tools: HashMap<u64, u64>,
}

/// What was said.
#[derive(Debug, Default)]
pub struct Said {
    pub heard: Heard,
    /// no `message_delta` came after the last block
    pub interrupted: bool,
    /// thinking that the provider counted itself
    pub thinking: Option<u64>,
    /// the provider sent an error in the stream: LiteLLM reads no more than its usage
    pub unread: bool,
}

impl Transcript {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.raw.len() + bytes.len() > MOST_RAW {
            self.read();
        }
        self.raw.extend_from_slice(bytes);
    }

    /// Nothing of it has to be read: it is whole, and nobody thought aloud.
    pub fn is_plain(&self) -> bool {
        let has = |sign: &[u8]| memmem::find(&self.raw, sign).is_some();
        let last = |sign: &[u8]| memmem::rfind(&self.raw, sign);
        let whole = last(b"message_delta") > last(b"content_block_");
        whole && self.said.heard.reasoning_size() == 0 && !has(b"thinking_") && !has(b"event: error")
    }

    /// Bytes that are still to be read or counted.
    pub fn size(&self) -> usize {
        self.raw.len() + self.said.heard.size()
    }

    /// Reads what is left.
    pub fn finish(mut self) -> Said {
        self.raw.push(b'\n');
        self.read();
        self.said
    }

    /// Reads whole lines; the last, open one stays.
    fn read(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = raw.as_slice();
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            self.line(rest.get(..end).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        if rest.len() <= MOST_LINE {
            self.raw.extend_from_slice(rest);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(payload) = line.strip_prefix(b"data:") else { return };
        let Ok(event) = Object::parse(payload) else { return };
        let text = |object: &Object<'_>, name: &str| Some(object.some(name)?.as_str()?.into_owned());
        let index = event.some("index").and_then(Raw::as_u64).unwrap_or(0);
        let inner = |name: &str| event.some(name).and_then(Raw::object).unwrap_or_default();
        let said = &mut self.said;
        let counted =
            |usage: Object<'_>| usage.some("output_tokens_details")?.object()?.some("thinking_tokens")?.as_u64();
        match event.some("type").and_then(Raw::as_str).as_deref() {
            Some("message_start") => said.interrupted = true,
            Some("message_delta") => {
                said.interrupted = false;
                said.thinking = counted(inner("usage")).or(said.thinking);
            }
            Some("error") => said.unread = true,
            Some("content_block_stop") => said.interrupted = true,
            Some("content_block_start") => {
                let block = inner("content_block");
                match text(&block, "type").as_deref() {
                    Some("tool_use") => {
                        let number = self.tools.len() as u64;
                        self.tools.insert(index, number);
                        let (id, name) = (text(&block, "id"), text(&block, "name"));
                        let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
                        said.heard
                            .call((0, number), ToolCall { id, name, kind: "function".into(), ..ToolCall::default() });
                    }
                    Some("text") => said.heard.say(&text(&block, "text").unwrap_or_default()),
                    _ => {}
                }
            }
            Some("content_block_delta") => {
                said.interrupted = true;
                let delta = inner("delta");
                if let Some(part) = text(&delta, "text") {
                    said.heard.say(&part);
                } else if let Some(part) = text(&delta, "thinking") {
                    said.heard.think(&part);
                } else if let (Some(arguments), Some(number)) = (text(&delta, "partial_json"), self.tools.get(&index)) {
                    said.heard.call((0, *number), ToolCall { arguments, ..ToolCall::default() });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spend::{Meter, tokens::Encoding};

    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";

    fn delta(text: &str) -> String {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\
             \"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    }

    /// The counts are those of LiteLLM's rows of the same streams.
    #[test]
    fn an_interrupted_stream_is_read_and_a_whole_one_is_not() {
        let mut transcript = Transcript::default();
        transcript.push(START.as_bytes());
        transcript.push(delta("漢字仮名 Hello world fantastically").as_bytes());
        assert!(!transcript.is_plain());
        transcript.push(delta(" there my").as_bytes());
        let said = transcript.finish();
        assert!(said.interrupted && !said.unread);
        assert_eq!(said.heard.tokens(Meter::EXACT, Encoding::Claude), 13);

        let mut transcript = Transcript::default();
        transcript.push(START.as_bytes());
        transcript.push(delta("Hi").as_bytes());
        transcript.push(b"event: message_delta\ndata: {\"type\":\"message_delta\"}\n\n");
        assert!(transcript.is_plain() && !transcript.finish().interrupted);
    }

    #[test]
    fn calls_are_put_together() {
        let mut transcript = Transcript::default();
        for event in [
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":" 12"}}"#,
        ] {
            transcript.push(format!("data: {event}\n\n").as_bytes());
        }
        assert_eq!(transcript.finish().heard.tokens(Meter::EXACT, Encoding::Claude), 26);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut transcript = Transcript::default();
        (0..20_000).for_each(|_| transcript.push(delta("some words of an answer").as_bytes()));
        assert!(transcript.raw.len() <= MOST_RAW && transcript.size() < 1 << 20);
        (0..100).for_each(|_| transcript.push(&[b'x'; 100_000]));
        assert!(transcript.raw.len() <= MOST_LINE + MOST_RAW);
    }
}
