//! Follows what LiteLLM keeps in its database beside config.yaml: reads it, and puts it into force. LiteLLM's own
//! processes read it every 30 s (`proxy_config_reload_interval_seconds`) and when Redis tells them; a look here costs a
//! query that answers with a digest, so there is one every two seconds. It must never take away what was read before only
//! because the database is away.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Method;
use tokio::sync::Notify;

use super::Decline;
use crate::{
    config::{ConfigDecline, ConfigHandle, Snapshot, Stored},
    secret::Secret,
    store::{Postgres, Unavailable},
};

/// Time between two looks, and after one that failed.
const LOOK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);

/// First parts of the paths by which models, credentials and settings are changed.
const MANAGED: &[&str] = &[
    "model",
    "credentials",
    "config",
    "config_overrides",
    "guardrails",
    "policies",
    "prompts",
    "vector_store",
    "cache",
    "router",
    "fallback",
    "update",
];

/// Whether a call that Python granted may have changed what is stored.
pub fn may_change(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    // a root path or a version may stand in front
    !reads && path.split('/').take(4).any(|part| MANAGED.contains(&part))
}

/// The one that follows, and what it is told.
#[derive(Default)]
pub struct Following {
    doubts: AtomicU64,
    asked: Notify,
}

impl Following {
    /// What is known may have changed just now: calls go to Python until it was read again.
    pub fn doubt(&self, current: &ArcSwap<Snapshot>) {
        let snapshot = current.load_full();
        if !snapshot.settings.models_in_database {
            return;
        }
        self.doubts.fetch_add(1, Ordering::AcqRel);
        let mut doubted = Snapshot::clone(&snapshot);
        doubted.declines.push(ConfigDecline { decline: Decline::ModelsInDatabase, key: "a change just made".into() });
        current.store(Arc::new(doubted));
        self.asked.notify_one();
    }

    /// Reads for ever; in the io runtime.
    pub async fn follow(&self, postgres: &Postgres, config: &ConfigHandle) {
        let mut known: Option<(Secret, String)> = None;
        let mut failed = None;
        let mut cleared = 0;
        loop {
            let snapshot = config.snapshot();
            if let Some(url) = snapshot.database_url.clone().filter(|_| snapshot.settings.models_in_database) {
                let digest = known.as_ref().filter(|(of, _)| *of == url).map(|(_, digest)| digest.clone());
                let doubts = self.doubts.load(Ordering::Acquire);
                let read = postgres.stored(&url, digest).await;
                // changed while it was read: once more, and at once
                if self.doubts.load(Ordering::Acquire) != doubts {
                    continue;
                }
                if let Ok(Some(stored)) = &read {
                    known = Some((url, stored.digest.clone()));
                }
                told(&mut failed, read.as_ref().err());
                if let Ok(Some(stored)) = read {
                    put(config, stored);
                } else if cleared != doubts {
                    // nothing has changed, or nobody can say
                    let _ = config.reload();
                }
                cleared = doubts;
            }
            let pause = if failed.is_some() { AGAIN } else { LOOK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.asked.notified() => {}
            }
        }
    }
}

fn put(config: &ConfigHandle, stored: Stored) {
    let models = stored.models();
    match config.store(Arc::new(stored)) {
        Ok(snapshot) => {
            tracing::info!(models, digest = %snapshot.digest, "models of the database are in force");
            for ConfigDecline { decline, key } in &snapshot.declines {
                tracing::warn!(%decline, key, "every model call goes to python");
            }
            let python = |group: &&String| {
                snapshot
                    .groups
                    .get(*group)
                    .is_some_and(|group| group.deployments.iter().any(|d| !d.declines.is_empty()))
            };
            let groups: Vec<&String> = snapshot.group_order.iter().filter(python).take(50).collect();
            tracing::debug!(?groups, "calls of these model groups go to python");
        }
        Err(error) => tracing::error!(%error, "config.yaml refused, models of the database wait for it"),
    }
}

/// Says once that it fails, and once that it does no longer.
fn told(failed: &mut Option<Unavailable>, error: Option<&Unavailable>) {
    match (&failed, error) {
        (None, Some(error)) => {
            tracing::warn!(%error, "models of the database cannot be read: those known stay in force")
        }
        (Some(_), None) => tracing::info!("models of the database are read again"),
        _ => {}
    }
    *failed = error.cloned();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_models_is_known_by_its_path() {
        for path in [
            "/model/new",
            "/model/abc/update",
            "/litellm/model/delete",
            "/credentials",
            "/config/update",
            "/update/ui_settings",
        ] {
            assert!(may_change(&Method::POST, path), "{path}");
            assert!(!may_change(&Method::GET, path), "{path}");
        }
        for path in ["/v1/chat/completions", "/key/generate", "/v1/messages", "/"] {
            assert!(!may_change(&Method::POST, path), "{path}");
        }
    }

    #[test]
    fn what_may_have_changed_is_pythons_until_it_was_read() {
        let following = Following::default();
        let current = ArcSwap::from_pointee(Snapshot::default());
        following.doubt(&current);
        assert!(current.load().declines.is_empty(), "nothing is stored");
        let mut snapshot = Snapshot::default();
        snapshot.settings.models_in_database = true;
        current.store(Arc::new(snapshot));
        following.doubt(&current);
        assert_eq!(current.load().declines[0].decline, Decline::ModelsInDatabase);
    }
}
