//! The one way spend leaves the request path: a bounded queue into the io runtime, where one writer folds records and
//! flushes them every `proxy_batch_write_at` seconds. A record is written once: a flush is one transaction, and where its
//! commit was not heard of, the database is asked what became of it. Records are folded while a flush is under way, so a
//! slow database fills no queue. While it is away sums are kept for ever (they grow by entities, not by calls) and log
//! rows up to a bound. What a killed process loses is what came since its last flush.
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::Instant,
};

use super::{batch::Batch, record::Record};

/// Records on their way to the writer; it takes them out at once, so this only bridges a busy moment. What finds no room is
/// folded where it stands: its row is given up, its spend is not.
const QUEUE: usize = 16_384;

/// So many records are written before their time: rows are given up only while the database is away or slow.
const FULL: usize = 1_000;

/// Pause after records were taken: those that come meanwhile wake nobody.
const GATHER: Duration = Duration::from_millis(5);

/// Longest pause after a flush that failed: spend is written soon after the database is back.
const RETRY: Duration = Duration::from_secs(1);

/// Where batches go; Postgres, or a test.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Writes all of it or nothing, within a bounded time.
    async fn write(&self, batch: &Batch) -> Written;
    /// After [`Written::Unknown`]: whether that transaction was committed; `None`: still no answer.
    async fn was_written(&self, transaction: i64) -> Option<bool>;
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Yes,
    No,
    /// the connection broke: this transaction may have been committed
    Unknown(i64),
    /// the database is there and will never take it as it is
    Refused,
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
    overflow: Arc<Mutex<Batch>>,
    counts: Arc<Counts>,
}

/// What an operator is told.
#[derive(Debug, Default)]
struct Counts {
    lost: AtomicU64,
    waiting: AtomicU64,
    dropped_rows: AtomicU64,
    /// since when something waits
    oldest: Mutex<Option<Instant>>,
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
        let (counts, overflow) = (Arc::<Counts>::default(), Arc::<Mutex<Batch>>::default());
        let (batch, in_work) = Default::default();
        let (of_writer, counted) = (overflow.clone(), counts.clone());
        let writer = Writer { records, sink, batch, overflow: of_writer, doubtful: None, in_work, counts: counted };
        (Self { queue, overflow, counts }, writer)
    }

    /// Hands a settled call over; never waits for the writer. It is lost, and counted, only if there is none any more.
    pub fn submit(&self, record: Record) {
        match self.queue.try_send(Message::Record(Box::new(record))) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Record(record))) => {
                self.overflow.lock().unwrap_or_else(PoisonError::into_inner).add_without_row(&record);
            }
            Err(_) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                tracing::error!("a spend record was lost: the writer has ended");
            }
        }
    }

    /// Writes everything submitted so far; true: it is in the database. For the drain.
    pub async fn flush(&self) -> bool {
        let (told, heard) = oneshot::channel();
        self.queue.send(Message::Flush(told)).await.is_ok() && heard.await.unwrap_or(false)
    }

    /// Records that never reached the writer.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Records that the writer holds.
    pub fn waiting(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// Log rows given up because too many waited; their spend was not.
    pub fn dropped_rows(&self) -> u64 {
        self.counts.dropped_rows.load(Ordering::Relaxed)
    }

    /// How long the oldest record has been waiting to be written.
    pub fn oldest(&self) -> Duration {
        let since = *self.counts.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The io runtime's end.
pub struct Writer {
    records: mpsc::Receiver<Message>,
    sink: Arc<dyn Sink>,
    batch: Batch,
    overflow: Arc<Mutex<Batch>>,
    doubtful: Option<Doubtful>,
    /// records of the flush under way
    in_work: usize,
    counts: Arc<Counts>,
}

/// Sent, but nobody knows whether it was committed.
struct Doubtful {
    batch: Batch,
    transaction: i64,
}

/// What a flush could not write.
#[derive(Default)]
struct Left {
    batch: Batch,
    doubtful: Option<Doubtful>,
}

type Work = Pin<Box<dyn Future<Output = Left> + Send>>;

impl Writer {
    /// Folds and flushes until every [`Ledger`] is gone.
    pub async fn run(mut self, every: impl Fn() -> Duration) {
        let mut next = Instant::now() + every();
        let mut open = Instant::now();
        let (mut work, mut done): (Option<Work>, _) = (None, true);
        // who asked for a flush, and whom the one under way will answer
        let (mut asked, mut promised) = (Vec::new(), Vec::new());
        loop {
            let full = done && self.batch.len() >= FULL;
            if work.is_none() && (full || !asked.is_empty() || Instant::now() >= next) {
                promised.append(&mut asked);
                work = Some(self.flush());
            }
            let gathering = Instant::now() < open;
            let wake = if work.is_none() && !gathering { next } else { open };
            tokio::select! {
                left = under_way(&mut work), if work.is_some() => {
                    work = None;
                    done = self.settle(left);
                    for told in promised.drain(..) {
                        let _: Result<(), bool> = oneshot::Sender::send(told, done);
                    }
                    next = Instant::now() + if done { every() } else { every().min(RETRY) };
                }
                message = self.records.recv(), if !gathering => {
                    let Some(message) = message else { break };
                    self.take(message, &mut asked);
                    for _ in 0..FULL {
                        let Ok(message) = self.records.try_recv() else { break };
                        self.take(message, &mut asked);
                    }
                    open = Instant::now() + GATHER;
                },
                () = tokio::time::sleep_until(wake), if work.is_none() || gathering => {}
            }
            self.count();
        }
        if let Some(work) = work {
            let left = work.await;
            self.settle(left);
        }
        let left = self.flush().await;
        self.settle(left);
    }

    fn take(&mut self, message: Message, asked: &mut Vec<oneshot::Sender<bool>>) {
        match message {
            Message::Record(record) => self.batch.add(&record),
            Message::Flush(told) => asked.push(told),
        }
    }

    fn flush(&mut self) -> Work {
        let overflow = std::mem::take(&mut *self.overflow.lock().unwrap_or_else(PoisonError::into_inner));
        self.batch.merge(overflow);
        self.counts.dropped_rows.fetch_add(std::mem::take(&mut self.batch.dropped_logs), Ordering::Relaxed);
        let (batch, doubtful) = (std::mem::take(&mut self.batch), self.doubtful.take());
        self.in_work = batch.len() + doubtful.as_ref().map_or(0, |doubtful| doubtful.batch.len());
        Box::pin(write(self.sink.clone(), batch, doubtful))
    }

    /// True: nothing of that flush is left to write.
    fn settle(&mut self, left: Left) -> bool {
        let done = left.batch.is_empty() && left.doubtful.is_none();
        self.in_work = 0;
        self.batch.merge(left.batch);
        self.doubtful = left.doubtful;
        if done {
            *self.counts.oldest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    fn count(&mut self) {
        let doubtful = self.doubtful.as_ref().map_or(0, |doubtful| doubtful.batch.len());
        let waiting = self.batch.len() + self.in_work + doubtful;
        self.counts.waiting.store(waiting as u64, Ordering::Relaxed);
        self.counts.dropped_rows.fetch_add(std::mem::take(&mut self.batch.dropped_logs), Ordering::Relaxed);
        if waiting > 0 {
            self.counts.oldest.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }
}

async fn under_way(work: &mut Option<Work>) -> Left {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn write(sink: Arc<dyn Sink>, mut batch: Batch, doubtful: Option<Doubtful>) -> Left {
    if let Some(doubtful) = doubtful {
        match sink.was_written(doubtful.transaction).await {
            Some(true) => {}
            Some(false) => batch.merge(doubtful.batch),
            None => return Left { batch, doubtful: Some(doubtful) },
        }
    }
    if batch.is_empty() {
        return Left::default();
    }
    match sink.write(&batch).await {
        Written::Yes => Left::default(),
        Written::No => Left { batch, doubtful: None },
        Written::Refused => {
            // texts of strangers are in the rows alone
            if batch.give_up_rows() {
                tracing::error!(
                    "the database refuses a spend log: those of this flush are given up, their spend is not"
                );
            }
            Left { batch, doubtful: None }
        }
        Written::Unknown(transaction) => {
            Left { batch: Batch::default(), doubtful: Some(Doubtful { batch, transaction }) }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
