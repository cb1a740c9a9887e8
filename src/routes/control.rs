//! LiteLLM's control plane as the routes reach it: identities, spend, and the connections behind them. Put together once;
//! it must never decide anything itself.
use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    auth::{Ages, Directory},
    config::Snapshot,
    spend::{
        Ledger,
        ledger::{Sink, Writer},
    },
    store::{Io, Postgres, postgres::spend::SpendSink},
};

/// What routes use beside their own services.
pub struct Control {
    pub io: Io,
    pub postgres: Postgres,
    pub directory: Directory,
    pub ledger: Ledger,
}

impl Control {
    /// `snapshot`: the configuration in force, which names the database. The writer is to be run in the io runtime.
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> (Self, Writer) {
        let io = Io::default();
        let postgres = Postgres::new(io.clone());
        let sink = SpendSink::new(postgres.clone(), move || snapshot.load_full());
        Self::with(io, postgres, Arc::new(sink))
    }

    /// With a sink of the caller's: tests.
    pub fn with(io: Io, postgres: Postgres, sink: Arc<dyn Sink>) -> (Self, Writer) {
        let (ledger, writer) = Ledger::new(sink);
        let directory = Directory::new(postgres.clone(), Ages::default());
        (Self { io, postgres, directory, ledger }, writer)
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
