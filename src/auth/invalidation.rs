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

/// Whether a call that Python granted may have changed a key, its team, its user, ... LiteLLM does not publish every such
/// change: after `/key/delete` and `/team/block` only the worker that was asked knows. What went by here is known here too.
pub fn may_change(method: &Method, path: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    // a root path or a version may stand in front
    let managed = path.split('/').take(5).any(|part| MANAGED.contains(&part));
    managed && !path.rsplit('/').next().is_some_and(|end| MAKES.contains(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_keys_is_known_by_its_path() {
        for path in
            ["/key/delete", "/team/block", "/litellm/v2/user/update", "/key/sk-1/regenerate", "/scim/v2/Users/u"]
        {
            assert!(may_change(&Method::POST, path), "{path}");
            assert!(!may_change(&Method::GET, path), "{path}");
        }
        assert!(may_change(&Method::DELETE, "/v1/access_group/a"));
        for path in ["/key/generate", "/team/new", "/v1/chat/completions", "/key/health", "/", "/v1/messages"] {
            assert!(!may_change(&Method::POST, path), "{path}");
        }
    }
}
