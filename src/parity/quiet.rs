//! Waiting for Redis: LiteLLM counts a call after it has answered it.
use std::{
    io,
    time::{Duration, Instant},
};

use super::redis::{Dump, Redis};

/// Keys that have not changed for so long are taken as final.
const QUIET: Duration = Duration::from_millis(120);
/// A busy Python gateway counts a successful call so long after its answer; without this the next case would get it.
const LATE_COUNT: Duration = Duration::from_millis(1500);
/// What a call of the runner's costs is added to this when LiteLLM has counted it; nothing reserves it before.
const PROGRAM: &str = "spend:tag:User-Agent: parity";

/// The keys once nothing changes them any more: LiteLLM counts after it has answered. `from`: something has to change,
/// for a while that is what is waited for.
pub async fn settled(redis: &mut Redis, from: Option<&Dump>) -> io::Result<Dump> {
    let values = |dump: &Dump| dump.iter().map(|(k, e)| (k.clone(), e.value.clone())).collect::<Vec<_>>();
    let started = Instant::now();
    let mut last = redis.dump().await?;
    while let Some(from) = from
        && values(from) == values(&last)
        && started.elapsed() < LATE_COUNT
    {
        tokio::time::sleep(Duration::from_millis(30)).await;
        last = redis.dump().await?;
    }
    let mut quiet = Instant::now();
    while quiet.elapsed() < QUIET && started.elapsed() < LATE_COUNT + Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = redis.dump().await?;
        if values(&now) != values(&last) {
            quiet = Instant::now();
        }
        last = now;
    }
    Ok(last)
}

/// Once a request is counted, where the next one's answer depends on it. `before`: the keys before the request.
pub async fn counted(redis: &mut Redis, before: &Dump, answered: bool) -> io::Result<()> {
    let of_program = |dump: &Dump| dump.get(PROGRAM).map(|entry| entry.value.clone());
    let started = Instant::now();
    while answered && started.elapsed() < LATE_COUNT && of_program(&redis.dump().await?) == of_program(before) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    settled(redis, None).await.map(drop)
}
