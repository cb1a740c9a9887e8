//! Who is calling, from the head alone. In this version only the master key is known here; every other caller is
//! declined to Python before any body byte is read. It must never log a key.
use crate::{
    config::Snapshot,
    faults::fault,
    routes::{Decline, Head},
};

/// An identified caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// LiteLLM's PROXY_ADMIN by master key
    Master,
}

/// The headers LiteLLM takes a key from, first present wins (proxy/auth/user_api_key_auth.py `get_api_key`).
const RAW_KEY_HEADERS: [&str; 4] = ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

/// Finds the caller, or says why Python must.
pub fn identify(head: &Head, snapshot: &Snapshot) -> Result<Caller, Decline> {
    let Some(master) = &snapshot.master_key else { return Err(Decline::MasterKeyUnset) };
    if snapshot.settings.key_header_name.is_some() {
        return Err(Decline::CustomAuth);
    }
    let key = presented_key(head)?;
    if fault!(KeyInLog) {
        tracing::info!(key, "a key");
    }
    // Python compares str by `secrets.compare_digest`, which refuses non-ASCII
    if key.is_ascii() && (master.matches(key) || fault!(KeyNotChecked)) {
        Ok(Caller::Master)
    } else {
        Err(Decline::VirtualKey)
    }
}

/// The key by LiteLLM's precedence. Anything unusual (twice the same header, another scheme) is Python's to judge.
fn presented_key(head: &Head) -> Result<&str, Decline> {
    let single = |name: &str| -> Result<Option<&str>, Decline> {
        match head.headers.get_all(name).iter().count() {
            0 => Ok(None),
            1 => head.header(name).map(Some).ok_or(Decline::NoKey),
            _ => Err(Decline::NoKey),
        }
    };
    if let Some(value) = single("x-litellm-api-key")? {
        // LiteLLM strips a prefix here; only the plain and the `Bearer ` form are taken natively
        return match value.strip_prefix("Bearer ").unwrap_or(value) {
            "" => Err(Decline::NoKey),
            key => Ok(key),
        };
    }
    if let Some(value) = single("authorization")?.filter(|value| !value.is_empty()) {
        return match value.strip_prefix("Bearer ") {
            Some(key) if !key.is_empty() && !key.contains("Bearer ") => Ok(key),
            _ => Err(Decline::NoKey),
        };
    }
    for name in RAW_KEY_HEADERS {
        if let Some(value) = single(name)? {
            return if value.is_empty() { Err(Decline::NoKey) } else { Ok(value) };
        }
    }
    Err(Decline::NoKey)
}
