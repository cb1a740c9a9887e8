//! Redis goes away in mid-traffic: cut off, silent, slow, refusing scripts, emptied, and back. LiteLLM goes on without it.
use std::time::Duration;

use crate::{
    backing::{Backing, backing, hash},
    stack::{COST, NATIVE, Stack, side},
    support::eventually,
    traffic::Traffic,
    wire::Mode,
};

const BACK: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(7);
const KEYS: [&str; 2] = ["sk-counted-1-aaaaaaaaaa", "sk-counted-2-aaaaaaaaaa"];
const PAUSE: Duration = Duration::from_millis(60);

fn start(backing: &Backing) -> Stack {
    let database = backing.database();
    KEYS.iter().for_each(|key| database.key(key, &[]));
    Stack::with(database, backing.redis(), None, "")
}

/// What the key has spent as all processes see it, against its row.
fn counter(stack: &Stack, key: &str) -> f64 {
    stack.server.number(&format!("spend:key:{}", hash(key)))
}

/// The counter that both sides share follows the calls again.
fn counts_again(stack: &Stack) {
    // the first may find that the scripts or the connection are gone
    eventually(BACK, "calls are counted in redis", || {
        let before = counter(stack, KEYS[0]);
        stack.native(KEYS[0]);
        std::thread::sleep(Duration::from_millis(150));
        let after = counter(stack, KEYS[0]);
        after > 0.0 && (after - before - COST).abs() < 1e-6
    });
    eventually(BACK, "the page says up", || stack.store("redis") == "up");
    assert_eq!(stack.metric(r#"litellm_edge_store_up{store="redis"}"#), Some(1.0));
}

/// Calls go on, each is billed once, and the page shows `word`.
fn outage(word: &str, begin: impl FnOnce(&mut Stack), end: impl FnOnce(&mut Stack)) {
    let Some(backing) = backing() else { return };
    let mut stack = start(backing);
    counts_again(&stack);
    let traffic = Traffic::start(stack.process.port, &KEYS, PAUSE);
    traffic.more(6);
    begin(&mut stack);
    eventually(LONGEST + BACK, "the page shows it", || stack.store("redis") == word);
    assert_eq!(stack.metric(r#"litellm_edge_store_up{store="redis"}"#), Some(0.0));
    traffic.more(20);
    end(&mut stack);
    eventually(BACK, "the page says up", || stack.store("redis") == "up");
    for call in traffic.end() {
        assert_eq!((call.status, &*call.side), NATIVE, "{call:?}");
        assert!(call.took < LONGEST, "{call:?}");
    }
    counts_again(&stack);
    stack.written(BACK);
    stack.books_say(stack.provider.requests().len());
}

#[test]
fn redis_is_down_and_back() {
    outage("away", |stack| stack.redis.set(Mode::Cut), |stack| stack.redis.set(Mode::Pass));
}

#[test]
fn redis_is_silent_and_back() {
    outage("away", |stack| stack.redis.set(Mode::Silent), |stack| stack.redis.set(Mode::Pass));
}

#[test]
fn redis_is_restarted_empty() {
    outage("away", |stack| stack.server.kill(), |stack| stack.server.again());
}

#[test]
fn redis_is_full() {
    let set = |stack: &mut Stack, memory: &str| {
        stack.server.ask(&["CONFIG", "SET", "maxmemory", memory]);
    };
    outage("degraded", |stack| set(stack, "1"), |stack| set(stack, "0"));
}

#[test]
fn redis_refuses_scripts() {
    let acl = |stack: &mut Stack, rights: &str| {
        stack.server.ask(&["ACL", "SETUSER", "default", rights]);
    };
    outage("degraded", |stack| acl(stack, "-@scripting"), |stack| acl(stack, "+@scripting"));
}

#[test]
fn redis_forgets_its_scripts() {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    counts_again(&stack);
    stack.server.ask(&["SCRIPT", "FLUSH"]);
    let before = counter(&stack, KEYS[0]);
    stack.native(KEYS[0]);
    eventually(BACK, "the very next call is counted", || (counter(&stack, KEYS[0]) - before - COST).abs() < 1e-6);
}

#[test]
fn a_slow_redis_is_waited_for() {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    stack.redis.set(Mode::Slow(Duration::from_millis(300)));
    for _ in 0..3 {
        let (answer, took) = stack.timed(KEYS[1]);
        assert_eq!(side(&answer), NATIVE);
        assert!(took < LONGEST, "{took:?}");
    }
    eventually(LONGEST, "all are counted", || (counter(&stack, KEYS[1]) - 3.0 * COST).abs() < 1e-6);
    assert_eq!(stack.store("redis"), "up");
}
