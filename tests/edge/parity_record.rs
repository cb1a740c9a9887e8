//! `parity record` and back: live traffic through an edge becomes cases, `parity run` plays them against two base URLs,
//! and a changed recording is seen.
use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::{
    gateway::{Folder, Process, config, routes},
    support::{FakePython, MASTER, Request, ask, free_port, ok, post, post_bytes},
};

/// Looks like a key, and stands in the prompt, in the provider's answers and in a header.
const CANARY: &str = "sk-canary0123456789abcdefghij";
const DETAILS: &str = r#"{"status":"healthy","litellm_version":"1.106.2"}"#;

fn json(stream: &mut TcpStream, headers: &str, body: &str) -> bool {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).is_ok()
}

/// Speaks OpenAI's format, with a date that moves.
fn provider() -> FakePython {
    FakePython::start(|request, stream| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let volatile = "date: Sun, 22 Nov 2026 01:00:00 GMT\r\nset-cookie: a=b\r\nx-request-id: req_1\r\n";
        if request.line().contains("/embeddings") {
            return json(stream, volatile, r#"{"object":"list","data":[{"embedding":[0.5],"index":0}],"model":"e"}"#);
        }
        if !body.contains("\"stream\":true") && !body.contains("\"stream\": true") {
            let message = format!(r#"{{"role":"assistant","content":"pong {CANARY}"}}"#);
            let body = format!(
                r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
            );
            return json(stream, volatile, &body);
        }
        let chunk = |delta: &str, end: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-2\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{end}}}]}}\n\n"
            )
        };
        let events = chunk(r#"{"role":"assistant","content":"po"}"#, "null")
            + &chunk(&format!(r#"{{"content":"ng {CANARY}"}}"#), "null")
            + &chunk("{}", "\"stop\"")
            + "data: [DONE]\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{:x}\r\n{events}\r\n0\r\n\r\n", events.len()).as_bytes()).is_ok()
    })
}

/// A gateway in the place of Python: says its version, and calls `provider` for embeddings.
fn gateway(provider: u16) -> FakePython {
    FakePython::start(move |request: &Request, stream| {
        if request.line().contains("/health/readiness/details") {
            return json(stream, "", DETAILS);
        }
        if !request.line().contains("/v1/embeddings") {
            return stream.write_all(ok("?").as_bytes()).is_ok();
        }
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: p\r\nauthorization: Bearer sk-provider\r\ncontent-type: application/json\r\n";
        let mut call = format!("{head}content-length: {}\r\n\r\n", request.body.len()).into_bytes();
        call.extend_from_slice(&request.body);
        json(stream, "llm_provider-x: y\r\n", &ask(provider, call).text())
    })
}

fn recorded(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("cases"))
        .unwrap()
        .flat_map(|route| fs::read_dir(route.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

fn replay(suite: &Path, python: &str, edge: &str, provider: u16) -> Output {
    Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .args(["parity", "run", "--no-evidence", "--python", python, "--edge", edge])
        .args(["--provider-port", &provider.to_string(), "--suite"])
        .arg(suite)
        .env("PARITY_MASTER_KEY", MASTER)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn live_traffic_is_recorded_played_back_and_a_changed_recording_is_seen() {
    let provider = provider();
    let by_way = free_port();
    let python = gateway(by_way);
    let folder = Folder::new();
    let suite = folder.0.join("suite");
    let log = folder.0.join("record.log");
    let port = free_port();
    let child = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .args(["parity", "record", "--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--provider", &format!("127.0.0.1:{by_way}=http://127.0.0.1:{}", provider.port)])
        .args(["--route", "chat_completions", "--route", "pass_through", "--redact-field", "nickname"])
        .args([Path::new("--out"), &suite, Path::new("--config"), &folder.write("live.yaml", &config(provider.port))])
        .args([Path::new("--routes"), &folder.write("routes.toml", &routes(python.port, "native"))])
        .env("LITELLM_EDGE_UNGATED", "1")
        .env("LITELLM_MASTER_KEY", MASTER)
        .env_remove("DATABASE_URL")
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut live = Process::of(child, port);

    let chat = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"say {CANARY}"}}]}}"#);
    let streamed = chat.replacen('{', r#"{"stream":true,"#, 1);
    let answer = post(port, "/v1/chat/completions", &chat);
    assert_eq!((answer.status, answer.header("x-litellm-edge")), (200, Some("native")), "{}", answer.text());
    assert_eq!(post(port, "/v1/chat/completions", &streamed).status, 200);
    let embed = post_bytes("/v1/embeddings", r#"{"model":"e","input":"a text to embed","nickname":"Annie"}"#);
    let embed = String::from_utf8(embed).unwrap().replacen("Host", &format!("X-Mine: {CANARY}\r\nHost"), 1);
    let answer = ask(port, embed);
    assert_eq!((answer.status, answer.header("x-litellm-edge")), (200, Some("python")), "{}", answer.text());
    live.signal("-TERM");
    assert_eq!(live.exit(Duration::from_secs(20)), Some(0));

    let files = recorded(&suite);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(files.len(), 3, "{files:?}: {log}");
    assert!(!log.contains(CANARY) && !log.contains("canary0123"), "{log}");
    for file in &files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let case = fs::read_to_string(file).unwrap();
        for secret in [CANARY, "canary0123", MASTER, "sk-provider", "Annie", "set-cookie", "22 Nov 2026"] {
            assert!(!case.contains(secret), "{secret} in {case}");
        }
    }

    // another gateway and another edge, whose providers are the runner's
    let scripted = free_port();
    let python = gateway(scripted);
    let replayed = folder.write("replay.yaml", &config(scripted));
    let table = folder.write("routes.toml", &routes(python.port, "native"));
    let args = ["--config", replayed.to_str().unwrap(), "--routes", table.to_str().unwrap()];
    let edge = Process::with(&args, &[("LITELLM_EDGE_UNGATED", "1")], Stdio::null());
    let url = format!("http://127.0.0.1:{}", edge.port);
    let green = replay(&suite, &url, &url, scripted);
    assert_eq!(green.status.code(), Some(0), "{}", text(&green));
    // two gateways, neither of them an edge: nobody is asked who served
    let one = &files.iter().find(|file| file.to_str().unwrap().contains("pass_through")).unwrap();
    let plain = folder.0.join("plain/cases/pass_through");
    fs::create_dir_all(&plain).unwrap();
    fs::copy(one, plain.join("a.yaml")).unwrap();
    let other = gateway(scripted);
    let both = [&python, &other].map(|gateway| format!("http://127.0.0.1:{}/corp/llm/", gateway.port));
    let before = python.requests().len();
    let alike = replay(&folder.0.join("plain"), &both[0], &both[1], scripted);
    assert_eq!(alike.status.code(), Some(0), "{}", text(&alike));
    for (gateway, before) in [(&python, before), (&other, 0)] {
        let asked: Vec<String> =
            gateway.requests().iter().skip(before).map(|request| request.line().to_owned()).collect();
        assert!(asked.iter().any(|line| line.starts_with("POST /corp/llm/v1/embeddings ")), "{asked:?}");
        assert!(asked.iter().all(|line| line.contains(" /corp/llm/")), "everything is asked below the base: {asked:?}");
    }

    let file = files.iter().find(|file| file.to_str().unwrap().contains("chat_completions")).unwrap();
    let case = fs::read_to_string(file).unwrap();
    let (own, answer) = case.split_once("\nrecorded:").unwrap();
    fs::write(file, format!("{own}\nrecorded:{}", answer.replacen("pong", "pang", 1))).unwrap();
    let red = replay(&suite, &url, &url, scripted);
    assert_eq!(red.status.code(), Some(1), "{}", text(&red));
    assert!(text(&red).contains("recorded[0].body/choices/0/message/content"), "{}", text(&red));
    let page = fs::read_to_string(suite.join("out/report.html")).unwrap();
    assert!(page.contains("recorded[0].body/choices/0/message/content"));
    // neither in what a failed run says and keeps
    for file in fs::read_dir(suite.join("out")).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file())
    {
        let kept = fs::read_to_string(&file).unwrap() + &text(&red);
        for secret in [CANARY, "canary0123", MASTER, "sk-provider", "Annie"] {
            assert!(!kept.contains(secret), "{secret} in {}", file.display());
        }
    }
}

#[test]
fn an_edge_of_another_build_is_refused() {
    let zombie = FakePython::start(|request, stream| match request.line() {
        line if line.contains("/edge/ready") => json(stream, "", r#"{"source_digest":"of an older build"}"#),
        _ => json(stream, "", DETAILS),
    });
    let suite = Folder::new();
    fs::create_dir_all(suite.0.join("cases/messages")).unwrap();
    let case = "{route: messages, why: w, expect: passed, request: {method: GET, path: /}}";
    fs::write(suite.0.join("cases/messages/a.yaml"), case).unwrap();
    let url = format!("http://127.0.0.1:{}", zombie.port);
    let refused = replay(&suite.0, &url, &url, free_port());
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("another build (of an older build)"), "{}", text(&refused));
    assert!(!suite.0.join("out/report.json").exists());
}
