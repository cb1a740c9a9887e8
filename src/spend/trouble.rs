//! `error_information` of a failed call: which exception it was in LiteLLM, and the one word its dashboards cluster
//! failures by (litellm_core_utils/error_normalization.py). Pure.
use std::sync::LazyLock;

use regex::Regex;

use crate::error::redact::redact;

/// What went wrong with a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Trouble {
    #[default]
    None,
    /// the client left a stream
    Left,
    Failed(Box<Failed>),
}

/// `error_information` of a call that failed (litellm_logging.py `get_error_information`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failed {
    /// the exception's class
    pub class: String,
    /// its status; empty where it has none
    pub code: String,
    /// its `llm_provider`
    pub provider: String,
    pub message: String,
    /// `normalized_error`
    pub normalized: &'static str,
    /// the provider's id of the request
    pub provider_request_id: Option<String>,
    /// `error_rate_limit_category`: who limits
    pub rate_limit: Option<&'static str>,
}

impl Failed {
    /// One of LiteLLM's own exceptions: its text begins with its class.
    pub fn litellm(provider: &str, status: u16, message: &str) -> Self {
        let class = class(message);
        Self::new(class, &status.to_string(), provider, message)
    }

    /// Any exception.
    pub fn new(class: &str, code: &str, provider: &str, message: &str) -> Self {
        Self {
            class: class.to_owned(),
            code: code.to_owned(),
            provider: provider.to_owned(),
            normalized: normalized(class, code, message),
            message: stored(&redact(message)),
            provider_request_id: None,
            rate_limit: (class == "RateLimitError").then_some("vendor_rate_limit"),
        }
    }
}

/// Most characters of a message in a row (`MAX_STRING_LENGTH_PROMPT_IN_DB`), and how many of its first are kept.
const MOST: usize = 2048;
const FIRST: usize = 716;

/// The message as a row holds it: without what a provider repeats of the prompt, and of bounded length
/// (spend_tracking_utils.py `sanitize_error_information_for_spend_logs`).
fn stored(message: &str) -> String {
    static LEAK: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?:['"](?:input|messages|prompt)['"]\s*:\s*|\binput_value\s*=\s*)"#;
        Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
    });
    // LiteLLM goes on behind the repeated value; where that ends is not worth a parser
    let message = match LEAK.find(message) {
        Some(leak) => format!("{}\"REDACTED_BY_LITELM\"", message.get(..leak.end()).unwrap_or_default()),
        None => message.to_owned(),
    };
    let length = message.chars().count();
    if length <= MOST {
        return message;
    }
    // 35 % and 65 %, each rounded down
    let last = MOST * 65 / 100;
    let first: String = message.chars().take(FIRST).collect();
    let rest: String = message.chars().skip(length - last).collect();
    format!(
        "{first}... (litellm_truncated skipped {} chars. Truncation is a DB storage safeguard. Full, untruncated data is \
         logged to logging callbacks (OTEL, Datadog, etc.). To increase the truncation limit, set \
         `MAX_STRING_LENGTH_PROMPT_IN_DB` in your env.) ...{rest}",
        length - FIRST - last
    )
}

/// `litellm.BadRequestError: ...`; the policy's exception calls itself by its parent first.
fn class(message: &str) -> &str {
    const POLICY: &str = "ContentPolicyViolationError";
    let text = message.strip_prefix("litellm.").unwrap_or(message);
    let (first, rest) = text.split_once(':').unwrap_or((text, ""));
    if rest.trim_start().strip_prefix("litellm.").is_some_and(|rest| rest.starts_with(POLICY)) { POLICY } else { first }
}

/// Searched in this order, without regard to case.
const PATTERNS: &[(&str, &str)] = &[
    ("upstream passthrough request failed", "500_UPSTREAM_PASSTHROUGH"),
    ("budget has been exceeded|max budget|crossed budget", "429_BUDGET_EXCEEDED"),
    ("no healthy deployments?|no deployments available", "429_NO_HEALTHY_DEPLOYMENTS"),
    ("not allowed to access model due to tags configuration", "403_MODEL_ACCESS_DENIED"),
    ("is not supported for provider|not implemented", "500_UNSUPPORTED_OPERATION"),
    (
        r"context window|context length|(prompt|input) is too long|tokens? ?> ?\d+ ?maximum",
        "400_CONTEXT_WINDOW_EXCEEDED",
    ),
    ("missing required parameter|field required", "400_MISSING_REQUIRED_PARAMETER"),
    ("overloaded|unable to process your request", "503_PROVIDER_OVERLOADED"),
    (
        "connection error|APIConnectionError|TransferEncodingError|payload is not completed|connection reset\
         |peer closed connection|incomplete chunked read",
        "500_PROVIDER_CONNECTION_ERROR",
    ),
    ("timed? ?out", "408_UPSTREAM_TIMEOUT"),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compile = |(pattern, word): &(&str, &'static str)| {
        let pattern = regex::RegexBuilder::new(pattern).case_insensitive(true).build();
        (pattern.unwrap_or_else(|error| unreachable!("{error}")), *word)
    };
    PATTERNS.iter().map(compile).collect()
});

const CLASSES: &[(&str, &str)] = &[
    ("RateLimitError", "429_RATE_LIMIT_EXCEEDED"),
    ("AuthenticationError", "401_AUTHENTICATION_FAILED"),
    ("PermissionDeniedError", "403_PERMISSION_DENIED"),
    ("ContextWindowExceededError", "400_CONTEXT_WINDOW_EXCEEDED"),
    ("ContentPolicyViolationError", "400_CONTENT_POLICY_VIOLATION"),
    ("NotFoundError", "404_RESOURCE_NOT_FOUND"),
    ("Timeout", "408_UPSTREAM_TIMEOUT"),
    ("APIConnectionError", "500_PROVIDER_CONNECTION_ERROR"),
    ("ServiceUnavailableError", "503_PROVIDER_OVERLOADED"),
    ("InternalServerError", "500_PROVIDER_INTERNAL_ERROR"),
    ("BadGatewayError", "500_PROVIDER_INTERNAL_ERROR"),
    ("BadRequestError", "400_INVALID_REQUEST"),
    ("UnprocessableEntityError", "400_INVALID_REQUEST"),
];

const CODES: &[(&str, &str)] = &[
    ("400", "400_INVALID_REQUEST"),
    ("401", "401_AUTHENTICATION_FAILED"),
    ("403", "403_PERMISSION_DENIED"),
    ("404", "404_RESOURCE_NOT_FOUND"),
    ("408", "408_UPSTREAM_TIMEOUT"),
    ("422", "400_INVALID_PARAMETER_VALUE"),
    ("429", "429_RATE_LIMIT_EXCEEDED"),
    ("500", "500_PROVIDER_INTERNAL_ERROR"),
    ("502", "500_PROVIDER_INTERNAL_ERROR"),
    ("503", "503_PROVIDER_OVERLOADED"),
    ("504", "408_UPSTREAM_TIMEOUT"),
];

fn normalized(class: &str, code: &str, message: &str) -> &'static str {
    let lower = message.to_lowercase();
    let over_budget =
        |line: &str| line.find("exceeded").is_some_and(|at| line.get(at + 8..).unwrap_or_default().contains("budget"));
    if lower.split('\n').any(over_budget) {
        return "429_BUDGET_EXCEEDED";
    }
    let named = |table: &[(&str, &'static str)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, word)| *word)
    };
    COMPILED
        .iter()
        .find(|(pattern, _)| pattern.is_match(message))
        .map(|(_, word)| *word)
        .or_else(|| named(CLASSES, class))
        .or_else(|| named(CODES, code))
        .unwrap_or("UNCLASSIFIED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_named_as_litellm_names_them() {
        let of = |status, message: &str| {
            let failed = Failed::litellm("openai", status, message);
            (failed.class, failed.normalized)
        };
        let is = |class: &str, word| (class.to_owned(), word);
        assert_eq!(
            of(400, "litellm.BadRequestError: OpenAIException - x"),
            is("BadRequestError", "400_INVALID_REQUEST")
        );
        let policy = "litellm.BadRequestError: litellm.ContentPolicyViolationError: ContentPolicyViolationError: x";
        assert_eq!(of(400, policy), is("ContentPolicyViolationError", "400_CONTENT_POLICY_VIOLATION"));
        assert_eq!(of(418, "litellm.APIError: APIError: x"), is("APIError", "UNCLASSIFIED"));
        assert_eq!(
            of(500, "litellm.InternalServerError: Overloaded"),
            is("InternalServerError", "503_PROVIDER_OVERLOADED")
        );
        assert_eq!(of(422, "litellm.X: exceeded the\nbudget").1, "400_INVALID_PARAMETER_VALUE");
        assert_eq!(of(422, "litellm.X: exceeded your budget").1, "429_BUDGET_EXCEEDED");
        let leak = Failed::litellm("openai", 400, "litellm.X: {'messages': [{'content': 'secret'}]}").message;
        assert_eq!(leak, "litellm.X: {'messages': \"REDACTED_BY_LITELM\"");
        let long = Failed::litellm("openai", 400, &"é".repeat(3000)).message;
        assert!(long.contains("skipped 953 chars") && long.ends_with('é') && long.starts_with('é'));
        assert_eq!(Failed::new("ReadTimeout", "", "", "Timeout on reading data").normalized, "408_UPSTREAM_TIMEOUT");
    }
}
