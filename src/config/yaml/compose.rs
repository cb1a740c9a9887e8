//! Parser events -> nodes -> values, as yaml/composer.py and yaml/constructor.py do: anchors, merge keys, duplicates.
use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};

use super::{
    Map, Node, Value, YamlError,
    scalar::{Tag, construct},
};

/// Most values of one document, aliases expanded.
pub(crate) const MAX_NODES: usize = 500_000;
/// Deepest nesting of one document; PyYAML's own limit is Python's recursion limit, some way above.
pub(crate) const MAX_DEPTH: usize = 200;

/// A node of the graph: an alias is the same index twice.
enum Raw {
    Scalar { tag: Option<Tag>, text: String },
    List { tag: Collection, items: Vec<usize> },
    Map { tag: Collection, pairs: Vec<(usize, usize)> },
}

#[derive(Clone, Copy, PartialEq)]
enum Collection {
    Plain,
    Set,
    Pairs,
    Unknown,
}

struct RawNode {
    raw: Raw,
    line: u32,
    column: u32,
    merged: bool,
}

struct Composer<'a, 'b> {
    parser: Parser<&'b mut &'a [u8]>,
    tabs: Option<Tabs<'a>>,
    /// where the text ends, when its last line end is ours
    ours: Option<u64>,
    nodes: Vec<RawNode>,
    anchors: HashMap<String, usize>,
}

/// Reads one document; `Ok(Null)` for an empty text.
pub fn parse(text: &[u8]) -> Result<Node, YamlError> {
    let text = std::str::from_utf8(text).map_err(|_| YamlError {
        line: 0,
        column: 0,
        problem: "the file is not UTF-8".into(),
    })?;
    // Python opens the file in text mode: \r\n and \r are line ends
    let text = if text.contains('\r') { &text.replace("\r\n", "\n").replace('\r', "\n") } else { text };
    check_printable(text)?;
    // the scanner panics where a block scalar ends with the file: it gets the line end, and the scalar loses it again
    let ours = text.lines().next_back().is_some_and(|line| !text.ends_with('\n') && !line.trim().is_empty());
    let text = if ours { &format!("{text}\n") } else { text };
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let tabs = text.contains('\t').then_some(Tabs { text, at: 0 });
    let ours = ours.then_some(text.len() as u64);
    let mut composer = Composer { parser, tabs, ours, nodes: Vec::new(), anchors: HashMap::new() };
    // the scanner itself panics on a few malformed texts; a wrong file must not take the edge down
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| composer.document()));
    let Some(root) = read.unwrap_or_else(|_| Err(problem(0, 0, "malformed in a way the scanner cannot name")))? else {
        return Ok(Node::new(Value::Null, 1));
    };
    let mut builder = Builder { nodes: composer.nodes, open: Vec::new(), built: 0 };
    builder.build(root, 0)
}

/// PyYAML's scanner takes a tab only within quoted and block scalars and in comments; libyaml also takes it as a blank.
struct Tabs<'a> {
    text: &'a str,
    /// up to where the text was looked at, bytes as in the events' marks
    at: usize,
}

impl Tabs<'_> {
    fn check(&mut self, event: &Event) -> Result<(), YamlError> {
        let within = matches!(&event.data, EventData::Scalar { style, .. } if *style != ScalarStyle::Plain);
        let (start, end) = (event.start_mark.index as usize, event.end_mark.index as usize);
        let gap = self.text.get(self.at..if within { start } else { end }).unwrap_or("");
        let mut comment = false;
        let mut before = ' ';
        for c in gap.chars() {
            comment = (comment || c == '#' && before.is_whitespace()) && c != '\n';
            if c == '\t' && !comment {
                let mark = &event.start_mark;
                return Err(problem(mark.line as u32 + 1, mark.column as u32 + 1, "a tab cannot separate values"));
            }
            before = c;
        }
        self.at = self.at.max(end);
        Ok(())
    }
}

/// PyYAML's reader refuses these before anything else.
fn check_printable(text: &str) -> Result<(), YamlError> {
    let printable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    match text.char_indices().find(|(_, c)| !printable(*c)) {
        None => Ok(()),
        Some((at, _)) => {
            let before = text.get(..at).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            Err(problem(line as u32, column as u32, "control characters are not allowed"))
        }
    }
}

fn problem(line: u32, column: u32, problem: impl Into<String>) -> YamlError {
    YamlError { line, column, problem: problem.into() }
}

impl Composer<'_, '_> {
    fn next(&mut self) -> Result<(EventData, u32, u32), YamlError> {
        match self.parser.parse() {
            Ok(mut event) => {
                if let EventData::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, value, .. } =
                    &mut event.data
                    && self.ours == Some(event.end_mark.index)
                {
                    value.truncate(value.strip_suffix('\n').unwrap_or(value).len());
                }
                if let Some(tabs) = &mut self.tabs {
                    tabs.check(&event)?;
                }
                Ok((event.data, event.start_mark.line as u32 + 1, event.start_mark.column as u32 + 1))
            }
            Err(error) => {
                let (line, column) =
                    error.problem_mark().map_or((0, 0), |mark| (mark.line as u32 + 1, mark.column as u32 + 1));
                Err(problem(line, column, scrub(&error.to_string())))
            }
        }
    }

    /// `get_single_node`: one document or none.
    fn document(&mut self) -> Result<Option<usize>, YamlError> {
        let mut root = None;
        loop {
            let (event, line, column) = self.next()?;
            match event {
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
                EventData::StreamEnd => return Ok(root),
                EventData::DocumentStart { .. } if root.is_some() => {
                    return Err(problem(line, column, "expected a single document, found another"));
                }
                EventData::DocumentStart { .. } => {
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                _ => return Err(problem(line, column, "unexpected content")),
            }
        }
    }

    fn node(&mut self, (event, line, column): (EventData, u32, u32), depth: usize) -> Result<usize, YamlError> {
        if depth > MAX_DEPTH {
            return Err(problem(line, column, "nested too deeply"));
        }
        match event {
            EventData::Alias { anchor } => self
                .anchors
                .get(&anchor)
                .copied()
                .ok_or_else(|| problem(line, column, "alias of an anchor that is not defined")),
            EventData::Scalar { anchor, tag, value, plain_implicit, .. } => {
                let tag = match tag.as_deref() {
                    None | Some("!") if plain_implicit => Some(Tag::implicit(&value)),
                    None | Some("!") => Some(Tag::Str),
                    Some(tag) => Tag::explicit(tag),
                };
                self.add(anchor, Raw::Scalar { tag, text: value }, line, column)
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let raw = Raw::List { tag: collection(tag.as_deref(), "seq"), items: Vec::new() };
                let id = self.add(anchor, raw, line, column)?;
                loop {
                    let item = self.next()?;
                    if item.0 == EventData::SequenceEnd {
                        return Ok(id);
                    }
                    let item = self.node(item, depth + 1)?;
                    if let Some(RawNode { raw: Raw::List { items, .. }, .. }) = self.nodes.get_mut(id) {
                        items.push(item);
                    }
                }
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let raw = Raw::Map { tag: collection(tag.as_deref(), "map"), pairs: Vec::new() };
                let id = self.add(anchor, raw, line, column)?;
                loop {
                    let key = self.next()?;
                    if key.0 == EventData::MappingEnd {
                        return Ok(id);
                    }
                    let key = self.node(key, depth + 1)?;
                    let value = self.next()?;
                    let value = self.node(value, depth + 1)?;
                    if let Some(RawNode { raw: Raw::Map { pairs, .. }, .. }) = self.nodes.get_mut(id) {
                        pairs.push((key, value));
                    }
                }
            }
            _ => Err(problem(line, column, "unexpected end of the document")),
        }
    }

    fn add(&mut self, anchor: Option<String>, raw: Raw, line: u32, column: u32) -> Result<usize, YamlError> {
        let id = self.nodes.len();
        if id >= MAX_NODES {
            return Err(problem(line, column, "too many values"));
        }
        self.nodes.push(RawNode { raw, line, column, merged: false });
        match anchor.map(|anchor| self.anchors.insert(anchor, id)) {
            Some(Some(_)) => Err(problem(line, column, "an anchor is defined twice")),
            _ => Ok(id),
        }
    }
}

fn collection(tag: Option<&str>, own: &str) -> Collection {
    match tag {
        None | Some("!") => Collection::Plain,
        Some(tag) => match tag.strip_prefix("tag:yaml.org,2002:") {
            Some(name) if name == own => Collection::Plain,
            Some("set") if own == "map" => Collection::Set,
            Some("omap" | "pairs") if own == "seq" => Collection::Pairs,
            _ => Collection::Unknown,
        },
    }
}

/// libyaml's messages carry no text of the file, but their own marks, which are given apart.
fn scrub(message: &str) -> String {
    let message = message.rsplit_once(": ").map_or(message, |(_, rest)| rest);
    message.split(" (line").next().unwrap_or(message).to_owned()
}

struct Builder {
    nodes: Vec<RawNode>,
    /// nodes being built: an alias to one of them is recursive
    open: Vec<usize>,
    built: usize,
}

impl Builder {
    fn build(&mut self, id: usize, depth: usize) -> Result<Node, YamlError> {
        let Some((line, column)) = self.nodes.get(id).map(|node| (node.line, node.column)) else {
            return Err(problem(0, 0, "unexpected end"));
        };
        self.built += 1;
        if self.built > MAX_NODES || depth > MAX_DEPTH {
            return Err(problem(line, column, "aliases expand to too many values"));
        }
        if self.open.contains(&id) {
            return Err(problem(line, column, "an alias refers to a value it is part of"));
        }
        self.open.push(id);
        let value = self.value(id, line, column, depth);
        self.open.pop();
        Ok(Node::new(value?, line))
    }

    fn value(&mut self, id: usize, line: u32, column: u32, depth: usize) -> Result<Value, YamlError> {
        let undefined = || problem(line, column, "a tag that has no meaning here");
        self.flatten(id, depth)?;
        let (tag, pairs) = match self.nodes.get(id).map(|node| &node.raw) {
            Some(Raw::Scalar { tag, text }) => {
                let tag = tag.ok_or_else(undefined)?;
                return construct(tag, text).map_err(|why| problem(line, column, why));
            }
            Some(Raw::List { tag, items }) => {
                let (tag, items) = (*tag, items.clone());
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.build(item, depth + 1)?);
                }
                return match tag {
                    Collection::Plain => Ok(Value::List(list)),
                    Collection::Pairs if list.iter().all(|item| one_pair(&item.value)) => {
                        Ok(Value::Opaque("ordered pairs"))
                    }
                    _ => Err(undefined()),
                };
            }
            Some(Raw::Map { tag, pairs }) => (*tag, pairs.clone()),
            None => return Err(undefined()),
        };
        let mut map = DictBuilder::default();
        for (key, value) in pairs {
            let key = self.build(key, depth + 1)?;
            if matches!(key.value, Value::List(_) | Value::Map(_) | Value::Opaque(_)) {
                return Err(problem(key.line, column, "a list or mapping cannot be a key"));
            }
            let value = self.build(value, depth + 1)?;
            map.insert(key, value);
        }
        match tag {
            Collection::Plain => Ok(Value::Map(map.map)),
            Collection::Set => Ok(Value::Opaque("set")),
            _ => Err(undefined()),
        }
    }

    /// `flatten_mapping`: replaces `<<` by the pairs it names, before the mapping's own; `=` as a key is a string.
    fn flatten(&mut self, id: usize, depth: usize) -> Result<(), YamlError> {
        let (line, column, pairs) = match self.nodes.get_mut(id) {
            Some(RawNode { raw: Raw::Map { pairs, .. }, line, column, merged }) if !*merged => {
                *merged = true;
                (*line, *column, pairs.clone())
            }
            _ => return Ok(()),
        };
        if depth > MAX_DEPTH {
            return Err(problem(line, column, "nested too deeply"));
        }
        let (mut merge, mut own) = (Vec::new(), Vec::new());
        for (key, value) in pairs {
            match self.nodes.get_mut(key).map(|node| &mut node.raw) {
                Some(Raw::Scalar { tag: Some(Tag::Merge), .. }) => {}
                Some(Raw::Scalar { tag: tag @ Some(Tag::Equals), .. }) => {
                    *tag = Some(Tag::Str);
                    own.push((key, value));
                    continue;
                }
                _ => {
                    own.push((key, value));
                    continue;
                }
            }
            let sources = match self.nodes.get(value).map(|node| &node.raw) {
                Some(Raw::Map { .. }) => vec![value],
                Some(Raw::List { items, .. }) => items.iter().rev().copied().collect(),
                _ => return Err(problem(line, column, "`<<` needs a mapping or a list of mappings")),
            };
            for source in sources {
                self.flatten(source, depth + 1)?;
                match self.nodes.get(source).map(|node| &node.raw) {
                    Some(Raw::Map { pairs, .. }) => merge.extend(pairs.iter().copied()),
                    _ => return Err(problem(line, column, "`<<` needs a mapping or a list of mappings")),
                }
                if merge.len() > MAX_NODES {
                    return Err(problem(line, column, "merge keys expand to too many values"));
                }
            }
        }
        merge.append(&mut own);
        if let Some(RawNode { raw: Raw::Map { pairs, .. }, .. }) = self.nodes.get_mut(id) {
            *pairs = merge;
        }
        Ok(())
    }
}

fn one_pair(value: &Value) -> bool {
    value.as_map().is_some_and(|map| map.entries.len() == 1)
}

/// A dict under construction: string keys by hash, so that a huge mapping stays linear.
#[derive(Default)]
struct DictBuilder {
    map: Map,
    at: HashMap<String, usize>,
}

impl DictBuilder {
    fn insert(&mut self, key: Node, value: Node) {
        let place = match &key.value {
            Value::Str(name) => match self.at.entry(name.clone()) {
                std::collections::hash_map::Entry::Occupied(old) => Some(*old.get()),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(self.map.entries.len());
                    None
                }
            },
            other => self.map.entries.iter().position(|(k, _)| k.value.same_key(other)),
        };
        match place.and_then(|at| self.map.entries.get_mut(at)) {
            Some((_, old)) => *old = value,
            None => self.map.entries.push((key, value)),
        }
    }
}
