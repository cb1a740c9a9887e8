//! A bug in a native route is the end of its request, and of nothing else.
use std::time::Duration;

use crate::support::{Client, FakePython, TestEdge, eventually, post, post_bytes, start_edge};

/// Nothing holds memory for bodies: the last request is over, which its client may see a little earlier.
fn is_free(edge: &TestEdge) {
    edge.counts("litellm_edge_body_memory_bytes 0");
}

fn is_sane(edge: &TestEdge) {
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
    edge.counts("litellm_edge_in_flight_requests{side=\"native\"} 0");
    let metrics = String::from_utf8(edge.edge.services.metrics.render()).unwrap();
    assert!(!metrics.contains("litellm_edge_python_errors_total{"), "python is not to blame: {metrics}");
    // all memory for bodies is free again
    eventually(Duration::from_secs(10), "the budget is free", || {
        post(edge.port, "/echo", "y".repeat(900)).header("x-litellm-edge") == Some("native")
    });
}

#[test]
fn before_the_answer_it_is_a_500() {
    let edge = start_edge(None, |config| config.body_budget = 1000);
    for _ in 0..3 {
        is_free(&edge);
        let mut client = Client::to(edge.port);
        client.send(post_bytes("/panic", format!("execution {}", "x".repeat(500))));
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.header("x-litellm-edge")), (500, Some("native")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let error = &answer.json()["error"];
        assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("internal_server_error"), Some("500")));
        assert!(error["message"].is_string() && error["param"].is_null());
        assert!(!answer.text().contains("xxx"));
        // the connection is as good as before
        client.send(post_bytes("/echo", "again"));
        assert_eq!(client.answer().unwrap().text(), "again");
    }
    let answer = post(edge.port, "/v1/messages/panic", "execution");
    assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (500, Some("api_error")));
    assert_eq!(answer.json()["type"], "error");
    is_sane(&edge);
}

#[test]
fn in_a_stream_the_answer_is_cut() {
    let edge = start_edge(None, |config| config.body_budget = 1000);
    for _ in 0..3 {
        is_free(&edge);
        let mut client = Client::to(edge.port);
        client.send(post_bytes("/panic", format!("stream {}", "x".repeat(300))));
        assert_eq!(client.head().unwrap().status, 200);
        // both events, in one chunk or two, come before the cut
        let mut events = Vec::new();
        while events.len() < 18 {
            events.extend(client.chunk().expect("what came before the panic"));
        }
        assert_eq!(events, b"data: 1\n\ndata: 1\n\n");
        assert_eq!(client.chunk(), None, "no regular end: the client must see that it is not whole");
    }
    is_sane(&edge);
}

#[test]
fn in_admission_the_request_is_pythons() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.body_budget = 1000);
    let body = format!("admission {}", "x".repeat(500));
    for _ in 0..3 {
        is_free(&edge);
        assert_eq!(post(edge.port, "/panic", &body).text(), "python");
        assert_eq!(python.last().body, body.as_bytes());
    }
    edge.counts("litellm_edge_declines_total{reason=\"fault\",route=\"panic\"} 3");
    // the gauge of the native side is not there before its first request
    assert_eq!(post(edge.port, "/echo", "x").header("x-litellm-edge"), Some("native"));
    is_sane(&edge);
}

#[test]
fn after_the_client_left_the_counters_are_right_too() {
    let edge = start_edge(None, |config| config.body_budget = 1000);
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/panic", format!("later {}", "x".repeat(500))));
    eventually(Duration::from_secs(10), "the call runs", || edge.edge.drain.in_flight() == 1);
    drop(client);
    is_sane(&edge);
}
