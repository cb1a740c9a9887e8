//! The last minutes of each route, for the status page: a ring of short slots in memory, and the latencies' quantiles
//! over it. Bounded whatever comes: [`SLOTS`] slots for at most [`ROUTES`] routes. It must never see a request.
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    access_log::Side,
    metrics::{BUCKETS, Metrics, RouteMetrics, SideTotals},
};

/// How long a slot is.
pub const EVERY: Duration = Duration::from_secs(10);
/// Ten minutes.
pub const SLOTS: usize = 60;
/// More routes than that have no history; their counts since the start are shown all the same.
const ROUTES: usize = 256;

const BOUNDS: usize = BUCKETS.len() + 1;

/// What one side did within a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideSlot {
    pub requests: u32,
    pub refused: u32,
    pub failed: u32,
    pub aborted: u32,
    /// latencies by bucket, the last is what is above all bounds
    pub buckets: [u32; BOUNDS],
}

impl Default for SideSlot {
    fn default() -> Self {
        Self { requests: 0, refused: 0, failed: 0, aborted: 0, buckets: [0; BOUNDS] }
    }
}

fn more(now: u64, before: u64) -> u32 {
    u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
}

impl SideSlot {
    fn between(now: &SideTotals, before: &SideTotals) -> Self {
        let mut buckets = [0; BOUNDS];
        for (index, (slot, now)) in buckets.iter_mut().zip(&now.buckets).enumerate() {
            *slot = more(*now, before.buckets.get(index).copied().unwrap_or(0));
        }
        Self {
            requests: more(now.requests, before.requests),
            refused: more(now.refused, before.refused),
            failed: more(now.failed, before.failed),
            aborted: more(now.aborted, before.aborted),
            buckets,
        }
    }

    fn add(&mut self, other: &Self) {
        let sum = |into: &mut u32, more: u32| *into = into.saturating_add(more);
        sum(&mut self.requests, other.requests);
        sum(&mut self.refused, other.refused);
        sum(&mut self.failed, other.failed);
        sum(&mut self.aborted, other.aborted);
        self.buckets.iter_mut().zip(other.buckets).for_each(|(into, more)| sum(into, more));
    }

    /// Seconds below which that share of the requests stayed, estimated within the bucket; `None`: no request.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        if count == 0 {
            return None;
        }
        let wanted = share * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in BUCKETS.iter().zip(self.buckets) {
            let count = f64::from(count);
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            lower = *upper;
        }
        Some(lower)
    }
}

/// What a route did within a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slot {
    pub python: SideSlot,
    pub native: SideSlot,
    pub edge: u32,
    pub declined: u32,
}

impl Slot {
    fn add(&mut self, other: &Self) {
        self.python.add(&other.python);
        self.native.add(&other.native);
        self.edge = self.edge.saturating_add(other.edge);
        self.declined = self.declined.saturating_add(other.declined);
    }
}

/// A route's counts since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub python: SideTotals,
    pub native: SideTotals,
    pub edge: SideTotals,
    pub declined: u64,
}

impl Totals {
    /// Reads them.
    pub fn of(route: &RouteMetrics) -> Self {
        Self {
            python: route.totals(Side::Python),
            native: route.totals(Side::Native),
            edge: route.totals(Side::Edge),
            declined: route.declines().iter().map(|(_, count)| count).sum(),
        }
    }

    fn since(&self, before: &Self) -> Slot {
        Slot {
            python: SideSlot::between(&self.python, &before.python),
            native: SideSlot::between(&self.native, &before.native),
            edge: more(self.edge.requests, before.edge.requests),
            declined: more(self.declined, before.declined),
        }
    }
}

/// One route's ring.
#[derive(Debug, Default)]
struct Ring {
    last: Totals,
    slots: VecDeque<Slot>,
}

/// A route's last minutes: whole slots, oldest first, then the one that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub slots: Vec<Slot>,
    /// their sum
    pub window: Slot,
}

impl Ring {
    fn tick(&mut self, now: Totals) {
        self.slots.push_back(now.since(&self.last));
        if self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
        self.last = now;
    }

    fn view(&self, now: &Totals) -> View {
        let mut slots: Vec<Slot> = self.slots.iter().copied().collect();
        slots.push(now.since(&self.last));
        let mut window = Slot::default();
        slots.iter().for_each(|slot| window.add(slot));
        View { slots, window }
    }
}

/// All rings.
#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<Arc<str>, Ring>>);

impl History {
    /// Ends a slot of every route that was seen so far.
    pub fn tick(&self, metrics: &Metrics) {
        let mut rings = self.lock();
        for route in metrics.seen_routes() {
            if rings.len() < ROUTES || rings.contains_key(route.id()) {
                rings.entry(route.id().into()).or_default().tick(Totals::of(&route));
            }
        }
    }

    /// A route's last minutes, up to this moment.
    pub fn view(&self, id: &str, now: &Totals) -> View {
        self.lock().get(id).map_or_else(|| Ring::default().view(now), |ring| ring.view(now))
    }

    /// Ticks for ever; for the io service.
    pub async fn run(&self, metrics: &Metrics) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            self.tick(metrics);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Ring>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(latencies: &[f64]) -> SideSlot {
        let metrics = Metrics::new().unwrap();
        let route = metrics.route("r");
        latencies.iter().for_each(|seconds| route.answered(&metrics, Side::Native, 200, *seconds, None));
        SideSlot::between(&route.totals(Side::Native), &SideTotals::default())
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        assert_eq!(slot(&[]).quantile(0.5), None);
        let one = slot(&[0.007]).quantile(0.99).unwrap();
        assert!((0.005..=0.01).contains(&one), "{one}");
        let mut many = vec![0.002; 90];
        many.extend([0.2; 10]);
        let many = slot(&many);
        let (p50, p99) = (many.quantile(0.5).unwrap(), many.quantile(0.99).unwrap());
        assert!((0.001..=0.0025).contains(&p50) && (0.1..=0.25).contains(&p99), "{p50} {p99}");
        assert_eq!(slot(&[9999.0]).quantile(0.5), Some(600.0), "above all bounds: the last bound");
    }

    #[test]
    fn the_ring_is_bounded_and_forgets_what_is_old() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.route("r");
        let history = History::default();
        route.answered(&metrics, Side::Native, 500, 0.1, None);
        let now = Totals::of(&route);
        assert_eq!(history.view("r", &now).window.native.failed, 1, "seen before the first tick");
        history.tick(&metrics);
        route.answered(&metrics, Side::Python, 200, 0.1, None);
        let view = history.view("r", &Totals::of(&route));
        assert_eq!((view.slots.len(), view.window.native.requests, view.window.python.requests), (2, 1, 1));
        assert_eq!(view.slots.iter().map(|slot| slot.native.requests).collect::<Vec<_>>(), [1, 0]);
        for _ in 0..SLOTS + 5 {
            history.tick(&metrics);
        }
        let view = history.view("r", &Totals::of(&route));
        assert_eq!((view.slots.len(), view.window), (SLOTS + 1, Slot::default()));
        (0..ROUTES * 2).for_each(|number| drop(metrics.route(&number.to_string())));
        history.tick(&metrics);
        assert_eq!(history.lock().len(), ROUTES);
    }
}
