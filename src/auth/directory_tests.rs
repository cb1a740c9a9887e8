use std::sync::{Mutex, atomic::AtomicUsize};

use tokio::sync::Semaphore;

use super::*;

/// A database that counts its reads, waits for a permit before each, and gives what it is told.
#[derive(Debug)]
struct Fake {
    reads: AtomicUsize,
    permits: Semaphore,
    answer: Mutex<Result<Option<Identity>, Unavailable>>,
}

/// The directory owns its rows; the test keeps another hand on them.
#[derive(Debug, Clone)]
struct Shared(Arc<Fake>);

#[async_trait::async_trait]
impl Rows for Shared {
    async fn read(&self, _: &Secret, _: String) -> Result<Option<Identity>, Unavailable> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.0.permits.acquire().await.unwrap().forget();
        self.0.answer.lock().unwrap().clone()
    }
}

const AGES: Ages = Ages {
    known: Duration::from_millis(40),
    unknown: Duration::from_millis(40),
    stale: Duration::from_secs(60),
    retry: Duration::from_secs(60),
};

fn identity(team: &str) -> Identity {
    let hash = KeyHash::of("sk-1").to_string();
    serde_json::from_value(serde_json::json!({"key": {"token": hash, "team_id": team, "user_id": "u"}})).unwrap()
}

fn directory(answer: Result<Option<Identity>, Unavailable>, permits: usize, ages: Ages) -> (Arc<Fake>, Directory) {
    let fake =
        Arc::new(Fake { reads: AtomicUsize::new(0), permits: Semaphore::new(permits), answer: Mutex::new(answer) });
    (fake.clone(), Directory::new(Shared(fake), ages))
}

async fn find(directory: &Directory) -> Found {
    directory.find(&Secret::new("postgres://nowhere"), KeyHash::of("sk-1"), None).await
}

fn reads(fake: &Fake) -> usize {
    fake.reads.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_key_is_read_once_while_it_is_fresh() {
    let (fake, directory) = directory(Ok(Some(identity("t"))), 9, AGES);
    assert!(directory.cached(&KeyHash::of("sk-1")).is_none());
    // the reader is told that it was the one
    assert!(matches!(find(&directory).await, Found::Known(found) if found.just_read));
    assert!(matches!(find(&directory).await, Found::Known(found) if !found.just_read));
    assert_eq!(reads(&fake), 1);
    tokio::time::sleep(AGES.known * 2).await;
    assert!(matches!(find(&directory).await, Found::Known(_)));
    assert_eq!(reads(&fake), 2);
}

#[tokio::test]
async fn an_unknown_key_is_remembered_for_a_while() {
    let (fake, directory) = directory(Ok(None), 9, AGES);
    assert!(matches!(find(&directory).await, Found::Unknown));
    assert!(matches!(find(&directory).await, Found::Unknown));
    assert_eq!(reads(&fake), 1);
    *fake.answer.lock().unwrap() = Ok(Some(identity("t")));
    tokio::time::sleep(AGES.unknown * 2).await;
    assert!(matches!(find(&directory).await, Found::Known(_)));
}

#[tokio::test]
async fn many_who_ask_at_once_read_once() {
    let (fake, directory) = directory(Ok(Some(identity("t"))), 0, Ages::default());
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { find(&directory).await })
        })
        .collect();
    while reads(&fake) == 0 {
        tokio::task::yield_now().await;
    }
    fake.permits.add_permits(20);
    for one in asking {
        assert!(matches!(one.await.unwrap(), Found::Known(_)));
    }
    assert_eq!(reads(&fake), 1);
}

#[tokio::test]
async fn an_outage_is_survived_by_what_was_known() {
    let (fake, directory) = directory(Ok(Some(identity("t"))), 9, AGES);
    find(&directory).await;
    *fake.answer.lock().unwrap() = Err(Unavailable::TimedOut);
    tokio::time::sleep(AGES.known * 2).await;
    assert!(matches!(find(&directory).await, Found::Known(_)));
    assert_eq!(reads(&fake), 2);
    // and the database is left alone for a while
    assert!(matches!(find(&directory).await, Found::Known(_)));
    assert_eq!(reads(&fake), 2);
    // a stranger can not be told from a customer then
    let stranger = directory.find(&Secret::new("postgres://nowhere"), KeyHash::of("sk-2"), None).await;
    assert!(matches!(stranger, Found::Unavailable(_)));
}

#[tokio::test]
async fn what_is_invalidated_is_read_again() {
    let hash = KeyHash::of("sk-1").to_string();
    for (name, forgets) in [
        (hash.as_str(), true),
        ("team_id:t", true),
        ("u", true),
        ("org_id:o", true),
        ("team_id:other", false),
        ("somebody", false),
        ("end_user_id:u", false),
        ("spend:user:u", false),
    ] {
        let (fake, directory) = directory(Ok(Some(identity("t"))), 9, Ages::default());
        find(&directory).await;
        directory.invalidate(name);
        find(&directory).await;
        assert_eq!(reads(&fake), 1 + usize::from(forgets), "{name}");
    }
}

#[tokio::test]
async fn messages_of_other_gateways_are_understood() {
    for (message, forgets) in [
        (r#"{"cache_key": "team_id:t"}"#, true),
        (r#"{"cache_key": "spend:user:u", "new_value": 0.0, "ttl": 60}"#, false),
        (r#"{"cache_key": "u", "new_value": 0.0}"#, false),
        (r#"{"cache_key": 1}"#, false),
        ("team_id:t", false),
        ("", false),
    ] {
        let (fake, directory) = directory(Ok(Some(identity("t"))), 9, Ages::default());
        find(&directory).await;
        crate::auth::invalidation::heard(message.as_bytes(), &directory);
        find(&directory).await;
        assert_eq!(reads(&fake), 1 + usize::from(forgets), "{message}");
    }
}

#[tokio::test]
async fn what_changed_while_it_was_read_is_not_kept() {
    let (fake, directory) = directory(Ok(Some(identity("t"))), 0, Ages::default());
    let asking = tokio::spawn({
        let directory = directory.clone();
        async move { find(&directory).await }
    });
    while reads(&fake) == 0 {
        tokio::task::yield_now().await;
    }
    directory.invalidate(&KeyHash::of("sk-1").to_string());
    fake.permits.add_permits(9);
    assert!(matches!(asking.await.unwrap(), Found::Known(_)));
    find(&directory).await;
    assert_eq!(reads(&fake), 2);
}

#[tokio::test]
async fn a_shorter_life_is_the_configurations_and_a_longer_one_is_not_believed() {
    for (ttl, reads_in_all) in [(Some(Duration::ZERO), 2), (Some(Duration::from_secs(3600)), 1), (None, 1)] {
        let ages = Ages { known: Duration::from_secs(3600), ..AGES };
        let (fake, directory) = directory(Ok(Some(identity("t"))), 9, ages);
        for _ in 0..2 {
            let found = directory.find(&Secret::new("postgres://nowhere"), KeyHash::of("sk-1"), ttl).await;
            assert!(matches!(found, Found::Known(_)));
        }
        assert_eq!(reads(&fake), reads_in_all, "{ttl:?}");
    }
    let (fake, directory) = directory(Ok(Some(identity("t"))), 9, AGES);
    directory.find(&Secret::new("postgres://nowhere"), KeyHash::of("sk-1"), Some(Duration::from_secs(3600))).await;
    tokio::time::sleep(AGES.known * 2).await;
    find(&directory).await;
    assert_eq!(reads(&fake), 2);
}

#[tokio::test]
async fn what_was_missed_is_read_again_but_an_outage_is_survived() {
    let (fake, directory) = directory(Ok(Some(identity("t"))), 9, Ages::default());
    find(&directory).await;
    directory.doubt();
    assert!(matches!(find(&directory).await, Found::Known(_)));
    assert_eq!(reads(&fake), 2);
    *fake.answer.lock().unwrap() = Err(Unavailable::Away);
    directory.doubt();
    assert!(matches!(find(&directory).await, Found::Known(_)));
    // a key that is gone by then is gone
    *fake.answer.lock().unwrap() = Ok(None);
    directory.doubt();
    assert!(matches!(find(&directory).await, Found::Unknown));
}

#[tokio::test]
async fn the_bound_of_an_outage_is_kept_and_another_schema_is_none() {
    let ages = Ages { stale: Duration::ZERO, ..AGES };
    let (fake, of_bound) = directory(Ok(Some(identity("t"))), 9, ages);
    find(&of_bound).await;
    *fake.answer.lock().unwrap() = Err(Unavailable::Away);
    tokio::time::sleep(AGES.known * 2).await;
    assert!(matches!(find(&of_bound).await, Found::Unavailable(_)));
    let (fake, directory) = directory(Ok(Some(identity("t"))), 9, AGES);
    find(&directory).await;
    *fake.answer.lock().unwrap() = Err(Unavailable::Schema);
    tokio::time::sleep(AGES.known * 2).await;
    assert!(matches!(find(&directory).await, Found::Unavailable(_)));
}
