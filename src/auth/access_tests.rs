//! LiteLLM's own answers (`parity-tests/tools/golden_access.py`).
use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::config;

/// The proxy's groups with their access groups.
pub(crate) fn snapshot(groups: &Map<String, Value>) -> Snapshot {
    let entries: Vec<Value> = groups
        .iter()
        .map(|(name, groups)| {
            let params = json!({"model": format!("openai/{name}"), "api_key": "k"});
            json!({"model_name": name, "litellm_params": params, "model_info": {"access_groups": groups}})
        })
        .collect();
    let dir = crate::manifest::testing::TempDir::new();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, json!({ "model_list": entries }).to_string()).unwrap();
    config::load(&path, &HashMap::from([("LITELLM_MASTER_KEY".to_owned(), "sk-master".to_owned())])).unwrap().snapshot
}

#[test]
fn answers_are_litellms() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/auth/access.json")).unwrap();
    let snapshot = snapshot(golden["groups"].as_object().unwrap());
    let rows = golden["rows"].as_array().unwrap();
    assert!(rows.len() > 1000);
    let mut wrong = Vec::new();
    for row in rows {
        let models: Vec<String> = serde_json::from_value(row[1].clone()).unwrap();
        let filled = |at: usize| row[at].as_object().filter(|map| !map.is_empty());
        let aliases = Aliases { key: filled(2), team: filled(3) };
        let ours = can_call(row[0].as_str().unwrap(), &models, aliases, row[4].as_str(), &snapshot);
        if ours != Ok(row[5] == true) {
            wrong.push(format!("{row}: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

#[test]
fn what_only_python_can_tell_is_not_guessed() {
    let mut snapshot = snapshot(&Map::from_iter([("gpt-4o".to_owned(), json!([]))]));
    let ask = |snapshot: &Snapshot, model: &str, list: &str| {
        can_call(model, &[list.to_owned()], Aliases::default(), None, snapshot)
    };
    assert_eq!(ask(&snapshot, "gpt-4o", "(gpt|o3).*"), Err(Unsure("regular_expression")));
    assert_eq!(ask(&snapshot, "mistral/large", "openai/*"), Err(Unsure("provider_of_the_name")));
    assert_eq!(ask(&snapshot, "model_name_t_1", "x"), Err(Unsure("team_deployment")));
    snapshot.other_names = true;
    assert_eq!(ask(&snapshot, "elsewhere", "x"), Err(Unsure("model_alias")));
    assert_eq!(ask(&snapshot, "gpt-4o", "x"), Ok(false));
    snapshot.aliases.insert("gpt-4o".into());
    assert_eq!(ask(&snapshot, "gpt-4o", "x"), Err(Unsure("model_alias")));
}
