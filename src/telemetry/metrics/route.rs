//! One route's handles. They are resolved at their first use and then reached by index: a request looks its route up
//! once and no label at all.
use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter};

use super::{Metrics, buckets_of};
use crate::{routes::Decline, telemetry::access_log::Side};

/// Status classes as labels; the index is the status' first digit, 0 for what HTTP does not know.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Who ended an answer before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortedBy {
    Client,
    Origin,
}

const DECLINES: usize = Decline::ALL.len();

#[derive(Debug, Default)]
struct SideHandles {
    requests: [OnceLock<IntCounter>; CLASSES.len()],
    duration: OnceLock<Histogram>,
    first_byte: OnceLock<Histogram>,
    request_bytes: OnceLock<IntCounter>,
    response_bytes: OnceLock<IntCounter>,
    aborts: [OnceLock<IntCounter>; 2],
}

/// The handles of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    id: Arc<str>,
    sides: [SideHandles; 3],
    declines: [OnceLock<IntCounter>; DECLINES],
    provider: OnceLock<Histogram>,
    replays: OnceLock<IntCounter>,
    resends: OnceLock<IntCounter>,
}

/// What one side of a route has done since the start; histogram buckets are not cumulative.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SideTotals {
    pub requests: u64,
    /// 4xx answers
    pub refused: u64,
    /// 5xx answers
    pub failed: u64,
    pub aborted: u64,
    /// one more than there are bounds: the last is what is above them all
    pub buckets: Vec<u64>,
}

impl RouteMetrics {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            sides: Default::default(),
            declines: [const { OnceLock::new() }; DECLINES],
            provider: OnceLock::new(),
            replays: OnceLock::new(),
            resends: OnceLock::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    fn side(&self, side: Side) -> &SideHandles {
        let [python, native, edge] = &self.sides;
        match side {
            Side::Python => python,
            Side::Native => native,
            Side::Edge => edge,
        }
    }

    /// An answered request.
    pub fn answered(&self, metrics: &Metrics, side: Side, status: u16, seconds: f64, first_byte: Option<f64>) {
        let handles = self.side(side);
        let (id, name) = (&*self.id, side.as_str());
        let class = usize::from(status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        if let (Some(handle), Some(word)) = (handles.requests.get(class), CLASSES.get(class)) {
            handle.get_or_init(|| metrics.requests.with_label_values(&[id, name, word])).inc();
        }
        handles.duration.get_or_init(|| metrics.duration.with_label_values(&[id, name])).observe(seconds);
        if let Some(first) = first_byte {
            handles.first_byte.get_or_init(|| metrics.first_byte.with_label_values(&[id, name])).observe(first);
        }
    }

    /// Bytes of the bodies both ways.
    pub fn bytes(&self, metrics: &Metrics, side: Side, read: usize, written: usize) {
        let handles = self.side(side);
        let labels = [&*self.id, side.as_str()];
        if read > 0 {
            handles.request_bytes.get_or_init(|| metrics.request_bytes.with_label_values(&labels)).inc_by(read as u64);
        }
        if written > 0 {
            let handle = handles.response_bytes.get_or_init(|| metrics.response_bytes.with_label_values(&labels));
            handle.inc_by(written as u64);
        }
    }

    /// An answer that was broken off.
    pub fn aborted(&self, metrics: &Metrics, side: Side, by: AbortedBy) {
        let [client, origin] = &self.side(side).aborts;
        let (handle, word) = match by {
            AbortedBy::Client => (client, "client"),
            AbortedBy::Origin => (origin, "origin"),
        };
        handle.get_or_init(|| metrics.aborts.with_label_values(&[&*self.id, side.as_str(), word])).inc();
    }

    pub fn declined(&self, metrics: &Metrics, reason: Decline) {
        if let Some(handle) = self.declines.get(reason as usize) {
            handle.get_or_init(|| metrics.declines.with_label_values(&[&*self.id, reason.as_str()])).inc();
        }
    }

    pub fn waited(&self, metrics: &Metrics, seconds: f64) {
        self.provider.get_or_init(|| metrics.provider.with_label_values(&[&*self.id])).observe(seconds);
    }

    pub fn replayed(&self, metrics: &Metrics) {
        self.replays.get_or_init(|| metrics.replays.with_label_values(&[&*self.id])).inc();
    }

    pub fn resent(&self, metrics: &Metrics) {
        self.resends.get_or_init(|| metrics.resends.with_label_values(&[&*self.id])).inc();
    }

    /// Counts since the start, for the status page.
    pub fn totals(&self, side: Side) -> SideTotals {
        let handles = self.side(side);
        let count = |handle: &OnceLock<IntCounter>| handle.get().map_or(0, IntCounter::get);
        let [_, _, _, _, refused, failed] = &handles.requests;
        SideTotals {
            requests: handles.requests.iter().map(count).sum(),
            refused: count(refused),
            failed: count(failed),
            aborted: handles.aborts.iter().map(count).sum(),
            buckets: handles.duration.get().map(buckets_of).unwrap_or_default(),
        }
    }

    /// Declines since the start, those that happened.
    pub fn declines(&self) -> Vec<(Decline, u64)> {
        let counts = self.declines.iter().map(|handle| handle.get().map_or(0, IntCounter::get));
        Decline::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}
