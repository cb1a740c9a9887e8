//! Native answers: framing, closing headers, compression, streams, and clients that leave.
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    routes::{SLOW_FINISHED, STREAMS_DROPPED},
    support::{Client, FakePython, MASTER, ask, eventually, get, post, post_bytes, start_edge, start_edge_with},
};

#[test]
fn a_native_answer_has_litellms_closing_headers() {
    let edge = start_edge(None, |_| {});
    let answer = post(edge.port, "/echo", "hello");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    for (name, value) in [
        ("content-length", "5"),
        ("content-type", "application/json"),
        ("llm_provider-x-request-id", "req_1"),
        ("vary", "Origin"),
        ("x-frame-options", "DENY"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("x-litellm-edge", "native"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("date").is_some());
    assert!(answer.header("server").is_none());
}

/// The head's bytes as they are on the wire, up to the body.
fn raw_head(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn names_of_headers_are_lower_case_as_litellm_writes_them() {
    let edge = start_edge(None, |_| {});
    let zipped = format!(
        "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\naccept-encoding: gzip\r\ncontent-length: 600\r\n\r\n{}",
        "x".repeat(600)
    );
    for (request, wanted) in [
        (post_bytes("/echo", "hello"), ["content-length: 5", "content-type: application/json", "vary: Origin"]),
        (zipped.into_bytes(), ["content-encoding: gzip", "content-type: application/json", "x-litellm-edge: native"]),
        (
            post_bytes("/events", "1 1"),
            ["transfer-encoding: chunked", "content-type: text/event-stream; charset=utf-8", "x-frame-options: DENY"],
        ),
    ] {
        // twice on the edge's few threads: a head that is new and one that is like an earlier one
        for _ in 0..6 {
            let head = raw_head(edge.port, &request);
            let lines: Vec<&str> = head.trim_end().split("\r\n").skip(1).collect();
            for line in wanted {
                assert!(lines.contains(&line), "{line}: {head}");
            }
            for line in lines {
                let name = line.split(':').next().unwrap();
                // Pingora's own, also on what is passed through
                let pingoras = ["Date", "Connection"].contains(&name);
                assert!(pingoras || name == name.to_ascii_lowercase(), "{head}");
            }
        }
    }
}

#[test]
fn bodies_from_500_bytes_on_are_compressed_for_those_who_take_it() {
    let edge = start_edge(None, |_| {});
    let request = |size: usize, accept: &str| {
        let body = "x".repeat(size);
        ask(
            edge.port,
            format!(
                "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\naccept-encoding: {accept}\r\ncontent-length: {size}\r\n\r\n{body}"
            ),
        )
    };
    let small = request(499, "gzip");
    assert_eq!((small.header("vary"), small.header("content-encoding")), (Some("Origin"), None));
    let refused = request(500, "gzip;q=0");
    assert_eq!((refused.header("vary"), refused.header("content-encoding")), (Some("Origin, Accept-Encoding"), None));
    assert_eq!(refused.body.len(), 500);
    for size in [500, 300_000] {
        let taken = request(size, "gzip, deflate");
        assert_eq!(
            (taken.header("vary"), taken.header("content-encoding")),
            (Some("Origin, Accept-Encoding"), Some("gzip"))
        );
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&taken.body[..]).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, "x".repeat(size));
    }
}

#[test]
fn events_are_sent_one_by_one_and_the_connection_goes_on() {
    let edge = start_edge(None, |_| {});
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/events", "5 60"));
    let head = client.head().unwrap();
    assert_eq!((head.header("transfer-encoding"), head.header("content-length")), (Some("chunked"), None));
    let start = Instant::now();
    let mut arrivals = Vec::new();
    for left in (0..5).rev() {
        assert_eq!(client.chunk().unwrap(), format!("data: {left}\n\n").as_bytes());
        arrivals.push(start.elapsed());
    }
    assert_eq!(client.chunk().unwrap(), b"");
    // the first was here long before the last was made
    assert!(arrivals[4] - arrivals[0] > Duration::from_millis(180), "{arrivals:?}");
    client.send(post_bytes("/echo", "again"));
    assert_eq!(client.answer().unwrap().text(), "again");
}

#[test]
fn small_events_do_not_wait_for_each_other() {
    // without TCP_NODELAY on the edge's socket each second small write waits 40 ms for the client's delayed ACK
    let edge = start_edge(None, |_| {});
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/events", "40 1"));
    client.head().unwrap();
    let start = Instant::now();
    while !client.chunk().unwrap().is_empty() {}
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_leaves_before_the_answer_does_not_stop_the_call() {
    let edge = start_edge(None, |_| {});
    let before = SLOW_FINISHED.load(Ordering::SeqCst);
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/slow", "300"));
    eventually(Duration::from_secs(10), "the call runs", || edge.edge.drain.in_flight() == 1);
    drop(client);
    std::thread::sleep(Duration::from_millis(100));
    // still in flight: a drain waits for it
    assert_eq!(edge.edge.drain.in_flight(), 1);
    eventually(Duration::from_secs(10), "the call ends", || SLOW_FINISHED.load(Ordering::SeqCst) > before);
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_a_silent_stream_aborts_it() {
    let edge = start_edge(None, |_| {});
    let before = STREAMS_DROPPED.load(Ordering::SeqCst);
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/endless", "x"));
    client.head().unwrap();
    assert_eq!(client.chunk().unwrap(), b"data: 0\n\n");
    drop(client);
    eventually(Duration::from_secs(10), "the stream is dropped", || STREAMS_DROPPED.load(Ordering::SeqCst) > before);
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
}

#[test]
fn what_the_head_rules_out_goes_to_python_with_its_body_untouched() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.max_native_body = 1000);
    let body = "x".repeat(2000);
    let declined = |headers: &str, body: &str| {
        let answer = ask(
            edge.port,
            format!("POST /echo HTTP/1.1\r\nhost: edge\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()),
        );
        assert_eq!((answer.text().as_str(), answer.header("x-litellm-edge")), ("python", Some("python")));
        assert_eq!(python.last().body, body.as_bytes());
    };
    let master = format!("authorization: Bearer {MASTER}\r\n");
    declined("authorization: Bearer sk-other\r\n", "virtual key");
    declined(&format!("{master}origin: https://ui.example\r\n"), "cors");
    declined(&master, &body);
    for reason in ["virtual_key", "cors", "body_too_large"] {
        edge.counts(&format!("litellm_edge_declines_total{{reason=\"{reason}\",route=\"echo\"}} 1"));
    }
}

#[test]
fn with_a_database_a_model_call_declines_unless_its_rows_may_be_missing() {
    let python = FakePython::saying("python");
    let edge = start_edge_with(
        Some(python.port),
        crate::routes::TABLE,
        |_| {},
        |snapshot| {
            snapshot.settings.has_database = true;
        },
    );
    assert_eq!(post(edge.port, "/echo", "x").header("x-litellm-edge"), Some("python"));
    let plain = ask(edge.port, format!("GET /plain HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n"));
    assert_eq!(plain.header("x-litellm-edge"), Some("native"));
}

#[test]
fn memory_for_bodies_is_bounded_over_all_requests() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.body_budget = 1000);
    let mut holder = Client::to(edge.port);
    holder.send(format!(
        "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\ncontent-length: 800\r\n\r\nx"
    ));
    eventually(Duration::from_secs(10), "the first is being read", || edge.edge.drain.in_flight() == 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(post(edge.port, "/echo", "y".repeat(300)).header("x-litellm-edge"), Some("python"));
    assert_eq!(post(edge.port, "/echo", "y".repeat(100)).header("x-litellm-edge"), Some("native"));
    drop(holder);
    eventually(Duration::from_secs(10), "the budget is free again", || {
        post(edge.port, "/echo", "y".repeat(900)).header("x-litellm-edge") == Some("native")
    });
}

#[test]
fn head_is_never_native() {
    let python = FakePython::start(|_, stream| {
        std::io::Write::write_all(stream, b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET\r\ncontent-length: 9\r\n\r\n")
            .is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send(format!("HEAD /plain HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n"));
    let head = client.head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (405, Some("9")));
    // no body follows: the next answer is the next thing on the wire
    client.send(format!("GET /plain HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n"));
    assert_eq!(client.answer().unwrap().text(), "plain");
}

#[test]
fn a_pipelined_request_does_not_disturb_the_answer_before_it() {
    let edge = start_edge(None, |_| {});
    let mut client = Client::to(edge.port);
    let mut both = post_bytes("/slow", "50");
    both.extend(post_bytes("/echo", "second"));
    client.send(both);
    assert_eq!(client.answer().unwrap().text(), "slow");
    assert!(client.is_closed(), "pipelining is not served: the connection ends instead of answering nonsense");
}

#[test]
fn pages_of_the_edge_never_go_to_python() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    assert_eq!(get(edge.port, "/edge/live").json()["status"], "live");
    let ready = get(edge.port, "/edge/ready");
    assert_eq!((ready.status, ready.json()["python"]["state"].as_str()), (200, Some("up")));
    assert_eq!(get(edge.port, "/edge/nothing").status, 404);
    assert_eq!(post(edge.port, "/edge/live", "x").status, 404);
    assert!(python.requests().is_empty());
    assert_eq!(get(edge.port, "/edgeways").text(), "python");
}
