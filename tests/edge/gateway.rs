//! The binary as a process, alone or with the real routes: config.yaml, routes.toml and a provider.
use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::support::{Answer, FakePython, MASTER, ask, eventually, free_port, post_bytes};

pub(crate) struct Process {
    pub child: Child,
    pub port: u16,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::logging(args, Stdio::null())
    }

    pub(crate) fn logging(args: &[&str], log: Stdio) -> Self {
        Self::with(args, &[], log)
    }

    pub(crate) fn with(args: &[&str], env: &[(&str, &str)], log: Stdio) -> Self {
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(args)
            .env_remove("RUST_LOG")
            .env_remove("DATABASE_URL")
            .env("LITELLM_MASTER_KEY", MASTER)
            .envs(env.iter().copied())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { child, port };
        process.accepts();
        process
    }

    /// Takes over a process that was started otherwise.
    pub(crate) fn of(child: Child, port: u16) -> Self {
        let process = Self { child, port };
        process.accepts();
        process
    }

    fn accepts(&self) {
        let port = self.port;
        eventually(Duration::from_secs(10), "the process accepts", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    pub(crate) fn before(python: u16, args: &[&str]) -> Self {
        let address = format!("http://127.0.0.1:{python}");
        Self::start(&[&["--python", &address], args].concat())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn exit(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Peak resident memory in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is gone with the value.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("litellm-edge-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Replaces a file at once, as a deployment does.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, next) = (self.0.join(name), self.0.join("next"));
        fs::write(&next, text).unwrap();
        fs::rename(next, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with the real chat, models, health and metrics routes before a fake provider.
pub(crate) struct Gateway {
    pub process: Process,
    pub folder: Folder,
    pub provider: FakePython,
}

/// What a chat request says.
pub(crate) const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

impl Gateway {
    /// `python`: the port of `[python] url`; there is no `--python`.
    pub(crate) fn start(python: u16, args: &[&str], env: &[(&str, &str)], log: Stdio) -> Self {
        let provider = FakePython::start(|_, stream| {
            let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"native"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            std::io::Write::write_all(stream, head.as_bytes()).is_ok()
        });
        let folder = Folder::new();
        let config = folder.write("config.yaml", &config(provider.port));
        let routes = folder.write("routes.toml", &routes(python, "native"));
        let files = ["--config", config.to_str().unwrap(), "--routes", routes.to_str().unwrap()];
        let env = [env, &[("LITELLM_EDGE_UNGATED", "1")]].concat();
        let process = Process::with(&[&files, args].concat(), &env, log);
        Self { process, folder, provider }
    }

    pub(crate) fn chat(&self) -> Answer {
        ask(self.process.port, post_bytes("/v1/chat/completions", CHAT))
    }

    /// A GET by the master key.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n");
        ask(self.process.port, request)
    }

    pub(crate) fn side(&self) -> String {
        let answer = self.chat();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-litellm-edge").unwrap().to_owned()
    }

    /// A counter of `/metrics`; 0 where it is not there.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

pub(crate) fn config(provider: u16) -> String {
    format!(
        "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/m, api_base: 'http://127.0.0.1:{provider}/v1', api_key: k}}\n\
         litellm_settings: {{num_retries: 0}}\nrouter_settings: {{num_retries: 0, disable_cooldowns: true}}\ngeneral_settings: {{master_key: {MASTER}}}\n"
    )
}

pub(crate) fn routes(python: u16, mode: &str) -> String {
    let row = |id: &str, mode: &str, method: &str, path: &str| {
        format!(
            "[[route]]\nid = \"{id}\"\nmatch = {{ methods = [\"{method}\"], paths = [\"{path}\"] }}\nmode = \"{mode}\"\n"
        )
    };
    format!(
        "schema = 1\n[python]\nurl = \"http://127.0.0.1:{python}\"\n[switch]\nfile = \"all-python\"\n{}{}{}{}{}",
        row("chat_completions", mode, "POST", "/v1/chat/completions"),
        row("models", "native", "GET", "/v1/models"),
        row("health_liveliness", "native", "GET", "/health/liveliness"),
        row("health_readiness", "native", "GET", "/health/readiness"),
        row("metrics", "native", "GET", "/metrics"),
    )
}
