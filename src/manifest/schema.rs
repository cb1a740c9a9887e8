//! Reads routes.toml: every key and value is checked against the table in `keys`, all findings are reported at once
//! with their line and a hint, and only a file without any becomes a [`RoutesFile`]. No I/O, no environment.
use std::{collections::HashMap, fmt, ops::Range, time::Duration};

use http::Method;
use time::Date;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{self, Key, Kind},
    pattern::Pattern,
    values,
    version::VersionRange,
};

/// How a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Python,
    Canary,
    Native,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Python => "python",
            Mode::Canary => "canary",
            Mode::Native => "native",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Mode::Python, Mode::Canary, Mode::Native].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What decides on which side of a canary a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryKey {
    VirtualKey,
    Ip,
    Random,
}

impl CanaryKey {
    pub fn as_str(self) -> &'static str {
        match self {
            CanaryKey::VirtualKey => "virtual_key",
            CanaryKey::Ip => "ip",
            CanaryKey::Random => "random",
        }
    }
}

/// The share of mode `canary`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// 0 to 100
    pub percent: f64,
    pub key: CanaryKey,
}

/// One `[[route.tolerate]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tolerate {
    pub what: String,
    pub why: String,
    /// the last day on which it is tolerated
    pub until: Date,
    pub line: usize,
}

/// One path of an entry and where it stands.
#[derive(Debug, Clone)]
pub struct PathLine {
    pub pattern: Pattern,
    pub line: usize,
}

/// One `[[route]]`.
#[derive(Debug, Clone)]
pub struct RouteEntry {
    pub id: String,
    pub line: usize,
    /// `None`: every method
    pub methods: Option<Vec<Method>>,
    pub paths: Vec<PathLine>,
    pub mode: Mode,
    pub canary: Option<Canary>,
    /// `None`: every provider the native route supports
    pub providers: Option<Vec<String>>,
    pub accept: Vec<String>,
    pub owner: Option<String>,
    pub tolerate: Vec<Tolerate>,
}

/// A valid routes.toml with its defaults filled in.
#[derive(Debug, Clone)]
pub struct RoutesFile {
    pub python_url: Option<String>,
    pub versions: VersionRange,
    /// as written; relative to the file's folder
    pub evidence: String,
    pub max_age: Duration,
    /// as written; relative to the file's folder
    pub switch_file: Option<String>,
    pub routes: Vec<RouteEntry>,
}

/// One thing that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// as the caller named the file
    pub file: String,
    /// from 1
    pub line: usize,
    /// `route[2].match.paths`; empty for the file as a whole
    pub key: String,
    pub message: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the file, in order of lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SchemaErrors(pub Vec<SchemaError>);

impl fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Reads a whole file; `name` is how messages call it.
pub fn parse(name: &str, text: &str) -> Result<RoutesFile, SchemaErrors> {
    let mut reader = Reader { name, text, errors: Vec::new() };
    let (root, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let at = error.span().map_or(0, |span| span.start);
        reader.push(at, String::new(), format!("not TOML: {}", error.message()));
    }
    // a file that is no TOML is only reported as such: what follows from the recovery is guesswork
    if broken.is_empty() {
        reader.table(root.get_ref(), keys::ROOT, "", 0);
    }
    if reader.errors.is_empty()
        && let Some(file) = reader.file(root.get_ref())
        && reader.errors.is_empty()
    {
        return Ok(file);
    }
    // by place: tables are walked in the order of their names
    reader.errors.sort_by_key(|(at, _)| *at);
    Err(SchemaErrors(reader.errors.into_iter().map(|(_, error)| error).collect()))
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    /// with its offset in the text
    errors: Vec<(usize, SchemaError)>,
}

impl Reader<'_> {
    fn push(&mut self, at: usize, key: String, message: String) {
        let line = self.line(at);
        self.errors.push((at, SchemaError { file: self.name.to_owned(), line, key, message }));
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    /// Checks one table against its keys.
    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str, at: usize) {
        for (name, value) in table.iter() {
            let full = join(path, name.get_ref());
            match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(value, key.kind, &full),
                None => {
                    let message = unknown("key", name.get_ref(), keys.iter().map(|key| key.name));
                    self.push(name.span().start, full, message);
                }
            }
        }
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = format!("missing: write {}", values::example(key));
            self.push(at, join(path, key.name), message);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, kind: Kind, path: &str) {
        let span: Range<usize> = value.span();
        match kind {
            Kind::Table(keys) => match value.get_ref().as_table() {
                Some(table) => self.table(table, keys, path, span.start),
                None => self.wrong(value, path, "a table"),
            },
            Kind::Tables(keys) => match value.get_ref().as_array() {
                Some(array) => {
                    for (index, item) in array.iter().enumerate() {
                        let path = format!("{path}[{index}]");
                        match item.get_ref().as_table() {
                            Some(table) => self.table(table, keys, &path, item.span().start),
                            None => self.wrong(item, &path, "a table"),
                        }
                    }
                }
                None => self.wrong(value, path, &format!("an array of tables: [[{path}]]")),
            },
            Kind::Choices(words) => self.list(value, path, &mut |text| values::choice(text, words)),
            Kind::Methods => self.list(value, path, &mut |text| values::choice(text, keys::METHODS)),
            Kind::Paths => self.list(value, path, &mut |text| Pattern::parse(text).map(drop)),
            _ => {
                if let Err(message) = values::check(value.get_ref(), kind) {
                    self.push(span.start, path.to_owned(), message);
                }
            }
        }
    }

    /// A list of texts, not empty, without duplicates.
    fn list(&mut self, value: &Spanned<DeValue<'_>>, path: &str, check: &mut dyn FnMut(&str) -> Result<(), String>) {
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong(value, path, "a list of texts");
        };
        if array.is_empty() {
            self.push(
                value.span().start,
                path.to_owned(),
                "an empty list says nothing: fill it or leave the key out".to_owned(),
            );
        }
        let mut seen = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(text) = item.get_ref().as_str() else {
                self.wrong(item, &path, "a text");
                continue;
            };
            if let Err(message) = check(text) {
                self.push(item.span().start, path, message);
            } else if seen.contains(&text) {
                self.push(item.span().start, path, format!("`{text}` stands twice in the list"));
            }
            seen.push(text);
        }
    }

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, path: &str, right: &str) {
        let message = format!("must be {right}, is {}", values::name(value.get_ref()));
        self.push(value.span().start, path.to_owned(), message);
    }

    /// Builds the file from a table that has passed the check; what only whole entries can tell is checked here.
    fn file(&mut self, root: &DeTable<'_>) -> Option<RoutesFile> {
        let python = sub(root, "python");
        let gate = sub(root, "gate");
        let versions = python.and_then(|table| text(table, "versions")).unwrap_or(values::VERSIONS);
        let max_age = gate.and_then(|table| text(table, "max_age")).unwrap_or(values::MAX_AGE);
        let mut file = RoutesFile {
            python_url: python.and_then(|table| text(table, "url")).map(str::to_owned),
            versions: VersionRange::parse(versions)?,
            evidence: gate.and_then(|table| text(table, "evidence")).unwrap_or(values::EVIDENCE).to_owned(),
            max_age: values::duration(max_age)?,
            switch_file: sub(root, "switch").and_then(|table| text(table, "file")).map(str::to_owned),
            routes: Vec::new(),
        };
        let routes = root.get("route").and_then(|value| value.get_ref().as_array());
        let mut ids: HashMap<String, usize> = HashMap::new();
        for (index, item) in routes.into_iter().flat_map(|array| array.iter()).enumerate() {
            let table = item.get_ref().as_table()?;
            let route = self.route(table, index)?;
            if let Some(first) = ids.insert(route.id.clone(), route.line) {
                let message = format!("the id `{}` stands already on line {first}", route.id);
                let at = table.get("id").map_or(0, |id| id.span().start);
                self.push(at, format!("route[{index}].id"), message);
            }
            file.routes.push(route);
        }
        Some(file)
    }

    fn route(&mut self, table: &DeTable<'_>, index: usize) -> Option<RouteEntry> {
        let matching = sub(table, "match")?;
        let mode = Mode::from_word(text(table, "mode")?)?;
        let canary = match sub(table, "canary") {
            None => None,
            Some(canary) => Some(Canary {
                percent: values::number(canary.get("percent")?.get_ref())?,
                key: match text(canary, "key") {
                    Some("ip") => CanaryKey::Ip,
                    Some("random") => CanaryKey::Random,
                    _ => CanaryKey::VirtualKey,
                },
            }),
        };
        if mode == Mode::Canary && canary.is_none() {
            let at = table.get("mode")?.span().start;
            let message = "mode `canary` needs the share: write canary = { percent = 5, key = \"ip\" }".to_owned();
            self.push(at, format!("route[{index}].canary"), message);
        }
        let paths = items(matching, "paths")
            .filter_map(|(text, at)| Some(PathLine { pattern: Pattern::parse(text).ok()?, line: self.line(at) }))
            .collect();
        let tolerate = table.get("tolerate").and_then(|value| value.get_ref().as_array());
        let tolerate = tolerate
            .into_iter()
            .flat_map(|array| array.iter())
            .filter_map(|item| {
                let table = item.get_ref().as_table()?;
                Some(Tolerate {
                    what: text(table, "what")?.to_owned(),
                    why: text(table, "why")?.to_owned(),
                    until: values::date(table.get("until")?.get_ref())?,
                    line: self.line(table.get("what")?.span().start),
                })
            })
            .collect();
        let list = |table, name| items(table, name).map(|(text, _)| text.to_owned()).collect::<Vec<_>>();
        Some(RouteEntry {
            id: text(table, "id")?.to_owned(),
            line: self.line(table.get("id")?.span().start),
            methods: matching
                .contains_key("methods")
                .then(|| items(matching, "methods").filter_map(|(text, _)| text.parse().ok()).collect()),
            paths,
            mode,
            canary,
            providers: table.contains_key("providers").then(|| list(table, "providers")),
            accept: list(table, "accept"),
            owner: text(table, "owner").map(str::to_owned),
            tolerate,
        })
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `unknown key; did you mean `mode`?`, or what there is.
pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match values::nearest(word, &known) {
        Some(near) => format!("unknown {what} `{word}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`; there is {}", values::enumerate(&known)),
    }
}

fn sub<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t DeTable<'i>> {
    table.get(name)?.get_ref().as_table()
}

fn text<'t>(table: &'t DeTable<'_>, name: &str) -> Option<&'t str> {
    table.get(name)?.get_ref().as_str()
}

/// The texts of a list and where each stands.
fn items<'t>(table: &'t DeTable<'_>, name: &str) -> impl Iterator<Item = (&'t str, usize)> {
    let array = table.get(name).and_then(|value| value.get_ref().as_array());
    array
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(|item| Some((item.get_ref().as_str()?, item.span().start)))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
