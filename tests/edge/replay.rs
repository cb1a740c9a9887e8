//! Bodies the edge has read of requests it then declined: Python gets the very same bytes, whatever the framing, size
//! and HTTP version. (h2: see `http2`.)
use std::io::Write;

use crate::support::{Client, FakePython, MASTER, noise, post_bytes, start_edge};

fn declined(size: usize) -> Vec<u8> {
    let mut body = b"decline".to_vec();
    body.extend(noise(size.saturating_sub(7)));
    body
}

fn chunked(path: &str, body: &[u8], piece: usize) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {MASTER}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(piece) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn bodies_with_a_length_are_replayed_byte_for_byte() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    // around Pingora's 64 KiB, and far above it
    for size in [7, 1000, 65_535, 65_536, 65_537, 70_000, 3_000_000] {
        let body = declined(size);
        client.send(post_bytes("/echo?a=b%20c", &body));
        let answer = client.answer().unwrap();
        assert_eq!((answer.text().as_str(), answer.header("x-litellm-edge")), ("python", Some("python")), "{size}");
        let seen = python.last();
        assert!(seen.body == body, "{size} bytes arrived changed");
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(seen.line(), "POST /echo?a=b%20c HTTP/1.1");
    }
}

#[test]
fn chunked_bodies_are_replayed_byte_for_byte() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    for (size, piece) in [(7, 3), (1000, 1), (60_000, 5000), (70_000, 70_000), (800_000, 16_384)] {
        let body = declined(size);
        client.send(chunked("/echo", &body, piece));
        assert_eq!(client.answer().unwrap().text(), "python", "{size}");
        let seen = python.last();
        assert!(seen.body == body, "{size} bytes arrived changed");
        assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
    }
}

#[test]
fn a_chunked_body_over_the_bound_is_passed_on_as_it_comes() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.max_native_body = 100_000);
    let mut client = Client::to(edge.port);
    let body = noise(2_000_000);
    client.send(chunked("/echo", &body, 10_000));
    let answer = client.answer().unwrap();
    assert_eq!((answer.text().as_str(), answer.header("x-litellm-edge")), ("python", Some("python")));
    assert!(python.last().body == body);
    // and the connection is whole
    client.send(post_bytes("/echo", "native"));
    assert_eq!(client.answer().unwrap().text(), "native");
}

#[test]
fn headers_of_a_replay_are_those_of_the_pass_through() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let send = |path: &str| {
        let mut client = Client::to(edge.port);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHOST: edge:4000\r\nauthorization: Bearer {MASTER}\r\nX-Twice: 1\r\ncOOkie: a=b\r\n\
             x-litellm-edge: native\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nX-Twice: 2\r\n\
             X-Raw: \u{e9}\r\nContent-Length: 7\r\n\r\ndecline"
        ));
        assert_eq!(client.answer().unwrap().text(), "python");
        python.last()
    };
    let (replayed, passed) = (send("/echo"), send("/other"));
    assert_eq!(replayed.headers(), passed.headers());
    let names: Vec<&str> = replayed.headers().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["HOST", "authorization", "X-Twice", "X-Twice", "cOOkie", "Content-Length", "X-Raw"]);
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send(format!(
        "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\nexpect: 100-continue\r\ncontent-length: 7\r\n\r\n"
    ));
    assert_eq!(client.head().unwrap().status, 100);
    client.send("decline");
    assert_eq!(client.answer().unwrap().text(), "python");
    let seen = python.last();
    assert_eq!((seen.header("expect"), seen.body.as_slice()), (None, &b"decline"[..]));
}

#[test]
fn an_early_refusal_of_a_replay_reaches_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let python = FakePython::start_on(listener, false, |_, stream| {
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").unwrap();
        // leave time to read the answer: closing with unread bytes resets
        std::thread::sleep(std::time::Duration::from_millis(300));
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/echo", declined(200_000)));
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[test]
fn a_streamed_answer_to_a_replay_is_not_buffered() {
    let python = FakePython::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    let start = std::time::Instant::now();
    client.send(post_bytes("/echo", "decline"));
    client.head().unwrap();
    assert_eq!(client.chunk().unwrap(), b"data: 1\n\n");
    assert!(start.elapsed() < std::time::Duration::from_millis(250));
    assert_eq!(client.chunk().unwrap(), b"data: 2\n\n");
    assert_eq!(client.chunk().unwrap(), b"");
    client.send(post_bytes("/echo", "native"));
    assert_eq!(client.answer().unwrap().text(), "native");
}

#[test]
fn a_replay_is_sent_once_even_if_python_breaks() {
    let python = FakePython::start(|_, _| false);
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/echo", "decline"));
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("x-litellm-edge")), (502, Some("edge")));
    assert_eq!(python.requests().len(), 1);
}

#[test]
fn a_client_that_leaves_a_replay_aborts_it() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = gone.clone();
    let python = FakePython::start(move |_, stream| {
        let mut byte = [0; 1];
        let read = std::io::Read::read(stream, &mut byte);
        flag.store(
            matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
            std::sync::atomic::Ordering::SeqCst,
        );
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send(post_bytes("/echo", "decline"));
    crate::support::eventually(std::time::Duration::from_secs(10), "python has it", || python.requests().len() == 1);
    drop(client);
    crate::support::eventually(std::time::Duration::from_secs(10), "python sees it leave", || {
        gone.load(std::sync::atomic::Ordering::SeqCst)
    });
}
