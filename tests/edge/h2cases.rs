//! What HTTP/2 and HPACK forbid, and some that they allow, as bytes with the answer that is due: the sections of
//! h2spec's generic, http2 and hpack groups, and requests that HTTP/1.1 could not carry. [`crate::h2spec`] plays them.
use crate::h2raw::{
    ACK, CLOSED, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIO, PRIORITY, PROTOCOL, PUSH, REFUSED, RST, SETTINGS, SIZE, WINDOW, block, frame, setting,
};

/// What the edge must do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Want {
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

pub(crate) struct Case {
    /// section and what is wrong
    pub name: String,
    pub want: Want,
    /// all that is sent, from the preface on
    pub bytes: Vec<u8>,
    pub mark: String,
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

/// Every case, in the order of the sections.
pub(crate) fn all() -> Vec<Case> {
    let mut book = Book::default();
    for section in [generic, states, frames, continuations, messages, hpack] {
        section(&mut book);
    }
    book.0
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
