//! A fake Python gateway that sees raw bytes, an edge inside this process, and a raw HTTP/1.1 client. Everything is
//! blocking and bounded by socket timeouts.
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use litellm_rust::{
    config::{Settings, Snapshot},
    edge::{self, Edge, EdgeConfig, Hooks, Signals, decide::AllNative},
    routes::{NativeRoute, Services},
    secret::Secret,
    telemetry::Metrics,
    upstream,
};

pub(crate) const MASTER: &str = "sk-test-master";
const PATIENCE: Duration = Duration::from_secs(10);

/// A port nobody listens on now. Below the range that outgoing connections and `bind(0)` take theirs from: a port of
/// that range could be gone again before it is used.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 40) as u16 * 25;
    loop {
        let port = 21_000 + (start + TRIED.fetch_add(1, Ordering::Relaxed)) % 1000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A port where nobody ever listens.
pub(crate) const NOBODY: u16 = 1;

/// Waits until `check` is true, at most `limit`.
pub(crate) fn eventually(limit: Duration, what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

// ---------------------------------------------------------------- the edge

pub(crate) struct TestEdge {
    pub port: u16,
    pub edge: Arc<Edge>,
}

impl TestEdge {
    /// Waits until `/metrics` has this line: a request is counted when it is over, which a client may see a little earlier.
    pub(crate) fn counts(&self, line: &str) {
        let mut text = String::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            text = String::from_utf8(self.edge.services.metrics.render()).unwrap();
            if text.lines().any(|shown| shown == line) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("no {line} in {text}");
    }
}

/// An edge in this process, before `python` (a port), with the test routes native.
pub(crate) fn start_edge(python: Option<u16>, tune: impl FnOnce(&mut EdgeConfig)) -> TestEdge {
    start_edge_with(python, super::routes::TABLE, tune, |_| {})
}

pub(crate) fn start_edge_with(
    python: Option<u16>,
    routes: &'static [NativeRoute],
    tune: impl FnOnce(&mut EdgeConfig),
    configure: impl FnOnce(&mut Snapshot),
) -> TestEdge {
    let port = free_port();
    let mut config = EdgeConfig {
        listen: vec![format!("127.0.0.1:{port}")],
        python: python.map(|port| format!("http://127.0.0.1:{port}").parse().unwrap()),
        threads: 2,
        // this machine may be busy: what is tested is the rule, not the ten milliseconds
        stale_window: Duration::from_secs(2),
        ..EdgeConfig::default()
    };
    tune(&mut config);
    let edge = build_edge(config, routes, configure, Hooks::default());
    let running = edge.clone();
    thread::spawn(move || edge::run(running, Signals::Never));
    let mut probe = None;
    eventually(PATIENCE, "the edge accepts", || {
        probe = TcpStream::connect(("127.0.0.1", port)).ok();
        probe.is_some()
    });
    // counted now, or it would be counted while a test counts its own
    eventually(PATIENCE, "the connection is seen", || edge.drain.connections() > 0);
    drop(probe);
    if python.is_some_and(|port| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
        eventually(PATIENCE, "python is seen up", || edge.services.metrics.python_up.get() == 1);
    }
    TestEdge { port, edge }
}

/// An edge that is not running yet.
pub(crate) fn build_edge(
    config: EdgeConfig,
    routes: &'static [NativeRoute],
    configure: impl FnOnce(&mut Snapshot),
    hooks: Hooks,
) -> Arc<Edge> {
    let mut snapshot = Snapshot {
        aliases: Default::default(),
        digest: String::new(),
        master_key: Some(Secret::new(MASTER)),
        settings: Settings::default(),
        groups: HashMap::new(),
        group_order: Vec::new(),
        deployments: Vec::new(),
        declines: Vec::new(),
        other_names: false,
        database_url: None,
        coordination: Default::default(),
    };
    configure(&mut snapshot);
    let services = Services {
        upstream: upstream::Client::new(),
        metrics: Metrics::new().unwrap(),
        health: Arc::default(),
        control: litellm_rust::routes::Control::none(),
    };
    Edge::new(
        config,
        Arc::new(ArcSwap::from_pointee(snapshot)),
        Arc::new(services),
        Arc::new(AllNative::new(routes)),
        hooks,
    )
}

// ---------------------------------------------------------------- fake Python

/// One request as it came over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// the head's bytes with the empty line
    pub head: String,
    pub body: Vec<u8>,
    /// how many requests its connection had before
    pub nth: usize,
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// Header lines in order, name and value.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The edge's own questions: whether Python is there, and which version it is.
    pub(crate) fn is_probe(&self) -> bool {
        self.header("user-agent") == Some("litellm-rust")
    }
}

/// Called for each request (not for the prober's); true keeps the connection.
type Handler = dyn Fn(&Request, &mut TcpStream) -> bool + Send + Sync;

/// A server that shows what it was sent. It answers health probes by itself.
pub(crate) struct FakePython {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Request>>>,
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

impl FakePython {
    pub(crate) fn start(handler: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), true, handler)
    }

    /// `read_body`: the handler is called after the body was read; otherwise after the head.
    pub(crate) fn start_on(
        listener: TcpListener,
        read_body: bool,
        handler: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let log = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (handler, log) = (handler.clone(), log.clone());
                thread::spawn(move || serve(stream, read_body, &*handler, &log));
            }
        });
        Self { port, seen }
    }

    /// Answers everything with 200 and `body`.
    pub(crate) fn saying(body: &'static str) -> Self {
        Self::start(move |_, stream| stream.write_all(ok(body).as_bytes()).is_ok())
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Request {
        self.requests().last().expect("python saw a request").clone()
    }
}

fn serve(mut stream: TcpStream, read_body: bool, handler: &Handler, log: &Mutex<Vec<Request>>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut rest = Vec::new();
    for nth in 0.. {
        let Some(head) = read_head(&mut stream, &mut rest) else { return };
        let mut request = Request { head, nth, ..Request::default() };
        if request.is_probe() {
            let _ = stream.write_all(ok("\"I'm alive!\"").as_bytes());
            return;
        }
        if read_body {
            if request.header("expect").is_some() {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            }
            let framing = request.header("content-length").map(|length| length.parse().unwrap());
            let chunked = request.header("transfer-encoding").is_some();
            let Some(body) = read_framed(&mut stream, &mut rest, framing, chunked) else { return };
            request.body = body;
        } else {
            request.body = std::mem::take(&mut rest); // what came with the head
        }
        log.lock().unwrap().push(request.clone());
        if !handler(&request, &mut stream) {
            return;
        }
    }
}

// ---------------------------------------------------------------- raw HTTP/1.1

fn fill(stream: &mut TcpStream, rest: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 65536];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            rest.extend_from_slice(&buffer[..read]);
            true
        }
    }
}

fn read_head(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = rest.drain(..end + 4).collect();
            return Some(head.iter().map(|byte| char::from(*byte)).collect()); // latin-1: no byte is lost
        }
        if !fill(stream, rest) {
            return None;
        }
    }
}

fn read_framed(stream: &mut TcpStream, rest: &mut Vec<u8>, length: Option<usize>, chunked: bool) -> Option<Vec<u8>> {
    if !chunked {
        let length = length.unwrap_or(0);
        while rest.len() < length {
            if !fill(stream, rest) {
                return None;
            }
        }
        return Some(rest.drain(..length).collect());
    }
    let mut body = Vec::new();
    loop {
        let size_end = loop {
            if let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            if !fill(stream, rest) {
                return None;
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..size_end]).unwrap(), 16).unwrap();
        while rest.len() < size_end + 2 + size + 2 {
            if !fill(stream, rest) {
                return None;
            }
        }
        let chunk: Vec<u8> = rest.drain(..size_end + 2 + size + 2).collect();
        body.extend_from_slice(&chunk[size_end + 2..size_end + 2 + size]);
        if size == 0 {
            return Some(body);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A client connection.
pub(crate) struct Client {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Client {
    pub(crate) fn to(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next head.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let head = read_head(&mut self.stream, &mut self.rest)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head, body: Vec::new() })
    }

    /// A whole answer; `None` when the connection ends before it is complete.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        let chunked = answer.header("transfer-encoding").is_some();
        if !matches!(answer.status, 100..200 | 204 | 304) {
            answer.body = read_framed(&mut self.stream, &mut self.rest, length, chunked)?;
        }
        Some(answer)
    }

    /// The next chunk of a chunked answer, empty at its end; `None` when the connection ends.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(end) = self.rest.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            if !fill(&mut self.stream, &mut self.rest) {
                return None;
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.rest[..end]).unwrap(), 16).unwrap();
        while self.rest.len() < end + 2 + size + 2 {
            if !fill(&mut self.stream, &mut self.rest) {
                return None;
            }
        }
        let chunk: Vec<u8> = self.rest.drain(..end + 2 + size + 2).collect();
        Some(chunk[end + 2..end + 2 + size].to_vec())
    }

    /// Exactly that many bytes; `None` when the connection ends.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            if !fill(&mut self.stream, &mut self.rest) {
                return None;
            }
        }
        Some(self.rest.drain(..count).collect())
    }

    /// True when the other side closes without sending more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !fill(&mut self.stream, &mut self.rest)
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(port: u16, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::to(port);
    client.send(request);
    client.answer().expect("an answer")
}

pub(crate) fn get(port: u16, path: &str) -> Answer {
    ask(port, format!("GET {path} HTTP/1.1\r\nhost: edge\r\n\r\n"))
}

pub(crate) fn post(port: u16, path: &str, body: impl AsRef<[u8]>) -> Answer {
    ask(port, post_bytes(path, body))
}

/// A POST by the master key.
pub(crate) fn post_bytes(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {MASTER}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Bytes that are not all alike.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
