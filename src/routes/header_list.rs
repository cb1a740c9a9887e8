//! The headers of a native answer, in order. There are about thirty of them a request: their text stands in one buffer,
//! so that they cost two allocations together. It must never judge a header; what HTTP cannot carry is the edge's to
//! leave out.
use std::{borrow::Cow, ops::Range};

use crate::{json::plain_float, spend::cost::python_float};

/// Names and values; names are lower-case.
#[derive(Debug, Clone, Default)]
pub struct HeaderList {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: Name,
    value: Range<usize>,
}

/// Names like `llm_provider-x` exist only at run time.
#[derive(Debug, Clone)]
enum Name {
    Fixed(&'static str),
    Made(Range<usize>),
}

impl HeaderList {
    /// `headers`: about how many there will be.
    pub fn with_capacity(headers: usize) -> Self {
        Self { text: String::with_capacity(headers * 32), entries: Vec::with_capacity(headers) }
    }

    /// Appends a header with a fixed name.
    pub fn push(&mut self, name: &'static str, value: &str) {
        let value = self.keep(value);
        self.entries.push(Entry { name: Name::Fixed(name), value });
    }

    /// Puts a header before all others.
    pub fn push_first(&mut self, name: &'static str, value: &str) {
        let value = self.keep(value);
        self.entries.insert(0, Entry { name: Name::Fixed(name), value });
    }

    /// Appends a header whose value is a float as Python writes it.
    pub fn push_float(&mut self, name: &'static str, value: f64) {
        match plain_float(value, &mut [0; 32]) {
            Some(text) => self.push(name, text),
            None => self.push(name, &python_float(value)),
        }
    }

    /// Appends a header whose name is made of `prefix` and `name`.
    pub fn push_made(&mut self, prefix: &str, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(prefix);
        let name = start..self.keep(name).end;
        let value = self.keep(value);
        self.entries.push(Entry { name: Name::Made(name), value });
    }

    /// As [`HeaderList::push_made`], in the place of a header that has that name already.
    pub fn set_made(&mut self, prefix: &str, name: &str, value: &str) {
        let same = |found: &str| found.strip_prefix(prefix) == Some(name);
        let place = self.iter().position(|(found, _)| same(found));
        match place {
            None => self.push_made(prefix, name, value),
            Some(index) => {
                let value = self.keep(value);
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.value = value;
                }
            }
        }
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    fn at(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    fn named<'a>(&'a self, name: &'a Name) -> &'a str {
        match name {
            Name::Fixed(name) => name,
            Name::Made(range) => self.at(range),
        }
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (self.named(&entry.name), self.at(&entry.value)))
    }

    /// The name of the header at this place; borrowed for ever where it is a fixed one.
    pub(crate) fn name(&self, index: usize) -> Option<Cow<'static, str>> {
        self.entries.get(index).map(|entry| match &entry.name {
            Name::Fixed(name) => Cow::Borrowed(*name),
            Name::Made(range) => Cow::Owned(self.at(range).to_owned()),
        })
    }

    /// The value of the first header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Keeps what `keeps` says yes to, given names and values.
    pub fn retain(&mut self, keeps: impl Fn(&str, &str) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keeps(self.named(&entry.name), self.at(&entry.value)));
        self.entries = entries;
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all values and of the names made at run time.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }
}

impl<const N: usize> From<[(&'static str, &str); N]> for HeaderList {
    fn from(headers: [(&'static str, &str); N]) -> Self {
        let mut list = Self::with_capacity(N + 8);
        headers.into_iter().for_each(|(name, value)| list.push(name, value));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stay_in_order_with_their_values() {
        let mut list = HeaderList::from([("a", "1"), ("b", "")]);
        list.push_made("llm_provider-", "a", "x, y");
        list.push_float("f", 0.25);
        list.push_float("g", 7.500000000000001e-5);
        list.push_first("first", "0");
        list.push_made("x-", "b", "2");
        list.set_made("x-", "b", "3");
        list.set_made("x-", "c", "4");
        list.retain(|_, value| !value.is_empty());
        let all: Vec<_> = list.iter().collect();
        assert_eq!(
            all,
            [
                ("first", "0"),
                ("a", "1"),
                ("llm_provider-a", "x, y"),
                ("f", "0.25"),
                ("g", "7.500000000000001e-05"),
                ("x-b", "3"),
                ("x-c", "4")
            ]
        );
        assert_eq!((list.len(), list.get("llm_provider-a"), list.get("b")), (7, Some("x, y"), None));
        assert!(matches!(list.name(0), Some(Cow::Borrowed("first"))));
        assert_eq!(list.name(2).as_deref(), Some("llm_provider-a"));
    }
}
