//! Promise 1: what is not native reaches Python as it came, and comes back as it was sent.
use std::{
    io::Write,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use litellm_rust::edge::ForwardedHeaders;

use crate::support::{Client, FakePython, ask, eventually, get, noise, ok, start_edge};

#[test]
fn the_head_arrives_as_it_was_sent() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let answer = ask(
        edge.port,
        "POST /a//b/../c%2Fd%zz?x=%20&y=\u{e9} HTTP/1.1\r\nHOST: example.test:8080\r\nUser-Agent: one\r\nX-Twice: 1\r\n\
         aCCept: */*\r\nX-Twice: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX-Latin: \u{e9}\r\nX-Empty:\r\nx-litellm-edge: native\r\n\
         X-Forwarded-For: 9.9.9.9\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "python"));
    let seen = python.last();
    let utf8 = |text: &str| -> String { text.bytes().map(char::from).collect() };
    assert_eq!(seen.line(), utf8("POST /a//b/../c%2Fd%zz?x=%20&y=\u{e9} HTTP/1.1"));
    // kept: case, values, order. Not kept: headers of the same name are moved behind the first of them, and the last
    // header takes the place of one that is dropped: here of x-litellm-edge, which a client must not set.
    // X-Forwarded-For is as sent (`keep`)
    let latin = utf8("\u{e9}");
    let expected = [
        ("HOST", "example.test:8080"),
        ("User-Agent", "one"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
        ("aCCept", "*/*"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("X-Latin", latin.as_str()),
        ("X-Empty", ""),
        ("Content-Length", "3"),
        ("X-Forwarded-For", "9.9.9.9"),
    ];
    assert_eq!(seen.headers(), expected);
    assert_eq!(seen.body, b"abc");
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    ask(
        edge.port,
        "GET / HTTP/1.1\r\nhost: edge\r\nconnection: keep-alive, x-mine\r\nkeep-alive: 5\r\nx-mine: 1\r\nte: trailers\r\n\
         upgrade: h2c\r\nhttp2-settings: x\r\nproxy-authorization: x\r\nauthorization: kept\r\n\r\n",
    );
    assert_eq!(python.last().headers(), [("host", "edge"), ("authorization", "kept")]);
}

#[test]
fn the_answer_comes_back_as_it_was_sent() {
    let python = FakePython::start(|_, stream| {
        stream
            .write_all(
                b"HTTP/1.1 201 Made\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-CaSe: 1\r\nset-cookie: a\r\nx-b: 2\r\nset-cookie: c\r\n\
                  x-litellm-edge: forged\r\ncontent-length: 2\r\n\r\nok",
            )
            .is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let answer = get(edge.port, "/");
    assert_eq!((answer.status, answer.text().as_str()), (201, "ok"));
    let lines: Vec<&str> = answer
        .head
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.starts_with("Date") && !line.starts_with("date"))
        .collect();
    // not kept: the date (it is the edge's), the place of a second set-cookie, the reason phrase is kept
    assert_eq!(
        lines,
        [
            "HTTP/1.1 201 Made",
            "X-CaSe: 1",
            "set-cookie: a",
            "set-cookie: c",
            "x-b: 2",
            "x-litellm-edge: python",
            "content-length: 2",
            "Connection: keep-alive"
        ]
    );
    assert!(!answer.head.contains("1970"));
}

#[test]
fn answers_without_a_body_have_none() {
    let python = FakePython::start(|request, stream| {
        let answer: &[u8] = match request.line().split(' ').next().unwrap() {
            "HEAD" => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
            "OPTIONS" => b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-length: 2\r\n\r\nOK",
            _ => b"HTTP/1.1 204 No Content\r\n\r\n",
        };
        stream.write_all(answer).is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("HEAD /x HTTP/1.1\r\nhost: edge\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("content-length"), head.header("transfer-encoding")),
        (200, Some("1234"), None)
    );
    client
        .send("OPTIONS /x HTTP/1.1\r\nhost: edge\r\norigin: https://ui\r\naccess-control-request-method: POST\r\n\r\n");
    let options = client.answer().unwrap();
    assert_eq!((options.text().as_str(), options.header("access-control-allow-origin")), ("OK", Some("*")));
    assert_eq!(python.last().header("access-control-request-method"), Some("POST"));
    client.send("DELETE /x HTTP/1.1\r\nhost: edge\r\n\r\n");
    let none = client.answer().unwrap();
    assert_eq!((none.status, none.header("transfer-encoding"), none.header("content-length")), (204, None, None));
    client.send("HEAD /x HTTP/1.1\r\nhost: edge\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 200);
}

#[test]
fn events_are_passed_on_before_the_next_is_made() {
    let python = FakePython::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for n in 0..4 {
            stream.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(120));
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
    client.head().unwrap();
    let start = Instant::now();
    for n in 0..4 {
        assert_eq!(client.chunk().unwrap(), format!("data: {n}\n\n").as_bytes());
        let late = start.elapsed().saturating_sub(Duration::from_millis(120) * n);
        assert!(late < Duration::from_millis(100), "event {n} was {late:?} late");
    }
    assert_eq!(client.chunk().unwrap(), b"");
}

#[test]
fn small_events_do_not_wait_for_each_other() {
    // 40 events, 1 ms apart: with Nagle's algorithm on either side each pair costs 40 ms
    let python = FakePython::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..40 {
            stream.write_all(b"2\r\nx\n\r\n").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
    client.head().unwrap();
    let start = Instant::now();
    while !client.chunk().unwrap().is_empty() {}
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
}

#[test]
fn an_upload_is_streamed_while_it_comes() {
    let (sender, received) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let python = FakePython::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), false, move |_, stream| {
        let mut first = [0; 4];
        std::io::Read::read_exact(stream, &mut first).unwrap();
        sender.lock().unwrap().send(first).unwrap();
        let mut rest = [0; 4];
        std::io::Read::read_exact(stream, &mut rest).unwrap();
        stream.write_all(ok("done").as_bytes()).is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("POST /upload HTTP/1.1\r\nhost: edge\r\ncontent-length: 8\r\n\r\n");
    eventually(Duration::from_secs(10), "python has the head", || python.requests().len() == 1);
    client.send("half");
    assert_eq!(&received.recv_timeout(Duration::from_secs(2)).unwrap(), b"half", "before the other half is sent");
    client.send("half");
    assert_eq!(client.answer().unwrap().text(), "done");
}

#[test]
fn expect_100_continue_is_between_the_client_and_python() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("POST /x HTTP/1.1\r\nhost: edge\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 100);
    client.send("body");
    assert_eq!(client.answer().unwrap().text(), "python");
    assert_eq!((python.last().header("expect"), python.last().body), (Some("100-continue"), b"body".to_vec()));
}

#[test]
fn an_early_refusal_reaches_the_client() {
    let python = FakePython::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), false, |_, stream| {
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("POST /x HTTP/1.1\r\nhost: edge\r\ncontent-length: 1000000\r\n\r\n");
    client.send(noise(1000));
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str(), answer.header("connection")), (413, "big", Some("close")));
}

#[test]
fn a_client_that_leaves_is_noticed_by_python() {
    let gone = Arc::new(AtomicUsize::new(0));
    let count = gone.clone();
    let python = FakePython::start(move |_, stream| {
        // silent: only reading shows that the edge has hung up
        let read = std::io::Read::read(stream, &mut [0; 1]);
        if matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    let mut client = Client::to(edge.port);
    client.send("GET /slow HTTP/1.1\r\nhost: edge\r\n\r\n");
    eventually(Duration::from_secs(10), "python has it", || python.requests().len() == 1);
    drop(client);
    eventually(Duration::from_secs(10), "python sees it", || gone.load(Ordering::SeqCst) == 1);
    eventually(Duration::from_secs(10), "nothing is in flight", || edge.edge.drain.in_flight() == 0);
}

#[test]
fn forwarded_headers_follow_the_setting() {
    let python = FakePython::saying("python");
    let forwarded = |mode| {
        let edge = start_edge(Some(python.port), |config| config.forwarded = mode);
        ask(
            edge.port,
            "GET / HTTP/1.1\r\nhost: name\r\nx-forwarded-for: 1.1.1.1\r\nx-real-ip: 1.1.1.1\r\nforwarded: for=1\r\n\r\n",
        );
        let seen = python.last();
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"]
            .map(|name| seen.header(name).map(str::to_owned).unwrap_or_default())
    };
    assert_eq!(forwarded(ForwardedHeaders::Keep), ["1.1.1.1", "", "", "1.1.1.1", "for=1"]);
    assert_eq!(forwarded(ForwardedHeaders::Append), ["1.1.1.1, 127.0.0.1", "http", "name", "1.1.1.1", "for=1"]);
    assert_eq!(forwarded(ForwardedHeaders::Replace), ["127.0.0.1", "http", "name", "", ""]);
}

#[test]
fn requests_that_two_readers_could_read_differently_are_refused() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |_| {});
    for (head, ours) in [
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", true),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", true),
        // these the library refuses before the edge is asked, with an empty body
        ("GET / HTTP/1.1\r\nhost: user@a\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n", false),
    ] {
        let mut client = Client::to(edge.port);
        client.send(head);
        let answer = client.answer().unwrap_or_else(|| panic!("no answer to {head}"));
        assert_eq!(answer.status, 400, "{head}");
        if ours {
            assert_eq!(answer.json()["error"]["code"], "400", "{head}");
        }
        assert!(client.is_closed(), "{head}");
    }
    assert!(python.requests().is_empty());
}

#[test]
fn the_shortest_requests_are_answered_and_silence_is_not_kept() {
    let python = FakePython::saying("python");
    let edge = start_edge(Some(python.port), |config| config.client_idle_timeout = Duration::from_secs(1));
    // a load balancer's health check: shorter than the HTTP/2 preface
    let mut client = Client::to(edge.port);
    client.send("OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().unwrap().text(), "python");
    // one byte at a time, sharing the preface's first letters
    let mut client = Client::to(edge.port);
    for byte in b"PRIDE / HTTP/1.1\r\nhost: a\r\n\r\n" {
        client.send([*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.answer().unwrap().text(), "python");
    assert!(python.last().line().starts_with("PRIDE / "));
    let start = Instant::now();
    for half in ["", "PRI * HT"] {
        let mut silent = Client::to(edge.port);
        silent.send(half);
        assert!(silent.is_closed());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // and so is the time between two requests
    let mut kept = Client::to(edge.port);
    kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    kept.answer().unwrap();
    assert!(kept.is_closed());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// uvicorn, when an exception has left the application: 500, then a traceback in the log, then it closes without a word.
#[test]
fn a_connection_that_gave_a_500_is_not_used_again() {
    let python = FakePython::start(|request, stream| {
        if !request.line().contains("/crash") {
            return stream.write_all(ok("fine").as_bytes()).is_ok();
        }
        let _ = stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno");
        std::thread::sleep(Duration::from_millis(150));
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    let post = |path: &str| ask(edge.port, format!("POST {path} HTTP/1.1\r\nhost: edge\r\ncontent-length: 1\r\n\r\na"));
    for _ in 0..3 {
        assert_eq!(post("/crash").status, 500);
        assert_eq!(post("/next").status, 200);
    }
}
