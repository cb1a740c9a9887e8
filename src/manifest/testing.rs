//! What the tests of this module share.
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use http::Method;

use super::{
    digest,
    gate::{CaseCounts, Evidence, EvidenceRecord, Expectations, RunResult},
    matcher::Manifest,
    schema,
};
use crate::{
    error::Dialect,
    routes::{Decline, NativeRoute},
};

/// A folder of its own for one test, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("litellm-rust-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 2026-11-22T00:00:00Z
#[allow(non_snake_case)]
pub(crate) fn NOW() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_305_600)
}

const fn row(id: &'static str, methods: &'static [Method], paths: &'static [&'static str]) -> NativeRoute {
    NativeRoute {
        id,
        methods,
        paths,
        needs_body: false,
        needs_caller: false,
        fetch: None,
        dialect: Dialect::OpenAi,
        serves: "",
        declines: &[],
        admit_head: |_, _| Ok(()),
        admit: |_| Err(Decline::Model.into()),
    }
}

/// A table like the real one.
pub(crate) static TABLE: &[NativeRoute] = &[
    row("models", &[Method::GET], &["/v1/models", "/models"]),
    row("model_info", &[Method::GET], &["/v1/model/info", "/model/info"]),
    row("key_info", &[Method::GET], &["/key/info"]),
    row("health_liveliness", &[Method::GET], &["/health/liveliness", "/health/liveness"]),
    row("health_readiness", &[Method::GET], &["/health/readiness"]),
    row("metrics", &[Method::GET], &["/metrics"]),
    row(
        "chat_completions",
        &[Method::POST],
        &[
            "/v1/chat/completions",
            "/chat/completions",
            "/engines/{model:path}/chat/completions",
            "/openai/deployments/{model:path}/chat/completions",
        ],
    ),
    row("messages", &[Method::POST], &["/v1/messages"]),
];

/// Green evidence, finished an hour before [`NOW`].
pub(crate) fn record(route: &str, source_digest: &str) -> EvidenceRecord {
    EvidenceRecord {
        schema: 1,
        route: route.into(),
        result: RunResult::Green,
        source_digest: source_digest.into(),
        litellm_version: "1.106.2".into(),
        cases_digest: "c".into(),
        tolerated_digest: "t".into(),
        reference_config_digest: "r".into(),
        cases: CaseCounts { total: 10, passed: 9, failed: 0, tolerated: 1 },
        started: "2026-11-21T22:55:00Z".into(),
        finished: "2026-11-21T23:00:00Z".into(),
    }
}

/// Compiles a text with fresh evidence for the routes in `green`.
pub(crate) fn manifest(text: &str, green: &[&str]) -> Manifest {
    let file = schema::parse("routes.toml", text).unwrap();
    let (versions, max_age) = (file.versions.clone(), file.max_age);
    let evidence = |route: &str| {
        let bytes = serde_json::to_vec(&record(route, digest::SOURCE_DIGEST)).unwrap();
        let wanted =
            Expectations { route, source_digest: digest::SOURCE_DIGEST, versions: &versions, max_age, suite: None };
        Evidence::judge(Ok(green.contains(&route).then_some(&bytes)), &wanted)
    };
    Manifest::compile(file, String::new(), TABLE, &evidence)
}
