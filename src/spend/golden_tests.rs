//! Rows of LiteLLM 1.106.2, as Postgres had them after calls by the master key: ours from the same facts are equal.
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Facts, Payer, Record, Shape, Trouble, batch::Batch, cost, model_map};

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

/// The facts our routes would have, worked out of the row's own columns.
fn record(row: &Value) -> Record {
    let metadata = &row["metadata"];
    let usage = &metadata["usage_object"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let details = &usage["prompt_tokens_details"];
    let stream = row["cache_hit"] == "False";
    let messages = row["call_type"] == "anthropic_messages";
    // chat: the usage without what the row adds; messages: the provider's own
    let own = if messages {
        json!({"service_tier": usage["service_tier"], "cache_creation": details["cache_creation_token_details"]})
    } else {
        usage.clone()
    };
    let part = |name: &str| metadata["cost_breakdown"][name].as_f64().unwrap_or(0.0);
    let model = text(row, "model");
    let (provider, name) = model.split_once('/').unwrap();
    Record {
        request_id: text(row, "request_id"),
        call_id: text(row, "litellm_call_id"),
        call_type: if messages { "anthropic_messages" } else { "acompletion" },
        payer: Payer {
            api_key: text(row, "api_key"),
            user_id: Some(text(row, "user")),
            end_user: Some(text(row, "end_user")),
            ..Payer::default()
        },
        spend: row["spend"].as_f64().unwrap(),
        prompt_tokens: count(&row["prompt_tokens"]),
        completion_tokens: count(&row["completion_tokens"]),
        total_tokens: count(&row["total_tokens"]),
        cache_read_tokens: count(&details["cached_tokens"]),
        cache_creation_tokens: count(&details["cache_creation_tokens"]),
        reasoning_tokens: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
        started: SystemTime::UNIX_EPOCH,
        ended: SystemTime::UNIX_EPOCH + Duration::from_millis(1),
        first_token: None,
        model: model.clone(),
        model_id: text(row, "model_id"),
        model_group: text(row, "model_group"),
        provider: provider.into(),
        api_base: text(row, "api_base"),
        cache_hit: if stream { "False" } else { "None" },
        tags: serde_json::from_value(row["request_tags"].clone()).unwrap(),
        requester_ip: row["requester_ip_address"].as_str().map(str::to_owned),
        session_id: text(row, "session_id"),
        succeeded: true,
        windows: Vec::new(),
        caching_savings: 0.0,
        facts: Facts {
            user_agent: metadata["user_agent"].as_str().map(str::to_owned),
            usage: own.to_string(),
            shape: match (messages, stream) {
                (false, false) => Shape::Json,
                (false, true) => Shape::Stream,
                (true, false) => Shape::Messages,
                (true, true) => Shape::MessagesStream,
            },
            cost: cost::Cost {
                input: part("input_cost"),
                output: part("output_cost"),
                cache_read: part("cache_read_cost"),
                cache_creation: part("cache_creation_cost"),
                reasoning: part("reasoning_cost"),
                tools: part("tool_usage_cost"),
                total: part("total_cost"),
            },
            service_tier: None,
            overhead_ms: metadata["litellm_overhead_time_ms"].as_f64(),
            model_map: model_map::text(&model, model_map::listed(provider, name, false, &serde_json::Map::new())),
            trouble: Trouble::None,
        },
    }
}

/// `1` and `1.0` are one number in jsonb.
fn differences(path: &str, python: &Value, ours: &Value, out: &mut Vec<String>) {
    match (python, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = Value::String("<absent>".into());
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (a, b) = (a.get(key).unwrap_or(&missing), b.get(key).unwrap_or(&missing));
                differences(&format!("{path}/{key}"), a, b, out);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path}: python {a}, ours {b}")),
    }
}

#[test]
fn rows_are_pythons() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in include_str!("../../tests/golden/spend/rows.jsonl").lines() {
        let mut python: Value = serde_json::from_str(line).unwrap();
        let mut batch = Batch::default();
        batch.add(&record(&python));
        let rows_of: Value = serde_json::from_str(&batch.logs().next().unwrap()).unwrap();
        let mut ours = rows_of[0].clone();
        // times are not facts; these columns keep Prisma's defaults
        for column in ["startTime", "endTime", "completionStartTime", "request_duration_ms"] {
            python.as_object_mut().unwrap().remove(column);
            ours.as_object_mut().unwrap().remove(column);
        }
        let defaults = ["messages", "response", "proxy_server_request", "mcp_namespaced_tool_name", "agent_id"];
        for column in defaults.iter().chain(&["billing_agent_id"]) {
            let value = python.as_object_mut().unwrap().remove(*column);
            assert!(value.is_none_or(|value| value.is_null() || value == json!({})), "{column} holds something");
        }
        if python["metadata"]["model_map_information"].is_null() {
            ours["metadata"]["model_map_information"] = Value::Null;
        }
        rows += 1;
        differences(&format!("row {rows}"), &python, &ours, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 7, "only {rows} rows");
}
