//! Metrics, logging set-up, the access log and traces. Labels are bounded: route ids, modes, closed enums, status classes.
//! It must never see a key or a prompt.
mod access_line;
pub mod access_log;
pub mod history;
pub mod metrics;
pub mod otlp;
mod process;
mod setup;
pub mod trace;

pub use metrics::Metrics;
pub use process::Usage;
pub use setup::{LogFormat, hush_panics, init};
