//! Metrics, tracing set-up and the access log. Labels are bounded: route ids, modes, closed enums, status classes.
//! It must never see a key or a prompt.
mod metrics;

pub use metrics::Metrics;
