//! What holds for the end users that requests name. Almost none has anything, so the few who have are read together, as
//! LiteLLM does (auth_checks.py `_load_end_user_restricted_registry`), and only once somebody is named; where they are too
//! many, each is read alone. It must never read for a request that names nobody.
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use super::directory::{Ages, Rows};
use crate::{secret::Secret, store::Unavailable};

/// `LiteLLM_EndUserTable` with its `LiteLLM_BudgetTable`.
#[derive(Debug, Clone, PartialEq)]
pub struct EndUser {
    pub id: String,
    /// US dollars
    pub spend: f64,
    pub max_budget: Option<f64>,
    pub rpm_limit: Option<i64>,
    pub tpm_limit: Option<i64>,
    /// a region, a default model, models or permissions of its own, budgets of single models: Python's
    pub special: bool,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// no row, or one without anything
    Unrestricted,
    Restricted(Arc<EndUser>),
    /// LiteLLM may be able to read it
    Unreadable,
}

impl Standing {
    fn of(user: Option<Arc<EndUser>>) -> Self {
        user.map_or(Standing::Unrestricted, Standing::Restricted)
    }
}

/// constants.py `END_USER_RESTRICTED_REGISTRY_MAX_SIZE`
const MOST: usize = 5000;
/// Most end users held alone.
const CAPACITY: usize = 20_000;

#[derive(Debug, Clone)]
struct Registry {
    /// `None`: they are too many
    users: Option<Arc<HashMap<String, Arc<EndUser>>>>,
    loaded: Instant,
    fresh_until: Instant,
}

#[derive(Debug)]
struct Alone {
    user: Option<Arc<EndUser>>,
    fresh_until: Instant,
}

/// The end users of one database. Clones share them.
#[derive(Debug, Clone)]
pub struct EndUsers {
    rows: Arc<dyn Rows>,
    registry: Arc<ArcSwapOption<Registry>>,
    /// one question at a time
    loading: Arc<Mutex<()>>,
    alone: Arc<Cache<String, Arc<Alone>>>,
    /// raised by every invalidation: what was read meanwhile is not kept
    invalidations: Arc<AtomicU64>,
    ages: Ages,
    most: usize,
}

impl EndUsers {
    pub fn new(rows: Arc<dyn Rows>, ages: Ages) -> Self {
        let (registry, loading, invalidations) = Default::default();
        Self { rows, registry, loading, alone: Arc::new(Cache::new(CAPACITY)), invalidations, ages, most: MOST }
    }

    /// Without waiting; `None`: it must be read.
    pub fn known(&self, id: &str) -> Option<Standing> {
        let now = Instant::now();
        let registry = self.registry.load();
        match &registry.as_ref().filter(|registry| now < registry.fresh_until)?.users {
            Some(users) => Some(Standing::of(users.get(id).cloned())),
            None => {
                let alone = self.alone.get(id).filter(|alone| now < alone.fresh_until)?;
                Some(Standing::of(alone.user.clone()))
            }
        }
    }

    /// Reads what is not known. `ttl`: `general_settings.user_api_key_cache_ttl`, as for keys.
    pub async fn find(&self, url: &Secret, id: &str, ttl: Option<Duration>) -> Standing {
        let life = ttl.unwrap_or(self.ages.known).min(self.ages.known);
        let guard = self.loading.lock().await;
        if let Some(standing) = self.known(id) {
            return standing;
        }
        let old = self.registry.load_full();
        let registry = match old.filter(|registry| Instant::now() < registry.fresh_until) {
            Some(registry) => registry,
            None => match self.read_all(url, life).await {
                Ok(registry) => registry,
                Err(error) => {
                    tracing::warn!(%error, "end users could not be read: who names one is python's");
                    return Standing::Unreadable;
                }
            },
        };
        drop(guard);
        match &registry.users {
            Some(users) => Standing::of(users.get(id).cloned()),
            None => self.read_alone(url, id, life).await,
        }
    }

    async fn read_all(&self, url: &Secret, life: Duration) -> Result<Arc<Registry>, Unavailable> {
        let before = self.invalidations.load(Ordering::Acquire);
        let read = self.rows.restricted_end_users(url, i64::try_from(self.most + 1).unwrap_or(i64::MAX)).await;
        let now = Instant::now();
        let registry = match read {
            Ok(users) => {
                let few = users.len() <= self.most;
                let users = users.into_iter().map(|user| (user.id.clone(), Arc::new(user)));
                let users = few.then(|| Arc::new(users.collect()));
                Registry { users, loaded: now, fresh_until: now + life }
            }
            Err(error) => self.without(error, now)?,
        };
        let registry = Arc::new(registry);
        if self.invalidations.load(Ordering::Acquire) == before {
            self.registry.store(Some(registry.clone()));
        }
        Ok(registry)
    }

    /// While Postgres does not answer: what was read before, for a while. LiteLLM limits no end user that it cannot read.
    fn without(&self, error: Unavailable, now: Instant) -> Result<Registry, Unavailable> {
        if !matches!(error, Unavailable::TimedOut | Unavailable::Away | Unavailable::Lost(_)) {
            return Err(error);
        }
        let fresh_until = now + self.ages.retry;
        let old = self.registry.load_full();
        let usable = old.filter(|old| now < old.loaded + self.ages.known + self.ages.stale);
        Ok(match usable {
            Some(old) => Registry { fresh_until, ..Registry::clone(&old) },
            None => {
                tracing::warn!(%error, "postgres does not answer: end users are not limited");
                Registry { users: Some(Arc::default()), loaded: now, fresh_until }
            }
        })
    }

    /// One of too many; one question an id at a time.
    async fn read_alone(&self, url: &Secret, id: &str, life: Duration) -> Standing {
        if let Some(old) = self.alone.get(id).filter(|alone| Instant::now() >= alone.fresh_until) {
            self.alone.remove_if(id, |entry| Arc::ptr_eq(entry, &old));
        }
        let guard = match self.alone.get_value_or_guard_async(id).await {
            Ok(alone) => return Standing::of(alone.user.clone()),
            Err(guard) => guard,
        };
        let before = self.invalidations.load(Ordering::Acquire);
        let (user, life) = match self.rows.end_user(url, id.to_owned()).await {
            Ok(user) => (user.map(Arc::new), life),
            Err(Unavailable::TimedOut | Unavailable::Away | Unavailable::Lost(_)) => (None, self.ages.retry),
            Err(_) => return Standing::Unreadable,
        };
        if self.invalidations.load(Ordering::Acquire) == before {
            // an error: the entry was removed while it was read, and the next request reads again
            let _ = guard.insert(Arc::new(Alone { user: user.clone(), fresh_until: Instant::now() + life }));
        }
        Standing::of(user)
    }

    /// Believes nothing any longer without asking. What is known still goes on while Postgres does not answer.
    pub fn doubt(&self) {
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        self.alone.clear();
        if let Some(registry) = self.registry.load_full() {
            self.registry.store(Some(Arc::new(Registry { fresh_until: Instant::now(), ..Registry::clone(&registry) })));
        }
    }

    /// Forgets everything: the database or the configuration is another one.
    pub fn clear(&self) {
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        self.alone.clear();
        self.registry.store(None);
    }
}

#[cfg(test)]
#[path = "end_users_tests.rs"]
mod end_users_tests;
