//! What no golden pair shows: fields whose mere shape makes LiteLLM act, and calls beyond a deployment's slots.
use std::sync::Arc;

use serde_json::json;

use super::{
    chat_completions_tests::{call, snapshot},
    *,
};
use crate::routes::Execution;

fn admitted(call: Call) -> Result<Execution, Decline> {
    admit(call).map_err(|halt| halt.decline())
}

fn why(more: serde_json::Value) -> Option<Decline> {
    let mut body = json!({"model": "oa", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    admitted(call(snapshot("http://127.0.0.1:9/v1"), &body, None)).err()
}

#[test]
fn shapes_that_litellm_fails_on_decline() {
    assert_eq!(why(json!({})), None);
    assert_eq!(why(json!({"functions": [{"name": "f"}]})), None);
    assert_eq!(why(json!({"functions": 5})), Some(Decline::FieldType));
    assert_eq!(why(json!({"web_search_options": null})), Some(Decline::Field));
    let mut beyond = call(snapshot("http://127.0.0.1:9/v1"), &json!({}), None);
    beyond.body = r#"{"model":"oa","messages":[],"seed":12345678901234567890123}"#.into();
    assert_eq!(admitted(beyond).err(), Some(Decline::BodyNotJson));
}

#[test]
fn calls_beyond_the_slots_decline() {
    let mut limited = snapshot("http://127.0.0.1:9/v1");
    let group = Arc::make_mut(limited.groups.get_mut("oa").unwrap());
    Arc::make_mut(&mut group.deployments[0]).slots.limit = Some(1);
    let body = json!({"model": "oa", "messages": []});
    let admit = || admitted(call(limited.clone(), &body, None));
    let first = admit().unwrap();
    assert_eq!(admit().err(), Some(Decline::NoDeployment));
    drop(first);
    assert!(admit().is_ok());
}
