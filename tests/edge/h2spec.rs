//! Each of [`crate::h2cases`] is answered as the RFCs say (with h2spec's rule that a stream's error may end the connection),
//! and a request that HTTP/1.1 could not carry reaches nobody. Floods are in [`crate::h2floods`].
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::{
    corpus::{Stage, said},
    h2cases::{
        self, Case,
        Want::{Answer, Connection, Pong, Stream},
    },
    h2raw::{ACK, GOAWAY, HEADERS, PING, PROTOCOL, RST, Raw},
    recorder::{Rest, mark},
};

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
    let cases = h2cases::all();
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
