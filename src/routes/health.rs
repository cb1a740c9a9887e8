//! `GET /health/liveliness`, `/health/liveness` and `/health/readiness` (LiteLLM proxy/health_endpoints). They speak of
//! the edge's own process; draining is the edge's to say. They must never wait for anything.
use http::{Method, StatusCode};

use super::{Call, CallLog, Decline, Execution, Head, NativeRoute, Reply, ReplyBody};
use crate::{config::Snapshot, error::Dialect, store::DatabaseHealth};

/// The row of the route table.
pub const LIVELINESS: NativeRoute = NativeRoute {
    id: "health_liveliness",
    methods: &[Method::GET],
    paths: &["/health/liveliness", "/health/liveness"],
    needs_body: false,
    dialect: Dialect::OpenAi,
    serves: "the edge process is alive",
    declines: &[Decline::NotThisPath],
    admit_head: |_, snapshot| no_root_path(snapshot),
    admit: |_| Ok(reply(StatusCode::OK, "\"I'm alive!\"")),
};

/// The row of the route table.
pub const READINESS: NativeRoute = NativeRoute {
    id: "health_readiness",
    methods: &[Method::GET],
    paths: &["/health/readiness"],
    needs_body: false,
    dialect: Dialect::OpenAi,
    serves: "the edge process is ready, and whether Postgres answers",
    declines: &[Decline::NotThisPath, Decline::Setting],
    admit_head: readiness_head,
    admit: |call| Ok(readiness(&call)),
};

fn no_root_path(snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() { Err(Decline::NotThisPath) } else { Ok(()) }
}

fn readiness_head(_: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    no_root_path(snapshot)?;
    // `allow_public_health_readiness_details`: the long answer is Python's
    let details = |key: &str| key.ends_with("allow_public_health_readiness_details");
    if snapshot.declines.iter().any(|reason| details(&reason.key)) { Err(Decline::Setting) } else { Ok(()) }
}

fn readiness(call: &Call) -> Execution {
    let (status, body) = match call.services.health.database() {
        DatabaseHealth::Connected => (StatusCode::OK, r#"{"status":"healthy","db":"connected"}"#),
        DatabaseHealth::NotConfigured => (StatusCode::OK, r#"{"status":"healthy","db":"Not connected"}"#),
        DatabaseHealth::Disconnected => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"healthy","db":"disconnected"}"#)
        }
    };
    reply(status, body)
}

fn reply(status: StatusCode, body: &'static str) -> Execution {
    let headers = vec![("content-type".into(), "application/json".to_owned())];
    let body = ReplyBody::Full(bytes::Bytes::from_static(body.as_bytes()));
    Box::pin(std::future::ready(Reply { status, headers, body, log: CallLog::default() }))
}
