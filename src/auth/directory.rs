//! Identities by key hash: a cache with LiteLLM's time to live in front of Postgres, one look-up at a time for a key, and
//! a short memory of unknown keys (agents repeat a refused call). It must never hold a key, only hashes, and never
//! outlive [`Directory::invalidate`].
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use super::{
    hash::KeyHash,
    named_rows::{Kind, NamedRow, NamedRows},
    record::Identity,
};
use crate::{
    secret::Secret,
    store::{Postgres, Unavailable},
};

/// Where identities are read from.
#[async_trait::async_trait]
pub trait Rows: std::fmt::Debug + Send + Sync {
    /// The key of that hash (64 hex digits). `Ok(None)`: there is none.
    async fn read(&self, url: &Secret, hash: String) -> Result<Option<Identity>, Unavailable>;

    /// Everything of that kind that something holds for, `most` at most.
    async fn restricted(&self, _kind: Kind, _url: &Secret, _most: i64) -> Result<Vec<NamedRow>, Unavailable> {
        Ok(Vec::new())
    }

    /// `Ok(None)`: there is none.
    async fn one(&self, _kind: Kind, _url: &Secret, _id: String) -> Result<Option<NamedRow>, Unavailable> {
        Ok(None)
    }

    /// Whether nobody may be served from there, whatever was read before: the schema has become another one. Looks again
    /// from time to time.
    async fn refuses(&self, _url: &Secret) -> Option<Unavailable> {
        None
    }
}

#[async_trait::async_trait]
impl Rows for Postgres {
    async fn read(&self, url: &Secret, hash: String) -> Result<Option<Identity>, Unavailable> {
        self.identity(url, hash).await
    }

    async fn restricted(&self, kind: Kind, url: &Secret, most: i64) -> Result<Vec<NamedRow>, Unavailable> {
        Postgres::restricted(self, kind, url, most).await
    }

    async fn one(&self, kind: Kind, url: &Secret, id: String) -> Result<Option<NamedRow>, Unavailable> {
        Postgres::named_row(self, kind, url, id).await
    }

    async fn refuses(&self, url: &Secret) -> Option<Unavailable> {
        if self.is_unknown() { self.check_schema(url).await.err() } else { None }
    }
}

/// Times of a [`Directory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// LiteLLM's default for keys, teams and users is 60 s
    pub known: Duration,
    /// how long an unknown key is refused without asking again
    pub unknown: Duration,
    /// how long a known key goes on while Postgres does not answer, after `known` is over
    pub stale: Duration,
    /// pause between two questions about one stale key
    pub retry: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            known: Duration::from_secs(60),
            unknown: Duration::from_secs(2),
            stale: Duration::from_secs(300),
            retry: Duration::from_secs(1),
        }
    }
}

/// What is known of a key.
#[derive(Debug, Clone)]
pub enum Found {
    Known(Arc<Identity>),
    /// no such key in the database
    Unknown,
    /// the database did not answer, and the key was not seen lately
    Unavailable(Unavailable),
}

#[derive(Debug, Clone)]
struct Entry {
    /// `None`: no such key
    identity: Option<Arc<Identity>>,
    loaded: Instant,
    fresh_until: Instant,
}

/// Most identities held; LiteLLM keeps 200 a worker, which makes larger deployments read the database all the time.
const CAPACITY: usize = 20_000;

/// The identities of all keys seen lately. Clones share them.
#[derive(Debug, Clone)]
pub struct Directory {
    rows: Arc<dyn Rows>,
    entries: Arc<Cache<KeyHash, Arc<Entry>>>,
    /// raised by every invalidation: what was read meanwhile is not kept
    invalidations: Arc<AtomicU64>,
    ages: Ages,
    /// of the same database
    pub end_users: NamedRows,
    pub tags: NamedRows,
}

impl Directory {
    pub fn new(rows: impl Rows + 'static, ages: Ages) -> Self {
        let (rows, invalidations): (Arc<dyn Rows>, _) = (Arc::new(rows), Arc::default());
        let named = |kind| NamedRows::new(kind, rows.clone(), ages);
        let (end_users, tags) = (named(Kind::EndUser), named(Kind::Tag));
        Self { rows, entries: Arc::new(Cache::new(CAPACITY)), invalidations, ages, end_users, tags }
    }

    /// The identity where it is known and fresh, without waiting.
    pub fn cached(&self, hash: &KeyHash) -> Option<Found> {
        let entry = self.entries.get(hash).filter(|entry| Instant::now() < entry.fresh_until)?;
        Some(match &entry.identity {
            Some(identity) => Found::Known(identity.clone()),
            None => Found::Unknown,
        })
    }

    /// Looks the key up; one question a key at a time, however many ask. `ttl`: `general_settings.user_api_key_cache_ttl`,
    /// which may shorten how long the answer is believed: a team in it is believed for LiteLLM's default.
    pub async fn find(&self, url: &Secret, hash: KeyHash, ttl: Option<Duration>) -> Found {
        if let Some(error) = self.rows.refuses(url).await {
            return Found::Unavailable(error);
        }
        if let Some(found) = self.cached(&hash) {
            return found;
        }
        let old = self.entries.get(&hash).filter(|entry| Instant::now() >= entry.fresh_until);
        if let Some(old) = &old {
            // not the entry somebody else has just put there
            self.entries.remove_if(&hash, |entry| Arc::ptr_eq(entry, old));
        }
        let guard = match self.entries.get_value_or_guard_async(&hash).await {
            Ok(entry) => {
                return match &entry.identity {
                    Some(identity) => Found::Known(identity.clone()),
                    None => Found::Unknown,
                };
            }
            Err(guard) => guard,
        };
        let known = ttl.unwrap_or(self.ages.known).min(self.ages.known);
        let before = self.invalidations.load(Ordering::Acquire);
        let looked = self.rows.read(url, hash.to_string()).await;
        let now = Instant::now();
        let (entry, found) = match looked {
            Ok(Some(identity)) => {
                let kept = Some(Arc::new(identity.clone()));
                let entry = Entry { identity: kept, loaded: now, fresh_until: now + known };
                (entry, Found::Known(Arc::new(Identity { just_read: true, ..identity })))
            }
            Ok(None) => (Entry { identity: None, loaded: now, fresh_until: now + self.ages.unknown }, Found::Unknown),
            // spend could not be written either
            Err(error @ Unavailable::Schema) => return Found::Unavailable(error),
            Err(error) => {
                let usable = old.filter(|old| now < old.loaded + self.ages.known + self.ages.stale);
                match usable.as_ref().and_then(|old| Some((old.loaded, old.identity.clone()?))) {
                    Some((loaded, identity)) => {
                        tracing::warn!(%error, "postgres does not answer: a known key goes on with what was read before");
                        let fresh_until = now + self.ages.retry;
                        (Entry { identity: Some(identity.clone()), loaded, fresh_until }, Found::Known(identity))
                    }
                    None => return Found::Unavailable(error),
                }
            }
        };
        if self.invalidations.load(Ordering::Acquire) == before {
            // an error: the entry was removed while it was read, and the next request reads again
            let _ = guard.insert(Arc::new(entry));
        }
        found
    }

    /// Forgets what LiteLLM's cache key names: a key's hash, `team_id:<id>`, a bare user id, `project_id:<id>`,
    /// `org_id:<id>`, ... (proxy/common_utils/auth_cache_invalidation_pubsub.py). What it cannot place empties all.
    pub fn invalidate(&self, cache_key: &str) {
        if cache_key.starts_with("end_user_id:") || cache_key == "end_user_restricted_registry" {
            return self.end_users.doubt();
        }
        if cache_key.starts_with("tag:") || cache_key == "tag_registry" {
            return self.tags.doubt();
        }
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        if let Some(hash) = KeyHash::parse(cache_key) {
            self.entries.remove(&hash);
            // a rotated key's successor is known under the old hash too
            self.keep(|identity| identity.key.token != cache_key);
            return;
        }
        let (kind, id) = cache_key.split_once(':').unwrap_or(("", cache_key));
        match kind {
            "team_id" => self.keep(|identity| identity.key.team_id.as_deref() != Some(id)),
            "project_id" => self.keep(|identity| identity.key.project_id.as_deref() != Some(id)),
            "jwt_key_mapping" | "spend" => {}
            "" => self.keep(|identity| identity.key.user_id.as_deref() != Some(id)),
            _ => self.entries.clear(),
        }
    }

    /// Believes nothing any longer without asking: something may have been missed. What is known still goes on while
    /// Postgres does not answer.
    pub fn doubt(&self) {
        self.end_users.doubt();
        self.tags.doubt();
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        let now = Instant::now();
        let known: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.identity.is_some()).collect();
        self.entries.clear();
        for (hash, entry) in known {
            self.entries.insert(hash, Arc::new(Entry { fresh_until: now, ..Entry::clone(&entry) }));
        }
    }

    /// Forgets everything: the database or the configuration is another one.
    pub fn clear(&self) {
        self.end_users.clear();
        self.tags.clear();
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }

    fn keep(&self, keep: impl Fn(&Identity) -> bool) {
        self.entries.retain(|_, entry| entry.identity.as_deref().is_none_or(&keep));
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod directory_tests;
