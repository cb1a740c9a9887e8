use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use super::*;
use crate::spend::batch::Entity;

/// Answers as told; remembers the key sums of what it wrote.
#[derive(Default)]
struct Scripted {
    writes: Mutex<VecDeque<Written>>,
    looks: Mutex<VecDeque<Option<bool>>>,
    written: Mutex<Vec<f64>>,
}

#[async_trait::async_trait]
impl Sink for Scripted {
    async fn write(&self, batch: &Batch) -> Written {
        let outcome = self.writes.lock().unwrap().pop_front().unwrap_or(Written::Yes);
        if outcome == Written::Yes {
            self.written.lock().unwrap().push(batch.keys.values().sum());
        }
        outcome
    }

    async fn was_written(&self, _: i64) -> Option<bool> {
        self.looks.lock().unwrap().pop_front().unwrap_or(Some(false))
    }
}

fn record(id: &str, spend: f64) -> Record {
    let now = SystemTime::UNIX_EPOCH;
    Record {
        request_id: id.into(),
        call_id: id.into(),
        call_type: "acompletion",
        payer: crate::spend::Payer { api_key: "h".into(), ..Default::default() },
        spend,
        prompt_tokens: 1,
        completion_tokens: 2,
        total_tokens: 3,
        cache_read_tokens: 0,
        cache_creation_tokens: 0,
        reasoning_tokens: 0,
        started: now,
        ended: now,
        first_token: None,
        model: "openai/gpt-4o".into(),
        model_id: "m".into(),
        model_group: "gpt-4o".into(),
        provider: "openai".into(),
        api_base: String::new(),
        cache_hit: "None",
        tags: vec!["a".into(), "a".into()],
        requester_ip: None,
        session_id: "s".into(),
        succeeded: true,
        windows: Vec::new(),
        caching_savings: 0.0,
        facts: crate::spend::Facts {
            user_agent: None,
            usage: "{}".into(),
            shape: crate::spend::Shape::Json,
            cost: Default::default(),
            service_tier: None,
            overhead_ms: None,
            model_map: "null".into(),
            trouble: crate::spend::Trouble::None,
        },
    }
}

async fn run(sink: Scripted, spends: &[f64]) -> Vec<f64> {
    let sink = Arc::new(sink);
    let (ledger, writer) = Ledger::new(sink.clone());
    let running = tokio::spawn(writer.run(|| Duration::from_secs(3600)));
    for (at, spend) in spends.iter().enumerate() {
        ledger.submit(record(&format!("r{at}"), *spend));
        ledger.flush().await;
    }
    ledger.flush().await;
    drop(ledger);
    running.await.unwrap();
    sink.written.lock().unwrap().clone()
}

#[tokio::test]
async fn a_failed_flush_is_written_with_the_next_one() {
    let sink = Scripted { writes: Mutex::new([Written::No, Written::No].into()), ..Scripted::default() };
    assert_eq!(run(sink, &[1.0, 2.0]).await, [3.0]);
}

#[tokio::test]
async fn a_commit_nobody_heard_of_is_neither_lost_nor_doubled() {
    let looks = |answers: &[Option<bool>]| Scripted {
        writes: Mutex::new([Written::Unknown(7)].into()),
        looks: Mutex::new(answers.iter().copied().collect()),
        ..Scripted::default()
    };
    // it was written: only the second record is
    assert_eq!(run(looks(&[None, Some(true)]), &[1.0, 2.0]).await, [2.0]);
    // it was not: both are, once
    assert_eq!(run(looks(&[None, Some(false)]), &[1.0, 2.0]).await, [3.0]);
}

#[test]
fn batches_fold_by_entity_and_day_and_tags_count_once_a_day() {
    let mut batch = Batch::default();
    batch.add(&record("a", 0.5));
    batch.add(&record("b", 0.25));
    assert_eq!((batch.len(), rows(&batch)), (2, vec![2]));
    assert_eq!(batch.tags.get("a"), Some(&1.5), "as often as it stands there");
    let days = batch.daily(crate::spend::batch::Entity::Tag);
    assert_eq!(days.len(), 1);
    assert_eq!(
        (&days[0]["api_requests"], &days[0]["spend"], &days[0]["request_id"]),
        (&2.into(), &0.75.into(), &"a".into())
    );
}

/// Rows of each text.
fn rows(batch: &Batch) -> Vec<usize> {
    batch.logs().map(|text| serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len()).collect()
}

#[test]
fn rows_are_sent_in_bounded_texts() {
    let mut batch = Batch::default();
    assert!(rows(&batch).is_empty());
    (0..1_001).for_each(|n| batch.add(&record(&format!("{n:04}"), 0.5)));
    assert_eq!(rows(&batch), [500, 500, 1]);
}

#[tokio::test]
async fn what_finds_no_room_keeps_its_spend_and_loses_its_row() {
    let sink = Arc::new(Scripted::default());
    let (ledger, writer) = Ledger::new(sink.clone());
    let all = QUEUE + 1_000;
    (0..all).for_each(|n| ledger.submit(record(&n.to_string(), 0.5)));
    let running = tokio::spawn(writer.run(|| Duration::from_secs(3600)));
    assert!(ledger.flush().await);
    let written: f64 = sink.written.lock().unwrap().iter().sum();
    assert_eq!((written, ledger.lost()), (all as f64 * 0.5, 0));
    // those of the queue beyond what is kept, too
    assert!(ledger.dropped_rows() >= 1_000);
    drop(ledger);
    running.await.unwrap();
}

#[test]
fn end_users_that_callers_make_up_are_bounded() {
    let mut batch = Batch::default();
    for n in 0..10_100 {
        let mut record = record("same", 1.0);
        record.payer.end_user = Some(format!("made-up-{n}"));
        batch.add(&record);
    }
    let of_end_users = |batch: &Batch| (batch.end_users.len(), batch.daily(Entity::EndUser).len());
    assert_eq!(of_end_users(&batch), (10_000, 10_000));
    assert_eq!(batch.keys.values().sum::<f64>(), 10_100.0, "the key pays for all");
    let mut known = record("same", 1.0);
    known.payer.end_user = Some("made-up-7".into());
    batch.add(&known);
    assert_eq!(batch.end_users["made-up-7"], 2.0);
}

#[tokio::test]
async fn a_row_the_database_refuses_takes_no_spend_with_it() {
    let sink = Arc::new(Scripted::default());
    sink.writes.lock().unwrap().push_back(Written::Refused);
    let (ledger, writer) = Ledger::new(sink.clone());
    let running = tokio::spawn(writer.run(|| Duration::from_secs(3600)));
    ledger.submit(record("a", 1.0));
    assert!(!ledger.flush().await);
    assert!(ledger.flush().await);
    assert_eq!((*sink.written.lock().unwrap()).as_slice(), [1.0]);
    drop(ledger);
    running.await.unwrap();
}

#[test]
fn what_no_index_and_no_text_column_takes_is_not_in_a_batch() {
    let long = "x".repeat(3_000);
    let mut batch = Batch::default();
    let mut odd = record(&format!("id\0{long}"), 0.5);
    odd.call_id = "the-call".into();
    odd.session_id.clone_from(&long);
    odd.tags = vec!["a".into(), long, "with\0zero".into()];
    odd.facts.user_agent = Some("zero\0 and \\u0000 in words".into());
    batch.add(&odd);
    let rows: serde_json::Value = serde_json::from_str(&batch.logs().next().unwrap()).unwrap();
    assert_eq!((&rows[0]["request_id"], &rows[0]["session_id"]), (&"the-call".into(), &"the-call".into()));
    assert_eq!(rows[0]["request_tags"], serde_json::json!(["a"]));
    assert_eq!(rows[0]["metadata"]["user_agent"], "zero and \\u0000 in words");
    assert_eq!(batch.tags.keys().collect::<Vec<_>>(), ["a"]);
    for n in 0..10_100 {
        batch.add(&Record { tags: vec![format!("made-up-{n}")], ..record("same", 1.0) });
    }
    assert_eq!((batch.tags.len(), batch.daily(Entity::Tag).len()), (10_000, 10_000));
}

#[test]
fn windows_of_budgets_are_written_oldest_first() {
    let mut batch = Batch::default();
    let of = |id: &str, day: u64, spend: f64, at: u64| {
        let start = std::time::Duration::from_secs(day * 86400);
        let window = crate::spend::Window { entity: "key", id: id.into(), duration: "1d".into(), start };
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
        Record { windows: vec![window], started, ..record(&format!("{id}-{day}-{at}"), spend) }
    };
    for call in [of("b", 2, 0.5, 9), of("a", 2, 0.25, 8), of("a", 1, 1.0, 7), of("a", 2, 0.25, 5), of("a", 2, 0.0, 1)] {
        let mut one = Batch::default();
        one.add(&call);
        batch.merge(one);
    }
    let rows: Vec<Vec<(String, String, f64, String)>> = serde_json::from_value(serde_json::json!(
        batch
            .windows()
            .iter()
            .map(|round| round
                .iter()
                .map(|row| serde_json::json!([row["entity_id"], row["window_start"], row["spend"], row["started_at"]]))
                .collect::<Vec<_>>())
            .collect::<Vec<_>>()
    ))
    .unwrap();
    let row = |id: &str, day: u64, spend: f64, at: u64| {
        (id.to_owned(), format!("1970-01-0{}T00:00:00.000000", day + 1), spend, format!("1970-01-01T00:00:0{at}.000"))
    };
    assert_eq!(rows, [vec![row("a", 1, 1.0, 7), row("b", 2, 0.5, 9)], vec![row("a", 2, 0.5, 5)]]);
}
