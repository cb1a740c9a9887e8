//! What one request asks of the counters, and what they answered. Pure data, the same for Redis (`wire`) and for memory
//! (`window`).
use super::{BudgetWindow, model_budgets::Meter};

/// A spend counter that is read or charged.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    /// `spend:key:<hash>`, without the namespace
    pub key: String,
    /// what the rows said it was: a counter below it is stale and is read again from the database; 0.0 never asks
    pub known: f64,
}

/// What is known of a counter that no row has, or one with nothing: absent, it is nothing spent.
pub const UNROWED: f64 = -1.0;

/// When spend is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// at the budget: `>=`
    AtLeast,
    /// past the budget: `>`
    Above,
}

/// One comparison, in the order of LiteLLM's errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// position in [`Plan::counters`]
    pub counter: usize,
    /// another one that counts with it
    pub plus: Option<usize>,
    pub over: Over,
    /// US dollars
    pub max: f64,
}

/// One counter that is charged with the estimate, in LiteLLM's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// position in [`Plan::counters`]
    pub counter: usize,
    pub max: f64,
    /// over its budget this one is let through uncharged (`throttle_on_budget_exceeded`)
    pub throttle: bool,
}

/// A limit of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// `{<descriptor>:<value>}`: what stands before `:window`, `:requests`, ...
    pub scope: String,
    pub limit: i64,
}

/// All of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub counters: Vec<Counter>,
    pub checks: Vec<Check>,
    pub charges: Vec<Charge>,
    /// estimated cost in US dollars; 0.0 charges nothing
    pub cost: f64,
    /// `fail_closed_budget_enforcement`
    pub strict: bool,
    pub requests: Vec<Limit>,
    pub slots: Vec<Limit>,
    /// 32 hex digits, this request's own
    pub slot: String,
    pub tokens: Vec<Limit>,
    /// tokens that are reserved
    pub estimate: i64,
}

/// How the counters are kept; the same for all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clockwork {
    /// `LITELLM_RATE_LIMIT_WINDOW_SIZE`, seconds
    pub window: i64,
    /// `default_redis_ttl`, seconds a spend counter lives after its last change
    pub spend_ttl: i64,
}

impl Default for Clockwork {
    fn default() -> Self {
        Self { window: 60, spend_ttl: 60 }
    }
}

/// What the counters say.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Nothing was done: these counters (positions) are absent, or below what is known of them.
    Load {
        cold: Vec<usize>,
        stale: Vec<usize>,
    },
    /// Nothing was done: this check (position) found too much spend.
    OverBudget {
        check: usize,
        spend: f64,
    },
    /// This charge (position) found no room. `cost` is the estimate that did not fit when enforcement is strict.
    NoRoom {
        charge: usize,
        spend: f64,
        cost: Option<f64>,
    },
    /// Requests stay counted; the counts stand in order of [`Plan::requests`].
    OverRequests {
        counts: Vec<i64>,
    },
    OverSlots {
        slot: usize,
        in_flight: i64,
    },
    OverTokens {
        scope: usize,
        current: i64,
    },
    Admitted(Admitted),
}

/// What was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admitted {
    /// what each of `charged` was charged: the estimate, or what was left of the smallest budget
    pub cost: f64,
    /// positions in [`Plan::charges`]
    pub charged: Vec<usize>,
    /// counters after this request, in order of [`Plan::requests`], `slots`, `tokens`
    pub requests: Vec<i64>,
    pub in_flight: Vec<i64>,
    pub tokens: Vec<i64>,
}

/// What the end of a call does to the counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settlement {
    pub slot: String,
    /// scopes whose slot sets hold it
    pub slots: Vec<String>,
    /// scope, tokens to add; never 0
    pub tokens: Vec<(String, i64)>,
    pub spend: Vec<Add>,
    /// of budgets of single models, with the cost in US dollars
    pub meters: Vec<(Meter, f64)>,
    /// those among the counters of `spend` that count a budget window
    pub windows: Vec<BudgetWindow>,
}

/// US dollars for one spend counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    pub key: String,
    pub amount: f64,
    /// the whole cost of the call: what a counter gets that was read anew from the database
    pub cost: f64,
    /// it was charged at admission, `amount` is the rest
    pub reserved: bool,
}
