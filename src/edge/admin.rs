//! `/edge/*`: what the edge says about itself. Never goes to Python. `live` and `ready` are open, everything else needs
//! the master key.
use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::{health::PythonState, state::Edge};
use crate::{
    auth,
    error::{Dialect, Failure},
    routes::{CallLog, Head, Reply, ReplyBody},
};

/// What answers one `/edge/*` path. Quick and without I/O: it runs on the request path.
pub type Handler = Arc<dyn Fn(&Head, &Edge) -> Reply + Send + Sync>;

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
    let headers = vec![
        (Cow::Borrowed("content-type"), "application/json".to_owned()),
        (Cow::Borrowed("cache-control"), "no-store".to_owned()),
    ];
    Reply { status, headers, body: ReplyBody::Full(Bytes::from(body.to_string())), log: CallLog::default() }
}

fn refuse(status: StatusCode, message: &str) -> Reply {
    super::reply::failure(&Failure::new(status, message), Dialect::OpenAi)
}

/// The answer to a request below `/edge`.
pub(super) fn answer(head: &Head, edge: &Edge) -> Reply {
    let reading = head.method == Method::GET || head.method == Method::HEAD;
    match head.path.as_str() {
        "/edge/live" if reading => return json_reply(StatusCode::OK, &json!({ "status": "live" })),
        "/edge/ready" if reading => return ready(edge),
        _ => {}
    }
    let mut rows = edge.hooks.admin.iter().filter(|row| row.path == head.path).peekable();
    if rows.peek().is_none() {
        return refuse(StatusCode::NOT_FOUND, "the edge has no such page");
    }
    if auth::identify(head, &edge.snapshot.load()).is_err() {
        return refuse(StatusCode::UNAUTHORIZED, "the master key is needed here");
    }
    match rows.find(|row| row.method == head.method) {
        Some(row) => (row.handler)(head, edge),
        None => refuse(StatusCode::METHOD_NOT_ALLOWED, "not with this method"),
    }
}

/// Ready tells the edge and Python apart: a dead Python alone does not take the edge out (unless `strict_ready`),
/// because native routes go on.
fn ready(edge: &Edge) -> Reply {
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
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, true) => (StatusCode::OK, "ready"),
        (false, false) if edge.config.strict_ready => (StatusCode::SERVICE_UNAVAILABLE, "python_down"),
        (false, false) => (StatusCode::OK, "ready_without_python"),
    };
    let body = json!({
        "status": word,
        "edge": if draining { "draining" } else { "up" },
        "draining": draining,
        "in_flight": edge.drain.in_flight(),
        "python": python,
    });
    json_reply(status, &body)
}
