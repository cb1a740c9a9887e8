//! Descriptors and estimates against LiteLLM's (`tests/golden/limits`), the messages, and the whole API in memory. What
//! needs a Redis is in `redis_tests`.
use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};

use super::{
    budgets::Entity, budgets::Others, descriptors::Rates, estimate::Kind, model_budgets::ModelBudgets, plan::*,
    raised::Raised, *,
};
use crate::{auth::Identity, error::Dialect, spend::Spent};

#[path = "redis_tests.rs"]
mod redis_tests;

#[test]
fn descriptors_estimates_and_targets_are_litellms() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/limits/descriptors.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 150);
    for (at, case) in cases.iter().enumerate() {
        let identity: Identity = serde_json::from_value(case["identity"].clone()).unwrap();
        let rates = |value: &Value| Rates { rpm: value["rpm"].as_i64(), tpm: value["tpm"].as_i64() };
        let tags: Vec<String> = serde_json::from_value(case["tags"].clone()).unwrap();
        let tag_rates: Vec<(String, Rates)> =
            case["tag_rates"].as_object().unwrap().iter().map(|(tag, value)| (tag.clone(), rates(value))).collect();
        let subject = Subject {
            identity: Some(&identity),
            model: case["body"]["model"].as_str(),
            group: case["group"].as_str(),
            end_user: case["end_user"]["id"].as_str().map(|id| (id, rates(&case["end_user"]))),
            tags: &tags,
            tag_rates: &tag_rates,
            ..Subject::default()
        };
        assert_eq!(descriptors::unsupported(&subject), None, "case {at}");
        let found: Vec<Value> =
            subject.descriptors().iter().map(|d| json!([d.key, d.value, d.requests, d.tokens, d.parallel])).collect();
        assert_eq!(Value::from(found), case["descriptors"], "case {at}: descriptors");
        let kind = match case["kind"].as_str().unwrap() {
            "acompletion" => Kind::Messages,
            "aresponses" => Kind::Responses,
            _ => Kind::Embeddings,
        };
        let body = case["body"].to_string();
        let ask = Ask::new(
            &subject,
            (kind, &Object::parse(body.as_bytes()).unwrap()),
            (Budgets::default(), 0.0),
            Vec::new(),
            &Settings::default(),
        );
        if !case["tokens"].is_null() {
            assert_eq!(ask.plan.estimate, case["tokens"], "case {at}: estimate of {body:?}");
        }
        assert_eq!(json!(ask.cap), case["cap"], "case {at}: cap");
        let targets: Vec<String> = case["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| format!("{{{}:{}}}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        assert_eq!(ask.targets, targets, "case {at}: token targets");
    }
}

#[test]
fn what_python_must_count_is_named() {
    let with = |key: Value| -> Identity { serde_json::from_value(json!({"key": key})).unwrap() };
    let why = |key: Value| {
        let identity = with(key);
        let subject = Subject { identity: Some(&identity), ..Subject::default() };
        descriptors::unsupported(&subject)
    };
    assert_eq!(why(json!({"token": "t"})), None);
    assert_eq!(why(json!({"token": "t", "metadata": {"rpm_limit_type": "dynamic"}})), Some("dynamic rate limits"));
    assert_eq!(why(json!({"token": "t", "agent_id": "a"})), Some("agent"));
    assert_eq!(
        why(json!({"token": "t", "metadata": {"model_rpm_limit": {"m": "7"}}})),
        Some("a limit of an unusual form")
    );
}

fn everything() -> Identity {
    serde_json::from_value(json!({
        "key": {"token": "tok", "key_alias": "al", "key_name": "sk-...wxyz", "user_id": "u", "team_id": "t", "spend": 0.1,
                "max_budget": 1.0, "organization_id": "o", "project_id": "p"},
        "team": {"team_id": "t", "max_budget": 2.0, "spend": 0.2},
        "membership": {"spend": 0.3}, "member_budget": {"budget_id": "m", "max_budget": 3.0},
        "user": {"user_id": "u", "max_budget": 4.0, "spend": 0.4},
        "organization": {"organization_id": "o", "spend": 0.5}, "organization_budget": {"budget_id": "b", "max_budget": 5.0},
        "project": {"project_id": "p", "spend": 0.6}, "project_budget": {"budget_id": "c", "max_budget": 6.0},
    }))
    .unwrap()
}

#[test]
fn budgets_are_compared_and_charged_in_litellms_order_and_words() {
    let identity = everything();
    let end_user = Entity { id: "e".into(), spend: 0.7, max_budget: Some(7.0) };
    let tag = Entity { id: "g".into(), spend: 0.8, max_budget: Some(8.0) };
    let gate = |entity| model_budgets::Gate {
        counter: format!("{entity}_spend:m:1d"),
        legacy: (entity == "key").then(|| "key_spend:p/m:1d".to_owned()),
        max: 0.5,
        entity,
        id: entity.to_uppercase(),
        words: format!("{entity} of m"),
    };
    let (key, user, team) = (Some(gate("key")), Some(gate("user")), Some(gate("team")));
    let models = ModelBudgets { key, user, team, meters: Vec::new() };
    let (tags, raised) = (&[tag][..], Raised { key: 0.25, member: 0.5 });
    let window = |entity: &'static str| BudgetWindow {
        counter: format!("spend:{entity}:window:1d"),
        entity,
        id: entity.to_uppercase(),
        duration: "1d".into(),
        max: 0.75,
        start: Default::default(),
        resets: true,
    };
    let windows = vec![window("key"), window("team")];
    let others = Others { end_user: Some(&end_user), tags, user_budget_on_team_keys: true, models, raised, windows };
    let budgets = Budgets::of(Some(&identity), &others);
    let checks: Vec<String> = (0..budgets.checks.len()).map(|at| budgets.check_message(at, 1.00022)).collect();
    assert_eq!(
        checks,
        [
            "Budget has been exceeded! TeamMember=u:t Current cost: 1.00022, Max budget: 3.5",
            "Budget has been exceeded! Key=al (sk-...wxyz) Current cost: 1.00022, Max budget: 1.25",
            "key of m",
            "user of m",
            "Budget has been exceeded! Project=p Current cost: 1.00022, Max budget: 6.0",
            "Budget has been exceeded! Team=t Current cost: 1.00022, Max budget: 2.0",
            "ExceededBudget: Team=TEAM over 1d budget. Spend=$1.0002, Limit=$0.75",
            "ExceededBudget: Key over 1d budget. Spend=$1.0002, Limit=$0.75",
            "Budget has been exceeded! Organization=o Current cost: 1.00022, Max budget: 5.0",
            "Budget has been exceeded! Tag=g Current cost: 1.00022, Max budget: 8.0",
            "ExceededBudget: User=u over budget. Spend=1.00022, Budget=4.0",
            "Budget has been exceeded! User=u in Team=t Current cost: 1.00022, Max budget: 3.5",
            "ExceededBudget: End User=e over budget. Spend=1.00022, Budget=7.0",
            "team of m",
        ]
    );
    let late: Vec<bool> = (0..14).map(|at| budgets.is_late(at)).collect();
    assert_eq!(late, [[false; 4].as_slice(), &[true; 10]].concat());
    assert_eq!(budgets.check_spent(2, 0.75), Spent { entity: "key", id: "KEY".into(), limit: 0.5, spend: 0.75 });
    let counted = |at: usize| budgets.counters[at].key.as_str();
    let legacy = budgets.checks[2].plus.map(counted);
    assert_eq!((counted(budgets.checks[2].counter), legacy), ("key_spend:m:1d", Some("key_spend:p/m:1d")));
    let above: Vec<usize> = (0..14).filter(|at| budgets.checks[*at].over == Over::Above).collect();
    assert_eq!(above, [5, 9, 12], "team, tag, end user may be at their budget");
    let charges: Vec<&str> = budgets.charges.iter().map(|charge| &*budgets.counters[charge.counter].key).collect();
    assert_eq!(
        charges,
        [
            "spend:key:tok",
            "spend:key:window:1d",
            "spend:team:t",
            "spend:team:window:1d",
            "spend:user:u",
            "spend:end_user:e",
            "spend:tag:g",
            "spend:team_member:u:t",
            "spend:org:o",
            "spend:project:p"
        ]
    );
    assert_eq!(
        budgets.charge_message(7, 2.2e-5, Some(0.25)),
        "Budget has been exceeded! TeamMember=u:t Current cost: 2.2e-05, Estimated request cost: 0.25, Max budget: 3.5"
    );
    assert_eq!(
        budgets.charge_message(1, 0.75, None),
        "Budget has been exceeded! Key=KEY:1d Current cost: 0.75, Max budget: 0.75"
    );
    assert_eq!(budgets.charge_spent(1, 0.75), Spent { entity: "key", id: "KEY".into(), limit: 0.75, spend: 0.75 });
    let without = Budgets::of(Some(&identity), &Others::default());
    assert!(!without.counters.iter().any(|counter| counter.key == "spend:user:u"), "a team key has no user budget");
}

#[test]
fn an_unmasked_key_name_is_not_told() {
    for (name, words) in
        [("sk-...", "al (sk-...)"), ("sk-secret-key", "al"), ("sk-...ab cd", "al"), ("sk-...abcde", "al")]
    {
        let mut identity = everything();
        identity.key.key_name = Some(name.into());
        let message = Budgets::of(Some(&identity), &Others::default()).check_message(1, 1.0);
        assert_eq!(message, format!("Budget has been exceeded! Key={words} Current cost: 1.0, Max budget: 1.0"));
    }
}

#[test]
fn refusals_have_litellms_bodies_and_headers() {
    let rate = Refusal::Rate(Rate {
        kind: "requests",
        descriptor: "api_key",
        value: "abc".into(),
        limit: 1,
        remaining: -1,
        window: 60,
        now: 1_795_302_683,
    });
    let words = "Rate limit exceeded for api_key: abc. Limit type: requests. Current limit: 1, Remaining: 0. \
                 Limit resets at: 2026-11-21 23:12:23 UTC";
    let body = |refusal: &Refusal, dialect| -> Value {
        serde_json::from_slice(&refusal.failure(dialect).body(refusal.dialect(dialect))).unwrap()
    };
    assert_eq!(
        body(&rate, Dialect::OpenAi),
        json!({"error": {"message": words, "type": "throttling_error", "param": null, "code": "429"}})
    );
    assert_eq!(
        body(&rate, Dialect::Anthropic),
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": words}})
    );
    let headers = [
        ("retry-after", "60".to_owned()),
        ("rate_limit_type", "requests".to_owned()),
        ("reset_at", "2026-11-21 23:12:23 UTC".to_owned()),
    ];
    assert_eq!(rate.headers(Dialect::OpenAi), headers);
    assert_eq!(rate.headers(Dialect::Anthropic), []);
    let budget = Refusal::Budget { message: "no".into(), spent: Default::default(), late: false };
    assert_eq!(budget.status(), 422);
    assert_eq!(
        body(&budget, Dialect::Anthropic),
        json!({"error": {"message": "no", "type": "budget_exceeded", "param": null, "code": "422"}})
    );
}

/// Rows of a test: what the database says.
#[derive(Default)]
struct Fixed(HashMap<String, f64>);

#[async_trait]
impl Rows for Fixed {
    async fn spend(&self, counter: &str) -> Option<f64> {
        self.0.get(counter).copied()
    }
}

fn attached() -> Io {
    let io = Io::default();
    io.attach(tokio::runtime::Handle::current());
    io
}

fn limited(key: Value) -> Identity {
    serde_json::from_value(json!({"key": key})).unwrap()
}

fn ask(identity: &Identity, cost: f64) -> Ask {
    let subject = Subject { identity: Some(identity), model: Some("m"), group: Some("m"), ..Subject::default() };
    let body = json!({"messages": [{"role": "user", "content": "abcd"}], "max_tokens": 9});
    let budgets = Budgets::of(Some(identity), &Others::default());
    let payers = budgets::payers(Some(identity), None, &[]);
    let body = body.to_string();
    let body = Object::parse(body.as_bytes()).unwrap();
    Ask::new(&subject, (Kind::Messages, &body), (budgets, cost), payers, &Settings::default())
}

#[tokio::test]
async fn without_redis_everything_is_counted_here() {
    let limits = Limits::new(None, attached(), Arc::new(Fixed::default()));
    let settings = Settings::default();
    let identity = limited(json!({"token": "k", "rpm_limit": 3, "tpm_limit": 25, "max_parallel_requests": 2}));
    let first = limits.reserve(ask(&identity, 0.0), &settings).await.unwrap();
    let headers: HashMap<String, String> = first.headers().into_iter().collect();
    let expected = [("requests", "2", "3"), ("max_parallel_requests", "1", "2"), ("tokens", "15", "25")];
    for (kind, remaining, limit) in expected {
        assert_eq!(headers[&format!("x-ratelimit-api_key-remaining-{kind}")], remaining);
        assert_eq!(headers[&format!("x-ratelimit-api_key-limit-{kind}")], limit);
    }
    let second = limits.reserve(ask(&identity, 0.0), &settings).await.unwrap();
    let Err(Refusal::Rate(rate)) = limits.reserve(ask(&identity, 0.0), &settings).await else {
        panic!("a slot too many")
    };
    assert_eq!((rate.kind, rate.remaining), ("max_parallel_requests", 0));
    first.settled(Outcome::Answered { tokens: 12, cost: 0.0 }).await;
    second.settled(Outcome::Failed { tokens: 0 }).await;
    let Err(Refusal::Rate(rate)) = limits.reserve(ask(&identity, 0.0), &settings).await else {
        panic!("a request too many")
    };
    assert_eq!((rate.kind, rate.remaining), ("requests", -1));
    let stamp = now();
    assert_eq!(limits.memory().get("{api_key:k}:tokens", stamp), Some(12.0), "10 became 12, the other 10 went back");
}

#[tokio::test]
async fn a_reservation_that_is_dropped_is_given_back() {
    let limits = Limits::new(None, attached(), Arc::new(Fixed::default()));
    let identity = limited(json!({"token": "k", "max_parallel_requests": 1, "max_budget": 1.0, "spend": 0.25}));
    let settings = Settings::default();
    let held = limits.reserve(ask(&identity, 0.5), &settings).await.unwrap();
    let spend = |limits: &Limits| limits.memory().get("spend:key:k", now());
    assert_eq!((held.charged(), spend(&limits)), (0.5, Some(0.75)), "0.25 is what the row knows");
    drop(held);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(spend(&limits), Some(0.25));
    let held = limits.reserve(ask(&identity, 2.0), &settings).await.unwrap();
    assert_eq!((held.charged(), spend(&limits)), (0.75, Some(1.0)), "what is left of the budget");
    held.settled(Outcome::Answered { tokens: 1, cost: 0.125 }).await;
    assert_eq!(spend(&limits), Some(0.375));
}

/// Rows that know a window, and how often they were asked.
#[derive(Default)]
struct Windowed(f64, std::sync::atomic::AtomicUsize);

#[async_trait]
impl Rows for Windowed {
    async fn spend(&self, _: &str) -> Option<f64> {
        None
    }

    async fn window(&self, _: &BudgetWindow) -> Option<f64> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Some(self.0)
    }
}

#[tokio::test]
async fn a_window_counts_from_its_row() {
    let rows = Arc::new(Windowed(0.5, Default::default()));
    let limits = Limits::new(None, attached(), rows.clone());
    let identity = limited(json!({"token": "k", "budget_limits": [{"budget_duration": "1d", "max_budget": 1.0}]}));
    let ask = || {
        let windows = budget_windows::of(&identity, std::time::Duration::from_secs(1_800_000_000)).unwrap();
        let budgets = Budgets::of(Some(&identity), &Others { windows, ..Others::default() });
        Ask { budgets: budgets.clone(), plan: plan(&budgets, 0.25), ..ask(&identity, 0.25) }
    };
    let counter = "spend:key:k:window:1d";
    let held = limits.reserve(ask(), &Settings::default()).await.unwrap();
    assert_eq!(limits.memory().get(counter, now()), Some(0.75), "the row, and what is held back");
    held.settled(Outcome::Answered { tokens: 1, cost: 0.125 }).await;
    assert_eq!(limits.memory().get(counter, now()), Some(0.625));
    limits.memory().set(counter, 0.25, now() + 60);
    let held = limits.reserve(ask(), &Settings::default()).await.unwrap();
    assert_eq!(limits.memory().get(counter, now()), Some(0.75), "below the row: raised to it");
    assert_eq!(rows.1.load(Ordering::Relaxed), 1, "an answer holds for a while");
    limits.memory().set(counter, 1.0, now() + 60);
    let Err(Refusal::Budget { message, late: true, .. }) = limits.reserve(ask(), &Settings::default()).await else {
        panic!("the window is spent")
    };
    assert_eq!(message, "ExceededBudget: Key over 1d budget. Spend=$1.0000, Limit=$1.00");
    drop(held);
}

fn plan(budgets: &Budgets, cost: f64) -> Plan {
    Plan {
        counters: budgets.counters.clone(),
        checks: budgets.checks.clone(),
        charges: budgets.charges.clone(),
        cost,
        strict: false,
        requests: Vec::new(),
        slots: Vec::new(),
        slot: "0".repeat(32),
        tokens: Vec::new(),
        estimate: 0,
    }
}

#[tokio::test]
async fn redis_down_counts_here_or_refuses_when_told_to() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target =
        crate::store::RedisTarget { url: crate::secret::Secret::new(format!("redis://{nobody}/0")), namespace: None };
    let io = attached();
    let limits = Limits::new(Some(Redis::new(io.clone(), target)), io, Arc::new(Fixed::default()));
    let identity = limited(json!({"token": "k", "rpm_limit": 1}));
    let held = limits.reserve(ask(&identity, 0.0), &Settings::default()).await.unwrap();
    assert!(limits.is_degraded());
    held.settled(Outcome::Failed { tokens: 0 }).await;
    let refused = limits.reserve(ask(&identity, 0.0), &Settings::default()).await;
    assert!(matches!(refused, Err(Refusal::Rate(_))), "{refused:?}");
    let strict = Settings { strict_rates: true, ..Settings::default() };
    let refused = limits.reserve(ask(&identity, 0.0), &strict).await;
    assert!(matches!(refused, Err(Refusal::Rate(_))), "over by what is known here: {refused:?}");
    let refused = limits.reserve(ask(&limited(json!({"token": "other", "rpm_limit": 1})), 0.0), &strict).await;
    assert_eq!(refused.unwrap_err(), Refusal::Unverifiable { message: RATE_UNVERIFIABLE });
    assert_eq!(limits.counted_locally(), 3);
}
