//! A server that writes down every byte of every connection, and reads requests more strictly than any real one: what it
//! cannot read without a second thought is a finding. It plays Python or the provider.
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// One request, or one answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub line: Vec<u8>,
    /// name with its case, value without the white space around it
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    pub(crate) fn status(&self) -> u16 {
        String::from_utf8_lossy(&self.line).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// What is left behind the last whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// a message that has begun
    Begun(Vec<u8>),
    /// bytes that are no message
    Wrong(String),
}

/// How the body's end is found where the head does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    /// to a HEAD
    BodilessAnswer,
    Answer,
}

/// Reads all messages of a connection. Lines end with CRLF, there is one framing at most, chunks have no extensions.
pub(crate) fn messages(mut bytes: &[u8], kind: Kind) -> (Vec<Message>, Rest) {
    let mut all = Vec::new();
    loop {
        match message(bytes, kind) {
            Ok(Some((message, used))) => {
                all.push(message);
                bytes = &bytes[used..];
            }
            Ok(None) if bytes.is_empty() => return (all, Rest::Nothing),
            Ok(None) => return (all, Rest::Begun(bytes.to_vec())),
            Err(what) => return (all, Rest::Wrong(format!("{what}: {}", bytes.escape_ascii()))),
        }
    }
}

fn message(bytes: &[u8], kind: Kind) -> Result<Option<(Message, usize)>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.is_empty() || line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
        return Err("a line with CR, LF or NUL in it");
    }
    let mut message = Message { line: lines.remove(0).to_vec(), headers: Vec::new(), body: Vec::new() };
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a header line without a colon")?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| "a header name that is no text")?;
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte))
        {
            return Err("a header name that is no token");
        }
        message.headers.push((name.to_owned(), line[colon + 1..].trim_ascii().to_vec()));
    }
    let lengths: Vec<_> = message.all("content-length").collect();
    let codings: Vec<_> = message.all("transfer-encoding").collect();
    if lengths.len() + codings.len() > 1 || codings.iter().any(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err("more than one framing");
    }
    if kind == Kind::Request && message.all("host").count() > 1 {
        return Err("two hosts");
    }
    let mut used = end + 4;
    let status = message.status();
    let bodiless = kind == Kind::BodilessAnswer || (kind == Kind::Answer && matches!(status, 100..200 | 204 | 304));
    if bodiless {
        return Ok(Some((message, used)));
    }
    if let Some(length) = lengths.first() {
        let length: usize =
            std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).ok_or("a length that is no number")?;
        let Some(body) = bytes.get(used..used + length) else { return Ok(None) };
        message.body = body.to_vec();
        used += length;
    } else if codings.is_empty() {
        if kind == Kind::Answer {
            message.body = bytes[used..].to_vec(); // until the connection ends
            used = bytes.len();
        }
    } else {
        loop {
            let Some(line) = find(&bytes[used..], b"\r\n") else { return Ok(None) };
            let digits = &bytes[used..used + line];
            if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err("a chunk size that is no number");
            }
            let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            let data = used + line + 2;
            let Some(tail) = bytes.get(data + size..data + size + 2) else { return Ok(None) };
            if tail != b"\r\n" {
                return Err("a chunk, or the trailer, that does not end");
            }
            message.body.extend_from_slice(&bytes[data..data + size]);
            used = data + size + 2;
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some((message, used)))
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The item a message belongs to: `case-...` up to a point.
pub(crate) fn mark(message: &Message) -> Option<String> {
    let mut places: Vec<&[u8]> = message.all("x-case").collect();
    places.push(&message.body);
    places.into_iter().find_map(|place| {
        let start = find(place, b"case-")?;
        let end = find(&place[start..], b".")?;
        Some(String::from_utf8_lossy(&place[start..=start + end]).into_owned())
    })
}

/// What is said to a request with a mark, instead of the ordinary answer.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub bytes: Vec<u8>,
    /// said when the head is there, not when the body is
    pub early: bool,
    /// and then the connection ends
    pub close: bool,
}

type Connections = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;
type Scripts = Arc<Mutex<HashMap<String, Script>>>;

pub(crate) struct Recorder {
    pub port: u16,
    connections: Connections,
    scripts: Scripts,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// `answer`: the body of the answer to a request with that mark.
    pub(crate) fn start(answer: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, scripts) = (Connections::default(), Scripts::default());
        let (all, said) = (connections.clone(), scripts.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let bytes = Arc::<Mutex<Vec<u8>>>::default();
                locked(&all).push(bytes.clone());
                let said = said.clone();
                thread::spawn(move || serve(stream, &bytes, &said, answer));
            }
        });
        Self { port, connections, scripts }
    }

    pub(crate) fn script(&self, mark: &str, script: Script) {
        locked(&self.scripts).insert(mark.to_owned(), script);
    }

    /// Every connection's messages so far, without the edge's own questions.
    pub(crate) fn seen(&self) -> Vec<(Vec<Message>, Rest)> {
        let all: Vec<_> = locked(&self.connections).iter().map(|bytes| locked(bytes).clone()).collect();
        let mut seen: Vec<_> = all.iter().map(|bytes| messages(bytes, Kind::Request)).collect();
        for (messages, _) in &mut seen {
            messages.retain(|message| message.all("user-agent").next() != Some(b"litellm-rust"));
        }
        seen
    }
}

fn serve(
    mut stream: TcpStream,
    record: &Mutex<Vec<u8>>,
    scripts: &Mutex<HashMap<String, Script>>,
    answer: fn(&str) -> String,
) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answered = 0;
    // the message that is coming has its answer already
    let mut early_said = false;
    let mut buffer = [0; 65536];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
        locked(record).extend_from_slice(&buffer[..read]);
        let bytes = locked(record).clone();
        let (messages, rest) = messages(&bytes, Kind::Request);
        for message in &messages[answered.min(messages.len())..] {
            answered += 1;
            if std::mem::take(&mut early_said) {
                continue;
            }
            let mark = mark(message).unwrap_or_default();
            if let Some(script) = locked(scripts).get(&mark) {
                if !script.early {
                    let _ = stream.write_all(&script.bytes);
                }
                if script.close {
                    return;
                }
                continue;
            }
            let body = answer(&mark);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            let whole = if message.line.starts_with(b"HEAD ") { head } else { head + &body };
            if stream.write_all(whole.as_bytes()).is_err() {
                return;
            }
        }
        let begun = match &rest {
            Rest::Begun(begun) => begun.clone(),
            _ => continue,
        };
        let Some(end) = find(&begun, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&begun[..end]).into_owned();
        let mark = head.find("case-").and_then(|at| Some(&head[at..=at + head[at..].find('.')?]));
        let early = mark
            .filter(|_| !early_said)
            .and_then(|mark| locked(scripts).get(mark).filter(|script| script.early).cloned());
        if let Some(script) = early {
            let _ = stream.write_all(&script.bytes);
            early_said = true;
            continue;
        }
        if head.to_ascii_lowercase().contains("\r\nexpect: 100-continue") && begun.len() == end + 4 {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}
