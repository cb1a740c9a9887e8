//! Whether Postgres answers. A background task asks; the request path reads an atomic.
use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use sqlx::{Connection, PgConnection};

use crate::secret::Secret;

/// LiteLLM's three words in `/health/readiness` (proxy/health_endpoints).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseHealth {
    NotConfigured,
    Connected,
    Disconnected,
}

/// While Postgres is away: how often it is asked, and how long an answer is waited for.
const AWAY_EVERY: Duration = Duration::from_secs(1);
const AWAY_TIMEOUT: Duration = Duration::from_secs(3);

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

    /// Asks Postgres every `every`, each try bounded by `timeout`, more often while it is away; for the io service. `url` is read anew each time,
    /// so a reloaded configuration is followed.
    pub async fn watch(&self, url: impl Fn() -> Option<Secret>, every: Duration, timeout: Duration) {
        let mut connection: Option<(Secret, PgConnection)> = None;
        loop {
            let away = self.database() == DatabaseHealth::Disconnected;
            let (every, timeout) =
                if away { (every.min(AWAY_EVERY), timeout.min(AWAY_TIMEOUT)) } else { (every, timeout) };
            match url() {
                None => {
                    connection = None;
                    self.set(DatabaseHealth::NotConfigured);
                }
                Some(url) => {
                    if connection.as_ref().is_some_and(|(of, _)| *of != url) {
                        connection = None;
                    }
                    let check = async {
                        if connection.is_none() {
                            connection = Some((url.clone(), PgConnection::connect(url.expose()).await?));
                        }
                        match connection.as_mut() {
                            Some((_, open)) => open.ping().await,
                            None => Ok(()),
                        }
                    };
                    let answered = matches!(tokio::time::timeout(timeout, check).await, Ok(Ok(())));
                    if !answered {
                        connection = None;
                    }
                    self.set(if answered { DatabaseHealth::Connected } else { DatabaseHealth::Disconnected });
                }
            }
            tokio::time::sleep(every).await;
        }
    }
}
