//! The `x-litellm-*` response headers, in LiteLLM's order (proxy/common_request_processing.py `get_custom_headers`).
//! Values that are `None`, `""` or `"None"` in Python are left out.
use std::time::{SystemTime, UNIX_EPOCH};

use super::HeaderList;
use crate::{auth::Caller, config::Deployment, faults::fault, limits::raised, spend::cost::python_float};

/// The LiteLLM version whose behaviour the native routes have; the value of `x-litellm-version`.
pub const LITELLM_VERSION: &str = "1.106.2";

/// `x-litellm-model-id`, `-model-name`: the deployment that served.
pub fn push_deployment(headers: &mut HeaderList, deployment: &Deployment) {
    let id = if fault!(ModelId) { &deployment.litellm_model } else { &deployment.id };
    headers.push("x-litellm-model-id", id);
    headers.push("x-litellm-model-name", &deployment.litellm_model);
}

/// Appends a header with a fixed name.
pub fn push(headers: &mut HeaderList, name: &'static str, value: impl AsRef<str>) {
    headers.push(name, value.as_ref());
}

/// The call id: the client's `x-litellm-call-id` of 1 to 256 characters, else a new uuid4.
pub fn call_id(client: Option<&str>) -> String {
    match client {
        Some(id) if (1..=256).contains(&id.len()) => id.to_owned(),
        _ if fault!(CallId) => uuid::Uuid::new_v4().simple().to_string(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}

/// What a caller is told of its key: `x-litellm-key-*`, and `x-ratelimit-*` of what limits it.
#[derive(Debug, Clone, Default)]
pub struct KeyHeaders {
    tpm_limit: Option<i64>,
    rpm_limit: Option<i64>,
    max_budget: Option<f64>,
    /// US dollars the key has spent, as far as its row was read
    spend: f64,
    /// the counters with this request, by header
    pub rates: Vec<(String, String)>,
}

impl KeyHeaders {
    /// At `now`: a budget may be raised for a while.
    pub fn of(caller: &Caller, now: SystemTime) -> Self {
        let Caller::Key(identity) = caller else { return Self::default() };
        let (key, budget) = (&identity.key, identity.budget.as_ref());
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // one that is not known has declined
        let raised = raised::of(identity, now).unwrap_or_default();
        Self {
            tpm_limit: key.tpm_limit.or_else(|| budget?.tpm_limit),
            rpm_limit: key.rpm_limit.or_else(|| budget?.rpm_limit),
            max_budget: key.max_budget.or_else(|| budget?.max_budget).map(|max| max + raised.key),
            spend: key.spend,
            rates: Vec::new(),
        }
    }

    /// `cost`: US dollars of this call.
    pub fn push(&self, headers: &mut HeaderList, cost: f64) {
        let limits = [("x-litellm-key-tpm-limit", self.tpm_limit), ("x-litellm-key-rpm-limit", self.rpm_limit)];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                push(headers, name, limit.to_string());
            }
        }
        if let Some(budget) = self.max_budget {
            push(headers, "x-litellm-key-max-budget", python_float(budget));
        }
        headers.push_float("x-litellm-key-spend", self.spend + cost);
    }

    pub fn push_rates(&self, headers: &mut HeaderList) {
        self.rates.iter().for_each(|(name, value)| headers.push_made("", name, value));
    }
}

const PROVIDER_REQUEST_ID: &[&str] = &[
    "x-amzn-requestid",
    "x-request-id",
    "request-id",
    "x-ms-request-id",
    "apim-request-id",
    "x-goog-request-id",
    "cf-ray",
];

/// The provider's own id of a request (constants.py `PROVIDER_REQUEST_ID_HEADERS`).
pub(super) fn provider_request_id(headers: &http::HeaderMap) -> Option<String> {
    let named = |name: &&'static str| headers.get(*name)?.to_str().ok().filter(|id| !id.is_empty()).map(str::to_owned);
    PROVIDER_REQUEST_ID.iter().find_map(named)
}
