//! What other gateways say of changed keys, teams and users: LiteLLM publishes the cache key of whatever its management
//! endpoints change (proxy/common_utils/auth_cache_invalidation_pubsub.py). It must never trust a message further than to
//! forget something.
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
