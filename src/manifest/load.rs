//! Reads routes.toml and everything its gate depends on from disk. The only I/O of loading; all sizes are bounded.
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    digest::{self, SuiteDigests},
    gate::{Evidence, Expectations},
    matcher::Manifest,
    schema::{self, RoutesFile, SchemaErrors},
};
use crate::routes::NativeRoute;

/// A routes.toml or an evidence file larger than this is refused, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a routes.toml could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error(transparent)]
    Schema(#[from] SchemaErrors),
}

/// The paths that a routes.toml names, resolved against its own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub routes: PathBuf,
    pub evidence: PathBuf,
    pub switch_file: Option<PathBuf>,
}

impl Places {
    pub fn of(routes: &Path, file: &RoutesFile) -> Self {
        let folder = routes.parent().unwrap_or(Path::new(""));
        Self {
            routes: routes.to_owned(),
            evidence: folder.join(&file.evidence),
            switch_file: file.switch_file.as_ref().map(|path| folder.join(path)),
        }
    }

    /// The suite's folder, where it stands around the evidence.
    fn suite(&self) -> Option<&Path> {
        self.evidence.parent().filter(|folder| folder.join("cases").is_dir())
    }

    fn record(&self, route: &str) -> PathBuf {
        self.evidence.join(format!("{route}.json"))
    }
}

/// Reads, checks and compiles. `source_digest` is the running binary's.
pub fn load(
    routes: &Path,
    native: &'static [NativeRoute],
    source_digest: &str,
) -> Result<(Manifest, Places), ManifestError> {
    let text = read_text(routes)?;
    let file = schema::parse(&routes.display().to_string(), &text)?;
    let places = Places::of(routes, &file);
    let evidence = judge_all(&file, &places, native, source_digest);
    let missing = |route: &str| judge(route, Ok(None), None, &file, source_digest);
    let of = |route: &str| evidence.get(route).cloned().unwrap_or_else(|| missing(route));
    let manifest = Manifest::compile(file.clone(), digest::bytes(text.as_bytes()), native, &of);
    Ok((manifest, places))
}

/// [`load`], with the [`fingerprint`] of what was loaded: a change that happens meanwhile is found by the next look.
pub(super) fn load_marked(
    routes: &Path,
    native: &'static [NativeRoute],
    source_digest: &str,
) -> Result<(Manifest, Places, u64), ManifestError> {
    let (first, places) = load(routes, native, source_digest)?;
    let mark = fingerprint(&places, &first.file, native);
    // read again after the mark was taken: what is in force is never older than its mark
    let (manifest, places) = load(routes, native, source_digest)?;
    Ok((manifest, places, mark))
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let failed = |error| ManifestError::Io { path: path.display().to_string(), error };
    let bytes = read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")))
}

fn judge_all(
    file: &RoutesFile,
    places: &Places,
    native: &[NativeRoute],
    source_digest: &str,
) -> HashMap<String, Evidence> {
    let judged = native_ids(file, native).map(|id| {
        let bytes = match read(&places.record(id)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                tracing::warn!(route = id, %error, "evidence cannot be read");
                Err(())
            }
        };
        let suite = match places.suite().map(|folder| digest::suite(folder, id)) {
            None => Ok(None),
            Some(Ok(digests)) => Ok(Some(digests)),
            Some(Err(error)) => {
                tracing::warn!(route = id, %error, "the parity suite's files cannot be read");
                Err(())
            }
        };
        let evidence = match suite {
            Ok(suite) => judge(id, bytes, suite.as_ref(), file, source_digest),
            Err(()) => judge(id, Err(()), None, file, source_digest),
        };
        (id.to_owned(), evidence)
    });
    judged.collect()
}

fn judge(
    route: &str,
    bytes: Result<Option<Vec<u8>>, ()>,
    suite: Option<&SuiteDigests>,
    file: &RoutesFile,
    source_digest: &str,
) -> Evidence {
    let wanted = Expectations { route, source_digest, versions: &file.versions, max_age: file.max_age, suite };
    match &bytes {
        Ok(bytes) => Evidence::judge(Ok(bytes.as_deref()), &wanted),
        Err(()) => Evidence::judge(Err(()), &wanted),
    }
}

/// Ids of the file that have a native route: the others need no evidence.
fn native_ids<'f>(file: &'f RoutesFile, native: &'f [NativeRoute]) -> impl Iterator<Item = &'f str> {
    let ids = file.routes.iter().map(|route| route.id.as_str());
    ids.filter(|id| native.iter().any(|row| row.id == *id))
}

/// Changes when anything changes that [`load`] reads: routes.toml and evidence by content, the suite's files by size
/// and time.
pub(super) fn fingerprint(places: &Places, file: &RoutesFile, native: &[NativeRoute]) -> u64 {
    let mut hash = DefaultHasher::new();
    content(&places.routes, &mut hash);
    for id in native_ids(file, native) {
        content(&places.record(id), &mut hash);
        if let Some(suite) = places.suite() {
            stat_tree(&suite.join("cases").join(id), 0, &mut hash);
        }
    }
    if let Some(suite) = places.suite() {
        stat(&suite.join("tolerated.toml"), &mut hash);
        stat(&suite.join("config.yaml"), &mut hash);
        for folder in ["configs", "clients"] {
            stat_tree(&suite.join(folder), 0, &mut hash);
        }
    }
    hash.finish()
}

fn content(path: &Path, hash: &mut DefaultHasher) {
    read(path).map_err(|error| error.kind()).hash(hash);
}

/// Whether it is a folder.
fn stat(path: &Path, hash: &mut DefaultHasher) -> bool {
    let facts = fs::metadata(path).ok();
    let marks = facts.as_ref().map(|facts| (facts.len(), facts.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
    marks.hash(hash);
    facts.is_some_and(|facts| facts.is_dir())
}

fn stat_tree(folder: &Path, depth: usize, hash: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    // any order that does not change will do; names are compared faster than paths
    names.sort_unstable();
    for name in names {
        name.hash(hash);
        let path = folder.join(name);
        if stat(&path, hash) && depth < 16 {
            stat_tree(&path, depth + 1, hash);
        }
    }
}

/// Whether the kill-switch file asks for Python: it is there and does not say no.
pub fn switch_file_on(path: Option<&Path>) -> bool {
    let Some(path) = path else { return false };
    match read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase();
            !matches!(text.as_str(), "0" | "false" | "off" | "no")
        }
        // there but unreadable: somebody wanted it on
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
