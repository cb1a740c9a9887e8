//! What LiteLLM tells a caller when Anthropic refused or failed (litellm_core_utils/exception_mapping_utils.py
//! `_map_anthropic_exception`, `_map_exception_by_status`).
use http::StatusCode;

use crate::error::{Failure, anthropic_type, redact::redact};

/// The names of exceptions by the provider's status: (status, exception, what stands before the text, what after it,
/// the client's status).
type Row = (u16, &'static str, &'static str, &'static str, u16);
const BY_STATUS: [Row; 13] = [
    (400, "BadRequestError", "AnthropicException - ", "", 400),
    (401, "AuthenticationError", "AnthropicException - ", "", 401),
    (402, "PaymentRequiredError", "AnthropicException - ", "", 402),
    (403, "PermissionDeniedError", "AnthropicException - ", "", 403),
    (404, "NotFoundError", "AnthropicException - ", "", 404),
    (408, "Timeout", "AnthropicException - ", "", 408),
    (413, "BadRequestError", "AnthropicException - ", "", 400),
    (429, "RateLimitError", "AnthropicException - ", "", 429),
    (500, "InternalServerError", "AnthropicException - ", ". Handle with `litellm.InternalServerError`.", 500),
    (502, "BadGatewayError", "AnthropicException BadGatewayError - ", "", 502),
    (503, "ServiceUnavailableError", "AnthropicException - ", ". Handle with `litellm.ServiceUnavailableError`.", 503),
    (504, "Timeout", "AnthropicException Timeout - ", "", 504),
    (529, "InternalServerError", "AnthropicException - ", ". Handle with `litellm.InternalServerError`.", 500),
];

/// Signs of a prompt that is too long (`ExceptionCheckers.is_error_str_context_window_exceeded`), in lower case.
const TOO_LONG: [&str; 9] = [
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
const TIMED_OUT: [&str; 4] =
    ["Request Timeout Error", "Request timed out", "Timed out generating response", "The read operation timed out"];

/// The provider's answer with a status over 299, or with a body that is no JSON (then `status` is 200).
pub fn refused(status: u16, text: &str, group: &str) -> Failure {
    let text = redact(text);
    let text = text.as_ref();
    let any = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let fallbacks = |kind: &str, setting: &str| {
        format!(
            "\nmodel={group}. {kind}=None. fallbacks=None.\n\nSet '{setting}' - https://docs.litellm.ai/docs/routing#fallbacks"
        )
    };
    let (code, message) = if any(&TIMED_OUT) {
        (408, format!("litellm.Timeout: APITimeoutError - Request timed out. Error_str: {text}"))
    } else if any(&["prompt is too long", "prompt: length"]) || is_too_long(text) {
        let tail = fallbacks("context_window_fallbacks", "context_window_fallback");
        (400, format!("litellm.ContextWindowExceededError: litellm.BadRequestError: AnthropicError - {text}{tail}"))
    } else if any(&["overloaded_error", "Overloaded"]) {
        (500, format!("litellm.InternalServerError: AnthropicError - {text}"))
    } else if any(&["Invalid API Key"]) {
        (401, format!("litellm.AuthenticationError: AnthropicError - {text}"))
    } else if any(&["content filtering policy"]) {
        let tail = fallbacks("content_policy_fallback", "content_policy_fallback");
        (400, format!("litellm.BadRequestError: litellm.ContentPolicyViolationError: AnthropicError - {text}{tail}"))
    } else if any(&["Client error '400 Bad Request'"]) {
        (400, format!("litellm.BadRequestError: AnthropicError - {text}"))
    } else if let Some((_, class, before, after, code)) = BY_STATUS.iter().find(|row| row.0 == status) {
        (*code, format!("litellm.{class}: {before}{text}{after}"))
    } else {
        match status {
            400..500 => (status, format!("litellm.BadRequestError: AnthropicException - {text}")),
            500.. => (status, format!("litellm.APIError: AnthropicException - {text}")),
            _ => (500, format!("litellm.APIConnectionError: AnthropicException - {text}")),
        }
    };
    failure(code, with_group(message, group))
}

/// No answer, or not all of it; `text` is what Python's HTTP client would say.
pub fn broken(text: &str, group: &str) -> Failure {
    refused(500, text, group)
}

/// The answer's body is JSON but no object.
pub fn not_an_object(python_type: &str) -> Failure {
    let class = "litellm.types.llms.anthropic_messages.anthropic_response.AnthropicMessagesResponse()";
    failure(500, format!("{class} argument after ** must be a mapping, not {python_type}"))
}

/// A stream that broke off: no exception name, no model group.
pub fn stream_broken(text: &str) -> Failure {
    failure(500, text.to_owned())
}

fn with_group(message: String, group: &str) -> String {
    format!("{message}\n\nLiteLLM: model group '{group}' failed with the error above. No fallback was attempted.")
}

fn failure(code: u16, message: String) -> Failure {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Failure { kind: Some(anthropic_type(status).to_owned()), ..Failure::new(status, message) }
}

fn is_too_long(text: &str) -> bool {
    let lower = text.to_lowercase();
    let has = |sign: &str| lower.contains(sign);
    if has("string_above_max_length") || (has("invalid 'user'") && has("string too long")) {
        return false;
    }
    TOO_LONG.iter().any(|sign| has(sign))
        || (has("current length is") && has("while limit is"))
        || (has("maximum input length is") && has("tokens"))
}

/// The provider was waited for in vain.
pub fn is_timeout(failure: &Failure) -> bool {
    failure.message.contains("Connection timed out. Timeout passed=")
}

/// Whether LiteLLM would try once more without thinking blocks (`is_anthropic_invalid_thinking_block_error`, unless the
/// caller asked for the error by `thinking.block_binding`).
pub fn is_thinking_refused(status: u16, text: &str, wants_binding_error: bool) -> bool {
    if status != 400 {
        return false;
    }
    let lower = text.to_lowercase();
    let has = |sign: &str| lower.contains(sign);
    if wants_binding_error && has("bound to a different conversation") {
        return false;
    }
    has("thinking") && ((has("signature") && (has("invalid") || has("valid string"))) || has("must contain thinking"))
}
