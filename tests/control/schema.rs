//! A database with another schema: no virtual key is served natively, everything else is, until the schema is there.
use std::time::Duration;

use crate::{
    backing::{Backing, backing},
    stack::{NATIVE, PYTHON, Stack, side},
    support::{MASTER, eventually},
    traffic::Traffic,
};

const KEY: &str = "sk-of-schema-aaaaaaaaaaa";
const SOON: Duration = Duration::from_secs(10);

/// Each is one thing that another version of LiteLLM might have otherwise, and how it comes back.
const OTHERS: [(&str, &str); 4] = [
    (
        r#"ALTER TABLE "LiteLLM_SpendLogs" RENAME COLUMN litellm_call_id TO another"#,
        r#"ALTER TABLE "LiteLLM_SpendLogs" RENAME COLUMN another TO litellm_call_id"#,
    ),
    (
        r#"ALTER TABLE "LiteLLM_TeamTable" RENAME TO "LiteLLM_Teams""#,
        r#"ALTER TABLE "LiteLLM_Teams" RENAME TO "LiteLLM_TeamTable""#,
    ),
    (
        r#"ALTER TABLE "LiteLLM_VerificationToken" RENAME COLUMN access_group_ids TO another"#,
        r#"ALTER TABLE "LiteLLM_VerificationToken" RENAME COLUMN another TO access_group_ids"#,
    ),
    (
        r#"ALTER TABLE "LiteLLM_DailyTagSpend" RENAME COLUMN timed_requests TO another"#,
        r#"ALTER TABLE "LiteLLM_DailyTagSpend" RENAME COLUMN another TO timed_requests"#,
    ),
];

fn says_so(stack: &Stack) {
    let line = "the database's schema is unknown: virtual keys stay python's";
    assert_eq!(stack.log().matches(line).count(), 1, "said, and once");
    assert_eq!(stack.store("postgres"), "unknown_schema");
    assert_eq!(stack.metric(r#"litellm_edge_store_up{store="postgres"}"#), Some(0.0));
}

fn everything_else_works(stack: &Stack) {
    stack.native(MASTER);
    for path in ["/v1/models", "/health/liveliness", "/health/readiness"] {
        assert_eq!(side(&stack.get(path)), NATIVE, "{path}");
    }
    assert_eq!(side(&stack.get("/key/list")), PYTHON);
}

#[test]
fn an_unknown_schema_leaves_virtual_keys_to_python_until_it_is_migrated() {
    let Some(backing) = backing() else { return };
    // the others are for the test below: each takes seconds
    for (break_it, mend_it) in OTHERS.into_iter().take(2) {
        let database = backing.database();
        database.key(KEY, &[]);
        database.run(break_it);
        let stack = Stack::with(database, backing.redis(), None, "");
        for _ in 0..3 {
            assert_eq!(side(&stack.chat(KEY)), PYTHON, "{break_it}");
        }
        says_so(&stack);
        everything_else_works(&stack);
        stack.database.run(mend_it);
        eventually(SOON, "the schema is known", || side(&stack.chat(KEY)) == NATIVE);
        assert_eq!(stack.store("postgres"), "up");
        stack.written(SOON);
        let rows = stack.rows().len();
        assert_eq!(rows, stack.provider.requests().len(), "the master key's calls were kept too");
    }
}

fn changed(backing: &Backing, (break_it, mend_it): (&str, &str)) {
    let database = backing.database();
    database.key(KEY, &[]);
    let stack = Stack::with(database, backing.redis(), None, "  user_api_key_cache_ttl: 1\n");
    let traffic = Traffic::start(stack.process.port, &[KEY], Duration::from_millis(40));
    traffic.more(5);
    stack.database.run(break_it);
    eventually(SOON, break_it, || side(&stack.chat(KEY)) == PYTHON);
    traffic.more(10);
    says_so(&stack);
    everything_else_works(&stack);
    stack.database.run(mend_it);
    eventually(SOON, "the schema is known", || side(&stack.chat(KEY)) == NATIVE);
    traffic.more(5);
    traffic.end();
    stack.written(SOON);
    assert_eq!(stack.rows().len(), stack.provider.requests().len(), "{break_it}");
}

#[test]
fn a_schema_that_changes_under_a_running_edge_is_noticed() {
    let Some(backing) = backing() else { return };
    OTHERS.into_iter().skip(2).for_each(|other| changed(backing, other));
}
