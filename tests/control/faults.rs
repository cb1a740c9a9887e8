//! Postgres goes away in mid-traffic: cut off, silent, slow, and back.
use std::time::{Duration, Instant};

use crate::{
    backing::{Backing, backing, hash},
    stack::{NATIVE, PYTHON, PYTHONS, Stack, side},
    support::{MASTER, eventually},
    traffic::{Call, Traffic},
    wire::Mode,
};

/// What is promised of any recovery.
const BACK: Duration = Duration::from_secs(5);
/// Longest wait of a caller: one look-up's, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(7);
const KNOWN: [&str; 3] = ["sk-known-1-aaaaaaaaaa", "sk-known-2-aaaaaaaaaa", "sk-known-3-aaaaaaaaaa"];
const BLOCKED: &str = "sk-blocked-meanwhile-aaaa";
const UNSEEN: &str = "sk-not-seen-before-aaaaaa";
const PAUSE: Duration = Duration::from_millis(60);

/// Keys are read anew each second, so that an outage meets that at once.
fn start(backing: &Backing) -> Stack {
    let database = backing.database();
    KNOWN.iter().chain(&[BLOCKED, UNSEEN]).for_each(|key| database.key(key, &[]));
    let stack = Stack::with(database, backing.redis(), None, "  user_api_key_cache_ttl: 1\n");
    KNOWN.iter().chain(&[BLOCKED]).for_each(|key| drop(stack.native(key)));
    stack
}

/// Known keys were served by the edge, each within bounds.
fn all_native(calls: &[Call]) {
    for call in calls {
        assert_eq!((call.status, &*call.side), NATIVE, "{call:?}");
        assert!(call.took < LONGEST, "{call:?}");
    }
}

/// A caller nobody knows: Python says what LiteLLM says, and the provider is not called.
fn is_pythons(stack: &Stack, key: &str) {
    let before = stack.provider.requests().len();
    let (answer, took) = stack.timed(key);
    assert_eq!((side(&answer), &*answer.text()), (PYTHON, PYTHONS), "{key}");
    assert!(took < LONGEST, "{key}: {took:?}");
    let asked = stack.python.last();
    assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {key}")));
    assert_eq!(asked.body, crate::stack::CHAT.as_bytes(), "the very bytes");
    let of_key: Vec<_> = stack.provider.requests().into_iter().skip(before).collect();
    assert!(of_key.iter().all(|request| !request.head.contains(key)));
}

fn outage(mode: Mode) {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    let traffic = Traffic::start(stack.process.port, &KNOWN, PAUSE);
    traffic.more(10);

    stack.postgres.set(mode);
    let since = Instant::now();
    eventually(LONGEST + BACK, "the outage is seen", || stack.store("postgres") == "away");
    for key in [UNSEEN, "sk-nobody-has-this-one-aaa"] {
        is_pythons(&stack, key);
    }
    // while it is known to be away nobody waits for it
    let (_, took) = stack.timed(UNSEEN);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(stack.metric(r#"litellm_edge_store_up{store="postgres"}"#), Some(0.0));
    stack.native(MASTER); // needs no database
    eventually(Duration::from_secs(11), "readiness says so", || stack.get("/health/readiness").status == 503);
    assert_eq!(stack.get("/health/readiness").text(), r#"{"status":"healthy","db":"disconnected"}"#);
    // past the second that a key is believed
    traffic.more(30);
    assert!(since.elapsed() > Duration::from_secs(1));
    let stores = stack.stores();
    assert!(stores["ledger"]["records"].as_u64() > Some(20), "{stores}");
    assert!(stack.metric("litellm_edge_ledger_records") > Some(20.0));
    assert!(stack.metric("litellm_edge_ledger_oldest_seconds") > Some(0.5));
    let token = hash(BLOCKED);
    stack.database.run(&format!(r#"UPDATE "LiteLLM_VerificationToken" SET blocked = true WHERE token = '{token}'"#));

    stack.postgres.set(Mode::Pass);
    let back = Instant::now();
    eventually(BACK, "unknown keys are looked up again", || side(&stack.chat(UNSEEN)) == NATIVE);
    eventually(BACK, "a blocked key is refused", || stack.chat(BLOCKED).status == 401);
    eventually(BACK, "the page says up", || stack.store("postgres") == "up");
    eventually(BACK, "readiness says so", || stack.get("/health/readiness").status == 200);
    assert_eq!(stack.metric(r#"litellm_edge_store_up{store="postgres"}"#), Some(1.0));
    eventually(BACK, "what was kept is written", || {
        stack.metric("litellm_edge_ledger_oldest_seconds").is_some_and(|age| age < back.elapsed().as_secs_f64())
    });
    // all of it together; twice the time, because the machine may be busy
    assert!(back.elapsed() < BACK * 2, "{:?}", back.elapsed());

    traffic.more(5);
    let calls = traffic.end();
    all_native(&calls);
    stack.written(BACK);
    finish(&stack);
    assert_eq!(stack.metric(r#"litellm_edge_ledger_dropped_total{what="row"}"#), Some(0.0));
}

/// Every call of the provider is in the books of keys, once; the master key's have no team.
fn finish(stack: &Stack) {
    let master = r#""LiteLLM_SpendLogs" WHERE api_key = 'litellm_proxy_master_key'"#;
    let masters = stack.database.number(&format!("SELECT count(*) FROM {master}")) as usize;
    stack.database.run(&format!("DELETE FROM {master}"));
    let calls = stack.provider.requests().len() - masters;
    // a refused caller has a row, too
    let rows = stack.database.number(r#"SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE status = 'success'"#);
    assert_eq!(rows as usize, calls);
    let sums = stack.database.number(r#"SELECT sum(spend) FROM "LiteLLM_VerificationToken""#);
    let team = stack.database.number(r#"SELECT sum(spend) FROM "LiteLLM_TeamTable""#);
    let cost = crate::stack::COST * calls as f64;
    assert!((sums - cost).abs() < 1e-6 && (team - cost).abs() < 1e-6, "{calls} calls: {sums}, {team}");
}

#[test]
fn postgres_is_down_and_back() {
    outage(Mode::Cut);
}

#[test]
fn postgres_is_silent_and_back() {
    outage(Mode::Silent);
}

#[test]
fn many_callers_of_one_key_wait_for_a_silent_postgres_no_longer_than_one() {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    stack.postgres.set(Mode::Silent);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let one = || assert_eq!(side(&stack.timed(UNSEEN).0), PYTHON);
        (0..12).for_each(|_| drop(scope.spawn(one)));
    });
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

#[test]
fn a_slow_postgres_slows_only_who_needs_it() {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    let traffic = Traffic::start(stack.process.port, &KNOWN, PAUSE);
    stack.postgres.set(Mode::Slow(Duration::from_millis(80)));
    traffic.more(40);
    let (answer, took) = stack.timed(UNSEEN);
    assert_eq!(side(&answer), NATIVE);
    assert!(took < LONGEST, "{took:?}");
    stack.postgres.set(Mode::Pass);
    all_native(&traffic.end());
    stack.written(Duration::from_secs(15));
    finish(&stack);
}

#[test]
fn an_edge_that_starts_without_postgres_serves_when_it_comes() {
    let Some(backing) = backing() else { return };
    let mut stack = start(backing);
    stack.written(BACK);
    stack.postgres.set(Mode::Refused);
    stack.restart();
    stack.native(MASTER);
    // known to the one before, but not to this one
    is_pythons(&stack, KNOWN[0]);
    stack.postgres.set(Mode::Pass);
    eventually(BACK, "keys are served", || side(&stack.chat(KNOWN[0])) == NATIVE);
    stack.written(BACK);
    finish(&stack);
}
