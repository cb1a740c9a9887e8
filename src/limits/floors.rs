//! What the database says of budget windows: their counters are never believed below it (proxy_server.py
//! `_authoritative_floor_spend`). Read when a call asks, at most once in a while for each.
use std::{
    collections::HashMap,
    sync::PoisonError,
    time::{Duration, Instant},
};

use super::{Ask, BudgetWindow, Limits, plan::Add};

/// How long an answer holds (`SPEND_DB_FLOOR_CACHE_TTL_SECONDS`).
const HOLDS: Duration = Duration::from_secs(5);
/// Answers that are kept.
const KEPT: usize = 10_000;

/// The answers, by counter.
pub(super) type Floors = HashMap<String, (Instant, f64)>;

impl Limits {
    /// Tells the plan what the rows have of its windows: an absent counter starts from it, one below it is raised.
    pub(super) async fn know_windows(&self, ask: &mut Ask) {
        for (counter, window) in &ask.budgets.windows {
            let floor = self.floor(window).await.filter(|floor| *floor > 0.0);
            if let Some((counter, floor)) = ask.plan.counters.get_mut(*counter).zip(floor) {
                counter.known = floor;
            }
        }
    }

    async fn floor(&self, window: &BudgetWindow) -> Option<f64> {
        let held = self.floors().get(&window.counter).filter(|(at, _)| at.elapsed() < HOLDS).map(|(_, floor)| *floor);
        if held.is_some() {
            return held;
        }
        let floor = self.0.rows.window(window).await?;
        let mut floors = self.floors();
        if floors.len() >= KEPT {
            floors.retain(|_, (at, _)| at.elapsed() < HOLDS);
        }
        if floors.len() < KEPT {
            floors.insert(window.counter.clone(), (Instant::now(), floor));
        }
        Some(floor)
    }

    /// What a counter that is gone starts from again; a window's reservation comes back to nothing.
    pub(super) async fn base(&self, add: &Add, windows: &[BudgetWindow]) -> Option<f64> {
        match windows.iter().find(|window| window.counter == add.key) {
            Some(_) if add.reserved => None,
            Some(window) => self.0.rows.window(window).await,
            None => self.0.rows.spend(&add.key).await,
        }
    }

    fn floors(&self) -> std::sync::MutexGuard<'_, Floors> {
        self.0.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
