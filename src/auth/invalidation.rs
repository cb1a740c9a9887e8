//! What other gateways say of changed keys, teams and users: LiteLLM publishes the cache key of whatever its management
//! endpoints change (proxy/common_utils/auth_cache_invalidation_pubsub.py). It must never trust a message further than to
//! forget something.
use http::Method;
use serde_json::Value;

use super::Directory;
use crate::store::Redis;

/// LiteLLM's channel, without the namespace.
pub const CHANNEL: &str = "litellm_proxy.auth_cache_invalidation";

/// Listens for ever; for the io runtime. After each reconnection all is read anew: what was said meanwhile was missed.
pub async fn follow(redis: Redis, directory: Directory) {
    redis.listen(CHANNEL, || directory.doubt(), |message| heard(message, &directory)).await;
}

/// One message: `{"cache_key": "..."}`. With `new_value` it sets a counter, which is nothing the directory holds.
pub(super) fn heard(message: &[u8], directory: &Directory) {
    let Ok(Value::Object(message)) = serde_json::from_slice(message) else { return };
    if let (Some(Value::String(key)), None) = (message.get("cache_key"), message.get("new_value")) {
        directory.invalidate(key);
    }
}

/// First parts of the paths by which keys and what belongs to them are changed.
const MANAGED: &[&str] = &[
    "key",
    "team",
    "user",
    "organization",
    "project",
    "budget",
    "access_group",
    "model_access_group",
    "jwt",
    "scim",
    "management",
    "global",
];
/// Ends of paths that only make new things.
const MAKES: &[&str] = &["generate", "new", "info", "list", "health"];

/// The same of end users: a new one may have limits, which the one without a row had not.
const CUSTOMERS: &[&str] = &["customer", "end_user"];
/// The same of tags.
const TAGS: &[&str] = &["tag"];

/// What is no longer believed after a call that Python granted, which may have changed a key, its team, its user, ...
/// LiteLLM does not publish every such change: after `/key/delete` and `/team/block` only the worker that was asked knows.
/// What went by here is known here too.
pub fn went_by(method: &Method, path: &str, directory: &Directory) {
    match changes(method, path) {
        Changes::Nothing => {}
        Changes::EndUsers => directory.end_users.doubt(),
        Changes::Tags => directory.tags.doubt(),
        Changes::All => directory.doubt(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    Nothing,
    EndUsers,
    Tags,
    All,
}

fn changes(method: &Method, path: &str) -> Changes {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Changes::Nothing;
    }
    // a root path or a version may stand in front
    let names = |list: &[&str]| path.split('/').take(5).any(|part| list.contains(&part));
    let makes = || path.rsplit('/').next().is_some_and(|end| MAKES.contains(&end));
    if names(CUSTOMERS) {
        Changes::EndUsers
    } else if names(TAGS) {
        Changes::Tags
    } else if names(MANAGED) && !makes() {
        Changes::All
    } else {
        Changes::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_keys_is_known_by_its_path() {
        for path in
            ["/key/delete", "/team/block", "/litellm/v2/user/update", "/key/sk-1/regenerate", "/scim/v2/Users/u"]
        {
            assert_eq!(changes(&Method::POST, path), Changes::All, "{path}");
            assert_eq!(changes(&Method::GET, path), Changes::Nothing, "{path}");
        }
        assert_eq!(changes(&Method::DELETE, "/v1/access_group/a"), Changes::All);
        for path in ["/customer/new", "/customer/update", "/litellm/end_user/block"] {
            assert_eq!(changes(&Method::POST, path), Changes::EndUsers, "{path}");
            assert_eq!(changes(&Method::GET, path), Changes::Nothing, "{path}");
        }
        assert_eq!(changes(&Method::POST, "/tag/new"), Changes::Tags);
        for path in ["/key/generate", "/team/new", "/v1/chat/completions", "/key/health", "/", "/v1/messages"] {
            assert_eq!(changes(&Method::POST, path), Changes::Nothing, "{path}");
        }
    }
}
