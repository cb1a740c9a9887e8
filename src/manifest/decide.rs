//! The decision who serves a request. Pure: no I/O, the clock and the switch are arguments. Every reason why Python
//! serves is a word of one closed list.
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Method;

use super::{
    gate::Verdict,
    matcher::{Entry, Manifest},
    pattern,
    schema::{Canary, CanaryKey, Mode},
    version::PythonVersion,
};
use crate::routes::{NativeRoute, PathParams};

macro_rules! reasons {
    ($($variant:ident = $name:literal, $why:literal;)*) => {
        /// Why the manifest gives a request to Python.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum PythonReason { $(#[doc = $why] $variant,)* }

        impl PythonReason {
            pub const ALL: &'static [PythonReason] = &[$(PythonReason::$variant,)*];

            /// The name in metrics, logs and reports.
            pub fn as_str(self) -> &'static str {
                match self { $(PythonReason::$variant => $name,)* }
            }

            /// One line for people.
            pub fn why(self) -> &'static str {
                match self { $(PythonReason::$variant => $why,)* }
            }
        }
    };
}

reasons! {
    Unlisted = "unlisted", "no entry of routes.toml matches";
    WrongMethod = "wrong_method", "an entry matches the path but not with this method";
    Mode = "mode", "the entry's mode is python";
    NoNativeHandler = "no_native_handler", "the edge has no native route for this id, method and path";
    Path = "path", "the raw path has an escape, an empty or dot segment or another character only Python decodes";
    KillSwitch = "killswitch", "the kill switch sends everything to Python";
    NoEvidence = "no_evidence", "the parity suite has left no evidence for this route";
    StaleEvidence = "stale_evidence", "the route's evidence is not green, not of this build or too old";
    Version = "version", "the Python gateway's version is outside of [python] versions";
    Canary = "canary", "this caller is not in the canary's share";
}

impl std::fmt::Display for PythonReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a canary may choose by. Borrowed for the decision, never kept.
#[derive(Clone, Copy, Default)]
pub struct Caller<'a> {
    /// the key as the client sent it
    pub key: Option<&'a [u8]>,
    pub ip: Option<IpAddr>,
    /// any number, new for each request
    pub random: u64,
}

/// Everything a decision depends on besides the manifest.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub method: &'a Method,
    /// raw, without the query
    pub path: &'a str,
    pub caller: Caller<'a>,
    pub now: SystemTime,
    /// the kill switch
    pub all_python: bool,
    pub python: PythonVersion,
}

/// Who serves.
#[derive(Clone)]
pub enum Side {
    Python {
        reason: PythonReason,
    },
    /// Native unless admission declines.
    Native {
        route: &'static NativeRoute,
        params: Arc<PathParams>,
    },
}

/// Who serves a request, and under which name it is counted.
#[derive(Clone)]
pub struct Decision {
    /// the entry's id; [`OTHER`] where none matches
    pub route_id: Arc<str>,
    /// the matched entry, with its providers and what it accepts
    pub entry: Option<Arc<Entry>>,
    pub side: Side,
}

impl Decision {
    /// The reason where Python serves.
    pub fn python_reason(&self) -> Option<PythonReason> {
        match &self.side {
            Side::Python { reason } => Some(*reason),
            Side::Native { .. } => None,
        }
    }
}

/// The route label of requests that no entry matches.
pub const OTHER: &str = "other";

/// Decides. The order of the checks is the order in which an operator would ask.
pub fn decide(manifest: &Manifest, ask: &Ask<'_>) -> Decision {
    let hit = manifest.find(ask.method, ask.path);
    let Some(entry) = hit.entry else {
        let side = Side::Python { reason: PythonReason::Unlisted };
        return Decision { route_id: Arc::clone(&manifest.other), entry: None, side };
    };
    let side = match side(entry, &hit, ask, manifest) {
        Ok((route, params)) => Side::Native { route, params },
        Err(reason) => Side::Python { reason },
    };
    Decision { route_id: Arc::clone(&entry.id), entry: Some(Arc::clone(entry)), side }
}

fn side(
    entry: &Entry,
    hit: &super::matcher::Hit<'_>,
    ask: &Ask<'_>,
    manifest: &Manifest,
) -> Result<(&'static NativeRoute, Arc<PathParams>), PythonReason> {
    if hit.wrong_method {
        return Err(PythonReason::WrongMethod);
    }
    if entry.route.mode == Mode::Python {
        return Err(PythonReason::Mode);
    }
    if !hit.plain {
        return Err(PythonReason::Path);
    }
    let native = entry.native.as_ref().ok_or(PythonReason::NoNativeHandler)?;
    let params = native.params(ask.method, ask.path, hit.params).ok_or(PythonReason::NoNativeHandler)?;
    if let Some(reason) = blocked(entry, ask.now, ask.all_python, ask.python, manifest) {
        return Err(reason);
    }
    match entry.route.canary {
        Some(canary) if entry.route.mode == Mode::Canary && !chosen(&canary, &entry.id, &ask.caller) => {
            Err(PythonReason::Canary)
        }
        _ => Ok((native.row, params)),
    }
}

/// What keeps the whole route in Python, whatever the request.
pub(super) fn blocked(
    entry: &Entry,
    now: SystemTime,
    all_python: bool,
    python: PythonVersion,
    manifest: &Manifest,
) -> Option<PythonReason> {
    if entry.route.mode == Mode::Python {
        return Some(PythonReason::Mode);
    }
    if entry.native.is_none() {
        return Some(PythonReason::NoNativeHandler);
    }
    if all_python {
        return Some(PythonReason::KillSwitch);
    }
    match entry.evidence.verdict(now) {
        Verdict::Fresh => {}
        _ if manifest.ungated => {}
        Verdict::Missing => return Some(PythonReason::NoEvidence),
        _ => return Some(PythonReason::StaleEvidence),
    }
    (!manifest.file.versions.admits(python)).then_some(PythonReason::Version)
}

/// Whether a caller is in the canary's share. The share of 5 % is part of the share of 10 %.
pub fn chosen(canary: &Canary, route_id: &str, caller: &Caller<'_>) -> bool {
    const STEPS: u64 = 10_000;
    let hash = match canary.key {
        CanaryKey::VirtualKey => caller.key.map(|key| hash(route_id, key)),
        CanaryKey::Ip => caller.ip.map(|ip| match ip {
            IpAddr::V4(ip) => hash(route_id, &ip.octets()),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => hash(route_id, &ip.octets()),
                None => hash(route_id, &ip.octets()),
            },
        }),
        CanaryKey::Random => Some(mix(caller.random)),
    };
    hash.is_some_and(|hash| ((hash % STEPS) as f64) < canary.percent * 100.0)
}

/// Salted by the route, so that two canaries do not choose the same callers. The same in every process and release:
/// a caller keeps its side across replicas and restarts. FNV-1a 64, then murmur3's finalizer for even low bits.
fn hash(salt: &str, material: &[u8]) -> u64 {
    let bytes = b"litellm-rust canary\0".iter().chain(salt.as_bytes()).chain([0].iter()).chain(material);
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
}

fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Age in words for people: `3d`, `2h`, `5m`.
pub fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Whether a raw path can be native at all; see [`pattern::is_plain`].
pub fn is_plain(path: &str) -> bool {
    pattern::is_plain(path)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
