//! A real Python gateway beside the edge, on the same Postgres and Redis: what it does to a key the edge learns within its
//! own time, and whom it refuses the edge refuses in the same words.
use std::{
    fs::File,
    time::{Duration, Instant},
};

use litellm_rust::routes::table::NATIVE_ROUTES;
use serde_json::{Value, json};

use crate::{
    backing::{Backing, Database, Python, backing, hash},
    end_users,
    stack::{self, CHAT, NATIVE, Stack, side},
    support::{Answer, Client, MASTER, ask, eventually, post_bytes},
    tags,
    wire::Mode,
};

/// With Redis a change is heard at once.
const HEARD: Duration = Duration::from_secs(3);
/// After an outage it is read anew.
const BACK: Duration = Duration::from_secs(5);

pub(crate) struct Both {
    pub stack: Stack,
    pub python: Python,
}

/// `general`: further lines of `general_settings`.
pub(crate) fn start(backing: &Backing, general: &str) -> Both {
    let database: Database = backing.database();
    let stack = Stack::with(database, backing.redis(), None, general);
    // Python goes by the same wire to Postgres, and by none to Redis
    let url = stack.database.url(stack.postgres.port);
    let config = stack::config(stack.provider.port, &url, stack.server.port, general);
    let config = stack.folder.write("python.yaml", &config);
    let python = backing.python(&config, File::create(stack.folder.0.join("python.log")).unwrap());
    let routes = std::fs::read_to_string(stack.folder.0.join("routes.toml")).unwrap();
    let (old, new) = (stack.python.port.to_string(), python.port.to_string());
    stack.folder.write("routes.toml", &routes.replace(&format!(":{old}\""), &format!(":{new}\"")));
    let mut both = Both { stack, python };
    both.stack.restart();
    both
}

impl Both {
    /// One of LiteLLM's management endpoints, asked by the master key.
    pub(crate) fn manage(&self, path: &str, body: Value) -> Value {
        let answer = patient(self.python.port, &post_bytes(path, body.to_string()));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// As [`Both::manage`], by way of the edge.
    pub(crate) fn through(&self, path: &str, body: Value) -> Value {
        let answer = patient(self.stack.process.port, &post_bytes(path, body.to_string()));
        assert_eq!(side(&answer), (200, "python"), "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) fn key(&self, more: Value) -> String {
        self.manage("/key/generate", more)["key"].as_str().unwrap().to_owned()
    }

    /// The edge lets nobody in with that key any longer, and says what Python says.
    fn refused(&self, key: &str, status: u16, limit: Duration, why: &str) {
        let start = Instant::now();
        loop {
            let answer = self.stack.chat(key);
            if answer.status == status {
                break;
            }
            assert!(start.elapsed() < limit, "{why}: {:?} {}", side(&answer), answer.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.same(&stack::chat(key), why);
    }

    fn served(&self, key: &str, limit: Duration, why: &str) {
        eventually(limit, why, || side(&self.stack.chat(key)) == NATIVE);
    }

    /// Status and body of both, which are the same.
    fn same(&self, request: &[u8], why: &str) -> Answer {
        let edge = patient(self.stack.process.port, request);
        let python = patient(self.python.port, request);
        assert_eq!((edge.status, untimed(&edge)), (python.status, untimed(&python)), "{why}");
        edge
    }
}

/// Without what a clock put in.
fn untimed(answer: &Answer) -> String {
    let text = answer.text();
    text.split("and current time").next().unwrap().to_owned()
}

pub(crate) fn patient(port: u16, request: &[u8]) -> Answer {
    let mut client = Client::to(port);
    client.stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.send(request);
    client.answer().expect("an answer")
}

#[test]
fn python_is_the_judge() {
    let Some(backing) = backing() else { return };
    let both = start(backing, "");
    let start = Instant::now();
    walk(&both);
    eprintln!("the walk took {:?}", start.elapsed());
    invalidation(&both);
    end_users(&both);
    tags(&both);
    redis_away(&both);
    eprintln!("invalidation took {:?}", start.elapsed());
    postgres_away(&both);
}

/// What a route is asked.
fn request(route: &str) -> (&'static str, &'static str, &'static str) {
    match route {
        "chat_completions" => ("POST", "/v1/chat/completions", CHAT),
        "messages" => {
            let body = r#"{"model":"c","max_tokens":9,"messages":[{"role":"user","content":"canary-prompt"}]}"#;
            ("POST", "/v1/messages", body)
        }
        "models" => ("GET", "/v1/models", ""),
        "model_info" => ("GET", "/v1/model/info", ""),
        "key_info" => ("GET", "/key/info", ""),
        "health_liveliness" => ("GET", "/health/liveliness", ""),
        "health_readiness" => ("GET", "/health/readiness", ""),
        "metrics" => ("GET", "/metrics", ""),
        other => panic!("say here how {other} is asked"),
    }
}

fn with_headers(route: &str, lines: &[String]) -> Vec<u8> {
    let (method, path, body) = request(route);
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let kind = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    };
    format!("{method} {path} HTTP/1.1\r\nhost: edge\r\n{lines}{kind}\r\n{body}").into_bytes()
}

/// Every native route with every kind of wrong key in every header a key may come in.
fn walk(both: &Both) {
    let team = both.manage("/team/new", json!({"team_alias": "walk", "models": ["nothing-of-this"]}));
    let of_team = both.key(json!({"team_id": team["team_id"]}));
    let right = both.key(json!({}));
    let stored = hash(&right);
    let keys = [
        "sk-nobody-has-this-key-1".to_owned(),
        stored.clone(),
        format!("sk-{stored}"),
        "not-a-key".into(),
        "sk-".into(),
        of_team.clone(),
    ];
    let in_headers = |key: &str| -> Vec<Vec<String>> {
        let one = |line: String| vec![line];
        vec![
            one(format!("authorization: Bearer {key}")),
            one(format!("authorization: bearer {key}")),
            one(format!("authorization: Basic {key}")),
            one(format!("authorization: {key}")),
            one(format!("authorization: BEARER {key}")),
            one(format!("x-api-key: {key}")),
            one(format!("api-key: {key}")),
            one(format!("x-litellm-api-key: {key}")),
            one(format!("x-litellm-api-key: Bearer {key}")),
            one(format!("x-goog-api-key: {key}")),
            one(format!("ocp-apim-subscription-key: {key}")),
            // a wrong one hides a right one
            vec![format!("authorization: Bearer {key}"), format!("x-api-key: {right}")],
            vec![format!("x-litellm-api-key: {key}"), format!("authorization: Bearer {right}")],
        ]
    };
    let public = |route: &str| route.starts_with("health_");
    let calls = both.stack.provider.requests().len();
    for route in NATIVE_ROUTES {
        let mut attempts: Vec<Vec<String>> =
            vec![vec![], vec!["authorization: ".into()], vec!["authorization: Bearer ".into()]];
        // a key of another team may list what its team may call, and read metrics where Python lets it
        attempts.extend(keys.iter().filter(|key| route.needs_body || **key != of_team).flat_map(|key| in_headers(key)));
        for lines in attempts {
            let why = format!("{} with {lines:?}", route.id);
            if route.id == "metrics" {
                // the edge's own page: nobody but the master key sees it
                let edge = ask(both.stack.process.port, with_headers(route.id, &lines));
                assert!(side(&edge) != NATIVE, "{why}: {}", edge.text());
                continue;
            }
            let answer = both.same(&with_headers(route.id, &lines), &why);
            let expected = if public(route.id) { 200..300 } else { 400..500 };
            assert!(expected.contains(&answer.status), "{why}: {} {}", answer.status, answer.text());
        }
        let huge = format!("authorization: Bearer sk-{}", "a".repeat(1 << 20));
        let edge = huge_key(both.stack.process.port, &with_headers(route.id, &[huge]));
        assert!(edge.is_none_or(|status| (400..500).contains(&status)), "{}: {edge:?}", route.id);
    }
    assert_eq!(both.stack.provider.requests().len(), calls, "nobody was let in");
    assert_eq!(side(&both.stack.get("/v1/models")), NATIVE);
    both.served(&right, HEARD, "the right key is");
}

/// The status, if there is one: the edge may hang up while a megabyte of a head is still being sent.
fn huge_key(port: u16, request: &[u8]) -> Option<u16> {
    let mut client = Client::to(port);
    std::io::Write::write_all(&mut client.stream, request).ok()?;
    Some(client.head()?.status)
}

/// Blocked, unblocked, changed, deleted by Python: the edge follows.
fn invalidation(both: &Both) {
    let team = both.manage("/team/new", json!({"team_alias": "invalidated"}))["team_id"].clone();
    let (key, of_team) = (both.key(json!({})), both.key(json!({"team_id": team})));
    both.served(&key, HEARD, "a new key is served");
    both.served(&of_team, HEARD, "a team's key is served");
    both.manage("/key/block", json!({"key": key}));
    both.refused(&key, 401, HEARD, "a blocked key is refused");
    both.manage("/key/unblock", json!({"key": key}));
    both.served(&key, HEARD, "an unblocked key is served");
    both.manage("/key/update", json!({"key": key, "models": ["c"]}));
    both.refused(&key, 403, HEARD, "a key that may call another model is refused");
    both.manage("/key/update", json!({"key": key, "models": []}));
    both.served(&key, HEARD, "and served again");
    both.manage("/key/update", json!({"key": key, "duration": "1s"}));
    both.refused(&key, 401, HEARD, "an expired key is refused");
    both.manage("/team/delete", json!({"team_ids": [team]}));
    both.refused(&of_team, 401, HEARD, "a deleted team's key is refused");
    let user = both.manage("/user/new", json!({"auto_create_key": false}))["user_id"].clone();
    let of_user = both.key(json!({"user_id": user}));
    both.served(&of_user, HEARD, "a user's key is served");
    // with `metadata`, or LiteLLM tells nobody either
    both.manage("/user/update", json!({"user_id": user, "models": ["c"], "metadata": {"scim_active": true}}));
    both.refused(&of_user, 403, HEARD, "a user who may call another model");
    // `/key/delete` tells nobody either, nor `/team/block`; by way of the edge it knows at once, and before the caller does
    let (last, team) = (both.key(json!({})), both.manage("/team/new", json!({}))["team_id"].clone());
    let of_team = both.key(json!({"team_id": team}));
    both.served(&last, HEARD, "a new key is served");
    both.served(&of_team, HEARD, "a team's key is served");
    both.through("/key/delete", json!({"keys": [last]}));
    both.refused(&last, 401, Duration::ZERO, "a deleted key is refused");
    both.through("/team/block", json!({"team_id": team}));
    assert_ne!(both.stack.chat(&of_team).status, 200, "a blocked team's key is refused");
    // a rotated key is another one, where LiteLLM's licence allows it
    let old = both.key(json!({}));
    both.served(&old, HEARD, "a new key is served");
    let rotated = patient(both.python.port, &post_bytes(&format!("/key/{old}/regenerate"), "{}"));
    if rotated.status == 200 {
        both.refused(&old, 401, HEARD, "a rotated key is refused");
        both.served(rotated.json()["key"].as_str().unwrap(), HEARD, "its successor is served");
    } else {
        assert!(rotated.text().contains("nterprise") || rotated.text().contains("premium"), "{}", rotated.text());
        both.served(&old, HEARD, "nothing was rotated");
    }
}

/// An end user whom Python limits and frees again: the edge follows, and says what Python says.
fn end_users(both: &Both) {
    let key = both.key(json!({}));
    let asked = |user: &str| ask(both.stack.process.port, end_users::chat(&key, user));
    // who nobody is is remembered
    assert_eq!(side(&asked("customer-2")), NATIVE);
    both.manage("/customer/new", json!({"user_id": "customer", "max_budget": 1e-6}));
    eventually(HEARD, "a customer's budget is heard of", || side(&asked("customer")) == (422, "native"));
    for key in [&*key, MASTER] {
        both.same(&end_users::chat(key, "customer"), "a customer over budget");
    }
    assert_eq!(side(&asked("customer-2")), NATIVE);
    both.manage("/customer/update", json!({"user_id": "customer", "max_budget": 100}));
    eventually(HEARD, "a larger budget is heard of", || side(&asked("customer")) == NATIVE);
    both.through("/customer/update", json!({"user_id": "customer", "max_budget": 1e-6}));
    assert_eq!(side(&asked("customer")), (422, "native"), "what goes by is known at once");
}

/// The same of a tag.
fn tags(both: &Both) {
    let key = both.key(json!({}));
    let call = |key: &str| tags::chat(key, &json!({"tags": ["dear"]}));
    let asked = || ask(both.stack.process.port, call(&key));
    assert_eq!(side(&asked()), NATIVE);
    both.manage("/tag/new", json!({"name": "dear", "models": [], "max_budget": 1e-6}));
    eventually(HEARD, "a tag's budget is heard of", || side(&asked()) == (422, "native"));
    for key in [&*key, MASTER] {
        both.same(&call(key), "a tag over budget");
    }
    both.manage("/tag/update", json!({"name": "dear", "models": [], "max_budget": 100}));
    eventually(HEARD, "a larger budget is heard of", || side(&asked()) == NATIVE);
    both.through("/tag/update", json!({"name": "dear", "models": [], "max_budget": 1e-6}));
    assert_eq!(side(&asked()), (422, "native"), "what goes by is known at once");
}

/// What was said while the edge could not hear it.
fn redis_away(both: &Both) {
    for mode in [Mode::Cut, Mode::Silent] {
        let key = both.key(json!({}));
        both.served(&key, HEARD, "a new key is served");
        both.stack.redis.set(mode);
        eventually(BACK, "the edge sees that redis is away", || both.stack.store("redis") == "away");
        both.manage("/key/block", json!({"key": key}));
        // a key is believed for a minute, as by every other worker of LiteLLM
        assert_eq!(side(&both.stack.chat(&key)), NATIVE);
        both.stack.redis.set(Mode::Pass);
        both.refused(&key, 401, BACK, "a key that was blocked while nobody listened");
        eventually(BACK, "the page says up", || both.stack.store("redis") == "up");
    }
}

/// The refusal of whom nobody can look up is LiteLLM's own, by the edge and without it.
fn postgres_away(both: &Both) {
    let (known, unseen) = (both.key(json!({})), both.key(json!({})));
    both.served(&known, HEARD, "a new key is served");
    both.stack.postgres.set(Mode::Refused);
    patient(both.stack.process.port, &stack::chat(&unseen));
    assert_eq!(both.stack.store("postgres"), "away");
    for key in [&*unseen, "sk-nobody-has-this-key-2"] {
        let start = Instant::now();
        let answer = both.same(&stack::chat(key), "postgres is away");
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert_eq!(side(&answer), (503, "python"), "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "no_db_connection", "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "503", "{}", answer.text());
    }
    assert_eq!(side(&both.stack.chat(&known)), NATIVE, "a known key goes on");
    assert_eq!(side(&both.stack.chat(MASTER)), NATIVE);
    both.stack.postgres.set(Mode::Pass);
    // (asked meanwhile Python would take its own time)
    eventually(BACK, "postgres is back", || both.stack.store("postgres") == "up");
    both.served(&unseen, HEARD, "and keys are looked up");
}
