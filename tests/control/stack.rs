//! The real binary with Postgres and Redis behind wires, a provider that tells every call apart, and a Python that says
//! what it was asked.
use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    backing::{Database, REDIS_PASSWORD, RedisServer},
    gateway::{Folder, Process},
    support::{Answer, Client, FakePython, MASTER, Request, ask, eventually},
    wire::Wire,
};

pub(crate) const PROVIDER_KEY: &str = "sk-canary-provider-key";
/// What LiteLLM seals its models with.
pub(crate) const SALT: (&str, &str) = ("LITELLM_SALT_KEY", "sk-canary-salt");
/// What a chat call costs: 10,000 tokens in, 5,000 out, of gpt-4o in LiteLLM's price list.
pub(crate) const COST: f64 = 10_000.0 * 2.5e-6 + 5_000.0 * 1e-5;
/// What the Python behind the edge says of everything.
pub(crate) const PYTHONS: &str = r#"{"detail":"python"}"#;

pub(crate) struct Stack {
    pub process: Process,
    pub folder: Folder,
    pub log: PathBuf,
    pub database: Database,
    pub server: RedisServer,
    pub postgres: Wire,
    pub redis: Wire,
    pub provider: FakePython,
    pub python: FakePython,
}

impl Stack {
    /// `python`: another Python than the fake one; `general`: further lines of `general_settings`.
    pub(crate) fn with(database: Database, server: RedisServer, python: Option<u16>, general: &str) -> Self {
        let (postgres, redis) = (Wire::to(database.port), Wire::to(server.port));
        let (provider, fake) = (provider(), python_fake());
        let folder = Folder::new();
        let config = config(provider.port, &database.url(postgres.port), redis.port, general);
        let config = folder.write("config.yaml", &config);
        let routes = folder.write("routes.toml", &routes(python.unwrap_or(fake.port)));
        let log = folder.0.join("log");
        let args = ["--config", config.to_str().unwrap(), "--routes", routes.to_str().unwrap(), "--log-format", "json"];
        let env = [SALT, ("LITELLM_EDGE_UNGATED", "1"), ("RUST_LOG", "debug,h2=info,hyper_util=info,sqlx=info")];
        let process = Process::with(&args, &env, fs::File::create(&log).unwrap().into());
        let stack = Self { process, folder, log, database, server, postgres, redis, provider, python: fake };
        eventually(Duration::from_secs(10), "the stores are seen", || {
            stack.store("postgres") == "up" && stack.store("redis") == "up"
        });
        stack
    }

    /// The edge once more, with the same files and wires.
    pub(crate) fn restart(&mut self) {
        let file = |name: &str| self.folder.0.join(name).to_str().unwrap().to_owned();
        let (config, routes) = (file("config.yaml"), file("routes.toml"));
        let args = ["--config", &config, "--routes", &routes, "--log-format", "json"];
        let log = fs::File::options().append(true).open(&self.log).unwrap();
        self.process = Process::with(&args, &[SALT, ("LITELLM_EDGE_UNGATED", "1")], log.into());
    }

    pub(crate) fn chat(&self, key: &str) -> Answer {
        ask(self.process.port, chat(key))
    }

    /// A call that the edge itself answers.
    pub(crate) fn native(&self, key: &str) -> Answer {
        let answer = self.chat(key);
        assert_eq!(side(&answer), NATIVE, "{}\n{}", answer.text(), self.log());
        answer
    }

    /// As [`Stack::chat`], with the time it took.
    pub(crate) fn timed(&self, key: &str) -> (Answer, Duration) {
        let start = Instant::now();
        let mut client = Client::to(self.process.port);
        client.stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        client.send(chat(key));
        (client.answer().expect("an answer"), start.elapsed())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(self.process.port, format!("GET {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n"))
    }

    /// `stores` of the status page.
    pub(crate) fn stores(&self) -> Value {
        self.get("/edge/status").json()["stores"].clone()
    }

    pub(crate) fn store(&self, name: &str) -> String {
        self.stores()[name].as_str().unwrap_or_default().to_owned()
    }

    /// A series of `/edge/metrics`; `None`: it is not there.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/edge/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Rows of `LiteLLM_SpendLogs` by request id.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.database.column(r#"SELECT request_id FROM "LiteLLM_SpendLogs" ORDER BY 1"#)
    }

    /// Everything spend is written to agrees: `calls` of them, each once.
    pub(crate) fn books_say(&self, calls: usize) {
        let cost = COST * calls as f64;
        let sums = [
            r#"SELECT sum(spend) FROM "LiteLLM_SpendLogs""#,
            r#"SELECT sum(spend) FROM "LiteLLM_VerificationToken""#,
            r#"SELECT sum(spend) FROM "LiteLLM_TeamTable""#,
            r#"SELECT sum(spend) FROM "LiteLLM_UserTable""#,
            r#"SELECT sum(spend) FROM "LiteLLM_DailyUserSpend""#,
            r#"SELECT sum(spend) FROM "LiteLLM_DailyTeamSpend""#,
            r#"SELECT sum(spend) FROM "LiteLLM_DailyModelUsage""#,
        ];
        for sql in sums {
            let sum = self.database.number(sql);
            assert!((sum - cost).abs() < 1e-6, "{sql}: {sum}, {calls} calls cost {cost}");
        }
        let rows = self.database.number(r#"SELECT count(*) FROM "LiteLLM_SpendLogs""#);
        let requests = self.database.number(r#"SELECT sum(api_requests) FROM "LiteLLM_DailyTeamSpend""#);
        assert_eq!((rows, requests), (calls as f64, calls as f64));
    }

    /// Waits until the ledger holds nothing.
    pub(crate) fn written(&self, limit: Duration) {
        // a call is submitted when its answer is out
        std::thread::sleep(Duration::from_millis(100));
        eventually(limit, "spend is written", || self.stores()["ledger"]["records"] == 0);
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

pub(crate) fn side(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-litellm-edge").unwrap_or("none"))
}

pub(crate) const NATIVE: (u16, &str) = (200, "native");
/// What Python refuses, Python refuses.
pub(crate) const PYTHON: (u16, &str) = (503, "python");

pub(crate) const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"canary-prompt"}]}"#;

pub(crate) fn chat(key: &str) -> Vec<u8> {
    with_key(&format!("authorization: Bearer {key}\r\nuser-agent: proof/1"), "/v1/chat/completions", CHAT)
}

/// A POST with one header line of its own.
pub(crate) fn with_key(line: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: edge\r\n{line}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn provider() -> FakePython {
    let count = Arc::new(AtomicU64::new(0));
    FakePython::start(move |request, stream| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        // a provider that repeats what it was sent, key and all
        if let Some(failure) = echo(request) {
            return stream.write_all(failure.as_bytes()).is_ok();
        }
        let body = match request.line().contains("/messages") {
            true => format!(
                r#"{{"id":"msg_{n}","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{{"type":"text","text":"native"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":10,"output_tokens":5}}}}"#
            ),
            false => format!(
                r#"{{"id":"chatcmpl-{n}","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"native"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":10000,"completion_tokens":5000,"total_tokens":15000}}}}"#
            ),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).is_ok()
    })
}

/// The answer to a call that asks for a failure: its `seed` (or `top_k`) is the status.
fn echo(request: &Request) -> Option<String> {
    let body: Value = serde_json::from_slice(&request.body).ok()?;
    let status = body["seed"].as_u64().or_else(|| body["top_k"].as_u64())?;
    let key = request.header("authorization").or_else(|| request.header("x-api-key")).unwrap_or_default();
    // (a prompt in the JSON text of a JSON text is kept by LiteLLM, too)
    let sent = if body["seed"].is_u64() { String::from_utf8_lossy(&request.body) } else { "that".into() };
    let message = format!("Incorrect API key provided: {key}. You sent {sent}");
    let error = serde_json::json!({"type": "error", "error": {"message": message, "type": "invalid_request_error", "code": "bad"}});
    if status != 200 {
        let (error, more) = (error.to_string(), "x-request-id: req_1\r\n");
        let length = error.len();
        return Some(format!(
            "HTTP/1.1 {status} Failed\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n{error}"
        ));
    }
    let event = match request.line().contains("/messages") {
        true => format!("event: error\ndata: {error}\n\n"),
        false => format!("data: {error}\n\n"),
    };
    let length = event.len();
    Some(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{event}"))
}

fn python_fake() -> FakePython {
    FakePython::start(|_, stream| {
        let head = format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{PYTHONS}", PYTHONS.len());
        stream.write_all(head.as_bytes()).is_ok()
    })
}

pub(crate) fn config(provider: u16, database: &str, redis: u16, general: &str) -> String {
    format!(
        "model_list:
  - model_name: m
    litellm_params: {{model: openai/gpt-4o, api_base: 'http://127.0.0.1:{provider}/v1', api_key: {PROVIDER_KEY}}}
    model_info: {{id: of-test}}
  - model_name: c
    litellm_params: {{model: anthropic/claude-sonnet-4-5-20250929, api_base: 'http://127.0.0.1:{provider}', api_key: {PROVIDER_KEY}}}
    model_info: {{id: of-test-c}}
litellm_settings: {{num_retries: 0}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings:
  master_key: {MASTER}
  database_url: {database}
  coordination_redis: {{host: 127.0.0.1, port: {redis}, password: {REDIS_PASSWORD}}}
  proxy_batch_write_at: 1
{general}"
    )
}

fn routes(python: u16) -> String {
    let row = |id: &str, method: &str, path: &str, more: &str| {
        format!(
            "[[route]]\nid = \"{id}\"\nmatch = {{ methods = [\"{method}\"], paths = [\"{path}\"] }}\nmode = \"native\"\n{more}"
        )
    };
    format!(
        "schema = 1\n[python]\nurl = \"http://127.0.0.1:{python}\"\n{}{}{}{}{}{}",
        row("chat_completions", "POST", "/v1/chat/completions", ""),
        row("messages", "POST", "/v1/messages", ""),
        row("models", "GET", "/v1/models", ""),
        row("health_liveliness", "GET", "/health/liveliness", ""),
        row("health_readiness", "GET", "/health/readiness", ""),
        row("metrics", "GET", "/metrics", ""),
    )
}
