//! Which tags a call has: those of its key, its team and its project, and those it names itself, merged as LiteLLM merges
//! them (litellm_pre_call_utils.py, http_parsing_utils.py `get_tags_from_request_body`). Pure. It must cost nothing where
//! nobody has any, and never pass on what a row or an index of Postgres does not take.
use serde_json::Value;

use super::Caller;
use crate::{
    json::{Object, Raw},
    routes::{Decline, Head},
};

/// Tags as a header, with commas between them.
pub(super) const HEADER: &str = "x-litellm-tags";

/// Most tags of one source, and the longest in bytes: an index of Postgres refuses rows of more than some 2,700.
const MOST: usize = 64;
const LONGEST: usize = 1024;

/// Parts of paths by which LiteLLM keeps tags beside the caller's metadata (`LITELLM_METADATA_ROUTES`); of the paths that
/// are served `/v1/messages` alone has one, unless a model's name in it does.
const BESIDE: [&str; 5] = ["batches", "bedrock", "/v1/messages", "responses", "files"];
const MESSAGES: &str = "/v1/messages";

/// The tags of one call, without those LiteLLM makes of the caller's program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// of its row, and of all that its spend is added to
    pub billed: Vec<String>,
    /// whose budgets hold, each once
    pub budgeted: Vec<String>,
    /// whose rates hold, each once
    pub rated: Vec<String>,
    /// of the row of a call that the key's own budget stops
    pub over_key_budget: Vec<String>,
    /// of the row of a call that any other budget stops
    pub over_budget: Vec<String>,
    /// of the row of a call that a rate stops
    pub over_rate: Vec<String>,
}

impl Tags {
    /// All that may have a row of its own, each once.
    pub fn looked_up(&self) -> impl Iterator<Item = &String> {
        let more = self.budgeted.iter().filter(|tag| !self.rated.contains(tag));
        self.rated.iter().chain(more)
    }
}

/// `metadata`: the body's.
pub(super) fn tags(
    head: &Head,
    caller: &Caller,
    body: &Object<'_>,
    metadata: Option<&Object<'_>>,
) -> Result<Tags, Decline> {
    let header = head.headers.contains_key(HEADER);
    let (of_body, of_metadata) = (body.some("tags"), metadata.and_then(|metadata| metadata.some("tags")));
    let owners = owners(caller);
    if !header && of_body.is_none() && of_metadata.is_none() && owners.iter().all(Option::is_none) {
        return Ok(Tags::default());
    }
    if of_metadata.is_some() && metadata.is_some_and(Object::has_duplicates) {
        return Err(Decline::DuplicateKey);
    }
    let header = if header { of_header(head)? } else { Vec::new() };
    let of_body = of_body.map(of_request).transpose()?;
    let own = of_metadata.map(of_request).transpose()?.unwrap_or_default();
    let [key, team, project] = owners;
    let (key, team, project) = (of_owner(key)?, of_owner(team)?, of_owner(project)?);

    let beside = BESIDE.iter().any(|part| head.path.contains(part));
    if beside && !head.path.ends_with(MESSAGES) {
        return Err(Decline::NotThisPath);
    }
    // what LiteLLM's authentication sees: on messages nothing of the caller's own metadata
    let seen = if beside { Vec::new() } else { own.clone() };
    let seen = merged(merged(seen, &header), &key);
    // what it has merged stays only where the caller sent the field it merged it into
    let kept = if !beside && body.get("metadata").is_some() { seen.clone() } else { Vec::new() };
    let named = of_body.as_ref().unwrap_or(&header);
    let mut billed = [&key, &team, &project, named].into_iter().fold(kept, |list, more| merged(list, more));
    if beside {
        billed = merged(billed, &own);
    }
    let of_body = of_body.unwrap_or_default();
    let once = |list: &[String]| merged(merged(Vec::new(), list), &of_body);
    // the row of a refused call has the caller's metadata before what stands beside it
    let first = |list: &Vec<String>| if beside && !own.is_empty() { own.clone() } else { list.clone() };
    Ok(Tags {
        budgeted: once(&seen),
        rated: once(&billed),
        over_budget: first(&seen),
        over_rate: first(&billed),
        over_key_budget: own,
        billed,
    })
}

/// `merge_tags`: what is added is added once.
fn merged(mut list: Vec<String>, more: &[String]) -> Vec<String> {
    for tag in more {
        if !list.contains(tag) {
            list.push(tag.clone());
        }
    }
    list
}

/// Tags in the metadata of key, team and project.
fn owners(caller: &Caller) -> [Option<&Value>; 3] {
    let Caller::Key(identity) = caller else { return [None; 3] };
    let team = identity.team.as_ref().map(|team| &team.metadata);
    let project = identity.project.as_ref().map(|project| &project.metadata);
    [Some(&identity.key.metadata), team, project].map(|metadata| metadata?.get("tags").filter(|tags| !tags.is_null()))
}

fn of_owner(tags: Option<&Value>) -> Result<Vec<String>, Decline> {
    let Some(tags) = tags else { return Ok(Vec::new()) };
    let list = tags.as_array().filter(|list| list.len() <= MOST).ok_or(Decline::KeyFeature)?;
    let usable = |tag: &Value| tag.as_str().filter(|tag| is_usable(tag)).map(str::to_owned);
    list.iter().map(usable).collect::<Option<_>>().ok_or(Decline::KeyFeature)
}

fn of_request(tags: Raw<'_>) -> Result<Vec<String>, Decline> {
    let mut list = Vec::new();
    for tag in tags.array().ok_or(Decline::FieldType)? {
        let tag = tag.as_str().ok_or(Decline::FieldType)?;
        if list.len() >= MOST || !is_usable(&tag) {
            return Err(Decline::Field);
        }
        list.push(tag.into_owned());
    }
    Ok(list)
}

fn of_header(head: &Head) -> Result<Vec<String>, Decline> {
    let text = head.header(HEADER).ok_or(Decline::ControlHeader)?;
    let list: Vec<_> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
    // LiteLLM bills empty ones, and looks none of them up
    if list.len() > MOST || !list.iter().all(|tag| is_usable(tag)) {
        return Err(Decline::ControlHeader);
    }
    Ok(list)
}

fn is_usable(tag: &str) -> bool {
    !tag.is_empty() && tag.len() <= LONGEST && !tag.chars().any(char::is_control)
}

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tags_tests;
