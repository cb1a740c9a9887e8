//! Sends a request to Python whose body the edge has already (partly) read: a native candidate that was declined.
//!
//! The one mechanism for it, whatever the framing, size and HTTP version: a connection of its own (so never a stale one
//! and never a second try), spoken by the same HTTP/1 code as the pass-through, so that header names keep their case
//! and raw bytes stay raw. Differs from the pass-through in that `Expect` is dropped (the edge has said 100 already).
//! It must never be entered once an execution has begun.
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, StatusCode, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        http::{HttpTask, v1::client::HttpSession},
        l4::stream::Stream,
    },
    proxy::Session,
};

use super::{
    ctx::Ctx,
    native::Watch,
    passthrough::{EDGE_HEADER, adapt_request, sound},
    state::Edge,
    tunnel::{Opened, open},
};
use crate::capture::Tap;

use crate::faults;

/// A body is handed on in pieces of this size, so that an early answer is noticed in between.
const PIECE: usize = 64 << 10;

/// What is to be sent.
pub(super) enum Body {
    /// all of it was read
    Whole(Bytes),
    /// the first part was read, the client goes on sending
    Rest(Bytes),
}

/// Sends the request and streams the answer back. An error before the answer's head is the caller's to answer.
pub(super) async fn run(edge: &Edge, session: &mut Session, ctx: &mut Ctx, body: Body) -> pingora::Result<()> {
    let to = edge.python.as_ref().and_then(super::python::PythonTarget::resolved);
    let Some(to) = to else { return Err(Error::explain(ErrorType::ConnectRefused, "python has no address").into_up()) };
    let request = request(edge, session)?;
    let stream = match open(&to, edge.config.python_connect_timeout).await.map_err(|error| error.into_up())? {
        Opened::Tcp(stream) => Stream::from(stream),
        Opened::Unix(stream) => Stream::from(stream),
    };
    let mut python = HttpSession::new(Box::new(stream));
    python.read_timeout = Some(edge.config.python_timeout);
    python.write_timeout = Some(edge.config.python_timeout);
    python.write_request_header(Box::new(request)).await.map_err(|error| error.into_up())?;

    let mut source = Source::new(body);
    let mut watch = Watch::default();
    let mut answered = false;
    loop {
        tokio::select! {
            task = python.read_response_task() => {
                let task = task.map_err(|error| error.into_up())?;
                let (task, end) = answer(session, task)?;
                if let Some(task) = task {
                    if !answered {
                        ctx.record.first_byte = Some(Instant::now());
                    }
                    answered = true;
                    copy(ctx.tap.as_ref(), &task);
                    session.write_response_tasks(vec![task]).await.map_err(|error| error.into_down())?;
                }
                if end {
                    if !source.sent {
                        session.set_keepalive(None); // the rest of the body was never read
                    }
                    return Ok(());
                }
            }
            heard = hear(session, &mut source, &mut watch) => {
                let written = match heard? {
                    Some(piece) => python.write_body(&piece).await,
                    None => {
                        source.sent = true;
                        python.finish_body().await
                    }
                };
                // Python may refuse early and close: its answer is waiting to be read
                if let Err(error) = written {
                    tracing::debug!(%error, answered, "python stopped reading a request");
                    source.sent = true;
                }
            }
        }
    }
}

fn copy(tap: Option<&Tap>, task: &HttpTask) {
    match (tap, task) {
        (Some(tap), HttpTask::Header(head, _)) => tap.python_head(head.status, &head.headers),
        (Some(tap), HttpTask::Body(Some(piece), _)) => tap.answer(piece),
        _ => {}
    }
}

/// The client's side: the next piece of the body, and after its end the client's leaving as an error. Cancel-safe.
async fn hear(session: &mut Session, source: &mut Source, watch: &mut Watch) -> pingora::Result<Option<Bytes>> {
    if source.sent {
        return Err(watch.left(session).await);
    }
    source.next(session).await.map_err(|error| error.into_down())
}

/// The head for Python: Pingora's default policy for the way there, done by hand (it is not open to callers).
fn request(edge: &Edge, session: &Session) -> pingora::Result<RequestHeader> {
    let original = session.req_header();
    let mut request = original.clone();
    request.set_version(Version::HTTP_11);
    if original.version == Version::HTTP_2
        && let Some(authority) = original.uri.authority().map(http::uri::Authority::as_str)
        && request.headers.get(header::HOST).is_none_or(|host| host.as_bytes() != authority.as_bytes())
    {
        request.insert_header(header::HOST, authority.to_owned())?;
    }
    let nominated: Vec<HeaderName> = request
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect();
    for name in nominated {
        if matches!(name.as_str(), "host" | FOR | HOST | PROTO) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "Connection names a protected header").into_down());
        }
        request.remove_header(&name);
    }
    for name in HOP_BY_HOP {
        request.remove_header(name);
    }
    if !request.headers.contains_key(header::CONTENT_LENGTH) {
        request.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    adapt_request(edge, session, &mut request)?;
    Ok(request)
}

const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
];

/// One piece of the answer as the pass-through would hand it on, and whether it was the last.
fn answer(session: &Session, task: HttpTask) -> pingora::Result<(Option<HttpTask>, bool)> {
    Ok(match task {
        HttpTask::Header(head, _)
            if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS =>
        {
            (None, false)
        }
        HttpTask::Header(mut head, end) => {
            sound(&head, false)?; // a WebSocket's handshake is never replayed
            mark(session, &mut head, end)?;
            (Some(HttpTask::Header(head, end)), end)
        }
        HttpTask::Failed(error) => return Err(error.into_up()),
        task => {
            let end = task.is_end();
            (Some(task), end)
        }
    })
}

fn mark(session: &Session, head: &mut ResponseHeader, end: bool) -> pingora::Result<()> {
    let bodiless = session.req_header().method == http::Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    let framed =
        head.headers.contains_key(header::TRANSFER_ENCODING) || head.headers.contains_key(header::CONTENT_LENGTH);
    if !bodiless && !framed && !end {
        head.set_version(Version::HTTP_11);
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    head.insert_header(EDGE_HEADER, "python")
}

/// The body in order: what was read, then what still comes.
struct Source {
    read: Bytes,
    more: bool,
    sent: bool,
}

impl Source {
    fn new(body: Body) -> Self {
        match body {
            Body::Whole(read) => Self { read: faults::replayed(read), more: false, sent: false },
            Body::Rest(read) => Self { read, more: true, sent: false },
        }
    }

    /// Cancel-safe: a piece is taken off only when it is returned.
    async fn next(&mut self, session: &mut Session) -> pingora::Result<Option<Bytes>> {
        if !self.read.is_empty() {
            let size = self.read.len().min(PIECE);
            return Ok(Some(self.read.split_to(size)));
        }
        if !self.more {
            return Ok(None);
        }
        loop {
            match session.downstream_session.read_request_body().await? {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => return Ok(Some(piece)),
                None => {
                    self.more = false;
                    return Ok(None);
                }
            }
        }
    }
}
