//! [`Plan`] and [`Settlement`] as arguments of the scripts, and their replies. Keys get the namespace here.
use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use super::{
    model_budgets::Meter,
    plan::{Admitted, Answer, Clockwork, Over, Plan, Settlement},
};
use crate::spend::cost::python_float;

static RESERVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/reserve.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/settle.lua")));
static METER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/meter.lua")));

/// kind, index, two texts, four lists: the shape of every reply of `reserve.lua`
pub type Reply = (String, i64, String, String, Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>);

/// The call of `reserve.lua`; `now` is this process' clock in epoch seconds, as LiteLLM's request counters have it.
pub fn reserve(plan: &Plan, clock: Clockwork, now: i64, key: impl Fn(&str) -> String) -> ScriptInvocation<'static> {
    let mut call = RESERVE.prepare_invoke();
    for counter in &plan.counters {
        call.key(key(&counter.key));
    }
    for limit in &plan.requests {
        call.key(key(&format!("{}:window", limit.scope))).key(key(&format!("{}:requests", limit.scope)));
    }
    for limit in &plan.slots {
        call.key(key(&format!("{}:max_parallel_requests", limit.scope)));
    }
    for limit in &plan.tokens {
        call.key(key(&format!("{}:window", limit.scope))).key(key(&format!("{}:tokens", limit.scope)));
    }
    call.arg(now).arg(clock.window).arg(clock.spend_ttl);
    call.arg(python_float(plan.cost)).arg(i32::from(plan.strict)).arg(&plan.slot).arg(plan.estimate);
    let counts = [
        plan.counters.len(),
        plan.checks.len(),
        plan.charges.len(),
        plan.requests.len(),
        plan.slots.len(),
        plan.tokens.len(),
    ];
    for count in counts {
        call.arg(count);
    }
    for counter in &plan.counters {
        call.arg(python_float(counter.known));
    }
    for check in &plan.checks {
        let over = match check.over {
            Over::AtLeast => ">=",
            Over::Above => ">",
        };
        let plus = check.plus.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
        call.arg(check.counter).arg(plus).arg(over).arg(python_float(check.max));
    }
    for charge in &plan.charges {
        call.arg(charge.counter).arg(python_float(charge.max)).arg(i32::from(charge.throttle));
    }
    for limit in plan.requests.iter().chain(&plan.slots).chain(&plan.tokens) {
        call.arg(limit.limit);
    }
    call
}

/// The call of `settle.lua`; it answers the positions of `spend` that were left alone.
pub fn settle(settlement: &Settlement, clock: Clockwork, key: impl Fn(&str) -> String) -> ScriptInvocation<'static> {
    let mut call = SETTLE.prepare_invoke();
    for scope in &settlement.slots {
        call.key(key(&format!("{scope}:max_parallel_requests")));
    }
    for (scope, _) in &settlement.tokens {
        call.key(key(&format!("{scope}:tokens")));
    }
    for add in &settlement.spend {
        call.key(key(&add.key));
    }
    call.arg(&settlement.slot).arg(clock.window).arg(clock.spend_ttl);
    call.arg(settlement.slots.len()).arg(settlement.tokens.len()).arg(settlement.spend.len());
    for (_, tokens) in &settlement.tokens {
        call.arg(*tokens);
    }
    for add in &settlement.spend {
        call.arg(python_float(add.amount)).arg(i32::from(add.reserved));
    }
    call
}

/// The call of `meter.lua`; `now` in epoch seconds.
pub fn meter(due: &[(Meter, f64)], now: f64, key: impl Fn(&str) -> String) -> ScriptInvocation<'static> {
    let mut call = METER.prepare_invoke();
    call.arg(python_float(now));
    for (meter, cost) in due {
        call.key(key(&meter.spend)).key(key(&meter.start)).arg(python_float(*cost)).arg(meter.window);
    }
    call
}

/// Reads the reply of `reserve.lua`; `None`: it is not one.
pub fn answer(reply: Reply) -> Option<Answer> {
    let (kind, index, a, b, one, two, three, four) = reply;
    let at = usize::try_from(index).ok()?;
    let positions = |list: Vec<i64>| list.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>().ok();
    Some(match kind.as_str() {
        "load" => Answer::Load { cold: positions(one)?, stale: positions(two)? },
        "budget" => Answer::OverBudget { check: at, spend: a.parse().ok()? },
        "room" => Answer::NoRoom {
            charge: at,
            spend: a.parse().ok()?,
            cost: if b.is_empty() { None } else { Some(b.parse().ok()?) },
        },
        "requests" => Answer::OverRequests { counts: one },
        "slots" => Answer::OverSlots { slot: at, in_flight: two.first().copied()? },
        "tokens" => Answer::OverTokens { scope: at, current: three.first().copied()? },
        "ok" => Answer::Admitted(Admitted {
            cost: a.parse().ok()?,
            charged: positions(four)?,
            requests: one,
            in_flight: two,
            tokens: three,
        }),
        _ => return None,
    })
}
