//! File -> [`Snapshot`] and [`Report`]: parse, include, resolve references, classify, build deployments. The only I/O
//! is reading the named files; the environment is passed in.
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{
    Report, Snapshot, Stored, assemble,
    env::{self, Env},
    include,
    yaml::{self, Node, Value},
};

/// A config file that LiteLLM would not start with. It names the place and the shape, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {key}{}{problem}", file.display(), if *line > 0 { format!(":{line}") } else { String::new() },
    if key.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    pub file: PathBuf,
    /// 1-based; 0 where the file as a whole is meant
    pub line: u32,
    /// dotted key path; may be empty
    pub key: String,
    /// what is wrong and what would be right
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, line: u32, key: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, key: key.to_owned(), problem: problem.into() }
    }
}

/// A loaded configuration and the files it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub snapshot: Snapshot,
    pub report: Report,
    /// every file read, the root file first, with the sha256 of its bytes
    pub files: Vec<(PathBuf, [u8; 32])>,
}

/// Largest config file; LiteLLM has no bound, but no real one comes near.
const MAX_BYTES: u64 = 64 << 20;

/// Reads `path` and what it includes. `env` is the process environment.
pub fn load(path: &Path, env: &Env) -> Result<Loaded, ConfigError> {
    load_with(path, env, None)
}

/// As [`load`], with what LiteLLM keeps in its database; it counts only where the file says that models are there.
pub fn load_with(path: &Path, env: &Env, stored: Option<&Stored>) -> Result<Loaded, ConfigError> {
    let mut disk = Disk::default();
    let absolute = include::normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let root = include::Files::read(&mut disk, &absolute)?;
    let Value::Map(root) = root.value else {
        let problem = format!("the file must be a mapping of sections, found {}", root.value.shape());
        return Err(ConfigError::new(&absolute, root.line, "", problem));
    };
    let mut root = include::resolve(root, &absolute, &mut disk)?;
    let files: Vec<PathBuf> = disk.read.iter().map(|(path, _)| path.clone()).collect();
    let mut env = env.clone();
    let mut missing = Vec::new();
    env::resolve(&mut root, &env, "", 0, &mut missing);
    if let Some(Value::Map(section)) = root.get("environment_variables").map(|node| &node.value) {
        // after the references were resolved, as in LiteLLM: they serve only later look-ups (`OPENAI_API_KEY`, ...)
        env::export(section, &mut env);
    }
    let mut digest = Sha256::new();
    for (_, file) in &disk.read {
        digest.update(file);
    }
    let mut report = Report { files, rows: Vec::new() };
    let snapshot = assemble::snapshot(&root, &env, &missing, stored, digest, &mut report)?;
    Ok(Loaded { snapshot, report, files: disk.read })
}

#[derive(Default)]
struct Disk {
    read: Vec<(PathBuf, [u8; 32])>,
}

impl include::Files for Disk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&mut self, path: &Path) -> Result<Node, ConfigError> {
        let unreadable = |why: &str| ConfigError::new(path, 0, "", format!("cannot be read: {why}"));
        let size = std::fs::metadata(path).map_err(|error| unreadable(&error.kind().to_string()))?.len();
        if size > MAX_BYTES || self.read.len() > usize::from(u16::MAX) {
            return Err(unreadable("too large"));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(&error.kind().to_string()))?;
        let file = self.read.len() as u16;
        self.read.push((path.to_owned(), Sha256::digest(&bytes).into()));
        let mut node = yaml::parse(&bytes).map_err(|error| {
            ConfigError::new(path, error.line, "", format!("column {}: {}", error.column, error.problem))
        })?;
        node.set_file(file);
        Ok(node)
    }
}
