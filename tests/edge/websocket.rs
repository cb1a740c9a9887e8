//! WebSocket upgrades pass through as tunnels, also where Python answers at once (cloudflare/pingora#946).
use std::io::{Read, Write};

use crate::support::{Client, FakePython, free_port, start_edge};

const HANDSHAKE: &str = "GET /v1/realtime?model=x HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Answers the handshake at once and says the first word; then echoes.
fn echoing() -> FakePython {
    FakePython::start(|request, stream| {
        assert_eq!(request.header("upgrade"), Some("websocket"), "{}", request.head);
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: x\r\n\r\nhello",
            )
            .unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        false
    })
}

#[test]
fn data_flows_both_ways_fifty_times() {
    let python = echoing();
    let edge = start_edge(Some(python.port), |_| {});
    for round in 0..50 {
        let mut client = Client::to(edge.port);
        client.send(HANDSHAKE);
        let answer = client.head().unwrap();
        assert_eq!(answer.status, 101, "round {round}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("x"));
        assert_eq!(client.bytes(5).unwrap(), b"hello", "round {round}");
        for word in ["one", "a longer one"] {
            client.send(word);
            assert_eq!(client.bytes(word.len()).unwrap(), word.as_bytes(), "round {round}");
        }
    }
    assert_eq!(python.requests().len(), 50);
}

#[test]
fn a_refused_handshake_is_an_ordinary_answer() {
    let python = FakePython::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    for _ in 0..3 {
        let mut client = Client::to(edge.port);
        client.send(HANDSHAKE);
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    }
}

#[test]
fn a_handshake_without_python_fails_like_any_request() {
    let edge = start_edge(Some(free_port()), |_| {});
    let mut client = Client::to(edge.port);
    client.send(HANDSHAKE);
    assert_eq!(client.answer().unwrap().status, 503);
}
