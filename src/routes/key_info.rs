//! `GET /key/info` (LiteLLM management_endpoints/key_management_endpoints.py `info_key_fn`): a key's row, read anew for each
//! request, for the key itself and for the master key. Keys with budgets in windows or per model, whose use LiteLLM reads
//! elsewhere, other callers and deleted keys are Python's.
use http::{Method, StatusCode};

use super::{Admission, Call, CallLog, Decline, Fetched, Head, NativeRoute, Reply, ReplyBody, refused::stopped};
use crate::{
    auth::{self, Caller, KeyHash, Presented},
    config::Snapshot,
    error::Dialect,
};

mod row;

/// The row of the route table.
pub const KEY_INFO: NativeRoute = NativeRoute {
    id: "key_info",
    methods: &[Method::GET],
    paths: &["/key/info"],
    needs_body: false,
    needs_caller: true,
    fetch: Some(|call| Box::pin(fetch(call))),
    dialect: Dialect::OpenAi,
    serves: "a key's row, for the key itself and for the master key",
    declines: &[
        Decline::VirtualKey,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Query,
        Decline::KeyFeature,
        Decline::NotThisPath,
    ],
    admit_head,
    admit,
};

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    // the master key alone has no row
    match auth::present(head, snapshot)? {
        Presented::Master if asked(head)?.is_none() => Err(Decline::Query),
        _ => asked(head).map(|_| ()),
    }
}

/// `?key=`: a key or its hash, in characters that mean themselves.
fn asked(head: &Head) -> Result<Option<&str>, Decline> {
    let Some(query) = head.query.as_deref().filter(|query| !query.is_empty()) else { return Ok(None) };
    let key = query.strip_prefix("key=").ok_or(Decline::Query)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match !key.is_empty() && key.bytes().all(plain) {
        true => Ok(Some(key)),
        false => Err(Decline::Query),
    }
}

/// utils.py `hash_token_if_needed`
fn hash(key: &str) -> String {
    if key.starts_with("sk-") { KeyHash::of(key).to_string() } else { key.to_owned() }
}

/// The hash whose row is asked for, and the text that the answer repeats.
fn target(call: &Call) -> Result<Option<(String, String)>, Decline> {
    let asked = asked(&call.head)?;
    match (&call.caller, asked) {
        (Caller::Master, Some(key)) => Ok(Some((hash(key), key.to_owned()))),
        (Caller::Key(identity), None) => Ok(Some((identity.key.token.clone(), identity.key.token.clone()))),
        // who else may see a key is Python's to say
        (Caller::Key(identity), Some(key)) if hash(key) == identity.key.token => Ok(Some((hash(key), key.to_owned()))),
        (Caller::Key(_), Some(_)) => Err(Decline::KeyFeature),
        _ => Ok(None),
    }
}

async fn fetch(mut call: Call) -> Result<Call, Decline> {
    let Some((hash, _)) = target(&call)? else { return Ok(call) };
    let url = call.snapshot.database_url.clone().ok_or(Decline::VirtualKey)?;
    let row = call.services.control.postgres.key_row(&url, hash).await.map_err(|error| {
        tracing::debug!(%error, "a key's row could not be read");
        Decline::VirtualKey
    })?;
    // LiteLLM looks among the deleted keys next
    call.fetched = Some(Fetched::Row(row.ok_or(Decline::KeyFeature)?.into()));
    Ok(call)
}

fn admit(call: Call) -> Admission {
    if let Err(stop) = auth::judge_info(&call.head, &call.snapshot, &call.caller, call.now) {
        return stopped(call, stop);
    }
    let (_, shown) = target(&call)?.ok_or(Decline::VirtualKey)?;
    let Some(Fetched::Row(found)) = &call.fetched else { return Err(Decline::VirtualKey.into()) };
    let body = ReplyBody::Full(row::answer(&shown, found, call.now).ok_or(Decline::KeyFeature)?.into());
    let headers = [("content-type", "application/json")].into();
    Ok(Box::pin(std::future::ready(Reply { status: StatusCode::OK, headers, body, log: CallLog::default() })))
}
