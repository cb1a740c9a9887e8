//! The counters in memory, for a proxy without Redis and while Redis is away. The same steps as `scripts/*.lua`, on a
//! map of numbers that expire; the clock is an argument. It must never wait for anything.
use std::collections::{BTreeMap, HashMap};

use super::plan::{Admitted, Answer, Clockwork, Counter, Over, Plan, Settlement};

/// Seconds after which a slot counts as leaked (`PARALLEL_REQUEST_SLOT_TTL_SECONDS`).
const LEASE: i64 = 3600;
/// Entries above which expired ones are thrown out.
const SWEEP: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Number {
    value: f64,
    /// epoch seconds; at this second it is gone
    expires: i64,
}

/// All counters of this process.
#[derive(Debug, Default)]
pub struct Memory {
    numbers: HashMap<String, Number>,
    slots: HashMap<String, BTreeMap<String, i64>>,
    sweep_at: usize,
}

impl Memory {
    pub fn get(&self, key: &str, now: i64) -> Option<f64> {
        self.numbers.get(key).filter(|number| now < number.expires).map(|number| number.value)
    }

    pub fn set(&mut self, key: &str, value: f64, expires: i64) {
        self.numbers.insert(key.to_owned(), Number { value, expires });
    }

    /// Adds and keeps the time it has left; a new one lives until `expires`.
    fn add(&mut self, key: &str, amount: f64, now: i64, expires: i64) -> f64 {
        let number = self.numbers.entry(key.to_owned()).or_insert(Number { value: 0.0, expires });
        if now >= number.expires {
            *number = Number { value: 0.0, expires };
        }
        number.value += amount;
        number.value
    }

    fn spend(&mut self, key: &str, amount: f64, now: i64, ttl: i64) -> f64 {
        let value = self.add(key, amount, now, now + ttl);
        self.set(key, value, now + ttl);
        value
    }

    /// Opens the scope's window if it has none; true: it did, and its counters are gone.
    fn opened(&mut self, scope: &str, now: i64, window: i64) -> bool {
        let key = format!("{scope}:window");
        if self.get(&key, now).is_some_and(|start| now - (start as i64) < window) {
            return false;
        }
        self.numbers.remove(&format!("{scope}:requests"));
        self.numbers.remove(&format!("{scope}:tokens"));
        self.set(&key, now as f64, now + window);
        true
    }

    /// The whole reservation of one request; `now` in epoch seconds.
    pub fn reserve(&mut self, plan: &Plan, clock: Clockwork, now: i64) -> Answer {
        self.sweep(now);
        if let Some(refusal) = self.compare(plan, now) {
            return refusal;
        }
        let (cost, charged) = match self.charge(plan, clock, now) {
            Ok(charged) => charged,
            Err(refusal) => return refusal,
        };
        let answer = self.count(plan, clock, now);
        match answer {
            Answer::Admitted(admitted) => Answer::Admitted(Admitted { cost, charged, ..admitted }),
            refusal => {
                self.give_back(plan, &charged, cost, clock, now);
                refusal
            }
        }
    }

    fn compare(&self, plan: &Plan, now: i64) -> Option<Answer> {
        let rowless = |counter: &Counter| (counter.known < 0.0).then_some(0.0);
        let read = |counter: &Counter| self.get(&counter.key, now).or_else(|| rowless(counter));
        let spend: Vec<Option<f64>> = plan.counters.iter().map(read).collect();
        let of = |counter: usize| spend.get(counter).copied().flatten();
        let cold: Vec<usize> = (0..plan.counters.len()).filter(|at| of(*at).is_none()).collect();
        let mut stale = Vec::new();
        for check in &plan.checks {
            let known = plan.counters.get(check.counter).map_or(0.0, |counter| counter.known);
            let below = of(check.counter).is_some_and(|value| value < check.max && known > value);
            if below && !stale.contains(&check.counter) {
                stale.push(check.counter);
            }
        }
        if !cold.is_empty() || !stale.is_empty() {
            return Some(Answer::Load { cold, stale });
        }
        plan.checks.iter().enumerate().find_map(|(at, check)| {
            let spend = of(check.counter)? + check.plus.and_then(of).unwrap_or(0.0);
            let over = match check.over {
                Over::AtLeast => spend >= check.max,
                Over::Above => spend > check.max,
            };
            over.then_some(Answer::OverBudget { check: at, spend })
        })
    }

    fn charge(&mut self, plan: &Plan, clock: Clockwork, now: i64) -> Result<(f64, Vec<usize>), Answer> {
        let (mut cost, mut charged) = (plan.cost, Vec::new());
        if cost <= 0.0 {
            return Ok((cost, charged));
        }
        for (at, charge) in plan.charges.iter().enumerate() {
            let Some(counter) = plan.counters.get(charge.counter) else { continue };
            let value = self.spend(&counter.key, cost, now, clock.spend_ttl);
            if value > charge.max && charge.throttle {
                self.spend(&counter.key, -cost, now, clock.spend_ttl);
                continue;
            }
            charged.push(at);
            if value > charge.max {
                let room = charge.max - (value - cost);
                if room <= 1e-12 || (plan.strict && value - charge.max > 1e-12) {
                    self.give_back(plan, &charged, cost, clock, now);
                    return Err(match room <= 1e-12 {
                        true => Answer::NoRoom { charge: at, spend: value, cost: None },
                        false => Answer::NoRoom { charge: at, spend: value - cost, cost: Some(cost) },
                    });
                }
                self.give_back(plan, &charged, cost - room, clock, now);
                cost = room;
            }
        }
        Ok((cost, charged))
    }

    fn give_back(&mut self, plan: &Plan, charged: &[usize], amount: f64, clock: Clockwork, now: i64) {
        for charge in charged.iter().filter_map(|at| plan.charges.get(*at)) {
            if let Some(counter) = plan.counters.get(charge.counter) {
                self.spend(&counter.key, -amount, now, clock.spend_ttl);
            }
        }
    }

    fn count(&mut self, plan: &Plan, clock: Clockwork, now: i64) -> Answer {
        let window = clock.window;
        let mut requests = Vec::new();
        for limit in &plan.requests {
            self.opened(&limit.scope, now, window);
            requests.push(self.add(&format!("{}:requests", limit.scope), 1.0, now, now + window) as i64);
        }
        if requests.iter().zip(&plan.requests).any(|(count, limit)| *count > limit.limit) {
            return Answer::OverRequests { counts: requests };
        }
        for (at, limit) in plan.slots.iter().enumerate() {
            let held = self.slots.entry(limit.scope.clone()).or_default();
            held.retain(|_, since| *since > now - LEASE);
            let in_flight = held.len() as i64;
            if in_flight + 1 > limit.limit {
                return Answer::OverSlots { slot: at, in_flight };
            }
        }
        let mut in_flight = Vec::new();
        for limit in &plan.slots {
            let held = self.slots.entry(limit.scope.clone()).or_default();
            held.insert(plan.slot.clone(), now);
            in_flight.push(held.len() as i64);
        }
        let (mut tokens, mut charged, mut refused) = (Vec::new(), Vec::new(), None);
        for (at, limit) in plan.tokens.iter().enumerate() {
            let window_key = format!("{}:window", limit.scope);
            let key = format!("{}:tokens", limit.scope);
            let live = self.get(&window_key, now).is_some_and(|start| now - (start as i64) < window);
            let current = if live { self.get(&key, now).unwrap_or(0.0) as i64 } else { 0 };
            if current + plan.estimate > limit.limit {
                refused = refused.or(Some(Answer::OverTokens { scope: at, current }));
                continue;
            }
            self.opened(&limit.scope, now, window);
            tokens.push(self.add(&key, plan.estimate as f64, now, now + window) as i64);
            charged.push(key);
        }
        if let Some(refusal) = refused {
            for key in charged {
                self.add(&key, -(plan.estimate as f64), now, now + window);
            }
            for limit in &plan.slots {
                self.release(&limit.scope, &plan.slot);
            }
            return refusal;
        }
        Answer::Admitted(Admitted { requests, in_flight, tokens, ..Admitted::default() })
    }

    fn release(&mut self, scope: &str, slot: &str) {
        if let Some(held) = self.slots.get_mut(scope) {
            held.remove(slot);
            if held.is_empty() {
                self.slots.remove(scope);
            }
        }
    }

    /// The end of a call. Answers the positions in `spend` that could not be settled.
    pub fn settle(&mut self, settlement: &Settlement, clock: Clockwork, now: i64) -> Vec<usize> {
        for scope in &settlement.slots {
            self.release(scope, &settlement.slot);
        }
        for (scope, tokens) in &settlement.tokens {
            self.add(&format!("{scope}:tokens"), *tokens as f64, now, now + clock.window);
        }
        let mut left = Vec::new();
        for (at, add) in settlement.spend.iter().enumerate() {
            match self.get(&add.key, now) {
                Some(value) if !(add.reserved && add.amount < 0.0 && value + add.amount < -1e-12) => {
                    self.spend(&add.key, add.amount, now, clock.spend_ttl);
                }
                _ => left.push(at),
            }
        }
        left
    }

    fn sweep(&mut self, now: i64) {
        if self.numbers.len() < self.sweep_at.max(SWEEP) {
            return;
        }
        self.numbers.retain(|_, number| now < number.expires);
        self.slots.retain(|_, held| !held.is_empty());
        self.sweep_at = self.numbers.len() * 2;
    }
}

impl Memory {
    /// A window that was over its limit by Redis' last answer: LiteLLM refuses then without asking again.
    pub fn over(&self, plan: &Plan, now: i64) -> Option<Answer> {
        let count =
            |limit: &super::plan::Limit| self.get(&format!("{}:requests", limit.scope), now).unwrap_or(0.0) as i64;
        let counts: Vec<i64> = plan.requests.iter().map(count).collect();
        let over = counts.iter().zip(&plan.requests).any(|(count, limit)| *count > limit.limit);
        over.then_some(Answer::OverRequests { counts })
    }

    /// Keeps what Redis answered, so that the count goes on where it stood when Redis is lost.
    pub fn mirror(&mut self, plan: &Plan, answer: &Answer, clock: Clockwork, now: i64) {
        let (requests, admitted) = match answer {
            Answer::Admitted(admitted) => (&admitted.requests, Some(admitted)),
            Answer::OverRequests { counts } => (counts, None),
            _ => return,
        };
        self.sweep(now);
        let tokens = admitted.map_or(&[][..], |admitted| &admitted.tokens);
        let of = |limits: &[super::plan::Limit], name: &'static str, counts: &[i64]| {
            limits.iter().zip(counts).map(move |(limit, count)| (limit.scope.clone(), name, *count)).collect::<Vec<_>>()
        };
        let counts = [of(&plan.requests, "requests", requests), of(&plan.tokens, "tokens", tokens)].concat();
        for (scope, name, count) in counts {
            if self.get(&format!("{scope}:window"), now).is_none_or(|start| now - (start as i64) >= clock.window) {
                self.opened(&scope, now, clock.window);
            }
            self.set(&format!("{scope}:{name}"), count as f64, now + clock.window);
        }
    }
}
