//! Memory under clients that send slowly, much, or read nothing: the bounds that docs/hostile-clients.md states, held to
//! by the real binary.
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    corpus::{SHORT, Stage},
    h2floods::{forget_peak, peak},
    h2raw::{END_HEADERS, HEADERS, Raw, block, frame},
    recorder::{Message, Rest},
    support::{Client, FakePython, MASTER, ask, eventually, get, ok, post_bytes, start_edge},
};

/// Limits on time that are out of the way: what is tested is memory while the clients are there.
const PATIENT: [(&str, &str); 5] = [
    ("LITELLM_EDGE_CLIENT_IDLE_TIMEOUT", "60s"),
    ("LITELLM_EDGE_CLIENT_HEAD_TIMEOUT", "60s"),
    ("LITELLM_EDGE_CLIENT_READ_TIMEOUT", "60s"),
    ("LITELLM_EDGE_CLIENT_BODY_TIMEOUT", "60s"),
    ("LITELLM_EDGE_CLIENT_WRITE_TIMEOUT", "60s"),
];
const MIB: u64 = 1 << 10; // in KiB
const BUDGET: usize = 8 << 20;
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"case-honest."}]}"#;

fn big(mark: &str) -> String {
    if mark == "case-big." { "x".repeat(4 << 20) } else { format!("{{\"said\":\"{mark}\"}}") }
}

/// A connection that has said this and no more.
fn open(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

#[test]
fn hundreds_of_slow_large_and_silent_clients_cost_what_is_stated() {
    assert_eq!(SHORT.len(), 7, "PATIENT takes the place of these");
    let budget = BUDGET.to_string();
    let settings = [&PATIENT[..], &[("LITELLM_EDGE_BODY_BUDGET", budget.as_str())]].concat();
    let stage = Stage::set_with(big, &settings);
    let (port, pid) = (stage.process.port, stage.process.child.id());
    let chat = || ask(port, post_bytes("/v1/chat/completions", CHAT));
    let side = || chat().header("x-litellm-edge").unwrap_or_default().to_owned();
    for _ in 0..20 {
        assert_eq!(side(), "native");
        assert_eq!(get(port, "/key/list").status, 200);
    }
    let mut open_connections = Vec::new();
    let mut report = Vec::new();
    let mut step = |name: &str, bound: u64, make: &mut dyn FnMut() -> Vec<TcpStream>| {
        let before = forget_peak(pid);
        open_connections.extend(make());
        std::thread::sleep(Duration::from_millis(700));
        let grown = peak(pid).saturating_sub(before);
        report.push(format!("{name}: {grown} KiB, bound {bound} KiB"));
        assert!(grown <= bound, "{}", report.join("\n"));
    };
    // a connection that is only there: its buffers
    step("100 silent connections", 100 * 64, &mut || (0..100).map(|_| open(port, b"G")).collect());
    // a head that has begun: what was sent of it (twice, while the buffer grows), 1 MiB at most
    let head = format!("GET /x HTTP/1.1\r\nhost: edge\r\nx: {}", "a".repeat(60_000));
    step("100 heads of 60 KB that do not end", 100 * (64 + 2 * 60), &mut || {
        (0..100).map(|_| open(port, head.as_bytes())).collect()
    });
    // bodies that are read before it is decided: never more than the budget, the others are passed through
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\
         content-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    );
    let most = (head + &" ".repeat(900_000)).into_bytes();
    let budget = 2 * BUDGET as u64 / 1024;
    let begun = || stage.python.seen().iter().filter(|(_, rest)| matches!(rest, Rest::Begun(_))).count();
    step("60 bodies of 1 MB that do not end", budget + 60 * (64 + 4 * 64), &mut || {
        let waiting = (0..60).map(|_| open(port, &most)).collect();
        eventually(Duration::from_secs(30), "the budget is full, the others went to Python", || begun() == 60 - 8);
        waiting
    });
    // whoever comes now is served, if need be by Python
    assert_eq!(chat().status, 200);
    // answers that nobody reads: what fits into the pipes of one request, not the answer
    let wants = b"GET /x HTTP/1.1\r\nhost: edge\r\nx-case: case-big.\r\n\r\n";
    step("100 answers of 4 MiB that nobody reads", 100 * 16 * 64, &mut || {
        let waiting = (0..100).map(|_| open(port, wants)).collect();
        eventually(Duration::from_secs(30), "all are being answered", || {
            let asked = |messages: &[Message]| messages.iter().filter(|one| one.all("x-case").next().is_some()).count();
            stage.python.seen().iter().map(|(messages, _)| asked(messages)).sum::<usize>() == 100
        });
        waiting
    });
    println!("{}", report.join("\n"));
    drop(open_connections);
    eventually(Duration::from_secs(10), "the budget is there again", || side() == "native");
    stage.is_calm();
    assert!(peak(pid) < 200 * MIB);
}

#[test]
fn a_connection_over_the_limit_is_closed_at_once_and_one_that_ends_makes_room() {
    let python = FakePython::start(|_, stream| stream.write_all(ok("fine").as_bytes()).is_ok());
    let edge = start_edge(Some(python.port), |config| config.max_connections = 5);
    let taken = || edge.edge.drain.connections();
    eventually(Duration::from_secs(10), "the connections of the start are over", || taken() == 0);
    let mut held: Vec<Client> = (0..5).map(|_| Client::to(edge.port)).collect();
    eventually(Duration::from_secs(10), "all seats are taken", || taken() == 5);
    let mut refused = TcpStream::connect(("127.0.0.1", edge.port)).unwrap();
    refused.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)), "closed without a word");
    assert_eq!(edge.edge.services.metrics.connections_refused.get(), 1);
    // those that are in are served
    for client in &mut held {
        client.send("GET /x HTTP/1.1\r\nhost: edge\r\n\r\n");
        assert_eq!(client.answer().unwrap().text(), "fine");
    }
    // one connection of HTTP/2 is no way round it: so many requests are in flight at most
    held.clear();
    eventually(Duration::from_secs(10), "all seats are free", || taken() == 0);
    let mut raw = Raw::open(edge.port, &[]);
    let fields = |path| vec![(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "edge")];
    for at in 0..5 {
        raw.send(&frame(HEADERS, END_HEADERS, 2 * at + 1, &block(&fields("/x"))));
    }
    eventually(Duration::from_secs(10), "five are in flight", || edge.edge.drain.in_flight() == 5);
    let answer = get(edge.port, "/x");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(get(edge.port, "/edge/live").status, 200, "the edge's own pages are there");
    drop(raw);
    eventually(Duration::from_secs(10), "all seats are free", || taken() == 0);
    let mut held: Vec<Client> = (0..5).map(|_| Client::to(edge.port)).collect();
    eventually(Duration::from_secs(10), "all seats are taken", || taken() == 5);
    held.pop();
    eventually(Duration::from_secs(10), "a seat is free", || taken() == 4);
    assert_eq!(get(edge.port, "/x").text(), "fine");
}
