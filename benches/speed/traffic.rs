//! What 1,000 requests cost Postgres and Redis, behind each gateway that keeps books.
use std::{thread, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    backing::Backing,
    gateway::{Gateway, Kind},
    load::{Paced, Request},
    works::WORKS,
};

/// Longer than LiteLLM's and the edge's time between two writes of spend.
const SETTLED: Duration = Duration::from_secs(13);
/// Slow enough for one Python worker.
const RATE: f64 = 20.0;
const LENGTH: Duration = Duration::from_secs(10);

/// A thousand requests of `chat-json` at 20 a second, less what the idle gateways ask in the same time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) gateway: String,
    pub(crate) requests: usize,
    pub(crate) queries_per_1000: f64,
    pub(crate) commands_per_1000: f64,
}

pub(crate) fn measure(backing: &Backing, gateways: &[&Gateway], quick: bool) -> Result<Vec<Traffic>> {
    let (length, settled) = if quick { (Duration::from_millis(200), Duration::ZERO) } else { (LENGTH, SETTLED) };
    thread::sleep(settled);
    let idle = {
        let before = backing.asked()?;
        thread::sleep(length + settled);
        let after = backing.asked()?;
        (after.queries - before.queries, after.commands - before.commands)
    };
    let mut all = Vec::new();
    for gateway in gateways {
        if !matches!(gateway.kind, Kind::Python { workers: 1 } | Kind::EdgeNative) {
            continue;
        }
        let work = WORKS.first().context("no work")?;
        let Some(bytes) = work.request(&gateway.target) else { continue };
        let before = backing.asked()?;
        let request = Request::new(gateway.target.port, bytes, work);
        let requests = Paced::connect(request, 4, RATE)?.run(length)?.timings.len();
        thread::sleep(settled);
        let after = backing.asked()?;
        let each = |count: u64, idle: u64| count.saturating_sub(idle) as f64 * 1e3 / requests.max(1) as f64;
        all.push(Traffic {
            gateway: gateway.name.clone(),
            requests,
            queries_per_1000: each(after.queries - before.queries, idle.0),
            commands_per_1000: each(after.commands - before.commands, idle.1),
        });
    }
    Ok(all)
}
