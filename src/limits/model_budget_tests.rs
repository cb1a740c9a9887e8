//! Budgets of single models: which entry holds, and the counters beside LiteLLM's own limiter on another database.
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::limits::model_budgets::{self, seconds};

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn identity(own: &Value, users: &Value, teams: &Value) -> Identity {
    serde_json::from_value(json!({
        "key": {"token": "k", "key_alias": "al", "user_id": "u", "team_id": "t", "model_max_budget": own},
        "user": {"user_id": "u", "model_max_budget": users}, "team": {"team_id": "t", "model_max_budget": teams},
    }))
    .unwrap()
}

#[test]
fn durations_are_litellms() {
    // 2025-01-31T12:00:00Z
    let now = Duration::from_secs(1_738_324_800);
    for (text, expected) in [
        ("30s", Some(30)),
        ("5min", Some(300)),
        ("2h", Some(7200)),
        ("1d", Some(86400)),
        ("3w", Some(3 * 604_800)),
        (" Daily ", Some(86400)),
        ("1mo", Some(28 * 86400)),
        ("13month", Some(393 * 86400)),
        ("10", None),
        ("d1", None),
        (" 1d", None),
        ("", None),
        ("7y", None),
    ] {
        assert_eq!(seconds(text, now), Ok(expected), "{text:?}");
    }
    for text in ["0d", "99999999999d", "１d", "0mo"] {
        assert!(seconds(text, now).is_err(), "{text:?}");
    }
}

#[test]
fn the_entry_of_a_model_is_litellms() {
    let now = since_epoch();
    let found = |own: Value, model: &str| {
        let found = model_budgets::of(&identity(&own, &json!({}), &json!({})), model, now)?;
        Ok::<_, &str>(found.key.map(|gate| (gate.counter, gate.legacy, gate.max)))
    };
    let spend = |name: &str, span: &str| format!("virtual_key_spend:k:{name}:{span}");
    let at = |name: &str, span: &str, max| Ok(Some((spend(name, span), None, max)));
    let month = |max: f64| json!({"budget_limit": max, "time_period": "30d"});
    assert_eq!(found(json!({"m": month(2.0)}), "m"), at("m", "30d", 2.0));
    assert_eq!(found(json!({"m": month(2.0)}), "n"), Ok(None));
    let legacy = Some(spend("p/m", "30d"));
    assert_eq!(found(json!({"m": month(2.0)}), "p/m"), Ok(Some((spend("m", "30d"), legacy, 2.0))));
    let both = json!({"p/m": {"max_budget": 1, "budget_duration": "1d"}, "m": month(2.0)});
    assert_eq!(found(both, "p/m"), at("p/m", "1d", 1.0), "most specific first");
    for useless in [json!({"max_budget": 1}), json!({"budget_duration": "soon"}), json!(5), json!(null), json!([])] {
        let own = json!({"p/m": useless, "m": month(2.0)});
        assert_eq!(found(own, "p/m").unwrap().unwrap().0, spend("m", "30d"), "{useless}");
    }
    let renamed = json!({"m": {"budget_limit": null, "max_budget": 1, "budget_duration": "1d"}});
    assert_eq!(found(renamed, "m"), Ok(None), "the other name wins, though it be null");
    assert_eq!(found(json!({"m": month(-1.0)}), "m"), Ok(None));
    assert_eq!(found(json!({"m": month(0.0)}), "m"), at("m", "30d", 0.0));
    for odd in [json!({"budget_limit": "1", "time_period": "1d"}), json!({"rpm_limit": "1", "budget_duration": "1d"})] {
        assert!(found(json!({ "m": odd }), "m").is_err(), "{odd}");
    }
    for bedrocks in ["anthropic.claude-3", "us.meta.llama3:0", "claude-3:51k", "nova/x", "bedrock/x"] {
        assert!(found(json!({"m": month(1.0)}), bedrocks).is_err(), "{bedrocks}");
    }
    assert_eq!(found(json!({"m": month(1.0)}), "openai/gpt-4.1-mini"), Ok(None), "a version is no vendor");
}

#[test]
fn a_key_entry_stands_before_the_teams_and_the_budget_rows_only_where_it_has_none() {
    let now = since_epoch();
    let day = |max: Option<f64>| json!({"m": {"max_budget": max, "budget_duration": "1d"}});
    let of = |own: Value, users: Value, teams: Value| {
        let found = model_budgets::of(&identity(&own, &users, &teams), "m", now).unwrap();
        let meters: Vec<String> = found.meters.iter().map(|meter| meter.spend.clone()).collect();
        (found.key.is_some(), found.user.is_some(), found.team.is_some(), meters.join(" "))
    };
    let (key, user, team) = ("virtual_key_spend:k:m:1d", "user_model_spend:u:m:1d", "team_model_spend:t:m:1d");
    let all = (true, true, false, format!("{key} {user}"));
    assert_eq!(of(day(Some(1.0)), day(Some(1.0)), day(Some(1.0))), all);
    let ungated = (false, true, true, format!("{key} {team} {user}"));
    assert_eq!(of(day(None), day(Some(1.0)), day(Some(1.0))), ungated, "counted, and no bound");
    let mut with_row = identity(&json!({}), &json!({}), &json!({}));
    with_row.budget = serde_json::from_value(json!({"budget_id": "b", "model_max_budget": day(Some(3.0))})).unwrap();
    assert_eq!(model_budgets::of(&with_row, "m", now).unwrap().key.unwrap().max, 3.0);
    with_row.key.model_max_budget = json!({"n": {}}).as_object().unwrap().clone();
    assert_eq!(model_budgets::of(&with_row, "m", now).unwrap().key, None);
}

/// A call of ours; `spent`: compared only.
fn call(identity: &Identity, model: &str) -> Ask {
    let subject = Subject { identity: Some(identity), model: Some(model), group: Some(model), ..Subject::default() };
    let models = model_budgets::of(identity, model, since_epoch()).unwrap();
    let budgets = Budgets::of(Some(identity), &Others { models, ..Others::default() });
    let body = Object::parse(b"{}").unwrap();
    let mut ask = Ask::new(&subject, (Kind::Messages, &body), (budgets, 0.0), Vec::new(), &Settings::default());
    ask.targets.clear();
    ask
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_budgets_leave_redis_as_litellm_leaves_it() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let (own, other) = (server.redis(io.clone(), 0), server.redis(io.clone(), 1));
    let mut peer = Peer::start(&venv, server.port, 1);
    assert_eq!(peer.read()["kind"], "ready");
    let limits = Limits::new(Some(own.clone()), io, Arc::new(Fixed::default()));
    let mut dice = fastrand::Rng::with_seed(9);
    let mut refused = 0;
    for step in 0..400 {
        let map = |dice: &mut fastrand::Rng| {
            let mut map = serde_json::Map::new();
            for name in ["m", "p/m", "n"] {
                let max = [json!(null), json!(0), json!(0.5), json!(1.25), json!(-1)][dice.usize(..5)].clone();
                let span =
                    [json!("1d"), json!("2h"), json!("30d"), json!("never"), json!(null)][dice.usize(..5)].clone();
                if dice.bool() {
                    map.insert(name.into(), json!({"budget_limit": max, "time_period": span}));
                }
            }
            Value::Object(map)
        };
        let (keys, users, teams) = (map(&mut dice), map(&mut dice), map(&mut dice));
        let model = ["m", "p/m"][dice.usize(..2)];
        let identity = identity(&keys, &users, &teams);
        if step % 40 == 39 {
            // every window is over
            both([&own, &other], |commands| {
                for stem in [
                    "virtual_key_budget_start_time:k",
                    "user_model_budget_start_time:u",
                    "team_model_budget_start_time:t",
                ] {
                    for name in ["m:1d", "p/m:1d", "m:2h", "p/m:2h"] {
                        let key = format!("{stem}:{name}");
                        commands.cmd("SET").arg(key).arg(now() - 86500).arg("XX").arg("KEEPTTL").ignore();
                    }
                }
            })
            .await;
        }
        let question = json!({"key": ["k", "al", keys], "user": ["u", users], "team": ["t", teams], "model": model});
        let with = |op: &str, cost: f64| {
            let mut question = question.clone();
            question["op"] = op.into();
            question["cost"] = cost.into();
            question
        };
        let theirs = peer.ask(&with("model_gate", 0.0));
        match limits.reserve(call(&identity, model), &Settings::default()).await {
            Ok(held) => {
                assert_eq!(theirs["kind"], "ok", "step {step}: {question}");
                let cost = [0.0, 0.125, 0.25][dice.usize(..3)];
                held.settled(Outcome::Answered { tokens: 0, cost }).await;
                peer.ask(&with("model_spend", cost));
            }
            Err(Refusal::Budget { message, spent, .. }) => {
                refused += 1;
                let ours = json!({"kind": "budget", "message": message, "spend": spent.spend, "max": spent.limit,
                    "entity": spent.entity, "id": spent.id});
                let mut theirs = theirs;
                theirs["max"] = json!(theirs["max"].as_f64());
                assert_eq!(ours, theirs, "step {step}: {question}");
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
        let (ours, theirs) = (dump(&own).await, dump(&other).await);
        assert!(alike(&ours, &theirs), "step {step}: {question}\nours   {ours:?}\ntheirs {theirs:?}");
    }
    assert!((40..360).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_did_not_take_goes_with_the_next_call() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let own = server.redis(io.clone(), 0);
    let limits = Limits::new(Some(own.clone()), io, Arc::new(Fixed::default()));
    let identity = identity(&json!({"m": {"max_budget": 1, "budget_duration": "1d"}}), &json!({}), &json!({}));
    let held = limits.reserve(call(&identity, "m"), &Settings::default()).await.unwrap();
    let refuse = |on: bool| {
        let mut commands = redis::pipe();
        commands.cmd("CONFIG").arg("SET").arg("maxmemory").arg(if on { "1" } else { "0" }).ignore();
        commands
    };
    own.run::<()>(refuse(true)).await.unwrap();
    held.settled(Outcome::Answered { tokens: 0, cost: 0.25 }).await;
    own.run::<()>(refuse(false)).await.unwrap();
    assert!(dump(&own).await.is_empty());
    let held = limits.reserve(call(&identity, "m"), &Settings::default()).await.unwrap();
    held.settled(Outcome::Answered { tokens: 0, cost: 0.5 }).await;
    assert_eq!(dump(&own).await["virtual_key_spend:k:m:1d"].0, [0.75]);
    let held = limits.reserve(call(&identity, "m"), &Settings::default()).await.unwrap();
    held.settled(Outcome::Failed { tokens: 0 }).await;
    assert_eq!(dump(&own).await["virtual_key_spend:k:m:1d"].0, [0.75], "who got no answer pays nothing");
}
