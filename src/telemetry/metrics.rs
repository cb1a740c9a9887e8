//! Prometheus metrics of the edge. The only place where one is declared.
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// All metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// labels: route, side (`python`|`native`), status class (`2xx`...)
    pub requests: IntCounterVec,
    /// labels: route, reason
    pub declines: IntCounterVec,
    /// whole request, seconds; labels: route, side
    pub duration: HistogramVec,
    /// wait for the provider's first byte, seconds; labels: route
    pub provider: HistogramVec,
    /// requests being answered; label: side
    pub in_flight: IntGaugeVec,
    /// failures towards Python; label: kind (`unreachable`|`timeout`|`cut`|`starting`)
    pub python_errors: IntCounterVec,
    /// 1 while Python answers its health check
    pub python_up: IntGauge,
    /// 1 while the kill switch sends everything to Python
    pub all_python: IntGauge,
    /// reloads; labels: file (`config`|`routes`), result (`ok`|`refused`)
    pub reloads: IntCounterVec,
    /// spans of traces; label: outcome (`sent`|`dropped`)
    pub spans: IntCounterVec,
}

const BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 600.0,
];

impl Metrics {
    /// Errors only if a name stands twice, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let vec = HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let in_flight =
            IntGaugeVec::new(Opts::new("litellm_edge_in_flight_requests", "requests being answered"), &["side"])?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self {
            requests: counter("litellm_edge_requests_total", "answered requests", &["route", "side", "status"])?,
            declines: counter(
                "litellm_edge_declines_total",
                "requests of native routes sent to Python",
                &["route", "reason"],
            )?,
            duration: histogram("litellm_edge_request_seconds", "whole request", &["route", "side"])?,
            provider: histogram("litellm_edge_provider_seconds", "wait for the provider's first byte", &["route"])?,
            in_flight,
            python_errors: counter(
                "litellm_edge_python_errors_total",
                "failures towards the Python gateway",
                &["kind"],
            )?,
            python_up: gauge("litellm_edge_python_up", "1 while the Python gateway answers its health check")?,
            all_python: gauge("litellm_edge_all_python", "1 while the kill switch sends everything to Python")?,
            reloads: counter(
                "litellm_edge_reloads_total",
                "reloads of config.yaml and routes.toml",
                &["file", "result"],
            )?,
            spans: counter("litellm_edge_trace_spans_total", "spans for the trace collector", &["outcome"])?,
            registry,
        })
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_metric_registers_once() {
        let metrics = super::Metrics::new().unwrap();
        metrics.python_up.set(1);
        assert!(String::from_utf8(metrics.render()).unwrap().contains("litellm_edge_python_up 1"));
    }
}
