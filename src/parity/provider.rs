//! The scripted provider: answers each call with the next scripted answer, with raw control of the framing, and keeps
//! every call as it came. One for the whole run: phases are strictly sequential, so a call belongs to the running case.
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use super::{
    case::{Answer, Then, base64},
    http1::{Conn, End, Framing, Head, elapsed_ms},
    websocket::{self, Side},
};

/// A caller must have sent its body within this time.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

/// One request to the provider as it came.
#[derive(Debug, Clone)]
pub struct ProviderCall {
    pub head: Head,
    pub body: Vec<u8>,
    /// the body came whole
    pub complete: bool,
    /// milliseconds since the case was scripted
    pub at_ms: u64,
    /// there was an answer scripted for it
    pub expected: bool,
    /// when each frame of its `sse` was sent
    pub frames: Vec<Instant>,
    /// how it went on: `Some(true)` the caller closed before all of the answer was sent; `None` it still goes on
    pub left: Option<bool>,
}

struct State {
    answers: VecDeque<Answer>,
    calls: Vec<ProviderCall>,
    since: Instant,
    /// counts cases: what a call of an earlier one does is nobody's business any more
    case: u64,
}

/// Where one call is noted.
#[derive(Clone, Copy)]
struct Note<'a> {
    shared: &'a Shared,
    case: u64,
    index: usize,
}

impl Note<'_> {
    fn put(&self, change: impl FnOnce(&mut ProviderCall)) {
        let mut state = self.shared.state();
        if state.case == self.case
            && let Some(call) = state.calls.get_mut(self.index)
        {
            change(call);
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// counts cases: a hanging connection of an earlier case lets go
    epoch: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running provider; dropping it stops it.
pub struct Provider {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Provider {
    /// Listens on 127.0.0.1; port 0 takes a free one.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let state = State { answers: VecDeque::new(), calls: Vec::new(), since: Instant::now(), case: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), epoch: watch::Sender::new(0) });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let shared = shared.clone();
                            tokio::spawn(async move { serve(Conn::new(stream), &shared).await });
                        }
                        Err(_) => sleep(Duration::from_millis(10)).await,
                    }
                }
            }
        });
        Ok(Self { address, shared, accepting })
    }

    /// Scripts the next case and lets go of what hangs from the one before.
    pub fn script(&self, answers: &[Answer]) {
        let mut state = self.shared.state();
        state.answers = answers.iter().cloned().collect();
        state.calls.clear();
        state.since = Instant::now();
        state.case += 1;
        drop(state);
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Resolves once there were so many.
    pub async fn called(&self, times: usize) {
        while self.shared.state().calls.len() < times {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The calls since [`Provider::script`].
    pub fn calls(&self) -> Vec<ProviderCall> {
        self.shared.state().calls.clone()
    }
}

async fn serve(mut conn: Conn, shared: &Shared) {
    loop {
        let Ok(Some(head)) = conn.read_head().await else { return };
        let Ok(framing) = Framing::of_request(&head) else { return };
        let at = shared.state().since;
        let at_ms = elapsed_ms(at);
        if head.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
            && conn.write(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()
        {
            return;
        }
        let body = conn.read_body(framing, at, BODY_DEADLINE).await;
        let complete = body.end == End::Complete;
        if is_poll(&head) {
            if !give(&mut conn, &unexpected(), shared.epoch.subscribe(), None).await {
                return;
            }
            continue;
        }
        let epoch = shared.epoch.subscribe();
        let accept = websocket::accept(&head);
        let (answer, note) = {
            let mut state = shared.state();
            let answer = state.answers.pop_front();
            let expected = answer.is_some();
            let (body, frames) = (body.bytes, Vec::new());
            state.calls.push(ProviderCall { head, body, complete, at_ms, expected, frames, left: None });
            (answer, Note { shared, case: state.case, index: state.calls.len() - 1 })
        };
        let answer = answer.unwrap_or_else(unexpected);
        if let (Some(texts), Some(accept)) = (&answer.websocket, accept) {
            return converse(&mut conn, &accept, texts, answer.then, note).await;
        }
        if !complete || !give(&mut conn, &answer, epoch, Some(note)).await {
            return;
        }
    }
}

/// LiteLLM asks every OpenAI-compatible deployment for its models, every 300 s and by itself (litellm
/// llms/openai_like/model_info.py): no case's doing, so it neither takes an answer nor counts as a call.
fn is_poll(head: &Head) -> bool {
    let path = head.line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    path.is_some_and(|path| path.ends_with("/models"))
        && head.get("user-agent").is_some_and(|agent| agent.starts_with("litellm/"))
}

/// What a call gets that no answer was scripted for.
fn unexpected() -> Answer {
    let error = serde_json::json!({"message": "no answer is scripted for this call", "type": "parity"});
    Answer { status: Some(500), json: Some(serde_json::json!({ "error": error })), ..Answer::default() }
}

/// Gives one answer. `true`: the connection may be used again.
async fn give(conn: &mut Conn, answer: &Answer, mut epoch: watch::Receiver<u64>, note: Option<Note<'_>>) -> bool {
    let over = |left: bool| {
        if let Some(note) = &note {
            note.put(|call| call.left = Some(left));
        }
    };
    let given = async {
        pause(conn, answer.delay_ms).await?;
        if answer.is_silent() { Ok(()) } else { write_answer(conn, answer, note).await }
    };
    if given.await.is_err() {
        over(true);
        return false;
    }
    match answer.then {
        Then::End => {}
        Then::Cut | Then::Refuse => {}
        Then::Reset => {
            let _ = conn.stream.set_zero_linger();
        }
        Then::Stall | Then::Hang => {
            tokio::select! {
                () = conn.closed() => over(true),
                _ = epoch.changed() => over(false),
            }
            return false;
        }
    }
    over(false);
    answer.then == Then::End
}

/// Accepts the WebSocket and says its texts; what is heard becomes the call's body.
async fn converse(conn: &mut Conn, accept: &str, texts: &[String], then: Then, note: Note<'_>) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    let heard = |heard| note.put(|call| call.body = heard);
    if conn.write(head.as_bytes()).await.is_ok() {
        websocket::talk(conn, Side::Provider, texts, then == Then::End, heard).await;
    }
    if then == Then::Reset {
        let _ = conn.stream.set_zero_linger();
    }
}

/// Waits. An error: the caller closed meanwhile.
async fn pause(conn: &mut Conn, ms: u64) -> io::Result<()> {
    if ms == 0 {
        return Ok(());
    }
    tokio::select! {
        () = sleep(Duration::from_millis(ms)) => Ok(()),
        () = conn.closed() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn write_answer(conn: &mut Conn, answer: &Answer, note: Option<Note<'_>>) -> io::Result<()> {
    let body = match (&answer.json, &answer.body, &answer.body_base64) {
        (Some(json), _, _) => json.to_string().into_bytes(),
        (_, Some(text), _) => text.clone().into_bytes(),
        (_, _, Some(text)) => base64(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    let given = |name: &str| answer.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
    let status = answer.status.unwrap_or(200);
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Status");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, values) in &answer.headers {
        for value in values.values() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let kind = match answer {
        Answer { sse: Some(_), .. } => Some("text/event-stream"),
        Answer { json: Some(_), .. } => Some("application/json"),
        _ => None,
    };
    if let Some(kind) = kind.filter(|_| !given("content-type")) {
        head.push_str(&format!("content-type: {kind}\r\n"));
    }
    let chunked = answer.chunked || answer.sse.is_some();
    let empty = status == 204 || status == 304;
    if chunked {
        head.push_str("transfer-encoding: chunked\r\n\r\n");
    } else if !empty && !given("content-length") {
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    } else {
        head.push_str("\r\n");
    }
    let whole = matches!(answer.then, Then::End);
    if let Some(frames) = &answer.sse {
        conn.write(head.as_bytes()).await?;
        for frame in frames {
            if let Some(note) = &note {
                note.put(|call| call.frames.push(Instant::now()));
            }
            write_chunk(conn, format!("{frame}\n\n").as_bytes()).await?;
            pause(conn, answer.frame_delay_ms).await?;
        }
    } else {
        // half of a body that will not be finished, so that the caller has something in its hands
        let part = body.get(..if whole { body.len() } else { body.len() / 2 }).unwrap_or_default();
        if chunked {
            conn.write(head.as_bytes()).await?;
            if !part.is_empty() {
                write_chunk(conn, part).await?;
            }
        } else {
            conn.write(&[head.as_bytes(), part].concat()).await?;
        }
    }
    if chunked && whole {
        conn.write(b"0\r\n\r\n").await?;
    }
    Ok(())
}

async fn write_chunk(conn: &mut Conn, data: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    conn.write(&chunk).await
}

/// A port that is taken but refuses connections, for as long as this lives.
pub struct DeadPort {
    pub address: SocketAddr,
    _socket: tokio::net::TcpSocket,
}

impl DeadPort {
    /// Binds without listening; port 0 takes a free one.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }
}

/// Whether something accepts connections there.
pub async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
