//! LiteLLM's control plane as the routes reach it: identities, spend, and the connections behind them. Put together once;
//! it must never decide anything itself.
use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::{
    auth::{Ages, Directory, invalidation},
    config::{Coordination, Snapshot},
    limits::Limits,
    spend::{Counting, Ledger, ledger::Writer},
    store::{
        Io, Postgres, Redis, RedisTarget,
        postgres::{counters::SpendRows, spend::SpendSink},
    },
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
    /// the rows behind spend counters
    rows: Arc<dyn crate::limits::Rows>,
    counters: ArcSwapOption<Counters>,
}

/// The counters of one Redis, or of this process.
struct Counters {
    target: Option<RedisTarget>,
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
        let counters = ArcSwapOption::empty();
        let counting = Counting::new(io.clone());
        (Self { io, postgres, directory, ledger, counting, rows: Arc::new(rows), counters }, writer)
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
        let limits = Limits::new(redis, self.io.clone(), self.rows.clone());
        // two at once: both count in the same Redis
        self.counters.store(Some(Arc::new(Counters { target, limits: limits.clone() })));
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
                tokio::select! {
                    () = invalidation::follow(redis, self.directory.clone()) => {}
                    () = changed => {}
                }
            } else {
                changed.await;
            }
            self.directory.clear();
        }
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
