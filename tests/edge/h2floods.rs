//! Attacks on the HTTP/2 side that are about quantity: the edge ends the connection or holds it within a bound, its memory
//! stays near where it was, and other clients are served meanwhile. Each attack has a connection (or a few) of its own.
use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::{
    corpus::Stage,
    h2raw::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST, Raw, SETTINGS, WINDOW,
        block, frame, integer, setting,
    },
    support::{ask, eventually, get, post_bytes},
};

/// What all of an attack may cost: the bound of docs/hostile-clients.md for one connection is far below.
const GROWTH: u64 = 64 << 10; // KiB

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", "/key/list"), (":authority", "edge")];
    all.extend_from_slice(fields);
    block(&all)
}

/// Asks for a big answer; see [`big`].
fn wanting_much() -> Vec<u8> {
    head(&[("x-case", "case-big.")])
}

/// Python's answers: one of 2 MiB where the mark says so.
fn big(mark: &str) -> String {
    if mark == "case-big." { "x".repeat(2 << 20) } else { format!("{{\"said\":\"{mark}\"}}") }
}

/// Sends the same over and over, reading what comes back without waiting. The number of rounds until the edge closed.
fn repeat(raw: &mut Raw, rounds: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) -> Option<usize> {
    for round in 0..rounds {
        if !raw.send(&bytes(round)) {
            return Some(round);
        }
        if round % 64 == 0 {
            while let Ok(frame) = raw.next(Duration::from_millis(1)) {
                if frame.kind == GOAWAY {
                    return Some(round);
                }
            }
        }
    }
    // what was sent last may still be being read
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match raw.next(until.saturating_duration_since(Instant::now())) {
            Ok(frame) if frame.kind == GOAWAY => return Some(rounds),
            Err(true) => return Some(rounds),
            Err(false) => return None,
            Ok(_) => {}
        }
    }
}

/// An attack: what it does, and whether the edge has closed its connection.
type Attack = (&'static str, fn(u16) -> bool);

/// Those that must end with the connection.
const CLOSED: &[Attack] = &[
    ("streams reset by the edge: WINDOW_UPDATE of 0 (MadeYouReset)", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 20_000, |round| {
            let stream = 2 * round as u32 + 1;
            [frame(HEADERS, END_HEADERS, stream, &head(&[])), frame(WINDOW, 0, stream, &[0; 4])].concat()
        })
        .is_some()
    }),
    ("streams reset by the edge: DATA behind the end (MadeYouReset)", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 20_000, |round| {
            let stream = 2 * round as u32 + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(&[])), frame(DATA, 0, stream, b"x")].concat()
        })
        .is_some()
    }),
    ("streams reset by the edge: more DATA than content-length (MadeYouReset)", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 20_000, |round| {
            let stream = 2 * round as u32 + 1;
            let head = head(&[("content-length", "1")]);
            [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, END_STREAM, stream, b"xyz")].concat()
        })
        .is_some()
    }),
    ("malformed requests", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 20_000, |round| {
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * round as u32 + 1, &head(&[("connection", "close")]))
        })
        .is_some()
    }),
    ("CONTINUATION without an end, full frames", |port| {
        let mut raw = Raw::open(port, &[]);
        raw.send(&frame(HEADERS, END_STREAM, 1, &head(&[])));
        let mut piece = vec![0, 1, b'x'];
        integer(&mut piece, 16_000);
        piece.resize(piece.len() + 16_000, b'y');
        repeat(&mut raw, 8_000, |_| frame(CONTINUATION, 0, 1, &piece)).is_some()
    }),
    ("CONTINUATION without an end, one byte each", |port| {
        let mut raw = Raw::open(port, &[]);
        raw.send(&frame(HEADERS, END_STREAM, 1, &head(&[])));
        repeat(&mut raw, 100_000, |_| frame(CONTINUATION, 0, 1, &[0x82])).is_some()
    }),
    ("CONTINUATION without an end, empty", |port| {
        let mut raw = Raw::open(port, &[]);
        raw.send(&frame(HEADERS, END_STREAM, 1, &head(&[])));
        repeat(&mut raw, 200_000, |_| frame(CONTINUATION, 0, 1, &[])).is_some()
    }),
    ("empty DATA", |port| {
        let mut raw = Raw::open(port, &[]);
        raw.send(&frame(HEADERS, END_HEADERS, 1, &head(&[])));
        repeat(&mut raw, 3_000, |_| frame(DATA, 0, 1, &[]).repeat(100)).is_some()
    }),
];

/// Those that may go on for as long as they are as cheap for the edge as for the client.
const BOUNDED: &[Attack] = &[
    ("rapid reset", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 20_000, |round| {
            let stream = 2 * round as u32 + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(&[])), frame(RST, 0, stream, &[0, 0, 0, 8])]
                .concat()
        })
        .is_some()
    }),
    ("rapid reset, a hundred at a time", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 300, |round| {
            let streams = || (0..100).map(|at| 2 * (100 * round as u32 + at) + 1);
            let open: Vec<_> = streams().map(|id| frame(HEADERS, END_HEADERS, id, &head(&[]))).collect();
            let reset: Vec<_> = streams().map(|id| frame(RST, 0, id, &[0, 0, 0, 8])).collect();
            [open.concat(), reset.concat()].concat()
        })
        .is_some()
    }),
    ("SETTINGS, answers not read", |port| unread(port, &frame(SETTINGS, 0, 0, &setting(4, 65_535)))),
    ("SETTINGS, empty, answers not read", |port| unread(port, &frame(SETTINGS, 0, 0, &[]))),
    ("SETTINGS with 2000 values", |port| {
        let mut raw = Raw::open(port, &[]);
        let values = frame(SETTINGS, 0, 0, &setting(4, 1000).repeat(2000));
        repeat(&mut raw, 2_000, |_| values.clone()).is_some()
    }),
    ("SETTINGS acknowledgements nobody asked for", |port| {
        repeat(&mut Raw::open(port, &[]), 2_000, |_| frame(SETTINGS, ACK, 0, &[]).repeat(50)).is_some()
    }),
    ("PING, answers not read", |port| unread(port, &frame(PING, 0, 0, b"12345678"))),
    ("PRIORITY", |port| {
        let mut raw = Raw::open(port, &[]);
        repeat(&mut raw, 2_000, |round| {
            let frames = (0..50).map(|at| frame(PRIORITY, 0, 2 * (50 * round as u32 + at) + 1, &[0, 0, 0, 0, 9]));
            frames.collect::<Vec<_>>().concat()
        })
        .is_some()
    }),
    ("WINDOW_UPDATE of 1", |port| {
        repeat(&mut Raw::open(port, &[]), 2_000, |_| frame(WINDOW, 0, 0, &[0, 0, 0, 1]).repeat(50)).is_some()
    }),
    ("unknown frames", |port| repeat(&mut Raw::open(port, &[]), 4_000, |_| frame(0xfa, 0, 0, &[0; 16_000])).is_some()),
    ("HPACK bomb: one-byte references behind a stalled window", |port| {
        // nothing may be sent: answers and their streams stay
        let mut raw = Raw::open(port, &setting(4, 0));
        // a field of almost the whole dynamic table, then references to it as many as a frame holds
        let mut plant = vec![0x40, 1, b'x'];
        integer(&mut plant, 4000);
        plant.resize(plant.len() + 4000, b'y');
        let first = [head(&[]), plant].concat();
        raw.send(&frame(HEADERS, END_HEADERS, 1, &first));
        let many = [head(&[]), vec![0xbe; 16_000]].concat();
        repeat(&mut raw, 400, |round| frame(HEADERS, END_HEADERS, 2 * round as u32 + 3, &many)).is_some()
    }),
    ("HPACK: references within the limit, on all streams", |port| {
        let mut raw = Raw::open(port, &setting(4, 0));
        let mut plant = vec![0x40, 1, b'x'];
        integer(&mut plant, 4000);
        plant.resize(plant.len() + 4000, b'y');
        raw.send(&frame(HEADERS, END_HEADERS, 1, &[head(&[]), plant].concat()));
        let many = [head(&[]), vec![0xbe; 14]].concat();
        repeat(&mut raw, 99, |round| frame(HEADERS, END_HEADERS, 2 * round as u32 + 3, &many)).is_some()
    }),
    ("window of 1 byte", |port| {
        let mut raw = Raw::open(port, &setting(4, 1));
        for at in 0..50 {
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &wanting_much()));
        }
        repeat(&mut raw, 2_000, |round| frame(WINDOW, 0, 2 * (round as u32 % 50) + 1, &[0, 0, 0, 1])).is_some()
    }),
    ("large windows, nothing read", |port| {
        let mut raw = Raw::open(port, &setting(4, 0x7fff_ffff));
        raw.send(&frame(WINDOW, 0, 0, &0x7fff_0000u32.to_be_bytes()));
        for at in 0..100 {
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &wanting_much()));
        }
        std::thread::sleep(Duration::from_millis(1500));
        false
    }),
];

/// Many of them without reading an answer: at some point the edge takes no more, or has closed.
fn unread(port: u16, one: &[u8]) -> bool {
    let mut raw = Raw::open(port, &[]);
    raw.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = one.repeat(1000);
    (0..500).any(|_| !raw.send(&many))
}

fn memory(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The peak is counted from here.
pub(crate) fn forget_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    memory(pid, "VmRSS:")
}

pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"case-honest."}]}"#;

#[test]
fn floods_are_ended_or_bounded_and_others_are_served() {
    let stage = Stage::set_with(big, &[]);
    let (port, pid) = (stage.process.port, stage.process.child.id());
    let honest = || {
        let chat = ask(port, post_bytes("/v1/chat/completions", CHAT));
        let passed = get(port, "/key/list?honest");
        (chat.status, chat.header("x-litellm-edge") == Some("native"), passed.status) == (200, true, 200)
    };
    for _ in 0..50 {
        assert!(honest());
    }
    let done = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let mut wrong = Vec::new();
    let mut costs = Vec::new();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                if !honest() {
                    return false;
                }
                served.fetch_add(1, Ordering::SeqCst);
            }
            true
        });
        for (attacks, must_close) in [(CLOSED, true), (BOUNDED, false)] {
            for (name, attack) in attacks {
                let (before, count) = (forget_peak(pid), served.load(Ordering::SeqCst));
                let start = Instant::now();
                let closed = attack(port);
                let grown = peak(pid).saturating_sub(before);
                costs.push(format!("{grown:>6} KiB {:>6.1?} closed: {closed} {name}", start.elapsed()));
                if grown > GROWTH {
                    wrong.push(format!("{name}: {grown} KiB"));
                }
                if must_close && !closed {
                    wrong.push(format!("{name}: the connection is still open"));
                }
                // one that asked after it had begun, or at its end
                let until = Instant::now() + Duration::from_secs(40);
                while served.load(Ordering::SeqCst) < count + 2 && Instant::now() < until && !others.is_finished() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if served.load(Ordering::SeqCst) < count + 2 {
                    wrong.push(format!("{name}: nobody else was served"));
                }
            }
        }
        done.store(true, Ordering::SeqCst);
        assert!(others.join().unwrap(), "an honest client was not served");
    });
    println!("{}", costs.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.is_calm();
}

#[test]
fn streams_that_nobody_reads_end_by_the_write_timeout() {
    let stage = Stage::set_with(big, &[]);
    let (port, pid) = (stage.process.port, stage.process.child.id());
    assert_eq!(get(port, "/key/list").status, 200);
    let before = forget_peak(pid);
    let mut raws: Vec<Raw> = (0..6)
        .map(|_| {
            let mut raw = Raw::open(port, &setting(4, 0));
            for at in 0..50 {
                raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &wanting_much()));
            }
            raw
        })
        .collect();
    eventually(Duration::from_secs(10), "hundreds of streams are in flight", || {
        get(port, "/edge/ready").json()["in_flight"].as_u64() > Some(200)
    });
    eventually(Duration::from_secs(20), "all are over, though the clients are still there", || {
        get(port, "/edge/ready").json()["in_flight"] == 1
    });
    let grown = peak(pid).saturating_sub(before);
    println!("{grown} KiB for 300 stalled streams");
    // each with its pieces on the way from Python (docs/hostile-clients.md)
    assert!(grown < 300 * 512, "{grown} KiB");
    assert!(raws.iter_mut().all(|raw| raw.send(&frame(PING, 0, 0, b"12345678"))), "their connections are there");
}
