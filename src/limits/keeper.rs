//! Keeps charged spend counters from expiring while calls run that have charged them: a counter that is gone would forget
//! what is held back. One task for all calls, and none while nothing is held. It must never change a counter's value.
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::store::{Io, Redis};

/// The counters in use. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// calls by counter
    calls: HashMap<String, usize>,
    /// a task looks after them
    kept: bool,
}

impl Keeper {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins that has charged `counters`, whose life is `ttl` seconds; [`Keeper::release`] ends it.
    pub(super) fn hold<'a>(&self, counters: impl Iterator<Item = &'a str>, ttl: i64, io: &Io, redis: &Redis) {
        let mut held = self.held();
        for counter in counters {
            match held.calls.get_mut(counter) {
                Some(calls) => *calls += 1,
                None => drop(held.calls.insert(counter.to_owned(), 1)),
            }
        }
        if held.kept || held.calls.is_empty() {
            return;
        }
        let (this, redis) = (self.clone(), redis.clone());
        held.kept = io.start(async move { this.keep(&redis, ttl.max(2)).await });
    }

    pub(super) fn release<'a>(&self, counters: impl Iterator<Item = &'a str>) {
        let mut held = self.held();
        for counter in counters {
            if let Entry::Occupied(mut entry) = held.calls.entry(counter.to_owned()) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    /// Until nothing is held.
    async fn keep(&self, redis: &Redis, ttl: i64) {
        loop {
            tokio::time::sleep(Duration::from_secs(ttl.unsigned_abs()) / 2).await;
            let mut pipeline = redis::pipe();
            {
                let mut held = self.held();
                if held.calls.is_empty() {
                    held.kept = false;
                    return;
                }
                for counter in held.calls.keys() {
                    pipeline.expire(redis.key(counter), ttl).ignore();
                }
            }
            if let Err(error) = redis.run::<()>(pipeline).await {
                tracing::debug!(%error, "spend counters were not kept alive");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secret::Secret, store::RedisTarget};

    #[tokio::test(start_paused = true)]
    async fn one_task_while_something_is_held() {
        let io = Io::default();
        io.attach(tokio::runtime::Handle::current());
        let nowhere = RedisTarget { url: Secret::new("redis://127.0.0.1:1/0"), namespace: None };
        let redis = Redis::new(io.clone(), nowhere);
        let keeper = Keeper::default();
        let kept = |keeper: &Keeper| keeper.held().kept;
        keeper.hold([].into_iter(), 60, &io, &redis);
        assert!(!kept(&keeper));
        keeper.hold(["spend:key:a", "spend:team:t"].into_iter(), 60, &io, &redis);
        keeper.hold(["spend:key:a"].into_iter(), 60, &io, &redis);
        assert!(kept(&keeper));
        keeper.release(["spend:key:a", "spend:team:t"].into_iter());
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(kept(&keeper));
        assert_eq!(keeper.held().calls, HashMap::from([("spend:key:a".to_owned(), 1)]));
        keeper.release(["spend:key:a"].into_iter());
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(!kept(&keeper));
        // and anew
        keeper.hold(["spend:key:a"].into_iter(), 60, &io, &redis);
        assert!(kept(&keeper));
    }
}
