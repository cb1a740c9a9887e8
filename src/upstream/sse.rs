//! Server-sent events out of arbitrarily split bytes. Owns framing only: which bytes are one event, and its `event`
//! and `data` fields (WHATWG: lines end with LF, CR LF or CR; a blank line ends the event). It must never look into
//! `data`, wait for more than the blank line, or hold more than the bound it was given.
use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};

/// An event grew over the decoder's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {0} bytes")]
pub struct EventTooLarge(pub usize);

/// One event as received, with its closing blank line: relays may send [`Event::raw`] on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub raw: Bytes,
}

/// Collects bytes, gives events.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// bytes of `buffer` that were looked at already
    scanned: usize,
    /// start of the line `scanned` is in
    line: usize,
    /// the last event ended with a CR at the end of the buffer: a LF that follows belongs to it
    skip_lf: bool,
    limit: usize,
}

impl Decoder {
    /// `limit`: most bytes of one event.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, line: 0, skip_lf: false, limit }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event. `None`: more bytes are needed. Blank lines alone are no event.
    pub fn next_event(&mut self) -> Option<Result<Event, EventTooLarge>> {
        if self.skip_lf && !self.buffer.is_empty() {
            self.skip_lf = false;
            if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
            }
        }
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.scanned = self.buffer.len();
                return (self.buffer.len() > self.limit).then_some(Err(EventTooLarge(self.limit)));
            };
            let end = self.scanned + found;
            let blank = end == self.line;
            let width = match (self.buffer.get(end), self.buffer.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => 2,
                // whether a LF follows is not known yet; it does not matter for the end of an event
                (Some(b'\r'), None) if !blank => {
                    self.scanned = end;
                    return None;
                }
                _ => 1,
            };
            let next = end + width;
            if !blank {
                self.scanned = next;
                self.line = next;
                continue;
            }
            self.skip_lf = width == 1 && self.buffer.get(end) == Some(&b'\r') && next == self.buffer.len();
            self.scanned = 0;
            self.line = 0;
            let raw = self.buffer.split_to(next).freeze();
            if end == 0 {
                continue; // blank lines between events
            }
            if raw.len() > self.limit {
                return Some(Err(EventTooLarge(self.limit)));
            }
            return Some(Ok(Event { raw }));
        }
    }

    /// What is left without a closing blank line, at the end of the stream.
    pub fn rest(&mut self) -> Bytes {
        self.scanned = 0;
        self.line = 0;
        self.buffer.split().freeze()
    }
}

impl Event {
    /// The lines without their endings.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.raw;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, tail) = rest.split_at_checked(end)?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
                [] => tail,
            };
            Some(line)
        })
    }

    /// The values of the field: what stands behind `name:`, without one leading space.
    fn field<'a>(&'a self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.lines().filter_map(move |line| {
            let tail = line.strip_prefix(name)?;
            match tail {
                [] => Some(tail),
                [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
                _ => None,
            }
        })
    }

    /// The last `event:` field.
    pub fn name(&self) -> Option<&[u8]> {
        self.field(b"event").last()
    }

    /// The `data:` lines, joined by LF; borrowed where there is one (the usual case). `None`: the event has none
    /// (a comment, a bare `event:`).
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut lines = self.field(b"data");
        let first = lines.next()?;
        let mut joined = Cow::Borrowed(first);
        for line in lines {
            let all = joined.to_mut();
            all.push(b'\n');
            all.extend_from_slice(line);
        }
        Some(joined)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(parts: &[&[u8]]) -> Vec<(Option<String>, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut decoder = Decoder::new(1 << 20);
        let mut out = Vec::new();
        for part in parts {
            decoder.push(part);
            while let Some(event) = decoder.next_event() {
                let event = event.unwrap();
                out.push((event.name().map(text), event.data().map(|data| text(&data))));
            }
        }
        out
    }

    #[test]
    fn every_line_ending_ends_lines_and_events() {
        for text in [
            "event: a\ndata: 1\n\ndata: 2\n\n",
            "event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n",
            "event: a\rdata: 1\r\rdata: 2\r\r",
        ] {
            let found = events(&[text.as_bytes()]);
            assert_eq!(found, [(Some("a".into()), Some("1".into())), (None, Some("2".into()))], "{text:?}");
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let found = events(&[b"data\n\ndata:x\ndata:  y\n\n: comment\n\n\n\ndatax: 1\n\n"]);
        let data: Vec<_> = found.into_iter().map(|(_, data)| data).collect();
        assert_eq!(data, [Some(String::new()), Some("x\n y".into()), None, None]);
    }

    #[test]
    fn an_event_is_given_at_its_blank_line_and_not_later() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"data: 1\r\r");
        assert_eq!(decoder.next_event().unwrap().unwrap().data().unwrap().as_ref(), b"1");
        decoder.push(b"\ndata: 2\n");
        assert!(decoder.next_event().is_none());
        decoder.push(b"\n");
        assert_eq!(decoder.next_event().unwrap().unwrap().raw, "data: 2\n\n");
        decoder.push(b"data: 3\n");
        assert!(decoder.next_event().is_none());
        assert_eq!(decoder.rest(), "data: 3\n");
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::new(10);
        decoder.push(b"data: 0123456789");
        assert_eq!(decoder.next_event(), Some(Err(EventTooLarge(10))));
        let mut decoder = Decoder::new(10);
        decoder.push(b"data: 0123456789\n\n");
        assert_eq!(decoder.next_event(), Some(Err(EventTooLarge(10))));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            pieces in prop::collection::vec(prop::sample::select(vec!["data: a", "event: e", ": c", "", "data"]), 0..12),
            ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cut in 0usize..40,
        ) {
            let text: String = pieces.iter().map(|piece| format!("{piece}{ending}")).collect();
            let whole = events(&[text.as_bytes()]);
            let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(&events(&[head, tail]), &whole);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert_eq!(&events(&bytes), &whole);
        }
    }
}
