//! HTTP/2 clients (h2c on the same port) before an HTTP/1.1 Python.
use std::{io::Write, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};

use crate::{
    routes::STREAMS_DROPPED,
    support::{FakePython, MASTER, eventually, noise, ok, start_edge},
};

type Sender = h2::client::SendRequest<Bytes>;

async fn connect(port: u16) -> Sender {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(port: u16, path: &str, length: Option<usize>) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("authorization", format!("Bearer {MASTER}"));
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    request.body(()).unwrap()
}

/// Sends the body in pieces, with or without an empty last frame, and reads the answer.
async fn send(sender: &Sender, request: Request<()>, body: &[u8], empty_end: bool) -> (Response<()>, Vec<u8>) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let mut left = body;
    while !left.is_empty() {
        stream.reserve_capacity(left.len().min(16_384));
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let (piece, rest) = left.split_at(room.min(left.len()));
        left = rest;
        stream.send_data(Bytes::copy_from_slice(piece), left.is_empty() && !empty_end).unwrap();
    }
    if empty_end {
        stream.send_data(Bytes::new(), true).unwrap();
    }
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        let _ = body.flow_control().release_capacity(piece.len());
        all.extend_from_slice(&piece);
    }
    (Response::from_parts(head, ()), all)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() })
}

#[test]
fn the_end_of_a_chunked_body_is_written_once() {
    // written twice, the second `0\r\n\r\n` would be read as the next request's line on the kept connection
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    block_on(async {
        let sender = connect(edge.port).await;
        for (round, empty_end) in [(0, true), (1, false), (2, true), (3, true)] {
            let body = format!("body {round}");
            let (answer, text) = send(&sender, request(edge.port, "/x", None), body.as_bytes(), empty_end).await;
            assert_eq!((answer.status().as_u16(), text.as_slice()), (200, &b"python"[..]));
            assert_eq!(answer.headers()["x-litellm-edge"], "python");
            let seen = python.last();
            assert_eq!(seen.body, body.as_bytes());
            assert!(seen.line().starts_with("POST /x HTTP/1.1"), "{}", seen.line());
        }
    });
    let seen = python.requests();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().any(|request| request.nth > 0), "connections were kept, so a stray end would have shown");
    assert_eq!(seen[0].header("host"), Some(format!("127.0.0.1:{}", edge.port).as_str()));
}

#[test]
fn native_and_declined_bodies_of_every_size_and_framing() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.max_native_body = 2_000_000);
    block_on(async {
        let sender = connect(edge.port).await;
        for size in [10, 65_536, 70_000, 800_000, 2_500_000] {
            for (length, empty_end) in [(Some(size), false), (Some(size), true), (None, false), (None, true)] {
                let mut body = b"decline".to_vec();
                body.extend(noise(size - 7));
                let (_, text) = send(&sender, request(edge.port, "/echo?q=1", length), &body, empty_end).await;
                assert_eq!(text, b"python", "{size} {length:?} {empty_end}");
                let seen = python.last();
                assert!(seen.body == body, "{size} {length:?} {empty_end}");
                assert_eq!(seen.line(), "POST /echo?q=1 HTTP/1.1");
                assert_eq!(seen.header("content-length").is_some(), length.is_some());
                assert_eq!(seen.header("host"), Some(format!("127.0.0.1:{}", edge.port).as_str()));
            }
        }
        let (answer, text) = send(&sender, request(edge.port, "/echo", None), b"hello", true).await;
        assert_eq!((answer.headers()["x-litellm-edge"].as_bytes(), text.as_slice()), (&b"native"[..], &b"hello"[..]));
        assert!(answer.headers().get("connection").is_none());
    });
}

#[test]
fn a_reset_stream_stops_native_streams_and_pass_through() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = gone.clone();
    let python = FakePython::start(move |request, stream| {
        if request.line().contains("/x") {
            return stream.write_all(ok("fine").as_bytes()).is_ok();
        }
        let _ = std::io::Read::read(stream, &mut [0; 1]);
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    block_on(async {
        let sender = connect(edge.port).await;
        let before = STREAMS_DROPPED.load(std::sync::atomic::Ordering::SeqCst);
        let mut ready = sender.clone().ready().await.unwrap();
        let (native, mut body) = ready.send_request(request(edge.port, "/endless", None), false).unwrap();
        body.send_data("x".into(), true).unwrap();
        let mut answer = native.await.unwrap().into_body();
        answer.data().await.unwrap().unwrap();
        drop((answer, body)); // RST_STREAM
        let mut ready = sender.clone().ready().await.unwrap();
        let (passed, mut body) = ready.send_request(request(edge.port, "/hang", Some(1)), false).unwrap();
        body.send_data("x".into(), true).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        body.send_reset(h2::Reason::CANCEL);
        drop((passed, body));
        tokio::task::spawn_blocking(move || {
            eventually(Duration::from_secs(10), "the native stream is dropped", || {
                STREAMS_DROPPED.load(std::sync::atomic::Ordering::SeqCst) > before
            });
            eventually(Duration::from_secs(10), "python sees the reset", || {
                gone.load(std::sync::atomic::Ordering::SeqCst) == 1
            });
        })
        .await
        .unwrap();
        // the connection itself goes on
        let (_, text) = send(&sender, request(edge.port, "/x", None), b"y", false).await;
        assert_eq!(text, b"fine");
    });
}
