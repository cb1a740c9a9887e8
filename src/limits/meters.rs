//! What finished calls cost, on the counters of budgets of single models. What Redis did not take is kept and goes with the
//! next call's, as LiteLLM does it. It must never be waited for by a request.
use std::{
    sync::PoisonError,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Limits, model_budgets::Meter, wire};

/// Calls that are kept while Redis is away; beyond them the oldest are forgotten.
const KEPT: usize = 10_000;

impl Limits {
    /// Adds the costs, and those that are still due.
    pub(super) async fn meter(&self, costs: Vec<(Meter, f64)>) {
        let Some(redis) = self.0.redis.as_ref().filter(|_| !costs.is_empty()) else { return };
        let mut due = std::mem::take(&mut *self.due());
        due.extend(costs);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let done = redis.script::<()>(wire::meter(&due, now, |key| redis.key(key))).await;
        if let Err(error) = done {
            tracing::warn!(%error, "spend of model budgets waits for redis");
            let mut kept = self.due();
            due.append(&mut kept);
            *kept = due.split_off(due.len().saturating_sub(KEPT));
        }
    }

    fn due(&self) -> std::sync::MutexGuard<'_, Vec<(Meter, f64)>> {
        self.0.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
