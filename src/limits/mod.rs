//! Rate limits and budgets: one reservation before a call, one settlement after it, on the counters that LiteLLM's own
//! processes use. Everything but [`Limits`] is pure. A request path waits for one round trip, and only for a key that
//! has limits or budgets; it must never decline to Python after [`Limits::reserve`] was called.
pub mod budget_windows;
pub mod budgets;
pub mod descriptors;
pub mod estimate;
mod floors;
mod keeper;
mod meters;
pub mod model_budgets;
pub mod plan;
pub mod raised;
pub mod refusal;
mod reservation;
pub mod window;
pub mod wire;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use time::OffsetDateTime;

pub use budget_windows::BudgetWindow;
pub use budgets::Budgets;
pub use descriptors::{Descriptor, Subject};
use floors::Floors;
use keeper::Keeper;
use model_budgets::Meter;
pub use plan::Clockwork;
use plan::{Admitted, Answer, Counter, Plan};
pub use refusal::Refusal;
use refusal::{BUDGET_UNVERIFIABLE, RATE_UNVERIFIABLE, Rate};
pub use reservation::{Outcome, Reservation};
use window::Memory;

use crate::{
    json::Object,
    store::{Io, Redis, RedisError},
};

/// Reads the spend of a counter's row: `spend:<kind>:<id>` -> US dollars. `None`: no row, or no database.
#[async_trait]
pub trait Rows: Send + Sync {
    async fn spend(&self, counter: &str) -> Option<f64>;

    /// What was spent since the window began, US dollars.
    async fn window(&self, _window: &BudgetWindow) -> Option<f64> {
        None
    }
}

/// `general_settings` and the environment, as far as limits go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    pub clock: Clockwork,
    /// `fail_closed_rate_limit_enforcement`
    pub strict_rates: bool,
    /// `fail_closed_budget_enforcement`
    pub strict_budgets: bool,
}

/// Everything about one request that the counters are asked; made without looking at them.
#[derive(Debug, Clone)]
pub struct Ask {
    descriptors: Vec<Descriptor>,
    budgets: Budgets,
    plan: Plan,
    /// token counters of the finished call
    targets: Vec<String>,
    /// spend counters of the finished call
    payers: Vec<String>,
    /// write this field and value into the request before it is sent
    pub cap: Option<(&'static str, i64)>,
}

impl Ask {
    /// `body` is read only where tokens are limited. `cost` is the highest the call can cost, in
    /// US dollars; 0.0 if that is unknown. `payers`: [`budgets::payers`].
    pub fn new(
        subject: &Subject<'_>,
        (kind, body): (estimate::Kind, &Object<'_>),
        (budgets, cost): (Budgets, f64),
        payers: Vec<String>,
        settings: &Settings,
    ) -> Self {
        let descriptors = subject.descriptors();
        let tokens = descriptors::limits(&descriptors, |d| d.tokens);
        let smallest = tokens.iter().map(|limit| limit.limit).min();
        let estimate = match smallest {
            Some(smallest) => estimate::estimate(kind, body, smallest, estimate::declared_output(subject)),
            None => estimate::Estimate { tokens: 0, cap: None },
        };
        let limited_tags = descriptors.iter().filter(|d| d.key == "tag" && d.tokens.is_some());
        let limited_tags: Vec<String> = limited_tags.map(|d| d.value.clone()).collect();
        let plan = Plan {
            counters: budgets.counters.clone(),
            checks: budgets.checks.clone(),
            charges: budgets.charges.clone(),
            cost,
            strict: settings.strict_budgets,
            requests: descriptors::limits(&descriptors, |d| d.requests),
            slots: descriptors::limits(&descriptors, |d| d.parallel),
            slot: uuid::Uuid::new_v4().simple().to_string(),
            tokens,
            estimate: estimate.tokens,
        };
        let targets = subject.token_targets(&limited_tags);
        Self { targets, descriptors, budgets, plan, payers, cap: estimate.cap }
    }

    /// Nothing limits this request: reserving takes no round trip.
    pub fn is_free(&self) -> bool {
        let plan = &self.plan;
        plan.counters.is_empty() && plan.requests.is_empty() && plan.slots.is_empty() && plan.tokens.is_empty()
    }

    /// The finished call is counted for a budget of its model, whether that was compared or not.
    pub fn is_metered(&self) -> bool {
        !self.budgets.meters.is_empty()
    }

    fn refusal(&self, answer: &Answer, clock: Clockwork, now: i64) -> Option<Refusal> {
        let rate = |(descriptor, limit): (&Descriptor, i64), kind, current: i64| {
            let (key, value) = (descriptor.key, descriptor.value.clone());
            let remaining = limit.saturating_sub(current);
            Refusal::Rate(Rate { kind, descriptor: key, value, limit, remaining, window: clock.window, now })
        };
        match answer {
            Answer::OverBudget { check, spend } => {
                let (message, spent) =
                    (self.budgets.check_message(*check, *spend), self.budgets.check_spent(*check, *spend));
                Some(Refusal::Budget { message, spent, late: self.budgets.is_late(*check) })
            }
            Answer::NoRoom { charge, spend, cost } => {
                let message = self.budgets.charge_message(*charge, *spend, *cost);
                Some(Refusal::Budget { message, spent: self.budgets.charge_spent(*charge, *spend), late: true })
            }
            Answer::OverRequests { counts } => {
                let mut limited = refusal::limited(&self.descriptors, |d| d.requests).zip(counts);
                let (of, count) = limited.find(|((_, limit), count)| *count > limit)?;
                Some(rate(of, "requests", *count))
            }
            Answer::OverSlots { slot, in_flight } => {
                let of = refusal::limited(&self.descriptors, |d| d.parallel).nth(*slot)?;
                Some(rate(of, "max_parallel_requests", *in_flight))
            }
            Answer::OverTokens { scope, current } => {
                let of = refusal::limited(&self.descriptors, |d| d.tokens).nth(*scope)?;
                Some(rate(of, "tokens", *current))
            }
            Answer::Load { .. } | Answer::Admitted(_) => None,
        }
    }
}

/// The limits of one process. Clones share it.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

struct Shared {
    redis: Option<Redis>,
    io: Io,
    rows: Arc<dyn Rows>,
    memory: Mutex<Memory>,
    /// Redis is configured, and the last call had to do without it
    degraded: AtomicBool,
    /// requests that were counted in memory although there is a Redis
    local: AtomicU64,
    keeper: Keeper,
    /// of model budgets: costs that Redis did not take yet
    due: Mutex<Vec<(Meter, f64)>>,
    floors: Mutex<Floors>,
}

/// How often absent counters are read from the database for one request.
const LOADS: usize = 2;

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

impl Limits {
    /// Without `redis` everything is counted in this process.
    pub fn new(redis: Option<Redis>, io: Io, rows: Arc<dyn Rows>) -> Self {
        model_budgets::started();
        let (memory, degraded, local, keeper, due, floors) = Default::default();
        Self(Arc::new(Shared { redis, io, rows, memory, degraded, local, keeper, due, floors }))
    }

    /// Redis is configured but was not there for the last call.
    pub fn is_degraded(&self) -> bool {
        self.0.degraded.load(Ordering::Relaxed)
    }

    /// Requests counted in memory although there is a Redis, since the start.
    pub fn counted_locally(&self) -> u64 {
        self.0.local.load(Ordering::Relaxed)
    }

    /// Of a request that nothing limits: it is only counted, when it is settled.
    pub fn unlimited(&self, ask: Ask, clock: Clockwork) -> Reservation {
        Reservation::new(self.clone(), ask, clock, Admitted::default(), self.0.redis.is_some())
    }

    /// Takes everything the request needs, or says why not. Nothing of a refused request stays taken, except that it
    /// counts as a request.
    pub async fn reserve(&self, mut ask: Ask, settings: &Settings) -> Result<Reservation, Refusal> {
        if ask.is_free() {
            return Ok(self.unlimited(ask, settings.clock));
        }
        self.know_windows(&mut ask).await;
        // budgets are compared first, and not from memory
        let over = match &self.0.redis {
            Some(_) if ask.plan.counters.is_empty() => self.memory().over(&ask.plan, now()),
            _ => None,
        };
        match over {
            Some(answer) => self.finish(ask, answer, settings.clock, true),
            None => self.take(ask, settings).await,
        }
    }

    async fn take(&self, ask: Ask, settings: &Settings) -> Result<Reservation, Refusal> {
        if let Some(redis) = &self.0.redis {
            match self.reserve_in_redis(redis, &ask, settings.clock).await {
                Ok(answer) => {
                    self.restored();
                    self.memory().mirror(&ask.plan, &answer, settings.clock, now());
                    return self.finish(ask, answer, settings.clock, true);
                }
                Err(error) => self.lost(&error),
            }
            self.0.local.fetch_add(1, Ordering::Relaxed);
            if settings.strict_budgets && !ask.plan.checks.is_empty() {
                return Err(Refusal::Unverifiable { message: BUDGET_UNVERIFIABLE });
            }
            if settings.strict_rates && !ask.descriptors.is_empty() {
                return Err(Refusal::Unverifiable { message: RATE_UNVERIFIABLE });
            }
        }
        let answer = self.reserve_in_memory(&ask, settings.clock).await;
        self.finish(ask, answer, settings.clock, false)
    }

    fn finish(&self, ask: Ask, answer: Answer, clock: Clockwork, redis: bool) -> Result<Reservation, Refusal> {
        match answer {
            Answer::Admitted(admitted) => Ok(Reservation::new(self.clone(), ask, clock, admitted, redis)),
            answer => {
                Err(ask.refusal(&answer, clock, now()).unwrap_or(Refusal::Unverifiable { message: RATE_UNVERIFIABLE }))
            }
        }
    }

    async fn reserve_in_redis(&self, redis: &Redis, ask: &Ask, clock: Clockwork) -> Result<Answer, RedisError> {
        let mut plan = ask.plan.clone();
        for _ in 0..=LOADS {
            let call = wire::reserve(&plan, clock, now(), |key| redis.key(key));
            let reply: wire::Reply = redis.script(call).await?;
            let answer = wire::answer(reply).ok_or_else(|| RedisError::Failed("unreadable reply".into()))?;
            let Answer::Load { cold, stale } = answer else { return Ok(answer) };
            for (at, fresh) in cold.into_iter().map(|at| (at, true)).chain(stale.into_iter().map(|at| (at, false))) {
                let Some(counter) = plan.counters.get_mut(at) else { continue };
                let spend = self.0.rows.spend(&counter.key).await.unwrap_or(counter.known);
                redis.seed(&counter.key, spend, clock.spend_ttl, fresh).await?;
                // what the database says is believed once
                counter.known = 0.0;
            }
        }
        Err(RedisError::Failed("spend counters vanish".into()))
    }

    async fn reserve_in_memory(&self, ask: &Ask, clock: Clockwork) -> Answer {
        let mut plan = ask.plan.clone();
        loop {
            let answer = self.memory().reserve(&plan, clock, now());
            let Answer::Load { cold, stale } = answer else { return answer };
            for at in cold.into_iter().chain(stale) {
                let Some(Counter { key, known }) = plan.counters.get_mut(at) else { continue };
                let spend = self.0.rows.spend(key).await.unwrap_or(*known);
                let now = now();
                let mut memory = self.memory();
                let spend = memory.get(key, now).unwrap_or(spend).max(spend);
                memory.set(key, spend, now + clock.spend_ttl);
                *known = 0.0;
            }
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, error: &RedisError) {
        if !self.0.degraded.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "no redis: limits and budgets are counted in this process");
        }
    }

    fn restored(&self) {
        if self.0.degraded.swap(false, Ordering::Relaxed) {
            tracing::info!("redis is back: limits and budgets are shared again");
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
