//! The way to Python and back, Pingora's own proxying: what is set on the request, and what a failure becomes.
//!
//! Unchanged: method, raw path and query, header names with their case, values, order, body bytes, status, answer.
//! Changed, because HTTP or Pingora makes us (`tests/edge/passthrough.rs` has each; docs/deploying.md lists them for operators):
//! - hop-by-hop headers and those that `Connection` names are dropped; `Connection: keep-alive|close` is the edge's own
//! - headers of the same name are moved together, behind the first of them; the last header takes the place of a dropped one
//! - `Date` of an answer is the edge's; an answer without length becomes chunked; trailers are dropped
//! - from h2, header names are lower-case and `:authority` becomes `Host`
//! - `x-litellm-edge` is stripped from requests and set on answers
//! - where the operator wants traces: `traceparent` names the edge's span, and `tracestate` goes where it was invalid
//! - `X-Forwarded-*` by [`ForwardedHeaders`]
//!
//! A request whose pooled connection breaks before anything was answered: an idempotent one is sent again by Pingora.
//! A POST might have been executed (and billed) by a Python that crashed, so it is sent again only where that is next
//! to impossible: the connection was a reused one, not a byte came back, the whole body is still in memory, and it
//! broke within [`EdgeConfig::stale_window`](super::EdgeConfig) of being taken from the pool: that is Python closing an
//! idle connection while the request was on its way. Python needs longer than that to accept, authorise and call.
//! Otherwise the caller gets a 502 with `Retry-After`, and decides. The pool's idle time is below uvicorn's, so this
//! is rare to begin with: it happens when Python restarts.
use std::net::IpAddr;

use http::{HeaderValue, StatusCode, header};
use pingora::{
    Error, ErrorSource, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::state::{Edge, ForwardedHeaders};
use crate::{
    error::EdgeError,
    telemetry::trace::{Trace, Tracer},
};

pub(super) const EDGE_HEADER: &str = "x-litellm-edge";
const TRACEPARENT: &str = "traceparent";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// What the edge itself changes in a request, on both ways to Python.
pub(super) fn adapt_request(edge: &Edge, session: &Session, request: &mut RequestHeader) -> pingora::Result<()> {
    request.remove_header(EDGE_HEADER);
    let mode = edge.config.forwarded;
    if mode == ForwardedHeaders::Keep {
        return Ok(());
    }
    if mode == ForwardedHeaders::Replace {
        for name in [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, "forwarded", "x-real-ip", "x-forwarded-port"] {
            request.remove_header(name);
        }
    }
    if let Some(client) = client_ip(session) {
        let mut chain: Vec<u8> = Vec::new();
        for value in request.headers.get_all(FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(client.to_string().as_bytes());
        if let Ok(value) = HeaderValue::from_bytes(&chain) {
            request.insert_header(FORWARDED_FOR, value)?;
        }
    }
    if !request.headers.contains_key(FORWARDED_PROTO) {
        request.insert_header(FORWARDED_PROTO, if edge.config.tls.is_some() { "https" } else { "http" })?;
    }
    if !request.headers.contains_key(FORWARDED_HOST)
        && let Some(host) = request.headers.get(header::HOST).cloned()
    {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    Ok(())
}

/// Refuses an answer of Python's that a client could not read alike: a switch of protocols nobody asked for (what follows
/// would be anything, and an error page in the middle of it), and a coding whose end only Python knows.
pub(super) fn sound(response: &ResponseHeader, upgrade_asked: bool) -> pingora::Result<()> {
    let unasked = response.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade_asked;
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    if unasked || codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an answer that cannot be passed on").into_up());
    }
    Ok(())
}

/// Begins the request's trace, and makes it what Python is told. A provider called natively is never told: LiteLLM does
/// not either.
pub(super) fn begin_trace(tracer: &Tracer, request: &mut RequestHeader) -> pingora::Result<Box<Trace>> {
    let trace = tracer.begin(request.headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes));
    request.insert_header(TRACEPARENT, trace.for_python().header())?;
    if !trace.continues() {
        request.remove_header("tracestate"); // it belongs to a trace that is not continued
    }
    Ok(Box::new(trace))
}

/// The client's address; `None` on a Unix socket.
pub(super) fn client_ip(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip)
}

/// What went wrong, as the client is told. `None`: there is no client any more.
pub(super) fn classify(edge: &Edge, error: &Error) -> Option<EdgeError> {
    use ErrorType as T;
    match error.esource() {
        ErrorSource::Downstream => match error.etype() {
            T::ReadError | T::WriteError | T::ConnectionClosed | T::H2Error | T::WriteTimedout | T::ConnectError => {
                None
            }
            T::ReadTimedout => Some(EdgeError::BodyCut),
            _ => Some(EdgeError::Malformed("headers")),
        },
        ErrorSource::Internal => Some(EdgeError::Internal),
        _ => Some(match error.etype() {
            T::ConnectRefused | T::ConnectNoRoute | T::ConnectError | T::SocketError | T::BindError => {
                if edge.python_health.is_starting(edge.config.python_restart_window) {
                    EdgeError::PythonStarting
                } else {
                    EdgeError::PythonUnreachable
                }
            }
            T::ConnectTimedout | T::ReadTimedout | T::WriteTimedout => EdgeError::PythonTimeout,
            _ => EdgeError::PythonCut,
        }),
    }
}

/// Whether the connection to Python broke without a byte of an answer. A failed write says so too: Python has not had
/// the whole request, so it cannot have acted on it.
pub(super) fn unanswered(error: &Error) -> bool {
    if error.esource() != &ErrorSource::Upstream {
        return false;
    }
    match error.etype() {
        ErrorType::WriteError => true,
        // Pingora says only in words how far it got; a test holds it to them
        ErrorType::ConnectionClosed | ErrorType::ReadError => {
            error.context.as_ref().is_some_and(|context| context.as_str().ends_with("bytes already read: 0"))
        }
        _ => false,
    }
}

/// The metrics' label of a failure towards Python.
pub(super) fn kind(error: &EdgeError) -> Option<&'static str> {
    match error {
        EdgeError::PythonUnreachable => Some("unreachable"),
        EdgeError::PythonStarting => Some("starting"),
        EdgeError::PythonTimeout => Some("timeout"),
        EdgeError::PythonCut => Some("cut"),
        _ => None,
    }
}
