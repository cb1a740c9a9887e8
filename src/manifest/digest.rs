//! Digests that tie evidence to what it was made with: the cases of a route and the programs of its clients, the tolerated
//! list, the reference configuration. The suite writes them, the gate compares them; both must call these functions and no others.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Digest of everything this binary was built from (see build.rs).
pub const SOURCE_DIGEST: &str = env!("LITELLM_RUST_SOURCE_DIGEST");

/// The digest of a file that does not exist; never equal to that of an empty one.
const ABSENT: &str = "absent";

/// Folders deeper than this are an error: a link that leads back to its parent must not hang the gate.
const MAX_DEPTH: usize = 16;

/// The three digests of one route's evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteDigests {
    pub cases: String,
    pub tolerated: String,
    pub reference_config: String,
}

/// All three for `route`, read from the suite's folder (`parity-tests`).
pub fn suite(parity_tests: &Path, route: &str) -> io::Result<SuiteDigests> {
    Ok(SuiteDigests {
        cases: cases(parity_tests, route)?,
        tolerated: tolerated(parity_tests)?,
        reference_config: reference_config(parity_tests)?,
    })
}

/// Of `cases/<route>/**`, and of `clients/**`, the programs that make the calls of cases with real clients and the lists
/// that pin their SDKs.
pub fn cases(parity_tests: &Path, route: &str) -> io::Result<String> {
    let clients = tree(&parity_tests.join("clients"))?;
    Ok(match tree(&parity_tests.join("cases").join(route))? {
        cases if cases == ABSENT || clients == ABSENT => cases,
        cases => bytes(format!("{cases}\n{clients}").as_bytes()),
    })
}

/// Hex sha256 over a folder: relative path (with `/`) and content of every file, in order of path.
fn tree(root: &Path) -> io::Result<String> {
    if !root.is_dir() {
        return Ok(ABSENT.to_owned());
    }
    let mut files = Vec::new();
    collect(root, String::new(), 0, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for (name, path) in files {
        let content = fs::read(path)?;
        // lengths first: no two different trees write the same bytes
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(&content);
    }
    Ok(hex(&hash.finalize()))
}

/// Hex sha256 of `tolerated.toml`.
pub fn tolerated(parity_tests: &Path) -> io::Result<String> {
    file(&parity_tests.join("tolerated.toml"))
}

/// Of `config.yaml`, the configuration both sides of the suite run with, and of `configs/**`, what single cases give
/// the edge instead.
pub fn reference_config(parity_tests: &Path) -> io::Result<String> {
    let main = python_config(parity_tests)?;
    match tree(&parity_tests.join("configs"))? {
        none if none == ABSENT => Ok(main),
        others => Ok(bytes(format!("{main}\n{others}").as_bytes())),
    }
}

/// Hex sha256 of `config.yaml`: the Python gateway's alone.
pub fn python_config(parity_tests: &Path) -> io::Result<String> {
    file(&parity_tests.join("config.yaml"))
}

/// Hex sha256 of bytes.
pub fn bytes(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn file(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(content) => Ok(bytes(&content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ABSENT.to_owned()),
        Err(error) => Err(error),
    }
}

fn collect(dir: &Path, prefix: String, depth: usize, into: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{} is nested too deep", dir.display())));
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let name = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() {
            collect(&path, format!("{name}/"), depth + 1, into)?;
        } else {
            into.push((name, path));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_case_changes_the_digest() {
        let dir = crate::manifest::testing::TempDir::new();
        let root = dir.path();
        assert_eq!(cases(root, "messages").unwrap(), ABSENT);
        fs::create_dir_all(root.join("cases/messages/deep")).unwrap();
        let empty = cases(root, "messages").unwrap();
        fs::write(root.join("cases/messages/a.yaml"), "x").unwrap();
        let one = cases(root, "messages").unwrap();
        fs::write(root.join("cases/messages/a.yaml"), "y").unwrap();
        let changed = cases(root, "messages").unwrap();
        fs::rename(root.join("cases/messages/a.yaml"), root.join("cases/messages/b.yaml")).unwrap();
        let renamed = cases(root, "messages").unwrap();
        fs::rename(root.join("cases/messages/b.yaml"), root.join("cases/messages/deep/b.yaml")).unwrap();
        let moved = cases(root, "messages").unwrap();
        fs::create_dir_all(root.join("clients")).unwrap();
        fs::write(root.join("clients/python_clients.py"), "1").unwrap();
        let with_clients = cases(root, "messages").unwrap();
        fs::write(root.join("clients/python_clients.py"), "2").unwrap();
        let other_program = cases(root, "messages").unwrap();
        fs::write(root.join("clients/requirements.txt"), "openai==1").unwrap();
        let other_sdk = cases(root, "messages").unwrap();
        assert_eq!(cases(root, "models").unwrap(), ABSENT, "a route without cases has none by its clients");
        let mut all = vec![empty, one, changed, renamed, moved, with_clients, other_program, other_sdk.clone()];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
        assert_eq!(cases(root, "messages").unwrap(), other_sdk, "the same tree digests alike");
    }

    #[test]
    fn an_absent_file_is_not_an_empty_one() {
        let dir = crate::manifest::testing::TempDir::new();
        assert_eq!(tolerated(dir.path()).unwrap(), ABSENT);
        fs::write(dir.path().join("tolerated.toml"), "").unwrap();
        assert_eq!(tolerated(dir.path()).unwrap(), bytes(b""));
        assert_eq!(bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(reference_config(dir.path()).unwrap(), ABSENT);
        fs::create_dir_all(dir.path().join("configs")).unwrap();
        let with_configs = reference_config(dir.path()).unwrap();
        assert_ne!(with_configs, ABSENT);
        fs::write(dir.path().join("configs/one.yaml"), "x").unwrap();
        assert_ne!(reference_config(dir.path()).unwrap(), with_configs);
        assert_eq!(python_config(dir.path()).unwrap(), ABSENT);
    }
}
