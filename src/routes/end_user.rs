//! What holds for the end user that a call names, as far as it is in memory. Pure but for that look; who is not in memory
//! is read by the edge, once, before the call is admitted again.
use super::{Call, native::Fetched};
use crate::auth::{Named, Standing};

/// `None`: it must be read first. Without a database LiteLLM knows no end user.
pub(super) fn standing(call: &Call, named: &Named) -> Option<Standing> {
    let Some(id) = named.end_user.as_deref().filter(|_| call.snapshot.settings.has_database) else {
        return Some(Standing::Unrestricted);
    };
    match &call.fetched {
        Some(Fetched::EndUser(standing)) => Some(standing.clone()),
        _ => call.services.control.directory.end_users.known(id),
    }
}

/// Reads what [`standing`] did not know. LiteLLM's time to live holds, as for keys.
pub async fn read(call: &Call, id: &str) -> Standing {
    let snapshot = &call.snapshot;
    match &snapshot.database_url {
        Some(url) => call.services.control.directory.end_users.find(url, id, snapshot.settings.key_ttl).await,
        None => Standing::Unreadable,
    }
}
