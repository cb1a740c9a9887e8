//! `GET /metrics`: the edge's own Prometheus text, where LiteLLM would serve none. It must never show a label that a
//! client can choose.
use http::{Method, StatusCode};

use super::{Call, CallLog, Decline, Execution, Head, NativeRoute, Reply, ReplyBody};
use crate::{auth, config::Snapshot, error::Dialect, faults::fault, telemetry::Metrics};

/// The row of the route table.
pub const METRICS: NativeRoute = NativeRoute {
    id: "metrics",
    methods: &[Method::GET],
    paths: &["/metrics"],
    needs_body: false,
    needs_caller: false,
    fetch: None,
    dialect: Dialect::OpenAi,
    serves: "the edge's own metrics, unless LiteLLM serves its own there",
    declines: &[
        Decline::NoKey,
        Decline::VirtualKey,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Callbacks,
        Decline::NotThisPath,
    ],
    admit_head,
    admit: |call| Ok(metrics(&call)),
};

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    if snapshot.settings.python_metrics {
        return Err(Decline::Callbacks);
    }
    // the refusal is Python's (middleware/prometheus_auth_middleware.py)
    if snapshot.settings.metrics_auth {
        auth::identify(head, snapshot)?;
    }
    Ok(())
}

fn metrics(call: &Call) -> Execution {
    Box::pin(std::future::ready(reply(&call.services.metrics)))
}

/// The answer itself, also of `/edge/metrics`.
pub fn reply(metrics: &Metrics) -> Reply {
    let body = if fault!(MetricsEmpty) { Vec::new() } else { metrics.render() };
    let headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8")].into();
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Full(body.into()), log: CallLog::default() }
}
