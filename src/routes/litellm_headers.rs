//! The `x-litellm-*` response headers, in LiteLLM's order (proxy/common_request_processing.py `get_custom_headers`).
//! Values that are `None`, `""` or `"None"` in Python are left out.
use std::borrow::Cow;

use crate::{
    config::Deployment,
    faults::fault,
    spend::{Cost, cost::python_float},
};

/// The LiteLLM version whose behaviour the native routes have; the value of `x-litellm-version`.
pub const LITELLM_VERSION: &str = "1.106.2";

/// Response headers in order; names of provider headers exist only at run time.
pub type HeaderList = Vec<(Cow<'static, str>, String)>;

/// The cost headers of a successful answer. `total`: `x-litellm-response-cost`, absent on streams.
pub fn push_cost(headers: &mut HeaderList, cost: Option<&Cost>, usage_has_cache: bool) {
    let zero = Cost::default();
    if let Some(cost) = cost.filter(|cost| cost.total != 0.0) {
        push(headers, "x-litellm-response-cost", python_float(cost.total));
    }
    let cost = cost.unwrap_or(&zero);
    push(headers, "x-litellm-response-cost-original", python_float(cost.total));
    push(headers, "x-litellm-response-cost-discount-amount", "0.0");
    push(headers, "x-litellm-response-cost-margin-amount", "0.0");
    push(headers, "x-litellm-response-cost-margin-percent", "0.0");
    push(headers, "x-litellm-response-cost-input", python_float(cost.input));
    push(headers, "x-litellm-response-cost-output", python_float(cost.output));
    if usage_has_cache {
        push(headers, "x-litellm-response-cost-cache-read", python_float(cost.cache_read));
        push(headers, "x-litellm-response-cost-cache-creation", python_float(cost.cache_creation));
    }
    push(headers, "x-litellm-response-cost-tool-usage", "0.0");
}

/// `x-litellm-model-id`, `-model-name`: the deployment that served.
pub fn push_deployment(headers: &mut HeaderList, deployment: &Deployment) {
    let id = if fault!(ModelId) { deployment.litellm_model.clone() } else { deployment.id.clone() };
    push(headers, "x-litellm-model-id", id);
    push(headers, "x-litellm-model-name", deployment.litellm_model.clone());
}

/// Appends a header with a fixed name.
pub fn push(headers: &mut HeaderList, name: &'static str, value: impl Into<String>) {
    headers.push((Cow::Borrowed(name), value.into()));
}

/// The call id: the client's `x-litellm-call-id` of 1 to 256 characters, else a new uuid4.
pub fn call_id(client: Option<&str>) -> String {
    match client {
        Some(id) if (1..=256).contains(&id.len()) => id.to_owned(),
        _ if fault!(CallId) => uuid::Uuid::new_v4().simple().to_string(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}
