//! What comes back: answers of a broken or hostile Python or provider (`corpus/responses.txt`), answers that come before
//! the request is whole, and tunnels. No client gets another's answer.
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    corpus::{Item, Stage, expand, parse},
    recorder::{Kind, Rest, Script, messages},
    support::{Client, MASTER, ask, start_edge},
};

/// A request of each kind that reaches a backend, with its mark.
fn request(target: &str, mark: &str) -> Vec<u8> {
    let (path, model) = match target {
        "native" => ("/v1/chat/completions", "m"),
        "declined" => ("/v1/chat/completions", "unknown"),
        _ => ("/key/generate", "unknown"),
    };
    let body = format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{mark}\"}}]}}");
    format!(
        "POST {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\nx-case: {mark}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn heard(port: u16, request: &[u8]) -> Vec<u8> {
    let mut client = Client::to(port);
    client.stream.set_read_timeout(Some(Duration::from_secs(12))).unwrap();
    client.send(request);
    let mut said = Vec::new();
    let _ = client.stream.read_to_end(&mut said);
    said
}

fn judge(item: &Item, target: &str, said: &[u8]) -> Option<String> {
    let (answers, rest) = messages(said, Kind::Answer);
    let finals: Vec<_> = answers.iter().filter(|answer| answer.status() >= 200).collect();
    if finals.len() > 1 {
        return Some(format!("{} answers: {}", finals.len(), said.escape_ascii()));
    }
    let status = finals.first().map_or(0, |answer| answer.status());
    let body = finals.first().map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
    let good = match (target, item.key("want").split_once(' ')) {
        // LiteLLM's own error for a provider's nonsense, or what can be made of its answer: whole and one
        ("native", _) => rest == Rest::Nothing && finals.len() == 1 && (status >= 400 || status == 200),
        (_, Some(("body", wanted))) => rest == Rest::Nothing && status == 200 && body == wanted,
        (_, Some(("status", wanted))) => rest == Rest::Nothing && status.to_string() == wanted && body.is_empty(),
        (_, None) if item.key("want") == "502" => rest == Rest::Nothing && status == 502,
        (_, None) if item.key("want") == "cut" => {
            status == 502 || (finals.is_empty() && matches!(rest, Rest::Begun(_)))
        }
        _ => panic!("{}: {}", item.name, item.key("want")),
    };
    (!good).then(|| {
        format!("{} {}: {}", item.name, target, said.escape_ascii().to_string().chars().take(500).collect::<String>())
    })
}

#[test]
fn no_answer_of_a_backend_reaches_another_client() {
    let stage = Stage::set();
    let port = stage.process.port;
    let items = parse("responses", include_str!("corpus/responses.txt"), &["source", "why", "want", "then"]);
    let wrong = Mutex::new(Vec::new());
    // the three kinds side by side, each kind's items one after the other: who comes next gets the connection
    std::thread::scope(|scope| {
        for target in ["native", "declined", "through"] {
            let (stage, items, wrong) = (&stage, &items, &wrong);
            scope.spawn(move || {
                let backend = if target == "native" { &stage.provider } else { &stage.python };
                for (at, item) in items.iter().enumerate() {
                    let mark = format!("case-{at}-{target}-{}.", item.name);
                    let bytes = expand(&item.text, &|name| panic!("{}: <{name}>", item.name));
                    backend.script(&mark, Script { bytes, early: false, close: item.key("then") == "close" });
                    let said = heard(port, &request(target, &mark));
                    let mut found: Vec<String> = judge(item, target, &said).into_iter().collect();
                    for next in 0..2 {
                        let mark = format!("case-{at}-{target}-next{next}-{}.", item.name);
                        let answer = ask(port, request(target, &mark));
                        if answer.status != 200 || !answer.text().contains(&mark) {
                            found.push(format!(
                                "{} {target}: the next one got {} {}",
                                item.name,
                                answer.head,
                                answer.text()
                            ));
                        }
                    }
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    let log = std::fs::read_to_string(&stage.log).unwrap();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn behind_an_early_answer_nothing_is_a_request() {
    let stage = Stage::set();
    let bytes = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig".to_vec();
    let mut wrong = Vec::new();
    for (name, framing) in [("length", "content-length: 4000\r\n"), ("chunked", "transfer-encoding: chunked\r\n")] {
        for smuggled_first in [true, false] {
            let mark = format!("case-early-{name}-{smuggled_first}.");
            stage.python.script(&mark, Script { bytes: bytes.clone(), early: true, close: false });
            let smuggled = format!("GET /smuggled HTTP/1.1\r\nhost: edge\r\nx-case: {mark}\r\nx-smuggled: yes\r\n\r\n");
            let mut client = Client::to(stage.process.port);
            let start = if name == "chunked" { "fa0\r\n" } else { "" };
            client.send(format!(
                "POST /key/generate HTTP/1.1\r\nhost: edge\r\nx-case: {mark}\r\n{framing}\r\n{start}begun"
            ));
            let answer = client.answer();
            if answer.as_ref().map(|answer| (answer.status, answer.text())) != Some((413, "big".to_owned())) {
                wrong.push(format!("{mark}: {answer:?}"));
            }
            // the rest of the body, or no rest at all, and then a request
            let rest = if smuggled_first { String::new() } else { "x".repeat(3995) };
            let _ = client.stream.write_all((rest + &smuggled).as_bytes());
            let mut said = Vec::new();
            let _ = client.stream.read_to_end(&mut said);
            if !said.is_empty() {
                wrong.push(format!("{mark}: {}", said.escape_ascii()));
            }
        }
    }
    for (messages, rest) in stage.python.seen() {
        if messages.iter().any(|message| message.all("x-smuggled").count() > 0) || matches!(rest, Rest::Wrong(_)) {
            wrong.push(format!("{messages:?} {rest:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.is_calm();
}

#[test]
fn bytes_behind_an_upgrade_wait_for_the_101() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let early: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = early.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let seen = seen.clone();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes); // all that comes before the 101
                if bytes.is_empty() || bytes.windows(12).any(|window| window == b"litellm-rust") {
                    return; // the edge's own question
                }
                seen.lock().unwrap().push(bytes);
                let switched = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n";
                stream.write_all(switched).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let edge = start_edge(None, |config| config.python = Some(format!("http://127.0.0.1:{port}").parse().unwrap()));
    let mut client = Client::to(edge.port);
    client.send(
        "GET /v1/realtime HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n",
    );
    let answer = client.head();
    let early = early.lock().unwrap().clone();
    assert!(
        early.iter().all(|bytes| !String::from_utf8_lossy(bytes).contains("smuggled")),
        "before the 101: {early:?}"
    );
    // it may go on as the tunnel's bytes, or end; it is never a request of its own
    assert!(answer.is_none_or(|answer| answer.status == 101));
}
