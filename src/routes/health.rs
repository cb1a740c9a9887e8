//! `GET /health/liveliness`, `/health/liveness` and `/health/readiness` (LiteLLM proxy/health_endpoints). They speak of
//! the edge's own process; draining is the edge's to say. They must never wait for anything.
use http::{Method, StatusCode};

use super::{Call, CallLog, Decline, Execution, Head, NativeRoute, Reply, ReplyBody};
use crate::{config::Snapshot, error::Dialect, faults::fault, store::DatabaseHealth};

/// The row of the route table.
pub const LIVELINESS: NativeRoute = NativeRoute {
    id: "health_liveliness",
    methods: &[Method::GET],
    paths: &["/health/liveliness", "/health/liveness"],
    needs_body: false,
    needs_caller: false,
    fetch: None,
    dialect: Dialect::OpenAi,
    serves: "the edge process is alive",
    declines: &[Decline::NotThisPath],
    admit_head: |_, snapshot| no_root_path(snapshot),
    admit: |_| {
        let status = if fault!(LivelinessWrong) { StatusCode::NO_CONTENT } else { StatusCode::OK };
        Ok(reply(status, "\"I'm alive!\""))
    },
};

/// The row of the route table.
pub const READINESS: NativeRoute = NativeRoute {
    id: "health_readiness",
    methods: &[Method::GET],
    paths: &["/health/readiness"],
    needs_body: false,
    needs_caller: false,
    fetch: None,
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
    // the long answer is Python's
    let steers = |key: &str| key.ends_with("allow_public_health_readiness_details");
    if snapshot.declines.iter().any(|reason| steers(&reason.key)) { Err(Decline::Setting) } else { Ok(()) }
}

fn readiness(call: &Call) -> Execution {
    let (status, body) = match call.services.health.database() {
        _ if fault!(ReadinessWrong) => (StatusCode::OK, r#"{"status":"healthy","db":"disconnected"}"#),
        DatabaseHealth::Connected => (StatusCode::OK, r#"{"status":"healthy","db":"connected"}"#),
        DatabaseHealth::NotConfigured => (StatusCode::OK, r#"{"status":"healthy","db":"Not connected"}"#),
        DatabaseHealth::Disconnected => {
            let status = match call.snapshot.settings.ready_without_database {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, r#"{"status":"healthy","db":"disconnected"}"#)
        }
    };
    reply(status, body)
}

fn reply(status: StatusCode, body: &'static str) -> Execution {
    let headers = [("content-type", "application/json")].into();
    let body = ReplyBody::Full(bytes::Bytes::from_static(body.as_bytes()));
    Box::pin(std::future::ready(Reply { status, headers, body, log: CallLog::default() }))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc, time::Instant};

    use super::*;
    use crate::{routes::Services, store::Health, telemetry::Metrics, upstream::Client};

    fn call(health: DatabaseHealth, test: &str) -> Call {
        let head = Head {
            method: Method::GET,
            path: "/health/readiness".into(),
            query: None,
            headers: http::HeaderMap::new(),
            client: None,
        };
        let state = Health::default();
        state.set(health);
        let path = std::env::temp_dir().join(format!("health-{}-{test}-{health:?}.yaml", std::process::id()));
        std::fs::write(&path, "model_list: []\n").unwrap();
        let snapshot = crate::config::load(&path, &HashMap::new());
        std::fs::remove_file(&path).unwrap();
        Call {
            head: Arc::new(head),
            params: Arc::default(),
            policy: Arc::default(),
            body: bytes::Bytes::new(),
            snapshot: Arc::new(snapshot.unwrap().snapshot),
            services: Arc::new(Services {
                upstream: Client::new(),
                metrics: Metrics::new().unwrap(),
                health: Arc::new(state),
                control: crate::routes::Control::none(),
            }),
            caller: crate::auth::Caller::Nobody,
            fetched: None,
            started: Instant::now(),
            now: std::time::SystemTime::now(),
        }
    }

    #[tokio::test]
    async fn readiness_says_what_litellm_says() {
        for (health, status, db) in [
            (DatabaseHealth::Connected, 200, "connected"),
            (DatabaseHealth::NotConfigured, 200, "Not connected"),
            (DatabaseHealth::Disconnected, 503, "disconnected"),
        ] {
            let call = call(health, "readiness");
            (READINESS.admit_head)(&call.head, &call.snapshot).unwrap();
            let reply = (READINESS.admit)(call).unwrap().await;
            let ReplyBody::Full(body) = reply.body else { panic!("a stream") };
            assert_eq!(
                (reply.status.as_u16(), body),
                (status, format!(r#"{{"status":"healthy","db":"{db}"}}"#).into())
            );
        }
    }

    #[tokio::test]
    async fn a_lost_database_takes_nobody_out_of_rotation_where_that_is_allowed() {
        let mut call = call(DatabaseHealth::Disconnected, "allowed");
        Arc::make_mut(&mut call.snapshot).settings.ready_without_database = true;
        let reply = (READINESS.admit)(call).unwrap().await;
        let ReplyBody::Full(body) = reply.body else { panic!("a stream") };
        assert_eq!(
            (reply.status, &body[..]),
            (StatusCode::OK, br#"{"status":"healthy","db":"disconnected"}"# as &[u8])
        );
    }

    #[test]
    fn details_are_pythons() {
        let call = call(DatabaseHealth::Connected, "details");
        let mut snapshot = Snapshot::clone(&call.snapshot);
        let key = "general_settings.allow_public_health_readiness_details".to_owned();
        snapshot.declines.push(crate::config::ConfigDecline { decline: Decline::Setting, key });
        assert_eq!((READINESS.admit_head)(&call.head, &snapshot), Err(Decline::Setting));
        assert_eq!((LIVELINESS.admit_head)(&call.head, &snapshot), Ok(()));
    }
}
