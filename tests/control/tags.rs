//! Tags on a real Postgres and Redis: what they spend is written where LiteLLM writes it, and their budgets hold.
use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    backing::backing,
    stack::{COST, NATIVE, Stack, side, with_key},
    support::{MASTER, ask},
};

const KEY: &str = "sk-of-tags-aaaaaaaaaaaaaa";
const BACK: Duration = Duration::from_secs(5);

/// A call of `key` with those fields in its body.
pub(crate) fn chat(key: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "canary-prompt"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let head = format!("authorization: Bearer {key}\r\nuser-agent: proof/1");
    with_key(&head, "/v1/chat/completions", &body.to_string())
}

#[test]
fn what_tags_spend_is_written_and_their_budgets_hold() {
    let Some(backing) = backing() else { return };
    let database = backing.database();
    database.key(KEY, &[("metadata", r#"'{"tags": ["of-key"]}'"#)]);
    database.run(
        r#"INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by) VALUES ('b', 0.01, 'x', 'x');
           INSERT INTO "LiteLLM_TagTable" (tag_name, models, budget_id)
             VALUES ('limited', '{}', 'b'), ('free', '{}', NULL), ('of-key', '{}', NULL)"#,
    );
    let stack = Stack::with(database, backing.redis(), None, "");
    let named = |key: &str, tags: Value| ask(stack.process.port, chat(key, &tags));
    let once = json!({"metadata": {"tags": ["free", "free"]}, "tags": ["limited"]});
    assert_eq!(side(&named(KEY, once.clone())), NATIVE);
    std::thread::sleep(Duration::from_millis(300));
    for key in [KEY, MASTER] {
        let answer = named(key, once.clone());
        assert_eq!(side(&answer), (422, "native"), "{}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Budget has been exceeded! Tag=limited Current cost: 0.07500"), "{message}");
        assert!(message.ends_with(", Max budget: 0.01"), "{message}");
    }
    assert_eq!(side(&named(KEY, json!({"tags": ["other"]}))), NATIVE);
    stack.written(BACK);
    let sum = |table: &str, column: &str, tag: &str| {
        stack.database.number(&format!(r#"SELECT coalesce(sum(spend), 0) FROM "{table}" WHERE {column} = '{tag}'"#))
    };
    // a tag that stands twice in a row pays twice, and has one call that day
    for (tag, row, day) in [("limited", 1.0, 1.0), ("free", 2.0, 1.0), ("of-key", 2.0, 2.0)] {
        let spent = (sum("LiteLLM_TagTable", "tag_name", tag), sum("LiteLLM_DailyTagSpend", "tag", tag));
        assert!((spent.0 - row * COST).abs() < 1e-9 && (spent.1 - day * COST).abs() < 1e-9, "{tag}: {spent:?}");
    }
}
