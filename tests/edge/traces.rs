//! Traces: what the collector gets, what Python is told, and what must never be in a span.
use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use litellm_rust::{
    edge::EdgeConfig,
    telemetry::{
        Metrics,
        otlp::{Exporter, Post, Queue},
        trace::{Sampler, Tracer},
    },
    upstream::{Client as Upstream, Request as Outgoing},
};
use serde_json::Value;

use crate::support::{FakePython, MASTER, TestEdge, ask, eventually, ok, start_edge};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PROMPT: &str = "a prompt that nobody may read";

/// A collector and an edge that sends to it.
struct Traced {
    collector: FakePython,
    edge: TestEdge,
    exporter: Exporter,
    metrics: Metrics,
}

fn traced(python: &FakePython, sampler: &str, collector: FakePython) -> Traced {
    let metrics = Metrics::new().unwrap();
    let queue = Arc::new(Queue::new(64, metrics.spans.clone()));
    let tracer = Tracer { sampler: Sampler::named(sampler, None).unwrap(), queue: queue.clone() };
    let edge = start_edge(Some(python.port), |config: &mut EdgeConfig| config.tracer = Some(tracer));
    let url: http::Uri = format!("http://127.0.0.1:{}/v1/traces", collector.port).parse().unwrap();
    let client = Upstream::new();
    let post: Post = Box::new(move |body| {
        let (client, uri) = (client.clone(), url.clone());
        let timeout = Duration::from_secs(2);
        let request = Outgoing { method: http::Method::POST, uri, headers: http::HeaderMap::new(), body, timeout };
        Box::pin(async move { client.send(request).await.is_ok_and(|answer| answer.status.is_success()) })
    });
    Traced { collector, edge, exporter: Exporter::new(queue, post, "edge-test".into()), metrics }
}

impl Traced {
    fn flush(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.exporter.flush());
    }

    /// Every span that arrived at the collector until now, once there are `n`.
    fn spans(&self, n: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        eventually(Duration::from_secs(10), "spans arrive", || {
            self.flush();
            spans = self
                .collector
                .seen
                .lock()
                .unwrap()
                .iter()
                .flat_map(|request| {
                    let all: Value = serde_json::from_slice(&request.body).unwrap();
                    all.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap().as_array().unwrap().clone()
                })
                .collect();
            spans.len() >= n
        });
        spans
    }
}

fn text<'a>(span: &'a Value, name: &str) -> &'a str {
    span[name].as_str().unwrap_or_default()
}

fn attribute<'a>(span: &'a Value, name: &str) -> Option<&'a Value> {
    let found = span["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == name)?;
    found["value"].as_object()?.values().next()
}

fn request(path: &str, headers: &str) -> String {
    let length = PROMPT.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n{headers}content-length: {length}\r\n\r\n{PROMPT}"
    )
}

#[test]
fn spans_have_the_callers_trace_and_python_has_the_edges() {
    let python = FakePython::saying("fine");
    let traced = traced(&python, "parentbased_always_on", FakePython::saying("{}"));
    let headers = format!("traceparent: {PARENT}\r\ntracestate: vendor=1\r\n");
    let answer = ask(traced.edge.port, request(&format!("/python?key={MASTER}"), &headers));
    assert_eq!(answer.status, 200);
    let spans = traced.spans(2);
    let server = spans.iter().find(|span| span["kind"] == 2).unwrap();
    let call = spans.iter().find(|span| span["kind"] == 3).unwrap();
    assert_eq!(text(server, "traceId"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(text(server, "parentSpanId"), "00f067aa0ba902b7");
    assert_eq!(text(call, "traceId"), text(server, "traceId"));
    assert_eq!(text(call, "parentSpanId"), text(server, "spanId"));
    let times = |name| text(server, name).parse::<u64>().unwrap();
    assert!(times("startTimeUnixNano") > 1_600_000_000_000_000_000);
    assert!(times("startTimeUnixNano") <= times("endTimeUnixNano"));
    assert_eq!(attribute(server, "http.response.status_code").unwrap(), "200");
    assert_eq!(attribute(server, "url.path").unwrap(), "/python");
    assert_eq!(attribute(server, "litellm_edge.side").unwrap(), "python");
    let seen = python.seen.lock().unwrap()[0].clone();
    let told = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", text(call, "spanId"));
    assert_eq!(seen.headers().iter().filter(|(name, _)| *name == "traceparent").count(), 1);
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(told.as_str()), Some("vendor=1")));

    for request in traced.collector.seen.lock().unwrap().iter() {
        let sent = String::from_utf8_lossy(&request.body).into_owned();
        for secret in [MASTER, PROMPT, "vendor=1", "?key"] {
            assert!(!sent.contains(secret), "{secret:?} in {sent}");
        }
    }
}

#[test]
fn an_invalid_parent_begins_a_new_trace_and_takes_its_state_along() {
    let python = FakePython::saying("fine");
    let traced = traced(&python, "parentbased_always_on", FakePython::saying("{}"));
    let twice = format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\n");
    for headers in ["traceparent: 00-zz\r\ntracestate: a=1\r\n", &twice] {
        assert_eq!(ask(traced.edge.port, request("/python", headers)).status, 200);
    }
    let spans = traced.spans(4);
    assert!(spans.iter().all(|span| text(span, "traceId") != "4bf92f3577b34da6a3ce929d0e0e4736"));
    assert!(spans.iter().filter(|span| span["kind"] == 2).all(|span| span.get("parentSpanId").is_none()));
    for seen in python.seen.lock().unwrap().iter() {
        assert!(seen.header("traceparent").is_some_and(|value| value.len() == 55 && value != PARENT));
        assert_eq!(seen.headers().iter().filter(|(name, _)| *name == "traceparent").count(), 1);
        assert_eq!(seen.header("tracestate"), None);
    }
}

#[test]
fn a_native_answer_and_a_declined_one_are_traced_too() {
    let python = FakePython::saying("fine");
    let traced = traced(&python, "always_on", FakePython::saying("{}"));
    assert_eq!(ask(traced.edge.port, request("/echo", "")).header("x-litellm-edge"), Some("native"));
    let spans = traced.spans(2);
    let (server, call) = (&spans[0], &spans[1]);
    assert_eq!(attribute(server, "litellm_edge.side").unwrap(), "native");
    assert_eq!((text(call, "name"), text(call, "parentSpanId")), ("chat group", text(server, "spanId")));
    for (name, value) in
        [("gen_ai.provider.name", "openai"), ("gen_ai.request.model", "group"), ("gen_ai.usage.input_tokens", "3")]
    {
        assert_eq!(attribute(call, name).unwrap(), value, "{name}");
    }
    // an Origin declines, the body was not read; python is told all the same
    assert_eq!(
        ask(traced.edge.port, request("/echo", "origin: http://page\r\n")).header("x-litellm-edge"),
        Some("python")
    );
    // this one by its body, which goes another way
    let body =
        "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer sk-test-master\r\ncontent-length: 7\r\n\r\ndecline";
    assert_eq!(ask(traced.edge.port, body).header("x-litellm-edge"), Some("python"));
    let spans = traced.spans(6);
    let declined: Vec<_> = spans.iter().filter_map(|span| attribute(span, "litellm_edge.decline")).collect();
    assert_eq!(declined, ["cors", "field"]);
    let calls: Vec<_> = spans.iter().filter(|span| text(span, "name") == "POST python").collect();
    for (seen, call) in python.seen.lock().unwrap().iter().zip(calls) {
        let told = format!("00-{}-{}-01", text(call, "traceId"), text(call, "spanId"));
        assert_eq!(seen.header("traceparent"), Some(told.as_str()));
    }
}

#[test]
fn what_is_not_sampled_is_passed_on_and_not_sent() {
    let python = FakePython::saying("fine");
    let traced = traced(&python, "parentbased_always_on", FakePython::saying("{}"));
    let headers = format!("traceparent: {}\r\n", PARENT.replace("-01", "-00"));
    assert_eq!(ask(traced.edge.port, request("/python", &headers)).status, 200);
    assert_eq!(ask(traced.edge.port, request("/python", "")).status, 200);
    // only the second request's
    let spans = traced.spans(2);
    assert_eq!(spans.len(), 2);
    let told = python.seen.lock().unwrap()[0].header("traceparent").unwrap().to_owned();
    assert!(told.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && told.ends_with("-00"), "{told}");
}

#[test]
fn without_a_tracer_the_callers_headers_pass_as_they_came() {
    let python = FakePython::saying("fine");
    let edge = start_edge(Some(python.port), |_| {});
    ask(edge.port, request("/python", "Traceparent: 00-zz\r\ntraceSTATE: a=1\r\n"));
    let seen = python.seen.lock().unwrap()[0].clone();
    assert!(seen.head.contains("\r\nTraceparent: 00-zz\r\ntraceSTATE: a=1\r\n"), "{}", seen.head);
}

#[test]
fn a_collector_that_refuses_costs_spans_and_no_request() {
    let python = FakePython::saying("fine");
    let refusing = FakePython::start(|_, stream| {
        stream.write_all(ok("").replace("200 OK", "503 Service Unavailable").as_bytes()).is_ok()
    });
    let traced = traced(&python, "always_on", refusing);
    let count = |outcome: &str| traced.metrics.spans.with_label_values(&[outcome]).get();
    let started = Instant::now();
    // more than the queue of 64 holds
    for _ in 0..40 {
        assert_eq!(ask(traced.edge.port, request("/python", "")).status, 200);
    }
    eventually(Duration::from_secs(10), "the queue is full", || count("dropped") == 80 - 64);
    traced.flush();
    assert_eq!((count("sent"), count("dropped")), (0, 80));
    assert!(started.elapsed() < Duration::from_secs(30), "no request waited for the collector");
}
