//! The binary as a process: signals, drain, memory, sockets, exit codes.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    gateway::Process,
    support::{Client, FakePython, eventually, free_port, get, ok},
};

/// Streams an event each 100 ms for as long as `run` is set, after one at once.
fn streaming(run: Arc<AtomicBool>) -> FakePython {
    FakePython::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        while run.load(Ordering::SeqCst) {
            if stream.write_all(b"2\r\nx\n\r\n").is_err() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    })
}

#[test]
fn a_drain_finishes_streams_and_ends_when_idle() {
    let run = Arc::new(AtomicBool::new(true));
    let python = streaming(run.clone());
    let mut process = Process::before(python.port, &["--grace-period", "60s", "--drain-delay", "3s"]);
    let mut stream = Client::to(process.port);
    stream.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
    stream.head().unwrap();
    stream.chunk().unwrap();
    let mut kept = Client::to(process.port);
    kept.send("GET /edge/ready HTTP/1.1\r\nhost: edge\r\n\r\n");
    assert_eq!(kept.answer().unwrap().status, 200);

    process.signal("-TERM");
    // readiness first: the port is still open, and says so
    eventually(Duration::from_secs(2), "readiness is 503", || get(process.port, "/edge/ready").status == 503);
    assert_eq!(get(process.port, "/edge/live").status, 200);
    kept.send("GET /edge/ready HTTP/1.1\r\nhost: edge\r\n\r\n");
    let answer = kept.answer().unwrap();
    assert_eq!((answer.json()["status"].as_str(), answer.header("connection")), (Some("draining"), Some("close")));
    // then the listener is closed, and the stream goes on
    eventually(Duration::from_secs(10), "the port is closed", || {
        TcpStream::connect(("127.0.0.1", process.port)).is_err()
    });
    for _ in 0..3 {
        assert_eq!(stream.chunk().unwrap(), b"x\n");
    }
    assert_eq!(process.exit(Duration::ZERO), None);
    run.store(false, Ordering::SeqCst);
    while !stream.chunk().expect("the stream ends regularly").is_empty() {}
    let start = Instant::now();
    assert_eq!(process.exit(Duration::from_secs(20)), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "it must not sit out the grace period");
}

#[test]
fn a_drain_ends_with_the_grace_period() {
    let run = Arc::new(AtomicBool::new(true));
    let python = streaming(run.clone());
    let mut process = Process::before(python.port, &["--grace-period", "500ms"]);
    let mut stream = Client::to(process.port);
    stream.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
    stream.head().unwrap();
    process.signal("-TERM");
    let start = Instant::now();
    assert_eq!(process.exit(Duration::from_secs(5)), Some(0));
    assert!(start.elapsed() > Duration::from_millis(450), "{:?}", start.elapsed());
    while stream.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
    run.store(false, Ordering::SeqCst);
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let run = Arc::new(AtomicBool::new(true));
    let python = streaming(run.clone());
    let mut process = Process::before(python.port, &["--grace-period", "60s"]);
    let mut stream = Client::to(process.port);
    stream.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
    stream.head().unwrap();
    process.signal("-INT");
    assert!(process.exit(Duration::from_secs(10)).is_some());
    run.store(false, Ordering::SeqCst);
    // and in the middle of a drain as well
    let mut process = Process::before(python.port, &["--grace-period", "60s", "--drain-delay", "60s"]);
    process.signal("-TERM");
    eventually(Duration::from_secs(10), "draining", || get(process.port, "/edge/ready").status == 503);
    process.signal("-INT");
    assert!(process.exit(Duration::from_secs(10)).is_some());
}

#[test]
fn an_upload_of_100_mb_needs_no_memory() {
    const SIZE: usize = 100_000_000;
    let python = FakePython::start_on(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), false, |request, stream| {
        let mut buffer = vec![0; 65536];
        let add = |sum: u64, bytes: &[u8]| bytes.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        let (mut left, mut sum) = (SIZE - request.body.len(), add(0, &request.body));
        while left > 0 {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0);
            left -= read;
            sum = add(sum, &buffer[..read]);
        }
        stream.write_all(ok(&sum.to_string()).as_bytes()).is_ok()
    });
    let process = Process::before(python.port, &[]);
    let mut client = Client::to(process.port);
    client.send(format!("POST /v1/files HTTP/1.1\r\nhost: edge\r\ncontent-length: {SIZE}\r\n\r\n"));
    let piece = crate::support::noise(100_000);
    for _ in 0..SIZE / piece.len() {
        client.send(&piece);
    }
    let sum: u64 = piece.iter().map(|byte| u64::from(*byte)).sum::<u64>() * (SIZE / piece.len()) as u64;
    assert_eq!(client.answer().unwrap().text(), sum.to_string());
    assert!(process.peak() < 64 * 1024, "peak was {} KiB", process.peak());
}

#[test]
fn unix_sockets_on_both_sides() {
    let folder = std::env::temp_dir().join(format!("litellm-edge-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (ours, pythons) = (folder.join("edge.sock"), folder.join("python.sock"));
    let listener = std::os::unix::net::UnixListener::bind(&pythons).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(ok("python").as_bytes());
            });
        }
    });
    let python = format!("unix:{}", pythons.display());
    let mut process = Process::start(&["--python", &python, "--unix-socket", ours.to_str().unwrap()]);
    eventually(Duration::from_secs(10), "python is up", || {
        get(process.port, "/edge/ready").json()["python"]["state"] == "up"
    });
    assert_eq!(get(process.port, "/x").text(), "python");
    let mut socket = std::os::unix::net::UnixStream::connect(&ours).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(b"GET /x HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("python"), "{answer}");
    process.signal("-TERM");
    assert_eq!(process.exit(Duration::from_secs(5)), Some(0));
    assert!(!ours.exists(), "the socket's file is removed");
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn a_taken_port_and_a_wrong_option_are_told_by_exit_codes() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_litellm-rust")).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["--host", "127.0.0.1", "--port", &port]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&port), "{said}");
    let (code, said) = run(&["--python", "https://x"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("https is not supported"), "{said}");
    assert_eq!(run(&["--help"]).0, Some(0));
}

#[test]
fn one_line_a_request_without_key_query_or_prompt() {
    let python = FakePython::saying("python");
    let address = format!("http://127.0.0.1:{}", python.port);
    let mut process = Process::logging(&["--python", &address, "--log-format", "json"], Stdio::piped());
    let log = process.child.stderr.take().unwrap();
    let secret = "sk-canary-0123456789";
    crate::support::ask(
        process.port,
        format!(
            "POST /key/{secret}/regenerate?key={secret} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {secret}\r\n\
             x-api-key: {secret}\r\ncontent-length: {}\r\n\r\n{secret}",
            secret.len()
        ),
    );
    crate::support::ask(process.port, format!("GET /{secret} HTTP/1.1\r\nhost: {secret} x\r\n\r\n"));
    // a reload must not end it
    process.signal("-HUP");
    assert_eq!(get(process.port, "/edge/live").status, 200);
    process.signal("-TERM");
    assert_eq!(process.exit(Duration::from_secs(5)), Some(0));
    let mut text = String::new();
    let mut log = log;
    log.read_to_string(&mut text).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut access: Vec<&serde_json::Value> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 3, "{text}");
    // a line is written after its answer: the order is not the clients'
    access.sort_by_key(|line| line["status"].as_u64() == Some(400));
    access.sort_by_key(|line| line["side"] != "python");
    assert_eq!(access[0]["path"], "/key/***/regenerate");
    assert_eq!((access[0]["side"].as_str(), access[0]["status"].as_u64()), (Some("python"), Some(200)));
    assert_eq!((access[0]["route"].as_str(), access[0]["method"].as_str()), (Some("unlisted"), Some("POST")));
    assert!(access[0]["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!((access[2]["side"].as_str(), access[2]["status"].as_u64()), (Some("edge"), Some(400)));
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{text}");
}

#[test]
fn options_are_read_from_the_environment_also_by_the_subcommand() {
    let port = free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .arg("serve")
        .env("PORT", port.to_string())
        .env("HOST", "127.0.0.1")
        .env("LITELLM_EDGE_STRICT_READY", "true")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(10), "it accepts", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let status = get(port, "/edge/ready").status;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status, 200, "no python is configured, so none is missing");
}
