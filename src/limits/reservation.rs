//! What one admitted request holds, and how it is given back: exactly once, and in the io runtime.
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Ask, Limits, now,
    plan::{Add, Admitted, Clockwork, Settlement},
    refusal::{self, Status},
    wire,
};
use crate::store::{Redis, RedisError};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// `tokens` by `token_rate_limit_type`, without cached ones; `cost` in US dollars
    Answered { tokens: i64, cost: f64 },
    /// no answer, or one that broke off after `tokens`: only what was reserved is settled, its cost given back
    Failed { tokens: i64 },
    /// the client left before there was usage: `cost` of the input stays charged, reserved tokens too
    Cancelled { cost: f64 },
}

/// Slots, tokens and spend of one request. Dropped unsettled it counts as failed.
#[must_use]
pub struct Reservation {
    limits: Limits,
    ask: Ask,
    clock: Clockwork,
    admitted: Admitted,
    /// where it was taken
    redis: bool,
    settled: AtomicBool,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("admitted", &self.admitted).finish_non_exhaustive()
    }
}

impl Reservation {
    pub(super) fn new(limits: Limits, ask: Ask, clock: Clockwork, admitted: Admitted, redis: bool) -> Self {
        let this = Self { limits, ask, clock, admitted, redis, settled: AtomicBool::default() };
        this.keep_alive();
        this
    }

    /// The field and value to write into the request, when the client gave no cap and a limit is small.
    pub fn cap(&self) -> Option<(&'static str, i64)> {
        self.ask.cap
    }

    /// US dollars charged before the call to every budget.
    pub fn charged(&self) -> f64 {
        if self.admitted.charged.is_empty() { 0.0 } else { self.admitted.cost }
    }

    /// `x-ratelimit-*` headers of the answer, in LiteLLM's order.
    pub fn headers(&self) -> Vec<(String, String)> {
        let d = &self.ask.descriptors;
        let status = |kind, floor: i64| {
            move |((descriptor, limit), count): ((&super::Descriptor, i64), &i64)| Status {
                descriptor: descriptor.key,
                kind,
                limit,
                remaining: limit.saturating_sub(*count).max(floor),
            }
        };
        let requests =
            refusal::limited(d, |d| d.requests).zip(&self.admitted.requests).map(status("requests", i64::MIN));
        let slots = refusal::limited(d, |d| d.parallel).zip(&self.admitted.in_flight);
        let tokens = refusal::limited(d, |d| d.tokens).zip(&self.admitted.tokens).map(status("tokens", 0));
        let statuses: Vec<Status> =
            requests.chain(slots.map(status("max_parallel_requests", 0))).chain(tokens).collect();
        refusal::headers(&statuses)
    }

    /// Settles in the background; nobody waits for it.
    pub fn settle(self, outcome: Outcome) {
        self.start(outcome);
    }

    /// The same, waited for.
    pub async fn settled(self, outcome: Outcome) {
        if let Some(job) = self.job(outcome) {
            job.await;
        }
    }

    fn start(&self, outcome: Outcome) {
        let Some(job) = self.job(outcome) else { return };
        if !self.limits.0.io.owe(job) {
            tracing::warn!("the io runtime is not there: a reservation is left to expire");
        }
    }

    fn job(&self, outcome: Outcome) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        if self.redis && self.limits.0.redis.is_some() {
            self.limits.0.keeper.release(self.charged_keys());
        }
        let mut settlement = self.settlement(outcome);
        let Settlement { slots, tokens, spend, meters, .. } = &settlement;
        if slots.is_empty() && tokens.is_empty() && spend.is_empty() && meters.is_empty() {
            return None;
        }
        let (limits, clock) = (self.limits.clone(), self.clock);
        let redis = self.limits.0.redis.clone().filter(|_| self.redis);
        Some(async move {
            limits.meter(std::mem::take(&mut settlement.meters)).await;
            let Some(redis) = redis else { return limits.settle_in_memory(settlement, clock).await };
            if let Err(error) = limits.settle_in_redis(&redis, settlement, clock).await {
                tracing::warn!(%error, "a reservation could not be settled, it is left to expire");
            }
        })
    }

    /// What is given back and added; pure.
    pub fn settlement(&self, outcome: Outcome) -> Settlement {
        let plan = &self.ask.plan;
        let reserved = |scope: &str| plan.tokens.iter().any(|limit| limit.scope == scope);
        let of_plan = plan.tokens.iter().map(|limit| limit.scope.clone());
        let (scopes, tokens): (Vec<String>, i64) = match outcome {
            Outcome::Answered { tokens, .. } => (self.ask.targets.clone(), tokens),
            Outcome::Failed { tokens } => (of_plan.collect(), tokens),
            Outcome::Cancelled { .. } => (Vec::new(), 0),
        };
        let tokens = scopes.into_iter().map(|scope| {
            let add = tokens.saturating_sub(if reserved(&scope) { plan.estimate } else { 0 });
            (scope, add)
        });
        let cost = match outcome {
            Outcome::Answered { cost, .. } | Outcome::Cancelled { cost } => cost,
            Outcome::Failed { .. } => 0.0,
        };
        let charged: Vec<&str> = self.charged_keys().collect();
        let back = charged.iter().map(|key| Add {
            key: (*key).to_owned(),
            amount: cost - self.admitted.cost,
            cost,
            reserved: true,
        });
        let answered = matches!(outcome, Outcome::Answered { .. });
        let payers = self.ask.payers.iter().filter(|key| answered && !charged.contains(&key.as_str()));
        let plain = payers.map(|key| Add { key: key.clone(), amount: cost, cost, reserved: false });
        Settlement {
            slot: plan.slot.clone(),
            slots: plan.slots.iter().map(|limit| limit.scope.clone()).collect(),
            tokens: tokens.filter(|(_, add)| *add != 0).collect(),
            spend: back.chain(plain).filter(|add| add.amount != 0.0).collect(),
            meters: self.ask.budgets.meters.iter().filter(|_| answered).map(|meter| (meter.clone(), cost)).collect(),
            windows: self.ask.budgets.windows.iter().map(|(_, window)| window.clone()).collect(),
        }
    }

    /// The counters that were charged.
    fn charged_keys(&self) -> impl Iterator<Item = &str> {
        let plan = &self.ask.plan;
        let charges = self.admitted.charged.iter().filter_map(|at| plan.charges.get(*at));
        charges.filter_map(|charge| plan.counters.get(charge.counter)).map(|counter| counter.key.as_str())
    }

    /// A charge lives in counters that expire: while the call runs they are kept from it.
    fn keep_alive(&self) {
        let shared = &self.limits.0;
        if let Some(redis) = shared.redis.as_ref().filter(|_| self.redis) {
            shared.keeper.hold(self.charged_keys(), self.clock.spend_ttl, &shared.io, redis);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.start(Outcome::Failed { tokens: 0 });
    }
}

impl Limits {
    async fn settle_in_redis(&self, redis: &Redis, settlement: Settlement, clock: Clockwork) -> Result<(), RedisError> {
        let left: Vec<usize> = redis.script(wire::settle(&settlement, clock, |key| redis.key(key))).await?;
        let mut again = Settlement::default();
        for add in left.into_iter().filter_map(|at| settlement.spend.get(at)) {
            let Some(spend) = self.base(add, &settlement.windows).await else {
                // without a row a charged counter has nothing to come back to; a plain one starts at the cost
                if !add.reserved {
                    redis.seed(&add.key, 0.0, clock.spend_ttl, true).await?;
                    again.spend.push(Add { amount: add.cost, ..add.clone() });
                }
                continue;
            };
            if add.reserved {
                redis.put(&add.key, spend, clock.spend_ttl).await?;
            } else {
                redis.seed(&add.key, spend, clock.spend_ttl, true).await?;
            }
            if add.cost > 0.0 {
                again.spend.push(Add { amount: add.cost, reserved: false, ..add.clone() });
            }
        }
        if !again.spend.is_empty() {
            let _: Vec<usize> = redis.script(wire::settle(&again, clock, |key| redis.key(key))).await?;
        }
        Ok(())
    }

    async fn settle_in_memory(&self, settlement: Settlement, clock: Clockwork) {
        let left = self.memory().settle(&settlement, clock, now());
        for add in left.into_iter().filter_map(|at| settlement.spend.get(at)) {
            let base = self.base(add, &settlement.windows).await.unwrap_or(0.0);
            let now = now();
            self.memory().set(&add.key, base + add.cost, now + clock.spend_ttl);
        }
    }
}
