//! Metrics, tracing set-up and the access log. Labels are bounded: route ids, modes, closed enums, status classes.
//! It must never see a key or a prompt.
pub mod access_log;
mod metrics;
mod setup;

pub use metrics::Metrics;
pub use setup::{LogFormat, hush_panics, init};
