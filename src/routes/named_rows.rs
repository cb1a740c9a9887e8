//! What holds for the end user and the tags that a call names, as far as it is in memory. Pure but for that look; what is
//! not in memory is read by the edge, once, before the call is admitted again.
use std::sync::Arc;

use super::{
    Call,
    native::{Fetched, Unread},
};
use crate::auth::{Kind, Named, NamedRow, NamedRows, Standing};

/// What holds for whatever a call names.
pub(super) struct Standings {
    pub end_user: Standing,
    /// of those tags that have something
    pub tags: Vec<Arc<NamedRow>>,
    /// LiteLLM may be able to read one that could not be read here
    pub unreadable_tag: bool,
}

/// `Err`: what must be read first. Without a database LiteLLM knows no end user and no tag.
pub(super) fn standings(call: &Call, named: &Named) -> Result<Standings, Unread> {
    let mut found = Standings { end_user: Standing::Unrestricted, tags: Vec::new(), unreadable_tag: false };
    if !call.snapshot.settings.has_database {
        return Ok(found);
    }
    let end_user = named.end_user.iter().map(|id| (Kind::EndUser, id));
    let names = || end_user.clone().chain(named.tags.looked_up().map(|tag| (Kind::Tag, tag)));
    for (kind, id) in names() {
        let Some(standing) = standing(call, kind, id) else {
            return Err(Unread(names().map(|(kind, id)| (kind, id.clone())).collect()));
        };
        match (kind, standing) {
            (Kind::EndUser, standing) => found.end_user = standing,
            (Kind::Tag, Standing::Restricted(row)) => found.tags.push(row),
            (Kind::Tag, Standing::Unrestricted) => {}
            (Kind::Tag, Standing::Unreadable) => found.unreadable_tag = true,
        }
    }
    Ok(found)
}

fn standing(call: &Call, kind: Kind, id: &str) -> Option<Standing> {
    if let Some(Fetched::Named(fetched)) = &call.fetched
        && let Some((.., standing)) = fetched.iter().find(|(of, name, _)| *of == kind && name == id)
    {
        return Some(standing.clone());
    }
    rows(call, kind).known(id)
}

fn rows(call: &Call, kind: Kind) -> &NamedRows {
    let directory = &call.services.control.directory;
    match kind {
        Kind::EndUser => &directory.end_users,
        Kind::Tag => &directory.tags,
    }
}

/// Reads what [`standings`] did not know. LiteLLM's time to live holds, as for keys.
pub async fn read(call: &Call, names: Vec<(Kind, String)>) -> Vec<(Kind, String, Standing)> {
    let snapshot = &call.snapshot;
    let mut found = Vec::with_capacity(names.len());
    for (kind, id) in names {
        let standing = match &snapshot.database_url {
            Some(url) => rows(call, kind).find(url, &id, snapshot.settings.key_ttl).await,
            None => Standing::Unreadable,
        };
        found.push((kind, id, standing));
    }
    found
}
