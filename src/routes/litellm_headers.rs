//! The `x-litellm-*` response headers, in LiteLLM's order (proxy/common_request_processing.py `get_custom_headers`).
//! Values that are `None`, `""` or `"None"` in Python are left out.
use super::HeaderList;
use crate::{config::Deployment, faults::fault};

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
