//! The scanner: finds the members of an object and the elements of an array without reading what is inside.
use super::special::special;

/// Nesting deeper than this is not read natively (orjson's own bound is 1024; nobody sends that).
pub const MAX_DEPTH: usize = 128;

/// The document is not JSON as both sides would read it. Which byte is wrong is Python's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON value that both sides read alike")]
pub struct NotJson;

pub(super) type Span = std::ops::Range<usize>;

/// A member's name with its quotes.
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) escaped: bool,
}

/// `CHECK`: validate; otherwise the text is known to be valid and is only skipped over.
pub(super) struct Scan<'a, const CHECK: bool> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// a number beyond 64 bits or beyond a float was seen (with `CHECK`)
    pub(super) foreign_number: bool,
}

impl<const CHECK: bool> Scan<'_, CHECK> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(NotJson)
        }
    }

    fn literal(&mut self, text: &'static [u8]) -> Result<(), NotJson> {
        let end = self.at + text.len();
        if self.bytes.get(self.at..end) == Some(text) {
            self.at = end;
            Ok(())
        } else {
            Err(NotJson)
        }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<Span, NotJson> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.members(depth, |_, _| Some(()))?,
            Some(b'[') => self.elements(depth, |_| Some(()))?,
            Some(b'"') => self.string()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(NotJson),
        }
        Ok(start..self.at)
    }

    pub(super) fn members(
        &mut self,
        depth: usize,
        mut found: impl FnMut(Key, Span) -> Option<()>,
    ) -> Result<(), NotJson> {
        if depth >= MAX_DEPTH {
            return Err(NotJson);
        }
        self.expect(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            self.space();
            self.expect(b':')?;
            self.space();
            let value = self.value(depth + 1)?;
            found(key, value).ok_or(NotJson)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(NotJson),
            }
            self.space();
        }
    }

    pub(super) fn elements(&mut self, depth: usize, mut found: impl FnMut(Span) -> Option<()>) -> Result<(), NotJson> {
        self.sequence(depth, |scan| {
            let value = scan.value(depth + 1)?;
            found(value).ok_or(NotJson)
        })
    }

    /// `element` moves over one element.
    pub(super) fn sequence(
        &mut self,
        depth: usize,
        mut element: impl FnMut(&mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        if depth >= MAX_DEPTH {
            return Err(NotJson);
        }
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(NotJson),
            }
            self.space();
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(NotJson),
        }
        let whole = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        // shorter ones fit into 64 bits, or into a float
        if CHECK && (self.at - start > 18 || self.at > whole) {
            let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok()).ok_or(NotJson)?;
            self.foreign_number |= match self.at == whole {
                true => text.parse::<i64>().is_err() && text.parse::<u64>().is_err(),
                false => !text.parse::<f64>().is_ok_and(f64::is_finite),
            };
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson) } else { Ok(()) }
    }

    fn key(&mut self) -> Result<Key, NotJson> {
        let start = self.at;
        self.expect(b'"')?;
        self.plain();
        let escaped = self.peek() != Some(b'"');
        if escaped {
            self.rest_of_string()?
        } else {
            self.at += 1
        }
        Ok(Key { span: start..self.at, escaped })
    }

    fn string(&mut self) -> Result<(), NotJson> {
        self.expect(b'"')?;
        if !CHECK && !self.is_short() {
            return self.skip();
        }
        self.rest_of_string()
    }

    /// Whether the next 16 bytes have something else than plain ones: most often the string's end.
    fn is_short(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.first_chunk::<8>().is_none_or(|chunk| special(chunk) != 0)
            || rest.get(8..).and_then(|rest| rest.first_chunk::<8>()).is_none_or(|chunk| special(chunk) != 0)
    }

    fn rest_of_string(&mut self) -> Result<(), NotJson> {
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if CHECK => self.escape()?,
                Some(b'\\') => self.at += 2,
                _ => return Err(NotJson),
            }
        }
    }

    /// Over the rest of a string that is known to be valid: up to the first quote without a backslash of its own.
    fn skip(&mut self) -> Result<(), NotJson> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        loop {
            let quote = memchr::memchr(b'"', rest).ok_or(NotJson)?;
            self.at += quote + 1;
            // the quote before this one is no backslash, so nothing is counted twice
            let before = rest.get(..quote).unwrap_or_default().iter();
            if before.rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
                return Ok(());
            }
            rest = rest.get(quote + 1..).unwrap_or_default();
        }
    }

    /// Moves to the next quote, backslash or control byte, eight bytes at a time.
    fn plain(&mut self) {
        let (chunks, _) = self.bytes.get(self.at..).unwrap_or_default().as_chunks::<8>();
        for chunk in chunks {
            let found = special(chunk);
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit()?;
                match unit {
                    // a high surrogate must be followed by a low one; a low one alone is refused by orjson
                    0xD800..=0xDBFF => {
                        self.expect(b'\\')?;
                        if self.peek() != Some(b'u') {
                            return Err(NotJson);
                        }
                        match self.unit()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => Err(NotJson),
                        }
                    }
                    0xDC00..=0xDFFF => Err(NotJson),
                    _ => Ok(()),
                }
            }
            _ => Err(NotJson),
        }
    }

    /// `uXXXX` at the cursor.
    fn unit(&mut self) -> Result<u32, NotJson> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).ok_or(NotJson)?;
        let mut unit = 0;
        for digit in digits {
            unit = unit * 16 + char::from(*digit).to_digit(16).ok_or(NotJson)?;
        }
        self.at += 5;
        Ok(unit)
    }
}
