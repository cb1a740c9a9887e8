//! Clients that send or take their time: each wait for one has a limit, and the limit is a setting.
use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use litellm_rust::edge::EdgeConfig;

use crate::support::{Client, FakePython, MASTER, ask, eventually, post, start_edge};

fn impatient(config: &mut EdgeConfig) {
    config.client_idle_timeout = Duration::from_millis(400);
    config.client_head_timeout = Duration::from_millis(600);
    config.client_read_timeout = Duration::from_millis(500);
    config.client_body_timeout = Duration::from_millis(900);
    config.client_write_timeout = Duration::from_millis(500);
}

/// Sends a byte each 50 ms; returns after how long the other side was done with it, and what it said.
fn trickle(port: u16, at_once: &str, bytes: usize) -> (Duration, String) {
    let mut client = Client::to(port);
    client.send(at_once);
    let start = Instant::now();
    client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut said = Vec::new();
    for _ in 0..bytes {
        if client.stream.write_all(b"a").is_err() {
            break;
        }
        match client.stream.read_to_end(&mut said) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    (start.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let edge = start_edge(None, impatient);
    let (after, said) = trickle(edge.port, "GET /plain HTTP/1.1\r\nhost: edge\r\nx-slow: ", 200);
    assert!(after > Duration::from_millis(400) && after < Duration::from_secs(3), "{after:?}");
    assert_eq!(said, "");
    // on a connection that was used before as well
    let request = format!("GET /plain HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\nGET /plain HT");
    let (after, _) = trickle(edge.port, &request, 200);
    assert!(after < Duration::from_secs(3), "{after:?}");
    // and one that says nothing at all
    let start = Instant::now();
    assert!(Client::to(edge.port).is_closed());
    assert!(start.elapsed() < Duration::from_secs(3));
    // a slow answer is no slow head
    assert_eq!(post(edge.port, "/slow", "1500").text(), "slow");
}

#[test]
fn a_body_that_comes_byte_by_byte_is_cut_off() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), impatient);
    let head =
        format!("POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\ncontent-length: 5000\r\n\r\n");
    let (after, said) = trickle(edge.port, &head, 200);
    assert!(after > Duration::from_millis(600) && after < Duration::from_secs(3), "{after:?}");
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("not complete"), "{said}");
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
    assert!(python.requests().is_empty());
}

#[test]
fn a_body_that_stops_coming_is_cut_off() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), impatient);
    for path in ["/echo", "/pass"] {
        let start = Instant::now();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\ncontent-length: 9\r\n\r\nx"
        );
        assert_eq!(ask(edge.port, head).status, 400, "{path}");
        assert!(start.elapsed() < Duration::from_secs(3), "{path}");
    }
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
    assert!(python.requests().is_empty());
}

/// Python answers without an end; whether it is let go, though the client stays.
fn flooded(read: impl Fn(&mut Client)) {
    let stopped = Arc::<AtomicBool>::default();
    let seen = stopped.clone();
    let python = FakePython::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        let piece = [&b"10000\r\n"[..], &[b'x'; 65536], b"\r\n"].concat();
        while stream.write_all(&piece).is_ok() {}
        seen.store(true, Ordering::SeqCst);
        false
    });
    let edge = start_edge(Some(python.port), impatient);
    let mut client = Client::to(edge.port);
    client.send("GET /flood HTTP/1.1\r\nhost: edge\r\n\r\n");
    eventually(Duration::from_secs(8), "python is let go", || {
        read(&mut client);
        stopped.load(Ordering::SeqCst)
    });
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
    drop(client);
}

#[test]
fn a_client_that_does_not_read_holds_nothing_for_ever() {
    flooded(|_| {});
}

#[test]
fn a_client_that_reads_byte_by_byte_holds_nothing_for_ever() {
    flooded(|client| {
        let _ = client.stream.read(&mut [0; 1]);
        std::thread::sleep(Duration::from_millis(50));
    });
}
