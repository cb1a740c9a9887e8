//! Whether Postgres answers. A background task asks; the request path reads an atomic.
use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use sqlx::{Connection, PgConnection};

use super::postgres::until_answer;
use crate::secret::Secret;

/// LiteLLM's three words in `/health/readiness` (proxy/health_endpoints).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseHealth {
    NotConfigured,
    Connected,
    Disconnected,
}

/// The last known state; starts as not configured.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    pub fn database(&self) -> DatabaseHealth {
        match self.0.load(Ordering::Relaxed) {
            0 => DatabaseHealth::NotConfigured,
            1 => DatabaseHealth::Connected,
            _ => DatabaseHealth::Disconnected,
        }
    }

    pub fn set(&self, health: DatabaseHealth) {
        let value = match health {
            DatabaseHealth::NotConfigured => 0,
            DatabaseHealth::Connected => 1,
            DatabaseHealth::Disconnected => 2,
        };
        self.0.store(value, Ordering::Relaxed);
    }

    /// Asks Postgres every `every`, each try bounded by `timeout`, and looks all the time while it is away; for the io
    /// service. `url` is read anew each time, so a reloaded configuration is followed.
    pub async fn watch(&self, url: impl Fn() -> Option<Secret>, every: Duration, timeout: Duration) {
        let mut connection: Option<(Secret, PgConnection)> = None;
        loop {
            let Some(url) = url() else {
                connection = None;
                self.set(DatabaseHealth::NotConfigured);
                tokio::time::sleep(every).await;
                continue;
            };
            let mut open = connection.take().filter(|(of, _)| *of == url).map(|(_, open)| open);
            if let Some(asked) = &mut open
                && !matches!(tokio::time::timeout(timeout, asked.ping()).await, Ok(Ok(())))
            {
                self.set(DatabaseHealth::Disconnected);
                open = None;
            }
            if open.is_none() {
                let of = url.clone();
                let connect = until_answer(move || {
                    let url = of.clone();
                    async move { PgConnection::connect(url.expose()).await }
                });
                // not for ever: the url may become another
                open = tokio::time::timeout(timeout, connect).await.ok();
            }
            self.set(if open.is_some() { DatabaseHealth::Connected } else { DatabaseHealth::Disconnected });
            if let Some(open) = open {
                connection = Some((url, open));
                tokio::time::sleep(every).await;
            }
        }
    }
}
