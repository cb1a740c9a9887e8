//! Traces: W3C trace context, sampling, and the spans of one request. Pure but for ids and the clock. Off unless the
//! operator names a collector; then it costs a request two ids and, where sampled, one push into [`super::otlp`]'s queue.
//! A span must never hold a key, a query or a prompt: its attributes are those of the access log.
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    access_log::{Record, Side, mask},
    otlp::Queue,
};

/// `traceparent` of W3C Trace Context, level 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: u128,
    pub span_id: u64,
    pub sampled: bool,
}

impl TraceParent {
    /// Strict: lower-case hex, no zero ids, version 00 has exactly four fields, a later one may have more, ff is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (version, rest) = text.split_at_checked(2)?;
        let version = hex(version)?;
        let (fields, more) = rest.split_at_checked(53)?;
        let allowed = more.is_empty() || (version > 0 && more.first() == Some(&b'-'));
        let mut parts = fields.split(|byte| *byte == b'-');
        let (before, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let shape = before.is_empty() && trace_id.len() == 32 && span_id.len() == 16 && flags.len() == 2;
        if !shape || !allowed || version == 0xff || parts.next().is_some() {
            return None;
        }
        let (trace_id, span_id) = (hex(trace_id)?, u64::try_from(hex(span_id)?).ok()?);
        let sampled = hex(flags)? & 1 == 1;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }

    /// The header's value.
    pub fn header(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// Up to 32 lower-case hex digits.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

/// Which traces are recorded (`OTEL_TRACES_SAMPLER`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// a caller that has a trace decides for it
    pub parent_based: bool,
    /// of the others, this part; 0 to 1
    pub ratio: f64,
}

impl Sampler {
    /// The standard's names; `argument`: the ratio of those that take one (default 1).
    pub fn named(name: &str, argument: Option<f64>) -> Option<Self> {
        let ratio = argument.unwrap_or(1.0).clamp(0.0, 1.0);
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio,
            _ => return None,
        };
        Some(Self { parent_based, ratio })
    }

    fn samples(&self, trace_id: u128, parent: Option<&TraceParent>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.sampled,
            // as the SDKs do: the last 63 bits of the id against the ratio, so that all of a trace's parts agree
            _ => self.ratio >= 1.0 || ((trace_id as u64 >> 1) as f64) < self.ratio * (1u64 << 63) as f64,
        }
    }
}

/// Begins traces. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer {
    pub sampler: Sampler,
    pub queue: Arc<Queue>,
}

/// The trace of one request.
#[derive(Debug)]
pub struct Trace {
    /// ids of the request's own span
    own: TraceParent,
    /// the caller's span
    parent: Option<u64>,
    /// id of the call's span: to Python or to the provider
    call: u64,
    began: SystemTime,
    queue: Arc<Queue>,
}

impl Tracer {
    /// A trace for a request whose `traceparent` headers are these: exactly one valid one is continued, else a new
    /// trace begins.
    pub fn begin<'a>(&self, mut headers: impl Iterator<Item = &'a [u8]>) -> Trace {
        let parent = headers.next().filter(|_| headers.next().is_none()).and_then(TraceParent::parse);
        let trace_id = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
        let sampled = self.sampler.samples(trace_id, parent.as_ref());
        Trace {
            own: TraceParent { trace_id, span_id: fastrand::u64(1..), sampled },
            parent: parent.map(|parent| parent.span_id),
            call: fastrand::u64(1..),
            began: SystemTime::now(),
            queue: self.queue.clone(),
        }
    }
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Int(u64),
    Float(f64),
}

/// OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server = 2,
    Client = 3,
}

/// One finished span.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent: Option<u64>,
    pub name: String,
    pub kind: Kind,
    /// unix nanoseconds
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub failed: bool,
}

impl Trace {
    /// The caller's trace goes on; its `tracestate` then belongs to it.
    pub fn continues(&self) -> bool {
        self.parent.is_some()
    }

    /// What Python gets: the span of the call is its parent.
    pub fn for_python(&self) -> TraceParent {
        TraceParent { span_id: self.call, ..self.own }
    }

    /// Queues the request's spans. `now`: its end.
    pub(super) fn finish(&self, record: &Record, status: u16, now: Instant) {
        if !self.own.sampled {
            return;
        }
        let start = self.began.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_nanos() as u64);
        let end = start.saturating_add(now.saturating_duration_since(record.started).as_nanos() as u64);
        let (own, call) = spans(record, status);
        let build = |span_id, parent, (name, kind, attributes): Parts| Span {
            trace_id: self.own.trace_id,
            span_id,
            parent,
            name,
            kind,
            start,
            end,
            attributes,
            failed: status >= 500,
        };
        self.queue.push(build(self.own.span_id, self.parent, own));
        if let Some(call) = call {
            self.queue.push(build(self.call, Some(self.own.span_id), call));
        }
    }
}

type Parts = (String, Kind, Vec<(&'static str, Value)>);

/// Name, kind and attributes of the request's span and of the span of the call it made. Names by OpenTelemetry's
/// conventions for HTTP and GenAI; what is ours begins with `litellm_edge.`.
fn spans(record: &Record, status: u16) -> (Parts, Option<Parts>) {
    let text = |text: &str| Value::Text(text.to_owned());
    let method = match record.method.as_str() {
        method @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => method,
        _ => "_OTHER",
    };
    let status_attribute = ("http.response.status_code", Value::Int(status.into()));
    let mut own = vec![
        ("http.request.method", text(method)),
        ("url.path", Value::Text(mask(&record.path).into_owned())),
        status_attribute.clone(),
        ("litellm_edge.route", text(&record.route)),
        ("litellm_edge.side", text(record.side.as_str())),
    ];
    let optional = [
        ("litellm_edge.reason", record.reason),
        ("litellm_edge.decline", record.decline.map(crate::routes::Decline::as_str)),
        ("litellm_edge.client_gone", record.client_gone.then_some("true")),
        ("error.type", record.python_error),
    ];
    own.extend(optional.into_iter().filter_map(|(name, value)| Some((name, text(value?)))));
    let own = (format!("{method} {}", &*record.route), Kind::Server, own);
    let call = &record.call;
    let made = match (record.side, call.provider) {
        (Side::Python, _) => {
            Some((format!("{method} python"), vec![("http.request.method", text(method)), status_attribute]))
        }
        (Side::Native, Some(provider)) => {
            let group = call.model_group.as_deref().unwrap_or_default();
            let mut attributes = vec![
                ("gen_ai.operation.name", text("chat")),
                ("gen_ai.provider.name", text(provider)),
                ("gen_ai.request.model", text(group)),
            ];
            let counts = [
                ("gen_ai.usage.input_tokens", call.prompt_tokens.map(Value::Int)),
                ("gen_ai.usage.output_tokens", call.completion_tokens.map(Value::Int)),
                ("litellm_edge.deployment_id", call.deployment_id.as_deref().map(text)),
                ("litellm_edge.first_byte_ms", call.provider_ms.map(Value::Float)),
                ("litellm_edge.cost", call.cost.map(Value::Float)),
            ];
            attributes.extend(counts.into_iter().filter_map(|(name, value)| Some((name, value?))));
            Some((format!("chat {group}"), attributes))
        }
        _ => None,
    };
    (own, made.map(|(name, attributes)| (name, Kind::Client, attributes)))
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
