//! The access log: one line a request, target `access`. It must never hold a key, a query or a prompt.
use std::{
    borrow::Cow,
    cell::RefCell,
    io::Write,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::Method;

use super::{
    Metrics,
    access_line::{self, Field},
    metrics::AbortedBy,
    setup,
    trace::Trace,
};
use crate::{
    faults::fault,
    routes::{CallLog, Decline},
};

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Python,
    Native,
    /// the edge itself: refusals, failures towards Python, `/edge/*`
    Edge,
}

impl Side {
    /// The value of the answer's `x-litellm-edge` header and of the metrics' label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Native => "native",
            Self::Edge => "edge",
        }
    }
}

/// A route's id: a native route's, or a routes.toml entry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Fixed(&'static str),
    Named(Arc<str>),
}

impl std::ops::Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Fixed(name) => name,
            Self::Named(name) => name,
        }
    }
}

/// What is known of one request when it ends.
#[derive(Debug)]
pub struct Record {
    pub started: Instant,
    pub method: Method,
    /// raw path as received; masked when written
    pub path: String,
    pub route: Label,
    pub side: Side,
    /// why the manifest chose Python
    pub reason: Option<&'static str>,
    pub decline: Option<Decline>,
    /// the client left before the answer was complete
    pub client_gone: bool,
    /// the kind of failure towards Python, where there was one
    pub python_error: Option<&'static str>,
    /// when the answer's head was there
    pub first_byte: Option<Instant>,
    /// the answer was broken off, by this side
    pub aborted: Option<AbortedBy>,
    /// bytes of the request's body that were read, and of the answer's body that were written
    pub bytes: (usize, usize),
    pub call: CallLog,
    /// where the operator wants traces
    pub trace: Option<Box<Trace>>,
}

impl Record {
    /// Writes the line and fills the metrics. `status` 499: the client left before an answer began.
    pub fn finish(&self, status: u16, metrics: &Metrics) {
        let now = Instant::now();
        if let Some(trace) = &self.trace {
            trace.finish(self, status, now);
        }
        let elapsed = now.saturating_duration_since(self.started).as_secs_f64();
        let route = metrics.route(&self.route);
        let first_byte = self.first_byte.map(|at| at.duration_since(self.started).as_secs_f64());
        if !fault!(RequestNotCounted) {
            route.answered(metrics, self.side, status, elapsed, first_byte);
        }
        route.bytes(metrics, self.side, self.bytes.0, self.bytes.1);
        if let Some(by) = self.aborted {
            route.aborted(metrics, self.side, by);
        }
        if let Some(waited) = self.call.provider_ms {
            route.waited(metrics, waited / 1000.0);
        }
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.line(status, elapsed);
        }
    }

    /// By hand: tracing's formatter costs several times as much.
    fn line(&self, status: u16, elapsed: f64) {
        let Some(format) = setup::format() else { return };
        let call = &self.call;
        let path = mask(&self.path);
        let fields = [
            text("route", Some(&self.route)),
            text("side", Some(self.side.as_str())),
            number("status", Some(u64::from(status))),
            text("method", Some(self.method.as_str())),
            text("path", Some(&path)),
            float("duration_ms", Some(round(elapsed * 1000.0))),
            text("reason", self.reason),
            text("decline", self.decline.map(Decline::as_str)),
            text("python_error", self.python_error),
            self.client_gone.then_some(("client_gone", Field::True)),
            text("model_group", call.model_group.as_deref()),
            text("deployment_id", call.deployment_id.as_deref()),
            text("provider", call.provider),
            float("provider_ms", call.provider_ms.map(round)),
            number("prompt_tokens", call.prompt_tokens),
            number("completion_tokens", call.completion_tokens),
            float("cost", call.cost),
        ];
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        LINE.with_borrow_mut(|line| {
            line.clear();
            let known = fields.into_iter().flatten();
            access_line::write(line, format, (now.as_secs(), now.subsec_micros()), known);
            // one call a line: lines of several threads do not mix. A log that cannot be written stops nothing
            let _ = std::io::stderr().write_all(line);
        });
    }
}

fn text<'a>(name: &'static str, value: Option<&'a str>) -> Option<(&'static str, Field<'a>)> {
    value.map(|value| (name, Field::Text(value)))
}

fn float(name: &'static str, value: Option<f64>) -> Option<(&'static str, Field<'static>)> {
    value.map(|value| (name, Field::Float(value)))
}

fn number(name: &'static str, value: Option<u64>) -> Option<(&'static str, Field<'static>)> {
    value.map(|value| (name, Field::Number(value)))
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn round(milliseconds: f64) -> f64 {
    (milliseconds * 1000.0).round() / 1000.0
}

/// LiteLLM has paths with a key or its hash in them (`/key/{key}/regenerate`): segments that could be one are masked.
pub(super) fn mask(path: &str) -> Cow<'_, str> {
    let path = path.get(..path.len().min(512)).unwrap_or("(not utf-8)");
    if !path.split('/').any(could_be_secret) {
        return Cow::Borrowed(path);
    }
    let masked: Vec<&str> = path.split('/').map(|part| if could_be_secret(part) { "***" } else { part }).collect();
    Cow::Owned(masked.join("/"))
}

fn could_be_secret(segment: &str) -> bool {
    segment.contains("sk-")
        || segment.contains('%')
        || (segment.len() >= 24 && segment.bytes().any(|byte| byte.is_ascii_digit()))
        || segment.len() >= 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_paths_are_masked() {
        for (path, shown) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/key/sk-abc/regenerate", "/key/***/regenerate"),
            ("/key/%73k-abc/regenerate", "/key/***/regenerate"),
            ("/key/88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b/x", "/key/***/x"),
            ("/engines/gpt-4o/chat/completions", "/engines/gpt-4o/chat/completions"),
            ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ] {
            assert_eq!(mask(path), shown);
        }
    }
}
