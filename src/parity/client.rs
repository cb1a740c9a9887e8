//! The client of the suite: sends a case's request byte for byte and keeps everything of the answer, in order.
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    case::{Conduct, Key, Request, base64},
    http1::{Body, Conn, End, Framing, Head, elapsed_ms},
    websocket::{self, CLIENT_KEY, Side},
};
use crate::secret::Secret;

/// The longest a gateway may take for one answer (config.yaml: `request_timeout: 10`).
const DEADLINE: Duration = Duration::from_secs(25);
/// The same for every side: a gateway may not depend on the address it was called by.
const HOST: &str = "gateway.parity";
/// Well-formed, known to no database.
pub const WRONG_KEY: &str = "sk-parity-wrong";

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// status line and headers as sent; empty where none came
    pub head: Head,
    /// 0 where no answer came
    pub status: u16,
    pub body: Body,
    /// what `body.chunks` and `head_ms` count from
    pub started: Instant,
    /// milliseconds to the end of the head
    pub head_ms: u64,
}

/// The key a request carries.
pub fn key_text(key: &Key, master_key: &Secret) -> Option<String> {
    match key {
        Key::None => None,
        Key::Master => Some(master_key.expose().to_owned()),
        Key::Wrong => Some(WRONG_KEY.to_owned()),
        Key::Raw(text) => Some(text.clone()),
        // `Selection::read` has seen that it is set
        Key::Env(name) => std::env::var(name).ok(),
    }
}

/// The request's bytes.
pub fn encode(request: &Request, master_key: &Secret) -> Vec<u8> {
    let body = match (&request.json, &request.body, &request.body_base64) {
        (Some(json), _, _) => Some(json.to_string().into_bytes()),
        (_, Some(text), _) => Some(text.clone().into_bytes()),
        (_, _, Some(text)) => Some(base64(text).unwrap_or_default()),
        _ => None,
    };
    let mut headers: Vec<(String, String)> = vec![("host".into(), HOST.into())];
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    add("accept", "*/*".into());
    add("user-agent", "parity/1".into());
    match (key_text(&request.key.0, master_key), &request.key_header) {
        (Some(key), Some(name)) => add(name, key),
        (Some(key), None) => add("authorization", format!("Bearer {key}")),
        (None, _) => {}
    }
    if request.json.is_some() {
        add("content-type", "application/json".into());
    }
    if let Some(body) = &body {
        add("content-length", body.len().to_string());
    }
    if request.websocket.is_some() {
        add("connection", "Upgrade".into());
        add("upgrade", "websocket".into());
        add("sec-websocket-version", "13".into());
        add("sec-websocket-key", CLIENT_KEY.into());
    }
    headers.retain(|(name, _)| !request.headers.keys().any(|given| given.eq_ignore_ascii_case(name)));
    for (name, values) in &request.headers {
        headers.extend(values.values().iter().map(|value| (name.clone(), value.clone())));
    }
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body.unwrap_or_default());
    out
}

impl Response {
    /// No answer at all.
    pub fn none(end: End) -> Self {
        let body = Body { bytes: Vec::new(), chunks: Vec::new(), end };
        Self { head: Head::default(), status: 0, body, started: Instant::now(), head_ms: 0 }
    }
}

/// A slow reader's socket takes little, so that the gateway has to wait for it.
async fn connect(address: SocketAddr, conduct: Option<Conduct>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(Conduct::ReadDelayMs(_)) = conduct {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(address).await
}

/// Sends it on a connection of its own. Only not being able to connect is an error: it is no behaviour to compare.
pub async fn send(address: SocketAddr, request: &Request, master_key: &Secret) -> io::Result<Response> {
    send_until(address, request, master_key, std::future::pending()).await
}

/// As [`send`]; `called`: the provider was called as often as this client wants to see before it leaves.
pub async fn send_until(
    address: SocketAddr,
    request: &Request,
    master_key: &Secret,
    called: impl Future<Output = ()>,
) -> io::Result<Response> {
    let started = Instant::now();
    let mut conn = Conn::new(connect(address, request.connection).await?);
    let mut response = Response { started, ..Response::none(End::Timeout) };
    // a gateway may answer and close before the whole request is written: what it said counts
    let _ = timeout(DEADLINE, conn.write(&encode(request, master_key))).await;
    if request.calls_before_leaving() > 0 {
        let _ = timeout(DEADLINE, called).await;
        response.body.end = End::Left;
        return Ok(response);
    }
    let head = loop {
        match timeout(DEADLINE, conn.read_head()).await {
            Err(_) => return Ok(response),
            Ok(Err(error)) => {
                let reset = error.kind() == io::ErrorKind::ConnectionReset;
                response.body.end = if reset { End::Reset } else { End::Cut };
                return Ok(response);
            }
            Ok(Ok(None)) => {
                response.body.end = End::Cut;
                return Ok(response);
            }
            Ok(Ok(Some(head))) => {
                response.status = head.line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
                if response.status != 100 {
                    break head;
                }
            }
        }
    };
    response.head_ms = elapsed_ms(started);
    let framing = Framing::of_response(&head, response.status, &request.method)?;
    response.head = head;
    match request.connection {
        Some(Conduct::LeaveAfterHead) => {
            response.body.end = End::Left;
            return Ok(response);
        }
        Some(Conduct::LeaveAfterEvents(events)) => conn.enough_events = Some(events),
        Some(Conduct::ReadDelayMs(ms)) => conn.read_delay = Some(Duration::from_millis(ms)),
        Some(Conduct::LeaveAfterCalls(_)) | None => {}
    }
    if let (Some(texts), 101) = (&request.websocket, response.status) {
        response.body.end = websocket::talk(&mut conn, Side::Client, texts, true, |heard| {
            response.body.bytes = heard;
        })
        .await;
        return Ok(response);
    }
    response.body = conn.read_body(framing, started, DEADLINE).await;
    Ok(response)
}
