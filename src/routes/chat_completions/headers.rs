//! The headers of a chat completion: those the provider is sent (OpenAI SDK 2.54 behind LiteLLM), and those of the
//! answer in LiteLLM's order. It must never copy a provider's header under its own name but for the rate limits.
use std::{borrow::Cow, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Admitted, Timeout};
use crate::{
    config::Deployment,
    faults::fault,
    routes::{
        HeaderList,
        litellm_headers::{KeyHeaders, LITELLM_VERSION, push, push_deployment},
    },
    spend::{Cost, Usage},
};

/// Provider headers that LiteLLM also passes on under their own name; the last two on streams only.
const RATE_LIMITS: [&str; 6] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
];

/// What the SDK always sends, besides host, authorization, read timeout, organization and content-length; made when the
/// program is built.
static SDK: [(HeaderName, HeaderValue); 14] = [
    fixed("accept-encoding", "gzip, deflate"),
    fixed("accept", "application/json"),
    fixed("content-type", "application/json"),
    fixed("user-agent", "AsyncOpenAI/Python 2.54.0"),
    fixed("x-stainless-lang", "python"),
    fixed("x-stainless-package-version", "2.54.0"),
    fixed("x-stainless-os", "Linux"),
    fixed("x-stainless-arch", STAINLESS_ARCH),
    fixed("x-stainless-runtime", "CPython"),
    fixed("x-stainless-async", "async:asyncio"),
    fixed("x-stainless-raw-response", "true"),
    fixed("connection", "keep-alive"),
    fixed("x-stainless-runtime-version", "3.11.7"),
    fixed("x-stainless-retry-count", "0"),
];

const READ_TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-read-timeout");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

const fn fixed(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

const STAINLESS_ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };

/// The headers of the provider's request. `None`: a configured value cannot be a header.
pub(super) fn provider(deployment: &Deployment, timeout: &Timeout, stream: bool) -> Option<HeaderMap> {
    deployment.outgoing.get(stream, &timeout.float, || sdk(deployment, timeout).map(HeaderMap::from_iter))
}

fn sdk(deployment: &Deployment, timeout: &Timeout) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut list = Vec::with_capacity(SDK.len() + 6 + deployment.extra_headers.len());
    let key = deployment.api_key.as_ref()?;
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
    authorization.set_sensitive(true);
    list.push((http::header::AUTHORIZATION, authorization));
    list.extend_from_slice(&SDK);
    if fault!(ProviderHeaderChanged) {
        list.iter_mut()
            .filter(|(name, _)| *name == http::header::USER_AGENT)
            .for_each(|(_, value)| *value = HeaderValue::from_static("edge"));
    }
    let read_timeout = HeaderValue::from_str(&timeout.float).ok()?;
    list.push((READ_TIMEOUT, read_timeout));
    if let Some(organization) = &deployment.organization {
        list.push((ORGANIZATION, HeaderValue::from_str(organization).ok()?));
    }
    for (name, value) in &deployment.extra_headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        list.retain(|(other, _)| *other != name);
        list.push((name, HeaderValue::from_str(value).ok()?));
    }
    Some(list)
}

/// Times of one call.
pub(super) struct Clock {
    pub started: Instant,
    /// milliseconds until the provider's answer was there
    pub provider_ms: f64,
}

/// What a priced answer costs.
pub(super) struct Priced<'a> {
    pub cost: Option<&'a Cost>,
    pub usage: &'a Usage,
}

/// A successful answer. `priced`: `None` on streams, whose price is not known yet.
pub(super) fn success(
    admitted: &Admitted,
    call_id: &str,
    provider: &HeaderMap,
    priced: Option<&Priced<'_>>,
    clock: &Clock,
) -> HeaderList {
    let mut list = HeaderList::with_capacity(40 + provider.len());
    push(&mut list, "x-litellm-call-id", call_id);
    push_deployment(&mut list, &admitted.deployment);
    let base = admitted.deployment.api_base.as_deref().unwrap_or("https://api.openai.com");
    push(&mut list, "x-litellm-model-api-base", base.split('?').next().unwrap_or(base));
    push(&mut list, "x-litellm-version", LITELLM_VERSION);
    push_cost(&mut list, priced);
    admitted.key.push(&mut list, priced.and_then(|priced| priced.cost).map_or(0.0, |cost| cost.total));
    let total = clock.started.elapsed().as_secs_f64() * 1e3;
    list.push_float("x-litellm-response-duration-ms", total);
    list.push_float("x-litellm-overhead-duration-ms", round4(total - clock.provider_ms));
    push(&mut list, "x-litellm-callback-duration-ms", "0.0");
    push_provider(&mut list, provider, if priced.is_some() { 4 } else { 6 }, true);
    push(&mut list, "x-litellm-model-group", &admitted.group);
    push(&mut list, "x-litellm-attempted-retries", "0");
    push(&mut list, "x-litellm-attempted-fallbacks", "0");
    if priced.is_some() {
        admitted.key.push_rates(&mut list);
    }
    list.retain(|name, value| {
        !(matches!(value, "" | "None")
            || fault!(CostHeader) && name == "x-litellm-response-cost"
            || fault!(RateLimitHeader) && name == "x-ratelimit-remaining-requests")
    });
    list
}

/// What `x-litellm-overhead-duration-ms` says now.
pub(super) fn overhead_ms(clock: &Clock) -> f64 {
    round4(clock.started.elapsed().as_secs_f64() * 1e3 - clock.provider_ms)
}

fn round4(ms: f64) -> f64 {
    (ms.max(0.0) * 1e4).round() / 1e4
}

fn push_cost(list: &mut HeaderList, priced: Option<&Priced<'_>>) {
    let zero = Cost::default();
    let (cost, usage) = match priced {
        Some(Priced { cost: Some(cost), usage }) => (*cost, Some(*usage)),
        // not known yet, or LiteLLM could not price it
        Some(Priced { cost: None, .. }) | None => (&zero, None),
    };
    let mut part = |name: &'static str, value: f64| list.push_float(name, value);
    if cost.total != 0.0 {
        part("x-litellm-response-cost", cost.total);
    }
    part("x-litellm-response-cost-original", cost.total);
    part("x-litellm-response-cost-discount-amount", 0.0);
    part("x-litellm-response-cost-margin-amount", 0.0);
    part("x-litellm-response-cost-margin-percent", 0.0);
    part("x-litellm-response-cost-input", cost.input - cost.cache_read - cost.cache_creation);
    part("x-litellm-response-cost-output", cost.output);
    if let Some(usage) = usage {
        if cost.cache_read > 0.0 {
            part("x-litellm-response-cost-cache-read", cost.cache_read);
        }
        if cost.cache_creation > 0.0 {
            part("x-litellm-response-cost-cache-creation", cost.cache_creation);
        }
        if usage.reasoning > 0 && usage.completion > 0 {
            part("x-litellm-response-cost-reasoning", cost.reasoning);
        }
    }
    part("x-litellm-response-cost-tool-usage", 0.0);
}

/// An error. `provider`: the headers of an answer with an error status. `timeout`: what `x-litellm-timeout` says.
pub(super) fn error(
    call_id: &str,
    key: &KeyHeaders,
    provider: Option<&HeaderMap>,
    timeout: Option<&str>,
) -> HeaderList {
    let mut list = HeaderList::with_capacity(16 + provider.map_or(0, HeaderMap::len));
    if let Some(provider) = provider {
        push_provider(&mut list, provider, 4, false);
    }
    push(&mut list, "x-litellm-call-id", call_id);
    push(&mut list, "x-litellm-response-cost", "0");
    key.push(&mut list, 0.0);
    if let Some(timeout) = timeout {
        push(&mut list, "x-litellm-timeout", timeout);
    }
    push(&mut list, "content-type", "application/json");
    list
}

/// What LiteLLM puts before a provider's header.
const PREFIX: &str = "llm_provider-";

/// `llm_provider-<every header>`, the rate limits, `request-id`. `twice`: the headers went through LiteLLM's
/// processing once more, which prefixes `request-id` too.
fn push_provider(list: &mut HeaderList, provider: &HeaderMap, limits: usize, twice: bool) {
    let value = |name: &str| joined(&mut provider.get_all(name).iter());
    // most answers have none of those that are asked for by name
    let has = |part: &str| provider.keys().any(|name| name.as_str().contains(part));
    for name in RATE_LIMITS.iter().take(if has("x-ratelimit-") { limits } else { 0 }) {
        if let Some(value) = value(name) {
            push(list, name, value);
        }
    }
    let may_clash = has(PREFIX);
    let mut headers = provider.iter().peekable();
    while let Some((name, first)) = headers.next() {
        let others = std::iter::from_fn(|| headers.next_if(|(next, _)| *next == name).map(|(_, value)| value));
        let Some(value) = joined(&mut std::iter::once(first).chain(others)) else { continue };
        let name = name.as_str();
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        if may_clash {
            list.set_made(PREFIX, name, &value);
        } else {
            list.push_made(PREFIX, name, &value);
        }
    }
    if !has("request-id") {
        return;
    }
    let ids = ["request-id", "x-request-id", "llm_provider-request-id", "llm_provider-x-request-id"];
    if let Some(id) = ids.iter().find_map(|name| value(name).filter(|id| !id.is_empty())) {
        if twice && list.get("llm_provider-request-id").is_none() {
            push(list, "llm_provider-request-id", &id);
        }
        push(list, "request-id", id);
    }
}

/// All values of a header as httpx joins them; bytes beyond ASCII as UTF-8, else as Latin-1.
fn joined<'a>(values: &mut dyn Iterator<Item = &'a HeaderValue>) -> Option<Cow<'a, str>> {
    let text = |value: &'a HeaderValue| match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>()),
    };
    let mut out = text(values.next()?);
    for value in values {
        let out = out.to_mut();
        out.push_str(", ");
        out.push_str(&text(value));
    }
    Some(out)
}
