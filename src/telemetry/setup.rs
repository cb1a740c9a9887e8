//! Where logs go and in what shape.
use std::sync::OnceLock;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Pingora logs each client's disconnect as an error and narrates its start; what matters of it, the edge logs itself.
const QUIET: &str =
    "pingora_core=off,pingora_proxy=off,pingora_pool=off,pingora_runtime=off,pingora_timeout=off,h2=off";

/// Set by the one [`init`] that counts.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// The shape of log lines; `None` where nobody set logging up.
pub(super) fn format() -> Option<LogFormat> {
    FORMAT.get().copied()
}

/// Sends logs to standard error, the access log included. `filter` is tracing's directive syntax (`info`,
/// `warn,access=info`); a second call does nothing.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{filter}"));
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(false)).try_init(),
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
    };
    if result.is_ok() {
        let _ = FORMAT.set(format); // only one succeeds
    } else {
        tracing::debug!("logging was already set up");
    }
}

/// From now on a panic is one log line that says where, and not what: its message may quote a request. For `serve`.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "panic");
    }));
}
