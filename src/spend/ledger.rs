//! The one way spend leaves the request path: a bounded queue into the io runtime, where one writer folds records and
//! flushes them every `proxy_batch_write_at` seconds. A record is written once: a flush is one transaction, and where its
//! commit was not heard of, the next look tells whether it happened. While Postgres is away sums are kept for ever (they
//! grow by entities, not by calls) and log rows up to a bound. What a killed process loses is what came since its last
//! flush.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{batch::Batch, record::Record};

/// Records on their way to the writer; it takes them out at once, so this only bridges a busy moment.
const QUEUE: usize = 16_384;

/// Where batches go; Postgres, or a test.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Writes all of it or nothing.
    async fn write(&self, batch: &Batch) -> Written;
    /// After [`Written::Unknown`]: whether it was written; `None`: still no answer.
    async fn was_written(&self, batch: &Batch) -> Option<bool>;
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Yes,
    No,
    /// the connection broke: it may have been committed
    Unknown,
}

enum Message {
    Record(Box<Record>),
    /// write what is there and say so
    Flush(oneshot::Sender<bool>),
}

/// The request path's end. Clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Message::Record(_) => "Record",
            Message::Flush(_) => "Flush",
        })
    }
}

impl Ledger {
    /// The ledger and its writer; the writer is driven by [`Writer::run`] in the io runtime.
    pub fn new(sink: Arc<dyn Sink>) -> (Self, Writer) {
        let (queue, records) = mpsc::channel(QUEUE);
        (Self { queue, lost: Arc::default() }, Writer { records, sink, batch: Batch::default(), doubtful: None })
    }

    /// Hands a settled call over; never waits. A full queue means that the io runtime does not run: the record is lost
    /// and counted.
    pub fn submit(&self, record: Record) {
        if self.queue.try_send(Message::Record(Box::new(record))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a spend record was lost: the writer does not take any");
        }
    }

    /// Writes everything submitted so far; true: it is in the database. For the drain.
    pub async fn flush(&self) -> bool {
        let (told, heard) = oneshot::channel();
        self.queue.send(Message::Flush(told)).await.is_ok() && heard.await.unwrap_or(false)
    }

    /// Records that never reached the writer.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The io runtime's end.
pub struct Writer {
    records: mpsc::Receiver<Message>,
    sink: Arc<dyn Sink>,
    batch: Batch,
    /// sent, but nobody knows whether it was committed
    doubtful: Option<Batch>,
}

impl Writer {
    /// Folds and flushes until every [`Ledger`] is gone.
    pub async fn run(mut self, every: impl Fn() -> Duration) {
        let mut next = tokio::time::Instant::now() + every();
        loop {
            tokio::select! {
                message = self.records.recv() => match message {
                    Some(Message::Record(record)) => self.batch.add(&record),
                    Some(Message::Flush(told)) => {
                        let done = self.flush().await;
                        let _ = told.send(done);
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(next) => {
                    self.flush().await;
                    next = tokio::time::Instant::now() + every();
                }
            }
        }
        self.flush().await;
    }

    /// True: nothing is left to write.
    async fn flush(&mut self) -> bool {
        if let Some(doubtful) = self.doubtful.take() {
            match self.sink.was_written(&doubtful).await {
                Some(true) => {}
                Some(false) => self.batch.merge(doubtful),
                None => {
                    self.doubtful = Some(doubtful);
                    return false;
                }
            }
        }
        if self.batch.is_empty() {
            return true;
        }
        let batch = std::mem::take(&mut self.batch);
        match self.sink.write(&batch).await {
            Written::Yes => true,
            Written::No => {
                self.batch.merge(batch);
                false
            }
            Written::Unknown => {
                self.doubtful = Some(batch);
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
