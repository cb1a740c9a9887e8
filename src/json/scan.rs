//! The scanner: finds the members of an object and the elements of an array without reading what is inside.
use std::borrow::Cow;

use super::special::special;

/// Nesting deeper than this is not read natively (orjson's own bound is 1024; nobody sends that).
pub const MAX_DEPTH: usize = 128;

/// The document is not JSON as both sides would read it. Which byte is wrong is Python's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON value that both sides read alike")]
pub struct NotJson;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// One valid JSON value as it stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// The members of an object, in order, with duplicates.
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Raw<'a>)>,
}

impl<'a> Raw<'a> {
    /// Validates a whole document.
    pub fn parse(document: &'a [u8]) -> Result<Self, NotJson> {
        let text = std::str::from_utf8(document).map_err(|_| NotJson)?;
        let mut scan = Scan::<true> { bytes: text.as_bytes(), at: 0, foreign_number: false };
        scan.space();
        let start = scan.at;
        scan.value(0)?;
        let end = scan.at;
        scan.space();
        if scan.at != text.len() {
            return Err(NotJson);
        }
        text.get(start..end).map(Raw).ok_or(NotJson)
    }

    /// The slice of the document, without surrounding space.
    pub fn text(self) -> &'a str {
        self.0
    }

    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The string's content; borrowed where it has no escapes.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = self.0.get(1..self.0.len().checked_sub(1)?)?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str::<String>(self.0).ok().map(Cow::Owned)
    }

    pub fn as_u64(self) -> Option<u64> {
        self.0.parse().ok()
    }

    pub fn as_f64(self) -> Option<f64> {
        if self.kind() == Kind::Number { self.0.parse().ok() } else { None }
    }

    /// The members, if this is an object.
    pub fn object(self) -> Option<Object<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        Object::read(&mut Scan::<false> { bytes: self.0.as_bytes(), at: 0, foreign_number: false }, 0, self.0).ok()
    }

    /// The elements, if this is an array.
    pub fn array(self) -> Option<Vec<Raw<'a>>> {
        if self.kind() != Kind::Array {
            return None;
        }
        let mut scan = Scan::<false> { bytes: self.0.as_bytes(), at: 0, foreign_number: false };
        let mut elements = Vec::new();
        scan.elements(0, |value| {
            elements.push(Raw(self.0.get(value)?));
            Some(())
        })
        .ok()?;
        Some(elements)
    }

    /// The elements of an array, those that are objects with their members: one pass for both.
    pub fn array_of_objects(self) -> Option<Vec<(Raw<'a>, Option<Object<'a>>)>> {
        if self.kind() != Kind::Array {
            return None;
        }
        let mut scan = Scan::<false> { bytes: self.0.as_bytes(), at: 0, foreign_number: false };
        let mut elements = Vec::new();
        scan.sequence(0, |scan| {
            let start = scan.at;
            let object = match scan.peek() {
                Some(b'{') => Some(Object::read(scan, 1, self.0)?),
                _ => scan.value(1).map(|_| None)?,
            };
            elements.push((Raw(self.0.get(start..scan.at).ok_or(NotJson)?), object));
            Ok(())
        })
        .ok()?;
        Some(elements)
    }
}

impl<'a> Object<'a> {
    /// Validates a whole document that must be an object.
    pub fn parse(document: &'a [u8]) -> Result<Self, NotJson> {
        Self::scan(document).map(|(object, _)| object)
    }

    /// The object, and whether a number of it is one for [`Object::parse_request`] to refuse.
    fn scan(document: &'a [u8]) -> Result<(Self, bool), NotJson> {
        let text = std::str::from_utf8(document).map_err(|_| NotJson)?;
        let mut scan = Scan::<true> { bytes: text.as_bytes(), at: 0, foreign_number: false };
        scan.space();
        let object = Self::read(&mut scan, 0, text)?;
        scan.space();
        if scan.at == text.len() { Ok((object, scan.foreign_number)) } else { Err(NotJson) }
    }

    /// The members of the object at the cursor; `text` is what is scanned.
    fn read<const CHECK: bool>(scan: &mut Scan<'_, CHECK>, depth: usize, text: &'a str) -> Result<Self, NotJson> {
        let mut members = Vec::with_capacity(8);
        scan.members(depth, |key, value| {
            let name = match key.escaped {
                false => Cow::Borrowed(text.get(key.span.start + 1..key.span.end - 1)?),
                true => Raw(text.get(key.span)?).as_str()?,
            };
            members.push((name, Raw(text.get(value)?)));
            Some(())
        })?;
        Ok(Self { members })
    }

    /// As [`Object::parse`], for a client's body that is sent on: refuses numbers that would reach the provider as
    /// others (orjson reads integers beyond 64 bits as floats, and refuses what no float holds).
    pub fn parse_request(document: &'a [u8]) -> Result<Self, NotJson> {
        match Self::scan(document)? {
            (object, false) => Ok(object),
            (_, true) => Err(NotJson),
        }
    }

    /// The value of the last member of that name (as Python and JavaScript read duplicates).
    pub fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The value, where it is there and not null.
    pub fn some(&self, name: &str) -> Option<Raw<'a>> {
        self.get(name).filter(|value| !value.is_null())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Raw<'a>)> {
        self.members.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a key stands twice.
    pub fn has_duplicates(&self) -> bool {
        if self.members.len() > 32 {
            let mut keys: Vec<&str> = self.members.iter().map(|(key, _)| key.as_ref()).collect();
            keys.sort_unstable();
            return keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
        }
        self.members
            .iter()
            .enumerate()
            .any(|(at, (key, _))| self.members.iter().skip(at + 1).any(|(other, _)| other == key))
    }
}

type Span = std::ops::Range<usize>;

/// A member's name with its quotes.
struct Key {
    span: Span,
    escaped: bool,
}

/// `CHECK`: validate; otherwise the text is known to be valid and is only skipped over.
struct Scan<'a, const CHECK: bool> {
    bytes: &'a [u8],
    at: usize,
    /// a number beyond 64 bits or beyond a float was seen (with `CHECK`)
    foreign_number: bool,
}

impl<const CHECK: bool> Scan<'_, CHECK> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
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

    fn value(&mut self, depth: usize) -> Result<Span, NotJson> {
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

    fn members(&mut self, depth: usize, mut found: impl FnMut(Key, Span) -> Option<()>) -> Result<(), NotJson> {
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

    fn elements(&mut self, depth: usize, mut found: impl FnMut(Span) -> Option<()>) -> Result<(), NotJson> {
        self.sequence(depth, |scan| {
            let value = scan.value(depth + 1)?;
            found(value).ok_or(NotJson)
        })
    }

    /// `element` moves over one element.
    fn sequence(
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

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
