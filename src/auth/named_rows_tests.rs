use std::sync::{
    Mutex as Locked,
    atomic::{AtomicBool, AtomicUsize},
};

use super::*;
use crate::auth::Identity;

/// A database with these rows, which counts what it is asked.
#[derive(Debug, Default)]
struct Fake {
    users: Locked<Vec<NamedRow>>,
    all: AtomicUsize,
    one: AtomicUsize,
    away: AtomicBool,
    broken: AtomicBool,
}

impl Fake {
    fn trouble(&self) -> Result<(), Unavailable> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Unavailable::Schema);
        }
        if self.away.load(Ordering::SeqCst) { Err(Unavailable::Away) } else { Ok(()) }
    }

    fn asked(&self) -> (usize, usize) {
        (self.all.load(Ordering::SeqCst), self.one.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Clone)]
struct Shared(Arc<Fake>);

#[async_trait::async_trait]
impl Rows for Shared {
    async fn read(&self, _: &Secret, _: String) -> Result<Option<Identity>, Unavailable> {
        Ok(None)
    }

    async fn restricted(&self, kind: Kind, _: &Secret, most: i64) -> Result<Vec<NamedRow>, Unavailable> {
        assert_eq!(kind, Kind::Tag);
        self.0.all.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.0.trouble()?;
        Ok(self.0.users.lock().unwrap().iter().take(most as usize).cloned().collect())
    }

    async fn one(&self, kind: Kind, _: &Secret, id: String) -> Result<Option<NamedRow>, Unavailable> {
        assert_eq!(kind, Kind::Tag);
        self.0.one.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.0.trouble()?;
        Ok(self.0.users.lock().unwrap().iter().find(|user| user.id == id).cloned())
    }
}

const AGES: Ages = Ages {
    known: Duration::from_millis(60),
    unknown: Duration::from_millis(60),
    stale: Duration::from_secs(60),
    retry: Duration::from_millis(60),
};

fn user(id: &str) -> NamedRow {
    NamedRow { id: id.into(), spend: 0.5, max_budget: Some(1.0), rpm_limit: None, tpm_limit: None, special: false }
}

fn end_users(ids: &[&str], most: usize, ages: Ages) -> (Arc<Fake>, NamedRows) {
    let fake = Arc::new(Fake { users: Locked::new(ids.iter().map(|id| user(id)).collect()), ..Fake::default() });
    (fake.clone(), NamedRows { most, ..NamedRows::new(Kind::Tag, Arc::new(Shared(fake)), ages) })
}

async fn find(end_users: &NamedRows, id: &str) -> Standing {
    end_users.find(&Secret::new("postgres://nowhere"), id, None).await
}

fn restricted(id: &str) -> Standing {
    Standing::Restricted(Arc::new(user(id)))
}

#[tokio::test]
async fn all_are_read_at_once_and_only_once_somebody_is_named() {
    let (fake, users) = end_users(&["a", "b"], 9, AGES);
    assert_eq!(users.known("a"), None);
    assert_eq!(find(&users, "a").await, restricted("a"));
    assert_eq!((users.known("b"), users.known("c")), (Some(restricted("b")), Some(Standing::Unrestricted)));
    assert_eq!(find(&users, "c").await, Standing::Unrestricted);
    assert_eq!(fake.asked(), (1, 0));
    tokio::time::sleep(AGES.known * 2).await;
    assert_eq!(users.known("a"), None);
    find(&users, "a").await;
    assert_eq!(fake.asked(), (2, 0));
}

#[tokio::test]
async fn many_who_ask_at_once_read_once() {
    let (fake, users) = end_users(&["a"], 9, Ages::default());
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let users = users.clone();
            tokio::spawn(async move { find(&users, "a").await })
        })
        .collect();
    for one in asking {
        assert_eq!(one.await.unwrap(), restricted("a"));
    }
    assert_eq!(fake.asked(), (1, 0));
}

#[tokio::test]
async fn too_many_are_read_one_by_one_and_so_are_those_without_a_row() {
    let (fake, users) = end_users(&["a", "b", "c"], 2, AGES);
    for _ in 0..2 {
        assert_eq!(find(&users, "c").await, restricted("c"));
        assert_eq!(find(&users, "d").await, Standing::Unrestricted);
    }
    assert_eq!((users.known("c"), users.known("d")), (Some(restricted("c")), Some(Standing::Unrestricted)));
    assert_eq!(fake.asked(), (1, 2));
    tokio::time::sleep(AGES.known * 2).await;
    assert_eq!(find(&users, "c").await, restricted("c"));
    assert_eq!(fake.asked(), (2, 3));
}

#[tokio::test]
async fn what_is_doubted_is_read_again() {
    for most in [9, 0] {
        let (fake, users) = end_users(&["a"], most, Ages::default());
        find(&users, "a").await;
        fake.users.lock().unwrap().clear();
        assert_eq!(find(&users, "a").await, restricted("a"));
        users.doubt();
        assert_eq!(users.known("a"), None);
        assert_eq!(find(&users, "a").await, Standing::Unrestricted, "of at most {most}");
    }
}

#[tokio::test]
async fn an_outage_keeps_what_was_read_and_limits_nobody_else() {
    let (fake, users) = end_users(&["a"], 9, AGES);
    find(&users, "a").await;
    fake.away.store(true, Ordering::SeqCst);
    users.doubt();
    assert_eq!(find(&users, "a").await, restricted("a"));
    assert_eq!(fake.asked().0, 2);
    // and the database is left alone for a while
    assert_eq!(find(&users, "a").await, restricted("a"));
    assert_eq!(fake.asked().0, 2);
    let (fake, users) = end_users(&["a"], 9, AGES);
    fake.away.store(true, Ordering::SeqCst);
    assert_eq!(find(&users, "a").await, Standing::Unrestricted, "as in LiteLLM");
    fake.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(AGES.retry * 2).await;
    assert_eq!(find(&users, "a").await, restricted("a"));
}

#[tokio::test]
async fn another_schema_is_pythons() {
    let (fake, users) = end_users(&["a"], 9, AGES);
    fake.broken.store(true, Ordering::SeqCst);
    assert_eq!(find(&users, "a").await, Standing::Unreadable);
    assert_eq!(users.known("a"), None, "nothing is remembered of it");
}
