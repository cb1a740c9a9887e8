//! The one table of native routes: matching, the README, the metrics and the lint are derived from it.
use super::{NativeRoute, chat_completions, health, key_info, messages, metrics, model_info, models};

/// Every route the edge can serve itself.
pub static NATIVE_ROUTES: &[NativeRoute] = &[
    chat_completions::CHAT_COMPLETIONS,
    models::MODELS,
    model_info::MODEL_INFO,
    key_info::KEY_INFO,
    health::LIVELINESS,
    health::READINESS,
    metrics::METRICS,
    messages::MESSAGES,
];

/// The route of that id.
pub fn native_route(id: &str) -> Option<&'static NativeRoute> {
    NATIVE_ROUTES.iter().find(|route| route.id == id)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
