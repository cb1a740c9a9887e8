//! Embeds a digest of everything the binary is built from: evidence of a parity run counts only for the very
//! sources it was made with (see `parity::evidence`).
use std::{
    fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=data");
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let mut files = Vec::new();
    for root in ["src", "data"] {
        collect(Path::new(root), &mut files);
    }
    files.push("Cargo.toml".into());
    files.push("Cargo.lock".into());
    files.sort();
    // FNV-1a 64, twice with different seeds: no build dependency for a change detector
    let (mut a, mut b) = (0xcbf29ce484222325u64, 0x9ae16a3b2f90404fu64);
    for file in files {
        let Ok(content) = fs::read(&file) else { continue };
        let name = file.to_string_lossy().replace('\\', "/");
        for byte in name.bytes().chain([0]).chain(content).chain([0]) {
            a = (a ^ u64::from(byte)).wrapping_mul(0x100000001b3);
            b = (b ^ u64::from(byte)).wrapping_mul(0x100000001b3).rotate_left(5);
        }
    }
    // a build with faults in it is another program: no evidence of it counts for anything
    let faults = if std::env::var_os("CARGO_FEATURE_FAULTS").is_some() { "-faults" } else { "" };
    println!("cargo::rustc-env=LITELLM_RUST_SOURCE_DIGEST={a:016x}{b:016x}{faults}");
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}
