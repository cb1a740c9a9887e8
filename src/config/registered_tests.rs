//! What spend logs say of a deployment's model, and what its calls cost, is LiteLLM's (tests/golden/model_map.py).
use std::path::Path;

use serde_json::Value;

use crate::{
    config::{
        Env, load,
        prices::{self, PriceMap},
    },
    spend::{self, Usage},
};

/// prompt, completion, cache reads, cache writes, reasoning: those of model_map.py
const USAGES: [(u64, u64, u64, u64, u64); 4] =
    [(19, 10, 0, 0, 0), (1500, 700, 1024, 0, 64), (3000, 5, 1000, 500, 0), (200_001, 9, 50, 0, 0)];

/// Deployments of which LiteLLM says what the edge does not know: names that its rules or its price map know.
const UNKNOWN: &[&str] = &["base-unknown", "rule-id", "known-id", "rule-model", "foreign-model", "reasoning-id"];

/// `1` and `1.0` are one number in jsonb.
fn differences(path: &str, theirs: &Value, ours: &Value, out: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = Value::String("<absent>".into());
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (a, b) = (a.get(key).unwrap_or(&missing), b.get(key).unwrap_or(&missing));
                differences(&format!("{path}/{key}"), a, b, out);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path}: litellm {a}, ours {b}")),
    }
}

#[test]
fn facts_and_costs_are_litellms() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(golden.join("model_map.json")).unwrap()).unwrap();
    let snapshot = load(&golden.join("model_map.yaml"), &Env::new()).unwrap().snapshot;
    let mut wrong = Vec::new();
    for row in &rows {
        let name = row["model_name"].as_str().unwrap();
        let deployment = &snapshot.groups[name].deployments[0];
        let ours = deployment.model_map.as_deref().map(|text| serde_json::from_str::<Value>(text).unwrap());
        match ours {
            Some(ours) => differences(name, &row["map"], &ours, &mut wrong),
            None if UNKNOWN.contains(&name) => {}
            None => wrong.push(format!("{name}: not known")),
        }
        for ((prompt, completion, cache_read, cache_creation, reasoning), theirs) in
            USAGES.iter().zip(row["costs"].as_array().unwrap())
        {
            let (cache_read, cache_creation) = (*cache_read, *cache_creation);
            let usage = Usage {
                prompt: *prompt,
                completion: *completion,
                cache_read,
                cache_creation,
                cache_creation_1h: 0,
                reasoning: *reasoning,
            };
            let pricing = deployment.pricing_for(Some(&deployment.model));
            if pricing.as_ref().is_some_and(|pricing| pricing.needs_python) {
                assert!(!deployment.declines.is_empty(), "{name}");
                continue;
            }
            let ours = pricing.map_or(0.0, |pricing| spend::cost(&pricing, &usage).total);
            let theirs = theirs.as_f64().unwrap_or(0.0);
            if (ours - theirs).abs() > 1e-9 * theirs.abs() {
                wrong.push(format!("{name}: a call of {prompt} costs {theirs}, ours {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() >= 42, "only {} deployments", rows.len());
}

#[test]
fn every_listed_chat_model_costs_what_it_costs_in_litellm() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cost_all.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let prices = PriceMap::default();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (name, costs) in golden["models"].as_object().unwrap() {
        let (provider, model) = name.split_once('/').unwrap();
        let pricing = prices.find(model, provider).map(|entry| prices::pricing(&entry));
        if pricing.as_ref().is_some_and(|pricing| pricing.needs_python) {
            continue;
        }
        for (point, theirs) in golden["grid"].as_array().unwrap().iter().zip(costs.as_array().unwrap()) {
            let count = |at: usize| point[at].as_u64().unwrap();
            let usage = Usage {
                prompt: count(0),
                completion: count(1),
                cache_read: count(2),
                cache_creation: count(3),
                cache_creation_1h: count(4),
                reasoning: count(5),
            };
            let ours = pricing.as_ref().map(|pricing| spend::cost(pricing.for_tier(point[6].as_str()), &usage).total);
            let same = match (ours, theirs.as_f64()) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-9),
                (ours, theirs) => ours.is_none() && theirs.is_none(),
            };
            compared += 1;
            if !same {
                wrong.push(format!("{name} {point}: {theirs}, ours {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
    assert!(compared > 3000, "only {compared}");
}
