//! HTTP/2 spoken frame by frame (h2c): what the RFCs forbid is answered as they say (the sections of h2spec's generic,
//! http2 and hpack groups, with its rule that a stream's error may end the connection), and a request that HTTP/1.1
//! could not carry reaches nobody. Floods are in [`crate::h2floods`].
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::{
    corpus::{Stage, said},
    recorder::{Rest, mark},
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIO: u8 = 0x20;

// error codes
const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// A frame with whatever length, type and stream.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HPACK: literals without indexing and without Huffman code.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend(text.chars().map(|byte| byte as u8)); // latin-1
        }
    }
    bytes
}

/// An HPACK integer with a prefix of 7 bits.
pub(crate) fn integer(bytes: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    let mut left = value - 127;
    while left >= 128 {
        bytes.push((left % 128) as u8 | 128);
        left /= 128;
    }
    bytes.push(left as u8);
}

pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A connection whose preface and settings have been sent.
pub(crate) struct Raw {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Raw {
    pub(crate) fn open(port: u16, settings: &[u8]) -> Self {
        let mut raw = Self::silent(port);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        raw
    }

    pub(crate) fn silent(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    /// False when the other side has closed, or takes nothing any more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `Err(true)`: closed, `Err(false)`: nothing within the limit.
    pub(crate) fn next(&mut self, limit: Duration) -> Result<Frame, bool> {
        let until = Instant::now() + limit;
        loop {
            if let Some(head) = self.rest.get(..9) {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if self.rest.len() >= 9 + length {
                    let bytes: Vec<u8> = self.rest.drain(..9 + length).collect();
                    let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
                    return Ok(Frame { kind: bytes[3], flags: bytes[4], stream, payload: bytes[9..].to_vec() });
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(false);
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16384];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(true),
                Ok(read) => self.rest.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Err(false);
                }
                Err(_) => return Err(true),
            }
        }
    }
}

/// What the edge must do.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// the connection's end, with one of these codes where it says one
    Connection(&'static [u32]),
    /// the stream's: RST_STREAM, GOAWAY with one of these codes, a 4xx, or the connection's end
    Stream(&'static [u32]),
    /// a 200 on stream 1
    Answer,
    /// the acknowledgement of a PING
    Pong,
}
use Want::{Answer, Connection, Pong, Stream};

struct Case {
    name: String,
    want: Want,
    bytes: Vec<u8>,
    mark: String,
}

/// Gathers the cases; each has its mark in `x-case`.
#[derive(Default)]
struct Book(Vec<Case>);

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn good(mark: &str) -> Fields<'_> {
    vec![(":method", "POST"), (":scheme", "http"), (":path", "/key/generate"), (":authority", "edge"), ("x-case", mark)]
}

impl Book {
    fn add(&mut self, name: &str, want: Want, make: impl Fn(&str) -> Vec<u8>) {
        let mark = format!("case-{}-{}.", self.0.len(), name.replace([' ', '.'], "_"));
        let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let bytes = [start, make(&mark)].concat();
        self.0.push(Case { name: name.to_owned(), want, bytes, mark });
    }

    /// Frames on a fresh connection.
    fn bare(&mut self, name: &str, want: Want, frames: &[Vec<u8>]) {
        let bytes = frames.concat();
        self.add(name, want, |_| bytes.clone());
    }

    /// A request on stream 1 whose fields were changed.
    fn fields(&mut self, name: &str, want: Want, change: impl Fn(&mut Fields<'_>)) {
        self.add(name, want, |mark| {
            let mut fields = good(mark);
            change(&mut fields);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
        });
    }

    /// A good head on stream 1, still open, and then these frames.
    fn opened(&mut self, name: &str, want: Want, then: &[Vec<u8>]) {
        let then = then.concat();
        self.add(name, want, |mark| [frame(HEADERS, END_HEADERS, 1, &block(&good(mark))), then.clone()].concat());
    }

    /// A whole request on stream 1, and then these frames.
    fn ended(&mut self, name: &str, want: Want, then: &[Vec<u8>]) {
        let then = then.concat();
        self.add(name, want, |mark| {
            [frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&good(mark))), then.clone()].concat()
        });
    }
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"hostile!")
}

fn generic(book: &mut Book) {
    book.ended("3.5 preface", Answer, &[]);
    book.add("generic 4 POST with DATA", Answer, |mark| {
        let head = frame(HEADERS, END_HEADERS, 1, &block(&good(mark)));
        [head, frame(DATA, 0, 1, b"{}"), frame(DATA, END_STREAM, 1, b"")].concat()
    });
    book.add("generic 4 POST with trailers", Answer, |mark| {
        let head = frame(HEADERS, END_HEADERS, 1, &block(&good(mark)));
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-trailer", "1")]));
        [head, frame(DATA, 0, 1, b"{}"), trailers].concat()
    });
    book.opened("generic 3.1 padded DATA", Answer, &[frame(DATA, PADDED | END_STREAM, 1, b"\x03{}\0\0\0")]);
    book.add("generic 3.2 padded HEADERS with priority", Answer, |mark| {
        let payload = [&[2, 0, 0, 0, 0, 9][..], &block(&good(mark)), &[0, 0]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIO, 1, &payload)
    });
    book.bare("generic 3.3 PRIORITY on an idle stream", Pong, &[frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), ping()]);
    book.bare("generic 3.5 SETTINGS", Pong, &[frame(SETTINGS, 0, 0, &setting(3, 100)), ping()]);
    book.bare("generic 3.8 GOAWAY", Connection(&[0]), &[frame(GOAWAY, 0, 0, &[0; 8])]);
    book.bare("4.1 unknown type", Pong, &[frame(0xfa, 0, 0, b"12345678"), ping()]);
    book.bare("4.1 unknown flags", Pong, &[frame(PING, 0xfe, 0, b"hostile!")]);
    book.bare("4.1 reserved bit", Pong, &[frame(PING, 0, 0x8000_0000, b"hostile!")]);
    book.opened("4.2 DATA of 16384", Answer, &[frame(DATA, END_STREAM, 1, &[b'x'; 16384])]);
    book.opened("4.2 DATA over 16384", Connection(&[SIZE]), &[frame(DATA, END_STREAM, 1, &[b'x'; 16385])]);
    book.add("4.2 HEADERS over 16384", Connection(&[SIZE]), |mark| {
        let mut fields = good(mark);
        let long = "x".repeat(16500);
        fields.push(("x", &long));
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
    });
    book.bare("4.3 broken header block", Connection(&[COMPRESSION]), &[frame(HEADERS, 5, 1, &[0x40, 0xff])]);
    book.add("4.3 PRIORITY within a header block", Connection(&[PROTOCOL]), |mark| {
        [frame(HEADERS, END_STREAM, 1, &block(&good(mark))), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])].concat()
    });
    book.add("4.3 another HEADERS within a header block", Connection(&[PROTOCOL]), |mark| {
        let block = block(&good(mark));
        [frame(HEADERS, END_STREAM, 1, &block), frame(HEADERS, END_STREAM | END_HEADERS, 3, &block)].concat()
    });
}

fn states(book: &mut Book) {
    let on_idle = [
        ("DATA", frame(DATA, END_STREAM, 1, b"x")),
        ("RST_STREAM", frame(RST, 0, 1, &[0, 0, 0, 8])),
        ("WINDOW_UPDATE", frame(WINDOW, 0, 1, &[0, 0, 0, 1])),
        ("CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, &[0x82])),
    ];
    for (name, bytes) in on_idle {
        book.bare(&format!("5.1 idle: {name}"), Connection(&[PROTOCOL]), &[bytes]);
    }
    let more = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x", "y")]));
    let data = frame(DATA, END_STREAM, 1, b"x");
    let reset = frame(RST, 0, 1, &[0, 0, 0, 8]);
    book.ended("5.1 half closed: DATA", Stream(&[CLOSED, PROTOCOL]), std::slice::from_ref(&data));
    book.ended("5.1 half closed: HEADERS", Stream(&[CLOSED, PROTOCOL]), std::slice::from_ref(&more));
    book.ended(
        "5.1 half closed: CONTINUATION",
        Connection(&[PROTOCOL]),
        &[frame(CONTINUATION, END_HEADERS, 1, &[0x82])],
    );
    book.opened("5.1 closed by reset: DATA", Stream(&[CLOSED]), &[reset.clone(), data]);
    book.opened("5.1 closed by reset: HEADERS", Stream(&[CLOSED, PROTOCOL]), &[reset.clone(), more]);
    book.opened(
        "5.1 closed by reset: CONTINUATION",
        Connection(&[PROTOCOL]),
        &[reset, frame(CONTINUATION, END_HEADERS, 1, &[0x82])],
    );
    book.add("5.1.1 even stream", Connection(&[PROTOCOL]), |mark| frame(HEADERS, 5, 2, &block(&good(mark))));
    book.add("5.1.1 smaller stream", Connection(&[PROTOCOL, CLOSED]), |mark| {
        let hidden = mark.replace("case", "hidden");
        [frame(HEADERS, 5, 5, &block(&good(&hidden))), frame(HEADERS, 5, 3, &block(&good(mark)))].concat()
    });
    book.add("5.1.2 more streams than allowed", Stream(&[REFUSED, PROTOCOL]), |mark| {
        let open: Vec<_> = (0..102).map(|at| frame(HEADERS, END_HEADERS, 2 * at + 3, &block(&good(mark)))).collect();
        open.concat()
    });
    book.add("5.3.1 HEADERS that depends on itself", Stream(&[PROTOCOL]), |mark| {
        let payload = [&[0, 0, 0, 1, 9][..], &block(&good(mark))].concat();
        frame(HEADERS, END_HEADERS | END_STREAM | PRIO, 1, &payload)
    });
    book.bare("5.3.1 PRIORITY that depends on itself", Stream(&[PROTOCOL]), &[frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 9])]);
    book.bare(
        "5.5 unknown frame within a header block",
        Connection(&[PROTOCOL]),
        &[frame(HEADERS, END_STREAM, 1, &[0x82]), frame(0xfa, 0, 1, b"12345678")],
    );
}

fn frames(book: &mut Book) {
    let stream_zero = [
        ("6.1 DATA", frame(DATA, END_STREAM, 0, b"x")),
        ("6.2 HEADERS", frame(HEADERS, 5, 0, &[0x82])),
        ("6.3 PRIORITY", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9])),
        ("6.4 RST_STREAM", frame(RST, 0, 0, &[0, 0, 0, 8])),
        ("6.10 CONTINUATION", [frame(HEADERS, END_STREAM, 1, &[0x82]), frame(CONTINUATION, 4, 0, &[0x86])].concat()),
    ];
    for (name, bytes) in stream_zero {
        book.bare(&format!("{name} on stream 0"), Connection(&[PROTOCOL]), &[bytes]);
    }
    let not_on_a_stream = [
        ("6.5 SETTINGS", frame(SETTINGS, 0, 1, &[])),
        ("6.7 PING", frame(PING, 0, 1, b"hostile!")),
        ("6.8 GOAWAY", frame(GOAWAY, 0, 1, &[0; 8])),
    ];
    for (name, bytes) in not_on_a_stream {
        book.bare(&format!("{name} on a stream"), Connection(&[PROTOCOL]), &[bytes]);
    }
    let sizes = [
        ("6.4 RST_STREAM", frame(RST, 0, 1, &[0; 3])),
        ("6.5 SETTINGS", frame(SETTINGS, 0, 0, &[0; 5])),
        ("6.5 SETTINGS ack with a payload", frame(SETTINGS, ACK, 0, &setting(3, 1))),
        ("6.7 PING", frame(PING, 0, 0, &[0; 6])),
        ("6.9 WINDOW_UPDATE", frame(WINDOW, 0, 0, &[0; 3])),
    ];
    for (name, bytes) in sizes {
        book.opened(&format!("{name} of a wrong size"), Connection(&[SIZE]), &[bytes]);
    }
    book.opened("6.3 PRIORITY of a wrong size", Stream(&[SIZE]), &[frame(PRIORITY, 0, 1, &[0; 4])]);
    book.opened(
        "6.1 DATA padded beyond its end",
        Connection(&[PROTOCOL]),
        &[frame(DATA, PADDED | END_STREAM, 1, b"\x09x")],
    );
    book.add("6.2 HEADERS padded beyond its end", Connection(&[PROTOCOL]), |mark| {
        let block = block(&good(mark));
        frame(HEADERS, 5 | PADDED, 1, &[&[255], &block[..200.min(block.len())]].concat())
    });
    for (name, id, value, code) in [
        ("ENABLE_PUSH 2", 2, 2, PROTOCOL),
        ("INITIAL_WINDOW_SIZE over", 4, 0x8000_0000, FLOW),
        ("MAX_FRAME_SIZE below", 5, 16383, PROTOCOL),
        ("MAX_FRAME_SIZE over", 5, 16_777_216, PROTOCOL),
    ] {
        let codes: &'static [u32] = if code == FLOW { &[FLOW] } else { &[PROTOCOL] };
        book.bare(&format!("6.5.2 {name}"), Connection(codes), &[frame(SETTINGS, 0, 0, &setting(id, value))]);
    }
    book.bare("6.5.2 unknown setting", Pong, &[frame(SETTINGS, 0, 0, &setting(0xff, 1)), ping()]);
    book.bare(
        "6.5.3 twice in one frame",
        Pong,
        &[frame(SETTINGS, 0, 0, &[setting(4, 0), setting(4, 9)].concat()), ping()],
    );
    book.bare("6.7 PING", Pong, &[ping()]);
    book.bare("6.7 PING ack is not answered", Pong, &[frame(PING, ACK, 0, b"not this"), ping()]);
    book.bare("6.9 WINDOW_UPDATE of 0", Connection(&[PROTOCOL]), &[frame(WINDOW, 0, 0, &[0; 4])]);
    book.opened("6.9 WINDOW_UPDATE of 0 on a stream", Stream(&[PROTOCOL]), &[frame(WINDOW, 0, 1, &[0; 4])]);
    let much = frame(WINDOW, 0, 0, &0x7fff_ffffu32.to_be_bytes());
    book.bare("6.9.1 connection's window over", Connection(&[FLOW]), &[much.clone(), much]);
    let much = frame(WINDOW, 0, 1, &0x7fff_ffffu32.to_be_bytes());
    book.opened("6.9.1 stream's window over", Stream(&[FLOW]), &[much.clone(), much]);
    book.add("6.9.2 windows that shrink below nothing", Answer, |mark| {
        let head = frame(HEADERS, 5, 1, &block(&good(mark)));
        let small = frame(SETTINGS, 0, 0, &setting(4, 0));
        [small, head, frame(SETTINGS, 0, 0, &setting(4, 2000)), frame(WINDOW, 0, 1, &[0, 0, 9, 0])].concat()
    });
    book.bare(
        "8.2 PUSH_PROMISE of a client",
        Connection(&[PROTOCOL]),
        &[frame(PUSH, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])],
    );
}

fn continuations(book: &mut Book) {
    book.add("6.10 in many pieces", Answer, |mark| {
        let block = block(&good(mark));
        // h2 allows five of them for 64 KiB
        let pieces = [&block[..1], &block[1..9], &block[9..9], &block[9..20], &block[20..]];
        let mut bytes = frame(HEADERS, END_STREAM, 1, pieces[0]);
        for (at, piece) in pieces[1..].iter().enumerate() {
            bytes.extend(frame(CONTINUATION, if at == 3 { END_HEADERS } else { 0 }, 1, piece));
        }
        bytes
    });
    let stray = frame(CONTINUATION, END_HEADERS, 1, &[0x82]);
    book.opened("6.10 behind END_HEADERS", Connection(&[PROTOCOL]), std::slice::from_ref(&stray));
    book.opened("6.10 behind DATA", Connection(&[PROTOCOL]), &[frame(DATA, 0, 1, b"x"), stray]);
    book.add("6.10 of another stream", Connection(&[PROTOCOL]), |mark| {
        [frame(HEADERS, END_STREAM, 1, &block(&good(mark))), frame(CONTINUATION, END_HEADERS, 3, &[0x82])].concat()
    });
    book.add("6.10 DATA within a header block", Connection(&[PROTOCOL]), |mark| {
        [frame(HEADERS, 0, 1, &block(&good(mark))), frame(DATA, END_STREAM, 1, b"x")].concat()
    });
}

fn messages(book: &mut Book) {
    let wrong = Stream(&[PROTOCOL]);
    book.opened(
        "8.1 second HEADERS without END_STREAM",
        wrong,
        &[frame(HEADERS, END_HEADERS, 1, &block(&[("x", "y")]))],
    );
    // h2 drops it, and it reaches nobody: the body has ended
    book.opened("8.1.2.1 pseudo-header in trailers", Answer, &[frame(HEADERS, 5, 1, &block(&[(":method", "GET")]))]);
    for (name, field) in [
        ("8.1.2 upper-case name", ("X-Upper", "y")),
        ("8.1.2 space in a name", ("x y", "z")),
        ("8.1.2 colon in a name", ("x:y", "z")),
        ("8.1.2 CRLF in a name", ("x\r\nx-smuggled", "z")),
        ("8.1.2 NUL in a name", ("x\0", "z")),
        ("8.1.2 empty name", ("", "z")),
        ("8.1.2 CRLF in a value", ("x", "y\r\nx-smuggled: yes")),
        ("8.1.2 LF in a value", ("x", "y\nx-smuggled: yes")),
        ("8.1.2 CR in a value", ("x", "y\rx")),
        ("8.1.2 NUL in a value", ("x", "y\0")),
        ("8.1.2.1 unknown pseudo-header", (":test", "y")),
        ("8.1.2.1 pseudo-header of answers", (":status", "200")),
        ("8.1.2.1 pseudo-header behind others", (":method", "POST")),
        ("8.1.2.2 connection", ("connection", "keep-alive")),
        ("8.1.2.2 keep-alive", ("keep-alive", "timeout=5")),
        ("8.1.2.2 proxy-connection", ("proxy-connection", "close")),
        ("8.1.2.2 transfer-encoding", ("transfer-encoding", "chunked")),
        ("8.1.2.2 upgrade", ("upgrade", "websocket")),
        ("8.1.2.2 te", ("te", "trailers, deflate")),
        ("8.1.2.6 content-length without a body", ("content-length", "1")),
        ("content-length that is no number", ("content-length", "+0")),
        ("host that differs from :authority", ("host", "elsewhere")),
        ("host with a path", ("host", "edge/?")),
    ] {
        book.fields(name, wrong, |fields| fields.push(field));
    }
    for (at, name) in [":method", ":scheme", ":path"].into_iter().enumerate() {
        book.fields(&format!("8.1.2.3 no {name}"), wrong, |fields| {
            fields.remove(at);
        });
        book.fields(&format!("8.1.2.3 {name} twice"), wrong, |fields| fields.insert(at, fields[at]));
    }
    book.fields(":authority twice", wrong, |fields| fields.insert(3, fields[3]));
    book.fields("neither :authority nor host", wrong, |fields| {
        fields.remove(3);
    });
    for (at, name, value) in [
        (2, "8.1.2.3 empty :path", ""),
        (2, "*", "*"),
        (2, "no slash", "key/generate"),
        (2, "absolute", "http://elsewhere/key/generate"),
        (2, "absolute, same host", "http://edge/key/generate"),
        (2, "space", "/key/generate HTTP/1.1\r\nx-smuggled: yes"),
        (2, "CRLF", "/key/generate\r\nx-smuggled: yes"),
        (2, "NUL", "/key/\0generate"),
        (1, ":scheme with a URL", "http://localhost/?"),
        (1, ":scheme with a space", "ht tp"),
        (0, ":method with ?", "POST?"),
        (0, ":method with a space", "GET /smuggled HTTP/1.1\r\nx: "),
        (0, ":method empty", ""),
        (0, "CONNECT with a path", "CONNECT"),
        (3, ":authority with a query", "x/?"),
        (3, ":authority with ?", "x?"),
        (3, ":authority with a fragment", "x#y"),
        (3, ":authority with user", "x@edge"),
        (3, ":authority empty", ""),
        (3, ":authority with a space", "a b"),
        (3, ":authority with two ports", "a:1:2"),
        (3, ":authority with a port too large", "a:65536"),
        (3, ":authority with CRLF", "edge\r\nx-smuggled: yes"),
        (3, ":authority with %", "a%2fb"),
    ] {
        let name = if name.contains(':') { name.to_owned() } else { format!(":path {name}") };
        book.fields(&name, wrong, |fields| fields[at].1 = value);
    }
    book.fields("8.1.2.2 te: trailers", Answer, |fields| fields.push(("te", "trailers")));
    book.fields("host for :authority", Answer, |fields| fields[3].0 = "host");
    book.fields("host like :authority", Answer, |fields| fields.push(("host", "edge")));
    book.add("8.1.2.6 content-length over the body", wrong, |mark| with_length(mark, "3", &[b"{}"]));
    book.add("8.1.2.6 content-length under the body", wrong, |mark| with_length(mark, "1", &[b"{}"]));
    book.add("8.1.2.6 content-length over two DATA", wrong, |mark| with_length(mark, "5", &[b"{", b"}"]));
    book.add("content-length right", Answer, |mark| with_length(mark, "2", &[b"{", b"}"]));
    book.add("content-length twice", wrong, |mark| {
        let mut fields = good(mark);
        fields.extend([("content-length", "2"), ("content-length", "3")]);
        [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, b"{}")].concat()
    });
}

fn with_length(mark: &str, length: &str, pieces: &[&[u8]]) -> Vec<u8> {
    let mut fields = good(mark);
    fields.push(("content-length", length));
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    for (at, piece) in pieces.iter().enumerate() {
        bytes.extend(frame(DATA, u8::from(at + 1 == pieces.len()), 1, piece));
    }
    bytes
}

fn hpack(book: &mut Book) {
    let broken = Connection(&[COMPRESSION]);
    for (name, tail) in [
        ("2.3.3 index beyond both tables", &[0xff, 0x80, 0x01][..]),
        ("2.3.3 literal with an index beyond", &[0x7f, 0x70, 0x01, b'x']),
        ("4.2 size update at the block's end", &[0x21]),
        ("5.2 Huffman padding over 7 bits", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
        ("5.2 Huffman padded with zeros", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x90]),
        ("5.2 Huffman with EOS", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x87, 0x84, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("6.1 index 0", &[0x80]),
        ("5.1 integer without an end", &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("5.2 literal longer than the block", &[0x00, 0x7f, 0xff, 0x7f]),
    ] {
        book.add(&format!("hpack {name}"), broken, |mark| {
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&block(&good(mark)), tail].concat())
        });
    }
    book.add("hpack 6.3 size update over the limit", broken, |mark| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&[0x3f, 0xe2, 0x1f][..], &block(&good(mark))].concat())
    });
    book.add("hpack 4.2 size update at the block's start", Answer, |mark| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&[0x20][..], &block(&good(mark))].concat())
    });
}

/// Cases where h2 ends the connection as it must, but says PROTOCOL_ERROR for every frame it cannot read.
const SAYS_PROTOCOL_ERROR: [&str; 18] = [
    "4.3 broken header block",
    "6.3 PRIORITY of a wrong size",
    "6.4 RST_STREAM of a wrong size",
    "6.5 SETTINGS ack with a payload of a wrong size",
    "6.5 SETTINGS of a wrong size",
    "6.5.2 INITIAL_WINDOW_SIZE over",
    "6.7 PING of a wrong size",
    "6.9 WINDOW_UPDATE of a wrong size",
    "hpack 2.3.3 index beyond both tables",
    "hpack 2.3.3 literal with an index beyond",
    "hpack 4.2 size update at the block's end",
    "hpack 5.1 integer without an end",
    "hpack 5.2 Huffman padded with zeros",
    "hpack 5.2 Huffman padding over 7 bits",
    "hpack 5.2 Huffman with EOS",
    "hpack 5.2 literal longer than the block",
    "hpack 6.1 index 0",
    "hpack 6.3 size update over the limit",
];

/// What the edge did, as the first thing that decides.
fn judge(port: u16, case: &Case) -> Result<(), String> {
    let mut raw = Raw::silent(port);
    raw.send(&case.bytes);
    let until = Instant::now() + Duration::from_secs(6);
    let mut seen = Vec::new();
    loop {
        let next = raw.next(until.saturating_duration_since(Instant::now()));
        let frame = match (next, case.want) {
            (Ok(frame), _) => frame,
            (Err(true), Connection(_) | Stream(_)) if seen.is_empty() => return Ok(()),
            (Err(closed), _) => return Err(format!("closed: {closed}, after {seen:?}")),
        };
        let code = |at: usize| frame.payload.get(at..at + 4).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        let first = frame.payload.first().copied().unwrap_or_default();
        match (frame.kind, case.want) {
            (GOAWAY, Connection(_) | Stream(_)) if SAYS_PROTOCOL_ERROR.contains(&case.name.as_str()) => {
                return if code(4) == Some(PROTOCOL) {
                    Ok(())
                } else {
                    Err("h2 is right now: off the list".to_owned())
                };
            }
            (GOAWAY, Connection(codes) | Stream(codes)) if code(4).is_some_and(|code| codes.contains(&code)) => {
                return Ok(());
            }
            (RST, Stream(codes)) if code(0).is_some_and(|code| codes.contains(&code)) => return Ok(()),
            // 400 is in the static table; others (405) are literals of `:status`
            (HEADERS, Stream(_)) if first == 0x8c || first == 0x48 || first == 0x08 => return Ok(()),
            (HEADERS, Answer) if first == 0x88 && frame.stream == 1 => return Ok(()),
            (PING, Pong) if frame.flags == ACK && frame.payload == b"hostile!" => return Ok(()),
            (GOAWAY | RST | HEADERS, _) => {
                seen.push((frame.kind, frame.stream, code(if frame.kind == GOAWAY { 4 } else { 0 })))
            }
            _ => {}
        }
    }
}

#[test]
fn frames_and_messages_that_are_wrong_are_refused() {
    let stage = Stage::set_with(said, &[("LITELLM_EDGE_CLIENT_IDLE_TIMEOUT", "30s")]); // a close is then never that
    let mut book = Book::default();
    generic(&mut book);
    states(&mut book);
    frames(&mut book);
    continuations(&mut book);
    messages(&mut book);
    hpack(&mut book);
    let cases = book.0;
    let next = AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = judge(stage.process.port, case) {
                        wrong.lock().unwrap().push(format!("{}: {what}, wanted {:?}", case.name, case.want));
                    }
                }
            });
        }
    });
    stage.is_calm();
    let mut wrong = wrong.into_inner().unwrap();
    for (messages, rest) in stage.python.seen() {
        for message in messages {
            let case = mark(&message).and_then(|mark| cases.iter().find(|case| case.mark == mark));
            // a stream that goes wrong behind its request has arrived already; a request that is wrong itself must not
            let head_is_wrong = case.is_some_and(|case| {
                matches!(case.want, Stream(_)) && !case.name.starts_with("5.") && !case.name.starts_with("6.")
            });
            if head_is_wrong || message.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-smuggled")) {
                wrong.push(format!("arrived: {message:?}"));
            }
        }
        if let Rest::Wrong(what) = rest {
            wrong.push(what);
        }
    }
    assert!(stage.provider.seen().iter().all(|(messages, _)| messages.is_empty()));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
