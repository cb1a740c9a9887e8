//! `/edge/*`: what the edge says about itself. Never goes to Python. `live`, `ready` and the empty status page are open,
//! everything else needs the master key.
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::{health::PythonState, page, state::Edge};
use crate::{
    auth,
    error::{Dialect, Failure},
    routes::{CallLog, Head, Reply, ReplyBody},
};

/// What answers one `/edge/*` path. Quick and without I/O: it runs on the request path.
/// It is given the request's body, at most [`MAX_BODY`] bytes.
pub type Handler = Arc<dyn Fn(&Head, &[u8], &Edge) -> Reply + Send + Sync>;

/// A longer body is no admin's.
pub(super) const MAX_BODY: usize = 64 << 10;

/// A row of the hook table ([`super::Hooks::admin`]): the master key is asked for before `handler` is called.
#[derive(Clone)]
pub struct AdminRoute {
    pub method: Method,
    /// the whole path: `/edge/routes`
    pub path: &'static str,
    pub handler: Handler,
}

/// Whether the path belongs to the edge.
pub fn is_ours(path: &str) -> bool {
    path == "/edge" || path.starts_with("/edge/")
}

/// A JSON answer.
pub fn json_reply(status: StatusCode, body: &serde_json::Value) -> Reply {
    let headers = [("content-type", "application/json"), ("cache-control", "no-store")].into();
    Reply { status, headers, body: ReplyBody::Full(Bytes::from(body.to_string())), log: CallLog::default() }
}

pub(super) fn refuse(status: StatusCode, message: &str) -> Reply {
    super::reply::failure(&Failure::new(status, message), Dialect::OpenAi)
}

/// The answer to a request below `/edge`.
pub(super) fn answer(head: &Head, body: &[u8], edge: &Edge) -> Reply {
    let reading = head.method == Method::GET || head.method == Method::HEAD;
    match head.path.as_str() {
        "/edge/live" if reading => return json_reply(StatusCode::OK, &json!({ "status": "live" })),
        // no data is in it, so it needs no key: docs/status.md
        "/edge" | "/edge/" if reading => return page::reply(),
        "/edge/ready" if reading => return ready(edge, head.query.as_deref() == Some("python=required")),
        _ => {}
    }
    if body.len() > MAX_BODY {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large for this page");
    }
    let mut rows = edge.hooks.admin.iter().filter(|row| row.path == head.path).peekable();
    if rows.peek().is_none() {
        return refuse(StatusCode::NOT_FOUND, "the edge has no such page");
    }
    if auth::identify(head, &edge.snapshot.load()).is_err() {
        return refuse(StatusCode::UNAUTHORIZED, "the master key is needed here");
    }
    match rows.find(|row| row.method == head.method) {
        Some(row) => (row.handler)(head, body, edge),
        None => refuse(StatusCode::METHOD_NOT_ALLOWED, "not with this method"),
    }
}

/// Ready tells the edge and Python apart: a dead Python alone does not take the edge out (unless asked for with
/// `?python=required` or `strict_ready`),
/// because native routes go on.
fn ready(edge: &Edge, with_python: bool) -> Reply {
    let draining = edge.drain.is_draining();
    let view = edge.python.as_ref().map(|target| (target, edge.python_health.view()));
    let python_up = view.as_ref().is_none_or(|(_, view)| view.state == PythonState::Up);
    let python = match &view {
        None => json!({ "state": "not_configured" }),
        Some((target, view)) => json!({
            "state": view.state.as_str(),
            "address": target.address.to_string(),
            "since_seconds": view.since.as_secs(),
            "last_up_seconds_ago": view.last_up.map(|ago| ago.as_secs()),
            "last_error": view.last_error,
        }),
    };
    let (status, word) = match (draining, python_up) {
        // a new process answers for this one; whoever asks on a kept connection is told nothing alarming
        (true, _) if edge.drain.is_handed_over() => (StatusCode::OK, "handed_over"),
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, true) => (StatusCode::OK, "ready"),
        (false, false) if with_python || edge.config.strict_ready => (StatusCode::SERVICE_UNAVAILABLE, "python_down"),
        (false, false) => (StatusCode::OK, "ready_without_python"),
    };
    let body = json!({
        "status": word,
        "edge": edge.drain.state(),
        "pid": std::process::id(),
        "draining": draining,
        "in_flight": edge.drain.in_flight(),
        "source_digest": crate::manifest::digest::SOURCE_DIGEST,
        "python": python,
    });
    json_reply(status, &body)
}
