//! A provider's failure -> the error LiteLLM answers with: the OpenAI SDK's exception, then
//! `exception_mapping_utils.py:_map_openai_exception`, then what the router appends. Pure; one table of texts.
use serde_json::{Map, Value};

use super::python;
use crate::error::redact::redact_internal_details;

/// How far the provider got before the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// no answer: refused, cut, timed out
    No,
    /// an HTTP error status: its headers reach the client
    Status,
    /// the failure is inside an answer with a success status
    InBody,
}

/// A failed call, before LiteLLM names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub answered: Answered,
    /// `status_code` of the SDK's exception; `None` where it has none
    status: Option<u16>,
    /// the exception's own text: what LiteLLM searches for known phrases
    text: String,
    /// the exception's `body`
    body: Value,
    special: Option<Special>,
}

/// Failures inside LiteLLM itself while it reads an answer.
#[derive(Debug, Clone, PartialEq)]
enum Special {
    /// the models refuse the answer: the text is cut before the traceback, the router's part with it
    InvalidResponse,
    /// an attribute error: LiteLLM blames the request
    InvalidRequestFormat,
    /// an exception nothing maps
    Unmapped,
    /// the answer could not even be written: Starlette's handler
    Bare,
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub status: u16,
    pub message: String,
    pub kind: Option<String>,
    pub param: Option<String>,
    /// `code` of the provider's body, where LiteLLM's exception has it
    pub code: Option<String>,
    /// LiteLLM adds `x-litellm-timeout`
    pub shows_timeout: bool,
    /// only `{"error":{"message","type"}}`, no LiteLLM header at all
    pub bare: bool,
}

/// What the router knows and appends.
#[derive(Debug, Clone, Copy)]
pub struct RouterView<'a> {
    pub model_group: &'a str,
    /// `litellm_params.timeout` as Python prints it; `None` is unset
    pub deployment_timeout: Option<&'a str>,
}

impl Fault {
    /// An exception with a status, a text and nothing else.
    pub fn plain(status: Option<u16>, text: String) -> Self {
        Self { answered: Answered::InBody, status, text, body: Value::Null, special: None }
    }

    /// No answer came: connection refused, reset, or cut while it was read.
    pub fn connection() -> Self {
        Self { answered: Answered::No, ..Self::plain(Some(500), "Connection error.".into()) }
    }

    /// The provider was too slow. `measured`: timeout and time taken, which LiteLLM adds where it waited for a head.
    pub fn timeout(measured: Option<(&str, f64)>) -> Self {
        let mut text = "Request timed out.".to_owned();
        if let Some((timeout, taken)) = measured {
            let taken = crate::spend::cost::python_float((taken * 100.0).round() / 100.0);
            text += &format!(" - timeout value={timeout}, time taken={taken} seconds");
        }
        Self { answered: Answered::No, ..Self::plain(Some(408), text) }
    }

    /// An answer with an HTTP error status (openai `_make_status_error_from_response`).
    pub fn status(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let parsed = serde_json::from_str::<Value>(text).ok().filter(|_| !text.is_empty());
        let (message, body) = match parsed {
            Some(value) => {
                let message = format!("Error code: {status} - {}", python::str_of(&value));
                let inner = match value {
                    Value::Object(mut map) if map.contains_key("error") => map.remove("error").unwrap_or_default(),
                    other => other,
                };
                (message, inner)
            }
            None if text.is_empty() => (format!("Error code: {status}"), Value::String(String::new())),
            None => (text.to_owned(), Value::String(text.to_owned())),
        };
        // LiteLLM's own exception has no status below 400
        Self { answered: Answered::Status, status: Some(status), text: message, body, special: None }
    }

    /// An exception while a stream is read: it has no status.
    pub fn in_stream(text: impl Into<String>) -> Self {
        Self::plain(None, text.into())
    }

    /// `{"error": ...}` as a stream's event (openai `_streaming.py`).
    pub fn stream_error(error: Value) -> Self {
        let message = error.get("message").and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = message.unwrap_or("An error occurred during streaming").to_owned();
        Self { body: error, ..Self::in_stream(text) }
    }

    /// A stream that says the same thing over and over.
    pub fn repeating(content: &str) -> Self {
        let text = format!("litellm.InternalServerError: The model is repeating the same chunk = {content}.");
        Self { special: Some(Special::Unmapped), ..Self::in_stream(text) }
    }

    pub fn invalid_response() -> Self {
        Self { special: Some(Special::InvalidResponse), ..Self::plain(Some(500), "Invalid response object".into()) }
    }

    pub fn invalid_request_format() -> Self {
        Self { special: Some(Special::InvalidRequestFormat), ..Self::invalid_response() }
    }

    pub fn unmapped(text: &str) -> Self {
        Self { special: Some(Special::Unmapped), ..Self::plain(Some(500), text.into()) }
    }

    pub fn bare(text: &str) -> Self {
        Self { special: Some(Special::Bare), ..Self::plain(Some(500), text.into()) }
    }

    /// `true` where LiteLLM answers 200 with an empty, length-truncated completion instead of this error.
    pub fn is_output_limit(&self) -> bool {
        self.status == Some(400)
            && self
                .text
                .to_lowercase()
                .contains("could not finish the message because max_tokens or model output limit was reached")
    }

    /// The provider was waited for in vain.
    pub fn is_timeout(&self) -> bool {
        self.answered == Answered::No && self.status == Some(408)
            || self.status.is_none() && self.text == "Timeout on reading data from socket"
    }

    /// What a client is told. `router`: the router's view where it still handles the call; `None` once a stream is
    /// being read, where neither its texts nor a type are added.
    pub fn tell(&self, router: Option<RouterView<'_>>) -> Told {
        let class = self.class();
        let mut message = class.message;
        if let Some(router) = router {
            append_router(&mut message, class.kind, router);
        }
        let text = |name: &str| match self.body.get(name) {
            Some(Value::String(text)) if text != "None" => Some(text.clone()),
            _ => None,
        };
        let from_body = class.kind == ClassKind::BadRequest || class.kind == ClassKind::ContentPolicy;
        let has_param = from_body || matches!(class.kind, ClassKind::RateLimit | ClassKind::Internal);
        let kind = match class.kind {
            ClassKind::RateLimit => Some("throttling_error".to_owned()),
            _ if from_body => text("type"),
            _ => None,
        };
        let status = class.status;
        let mut told = Told {
            status,
            message,
            kind: Some(kind.unwrap_or_else(|| default_type(status).to_owned())),
            param: has_param.then(|| text("param")).flatten(),
            code: from_body.then(|| text("code")).flatten().filter(|code| !code.is_empty()),
            shows_timeout: true,
            bare: false,
        };
        match self.special {
            Some(Special::InvalidResponse) => {
                told.message =
                    format!("litellm.InternalServerError: InternalServerError: OpenAIException - {}", self.text);
            }
            Some(Special::InvalidRequestFormat) => {
                let text =
                    "litellm.InternalServerError: InternalServerError: OpenAIException - Invalid response object";
                told = Told {
                    status: 400,
                    message: format!("Invalid request format: {text}"),
                    kind: Some("invalid_request_error".into()),
                    ..told
                };
            }
            Some(Special::Unmapped) => {
                told.message = self.text.clone();
                told.shows_timeout = false;
            }
            Some(Special::Bare) => {
                told.message = self.text.clone();
                told.bare = true;
            }
            None => {}
        }
        match router {
            Some(_) => told.message = redact_internal_details(&told.message),
            None => {
                told.kind = None;
                told.param = None;
            }
        }
        told
    }

    /// The message inside the body, else the exception's own.
    fn message(&self) -> String {
        let inner = match &self.body {
            Value::Object(map) => match map.get("message").filter(|message| is_truthy(message)) {
                Some(message) => Some(python::str_of(message)),
                None => nested_message(map),
            },
            _ => None,
        };
        inner.unwrap_or_else(|| self.text.clone()).replace("openai.OpenAIError", "openai.openaiError")
    }

    fn class(&self) -> Class {
        let error = self.text.as_str();
        let has = |part: &str| error.contains(part);
        let lower = error.to_lowercase();
        let status = |default: u16| match self.status {
            Some(status) if (400..=599).contains(&status) => status,
            Some(_) => 500,
            None => default,
        };
        let message = self.message();
        let with = |prefix: &str, kind: ClassKind, status: u16| Class {
            message: format!("litellm.{prefix}OpenAIException - {message}"),
            kind,
            status,
        };
        let timeouts = [
            "Request Timeout Error",
            "Request timed out",
            "Timed out generating response",
            "The read operation timed out",
        ];
        if timeouts.iter().any(|part| has(part)) {
            return Class {
                message: format!("litellm.Timeout: APITimeoutError - Request timed out. Error_str: {error}"),
                kind: ClassKind::Timeout,
                status: 408,
            };
        }
        if is_rate_limit(error, &lower, self.status) || has("Request too large") && !has("invalid_request_error") {
            return with("RateLimitError: RateLimitError: ", ClassKind::RateLimit, 429);
        }
        if is_context_window(&lower) {
            let prefix = "ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: ";
            return with(prefix, ClassKind::ContextWindow, status(400));
        }
        let invalid = has("invalid_request_error");
        if invalid && has("model_not_found") {
            return with("NotFoundError: ", ClassKind::Other, status(404));
        }
        if has("A timeout occurred") {
            return with("Timeout: ", ClassKind::Timeout, 408);
        }
        if invalid && has("content_policy_violation")
            || has("Invalid prompt") && has("violating our usage policy")
            || lower.contains("request was rejected as a result of the safety system")
        {
            let prefix = "BadRequestError: litellm.ContentPolicyViolationError: ContentPolicyViolationError: ";
            return with(prefix, ClassKind::ContentPolicy, status(400));
        }
        if has("invalid_encrypted_content") || has("could not be verified") {
            let mut class = with("BadRequestError: ", ClassKind::BadRequest, status(400));
            class.message += ENCRYPTED_CONTENT;
            return class;
        }
        if invalid && !has("Incorrect API key provided") {
            return with("BadRequestError: ", ClassKind::BadRequest, status(400));
        }
        if has("Web server is returning an unknown error") || has("The server had an error processing your request.") {
            return with("InternalServerError: ", ClassKind::Internal, 500);
        }
        match self.status {
            None => with("APIConnectionError: APIConnectionError: ", ClassKind::Other, 500),
            Some(status) => match STATUSES.iter().find(|(known, ..)| *known == status) {
                Some((_, prefix, kind)) => with(prefix, *kind, status),
                None => with("APIError: APIError: ", ClassKind::Other, if status < 400 { 500 } else { status }),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClassKind {
    Timeout,
    RateLimit,
    ContextWindow,
    ContentPolicy,
    BadRequest,
    Internal,
    Other,
}

struct Class {
    message: String,
    kind: ClassKind,
    status: u16,
}

/// LiteLLM's exceptions by status, where no phrase decided.
static STATUSES: &[(u16, &str, ClassKind)] = &[
    (400, "BadRequestError: ", ClassKind::BadRequest),
    (401, "AuthenticationError: AuthenticationError: ", ClassKind::Other),
    (404, "NotFoundError: NotFoundError: ", ClassKind::Other),
    (408, "Timeout: Timeout Error: ", ClassKind::Timeout),
    (422, "BadRequestError: ", ClassKind::BadRequest),
    (429, "RateLimitError: RateLimitError: ", ClassKind::RateLimit),
    (500, "InternalServerError: InternalServerError: ", ClassKind::Internal),
    (502, "BadGatewayError: BadGatewayError: ", ClassKind::Other),
    (503, "ServiceUnavailableError: ServiceUnavailableError: ", ClassKind::Other),
    (504, "Timeout: Timeout Error: ", ClassKind::Timeout),
];

const ENCRYPTED_CONTENT: &str = "\n\n This error occurs when load balancing Responses API across deployments with \
different API keys.\n   Encrypted content is tied to the organization that created it and cannot be decrypted by other \
organizations.\n\n   Solution: Enable 'encrypted_content_affinity' to route follow-up requests to the correct \
deployment:\n\n   router_settings:\n     enable_pre_call_checks: true\n     optional_pre_call_checks:\n       - \
encrypted_content_affinity\n\n   Learn more: \
https://docs.litellm.ai/docs/response_api#encrypted-content-affinity-multi-region-load-balancing";

fn append_router(message: &mut String, kind: ClassKind, router: RouterView<'_>) {
    let group = router.model_group;
    match kind {
        ClassKind::ContextWindow => {
            *message += &format!(
                "\nmodel={group}. context_window_fallbacks=None. fallbacks=None.\n\nSet 'context_window_fallback' - \
             https://docs.litellm.ai/docs/routing#fallbacks"
            )
        }
        ClassKind::ContentPolicy => {
            *message += &format!(
                "\nmodel={group}. content_policy_fallback=None. fallbacks=None.\n\nSet 'content_policy_fallback' - \
             https://docs.litellm.ai/docs/routing#fallbacks"
            )
        }
        ClassKind::Timeout => {
            let timeout = router.deployment_timeout.unwrap_or("None");
            *message += &format!("\n\nDeployment Info: request_timeout: None\ntimeout: {timeout}");
        }
        _ => {}
    }
    *message += &format!("\n\nLiteLLM: model group '{group}' failed with the error above. No fallback was attempted.");
}

fn default_type(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).map_or("internal_server_error", crate::error::openai_type)
}

fn nested_message(map: &Map<String, Value>) -> Option<String> {
    match map.get("error")?.get("message")? {
        Value::Null => None,
        message => Some(python::str_of(message)),
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// LiteLLM `is_error_str_rate_limit`.
fn is_rate_limit(error: &str, lower: &str, status: Option<u16>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let standalone = || {
        error.match_indices("429").any(|(at, _)| {
            let before = error.get(..at).and_then(|text| text.chars().next_back());
            let after = error.get(at + 3..).and_then(|text| text.chars().next());
            !before.is_some_and(word) && !after.is_some_and(word)
        })
    };
    let phrase = || {
        lower.match_indices("rate").any(|(at, _)| {
            let rest = lower.get(at + 4..).unwrap_or_default();
            rest.trim_start_matches(|c: char| c.is_whitespace() || c == '_' || c == '-').starts_with("limit")
        })
    };
    status.is_none_or(|status| status == 429) && standalone()
        || phrase()
        || lower.contains("service tier capacity exceeded")
}

/// LiteLLM `is_error_str_context_window_exceeded`.
fn is_context_window(lower: &str) -> bool {
    let has = |part: &str| lower.contains(part);
    if has("string_above_max_length") || has("invalid 'user'") && has("string too long") {
        return false;
    }
    let known = [
        "exceed context limit",
        "this model's maximum context length is",
        "string too long. expected a string with maximum length",
        "model's maximum context limit",
        "is longer than the model's context length",
        "input tokens exceed the configured limit",
        "`inputs` tokens + `max_new_tokens` must be",
        "exceeds the available context size",
        "exceeds the maximum number of tokens allowed",
    ];
    known.iter().any(|part| has(part))
        || has("current length is") && has("while limit is")
        || has("maximum input length is") && has("tokens")
}
