//! An edge with test routes and test hooks as a process of its own: this test binary, started again.
use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use litellm_rust::{
    edge::{self, EdgeConfig, Hooks, Signals},
    telemetry::{self, LogFormat},
};

use crate::{
    gateway::{Folder, Process},
    support::{Client, MASTER, ask, build_edge, eventually, free_port, get, post_bytes},
};

const PORT: &str = "EDGE_TEST_PORT";
const FOLDER: &str = "EDGE_TEST_FOLDER";

fn note(folder: &str, line: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(Path::new(folder).join("notes")).unwrap();
    writeln!(file, "{line}").unwrap();
}

#[test]
#[ignore = "not a test: the process that the others start"]
fn child() {
    let (Ok(port), Ok(folder)) = (env::var(PORT), env::var(FOLDER)) else { return };
    telemetry::init(LogFormat::Json, "info");
    telemetry::hush_panics();
    let mut hooks = Hooks::default();
    let at = folder.clone();
    hooks.reload.push(Box::new(move || note(&at, "reloaded")));
    hooks.flush.push(Box::new(move || {
        let at = folder.clone();
        Box::pin(async move {
            note(&at, "flush begins");
            tokio::time::sleep(Duration::from_millis(400)).await;
            note(&at, "flush ends");
        })
    }));
    let config = EdgeConfig { listen: vec![format!("127.0.0.1:{port}")], threads: 2, ..EdgeConfig::default() };
    edge::run(build_edge(config, crate::routes::TABLE, |_| {}, hooks), Signals::Process).unwrap();
}

fn start(folder: &Folder) -> Process {
    let port = free_port();
    let log = fs::File::create(folder.0.join("log")).unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child::child", "--nocapture"])
        .env(PORT, port.to_string())
        .env(FOLDER, &folder.0)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Process::of(child, port)
}

#[test]
fn hooks_are_called_at_sighup_and_awaited_before_the_exit() {
    for (signal, limit) in [("-TERM", Duration::from_secs(5)), ("-INT", Duration::from_secs(5))] {
        let folder = Folder::new();
        let notes = || fs::read_to_string(folder.0.join("notes")).unwrap_or_default();
        let mut process = start(&folder);
        // the first may come before the handler is there, and is ignored then
        eventually(Duration::from_secs(10), "the reload hook was called", || {
            process.signal("-HUP");
            std::thread::sleep(Duration::from_millis(50));
            !notes().is_empty()
        });
        std::thread::sleep(Duration::from_millis(200));
        let before = notes();
        process.signal("-HUP");
        eventually(Duration::from_secs(10), "each SIGHUP is one call", || notes() == format!("{before}reloaded\n"));
        let before = notes();
        assert_eq!(get(process.port, "/edge/live").status, 200);
        // a request in flight is finished first, then the queues are written: it may have put something in
        let mut client = Client::to(process.port);
        if signal == "-TERM" {
            client.send(post_bytes("/slow", "500"));
            std::thread::sleep(Duration::from_millis(200));
        }
        process.signal(signal);
        if signal == "-TERM" {
            assert_eq!(client.answer().unwrap().text(), "slow");
            assert!(!notes().contains("flush ends"), "{}", notes());
        }
        assert_eq!(process.exit(limit), Some(0));
        assert_eq!(notes(), format!("{before}flush begins\nflush ends\n"), "{signal}");
    }
}

#[test]
fn a_panic_is_logged_with_its_place_and_without_its_words() {
    let folder = Folder::new();
    let mut process = start(&folder);
    let mut said = Vec::new();
    for body in ["execution canary-prompt", "stream canary-prompt", "admission canary-prompt", "later canary-prompt"] {
        let mut client = Client::to(process.port);
        let plain = String::from_utf8(post_bytes("/panic?key=sk-canary-in-query", body)).unwrap();
        client.send(plain.replacen("Host", "X-Other: sk-canary-0123456789\r\nHost", 1).into_bytes());
        if body.starts_with("later") {
            std::thread::sleep(Duration::from_millis(50));
            drop(client); // it panics when nobody listens any more
            std::thread::sleep(Duration::from_millis(400));
        } else {
            said.extend(client.answer().map(|answer| answer.head.clone() + &answer.text()));
        }
    }
    said.extend(["/edge/status", "/edge/metrics", "/edge"].map(|page| {
        let head = format!("GET {page} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {MASTER}\r\n\r\n");
        ask(process.port, head).text()
    }));
    let secret = |text: &str| [MASTER, "canary-prompt", "sk-canary"].iter().any(|secret| text.contains(secret));
    assert!(said.len() >= 5 && !said.iter().any(|text| secret(text)), "{said:?}");
    process.signal("-TERM");
    assert_eq!(process.exit(Duration::from_secs(5)), Some(0), "nothing hangs in the counters");
    let log = fs::read_to_string(folder.0.join("log")).unwrap();
    assert!(!log.contains("canary") && !secret(&log), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let with = |message: &str| lines.iter().filter(|line| line["message"].as_str() == Some(message)).count();
    // the stream panics twice: at its second event and when its log line is asked for
    assert_eq!(with("panic"), 5, "{log}");
    assert!(lines.iter().any(|line| line["place"].as_str().is_some_and(|place| place.contains("routes.rs"))), "{log}");
    assert_eq!(with("a native route panicked, the caller gets a 500"), 1, "{log}");
    assert_eq!(with("the stream of a native route panicked, the answer is cut"), 1, "{log}");
    assert_eq!(with("a native route panicked after its client had left"), 1, "{log}");
    // each has its line in the access log
    assert_eq!(lines.iter().filter(|line| line["target"] == "access" && line["route"] == "panic").count(), 4, "{log}");
}
