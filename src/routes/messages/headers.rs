//! The headers of `/v1/messages` answers, in LiteLLM's order. Non-streamed answers lack the api base and all provider
//! headers; errors carry only the short set.
use std::{borrow::Cow, time::Instant};

use http::HeaderMap;

use super::Admitted;
use crate::{
    config::Deployment,
    routes::litellm_headers::{HeaderList, LITELLM_VERSION, push, push_deployment},
    spend::{Cost, cost::python_float},
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
    let mut list = Vec::with_capacity(24);
    push(&mut list, "content-type", "application/json");
    push(&mut list, "x-litellm-call-id", admitted.call_id.clone());
    push_deployment(&mut list, &admitted.deployment);
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    if let Some(cost) = cost {
        if cost.total != 0.0 {
            push(&mut list, "x-litellm-response-cost", python_float(cost.total));
        }
        push_cost_parts(&mut list, cost);
    }
    push(&mut list, "x-litellm-key-spend", python_float(admitted.key_spend + cost.map_or(0.0, |cost| cost.total)));
    push_times(&mut list, clock);
    push_router(&mut list, &admitted.group);
    list
}

/// A stream: all costs are 0 yet, provider headers are passed on.
pub(super) fn stream(
    call_id: &str,
    deployment: &Deployment,
    group: &str,
    provider: &HeaderMap,
    clock: &Clock,
    key_spend: f64,
) -> HeaderList {
    let mut list = Vec::with_capacity(32 + provider.len());
    push(&mut list, "x-litellm-call-id", call_id);
    push_deployment(&mut list, deployment);
    if let Some(base) = &deployment.api_base {
        push(&mut list, "x-litellm-model-api-base", base.clone());
    }
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    push_cost_parts(&mut list, &Cost::default());
    push(&mut list, "x-litellm-key-spend", python_float(key_spend));
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
    let mut list = Vec::with_capacity(8);
    push(&mut list, "x-litellm-call-id", admitted.call_id.clone());
    push(&mut list, "x-litellm-model-id", admitted.deployment.id.clone());
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    push(&mut list, "x-litellm-response-cost", "0");
    push(&mut list, "x-litellm-key-spend", python_float(admitted.key_spend));
    push(&mut list, "x-litellm-timeout", python_float(admitted.timeout.as_secs_f64()));
    push(&mut list, "content-type", "application/json");
    list
}

fn push_cost_parts(list: &mut HeaderList, cost: &Cost) {
    push(list, "x-litellm-response-cost-original", python_float(cost.total));
    push(list, "x-litellm-response-cost-discount-amount", "0.0");
    push(list, "x-litellm-response-cost-margin-amount", "0.0");
    push(list, "x-litellm-response-cost-margin-percent", "0.0");
    // LiteLLM's input cost holds the cache costs; the header does not (`_uncached_input_cost`)
    let plain = cost.input - cost.cache_read - cost.cache_creation;
    push(list, "x-litellm-response-cost-input", python_float(plain));
    push(list, "x-litellm-response-cost-output", python_float(cost.output));
    if cost.cache_read != 0.0 {
        push(list, "x-litellm-response-cost-cache-read", python_float(cost.cache_read));
    }
    if cost.cache_creation != 0.0 {
        push(list, "x-litellm-response-cost-cache-creation", python_float(cost.cache_creation));
    }
    push(list, "x-litellm-response-cost-tool-usage", python_float(cost.tools));
}

fn push_times(list: &mut HeaderList, clock: &Clock) {
    let total = clock.started.elapsed().as_secs_f64() * 1000.0;
    push(list, "x-litellm-response-duration-ms", python_float(total));
    push(list, "x-litellm-overhead-duration-ms", python_float(overhead_ms(clock)));
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
        let prefixed = match own.starts_with("llm_provider-") {
            true => own.to_owned(),
            false => format!("llm_provider-{own}"),
        };
        list.push((Cow::Owned(prefixed), text(own)));
    }
    if let Some(id) = ["request-id", "x-request-id"].into_iter().map(text).find(|id| !id.is_empty()) {
        if !list.iter().any(|(name, _)| name == "llm_provider-request-id") {
            push(list, "llm_provider-request-id", id.clone());
        }
        push(list, "request-id", id);
    }
    list.retain(|(_, value)| !matches!(value.as_str(), "" | "None"));
}
