//! Secrets go through every path that says something, and are in nothing that is said.
use std::{fs, process::Command, time::Duration};

use crate::{
    backing::{DB_PASSWORD, REDIS_PASSWORD, backing},
    stack::{self, CHAT, PROVIDER_KEY, Stack, with_key},
    support::{MASTER, ask, eventually, get},
    wire::Mode,
};

const KEY: &str = "sk-canary-virtual-key-aaaaaaaa";
const WRONG: &str = "sk-canary-wrong-key-bbbbbbbbbb";
/// What the caller said.
const PROMPT: &str = "canary-prompt";

/// Where something was said, and what.
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, whence: &str, text: impl Into<String>) {
        self.0.push((whence.into(), text.into()));
    }

    fn has_none_of(&self, canaries: &[&str]) {
        for (whence, text) in &self.0 {
            for canary in canaries {
                let found = text.find(canary).map(|at| {
                    let from = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                    &text[from..at + canary.len()]
                });
                assert!(found.is_none(), "{canary} in {whence}: ...{}", found.unwrap());
            }
        }
    }
}

#[test]
fn no_secret_is_in_anything_that_is_said() {
    let Some(backing) = backing() else { return };
    let database = backing.database();
    database.key(KEY, &[]);
    let stack = Stack::with(database, backing.redis(), None, "  user_api_key_cache_ttl: 1\n");
    let mut said = Said(Vec::new());
    let port = stack.process.port;

    // success, refusal, decline, bad request: in every header a key may come in
    for name in ["authorization: Bearer", "x-api-key:", "api-key:", "x-litellm-api-key:", "x-goog-api-key:"] {
        for key in [KEY, WRONG, MASTER] {
            let chat = ask(port, with_key(&format!("{name} {key}"), "/v1/chat/completions", CHAT));
            said.add("a chat", chat.head.clone() + &chat.text());
        }
    }
    let odd = [
        with_key(&format!("authorization: Bearer {KEY}"), "/v1/chat/completions", r#"{"model":"canary-prompt"#),
        with_key(
            &format!("authorization: Bearer {KEY}"),
            "/v1/chat/completions",
            r#"{"model":"none","messages":[{"role":"user","content":"canary-prompt"}]}"#,
        ),
        with_key(
            &format!("authorization: Bearer {KEY}"),
            "/v1/messages",
            r#"{"model":"c","max_tokens":5,"messages":[{"role":"user","content":"canary-prompt"}]}"#,
        ),
        with_key(
            &format!("authorization: Bearer {KEY}"),
            "/v1/chat/completions?key=sk-canary-virtual-key-aaaaaaaa",
            CHAT,
        ),
        with_key(&format!("authorization: {KEY}"), "/v1/chat/completions", CHAT),
        format!("GET /v1/models HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {KEY}\r\n\r\n").into_bytes(),
        format!("GET /v1/models HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {KEY}\r\nbad header {KEY}\r\n\r\n")
            .into_bytes(),
        format!(
            "POST /edge/switch HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {WRONG}\r\ncontent-length: 0\r\n\r\n"
        )
        .into_bytes(),
    ];
    for request in odd {
        let answer = ask(port, request);
        said.add("an odd request", answer.head.clone() + &answer.text());
    }
    // a provider that repeats key and prompt in its errors. Prompts are the caller's own; keys are nobody's
    let mut errors = Said(Vec::new());
    for status in [200, 400, 401, 403, 429, 500] {
        for (path, model, field) in [("/v1/chat/completions", "m", "seed"), ("/v1/messages", "c", "top_k")] {
            for key in [KEY, MASTER] {
                let body = format!(
                    r#"{{"model":"{model}","max_tokens":5,"stream":{},"{field}":{status},"messages":[{{"role":"user","content":"canary-prompt"}}]}}"#,
                    status == 200
                );
                let answer = ask(port, with_key(&format!("authorization: Bearer {key}"), path, &body));
                assert_eq!(answer.header("x-litellm-edge"), Some("native"), "{path} {status}: {}", answer.text());
                // in an event of a stream LiteLLM shows the provider's words as they are
                if status != 200 {
                    errors.add("an error of the provider", answer.head.clone() + &answer.text());
                }
            }
        }
    }
    assert!(errors.0.iter().any(|(_, text)| text.contains("Incorrect API key provided")), "errors are passed on");
    errors.has_none_of(&[KEY, WRONG, MASTER, DB_PASSWORD, REDIS_PASSWORD, PROVIDER_KEY]);
    stack.written(Duration::from_secs(8));

    // faults: each is logged
    stack.redis.set(Mode::Cut);
    stack.postgres.set(Mode::Cut);
    eventually(Duration::from_secs(10), "both are seen away", || {
        stack.chat(KEY);
        stack.store("postgres") == "away" && stack.store("redis") == "away"
    });
    stack.chat(WRONG);
    pages(&stack, &mut said);
    stack.postgres.set(Mode::Pass);
    stack.redis.set(Mode::Pass);
    eventually(Duration::from_secs(10), "both are back", || {
        stack.chat(KEY);
        stack.store("postgres") == "up" && stack.store("redis") == "up"
    });
    // passwords that are wrong, a schema that is another one, a value that does not fit
    stack.server.ask(&["CONFIG", "SET", "requirepass", "another"]);
    stack.redis.set(Mode::Cut);
    stack.redis.set(Mode::Pass);
    stack.database.run(r#"ALTER TABLE "LiteLLM_SpendLogs" RENAME COLUMN litellm_call_id TO another"#);
    stack.chat(KEY);
    eventually(Duration::from_secs(10), "the schema is seen", || {
        stack.chat(KEY);
        stack.store("postgres") == "unknown_schema"
    });
    pages(&stack, &mut said);
    stack.database.run(r#"ALTER TABLE "LiteLLM_SpendLogs" RENAME COLUMN another TO litellm_call_id"#);

    // files that are refused
    let good = fs::read_to_string(stack.folder.0.join("config.yaml")).unwrap();
    for bad in [format!("{good}\n  - [{DB_PASSWORD}"), good.replace("postgresql://", "postgres:/\\/")] {
        stack.folder.write("config.yaml", &bad);
        std::thread::sleep(Duration::from_millis(1200));
        stack.chat(KEY);
        pages(&stack, &mut said);
        check(&stack, &mut said);
    }
    stack.folder.write("config.yaml", &good);
    check(&stack, &mut said);

    // what the database and Redis hold, and what belongs there
    for table in stack.database.column("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") {
        let rows = stack.database.column(&format!(r#"SELECT to_jsonb(t) FROM "{table}" t"#));
        said.add(&table, rows.join("\n"));
    }
    said.add("the log", stack.log());
    assert!(stack.log().len() > 10_000 && stack.log().contains("debug") || stack.log().contains("DEBUG"));
    // what was sent to Python and to the provider is theirs; what is said is nobody's
    said.has_none_of(&[KEY, WRONG, MASTER, DB_PASSWORD, REDIS_PASSWORD, PROVIDER_KEY, PROMPT]);
    assert!(said.0.iter().any(|(_, text)| text.contains("chatcmpl-")), "something was said");
}

/// Every page of the edge.
fn pages(stack: &Stack, said: &mut Said) {
    for path in [
        "/edge/status",
        "/edge/routes",
        "/edge/metrics",
        "/metrics",
        "/edge/ready",
        "/edge/live",
        "/edge",
        "/health/readiness",
    ] {
        let (with, without) = (stack.get(path), get(stack.process.port, path));
        said.add(path, with.head.clone() + &with.text());
        said.add(path, without.head.clone() + &without.text());
    }
}

/// What the command line says of the files.
fn check(stack: &Stack, said: &mut Said) {
    let file = |name: &str| stack.folder.0.join(name).to_str().unwrap().to_owned();
    let body = stack.folder.write("body.json", stack::CHAT);
    let (config, routes, body) = (file("config.yaml"), file("routes.toml"), body.to_str().unwrap().to_owned());
    let commands: [&[&str]; 4] = [
        &["config", "check", "--config", &config],
        &["routes", "status", "--routes", &routes],
        &[
            "routes",
            "explain",
            "POST",
            "/v1/chat/completions",
            "--routes",
            &routes,
            "--config",
            &config,
            "--body",
            &body,
        ],
        &["--config", &config, "--routes", &routes, "--port", "1", "--host", "256.0.0.1"],
    ];
    for command in commands {
        let done = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
            .args(command)
            .env("LITELLM_MASTER_KEY", MASTER)
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        said.add(&command.join(" "), text);
    }
}
