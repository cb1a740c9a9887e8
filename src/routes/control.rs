//! LiteLLM's control plane as the routes reach it: identities, spend, and the connections behind them. Put together once;
//! it must never decide anything itself.
use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Value, json};

use crate::{
    auth::{Ages, Directory, invalidation},
    config::{Coordination, Snapshot},
    limits::Limits,
    spend::{Counting, Ledger, ledger::Writer},
    store::{
        DatabaseHealth, Io, Postgres, Redis, RedisTarget,
        postgres::{self, counters::SpendRows, spend::SpendSink},
    },
    telemetry::Metrics,
};

/// Time between two looks at which Redis the configuration names.
const LOOK: Duration = Duration::from_secs(1);

/// What routes use beside their own services.
pub struct Control {
    pub io: Io,
    pub postgres: Postgres,
    pub directory: Directory,
    pub ledger: Ledger,
    pub counting: Counting,
    /// models and settings of the database
    pub models: super::stored::Following,
    /// the rows behind spend counters
    rows: Arc<dyn crate::limits::Rows>,
    counters: ArcSwapOption<Counters>,
    /// the Redis that is listened to
    followed: ArcSwapOption<Redis>,
}

/// What an operator is told of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisState {
    NotConfigured,
    Up,
    Away,
    /// it answers, but not to the scripts of limits and budgets
    Degraded,
}

/// The counters of one Redis, or of this process.
struct Counters {
    target: Option<RedisTarget>,
    redis: Option<Redis>,
    limits: Limits,
}

impl Control {
    /// `snapshot`: the configuration in force, which names the database. The writer is to be run in the io runtime.
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> (Self, Writer) {
        let io = Io::default();
        let postgres = Postgres::new(io.clone());
        let of_rows = snapshot.clone();
        let rows = SpendRows::new(postgres.clone(), move || of_rows.load_full());
        let sink = SpendSink::new(postgres.clone(), move || snapshot.load_full());
        let (ledger, writer) = Ledger::new(Arc::new(sink));
        let directory = Directory::new(postgres.clone(), Ages::default());
        let (counters, followed) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        let counting = Counting::new(io.clone());
        let (models, rows) = (Default::default(), Arc::new(rows));
        (Self { io, postgres, directory, ledger, counting, models, rows, counters, followed }, writer)
    }

    /// What is known of Redis now.
    pub fn redis(&self) -> RedisState {
        let Some(followed) = &*self.followed.load() else { return RedisState::NotConfigured };
        let Some(since) = followed.listening() else { return RedisState::Away };
        let failed = self.counters.load().as_ref().and_then(|counters| counters.redis.as_ref()?.failed());
        // what failed before it was back has nothing to say
        if failed.is_some_and(|begun| begun > since) { RedisState::Degraded } else { RedisState::Up }
    }

    /// Requests whose limits and budgets were counted in this process although there is a Redis, since the last reload.
    pub fn counted_locally(&self) -> u64 {
        self.counters.load().as_ref().map_or(0, |counters| counters.limits.counted_locally())
    }

    /// The counters that the configuration names; `None`: they are where the edge cannot reach them.
    pub fn limits(&self, snapshot: &Snapshot) -> Option<Limits> {
        let target = match &snapshot.coordination {
            Coordination::Memory => None,
            Coordination::Redis(target) => Some(target.clone()),
            Coordination::Unsupported(_) => return None,
        };
        if let Some(open) = self.counters.load().as_ref().filter(|open| open.target == target) {
            return Some(open.limits.clone());
        }
        let redis = target.clone().map(|target| Redis::new(self.io.clone(), target));
        let limits = Limits::new(redis.clone(), self.io.clone(), self.rows.clone());
        // two at once: both count in the same Redis
        self.counters.store(Some(Arc::new(Counters { target, redis, limits: limits.clone() })));
        Some(limits)
    }

    /// Listens to what other gateways say of changed keys, for ever; in the io runtime. Another configuration's Redis is
    /// listened to within seconds.
    pub async fn follow(&self, snapshot: impl Fn() -> Arc<Snapshot>) {
        loop {
            let followed = snapshot().coordination.clone();
            let changed = async {
                while snapshot().coordination == followed {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if let Coordination::Redis(target) = &followed {
                let redis = Redis::new(self.io.clone(), target.clone());
                self.followed.store(Some(Arc::new(redis.clone())));
                tokio::select! {
                    () = invalidation::follow(redis, self.directory.clone()) => {}
                    () = changed => {}
                }
            } else {
                self.followed.store(None);
                changed.await;
            }
            self.directory.clear();
        }
    }

    /// Sets the gauges of Postgres, Redis and the ledger; `health`: what was last found of Postgres.
    pub fn refresh(&self, health: DatabaseHealth, metrics: &Metrics) {
        let up = |store: &str, up: Option<bool>| match up {
            Some(up) => metrics.store_up.with_label_values(&[store]).set(i64::from(up)),
            // not there: nothing to be removed either
            None => drop(metrics.store_up.remove_label_values(&[store])),
        };
        up("postgres", self.postgres_up(health));
        up("redis", (self.redis() != RedisState::NotConfigured).then(|| self.redis() == RedisState::Up));
        let ledger = &self.ledger;
        metrics.ledger_records.set(i64::try_from(ledger.waiting()).unwrap_or(i64::MAX));
        metrics.ledger_age.set(ledger.oldest().as_secs_f64());
        metrics.given_up(ledger.dropped_rows(), ledger.lost(), self.counted_locally());
    }

    fn postgres_up(&self, health: DatabaseHealth) -> Option<bool> {
        match health {
            DatabaseHealth::NotConfigured => None,
            DatabaseHealth::Connected => Some(self.postgres.state() == postgres::State::Up),
            DatabaseHealth::Disconnected => Some(false),
        }
    }

    /// The same as JSON, for the status page.
    pub fn status(&self, health: DatabaseHealth) -> Value {
        let postgres = match (health, self.postgres.state()) {
            (DatabaseHealth::NotConfigured, _) => "not_configured",
            (DatabaseHealth::Disconnected, _) | (_, postgres::State::Away) => "away",
            (_, postgres::State::UnknownSchema) => "unknown_schema",
            (_, postgres::State::Up) => "up",
        };
        let redis = match self.redis() {
            RedisState::NotConfigured => "not_configured",
            RedisState::Away => "away",
            RedisState::Degraded => "degraded",
            RedisState::Up => "up",
        };
        let ledger = &self.ledger;
        json!({
            "postgres": postgres,
            "redis": redis,
            "limits_counted_locally": self.counted_locally(),
            "ledger": {
                "records": ledger.waiting(),
                "oldest_seconds": ledger.oldest().as_secs(),
                "dropped_rows": ledger.dropped_rows(),
                "lost_records": ledger.lost(),
            },
        })
    }

    /// Without a database: nothing is found, nothing is written.
    pub fn none() -> Self {
        let (control, _) = Self::new(Arc::new(ArcSwap::from_pointee(Snapshot::default())));
        control
    }
}

/// Seconds between flushes: `general_settings.proxy_batch_write_at`; LiteLLM adds a random part, which only spreads load.
pub fn flush_every(snapshot: &Snapshot) -> Duration {
    snapshot.settings.spend_flush.unwrap_or(Duration::from_secs(10))
}
