//! A value as it stands in its document, and an object's members: what the scanner found, read when it is asked for.
use std::borrow::Cow;

use super::scan::{NotJson, Scan};

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

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
