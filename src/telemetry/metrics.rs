//! Prometheus metrics of the edge. The only place where one is made; [`table`] says what each is.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use super::{access_log::Side, process};

pub mod route;
pub mod table;

pub use route::{AbortedBy, RouteMetrics, SideTotals};
use table::Meta;

/// Sets gauges right before they are read.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics; cheap to clone. What a request touches is reached through [`Metrics::route`] and fixed handles.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl std::ops::Deref for Metrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// The metrics themselves; labels and meaning stand in [`table`].
pub struct Inner {
    registry: Registry,
    routes: ArcSwap<HashMap<Arc<str>, Arc<RouteMetrics>>>,
    refresh: Mutex<Vec<Refresh>>,
    process: process::Process,
    pub requests: IntCounterVec,
    pub declines: IntCounterVec,
    pub duration: HistogramVec,
    pub first_byte: HistogramVec,
    pub provider: HistogramVec,
    pub provider_calls: HistogramVec,
    pub request_bytes: IntCounterVec,
    pub response_bytes: IntCounterVec,
    pub aborts: IntCounterVec,
    pub replays: IntCounterVec,
    pub resends: IntCounterVec,
    in_flight: [IntGauge; 3],
    pub python_errors: IntCounterVec,
    pub python_up: IntGauge,
    pub python_configured: IntGauge,
    pub store_up: IntGaugeVec,
    limits_local: IntCounter,
    pub ledger_records: IntGauge,
    pub ledger_age: Gauge,
    ledger_dropped: IntCounterVec,
    pub all_python: IntGauge,
    pub route_wanted: IntGaugeVec,
    pub route_native: IntGaugeVec,
    pub evidence_fresh: IntGaugeVec,
    pub evidence_age: GaugeVec,
    pub evidence_max_age: Gauge,
    pub reloads: IntCounterVec,
    pub loaded: GaugeVec,
    pub refused: IntGaugeVec,
    pub connections: IntGauge,
    pub connections_refused: IntCounter,
    pub accepted_http1: IntCounter,
    pub accepted_http2: IntCounter,
    pub body_memory: IntGauge,
    pub body_budget: IntGauge,
    pub draining: IntGauge,
    pub upgrades: IntCounterVec,
    pub spans: IntCounterVec,
}

/// Upper bounds of the histograms, seconds.
pub const BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 600.0,
];

/// Makes metrics and registers them; errors only if a name stands twice, which a test rules out.
struct Maker(Registry);

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, meta: &Meta) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(meta.name, meta.help), meta.labels)?)
    }

    fn histogram(&self, meta: &Meta) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(meta.name, meta.help).buckets(BUCKETS.to_vec());
        self.register(HistogramVec::new(options, meta.labels)?)
    }

    fn gauge(&self, meta: &Meta) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(meta.name, meta.help)?)
    }

    fn float(&self, meta: &Meta) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(meta.name, meta.help)?)
    }

    fn gauges(&self, meta: &Meta) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(meta.name, meta.help), meta.labels)?)
    }

    fn floats(&self, meta: &Meta) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Opts::new(meta.name, meta.help), meta.labels)?)
    }
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let make = Maker(Registry::new());
        let in_flight = make.gauges(&table::IN_FLIGHT)?;
        let in_flight =
            [Side::Python, Side::Native, Side::Edge].map(|side| in_flight.with_label_values(&[side.as_str()]));
        let accepted = make.counter(&table::ACCEPTED)?;
        let build = make.gauges(&table::BUILD)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), env!("LITELLM_RUST_SOURCE_DIGEST")]).set(1);
        Ok(Self(Arc::new(Inner {
            routes: ArcSwap::default(),
            refresh: Mutex::default(),
            process: process::Process::new(|meta| make.float(meta), |collector| make.register(collector))?,
            requests: make.counter(&table::REQUESTS)?,
            declines: make.counter(&table::DECLINES)?,
            duration: make.histogram(&table::DURATION)?,
            first_byte: make.histogram(&table::FIRST_BYTE)?,
            provider: make.histogram(&table::PROVIDER)?,
            provider_calls: make.histogram(&table::PROVIDER_CALLS)?,
            request_bytes: make.counter(&table::REQUEST_BYTES)?,
            response_bytes: make.counter(&table::RESPONSE_BYTES)?,
            aborts: make.counter(&table::ABORTS)?,
            replays: make.counter(&table::REPLAYS)?,
            resends: make.counter(&table::RESENDS)?,
            in_flight,
            python_errors: make.counter(&table::PYTHON_ERRORS)?,
            python_up: make.gauge(&table::PYTHON_UP)?,
            python_configured: make.gauge(&table::PYTHON_CONFIGURED)?,
            store_up: make.gauges(&table::STORE_UP)?,
            limits_local: make.counter(&table::LIMITS_LOCAL)?.with_label_values(&[] as &[&str]),
            ledger_records: make.gauge(&table::LEDGER_RECORDS)?,
            ledger_age: make.float(&table::LEDGER_AGE)?,
            ledger_dropped: make.counter(&table::LEDGER_DROPPED)?,
            all_python: make.gauge(&table::ALL_PYTHON)?,
            route_wanted: make.gauges(&table::ROUTE_WANTED)?,
            route_native: make.gauges(&table::ROUTE_NATIVE)?,
            evidence_fresh: make.gauges(&table::EVIDENCE_FRESH)?,
            evidence_age: make.floats(&table::EVIDENCE_AGE)?,
            evidence_max_age: make.float(&table::EVIDENCE_MAX_AGE)?,
            reloads: make.counter(&table::RELOADS)?,
            loaded: make.floats(&table::LOADED)?,
            refused: make.gauges(&table::REFUSED)?,
            connections: make.gauge(&table::CONNECTIONS)?,
            connections_refused: make.counter(&table::CONNECTIONS_REFUSED)?.with_label_values(&[] as &[&str]),
            accepted_http1: accepted.with_label_values(&["http1"]),
            accepted_http2: accepted.with_label_values(&["http2"]),
            body_memory: make.gauge(&table::BODY_MEMORY)?,
            body_budget: make.gauge(&table::BODY_BUDGET)?,
            draining: make.gauge(&table::DRAINING)?,
            upgrades: make.counter(&table::UPGRADES)?,
            spans: make.counter(&table::SPANS)?,
            registry: make.0,
        })))
    }

    /// The handles of a route, made when it is first seen. Route ids come from routes.toml and the table of native
    /// routes, never from a request. A reader takes no lock.
    pub fn route(&self, id: &str) -> Arc<RouteMetrics> {
        if let Some(found) = self.routes.load().get(id) {
            return found.clone();
        }
        let made = Arc::new(RouteMetrics::new(id));
        self.routes.rcu(|known| {
            let mut next = HashMap::clone(known);
            next.entry(id.into()).or_insert_with(|| made.clone());
            next
        });
        self.routes.load().get(id).cloned().unwrap_or(made)
    }

    /// Every route that was seen so far.
    pub fn seen_routes(&self) -> Vec<Arc<RouteMetrics>> {
        let mut all: Vec<_> = self.routes.load().values().cloned().collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Requests being answered by that side.
    pub fn in_flight(&self, side: Side) -> &IntGauge {
        let [python, native, edge] = &self.in_flight;
        match side {
            Side::Python => python,
            Side::Native => native,
            Side::Edge => edge,
        }
    }

    /// `refresh` sets gauges whenever somebody is about to read them.
    pub fn before_reading(&self, refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// A file (`config`, `routes`) was loaded now, or refused.
    pub fn reloaded(&self, file: &str, ok: bool) {
        self.reloads.with_label_values(&[file, if ok { "ok" } else { "refused" }]).inc();
        self.file_state(file, ok);
    }

    /// What holds of a file after a look at it.
    pub fn file_state(&self, file: &str, ok: bool) {
        self.refused.with_label_values(&[file]).set(i64::from(!ok));
        if ok {
            self.loaded.with_label_values(&[file]).set(process::unix_now());
        }
    }

    /// What is given up for want of Postgres, and counted for want of Redis, since the start.
    pub fn given_up(&self, rows: u64, records: u64, local: u64) {
        // a counter only grows; a reload may have started a source anew
        let raise = |counter: &IntCounter, total: u64| counter.inc_by(total.saturating_sub(counter.get()));
        raise(&self.ledger_dropped.with_label_values(&["row"]), rows);
        raise(&self.ledger_dropped.with_label_values(&["record"]), records);
        raise(&self.limits_local, local);
    }

    /// What the process itself takes, read now.
    pub fn process(&self) -> process::Usage {
        process::usage()
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        // one reader at a time: refreshing empties and fills
        let refresh = self.refresh.lock().unwrap_or_else(PoisonError::into_inner);
        refresh.iter().for_each(|refresh| refresh(self));
        self.process.refresh(&process::usage());
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        drop(refresh);
        out
    }
}

/// A histogram's counts by bucket, not cumulative.
fn buckets_of(histogram: &Histogram) -> Vec<u64> {
    let families = histogram.collect();
    let found = families.first().and_then(|family| family.get_metric().first());
    let Some(found) = found.map(prometheus::proto::Metric::get_histogram) else { return Vec::new() };
    let mut below = 0;
    let mut counts: Vec<u64> = found
        .get_bucket()
        .iter()
        .take(BUCKETS.len())
        .map(|bucket| {
            let here = bucket.cumulative_count().saturating_sub(below);
            below = bucket.cumulative_count();
            here
        })
        .collect();
    counts.push(found.get_sample_count().saturating_sub(below));
    counts
}

#[cfg(test)]
#[path = "metrics/metrics_tests.rs"]
mod tests;
