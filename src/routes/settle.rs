//! From a call to its spend record: what is known when the call is admitted, and what the answer adds. A call is settled
//! once: the account is used up by it. It must never wait, and never hold a prompt.
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{Call, Decline, Head};
use crate::{
    auth::{Caller, Named},
    config::Deployment,
    json::Object,
    limits::{self, BudgetWindow, Reservation},
    spend::{
        Cost, Counting, Facts, Failed, Ledger, Meter, Payer, Record, Shape, Trouble, Usage, Window, cost,
        tokens::{Encoding, is_countable, sent},
    },
};

/// LiteLLM's names for the master key and its user.
const MASTER_KEY: &str = "litellm_proxy_master_key";
const MASTER_USER: &str = "default_user_id";

/// A call that will be billed.
pub(super) struct Account {
    ledger: Ledger,
    counting: Counting,
    record: Box<Record>,
    /// what the counters of limits and budgets get; `None`: no other process has a share in them
    counted: Option<Reservation>,
}

/// What a route knows about its kind of call.
pub(super) struct Kind {
    /// LiteLLM's name: `acompletion`, `anthropic_messages`
    pub call_type: &'static str,
    pub named: Named,
    pub stream: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Whole,
    /// the client left its stream
    Left,
    Failed(Box<Failed>),
}

/// What is billed.
pub(super) struct Outcome {
    pub ending: Ending,
    /// how its usage is written; `None`: as the kind of call has it
    pub shape: Option<Shape>,
    /// the answer's id; a call that failed goes by its own
    pub id: String,
    pub api_base: String,
    /// prompt, completion, total as the answer reports them
    pub counts: (u64, u64, u64),
    pub tokens: Usage,
    /// JSON text of the usage as LiteLLM writes it
    pub usage: String,
    pub cost: Cost,
    /// the same tokens without any cache, US dollars of input
    pub uncached_input: f64,
    pub service_tier: Option<String>,
    pub overhead_ms: Option<f64>,
    pub first_token: Option<SystemTime>,
}

impl Account {
    /// `counted`: what the call took of the counters. `None`: nobody keeps books, or LiteLLM's row for this deployment is
    /// not known exactly.
    pub(super) fn open(
        call: &Call,
        call_id: &str,
        (deployment, group): (&Deployment, &str),
        kind: Kind,
        counted: Option<Reservation>,
    ) -> Option<Self> {
        call.snapshot.database_url.as_ref().filter(|_| !call.snapshot.settings.other_books)?;
        let payer = payer(&call.caller, kind.named.end_user)?;
        let model_map = deployment.model_map.clone()?;
        let head = &call.head;
        let blank = Record::refused(call_id.to_owned(), kind.call_type, payer, call.now, model_map);
        let record = Record {
            request_id: String::new(),
            model: deployment.litellm_model.clone(),
            model_id: deployment.id.clone(),
            model_group: group.to_owned(),
            provider: deployment.provider.as_str().to_owned(),
            cache_hit: if kind.stream { "False" } else { "None" },
            tags: tags(head, &kind.named.tags.billed),
            requester_ip: head.client.map(|ip| ip.to_string()),
            session_id: session(head, kind.named.session).unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            succeeded: true,
            windows: windows(call),
            facts: Facts {
                user_agent: head.header("user-agent").map(str::to_owned),
                shape: match (kind.call_type, kind.stream) {
                    ("anthropic_messages", false) => Shape::Messages,
                    ("anthropic_messages", true) => Shape::MessagesStream,
                    (_, false) => Shape::Json,
                    (_, true) => Shape::Stream,
                },
                ..blank.facts
            },
            ..blank
        };
        let (ledger, counting) = (call.services.control.ledger.clone(), call.services.control.counting.clone());
        Some(Self { ledger, counting, record: Box::new(record), counted })
    }

    /// Hands the record over.
    pub(super) fn settle(mut self, outcome: Outcome) {
        self.record.ended = SystemTime::now();
        self.book(outcome);
    }

    /// Settles by what `bill` makes of the call. `bytes`: of texts it has to count; then it runs elsewhere, later.
    pub(super) fn settle_counted(mut self, bytes: usize, bill: impl FnOnce(Meter) -> Option<Outcome> + Send + 'static) {
        self.record.ended = SystemTime::now();
        let counting = self.counting.clone();
        let book = move |meter| {
            if let Some(outcome) = bill(meter) {
                self.book(outcome);
            }
        };
        if bytes == 0 { book(Meter::EXACT) } else { counting.run(bytes, book) }
    }

    /// Settles a call that failed before its answer began. LiteLLM notes what was sent, and bills it where the provider
    /// may have read it: after a timeout (proxy/utils.py `_failure_usage_to_lift`).
    pub(super) fn fail(mut self, failing: Failing) {
        // nothing was said: what was taken is given back before anything is counted
        if let Some(counted) = self.counted.take() {
            counted.settle(limits::Outcome::Failed { tokens: 0 });
        }
        self.settle_counted(failing.request.len(), move |meter| failing.outcome(meter));
    }

    fn book(self, outcome: Outcome) {
        let Self { ledger, mut record, counted, .. } = self;
        if let Some(counted) = counted {
            // cached tokens use no rate (parallel_request_limiter_v3.py `_get_total_tokens_from_usage`)
            let tokens = outcome.counts.2.saturating_sub(outcome.tokens.cache_read);
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            counted.settle(match outcome.ending {
                // what nothing was said to is given back whole (`_recovered_partial_usage_tokens`)
                Ending::Failed(_) => limits::Outcome::Failed { tokens: if outcome.counts.1 > 0 { tokens } else { 0 } },
                Ending::Whole | Ending::Left => limits::Outcome::Answered { tokens, cost: outcome.cost.total },
            });
        }
        (record.prompt_tokens, record.completion_tokens, record.total_tokens) = outcome.counts;
        record.request_id = outcome.id;
        record.first_token = outcome.first_token;
        record.api_base = outcome.api_base;
        record.spend = outcome.cost.total;
        record.cache_read_tokens = outcome.tokens.cache_read;
        record.cache_creation_tokens = outcome.tokens.cache_creation;
        record.reasoning_tokens = outcome.tokens.reasoning;
        record.caching_savings = outcome.uncached_input - outcome.cost.input;
        record.facts.usage = outcome.usage;
        record.facts.cost = outcome.cost;
        // the standard tier has no name (cost_calculator.py `_resolve_billable_service_tier`)
        let standard = ["auto", "default", "standard"];
        record.facts.service_tier = outcome.service_tier.filter(|tier| !standard.contains(&tier.as_str()));
        record.facts.overhead_ms = outcome.overhead_ms;
        record.facts.shape = outcome.shape.unwrap_or(record.facts.shape);
        match outcome.ending {
            Ending::Whole => {}
            Ending::Left => record.facts.trouble = Trouble::Left,
            Ending::Failed(failed) => fail(&mut record, failed),
        }
        ledger.submit(*record);
    }
}

/// A call that failed before its answer began.
pub(super) struct Failing {
    pub failed: Failed,
    pub shape: Shape,
    /// the provider was too slow
    pub timed_out: bool,
    /// the request's body
    pub request: Bytes,
    pub deployment: Arc<Deployment>,
    pub api_base: String,
}

impl Failing {
    pub(super) fn outcome(self, meter: Meter) -> Option<Outcome> {
        let prompt = sent(meter, Encoding::of(&self.deployment.model)?, &self.request);
        let tokens = Usage { prompt, ..Usage::default() };
        let pricing = self.deployment.pricing_for(None).filter(|_| self.timed_out);
        Some(Outcome {
            ending: Ending::Failed(Box::new(self.failed)),
            shape: Some(self.shape),
            id: String::new(),
            api_base: self.api_base,
            counts: (prompt, 0, prompt),
            tokens,
            usage: String::new(),
            cost: pricing.map(|pricing| cost(&pricing, &tokens)).unwrap_or_default(),
            uncached_input: 0.0,
            service_tier: None,
            overhead_ms: None,
            first_token: None,
        })
    }
}

/// The budget windows whose rows get the call's cost.
fn windows(call: &Call) -> Vec<Window> {
    let Caller::Key(identity) = &call.caller else { return Vec::new() };
    let now = call.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // what is not known has declined
    let windows = limits::budget_windows::of(identity, now).unwrap_or_default();
    let kept = windows.into_iter().filter(|window| window.resets);
    kept.map(|BudgetWindow { entity, id, duration, start, .. }| Window { entity, id, duration, start }).collect()
}

/// Makes a record that of a failure.
fn fail(record: &mut Record, failed: Box<Failed>) {
    record.windows.clear();
    record.succeeded = false;
    record.request_id.clone_from(&record.call_id);
    record.cache_hit = "False";
    record.first_token = None;
    record.caching_savings = 0.0;
    record.facts.trouble = Trouble::Failed(failed);
    if record.facts.shape == Shape::MessagesFailed {
        record.requester_ip = None;
    }
    if matches!(record.facts.shape, Shape::MessagesBroken | Shape::MessagesUnbegun) {
        record.model.clone_from(&record.model_group);
        for text in [&mut record.model_id, &mut record.model_group, &mut record.provider, &mut record.api_base] {
            text.clear();
        }
        record.tags.clear();
        record.requester_ip = None;
    }
}

/// Whether a call of this caller can be billed as LiteLLM bills it. A virtual key's call that cannot is Python's: without
/// a record its key would spend nothing. So is everybody's, unless the operator accepts that rows are missing. A stream
/// may break off: then the tokens of its texts are counted, and those of its prompt where no provider tells them
/// (`counts_prompt`).
pub(super) fn billable(call: &Call, deployment: &Deployment, stream: bool, counts_prompt: bool) -> Result<(), Decline> {
    let (is_key, rows_wanted) = (matches!(call.caller, Caller::Key(_)), rows_wanted(call));
    if !is_key && !rows_wanted {
        return Ok(());
    }
    let kept = call.snapshot.database_url.is_some() && !call.snapshot.keeps_no_books();
    let known = deployment.model_map.is_some();
    // of a call that fails the prompt is counted; where it is no key's, about is enough
    let encoding = Encoding::of(&deployment.model).is_some();
    let readable = || !counts_prompt || prompt_is_countable(call);
    let countable = if is_key && stream { encoding && readable() } else { encoding || !rows_wanted };
    if kept && known && countable {
        return Ok(());
    }
    tracing::debug!(stream, known, kept, "a call needs python: it could not be billed");
    Err(if is_key { Decline::KeyFeature } else { Decline::SpendInDatabase })
}

/// Whether a call without a row is none for the edge: a database is configured, and the route does not accept that rows
/// are missing.
pub(super) fn rows_wanted(call: &Call) -> bool {
    call.snapshot.settings.has_database && !call.policy.accept_no_spend_rows
}

/// Whether the prompt's tokens can be counted here. Only a body with one of these words is looked at closely.
fn prompt_is_countable(call: &Call) -> bool {
    const WORDS: [&[u8]; 6] = [b"\"high\"", b"file", b"document", b"\"image\"", b"tool_re", b"\\u"];
    if WORDS.iter().all(|word| memchr::memmem::find(&call.body, word).is_none()) {
        return true;
    }
    let body = Object::parse(&call.body);
    body.is_ok_and(|body| is_countable(body.some("messages").map(|messages| messages.text().as_bytes())))
}

/// Who pays for a call of this caller; `None`: nobody that was let in.
pub(super) fn payer(caller: &Caller, end_user: Option<String>) -> Option<Payer> {
    let identity = match caller {
        Caller::Master => {
            let (api_key, user_id) = (MASTER_KEY.to_owned(), Some(MASTER_USER.to_owned()));
            return Some(Payer { api_key, user_id, end_user, ..Payer::default() });
        }
        Caller::Key(identity) => identity,
        Caller::Nobody | Caller::Unknown(_) | Caller::Stranger => return None,
    };
    let (key, team, project) = (&identity.key, identity.team.as_ref(), identity.project.as_ref());
    Some(Payer {
        api_key: key.token.clone(),
        key_alias: key.key_alias.clone(),
        user_id: key.user_id.clone(),
        team_id: key.team_id.clone(),
        team_alias: team.and_then(|team| team.team_alias.clone()),
        org_id: key.organization_id.clone().or_else(|| team?.organization_id.clone()),
        project_id: key.project_id.clone(),
        project_alias: project.and_then(|project| project.project_alias.clone()),
        end_user,
    })
}

/// These tags, then those LiteLLM makes of the caller's program.
pub(super) fn tags(head: &Head, tags: &[String]) -> Vec<String> {
    let of_program = head.header("user-agent").map(agent_tags).unwrap_or_default();
    tags.iter().cloned().chain(of_program).collect()
}

/// `User-Agent: curl`, `User-Agent: curl/7.88.1` (litellm_logging.py `_get_user_agent_tags`).
fn agent_tags(agent: &str) -> Vec<String> {
    let product = agent.split_once('/').map(|(product, _)| product);
    product.into_iter().chain([agent]).map(|text| format!("User-Agent: {text}")).collect()
}

/// Headers a client names its session in (litellm_pre_call_utils.py `get_chain_id_from_headers`): any
/// `x-<vendor>-session-id`, then `x-session-id`; then what its body says.
pub(super) fn session(head: &Head, of_body: Option<String>) -> Option<String> {
    let usable = |value: &&str| {
        value.len() >= 8 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let vendor = |name: &str| {
        let middle = name.strip_prefix("x-").and_then(|rest| rest.strip_suffix("-session-id"));
        middle.is_some_and(|vendor| !vendor.is_empty())
    };
    let names = head.headers.keys().map(http::HeaderName::as_str).filter(|name| vendor(name)).chain(["x-session-id"]);
    let named = names.filter_map(|name| head.header(name)).find(usable).map(str::to_owned);
    named.or(of_body).or_else(|| trace_id(head.header("traceparent")?.trim()))
}

/// The trace of W3C's `traceparent`: 2, 32, 16 and 2 hex digits; a trace of zeros is none.
fn trace_id(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let valid = parts.len() == 4 && parts.iter().zip([2, 32, 16, 2]).all(|(part, length)| hex(part, length));
    let trace = parts.get(1).filter(|_| valid)?.to_lowercase();
    trace.bytes().any(|byte| byte != b'0').then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_names_the_session() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase())).as_deref(), Some(trace));
        for wrong in ["", "00-x-y-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(wrong), None);
        }
    }

    #[test]
    fn tags_are_litellms() {
        assert_eq!(agent_tags("curl/7.88.1"), ["User-Agent: curl", "User-Agent: curl/7.88.1"]);
        assert_eq!(agent_tags("curl"), ["User-Agent: curl"]);
    }
}
