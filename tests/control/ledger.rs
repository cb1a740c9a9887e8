//! Spend is written once, whatever happens to the edge, to the commit, and beside other writers.
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use crate::{
    backing::{Backing, backing, hash},
    stack::{COST, NATIVE, Stack},
    support::eventually,
    traffic::Traffic,
    wire::{Mode, Trap},
};

const KEYS: [&str; 4] =
    ["sk-writer-1-aaaaaaaaaa", "sk-writer-2-aaaaaaaaaa", "sk-writer-3-aaaaaaaaaa", "sk-writer-4-aaaaaaaaaa"];
const PAUSE: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(8);

fn start(backing: &Backing) -> Stack {
    let database = backing.database();
    KEYS.iter().for_each(|key| database.key(key, &[]));
    Stack::with(database, backing.redis(), None, "")
}

#[test]
fn a_killed_edge_loses_at_most_one_interval_and_doubles_nothing() {
    let Some(backing) = backing() else { return };
    let mut stack = start(backing);
    let mut answered = Vec::new();
    let mut lost = 0;
    for _ in 0..2 {
        let traffic = Traffic::start(stack.process.port, &KEYS, PAUSE);
        // over several flushes
        thread::sleep(Duration::from_millis(3300));
        let killed = Instant::now();
        stack.process.signal("-KILL");
        stack.process.exit(Duration::from_secs(5)).expect("it is dead");
        let calls = traffic.end();
        assert!(calls.len() > 20, "{} calls", calls.len());
        // a transaction of the dead process may still be committed
        thread::sleep(Duration::from_millis(500));
        let rows: BTreeSet<String> = stack.rows().into_iter().collect();
        let is_written = |call: &&crate::traffic::Call| rows.contains(call.id.as_ref().unwrap());
        let last_written = calls.iter().filter(is_written).map(|call| call.at).max().expect("something is written");
        for call in &calls {
            assert_eq!((call.status, &*call.side), NATIVE, "{call:?}");
            if !is_written(&call) {
                lost += 1;
                // what came before the last flush is in it; a call is submitted a moment after its answer is read
                let before = last_written.saturating_duration_since(call.at);
                assert!(before < Duration::from_millis(500), "lost, and answered {before:?} before a written one");
                let age = killed.saturating_duration_since(call.at);
                assert!(age < SOON, "answered {age:?} before the end, and lost");
            }
        }
        answered.extend(calls);
        stack.restart();
    }
    assert!(lost > 0, "otherwise this test would not have met an interval");
    // rows of calls whose answer nobody got are right: the provider was paid
    let rows = stack.rows();
    assert!(rows.len() <= stack.provider.requests().len());
    stack.books_say(rows.len());
}

/// The commit of one flush goes wrong as `trap` says; all is written once all the same.
fn commit(trap: Trap, repair: Duration) {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    let traffic = Traffic::start(stack.process.port, &KEYS, PAUSE);
    traffic.more(20);
    stack.postgres.trap(trap);
    eventually(SOON, "a commit was met", || stack.postgres.is_sprung());
    thread::sleep(repair);
    stack.postgres.set(Mode::Pass);
    traffic.more(20);
    for call in traffic.end() {
        assert_eq!((call.status, &*call.side), NATIVE, "{call:?}");
    }
    // the longest: a commit that never arrives is waited for, and the server waits before it gives it up
    stack.written(Duration::from_secs(40));
    stack.books_say(stack.provider.requests().len());
}

#[test]
fn a_commit_whose_answer_is_cut_off_is_neither_lost_nor_doubled() {
    commit(Trap { on: b"COMMIT", deliver: true, then: Mode::Cut }, Duration::from_millis(700));
}

#[test]
fn a_commit_whose_answer_never_comes_is_neither_lost_nor_doubled() {
    commit(Trap { on: b"COMMIT", deliver: true, then: Mode::Pass }, Duration::ZERO);
}

#[test]
fn a_commit_that_never_arrives_is_neither_lost_nor_doubled() {
    commit(Trap { on: b"COMMIT", deliver: false, then: Mode::Pass }, Duration::ZERO);
}

#[test]
fn a_commit_that_is_cut_off_before_it_arrives_is_neither_lost_nor_doubled() {
    commit(Trap { on: b"COMMIT", deliver: false, then: Mode::Cut }, Duration::from_millis(700));
}

#[test]
fn a_drain_writes_everything() {
    let Some(backing) = backing() else { return };
    let mut stack = start(backing);
    for round in 0..2 {
        let traffic = Traffic::start(stack.process.port, &KEYS, PAUSE);
        traffic.more(30);
        if round == 1 {
            // and with a connection that has just died
            stack.postgres.set(Mode::Cut);
            thread::sleep(Duration::from_millis(300));
            stack.postgres.set(Mode::Pass);
        }
        stack.process.signal("-TERM");
        let start = Instant::now();
        assert_eq!(stack.process.exit(Duration::from_secs(20)), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        let calls = traffic.end();
        let rows: BTreeSet<String> = stack.rows().into_iter().collect();
        let missing: Vec<_> = calls.iter().filter_map(|call| call.id.clone()).filter(|id| !rows.contains(id)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {}\n{}", calls.len(), stack.log());
        stack.books_say(stack.provider.requests().len());
        stack.restart();
    }
}

#[test]
fn other_writers_in_the_opposite_order_do_not_stop_it() {
    let Some(backing) = backing() else { return };
    let stack = start(backing);
    let traffic = Traffic::start(stack.process.port, &KEYS, PAUSE);
    let until = Instant::now() + Duration::from_secs(6);
    let mut tokens = KEYS.map(hash);
    tokens.sort();
    tokens.reverse();
    let database = stack.database.clone();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (database, tokens) = (database.clone(), tokens.clone());
            thread::spawn(move || {
                let mut done = 0;
                while Instant::now() < until {
                    // teams before keys, keys from the last to the first, each held for a while
                    let keys: String = tokens
                        .iter()
                        .map(|token| format!(r#"UPDATE "LiteLLM_VerificationToken" SET spend = spend + 1 WHERE token = '{token}'; SELECT pg_sleep(0.1);"#))
                        .collect();
                    let sql = format!(
                        r#"BEGIN; UPDATE "LiteLLM_TeamTable" SET spend = spend + 4 WHERE team_id = 'team'; SELECT pg_sleep(0.2); {keys}
                           UPDATE "LiteLLM_UserTable" SET spend = spend + 4 WHERE user_id = 'user'; COMMIT"#
                    );
                    // Postgres breaks a deadlock by failing one of the two
                    done += usize::from(database.try_run(&sql).is_ok());
                }
                done
            })
        })
        .collect();
    let done: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
    assert!(done > 2, "{done} transactions of others");
    for call in traffic.end() {
        assert_eq!((call.status, &*call.side), NATIVE, "{call:?}");
        assert!(call.took < Duration::from_secs(7), "{call:?}");
    }
    stack.written(Duration::from_secs(15));
    let calls = stack.provider.requests().len();
    for table in ["VerificationToken", "TeamTable", "UserTable"] {
        let sum = stack.database.number(&format!(r#"SELECT sum(spend) FROM "LiteLLM_{table}""#));
        assert!((sum - COST * calls as f64 - 4.0 * done as f64).abs() < 1e-6, "{table}: {sum}, {calls}, {done}");
    }
    assert_eq!(stack.rows().len(), calls);
    stack.native(KEYS[0]);
}
