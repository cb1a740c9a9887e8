//! HTTP/1.1 as bytes on a socket: heads with the exact order and case of their headers, bodies with their framing.
//! A polite library would hide what the suite has to see, and cannot make what it has to provoke.
use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bounds: both ends are ours or gateways under test, neither may eat the runner.
const MAX_HEAD: usize = 256 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;
/// What a slow reader takes at once.
const SLOW_PIECE: usize = 4096;

/// A start line and headers as sent. Bytes above 127 are kept as Latin-1.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// All values of a header, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        for header in lines.filter(|line| !line.is_empty()) {
            let (name, value) = header.split_once(':').ok_or_else(|| invalid("a header line without a colon"))?;
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { line, headers })
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// How the length of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    /// until the connection closes
    Close,
}

impl Framing {
    /// The framing a request's headers declare.
    pub fn of_request(head: &Head) -> io::Result<Self> {
        Ok(Self::declared(head)?.unwrap_or(Framing::None))
    }

    /// The framing a response's headers declare.
    pub fn of_response(head: &Head, status: u16, method: &str) -> io::Result<Self> {
        if method == "HEAD" || status == 204 || status == 304 || (100..200).contains(&status) {
            return Ok(Framing::None);
        }
        Ok(Self::declared(head)?.unwrap_or(Framing::Close))
    }

    fn declared(head: &Head) -> io::Result<Option<Self>> {
        if head.all("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Ok(Some(Framing::Chunked));
        }
        match head.get("content-length") {
            None => Ok(None),
            Some(text) => Ok(Some(Framing::Length(text.parse().map_err(|_| invalid("content-length"))?))),
        }
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    /// FIN before the framing was complete
    Cut,
    /// RST
    Reset,
    /// nothing came for too long
    Timeout,
    /// this side had enough and closed
    Left,
}

impl End {
    pub fn as_str(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::Cut => "cut",
            End::Reset => "reset",
            End::Timeout => "timeout",
            End::Left => "left",
        }
    }
}

/// A body as it came.
#[derive(Debug, Clone)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// milliseconds since the given start and length, per chunk (chunked) or per read
    pub chunks: Vec<(u64, usize)>,
    pub end: End,
}

/// A connection with its read buffer.
pub struct Conn {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    /// waits so long before each read, and reads little: a slow reader
    pub read_delay: Option<Duration>,
    /// reading a body ends after so many events of it
    pub enough_events: Option<usize>,
}

impl Conn {
    pub fn new(stream: TcpStream) -> Self {
        // small writes must leave at once: timing is part of what is tested
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new(), read_delay: None, enough_events: None }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// `false`: the peer closed.
    async fn fill(&mut self) -> io::Result<bool> {
        if let Some(delay) = self.read_delay {
            tokio::time::sleep(delay).await;
            let mut piece = [0; SLOW_PIECE];
            let read = self.stream.read(&mut piece).await?;
            self.buffer.extend_from_slice(piece.get(..read).unwrap_or_default());
            return Ok(read > 0);
        }
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(n.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// So many bytes, or an error.
    pub async fn read_bytes(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            if n > MAX_BODY || !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(n))
    }

    /// The next head. `None`: the peer closed before its first byte.
    pub async fn read_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.take(at + 4);
                return Head::parse(head.strip_suffix(b"\r\n\r\n").unwrap_or(&head)).map(Some);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("the head is too long"));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The body, whatever way it ends; what came until then is kept.
    pub async fn read_body(&mut self, framing: Framing, started: Instant, deadline: Duration) -> Body {
        let mut body = Body { bytes: Vec::new(), chunks: Vec::new(), end: End::Complete };
        let read = async {
            match framing {
                Framing::None => Ok(true),
                Framing::Length(n) => self.read_exact(n, &mut body, started, true).await,
                Framing::Chunked => self.read_chunks(&mut body, started).await,
                Framing::Close => self.read_exact(usize::MAX, &mut body, started, true).await.map(|_| true),
            }
        };
        let result = tokio::time::timeout(deadline, read).await;
        body.end = match result {
            _ if self.has_enough(&body) => {
                let last = self.enough_events.unwrap_or(1).saturating_sub(1);
                let end = event_ends(&body.bytes).nth(last);
                body.bytes.truncate(end.unwrap_or_default());
                End::Left
            }
            Ok(Ok(true)) => End::Complete,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
            Ok(Ok(false) | Err(_)) => End::Cut,
            Err(_) => End::Timeout,
        };
        body
    }

    /// `false`: the peer closed before `n` bytes had come.
    async fn read_exact(&mut self, n: usize, body: &mut Body, started: Instant, count: bool) -> io::Result<bool> {
        let mut left = n;
        while left > 0 {
            if self.buffer.is_empty() && !self.fill().await? {
                return Ok(false);
            }
            let part = self.take(left);
            left -= part.len();
            if count {
                body.chunks.push((elapsed_ms(started), part.len()));
            }
            body.bytes.extend_from_slice(&part);
            if body.bytes.len() > MAX_BODY {
                return Err(invalid("the body is too long"));
            }
            if self.has_enough(body) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read_chunks(&mut self, body: &mut Body, started: Instant) -> io::Result<bool> {
        loop {
            let Some(line) = self.read_line().await? else { return Ok(false) };
            let size = line.split(';').next().unwrap_or_default().trim().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| invalid("chunk size"))?;
            if size == 0 {
                // trailers up to the empty line
                loop {
                    match self.read_line().await? {
                        None => return Ok(false),
                        Some(line) if line.is_empty() => return Ok(true),
                        Some(_) => {}
                    }
                }
            }
            let before = body.bytes.len();
            let complete = self.read_exact(size, body, started, false).await?;
            body.chunks.push((elapsed_ms(started), body.bytes.len() - before));
            if !complete || self.read_line().await?.is_none() {
                return Ok(false);
            }
        }
    }

    fn has_enough(&self, body: &Body) -> bool {
        self.enough_events.is_some_and(|enough| event_ends(&body.bytes).count() >= enough)
    }

    async fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.take(at + 2);
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("a line is too long"));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits until the peer closes or resets; what it still sends is thrown away.
    pub async fn closed(&mut self) {
        loop {
            self.buffer.clear();
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }
}

/// Where the events of a stream end.
pub fn event_ends(body: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(body, b"\n\n").map(|at| at + 2)
}

/// Whole milliseconds since `started`.
pub fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
