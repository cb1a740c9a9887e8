//! Sends spans to a collector: OTLP over HTTP, as JSON. One bounded queue, batches, and drops that are counted: a slow or
//! dead collector costs spans, never a request. How bytes are posted is given from outside; here is no HTTP.
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prometheus::IntCounterVec;
use serde_json::{Value as Json, json};

use super::trace::{Span, Value};

/// Spans that wait at most.
pub const CAPACITY: usize = 8192;
/// Spans of one post.
const BATCH: usize = 512;
/// How often the queue is emptied.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait at the process's end.
const LAST: Duration = Duration::from_secs(2);

/// Spans on their way.
#[derive(Debug)]
pub struct Queue {
    spans: Mutex<VecDeque<Span>>,
    capacity: usize,
    /// label: outcome (`sent`|`dropped`)
    counter: IntCounterVec,
}

impl Queue {
    pub fn new(capacity: usize, counter: IntCounterVec) -> Self {
        Self { spans: Mutex::default(), capacity, counter }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits: what finds no room is dropped and counted.
    pub fn push(&self, span: Span) {
        let mut spans = self.lock();
        if spans.len() < self.capacity {
            spans.push_back(span);
        } else {
            drop(spans);
            self.count("dropped", 1);
        }
    }

    fn take(&self) -> Vec<Span> {
        let mut spans = self.lock();
        let n = spans.len().min(BATCH);
        spans.drain(..n).collect()
    }

    fn count(&self, outcome: &str, n: usize) {
        self.counter.with_label_values(&[outcome]).inc_by(n as u64);
    }
}

/// Posts a body to the collector; whether it was taken.
pub type Post = Box<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Empties a queue into a collector.
pub struct Exporter {
    pub queue: std::sync::Arc<Queue>,
    pub post: Post,
    /// `service.name`
    pub service: String,
    /// the collector did not take the last batch: said once, not with every batch
    failing: AtomicBool,
}

impl Exporter {
    pub fn new(queue: std::sync::Arc<Queue>, post: Post, service: String) -> Self {
        Self { queue, post, service, failing: AtomicBool::new(false) }
    }

    /// For as long as the edge runs.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.empty().await;
        }
    }

    /// What still waits at the end, within a bounded time.
    pub async fn flush(&self) {
        if tokio::time::timeout(LAST, self.empty()).await.is_err() {
            tracing::warn!("the trace collector is too slow, the last spans are lost");
        }
    }

    async fn empty(&self) {
        loop {
            let batch = self.queue.take();
            if batch.is_empty() {
                return;
            }
            let taken = (self.post)(encode(&batch, &self.service).to_string().into()).await;
            self.queue.count(if taken { "sent" } else { "dropped" }, batch.len());
            match (taken, self.failing.swap(!taken, Ordering::Relaxed)) {
                (false, false) => tracing::warn!("the trace collector does not take spans, they are dropped"),
                (true, true) => tracing::info!("the trace collector takes spans again"),
                _ => {}
            }
        }
    }
}

/// `ExportTraceServiceRequest` as JSON (opentelemetry-proto 1.x: ids in hex, 64-bit integers as strings).
fn encode(spans: &[Span], service: &str) -> Json {
    let resource = attributes(&[
        ("service.name", Value::Text(service.to_owned())),
        ("service.version", Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
    ]);
    let spans: Vec<Json> = spans.iter().map(encode_span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": env!("CARGO_PKG_NAME")}, "spans": spans}],
    }]})
}

fn encode_span(span: &Span) -> Json {
    let mut out = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes(&span.attributes),
        "status": if span.failed { json!({"code": 2}) } else { json!({}) },
    });
    if let (Some(parent), Some(map)) = (span.parent, out.as_object_mut()) {
        map.insert("parentSpanId".into(), format!("{parent:016x}").into());
    }
    out
}

fn attributes(list: &[(&'static str, Value)]) -> Vec<Json> {
    let value = |value: &Value| match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Int(number) => json!({"intValue": number.to_string()}),
        Value::Float(number) => json!({"doubleValue": number}),
    };
    list.iter().map(|(key, v)| json!({"key": key, "value": value(v)})).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::*;
    use crate::telemetry::{Metrics, trace::Kind};

    fn span(span_id: u64) -> Span {
        Span {
            trace_id: 0xab,
            span_id,
            parent: Some(1),
            name: "POST chat_completions".into(),
            kind: Kind::Server,
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_000_000_001,
            attributes: vec![("a", Value::Int(u64::MAX)), ("b", Value::Text("x\"".into())), ("c", Value::Float(0.5))],
            failed: true,
        }
    }

    #[test]
    fn the_json_is_otlps() {
        let expected = json!({
            "traceId": "000000000000000000000000000000ab", "spanId": "0000000000000002", "parentSpanId": "0000000000000001",
            "name": "POST chat_completions", "kind": 2,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001",
            "attributes": [
                {"key": "a", "value": {"intValue": "18446744073709551615"}},
                {"key": "b", "value": {"stringValue": "x\""}},
                {"key": "c", "value": {"doubleValue": 0.5}},
            ],
            "status": {"code": 2},
        });
        let all = encode(&[span(2)], "s");
        assert_eq!(all.pointer("/resourceSpans/0/scopeSpans/0/spans/0"), Some(&expected));
        let name = all.pointer("/resourceSpans/0/resource/attributes/0");
        assert_eq!(name, Some(&json!({"key": "service.name", "value": {"stringValue": "s"}})));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_dead_collector_drop_and_count() {
        let metrics = Metrics::new().unwrap();
        let count = |outcome: &str| metrics.spans.with_label_values(&[outcome]).get();
        let queue = Arc::new(Queue::new(BATCH + 1, metrics.spans.clone()));
        for id in 0..BATCH as u64 + 3 {
            queue.push(span(id + 1));
        }
        assert_eq!(count("dropped"), 2);
        // takes the first batch only
        let posts = Arc::new(AtomicUsize::new(0));
        let seen = posts.clone();
        let post: Post = Box::new(move |_| {
            let first = seen.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move { first })
        });
        Exporter::new(queue, post, "s".into()).flush().await;
        assert_eq!((posts.load(Ordering::Relaxed), count("sent"), count("dropped")), (2, BATCH as u64, 3));
    }
}
