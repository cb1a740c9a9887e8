//! The transforms against what the real gateway made of the same answers (`tests/golden/chat`, recorded by
//! `parity-tests/tools/chat_golden.py`).
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{error::*, request, response, stream::ChunkTransform};
use crate::{config::Deployment, json::Object, spend, upstream::sse::Decoder};

fn golden(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Ids and clocks the gateway made up itself.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let made_up = match value {
                    Value::String(text) => name == "id" && text.len() >= 36,
                    Value::Number(number) => name == "created" && number.as_u64() > Some(1_790_000_000),
                    _ => false,
                };
                if made_up { *value = json!("masked") } else { mask(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Number(number) => {
            if let Some(float) = number.as_f64() {
                *value = json!((float * 1e9).round() / 1e9);
            }
        }
        _ => {}
    }
}

fn masked(text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    mask(&mut value);
    value
}

fn now() -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn provider_body(answer: &Value) -> Vec<u8> {
    match answer.get("body") {
        Some(body) => body.as_str().unwrap().as_bytes().to_vec(),
        None => answer["json"].to_string().into_bytes(),
    }
}

fn content_type(answer: &Value) -> &str {
    answer.pointer("/headers/content-type").and_then(Value::as_str).unwrap_or("application/json")
}

fn told(fault: &Fault, case: &Value, in_stream: bool) -> (u64, Value) {
    let group = text(case, "/request/model");
    let timeout = (group == "defaults").then_some("2.0");
    let told = fault.tell((!in_stream).then_some(RouterView { model_group: group, deployment_timeout: timeout }));
    let mut error =
        json!({"message": told.message, "type": told.kind, "param": told.param, "code": told.status.to_string()});
    if told.bare {
        error = json!({"message": told.message, "type": told.kind});
    }
    (told.status.into(), json!({ "error": error }))
}

#[test]
fn whole_answers() {
    let mut wrong = Vec::new();
    for case in golden(include_str!("../../../tests/golden/chat/responses.json")) {
        let name = text(&case, "/name");
        // integers beyond f64
        if name == "numbers" {
            continue;
        }
        let body = provider_body(&case["provider"]);
        let made =
            response::transform(&body, Some(content_type(&case["provider"])), case["request"]["model"].as_str(), now());
        let (status, made) = match made {
            Ok(done) => (200, masked(std::str::from_utf8(&done.body).unwrap())),
            Err(fault) => told(&fault, &case, false),
        };
        let expected = masked(text(&case, "/reply/body"));
        if case["reply"]["status"] != status || made != expected {
            wrong.push(format!("{name}\n  ours   {status} {made}\n  python {} {expected}", case["reply"]["status"]));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

#[test]
fn failures() {
    let mut wrong = Vec::new();
    for case in golden(include_str!("../../../tests/golden/chat/errors.json")) {
        let (name, answer) = (text(&case, "/name"), &case["provider"]);
        // another request followed, or LiteLLM counted tokens itself
        if ["redirect", "max_tokens_limit", "hang", "error_gzip"].contains(&name) {
            continue;
        }
        let status = answer["status"].as_u64().unwrap_or(200) as u16;
        let fault = if ["reset", "refused", "refused_stream", "cut_body"].contains(&name) {
            Fault::connection()
        } else if (200..300).contains(&status) {
            let body = provider_body(answer);
            response::transform(&body, Some(content_type(answer)), None, now()).unwrap_err()
        } else {
            Fault::status(status, &provider_body(answer))
        };
        let (status, made) = told(&fault, &case, false);
        let expected = masked(text(&case, "/reply/body"));
        if case["reply"]["status"] != status || made != expected {
            wrong.push(format!("{name}\n  ours   {status} {made}\n  python {} {expected}", case["reply"]["status"]));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

/// As the route drives it: events, then the end.
fn streamed(case: &Value) -> (u64, Vec<Value>) {
    let request = &case["request"];
    let client_usage = request.pointer("/stream_options/include_usage") == Some(&json!(true));
    let mut chunks = ChunkTransform::new(request["model"].as_str().unwrap_or("oa"), client_usage);
    let answer = &case["provider"];
    let raw = answer.get("raw").is_some();
    let mut decoder = Decoder::new(1 << 20);
    let mut out = Vec::new();
    let mut fault = None;
    let mut done = false;
    let frames = answer["sse"].as_array().cloned().unwrap_or_default();
    for frame in frames {
        decoder.push(frame.as_str().unwrap().as_bytes());
        if !raw {
            decoder.push(b"\n\n");
        }
        while let Some(event) = decoder.next_event() {
            let event = event.unwrap();
            let Some(data) = event.data().or(event.name().map(|_| Vec::new().into())) else { continue };
            done |= data.starts_with(b"[DONE]");
            if !done && fault.is_none() {
                fault = chunks.event(&data, now(), &mut out).err();
            }
        }
    }
    match answer["then"].as_str() {
        Some("cut") if !done && !chunks.is_finished() => fault = fault.or(Some(Fault::in_stream(
            "Response payload is not completed: <TransferEncodingError: 400, message='Not enough data to satisfy transfer length header.'>",
        ))),
        Some("stall") => fault = Some(Fault::in_stream("Timeout on reading data from socket")),
        _ => {}
    }
    let price = spend::Pricing { input: 2.5e-6, output: 1e-5, cache_read: Some(1.25e-6), ..Default::default() };
    match fault {
        None => chunks.finish(now(), |usage| Some(spend::cost(&price, &usage.tokens()).total), &mut out),
        Some(fault) => {
            let (status, error) = told(&fault, case, true);
            if out.is_empty() {
                return (status, vec![masked(&error.to_string())]);
            }
            out.extend_from_slice(format!("data: {error}\n\n").as_bytes());
        }
    }
    let out = String::from_utf8(out).unwrap();
    (200, out.split_terminator("\n\n").map(|frame| masked(frame.strip_prefix("data: ").unwrap())).collect())
}

#[test]
fn streams() {
    let mut wrong = Vec::new();
    for case in golden(include_str!("../../../tests/golden/chat/streams.json")) {
        let name = text(&case, "/name");
        // pydantic's repr, an error of the assembling, LiteLLM's tokenizer, calls that got no answer
        if ["finish_error", "index_missing", "usage_missing", "hang", "reset"].contains(&name) {
            continue;
        }
        let (status, made) = streamed(&case);
        let body = text(&case, "/reply/body");
        let expected: Vec<Value> =
            body.split_terminator("\n\n").map(|frame| masked(frame.strip_prefix("data: ").unwrap_or(frame))).collect();
        if case["reply"]["status"] != status || made != expected {
            let lines = |frames: &[Value]| frames.iter().map(|f| format!("\n    {f}")).collect::<String>();
            wrong.push(format!("{name} {status}\n  ours{}\n  python{}", lines(&made), lines(&expected)));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

pub(crate) fn deployment(model: &str, known: bool, defaults: Value) -> Deployment {
    let model_info = if known { json!({"mode": "chat"}) } else { json!({}) };
    Deployment {
        prices: Default::default(),
        slots: Default::default(),
        outgoing: Default::default(),
        id: "id-oa".into(),
        model_group: "oa".into(),
        provider: crate::config::Provider::OpenAi,
        model: model.into(),
        litellm_model: format!("openai/{model}"),
        api_base: Some("http://127.0.0.1:1/v1".into()),
        api_key: Some(crate::secret::Secret::new("sk-mock")),
        organization: None,
        default_params: defaults.as_object().cloned().unwrap_or_default(),
        extra_headers: Vec::new(),
        timeout: None,
        stream_timeout: None,
        weight: None,
        rpm: None,
        tpm: None,
        pricing: Some(spend::Pricing { input: 2.5e-6, output: 1e-5, cache_read: Some(1.25e-6), ..Default::default() }),
        model_info: model_info.as_object().cloned().unwrap_or_default(),
        model_map: None,
        access_groups: Vec::new(),
        base_info: None,
        lists_plainly: true,
        listing: None,
        declines: Vec::new(),
        uri: Some("http://127.0.0.1:1/v1/chat/completions".parse().unwrap()),
    }
}

/// A request either declines or is sent as Python sent it; what Python refused must decline.
#[test]
fn requests() {
    let mut wrong = Vec::new();
    let mut served = 0;
    for case in golden(include_str!("../../../tests/golden/chat/requests.json")) {
        let deployment = match text(&case, "/request/model") {
            "compat" => deployment("my-local-model", false, json!({})),
            "defaults" => deployment("gpt-4o", true, json!({"temperature": 0.25, "max_tokens": 77})),
            _ => deployment("gpt-4o", true, json!({})),
        };
        let body = case["request"].to_string();
        let Ok(prepared) = request::prepare(&Object::parse(body.as_bytes()).unwrap(), &deployment) else { continue };
        served += 1;
        let made = masked(std::str::from_utf8(&prepared.body).unwrap());
        let expected = masked(text(&case, "/sent/0/body"));
        if made != expected {
            wrong.push(format!("{}\n  ours   {made}\n  python {expected}", text(&case, "/name")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
    assert!(served >= 45, "only {served} requests are native");
}
