//! `include`: proxy/common_utils/config_includes.py. Pure but for the reader it is given.
use std::path::{Path, PathBuf};

use super::{
    load::ConfigError,
    yaml::{Map, Node, Value},
};

const KEY: &str = "include";

/// What reads and parses one file; `exists` decides between two candidate places.
pub(crate) trait Files {
    fn exists(&self, path: &Path) -> bool;
    fn read(&mut self, path: &Path) -> Result<Node, ConfigError>;
}

/// Merges every included file into `root`, breadth first; each location once.
pub(crate) fn resolve(root: Map, location: &Path, files: &mut dyn Files) -> Result<Map, ConfigError> {
    let mut pending = entries(&root, location)?;
    let mut merged = root;
    let mut loaded = vec![location.to_owned()];
    let mut at = 0;
    while let Some((entry, declared_in, line)) = pending.get(at).cloned() {
        at += 1;
        let path = place(&entry, &declared_in, location, files);
        if loaded.contains(&path) {
            continue;
        }
        if !files.exists(&path) {
            return Err(ConfigError::new(
                &declared_in,
                line,
                KEY,
                format!("the included file {entry:?} does not exist"),
            ));
        }
        let node = files.read(&path)?;
        let Value::Map(included) = node.value else {
            return Err(ConfigError::new(&path, node.line, "", "an included file must be a YAML mapping"));
        };
        pending.extend(entries(&included, &path)?);
        loaded.push(path);
        merge(&mut merged, included);
    }
    merged.remove(KEY);
    Ok(merged)
}

/// Lists are extended, everything else is replaced.
fn merge(base: &mut Map, included: Map) {
    for (key, value) in included.entries {
        if key.value.as_str() == Some(KEY) {
            continue;
        }
        let old = base.entries.iter_mut().find(|(k, _)| k.value == key.value);
        match (old, value.value) {
            (Some((_, Node { value: Value::List(items), .. })), Value::List(more)) => items.extend(more),
            (Some((_, old)), new) => *old = Node { value: new, ..value },
            (None, new) => base.entries.push((key, Node { value: new, ..value })),
        }
    }
}

fn entries(map: &Map, declared_in: &Path) -> Result<Vec<(String, PathBuf, u32)>, ConfigError> {
    let Some(node) = map.get(KEY) else { return Ok(Vec::new()) };
    let wrong = || ConfigError::new(declared_in, node.line, KEY, "must be a list of file paths");
    let items = node.value.as_list().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| Ok((item.value.as_str().ok_or_else(wrong)?.to_owned(), declared_in.to_owned(), item.line)))
        .collect()
}

/// Next to the declaring file; else, for old layouts, next to the root file.
fn place(entry: &str, declared_in: &Path, root: &Path, files: &dyn Files) -> PathBuf {
    let beside = |file: &Path| normal(&file.parent().unwrap_or(Path::new("/")).join(entry));
    let (declared, fallback) = (beside(declared_in), beside(root));
    if fallback == declared || !files.exists(&fallback) || files.exists(&declared) { declared } else { fallback }
}

/// `os.path.abspath` of an absolute path: `.` and `..` are taken out by text.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
