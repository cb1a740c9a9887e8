//! Python down, starting, hanging, cut, gone in the middle, and back again.
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{
    Answer, Client, FakePython, MASTER, NOBODY, ask, eventually, free_port, get, ok, post, start_edge,
};

fn is_litellms(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("x-litellm-edge"), Some("edge"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let error = &answer.json()["error"];
    assert_eq!(error["code"], status.to_string());
    assert_eq!(error["type"], "internal_server_error");
    assert!(error["message"].is_string() && error["param"].is_null());
}

#[test]
fn a_python_that_was_never_there_is_starting() {
    let edge = start_edge(Some(NOBODY), |_| {});
    is_litellms(&get(edge.port, "/x"), 503);
    // an Anthropic client is told in its own words
    let answer = post(edge.port, "/v1/messages", "{}");
    assert_eq!((answer.status, answer.json()["type"].as_str()), (503, Some("error")));
    assert_eq!(answer.json()["error"]["type"], "api_error");
    // a replay fails alike
    is_litellms(&post(edge.port, "/echo", "decline"), 503);
    // native routes and the edge's readiness are not affected
    assert_eq!(post(edge.port, "/echo", "native").text(), "native");
    let ready = get(edge.port, "/edge/ready");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready_without_python")));
    assert_eq!(ready.json()["python"]["state"], "starting");
    assert_eq!(ready.json()["python"]["last_error"], "connection refused");
}

#[test]
fn an_outage_is_a_502_once_it_is_longer_than_a_restart() {
    let port = free_port();
    let edge = start_edge(Some(port), |config| config.python_restart_window = Duration::from_millis(1500));
    is_litellms(&get(edge.port, "/x"), 503);
    // never seen up, so still starting, however long it takes
    std::thread::sleep(Duration::from_millis(1700));
    is_litellms(&get(edge.port, "/x"), 503);

    let up = Arc::new(AtomicBool::new(true));
    let serving = up.clone();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if !serving.load(Ordering::SeqCst) {
                return;
            }
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(ok("up").as_bytes());
        }
    });
    eventually(Duration::from_secs(10), "python is seen", || edge.edge.services.metrics.python_up.get() == 1);
    up.store(false, Ordering::SeqCst);
    server.join().unwrap(); // the prober's next question ends it
    is_litellms(&get(edge.port, "/x"), 503);
    eventually(Duration::from_secs(4), "the outage is one", || get(edge.port, "/x").status == 502);
    is_litellms(&get(edge.port, "/x"), 502);
    is_litellms(&post(edge.port, "/echo", "decline"), 502);
}

#[test]
fn strict_readiness_follows_python() {
    let edge = start_edge(Some(NOBODY), |config| config.strict_ready = true);
    assert_eq!(get(edge.port, "/edge/ready").status, 503);
    assert_eq!(get(edge.port, "/edge/live").status, 200);
}

#[test]
fn python_is_used_again_within_a_second_of_its_return() {
    let port = free_port();
    let edge = start_edge(Some(port), |_| {});
    is_litellms(&get(edge.port, "/x"), 503);
    std::thread::sleep(Duration::from_millis(600));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let back = Instant::now();
    let _python = FakePython::start_on(listener, true, |_, stream| stream.write_all(ok("python").as_bytes()).is_ok());
    assert_eq!(get(edge.port, "/x").text(), "python", "at once: the health state holds nothing up");
    eventually(Duration::from_secs(1), "readiness knows", || {
        get(edge.port, "/edge/ready").json()["python"]["state"] == "up"
    });
    assert!(back.elapsed() < Duration::from_secs(1));
    assert_eq!(edge.edge.services.metrics.python_up.get(), 1);
}

#[test]
fn a_hanging_python_times_out() {
    let python = FakePython::start(|_, _| {
        std::thread::sleep(Duration::from_secs(5));
        false
    });
    let edge = start_edge(Some(python.port), |config| config.python_timeout = Duration::from_millis(300));
    let start = Instant::now();
    is_litellms(&get(edge.port, "/x"), 504);
    is_litellms(&post(edge.port, "/echo", "decline"), 504);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(python.requests().len(), 2, "a timed-out request is never sent again");
}

#[test]
fn a_python_that_closes_unanswered_is_a_502_with_a_body() {
    let python = FakePython::start(|_, _| false);
    let edge = start_edge(Some(python.port), |_| {});
    is_litellms(&get(edge.port, "/x"), 502);
    is_litellms(&ask(edge.port, "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab"), 502);
    // on fresh connections nothing was sent twice
    assert_eq!(python.requests().len(), 2);
    edge.counts("litellm_edge_python_errors_total{kind=\"cut\"} 2");
}

#[test]
fn an_answer_that_python_cuts_is_cut_for_the_client() {
    let python = FakePython::start(|request, stream| {
        let framing =
            if request.line().contains("chunked") { "transfer-encoding: chunked" } else { "content-length: 100" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n").as_bytes()).unwrap();
        false
    });
    let edge = start_edge(Some(python.port), |_| {});
    for path in ["/chunked", "/length"] {
        let mut client = Client::to(edge.port);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: edge\r\n\r\n"));
        assert!(client.answer().is_none(), "{path}: a cut answer must not look complete");
    }
    // the same through a replay
    let mut client = Client::to(edge.port);
    client.send(crate::support::post_bytes("/echo", "decline"));
    assert!(client.answer().is_none());
}

/// A Python that answers the first request of a connection and breaks at the second.
fn breaking(after: Duration) -> FakePython {
    FakePython::start(move |request, stream| {
        if request.connection_was_used() {
            std::thread::sleep(after);
            return false;
        }
        stream.write_all(ok("fine").as_bytes()).is_ok()
    })
}

impl crate::support::Request {
    fn connection_was_used(&self) -> bool {
        self.nth > 0
    }
}

#[test]
fn a_post_on_a_connection_that_was_just_closing_is_sent_again() {
    let python = breaking(Duration::ZERO);
    let edge = start_edge(Some(python.port), |_| {});
    let request = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(ask(edge.port, request).text(), "fine");
    assert_eq!(ask(edge.port, request).text(), "fine", "the stale connection is not the client's problem");
    let seen = python.requests();
    assert_eq!(seen.iter().map(|request| request.body.clone()).collect::<Vec<_>>(), vec![b"body".to_vec(); 3]);
    assert_eq!(seen.iter().map(|request| request.nth).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_post_whose_writing_fails_on_a_closing_connection_is_sent_again() {
    // the connection is reset while the body is being written: head read, the rest refused
    let python = FakePython::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), false, |request, stream| {
        if request.connection_was_used() {
            return false; // unread bytes: closing resets
        }
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        let length = length - request.body.len();
        std::io::copy(&mut std::io::Read::take(&mut *stream, length as u64), &mut std::io::sink()).unwrap();
        stream.write_all(ok("fine").as_bytes()).is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    for round in 0..20 {
        let mut client = Client::to(edge.port);
        client.send("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n");
        client.send(vec![b'x'; 60_000]);
        assert_eq!(client.answer().unwrap().text(), "fine", "round {round}");
    }
}

#[test]
fn a_post_that_python_may_have_executed_is_not_sent_again() {
    let python = breaking(Duration::from_millis(300));
    let edge = start_edge(Some(python.port), |config| config.stale_window = Duration::from_millis(50));
    let request = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(ask(edge.port, request).text(), "fine");
    is_litellms(&ask(edge.port, request), 502);
    assert_eq!(python.requests().len(), 2);
    // an idempotent one is
    assert_eq!(get(edge.port, "/x").text(), "fine");
    assert_eq!(get(edge.port, "/x").text(), "fine");
}

#[test]
fn a_post_that_python_began_to_answer_is_not_sent_again() {
    let python = FakePython::start(|request, stream| {
        if request.connection_was_used() {
            stream.write_all(b"HTTP/1.1 2").unwrap();
            return false;
        }
        stream.write_all(ok("fine").as_bytes()).is_ok()
    });
    let edge = start_edge(Some(python.port), |_| {});
    let request = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(ask(edge.port, request).text(), "fine");
    is_litellms(&ask(edge.port, request), 502);
    assert_eq!(python.requests().len(), 2);
}

#[test]
fn a_body_that_is_no_longer_in_memory_is_not_sent_again() {
    let python = breaking(Duration::ZERO);
    let edge = start_edge(Some(python.port), |_| {});
    let request = |size: usize| {
        let mut bytes = format!("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        bytes.extend(vec![b'x'; size]);
        bytes
    };
    assert_eq!(ask(edge.port, request(10)).text(), "fine");
    is_litellms(&ask(edge.port, request(200_000)), 502);
    assert_eq!(python.requests().len(), 2);
}

#[test]
fn without_python_the_answer_names_route_and_reason() {
    let edge = start_edge(None, |_| {});
    let answer = get(edge.port, "/key/list");
    assert_eq!((answer.status, answer.header("retry-after")), (501, None));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("unlisted"));
    let answer = post(edge.port, "/echo", "decline");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("echo") && message.contains("field"), "{message}");
    let answer =
        ask(edge.port, "POST /echo HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer x\r\ncontent-length: 1\r\n\r\nx");
    assert!(answer.text().contains("virtual_key") && !answer.text().contains(MASTER));
    assert_eq!(get(edge.port, "/edge/ready").json()["python"]["state"], "not_configured");
}
