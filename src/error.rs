//! Every failure the edge itself answers with -> status + body in the caller's dialect. The one place where error
//! bodies are written; nothing else formats one. It must never put a key, a prompt or a credential in a message.
pub mod redact;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

/// The shape a client expects errors in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error":{"message","type","param","code"}}` (LiteLLM `ProxyException.to_dict`, proxy_server.py `openai_exception_handler`)
    OpenAi,
    /// `{"type":"error","error":{"type","message"}}` (LiteLLM proxy/anthropic_endpoints)
    Anthropic,
}

/// A failure as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub status: StatusCode,
    pub message: String,
    /// OpenAI `error.type` / Anthropic `error.error.type`; `None` is JSON null (older LiteLLM code paths)
    pub kind: Option<String>,
    /// OpenAI `error.param`; LiteLLM writes the string `"None"` for generic authentication errors
    pub param: Option<String>,
    /// OpenAI `error.code`; a string, the HTTP status unless LiteLLM sets another
    pub code: Option<String>,
    /// further keys of the error object, in order (`provider_specific_fields`, `litellm_call_id`, `request_id`)
    pub extra: Map<String, Value>,
    /// seconds for the `Retry-After` header
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A failure with LiteLLM's default type for the status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: Some(openai_type(status).to_owned()),
            param: None,
            code: Some(status.as_u16().to_string()),
            extra: Map::new(),
            retry_after: None,
        }
    }

    /// The JSON body: compact, UTF-8, as LiteLLM's `JSONResponse` writes it.
    pub fn body(&self, dialect: Dialect) -> Bytes {
        let mut error = Map::new();
        let body = match dialect {
            Dialect::OpenAi => {
                error.insert("message".into(), self.message.clone().into());
                error.insert("type".into(), self.kind.clone().into());
                error.insert("param".into(), self.param.clone().into());
                error.insert("code".into(), self.code.clone().into());
                error.extend(self.extra.clone());
                serde_json::json!({ "error": error })
            }
            Dialect::Anthropic => {
                error.insert("type".into(), self.kind.clone().into());
                error.insert("message".into(), self.message.clone().into());
                let mut extra = self.extra.clone();
                // the one key that stands beside the error (anthropic_interface/exceptions)
                let request_id = extra.remove("request_id");
                error.extend(extra);
                let mut body = serde_json::json!({ "type": "error", "error": error });
                if let (Some(id), Some(body)) = (request_id, body.as_object_mut()) {
                    body.insert("request_id".into(), id);
                }
                body
            }
        };
        Bytes::from(body.to_string())
    }
}

/// LiteLLM's `error.type` where an exception carries none (proxy/common_utils/openai_error_payload.py).
pub fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        ..500 => "invalid_request_error",
        _ => "internal_server_error",
    }
}

/// Anthropic's `error.type` by status (LiteLLM anthropic_interface/exceptions).
pub fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

/// What can go wrong at the edge itself, before or beside any native route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    #[error("the request's Host, target or framing is malformed: {0}")]
    Malformed(&'static str),
    #[error("the Python gateway is not reachable")]
    PythonUnreachable,
    #[error("the Python gateway is not reachable yet or is restarting")]
    PythonStarting,
    #[error("the Python gateway did not answer in time")]
    PythonTimeout,
    #[error("the Python gateway closed the connection before it answered")]
    PythonCut,
    #[error("no Python gateway is configured and route {route} is not served natively: {reason}")]
    NoPython { route: String, reason: &'static str },
    #[error("the edge is shutting down")]
    Draining,
    #[error("the edge has as many requests in flight as it takes")]
    Busy,
    #[error("the request body was not complete")]
    BodyCut,
    #[error("the edge failed while it served this request")]
    Internal,
}

impl From<EdgeError> for Failure {
    fn from(error: EdgeError) -> Self {
        let (status, retry_after) = match &error {
            EdgeError::Malformed(_) | EdgeError::BodyCut => (StatusCode::BAD_REQUEST, None),
            EdgeError::PythonUnreachable | EdgeError::PythonCut => (StatusCode::BAD_GATEWAY, Some(1)),
            EdgeError::PythonStarting | EdgeError::Draining | EdgeError::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(1))
            }
            EdgeError::PythonTimeout => (StatusCode::GATEWAY_TIMEOUT, Some(1)),
            EdgeError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
            EdgeError::NoPython { .. } => (StatusCode::NOT_IMPLEMENTED, None),
        };
        Failure { retry_after, ..Failure::new(status, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_litellms() {
        let failure = Failure::new(StatusCode::BAD_GATEWAY, "x");
        assert_eq!(
            failure.body(Dialect::OpenAi),
            r#"{"error":{"message":"x","type":"internal_server_error","param":null,"code":"502"}}"#
        );
        let failure = Failure { kind: Some("api_error".into()), ..failure };
        assert_eq!(failure.body(Dialect::Anthropic), r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#);
    }
}
