//! Who is calling, and whether LiteLLM would let them in: the key out of the head ([`presented`]), its rows
//! ([`look_up`]), the ordered checks ([`checks`]). It must never log a key.
pub mod access;
mod allowed_routes;
pub mod checks;
pub mod directory;
mod fields;
pub mod hash;
pub mod invalidation;
pub mod limited;
mod metadata_words;
pub mod named;
pub mod named_rows;
pub mod presented;
pub mod record;
pub mod refusal;
mod tags;

pub use checks::{Request, Stop, judge, judge_info, judge_read};
pub use directory::{Ages, Directory, Found};
pub use hash::KeyHash;
pub use named::{Named, named};
pub use named_rows::{Kind, NamedRow, NamedRows, Standing};
pub use presented::Presented;
pub use record::Identity;
pub use refusal::Refusal;
pub use tags::Tags;

use std::sync::Arc;

use crate::{
    config::{Coordination, Snapshot},
    faults::fault,
    routes::{Decline, Head},
};

/// An identified caller.
#[derive(Debug, Clone)]
pub enum Caller {
    /// the route asks for nobody
    Nobody,
    /// LiteLLM's PROXY_ADMIN by master key
    Master,
    /// a virtual key, not yet judged
    Key(Arc<Identity>),
    /// a key of LiteLLM's form that no row has
    Unknown(KeyHash),
    /// no key, or none that could be looked up: [`judge`] says what LiteLLM answers
    Stranger,
}

/// What the head presents; cheap, and before any body byte is read. `Err`: how keys are checked is Python's.
pub fn present(head: &Head, snapshot: &Snapshot) -> Result<Presented, Decline> {
    let Some(master) = &snapshot.master_key else { return Err(Decline::MasterKeyUnset) };
    if snapshot.settings.key_header_name.is_some() {
        return Err(Decline::CustomAuth);
    }
    let presented = presented::presented(head, master);
    if fault!(KeyInLog) {
        tracing::info!(key = ?head.headers, "a key");
    }
    match presented {
        // it may be a session of the admin pages, which only Python can decrypt
        Presented::NotAKey { short: false, .. } if !fault!(KeyNotChecked) => Err(Decline::VirtualKey),
        _ if fault!(KeyNotChecked) => Ok(Presented::Master),
        presented => Ok(presented),
    }
}

/// [`present`] for routes that only the master key is served on.
pub fn identify(head: &Head, snapshot: &Snapshot) -> Result<Caller, Decline> {
    match present(head, snapshot)? {
        Presented::Master => Ok(Caller::Master),
        Presented::Missing | Presented::Malformed => Err(Decline::NoKey),
        Presented::Candidate { .. } | Presented::NotAKey { .. } => Err(Decline::VirtualKey),
    }
}

/// Looks up who presented a key. The one place where the request path waits for Postgres, and only for a key that was not
/// seen lately.
pub async fn look_up(head: &Head, snapshot: &Snapshot, directory: &Directory) -> Result<Caller, Decline> {
    let hash = match present(head, snapshot)? {
        Presented::Master => return Ok(Caller::Master),
        Presented::Candidate { hash, .. } if snapshot.settings.has_database => hash,
        _ => return Ok(Caller::Stranger),
    };
    // a caller whose spend could not be counted where and as the others count
    if matches!(snapshot.coordination, Coordination::Unsupported(_)) || snapshot.settings.other_books {
        return Err(Decline::VirtualKey);
    }
    let Some(url) = &snapshot.database_url else { return Err(Decline::VirtualKey) };
    match directory.find(url, hash, snapshot.settings.key_ttl).await {
        Found::Known(identity) => Ok(Caller::Key(identity)),
        Found::Unknown => Ok(Caller::Unknown(hash)),
        // LiteLLM's own 503, in its own words
        Found::Unavailable(_) => Err(Decline::VirtualKey),
    }
}
