//! End users while Postgres comes and goes: whoever was known to be limited stays limited, nobody waits twice, and what
//! LiteLLM serves is served.
use std::time::Duration;

use crate::{
    backing::backing,
    stack::{COST, NATIVE, Stack, side, with_key},
    support::{Answer, MASTER, ask, eventually},
    wire::Mode,
};

const KEY: &str = "sk-of-end-users-aaaaaaaaa";
const BACK: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(7);

/// A call of `key` for that end user.
pub(crate) fn chat(key: &str, user: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"m","user":"{user}","messages":[{{"role":"user","content":"canary-prompt"}}]}}"#);
    with_key(&format!("authorization: Bearer {key}\r\nuser-agent: proof/1"), "/v1/chat/completions", &body)
}

fn ask_for(stack: &Stack, key: &str, user: &str) -> Answer {
    ask(stack.process.port, chat(key, user))
}

#[test]
fn an_outage_lifts_no_limit_that_was_known() {
    let Some(backing) = backing() else { return };
    let database = backing.database();
    database.key(KEY, &[]);
    database.run(
        r#"INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by) VALUES ('b', 0.01, 'x', 'x');
           INSERT INTO "LiteLLM_EndUserTable" (user_id, budget_id, blocked) VALUES ('limited', 'b', false)"#,
    );
    // read anew each second, so that an outage meets that at once
    let mut stack = Stack::with(database, backing.redis(), None, "  user_api_key_cache_ttl: 1\n");
    for user in ["limited", "nobody"] {
        assert_eq!(side(&ask_for(&stack, KEY, user)), NATIVE, "{user}");
    }
    let refused = |stack: &Stack, key: &str, why: &str| {
        let answer = ask_for(stack, key, "limited");
        assert_eq!(side(&answer), (422, "native"), "{why}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        // (the last digits are Redis')
        assert!(message.starts_with("ExceededBudget: End User=limited over budget. Spend=0.07500"), "{why}: {message}");
        assert!(message.ends_with(", Budget=0.01"), "{why}: {message}");
    };
    std::thread::sleep(Duration::from_millis(300));
    refused(&stack, KEY, "the budget is spent");
    refused(&stack, MASTER, "by whomever");
    stack.written(BACK);
    let spent = |user: &str| {
        let of = |table: &str, column: &str| {
            stack.database.number(&format!(r#"SELECT sum(spend) FROM "{table}" WHERE {column} = '{user}'"#))
        };
        (of("LiteLLM_EndUserTable", "user_id"), of("LiteLLM_DailyEndUserSpend", "end_user_id"))
    };
    for user in ["limited", "nobody"] {
        let (row, day) = spent(user);
        assert!((row - COST).abs() < 1e-9 && (day - COST).abs() < 1e-9, "{user}: {row} {day}");
    }

    stack.postgres.set(Mode::Silent);
    std::thread::sleep(Duration::from_millis(1100));
    let start = std::time::Instant::now();
    refused(&stack, KEY, "postgres is away");
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    let start = std::time::Instant::now();
    assert_eq!(side(&ask_for(&stack, KEY, "somebody else")), NATIVE);
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waits twice: {:?}", start.elapsed());

    // who never knew limits nobody: LiteLLM does not either
    stack.postgres.set(Mode::Refused);
    stack.restart();
    assert_eq!(side(&ask_for(&stack, MASTER, "limited")), NATIVE);
    stack.postgres.set(Mode::Pass);
    eventually(BACK, "it is read", || ask_for(&stack, MASTER, "limited").status == 422);
}
