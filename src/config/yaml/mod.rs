//! YAML exactly as PyYAML's `safe_load` reads it: YAML 1.1 scalars, merge keys, last duplicate wins. Owns the value
//! type with line marks. It must never resolve `os.environ/`, never know LiteLLM's keys, and never expand without bound.
//!
//! Deliberate differences from PyYAML, each only where a file is hostile: recursive aliases, more than
//! [`compose::MAX_NODES`] nodes after alias expansion and nesting over [`compose::MAX_DEPTH`] are refused.
mod compose;
mod python;
mod scalar;

pub use compose::parse;

/// A value with the line (1-based) it starts on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub line: u32,
    /// which of the files read; the reader of several files sets it
    pub file: u16,
}

/// What PyYAML would construct.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// an integer beyond 128 bits, in decimal digits
    BigInt(String),
    Float(f64),
    Str(String),
    /// `datetime.date` / `datetime.datetime`, as Python's `str()` writes it
    Time(String),
    Bytes(Vec<u8>),
    List(Vec<Node>),
    Map(Map),
    /// `!!set`, `!!omap`, `!!pairs`: accepted, content of no use here
    Opaque(&'static str),
}

/// A mapping in Python's `dict` order: position of the first, value of the last duplicate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    pub entries: Vec<(Node, Node)>,
}

/// Why a text is no YAML document that PyYAML would load. Never holds a value of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct YamlError {
    /// 1-based; 0 where the whole text is meant
    pub line: u32,
    pub column: u32,
    pub problem: String,
}

impl Map {
    /// The value of a string key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(k, _)| matches!(&k.value, Value::Str(name) if name == key)).map(|(_, v)| v)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(k, _)| matches!(&k.value, Value::Str(name) if name == key)).map(|(_, v)| v)
    }

    /// Sets a key as a Python dict does: an old key keeps its place.
    pub fn insert(&mut self, key: Node, value: Node) {
        match self.entries.iter_mut().find(|(k, _)| k.value.same_key(&value_key(&key))) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(k, _)| matches!(&k.value, Value::Str(name) if name == key))?;
        Some(self.entries.remove(at).1)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries in order; keys as Python's `str()` writes them.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Node)> {
        self.entries.iter().map(|(k, v)| (k.value.python_str(), v))
    }
}

fn value_key(node: &Node) -> Value {
    node.value.clone()
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number as Python's `float()` would see an int or a float (booleans are numbers in Python, not here).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Python's truth of the value.
    pub fn truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::BigInt(_) | Value::Time(_) | Value::Opaque(_) => true,
        }
    }

    /// The shape, for messages that must not show the value.
    pub fn shape(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::BigInt(_) => "integer",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::Time(_) => "timestamp",
            Value::Bytes(_) => "binary",
            Value::List(_) => "list",
            Value::Map(_) => "mapping",
            Value::Opaque(kind) => kind,
        }
    }

    /// Equality of dict keys in Python: `1 == 1.0 == True`.
    fn same_key(&self, other: &Value) -> bool {
        fn number(value: &Value) -> Option<f64> {
            match value {
                Value::Bool(value) => Some(f64::from(u8::from(*value))),
                Value::Int(value) if value.unsigned_abs() < (1 << 53) => Some(*value as f64),
                Value::Float(value) => Some(*value),
                _ => None,
            }
        }
        match (number(self), number(other)) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }
}

impl Node {
    pub fn new(value: Value, line: u32) -> Self {
        Self { value, line, file: 0 }
    }

    /// Sets the file of this value and everything in it.
    pub fn set_file(&mut self, file: u16) {
        self.file = file;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.set_file(file)),
            Value::Map(map) => map.entries.iter_mut().for_each(|(key, value)| {
                key.set_file(file);
                value.set_file(file);
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
