//! The headers of `/v1/messages` answers, in LiteLLM's order. Non-streamed answers lack the api base and all provider
//! headers; errors carry only the short set.
use std::time::Instant;

use http::HeaderMap;

use super::Admitted;
use crate::{
    config::Deployment,
    routes::{
        HeaderList,
        litellm_headers::{KeyHeaders, LITELLM_VERSION, push, push_deployment},
    },
    spend::Cost,
};

/// Provider headers that LiteLLM also passes on under their own name (types/utils.py `OPENAI_RESPONSE_HEADERS`).
const BARE: [&str; 6] = [
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
];

/// Times of one call.
pub(super) struct Clock {
    pub started: Instant,
    /// milliseconds spent in the provider
    pub provider_ms: f64,
}

/// A JSON answer. `cost`: `None` where LiteLLM could not price it.
pub(super) fn json(admitted: &Admitted, cost: Option<&Cost>, clock: &Clock) -> HeaderList {
    let mut list = HeaderList::with_capacity(32);
    push(&mut list, "content-type", "application/json");
    push(&mut list, "x-litellm-call-id", admitted.call_id.clone());
    push_deployment(&mut list, &admitted.deployment);
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    if let Some(cost) = cost {
        if cost.total != 0.0 {
            list.push_float("x-litellm-response-cost", cost.total);
        }
        push_cost_parts(&mut list, cost);
    }
    admitted.key.push(&mut list, cost.map_or(0.0, |cost| cost.total));
    push_times(&mut list, clock);
    push_router(&mut list, &admitted.group);
    admitted.key.push_rates(&mut list);
    list
}

/// A stream: all costs are 0 yet, provider headers are passed on.
pub(super) fn stream(
    call_id: &str,
    deployment: &Deployment,
    group: &str,
    provider: &HeaderMap,
    clock: &Clock,
    key: &KeyHeaders,
) -> HeaderList {
    let mut list = HeaderList::with_capacity(40 + provider.len());
    push(&mut list, "x-litellm-call-id", call_id);
    push_deployment(&mut list, deployment);
    if let Some(base) = &deployment.api_base {
        push(&mut list, "x-litellm-model-api-base", base);
    }
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    push_cost_parts(&mut list, &Cost::default());
    key.push(&mut list, 0.0);
    push_times(&mut list, clock);
    push(&mut list, "x-litellm-callback-duration-ms", "0.0");
    push_provider(&mut list, provider);
    push_router(&mut list, group);
    list
}

/// What a stream has beyond the headers of its failed start.
pub(super) fn push_event_stream(list: &mut HeaderList) {
    push(list, "cache-control", "no-cache");
    push(list, "x-accel-buffering", "no");
    push(list, "content-type", "text/event-stream; charset=utf-8");
}

/// A failure with a deployment picked.
pub(super) fn error(admitted: &Admitted) -> HeaderList {
    let mut list = HeaderList::with_capacity(16);
    push(&mut list, "x-litellm-call-id", &admitted.call_id);
    push(&mut list, "x-litellm-model-id", &admitted.deployment.id);
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    push(&mut list, "x-litellm-response-cost", "0");
    admitted.key.push(&mut list, 0.0);
    list.push_float("x-litellm-timeout", admitted.timeout.as_secs_f64());
    push(&mut list, "content-type", "application/json");
    list
}

fn push_cost_parts(list: &mut HeaderList, cost: &Cost) {
    list.push_float("x-litellm-response-cost-original", cost.total);
    push(list, "x-litellm-response-cost-discount-amount", "0.0");
    push(list, "x-litellm-response-cost-margin-amount", "0.0");
    push(list, "x-litellm-response-cost-margin-percent", "0.0");
    // LiteLLM's input cost holds the cache costs; the header does not (`_uncached_input_cost`)
    let plain = cost.input - cost.cache_read - cost.cache_creation;
    list.push_float("x-litellm-response-cost-input", plain);
    list.push_float("x-litellm-response-cost-output", cost.output);
    if cost.cache_read != 0.0 {
        list.push_float("x-litellm-response-cost-cache-read", cost.cache_read);
    }
    if cost.cache_creation != 0.0 {
        list.push_float("x-litellm-response-cost-cache-creation", cost.cache_creation);
    }
    list.push_float("x-litellm-response-cost-tool-usage", cost.tools);
}

fn push_times(list: &mut HeaderList, clock: &Clock) {
    let total = clock.started.elapsed().as_secs_f64() * 1000.0;
    list.push_float("x-litellm-response-duration-ms", total);
    list.push_float("x-litellm-overhead-duration-ms", overhead_ms(clock));
}

/// What `x-litellm-overhead-duration-ms` says now.
pub(super) fn overhead_ms(clock: &Clock) -> f64 {
    let total = clock.started.elapsed().as_secs_f64() * 1000.0;
    ((total - clock.provider_ms).max(0.0) * 10_000.0).round() / 10_000.0
}

fn push_router(list: &mut HeaderList, group: &str) {
    push(list, "x-litellm-model-group", group);
    push(list, "x-litellm-attempted-retries", "0");
    push(list, "x-litellm-attempted-fallbacks", "0");
}

/// `process_response_headers`: every header with a prefix, a few of them bare, and the request id.
fn push_provider(list: &mut HeaderList, provider: &HeaderMap) {
    let text = |name: &str| {
        // httpx joins repeated headers
        let values: Vec<String> =
            provider.get_all(name).iter().map(|v| v.as_bytes().iter().map(|b| char::from(*b)).collect()).collect();
        values.join(", ")
    };
    for name in BARE.iter().filter(|name| provider.contains_key(**name)) {
        push(list, name, text(name));
    }
    for name in provider.keys() {
        let own = name.as_str();
        list.push_made("llm_provider-", own.strip_prefix("llm_provider-").unwrap_or(own), &text(own));
    }
    if let Some(id) = ["request-id", "x-request-id"].into_iter().map(text).find(|id| !id.is_empty()) {
        if list.get("llm_provider-request-id").is_none() {
            push(list, "llm_provider-request-id", &id);
        }
        push(list, "request-id", id);
    }
    list.retain(|_, value| !matches!(value, "" | "None"));
}
