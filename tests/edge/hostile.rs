//! What no honest client sends, over raw sockets to the real binary with the real chat route: no panic, no hang, and
//! never more requests to the provider and Python than the edge has answered.
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    gateway::Gateway,
    support::{FakePython, MASTER, eventually, get},
};

/// What the edge may do with a case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// a 4xx or a closed connection, and nothing for the provider or Python
    Refused,
    /// answered, each answer by one request at most
    Answered,
    /// either: only the general rules hold
    Any,
}
use Fate::{Answered, Any, Refused};

const HEADERS: &str = "content-type: application/json\r\n";
/// All limits that are set below, one after the other, and the time of a busy machine.
const PATIENCE: Duration = Duration::from_secs(9);

fn body(case: &str) -> String {
    format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{case}\"}}]}}")
}

/// A head for the chat route, without its end.
fn chat(case: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\nx-case: {case}\r\n{HEADERS}"
    )
}

/// A request hidden in another; what becomes of it must have an answer of its own.
fn hidden(case: &str) -> String {
    format!("GET /smuggled HTTP/1.1\r\nhost: edge\r\nx-case: {case}\r\n\r\n")
}

/// Name, fate, bytes. The name is in every request of the case, so that what arrives can be told apart.
fn cases() -> Vec<(String, Fate, Vec<u8>)> {
    let mut cases = Vec::new();
    let mut add = |fate: Fate, name: &str, make: &dyn Fn(&str) -> Vec<u8>| {
        let name = format!("case-{}-{name}.", cases.len());
        let bytes = make(&name);
        cases.push((name, fate, bytes));
    };
    // chunks
    for (name, size) in [
        ("letters", "zz"),
        ("minus", "-1"),
        ("plus", "+5"),
        ("hex", "0x5"),
        ("huge", "ffffffffffffffffff"),
        ("over", "fffffffffffffffe"),
        ("space", "5 5"),
    ] {
        add(Refused, &format!("chunk-size-{name}"), &|case| {
            format!(
                "{}transfer-encoding: chunked\r\n\r\n{size}\r\n{}\r\n0\r\n\r\n{}",
                chat(case),
                body(case),
                hidden(case)
            )
            .into()
        });
    }
    let chunked =
        |case: &str, chunks: &str| format!("{}transfer-encoding: chunked\r\n\r\n{chunks}", chat(case)).into_bytes();
    let chunk = |case: &str| format!("{:x}\r\n{}\r\n", body(case).len(), body(case));
    add(Answered, "chunk-good", &|case| chunked(case, &format!("{}0\r\n\r\n", chunk(case))));
    add(Answered, "chunk-extension", &|case| {
        chunked(case, &format!("{}0\r\n\r\n", chunk(case).replacen("\r\n", ";a=b\r\n", 1)))
    });
    add(Answered, "chunk-trailer", &|case| chunked(case, &format!("{}0\r\nx-trailer: 1\r\n\r\n", chunk(case))));
    add(Refused, "chunk-no-end", &|case| chunked(case, &chunk(case)));
    add(Refused, "chunk-cut", &|case| chunked(case, &chunk(case)[..20]));
    add(Refused, "chunk-without-crlf", &|case| chunked(case, &format!("2\r\n{}0\r\n\r\n", body(case))));
    add(Any, "chunk-bare-lf", &|case| {
        chunked(case, &format!("{}0\n\n{}", chunk(case).replace("\r\n", "\n"), hidden(case)))
    });
    // Pingora takes no digits at all for the last chunk, and closes behind it
    add(Any, "chunk-size-none", &|case| {
        let chunks = format!("\r\n{}\r\n0\r\n\r\n{}", body(case), hidden(case));
        format!("{}transfer-encoding: chunked\r\n\r\n{chunks}", chat(case)).into()
    });
    // two framings
    for (name, lines) in [
        ("cl-te", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("te-cl", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("te-te", "transfer-encoding: chunked\r\ntransfer-encoding: cow\r\n"),
        ("te-te-same", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("te-list", "transfer-encoding: chunked, identity\r\n"),
        ("te-gzip", "transfer-encoding: gzip, chunked\r\n"),
        ("te-x", "transfer-encoding: xchunked\r\n"),
        ("te-cl-vt", "content-length: 5\r\ntransfer-encoding:\x0bchunked\r\n"),
        ("te-space", "content-length: 5\r\ntransfer-encoding : chunked\r\n"),
        ("te-lead", "content-length: 5\r\n transfer-encoding: chunked\r\n"),
        ("te-lf", "x: y\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("te-cr", "content-length: 5\r\nx: y\rtransfer-encoding: chunked\r\n"),
        ("te-quoted", "content-length: 5\r\ntransfer-encoding: \"chunked\"\r\n"),
        ("cl-cl", "content-length: 5\r\ncontent-length: 6\r\n"),
        ("cl-cl-same", "content-length: 5\r\ncontent-length: 5\r\n"),
        ("cl-list", "content-length: 5, 5\r\n"),
        ("cl-plus", "content-length: +5\r\n"),
        ("cl-minus", "content-length: -5\r\n"),
        ("cl-hex", "content-length: 0x5\r\n"),
        ("cl-huge", "content-length: 99999999999999999999\r\n"),
        ("cl-empty", "content-length: \r\n"),
        ("cl-space", "content-length : 5\r\n"),
    ] {
        add(Refused, name, &|case| format!("{}{lines}\r\n0\r\n\r\n{}", chat(case), hidden(case)).into());
    }
    add(Refused, "te-http10", &|case| {
        format!("{}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chat(case).replace("HTTP/1.1", "HTTP/1.0"), "zz\r\n")
            .into()
    });
    add(Refused, "cut-body", &|case| format!("{}content-length: 500\r\n\r\n{}", chat(case), body(case)).into());
    add(Refused, "body-of-a-get-that-is-cut", &|case| {
        format!("GET /x HTTP/1.1\r\nhost: edge\r\nx-case: {case}\r\ncontent-length: 500\r\n\r\nx").into()
    });
    // a body is a body, also where nobody reads it
    add(Answered, "request-in-a-body", &|case| {
        let inner = hidden(case);
        format!("GET /v1/models HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\nx-case: {case}\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()).into()
    });
    add(Answered, "request-in-a-chunk", &|case| {
        let inner = hidden(case);
        format!("GET /health/liveliness HTTP/1.1\r\nhost: edge\r\nx-case: {case}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()).into()
    });
    add(Any, "request-behind-an-upgrade", &|case| {
        format!(
            "GET /ws HTTP/1.1\r\nhost: edge\r\nx-case: {case}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n{}",
            hidden(case)
        )
        .into()
    });
    add(Answered, "pipelined-native", &|case| {
        format!("{}content-length: {}\r\n\r\n{}{}", chat(case), body(case).len(), body(case), hidden(case)).into()
    });
    add(Answered, "pipelined-python", &|case| [hidden(case), hidden(case), hidden(case)].concat().into());
    // heads
    let head = |case: &str, lines: &[u8]| {
        [chat(case).as_bytes(), lines, format!("content-length: {}\r\n\r\n{}", body(case).len(), body(case)).as_bytes()]
            .concat()
    };
    add(Answered, "header-without-value", &|case| head(case, b"x-empty:\r\n"));
    add(Refused, "header-without-colon", &|case| head(case, b"nothing\r\n"));
    add(Refused, "header-without-name", &|case| head(case, b": x\r\n"));
    add(Refused, "header-nul", &|case| head(case, b"x: a\0b\r\n"));
    add(Refused, "header-name-nul", &|case| head(case, b"x\0y: a\r\n"));
    add(Any, "header-high-bytes", &|case| head(case, b"x: \xff\xfe\r\n"));
    add(Refused, "obs-fold", &|case| head(case, b"x: a\r\n b\r\n"));
    add(Refused, "huge-header", &|case| head(case, &[b"x: ", &vec![b'a'; 1 << 21][..], b"\r\n"].concat()));
    add(Refused, "many-headers", &|case| head(case, "x: y\r\n".repeat(2000).as_bytes()));
    add(Refused, "two-hosts", &|case| head(case, b"host: other\r\n"));
    for (name, host) in [("slash", "x/?"), ("user", "a@b"), ("space", "a b"), ("port", "a:b"), ("crlf", "a\rb")] {
        add(Refused, &format!("host-{name}"), &|case| {
            String::from_utf8(head(case, b"")).unwrap().replacen("host: edge", &format!("host: {host}"), 1).into()
        });
    }
    add(Refused, "no-host", &|case| {
        String::from_utf8(head(case, b"")).unwrap().replacen("host: edge\r\n", "", 1).into()
    });
    // request lines
    let line = |case: &str, line: &str| {
        String::from_utf8(head(case, b"")).unwrap().replacen("POST /v1/chat/completions HTTP/1.1", line, 1).into_bytes()
    };
    for (name, fate, text) in [
        ("absolute", Any, "POST http://edge/v1/chat/completions HTTP/1.1"),
        ("absolute-other-host", Refused, "POST http://elsewhere/v1/chat/completions HTTP/1.1"),
        ("absolute-user", Any, "POST http://a@elsewhere/v1/chat/completions HTTP/1.1"),
        ("authority", Any, "POST elsewhere:80 HTTP/1.1"),
        ("star", Any, "POST * HTTP/1.1"),
        ("connect", Refused, "CONNECT elsewhere:443 HTTP/1.1"),
        ("dots", Any, "POST /v1/../v1/chat/completions HTTP/1.1"),
        ("slashes", Any, "POST //v1/chat/completions HTTP/1.1"),
        ("nul", Any, "POST /v1/\0 HTTP/1.1"), // Pingora makes it %00
        ("bytes", Any, "POST /v1/\u{e9} HTTP/1.1"),
        ("spaces", Any, "POST  /v1/chat/completions  HTTP/1.1"),
        ("no-version", Refused, "POST /v1/chat/completions"),
        ("version-2", Refused, "POST /v1/chat/completions HTTP/2.0"),
        ("version-9", Refused, "POST /v1/chat/completions HTTP/1.9"),
        ("method", Any, "P\u{f6}ST /v1/chat/completions HTTP/1.1"),
        ("lower", Any, "post /v1/chat/completions HTTP/1.1"),
    ] {
        add(fate, &format!("line-{name}"), &|case| line(case, text));
    }
    add(Any, "preface-only", &|_| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
    add(Refused, "preface-broken", &|_| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec());
    add(Any, "preface-and-noise", &|_| {
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &crate::support::noise(5000)].concat()
    });
    add(Refused, "tls", &|_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    add(Refused, "noise", &|_| crate::support::noise(5000));
    add(Refused, "newlines", &|_| b"\r\n".repeat(3000));
    add(Any, "expect", &|case| format!("{}expect: 100-continue\r\ncontent-length: 5000\r\n\r\n", chat(case)).into());
    cases
}

/// Sends a case and listens until the edge closes. The number of final answers, and the first status.
fn play(port: u16, name: &str, bytes: &[u8], half_close: bool) -> (usize, Option<u16>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let start = Instant::now();
    // the edge may close before it has read all
    if stream.write_all(bytes).is_ok() && half_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            panic!("{name}: still open after {:?}: {}", start.elapsed(), String::from_utf8_lossy(&said));
        }
        _ => {}
    }
    let text = String::from_utf8_lossy(&said);
    let statuses: Vec<u16> = text
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .filter(|status| *status >= 200)
        .collect();
    (statuses.len(), statuses.first().copied())
}

fn hard_limits(log: Stdio, python: u16) -> Gateway {
    let limits = [
        ("LITELLM_EDGE_CLIENT_IDLE_TIMEOUT", "1s"),
        ("LITELLM_EDGE_CLIENT_HEAD_TIMEOUT", "1s"),
        ("LITELLM_EDGE_CLIENT_READ_TIMEOUT", "1s"),
        ("LITELLM_EDGE_CLIENT_BODY_TIMEOUT", "2s"),
        ("LITELLM_EDGE_PYTHON_TIMEOUT", "3s"),
    ];
    Gateway::start(python, &[], &limits, log)
}

#[test]
fn hostile_requests_are_refused_or_served_once() {
    let python = FakePython::saying("python");
    let log_folder = crate::gateway::Folder::new();
    let log = log_folder.0.join("log");
    let gateway = hard_limits(fs::File::create(&log).unwrap().into(), python.port);
    let port = gateway.process.port;
    let cases = cases();
    let mut wrong = Vec::new();
    for half_close in [false, true] {
        let (before_python, before_provider) = (python.requests().len(), gateway.provider.requests().len());
        let running: Vec<_> = cases
            .iter()
            .map(|(name, _, bytes)| {
                let (name, bytes) = (name.clone(), bytes.clone());
                std::thread::spawn(move || play(port, &name, &bytes, half_close))
            })
            .collect();
        let answers: Vec<_> = running.into_iter().map(|thread| thread.join().expect("it ended in time")).collect();
        let (to_python, to_provider) =
            (python.requests().split_off(before_python), gateway.provider.requests().split_off(before_provider));
        for ((name, fate, _), (answered, status)) in cases.iter().zip(answers) {
            let arrived = to_python.iter().filter(|request| request.head.contains(name)).count()
                + to_provider.iter().filter(|request| String::from_utf8_lossy(&request.body).contains(name)).count();
            let refused = arrived == 0 && answered <= 1 && status.is_none_or(|status| (400..500).contains(&status));
            // a client that closes its side may be gone before its answer
            let most = answered.max(usize::from(half_close));
            let right = arrived <= most
                && match fate {
                    Refused => refused,
                    Answered => half_close || (answered >= 1 && status == Some(200)),
                    Any => true,
                };
            if !right {
                wrong.push(format!(
                    "{name} {fate:?}, half-closed {half_close}: {answered} answers, first {status:?}, {arrived} arrived"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gateway.side(), "native", "and it serves as before");
    eventually(Duration::from_secs(10), "nothing is in flight but the question", || {
        get(port, "/edge/ready").json()["in_flight"] == 1
    });
    let log = fs::read_to_string(&log).unwrap();
    assert!(!log.contains("panic"), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\"") && !log.contains(" ERROR "), "no client makes an error line: {log}");
}

#[test]
fn a_client_that_leaves_at_any_byte_has_asked_for_nothing() {
    let python = FakePython::saying("python");
    let log_folder = crate::gateway::Folder::new();
    let log = log_folder.0.join("log");
    let gateway = hard_limits(fs::File::create(&log).unwrap().into(), python.port);
    let port = gateway.process.port;
    let length = |case: &str| format!("{}content-length: {}\r\n\r\n{}", chat(case), body(case).len(), body(case));
    let chunked = |case: &str| {
        format!("{}transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n", chat(case), body(case).len(), body(case))
    };
    let through = |case: &str| length(case).replacen("/v1/chat/completions", "/key/list", 1);
    for request in [length("cut"), chunked("cut"), through("cut")] {
        for end in 0..request.len() {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&request.as_bytes()[..end]).unwrap();
        }
    }
    eventually(Duration::from_secs(8), "nothing is in flight but the question", || {
        get(port, "/edge/ready").json()["in_flight"] == 1
    });
    assert_eq!((gateway.provider.requests().len(), python.requests().len()), (0, 0));
    assert_eq!(gateway.side(), "native");
    let log = fs::read_to_string(&log).unwrap();
    assert!(!log.contains("panic") && !log.contains(" ERROR "), "{log}");
}
