//! `parity record`: turns live traffic that the edge copies ([`crate::capture`]) into case files. Bounded everywhere: so
//! many captures at a time, so many bytes a body, so many cases in all; what does not fit is dropped and counted.
//! Redaction, rendering and writing happen in a thread of their own. It must never hold up or fail a request.
mod case_file;
pub mod proxy;
pub mod redact;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use serde_json::Value;
use time::{OffsetDateTime, macros::format_description};

pub use case_file::{CALLER_KEY, Skip};
use case_file::{Gateway, folder, render};
use redact::Rules;

use crate::{
    capture::{Served, Sink, Tap, WeakTap},
    secret::Secret,
    telemetry::{Metrics, access_log::Side},
};

/// Captures that are alive at the same time, waiting ones included: with `max_body` the bound on memory.
const SLOTS: usize = 32;

/// What to record.
#[derive(Debug)]
pub struct Options {
    /// folder of a suite: cases go to `cases/<route>/` in it
    pub out: PathBuf,
    pub max_cases: usize,
    /// bytes of each body
    pub max_body: usize,
    /// of the requests, 0 to 100
    pub percent: f64,
    /// route ids; empty: all that routes.toml or the table of native routes names. `pass_through`: also what none names
    pub routes: BTreeSet<String>,
    pub rules: Rules,
}

/// The gateway's own secrets at this moment: master key, others.
pub type Secrets = Box<dyn Fn() -> (Option<Secret>, Vec<Secret>) + Send>;

#[derive(Debug, Default)]
struct Counts {
    written: AtomicUsize,
    /// accepted, not yet written or skipped
    pending: AtomicUsize,
    /// no room at that moment
    dropped: AtomicUsize,
    failed: AtomicUsize,
    skipped: Mutex<BTreeMap<&'static str, usize>>,
}

/// Gives its place back when it goes.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The sink that writes cases.
pub struct Recorder {
    options: Arc<Options>,
    metrics: Metrics,
    slots: Arc<AtomicUsize>,
    counts: Arc<Counts>,
    /// captures whose request is being answered
    open: Mutex<Vec<WeakTap>>,
    queue: SyncSender<(Tap, Served)>,
}

impl Recorder {
    /// Starts the writing thread.
    pub fn start(options: Options, metrics: Metrics, secrets: Secrets) -> io::Result<Arc<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(options.out.join("cases"))?;
        let (queue, captures) = sync_channel(SLOTS);
        let options = Arc::new(options);
        let counts = Arc::new(Counts::default());
        let writer = Writer { options: options.clone(), counts: counts.clone(), secrets };
        std::thread::Builder::new().name("parity-record".into()).spawn(move || writer.run(&captures))?;
        Ok(Arc::new(Self { options, metrics, slots: Arc::default(), counts, open: Mutex::default(), queue }))
    }

    fn slot(&self) -> Option<Slot> {
        let taken =
            self.slots.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| (used < SLOTS).then_some(used + 1));
        taken.is_ok().then(|| Slot(self.slots.clone()))
    }

    /// Whose call to a provider this is. Alone in the gateway it is sure; else the request's own texts must stand in it,
    /// and only one request's.
    pub(crate) fn owner(&self, body: &[u8]) -> Option<Tap> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tap| tap.upgrade().is_some());
        // the edge notes its own calls, also those that come this way
        let pythons = |tap: &Tap| !tap.with(|taken| taken.edge_calls);
        let taps: Vec<Tap> = open.iter().filter_map(WeakTap::upgrade).filter(pythons).collect();
        drop(open);
        let in_flight = |side| self.metrics.in_flight(side).get();
        let alone = in_flight(Side::Python) <= 1 && in_flight(Side::Native) == 0;
        let called: Option<Value> = serde_json::from_slice(body).ok();
        let mut theirs = Vec::new();
        called.iter().for_each(|value| texts(value, &mut theirs));
        let mut owners: Vec<Tap> = Vec::new();
        for tap in taps {
            let sent: Option<Value> = tap.with(|taken| serde_json::from_slice(&taken.body.bytes).ok());
            let mut own = Vec::new();
            sent.iter().for_each(|value| texts(value, &mut own));
            let all = own.iter().all(|text| theirs.contains(text));
            if all && (alone || !own.is_empty()) {
                owners.push(tap);
            }
        }
        if owners.len() > 1 {
            owners.iter().for_each(Tap::spoil);
            return None;
        }
        let owner = owners.pop()?;
        if !alone {
            owner.with(|taken| taken.unsure = true);
        }
        Some(owner)
    }

    /// Waits, for a bounded time, until what was captured is written; then says what came of it.
    pub async fn flush(&self) {
        let started = Instant::now();
        while self.counts.pending.load(Ordering::Acquire) > 0 && started.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let skipped = self.counts.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tracing::info!(
            written = count(&self.counts.written),
            dropped = count(&self.counts.dropped),
            failed = count(&self.counts.failed),
            skipped = ?skipped,
            "recording ends"
        );
    }
}

/// Texts long enough to tell requests apart.
fn texts<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if text.len() >= 12 => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(map) => {
            for key in ["messages", "system", "input", "prompt", "content", "text", "instructions"] {
                map.get(key).into_iter().for_each(|value| texts(value, out));
            }
        }
        _ => {}
    }
}

impl Sink for Recorder {
    fn begin(&self, route: &str, method: &Method, target: &str, headers: &HeaderMap) -> Option<Tap> {
        let options = &self.options;
        let wanted = match folder(route).as_str() {
            "pass_through" => options.routes.contains("pass_through"),
            route => options.routes.is_empty() || options.routes.contains(route),
        };
        let full = || {
            let counts = &self.counts;
            counts.written.load(Ordering::Relaxed) + counts.pending.load(Ordering::Relaxed) >= options.max_cases
        };
        if !wanted || full() || fastrand::f64() * 100.0 >= options.percent {
            return None;
        }
        let Some(slot) = self.slot() else {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let tap = Tap::new(route, method, target, headers, options.max_body, Box::new(slot));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tap| tap.upgrade().is_some()); // those whose client left
        open.push(tap.downgrade());
        drop(open);
        Some(tap)
    }

    fn finish(&self, tap: &Tap, served: Served) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| !open.is(tap));
        self.counts.pending.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send((tap.clone(), served)).is_err() {
            self.counts.pending.fetch_sub(1, Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that writes.
struct Writer {
    options: Arc<Options>,
    counts: Arc<Counts>,
    secrets: Secrets,
}

impl Writer {
    fn run(&self, captures: &Receiver<(Tap, Served)>) {
        let mut number = 0;
        while let Ok((tap, served)) = captures.recv() {
            number += 1;
            // a fault in rendering costs a case, not the recording
            let write = std::panic::AssertUnwindSafe(|| self.write(&tap, served, number));
            match std::panic::catch_unwind(write) {
                Ok(Ok(Ok(()))) => {
                    let written = self.counts.written.fetch_add(1, Ordering::Relaxed) + 1;
                    if written == self.options.max_cases {
                        tracing::info!(written, "as many cases as wanted are recorded");
                    }
                }
                Ok(Ok(Err(skip))) => {
                    let mut skipped = self.counts.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = skipped.entry(skip.as_str()).or_default();
                    *count += 1;
                    if *count == 1 {
                        tracing::warn!(reason = skip.as_str(), why = skip.why(), "a request became no case");
                    }
                }
                Ok(Err(error)) => {
                    if self.counts.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::error!(%error, "a case could not be written");
                    }
                }
                Err(_) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.counts.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn write(&self, tap: &Tap, served: Served, number: usize) -> io::Result<Result<(), Skip>> {
        let (master_key, secrets) = (self.secrets)();
        let gateway = Gateway { rules: &self.options.rules, master_key, secrets };
        let taken = tap.with(|taken| taken.clone());
        let format = format_description!("[year][month][day]t[hour][minute][second]");
        let at = OffsetDateTime::from(taken.at).format(&format).unwrap_or_default();
        let name = format!("rec-{at}-{number:04}");
        match render(&taken, served, &gateway, &name) {
            Ok(text) => put(&self.options.out.join("cases").join(folder(&taken.route)), &name, &text).map(Ok),
            Err(skip) => Ok(Err(skip)),
        }
    }
}

/// Whole or not at all, for the owner's eyes.
fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&new, folder.join(format!("{name}.yaml"))));
    if written.is_err() {
        let _ = std::fs::remove_file(new);
    }
    written
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
