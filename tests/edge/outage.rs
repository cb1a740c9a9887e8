//! The real routes in the real binary while Python is not there, hangs, breaks, and comes back.
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    gateway::Gateway,
    support::{Client, FakePython, eventually, free_port, get, ok},
};

const ANSWERS: usize = 0;
const HANGS: usize = 1;
const CLOSES: usize = 2;

/// A Python in one of those moods, health checks included.
fn moody(listener: TcpListener, mood: Arc<AtomicUsize>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mood = mood.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &mood));
        }
    });
}

fn serve(mut stream: TcpStream, mood: &AtomicUsize) {
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(1..) => {}
            _ => return,
        }
        while mood.load(Ordering::SeqCst) == HANGS {
            std::thread::sleep(Duration::from_millis(20));
        }
        if mood.load(Ordering::SeqCst) == CLOSES || stream.write_all(ok("python").as_bytes()).is_err() {
            return;
        }
    }
}

/// Every native route answers, at once.
fn natives_serve(gateway: &Gateway, when: &str) {
    for round in 0..5 {
        let start = Instant::now();
        let chat = gateway.chat();
        assert_eq!(chat.status, 200, "{when}: {}", chat.text());
        assert_eq!(chat.json()["choices"][0]["message"]["content"], "native", "{when}");
        for (path, key) in [("/v1/models", "data"), ("/health/readiness", "status")] {
            let answer = gateway.get(path);
            assert_eq!((answer.status, answer.header("x-litellm-edge")), (200, Some("native")), "{when}: {path}");
            assert!(answer.json()[key] != serde_json::Value::Null, "{when}: {path}: {}", answer.text());
        }
        let alive = gateway.get("/health/liveliness");
        assert_eq!((alive.status, alive.header("x-litellm-edge")), (200, Some("native")), "{when}");
        assert_eq!(get(gateway.process.port, "/edge/ready").status, 200, "{when}");
        assert!(start.elapsed() < Duration::from_secs(2), "{when}, round {round}: {:?}", start.elapsed());
    }
}

#[test]
fn native_routes_do_not_notice_what_python_does() {
    let port = free_port();
    let gateway = Gateway::start(port, &[], &[], Stdio::null());
    natives_serve(&gateway, "down");
    assert_eq!(gateway.get("/key/list").status, 503);

    let mood = Arc::new(AtomicUsize::new(ANSWERS));
    moody(TcpListener::bind(("127.0.0.1", port)).unwrap(), mood.clone());
    eventually(Duration::from_secs(1), "python is used again", || gateway.get("/key/list").text() == "python");
    natives_serve(&gateway, "up");

    mood.store(HANGS, Ordering::SeqCst);
    let mut waiting: Vec<Client> = (0..200).map(|_| Client::to(gateway.process.port)).collect();
    for client in &mut waiting {
        client.send("GET /key/list HTTP/1.1\r\nhost: edge\r\n\r\n");
    }
    natives_serve(&gateway, "hanging, with 200 requests waiting");

    mood.store(CLOSES, Ordering::SeqCst);
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap().status, 502);
    }
    natives_serve(&gateway, "restarting");
    assert_eq!(gateway.get("/key/list").status, 502);

    mood.store(ANSWERS, Ordering::SeqCst);
    eventually(Duration::from_secs(1), "python is used again", || gateway.get("/key/list").text() == "python");
    natives_serve(&gateway, "back");
    assert_eq!(gateway.provider.requests().len(), 25, "each chat was one call");
}

#[test]
fn pythons_address_is_routes_tomls_unless_the_command_line_says_otherwise() {
    let (listed, named) = (FakePython::saying("listed"), FakePython::saying("named"));
    let gateway = Gateway::start(listed.port, &[], &[], Stdio::null());
    assert_eq!(gateway.get("/key/list").text(), "listed");
    let ready = get(gateway.process.port, "/edge/ready").json();
    assert_eq!(ready["python"]["address"], format!("http://127.0.0.1:{}", listed.port));
    let address = format!("http://127.0.0.1:{}", named.port);
    let gateway = Gateway::start(listed.port, &["--python", &address], &[], Stdio::null());
    assert_eq!(gateway.get("/key/list").text(), "named");
    let gateway = Gateway::start(listed.port, &[], &[("LITELLM_EDGE_PYTHON", &address)], Stdio::null());
    assert_eq!(gateway.get("/key/list").text(), "named");
}
