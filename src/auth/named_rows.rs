//! What holds for the end users and the tags that requests name. Almost none has anything, so the few that have are read
//! together, as LiteLLM does (auth_checks.py `_load_end_user_restricted_registry`, `_load_tag_registry`), and only once one
//! is named; where they are too many, each is read alone. It must never read for a request that names none.
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

/// Of what kind a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `LiteLLM_EndUserTable`
    EndUser,
    /// `LiteLLM_TagTable`
    Tag,
}

/// A row with its `LiteLLM_BudgetTable`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRow {
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
    Restricted(Arc<NamedRow>),
    /// LiteLLM may be able to read it
    Unreadable,
}

impl Standing {
    fn of(row: Option<Arc<NamedRow>>) -> Self {
        row.map_or(Standing::Unrestricted, Standing::Restricted)
    }
}

/// constants.py `END_USER_RESTRICTED_REGISTRY_MAX_SIZE`, `TAG_REGISTRY_MAX_SIZE`
const MOST: usize = 5000;
/// Most names held alone.
const CAPACITY: usize = 20_000;

#[derive(Debug, Clone)]
struct Registry {
    /// `None`: they are too many
    named: Option<Arc<HashMap<String, Arc<NamedRow>>>>,
    loaded: Instant,
    fresh_until: Instant,
}

#[derive(Debug)]
struct Alone {
    row: Option<Arc<NamedRow>>,
    fresh_until: Instant,
}

/// All of one kind in one database. Clones share them.
#[derive(Debug, Clone)]
pub struct NamedRows {
    kind: Kind,
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

impl NamedRows {
    pub fn new(kind: Kind, rows: Arc<dyn Rows>, ages: Ages) -> Self {
        let (registry, loading, invalidations) = Default::default();
        Self { kind, rows, registry, loading, alone: Arc::new(Cache::new(CAPACITY)), invalidations, ages, most: MOST }
    }

    /// Without waiting; `None`: it must be read.
    pub fn known(&self, id: &str) -> Option<Standing> {
        let now = Instant::now();
        let registry = self.registry.load();
        match &registry.as_ref().filter(|registry| now < registry.fresh_until)?.named {
            Some(named) => Some(Standing::of(named.get(id).cloned())),
            None => {
                let alone = self.alone.get(id).filter(|alone| now < alone.fresh_until)?;
                Some(Standing::of(alone.row.clone()))
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
                    tracing::warn!(%error, kind = ?self.kind, "what is named could not be read: who names one is python's");
                    return Standing::Unreadable;
                }
            },
        };
        drop(guard);
        match &registry.named {
            Some(named) => Standing::of(named.get(id).cloned()),
            None => self.read_alone(url, id, life).await,
        }
    }

    async fn read_all(&self, url: &Secret, life: Duration) -> Result<Arc<Registry>, Unavailable> {
        let before = self.invalidations.load(Ordering::Acquire);
        let read = self.rows.restricted(self.kind, url, i64::try_from(self.most + 1).unwrap_or(i64::MAX)).await;
        let now = Instant::now();
        let registry = match read {
            Ok(rows) => {
                let few = rows.len() <= self.most;
                let named = rows.into_iter().map(|row| (row.id.clone(), Arc::new(row)));
                let named = few.then(|| Arc::new(named.collect()));
                Registry { named, loaded: now, fresh_until: now + life }
            }
            Err(error) => self.without(error, now)?,
        };
        let registry = Arc::new(registry);
        if self.invalidations.load(Ordering::Acquire) == before {
            self.registry.store(Some(registry.clone()));
        }
        Ok(registry)
    }

    /// While Postgres does not answer: what was read before, for a while. LiteLLM limits nothing that it cannot read.
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
                tracing::warn!(%error, kind = ?self.kind, "postgres does not answer: what is named is not limited");
                Registry { named: Some(Arc::default()), loaded: now, fresh_until }
            }
        })
    }

    /// One of too many; one question an id at a time.
    async fn read_alone(&self, url: &Secret, id: &str, life: Duration) -> Standing {
        if let Some(old) = self.alone.get(id).filter(|alone| Instant::now() >= alone.fresh_until) {
            self.alone.remove_if(id, |entry| Arc::ptr_eq(entry, &old));
        }
        let guard = match self.alone.get_value_or_guard_async(id).await {
            Ok(alone) => return Standing::of(alone.row.clone()),
            Err(guard) => guard,
        };
        let before = self.invalidations.load(Ordering::Acquire);
        let (row, life) = match self.rows.one(self.kind, url, id.to_owned()).await {
            Ok(row) => (row.map(Arc::new), life),
            Err(Unavailable::TimedOut | Unavailable::Away | Unavailable::Lost(_)) => (None, self.ages.retry),
            Err(_) => return Standing::Unreadable,
        };
        if self.invalidations.load(Ordering::Acquire) == before {
            // an error: the entry was removed while it was read, and the next request reads again
            let _ = guard.insert(Arc::new(Alone { row: row.clone(), fresh_until: Instant::now() + life }));
        }
        Standing::of(row)
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
#[path = "named_rows_tests.rs"]
mod named_rows_tests;
