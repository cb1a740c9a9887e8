//! The relay of a stream: bytes pass as they come, but for the model in `message_start`
//! (proxy/anthropic_endpoints/streaming_model_restamp.py) and a note of the usage.
use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;

use super::response::read_usage;
use crate::{
    json::{Object, ObjectWriter, Raw},
    spend::Usage,
};

/// What LiteLLM sends into silence, 15 s after the previous frame (constants.py `STREAM_SSE_KEEPALIVE_PING_CHUNK`).
pub const PING: Bytes = Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n");

const MESSAGE_START: &[u8] = b"message_start";
/// Bytes held while waiting for the end of the first frames.
const MOST_HELD: usize = 65536;
/// Bytes of one line held while looking for usage.
const MOST_LINE: usize = 65536;

/// Puts the caller's model name into the stream, once.
#[derive(Debug)]
pub struct Restamper {
    model: String,
    held: Vec<u8>,
    armed: bool,
}

impl Restamper {
    pub fn new(model: String) -> Self {
        Self { model, held: Vec::new(), armed: true }
    }

    /// What goes out for these received bytes; may be empty while a frame is incomplete.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        if !self.armed {
            return bytes;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(&bytes);
        let ends = frame_ends(&held);
        let Some(last) = ends.last().copied() else {
            if held.len() > MOST_HELD {
                self.armed = false;
                return held.into();
            }
            self.held = held;
            return Bytes::new();
        };
        let mut out = Vec::with_capacity(held.len() + self.model.len());
        let mut start = 0;
        for end in ends {
            let frame = held.get(start..end).unwrap_or_default();
            start = end;
            if self.armed && decides(frame) {
                self.armed = false;
                if let Some(restamped) = self.restamp(frame) {
                    out.extend_from_slice(&restamped);
                    continue;
                }
            }
            out.extend_from_slice(frame);
        }
        let tail = held.get(last..).unwrap_or_default();
        if self.armed {
            self.held = tail.to_vec();
        } else {
            out.extend_from_slice(tail);
        }
        out.into()
    }

    /// What is still held at the regular end.
    pub fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        self.armed = false;
        let restamped = if memmem::find(&held, MESSAGE_START).is_some() { self.restamp(&held) } else { None };
        restamped.unwrap_or(held).into()
    }

    /// The frame with the caller's model, or nothing to change.
    fn restamp(&self, frame: &[u8]) -> Option<Vec<u8>> {
        memmem::find(frame, MESSAGE_START)?;
        let text = String::from_utf8_lossy(frame);
        let mut out = String::with_capacity(text.len() + self.model.len());
        let mut changed = false;
        for line in text.split_inclusive(is_python_line_end) {
            match self.restamp_line(line) {
                Some(new) => {
                    changed = true;
                    out.push_str("data: ");
                    out.push_str(&new);
                    out.push_str(line.get(line.trim_end_matches(['\r', '\n']).len()..).unwrap_or_default());
                }
                None => out.push_str(line),
            }
        }
        changed.then(|| out.into_bytes())
    }

    fn restamp_line(&self, line: &str) -> Option<String> {
        let payload = line.trim().strip_prefix("data:")?.trim();
        let event = Object::parse(payload.as_bytes()).ok()?;
        let is_start = event.get("type").and_then(Raw::as_str).is_some_and(|kind| kind == "message_start");
        let message = event.get("message").and_then(Raw::object).filter(|_| is_start)?;
        let model = message.get("model");
        if model.and_then(Raw::as_str).is_some_and(|model| model == self.model.as_str()) {
            return None;
        }
        let mut inner = ObjectWriter::with_capacity(payload.len());
        for (key, value) in message.iter() {
            if key == "model" {
                inner.string(key, &self.model);
            } else {
                inner.raw(key, value.text());
            }
        }
        if model.is_none() {
            inner.string("model", &self.model);
        }
        let inner = inner.finish();
        let mut outer = ObjectWriter::with_capacity(payload.len());
        for (key, value) in event.iter() {
            if key == "message" {
                outer.key(key).extend_from_slice(&inner);
            } else {
                outer.raw(key, value.text());
            }
        }
        String::from_utf8(outer.finish()).ok()
    }
}

/// Where `str.splitlines` breaks: a line separator inside the JSON keeps LiteLLM from reading the event.
fn is_python_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Ends of whole frames: after CR LF CR LF, CR CR or LF LF.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'\n', b'\r', rest)) {
        let here = at + found;
        let rest = bytes.get(here..).unwrap_or_default();
        let width = [&b"\r\n\r\n"[..], b"\r\r", b"\n\n"].iter().find(|end| rest.starts_with(end)).map(|end| end.len());
        at = here + width.unwrap_or(1);
        if width.is_some() {
            ends.push(at);
        }
    }
    ends
}

/// The first frame that is `message_start`, or any other event but a ping, ends the waiting.
fn decides(frame: &[u8]) -> bool {
    let has = |sign: &[u8]| memmem::find(frame, sign).is_some();
    let ping = has(b"event: ping") || has(b"\"type\": \"ping\"") || has(b"\"type\":\"ping\"");
    has(MESSAGE_START) || (has(b"data:") && !ping)
}

/// Notes the tokens of `message_start` and `message_delta` as the bytes pass.
#[derive(Debug, Default)]
pub struct UsageNote {
    pub usage: Usage,
    /// of `message_start`
    pub id: Option<String>,
    /// whether cache writes are told apart by their time to live
    pub has_cache_details: bool,
    line: Vec<u8>,
    skipping: bool,
}

impl UsageNote {
    pub fn push(&mut self, mut bytes: &[u8]) {
        // most chunks end with their line: nothing is copied then
        if self.line.is_empty() && !self.skipping && memmem::find(bytes, b"\"usage\"").is_none() {
            let last = memchr::memrchr2(b'\n', b'\r', bytes).map_or(0, |at| at + 1);
            self.keep(bytes.get(last..).unwrap_or_default());
            return;
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let line = bytes.get(..end).unwrap_or_default();
            if std::mem::take(&mut self.skipping) {
                // the rest of a line that was too long
            } else if self.line.is_empty() {
                self.read(line);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.read(&whole);
            }
            bytes = bytes.get(end + 1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, part: &[u8]) {
        if self.skipping {
            return;
        }
        if self.line.len() + part.len() > MOST_LINE {
            self.line.clear();
            self.skipping = true;
            return;
        }
        self.line.extend_from_slice(part);
    }

    fn read(&mut self, line: &[u8]) {
        let Some(payload) = line.strip_prefix(b"data:") else { return };
        if memmem::find(payload, b"\"usage\"").is_none() {
            return;
        }
        let Ok(event) = Object::parse(payload) else { return };
        let started = event.get("message").and_then(Raw::object);
        if let Some(id) = started.as_ref().and_then(|message| message.some("id")?.as_str()) {
            self.id = Some(id.into_owned());
        }
        let of = match event.get("type").and_then(Raw::as_str).unwrap_or(Cow::Borrowed("")).as_ref() {
            "message_start" => started.as_ref().and_then(|message| message.some("usage")),
            "message_delta" => event.some("usage"),
            _ => None,
        };
        let of = of.and_then(Raw::object);
        self.has_cache_details |= of.as_ref().is_some_and(|usage| usage.some("cache_creation").is_some());
        read_usage(of.as_ref(), &mut self.usage);
    }
}

/// The last bytes that went out, to close an open frame before an error frame (`seal_open_sse_frame`).
#[derive(Debug, Clone)]
pub struct Tail(Vec<u8>);

impl Default for Tail {
    fn default() -> Self {
        Self(b"\n\n".to_vec())
    }
}

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes.get(bytes.len().saturating_sub(4)..).unwrap_or_default());
        let surplus = self.0.len().saturating_sub(4);
        self.0.drain(..surplus);
    }

    /// What makes the next frame start on its own.
    pub fn seal(&self) -> Vec<u8> {
        if [&b"\r\n\r\n"[..], b"\n\n", b"\r\r"].iter().any(|end| self.0.ends_with(end)) {
            return Vec::new();
        }
        let mut seal = if matches!(self.0.last(), Some(b'\n' | b'\r')) { Vec::new() } else { b"\n".to_vec() };
        seal.extend_from_slice(&PING);
        seal
    }
}

/// A provider that answers 200 and then nothing but `data: {"error": {"code": 429, ...}}`: (status, body of the JSON
/// error) (common_request_processing.py `_parse_event_data_for_error`).
pub fn first_chunk_error(chunk: &[u8]) -> Option<(u16, Vec<u8>)> {
    let event = Object::parse(chunk.strip_prefix(b"data: ")?).ok()?;
    let error = event.get("error")?;
    let code = error.object()?.get("code")?;
    let code: u16 = match code.as_str() {
        Some(text) => text.trim().parse().ok()?,
        None => code.text().parse().ok()?,
    };
    if !(100..=599).contains(&code) {
        return None;
    }
    let mut body = ObjectWriter::with_capacity(error.text().len() + 16);
    body.raw("error", error.text());
    Some((code, body.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "event: message_start\ndata: {\"type\": \"message_start\", \"message\": {\"id\": \"m\", \"model\": \"claude-x\", \"usage\": {\"input_tokens\": 7, \"cache_read_input_tokens\": 2, \"output_tokens\": 1}}}\n\n";
    const REST: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_delta\ndata: {\"type\": \"message_delta\", \"usage\": {\"output_tokens\": 12}}\n\n";

    fn relay(whole: &[u8], piece: usize) -> (String, Usage) {
        let mut restamper = Restamper::new("claude".into());
        let mut note = UsageNote::default();
        let mut out = Vec::new();
        for chunk in whole.chunks(piece) {
            note.push(chunk);
            out.extend_from_slice(&restamper.push(Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&restamper.finish());
        (String::from_utf8(out).unwrap(), note.usage)
    }

    #[test]
    fn however_it_is_cut_the_stream_is_the_same() {
        let whole = format!("{START}{REST}");
        let wanted = whole.replace(
            "{\"type\": \"message_start\", \"message\": {\"id\": \"m\", \"model\": \"claude-x\", \"usage\": {\"input_tokens\": 7, \"cache_read_input_tokens\": 2, \"output_tokens\": 1}}}",
            "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude\",\"usage\":{\"input_tokens\": 7, \"cache_read_input_tokens\": 2, \"output_tokens\": 1}}}",
        );
        for piece in 1..whole.len() {
            let (got, usage) = relay(whole.as_bytes(), piece);
            assert_eq!(
                got.replace("\": ", "\":").replace(", \"", ",\""),
                wanted.replace("\": ", "\":").replace(", \"", ",\"")
            );
            assert_eq!(
                usage,
                Usage { prompt: 9, completion: 12, cache_read: 2, ..Usage::default() },
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn streams_without_a_start_pass_untouched() {
        for whole in [
            "event: content\ndata: {}\n\nevent: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n",
            "no frame",
            "",
            "data: {\"x\":\"message_start\"}\r\n\r\n",
        ] {
            for piece in 1..whole.len().max(2) {
                assert_eq!(relay(whole.as_bytes(), piece).0, whole);
            }
        }
    }

    #[test]
    fn an_open_frame_is_closed_before_an_error() {
        let mut tail = Tail::default();
        assert_eq!(tail.seal(), b"");
        tail.push(b"data: x");
        assert_eq!(tail.seal(), b"\nevent: ping\ndata: {\"type\": \"ping\"}\n\n");
        tail.push(b"\n");
        assert_eq!(tail.seal(), &PING[..]);
        tail.push(b"\n");
        assert_eq!(tail.seal(), b"");
    }

    #[test]
    fn an_error_with_a_code_is_an_answer() {
        assert_eq!(
            first_chunk_error(b"data: {\"error\":{\"code\":429}}\n\n").unwrap(),
            (429, b"{\"error\":{\"code\":429}}".to_vec())
        );
        assert_eq!(first_chunk_error(b"data: {\"error\":{\"code\":\"503\"}}").unwrap().0, 503);
        for other in [
            "event: x\ndata: {\"error\":{\"code\":429}}",
            "data: {\"error\":{\"code\":999}}",
            "data: {\"error\":\"x\"}",
            "data: [DONE]",
        ] {
            assert_eq!(first_chunk_error(other.as_bytes()), None);
        }
    }

    #[test]
    fn endless_lines_are_not_kept() {
        let mut note = UsageNote::default();
        for _ in 0..100 {
            note.push(&[b'x'; 4096]);
        }
        assert!(note.line.capacity() <= 2 * MOST_LINE);
        note.push(b"\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":3}}\n");
        assert_eq!(note.usage.completion, 3);
    }
}
