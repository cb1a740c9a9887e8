//! Budget windows: their rows are begun, added to and rolled on as LiteLLM's writer does it, and no counter is believed
//! below them.
use std::time::Duration;

use crate::{
    backing::{backing, hash},
    stack::{COST, Stack, side},
};

const KEY: &str = "sk-of-windows-aaaaaaaaaaa";
const OTHER: &str = "sk-of-windows-bbbbbbbbbbb";
const SOON: Duration = Duration::from_secs(8);
/// a day that ends in an hour
const LIMITS: &str = r#"jsonb_build_array(jsonb_build_object('budget_duration', '1d', 'max_budget', 10.0,
    'reset_at', to_char(now() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS.US')))"#;

#[test]
fn rows_of_windows_hold_what_was_spent_and_counters_no_less() {
    let Some(backing) = backing() else { return };
    let database = backing.database();
    database.key(KEY, &[("budget_limits", LIMITS)]);
    database.key(OTHER, &[("budget_limits", LIMITS)]);
    database.run(&format!(
        r#"INSERT INTO "LiteLLM_BudgetWindowSpend" (entity_type, entity_id, window_duration, window_start, spend, updated_at)
           VALUES ('key', '{}', '1d', now() AT TIME ZONE 'UTC', 10.5, now())"#,
        hash(OTHER)
    ));
    let stack = Stack::with(database, backing.redis(), None, "");
    let refused = stack.chat(OTHER);
    assert_eq!(side(&refused), (422, "native"), "{}", refused.text());
    let words = "ExceededBudget: Key over 1d budget. Spend=$10.5000, Limit=$10.00";
    assert_eq!(refused.json()["error"]["message"], words);

    let row = |sql: &str| {
        let of_row = format!(r#"FROM "LiteLLM_BudgetWindowSpend" WHERE entity_id = '{}'"#, hash(KEY));
        stack.database.number(&format!("SELECT {sql} {of_row}"))
    };
    let run = |sql: &str| stack.database.run(&format!(r#"{sql} WHERE entity_id = '{}'"#, hash(KEY)));
    let spent = |calls: usize, expected: f64, why: &str| {
        for _ in 0..calls {
            stack.native(KEY);
        }
        stack.written(SOON);
        let spend = row("spend");
        assert!((spend - expected * COST).abs() < 1e-9, "{why}: {spend} is not {expected} x {COST}");
    };
    spent(3, 3.0, "a new row: its own log rows are in the sum once");
    let begun = row("extract(epoch FROM window_start)");
    run(r#"DELETE FROM "LiteLLM_BudgetWindowSpend""#);
    spent(1, 4.0, "a row that is gone begins with what the log rows have");
    assert_eq!(row("extract(epoch FROM window_start)"), begun);
    run(r#"UPDATE "LiteLLM_BudgetWindowSpend" SET window_start = window_start - interval '1 day'"#);
    spent(2, 2.0, "an older window's row is rolled on");
    assert_eq!(row("extract(epoch FROM window_start)"), begun);
    run(r#"UPDATE "LiteLLM_BudgetWindowSpend" SET window_start = window_start + interval '1 day'"#);
    spent(1, 3.0, "what belongs to the window before goes into the one that has begun");
    assert_eq!(row("extract(epoch FROM window_start)"), begun + 86400.0);
}
