//! Flipping a route while 1,000 streams are open loses none of them: those that started natively finish natively,
//! new ones go where the file says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const STREAMS: usize = 1000;
const EVENTS: usize = 30;
const KEY: &str = "sk-flip-test-master-key";

/// Answers every POST with a slow chat stream that names `who`; anything else with 200.
async fn provider(who: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                while let Some(head) = read_request(&mut socket).await {
                    if !head.starts_with("POST") {
                        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                        continue;
                    }
                    let _ = socket
                        .write_all(
                            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                        )
                        .await;
                    for n in 0..EVENTS {
                        let event = format!(
                            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{who}{n}.\"}},\"finish_reason\":null}}]}}\n\n"
                        );
                        if socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    let _ = socket.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await;
                }
            });
        }
    });
    port
}

/// The head of the next request, its body skipped; `None` at the end of the connection.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|v| v.trim().parse::<usize>().unwrap())
                })
                .unwrap_or(0);
            while seen.len() < end + 4 + length {
                let n = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
                seen.extend_from_slice(&buffer[..n]);
            }
            return Some(head);
        }
        let n = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        seen.extend_from_slice(&buffer[..n]);
    }
}

/// One streamed chat request: (side that served it, the whole answer).
async fn stream(port: u16, first: Arc<AtomicUsize>) -> (String, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let mut counted = false;
    loop {
        let n = socket.read(&mut buffer).await.expect("the stream was reset");
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..n]);
        if !counted {
            first.fetch_add(1, Ordering::SeqCst);
            counted = true;
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    let side =
        answer.lines().find_map(|line| line.strip_prefix("x-litellm-edge: ")).unwrap_or("none").trim().to_owned();
    (side, answer)
}

fn whole(answer: &str, who: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
        && answer.ends_with("0\r\n\r\n")
        && answer.contains("data: [DONE]")
        && (0..EVENTS).all(|n| answer.contains(&format!("\"{who}{n}.\"")))
}

struct Edge(Child);
impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write_routes(path: &Path, python: u16, mode: &str) {
    let text = format!(
        "schema = 1\n[python]\nurl = \"http://127.0.0.1:{python}\"\nversions = \"=1.106.2\"\n[gate]\nevidence = \"evidence\"\nmax_age = \"30d\"\n\
         [[route]]\nid = \"chat_completions\"\nmatch = {{ methods = [\"POST\"], paths = [\"/v1/chat/completions\"] }}\nmode = \"{mode}\"\n"
    );
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

async fn until_served_by(port: u16, side: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        // the head is enough: ask, read it, leave
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 8 << 10];
        let n = socket.read(&mut buffer).await.unwrap();
        if String::from_utf8_lossy(&buffer[..n]).contains(&format!("x-litellm-edge: {side}")) {
            return;
        }
        assert!(Instant::now() < deadline, "the flip to {side} was not seen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The test holds some 2,000 sockets and the edge as many.
fn raise_open_files() {
    #[allow(unsafe_code)]
    // SAFETY: plain libc calls on a local struct
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipping_under_a_thousand_streams_loses_none() {
    raise_open_files();
    let (native, python) = (provider("native").await, provider("python").await);
    let folder = std::env::temp_dir().join(format!("litellm-rust-flip-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (config, routes) = (folder.join("config.yaml"), folder.join("routes.toml"));
    std::fs::write(
        &config,
        format!(
            "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/m, api_base: 'http://127.0.0.1:{native}/v1', api_key: k}}\n\
             litellm_settings: {{num_retries: 0}}\nrouter_settings: {{num_retries: 0, disable_cooldowns: true}}\ngeneral_settings: {{master_key: {KEY}}}\n"
        ),
    )
    .unwrap();
    write_routes(&routes, python, "native");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let edge = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .args(["--config", config.to_str().unwrap(), "--routes", routes.to_str().unwrap(), "--host", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--python", &format!("http://127.0.0.1:{python}")])
        .env("LITELLM_EDGE_UNGATED", "1")
        .env_remove("DATABASE_URL")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _edge = Edge(edge);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "the edge did not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until_served_by(port, "native").await;

    let started = Arc::new(AtomicUsize::new(0));
    let open: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(stream(port, started.clone()))).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while started.load(Ordering::SeqCst) < STREAMS {
        assert!(Instant::now() < deadline, "only {} streams started", started.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    write_routes(&routes, python, "python");
    until_served_by(port, "python").await;
    let began = Arc::new(AtomicUsize::new(0));
    let during = tokio::spawn(stream(port, began.clone()));
    while began.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    write_routes(&routes, python, "native");
    until_served_by(port, "native").await;

    for task in open {
        let (side, answer) = task.await.expect("a stream was lost");
        assert_eq!(side, "native");
        assert!(whole(&answer, "native"), "cut: {answer}");
    }
    let (side, answer) = during.await.unwrap();
    assert_eq!(side, "python");
    assert!(whole(&answer, "python"), "cut: {answer}");
    std::fs::remove_dir_all(&folder).unwrap();
}
