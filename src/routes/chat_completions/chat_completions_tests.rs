//! The route end to end over an in-process provider, against what the real gateway answered
//! (`tests/golden/chat`, recorded by `parity-tests/tools/chat_golden.py`): status, header set, body, provider's request.
use std::{collections::HashMap, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::{Settings, list_pricing},
    providers::openai::golden_tests::deployment,
    routes::{PathParams, Reply, ReplyBody, Services},
    secret::Secret,
    upstream::Client,
};

const KEY: &str = "sk-chatlab-master";

/// One connection, one request, the scripted answer. Gives back what it was sent.
async fn provider(listener: TcpListener, answer: Value) -> Option<(String, String)> {
    let (mut socket, _) = listener.accept().await.ok()?;
    let request = read_request(&mut socket).await?;
    match answer["then"].as_str() {
        Some("reset") => return Some(request),
        Some("hang") => {
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
            return Some(request);
        }
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\n", answer["status"].as_u64().unwrap_or(200));
    let headers = answer["headers"].as_object().cloned().unwrap_or_default();
    for (name, value) in &headers {
        head += &format!("{name}: {}\r\n", value.as_str().unwrap());
    }
    if let Some(frames) = answer["sse"].as_array() {
        head += "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).await.ok()?;
        for frame in frames {
            let end = if answer.get("raw").is_some() { "" } else { "\n\n" };
            let data = format!("{}{end}", frame.as_str().unwrap());
            // the reader may have gone after an error
            let _gone = socket.write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes()).await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        match answer["then"].as_str() {
            Some("cut") => return Some(request),
            Some("stall") => tokio::time::sleep(std::time::Duration::from_millis(600)).await,
            _ => {
                let _gone = socket.write_all(b"0\r\n\r\n").await;
            }
        }
        return Some(request);
    }
    let mut body = match answer.get("body") {
        Some(body) => body.as_str().unwrap().as_bytes().to_vec(),
        None => answer["json"].to_string().into_bytes(),
    };
    match headers.get("content-encoding").and_then(Value::as_str) {
        Some("gzip") => body = encoded(flate2::read::GzEncoder::new(&body[..], flate2::Compression::fast())),
        Some("deflate") => body = encoded(flate2::read::ZlibEncoder::new(&body[..], flate2::Compression::fast())),
        _ => {}
    }
    if !headers.contains_key("content-type") {
        head += "content-type: application/json\r\n";
    }
    let short = if answer["then"] == "cut" { 10 } else { 0 };
    head += &format!("content-length: {}\r\n\r\n", body.len() + short);
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(&body).await.ok()?;
    Some(request)
}

fn encoded(mut encoder: impl std::io::Read) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.read_to_end(&mut out).unwrap();
    out
}

/// Head and body of one request.
async fn read_request(socket: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await.ok()?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if read == 0 {
            return None;
        }
    }
}

thread_local! {
    /// one a test (each has its own thread and runtime): loading the system's roots is slow
    static CLIENT: Client = Client::new();
}

fn client() -> Client {
    CLIENT.with(Client::clone)
}

pub(super) fn snapshot(base: &str) -> Snapshot {
    let mut groups = HashMap::new();
    for (group, model, id) in [
        ("oa", "gpt-4o", "id-oa"),
        ("compat", "my-local-model", "id-compat"),
        ("defaults", "gpt-4o", "id-defaults"),
        ("refused", "gpt-4o", "id-refused"),
    ] {
        let mut made = deployment(model, model == "gpt-4o", json!({}));
        made.id = id.into();
        made.model_group = group.into();
        made.pricing = list_pricing(model, "openai");
        made.api_base = Some(base.to_owned());
        if group == "defaults" {
            made.default_params = json!({"temperature": 0.25, "max_tokens": 77}).as_object().cloned().unwrap();
            made.organization = Some("org-1".into());
            made.extra_headers = vec![("x-extra".into(), "1".into())];
            made.timeout = Some(Duration::from_millis(200));
            made.stream_timeout = Some(Duration::from_millis(100));
        }
        if group == "refused" {
            made.api_base = Some("http://127.0.0.1:9/v1".into());
        }
        made.uri = Some(format!("{}/chat/completions", made.api_base.clone().unwrap()).parse().unwrap());
        let name = group.to_owned();
        groups.insert(name.clone(), Arc::new(ModelGroup { name, deployments: vec![Arc::new(made)] }));
    }
    Snapshot {
        aliases: Default::default(),
        digest: String::new(),
        master_key: Some(Secret::new(KEY)),
        settings: Settings::default(),
        groups,
        group_order: Vec::new(),
        deployments: Vec::new(),
        declines: Vec::new(),
        other_names: false,
        database_url: None,
        coordination: Default::default(),
    }
}

fn head(headers: &[(&'static str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    map.insert("authorization", HeaderValue::from_str(&format!("Bearer {KEY}")).unwrap());
    map.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Head { method: Method::POST, path: "/v1/chat/completions".into(), query: None, headers: map, client: None }
}

pub(super) fn call(snapshot: Snapshot, body: &Value, path_model: Option<&str>) -> Call {
    let params: PathParams = path_model.map(|model| ("model", model.to_owned())).into_iter().collect();
    Call {
        policy: Arc::default(),
        head: Arc::new(head(&[("x-litellm-call-id", "call-1")])),
        params: Arc::new(params),
        body: body.to_string().into(),
        snapshot: Arc::new(snapshot),
        services: Arc::new(Services {
            upstream: client(),
            metrics: crate::telemetry::Metrics::new().unwrap(),
            health: Arc::default(),
            control: crate::routes::Control::none(),
        }),
        caller: crate::auth::Caller::Master,
        fetched: None,
        started: Instant::now(),
        now: std::time::SystemTime::now(),
    }
}

async fn body_of(reply: &mut Reply) -> String {
    let bytes = match &mut reply.body {
        ReplyBody::Full(bytes) => bytes.to_vec(),
        ReplyBody::Stream(events) => {
            let mut all = Vec::new();
            while let Some(bytes) = events.next().await {
                all.extend_from_slice(&bytes);
            }
            all
        }
    };
    String::from_utf8(bytes).unwrap()
}

/// Headers that hold clocks, ids or the length of a body written by another serialiser, or that the edge adds.
fn compared(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let skipped = [
        "date",
        "content-length",
        "transfer-encoding",
        "vary",
        "x-frame-options",
        "content-security-policy",
        "x-content-type-options",
        "x-litellm-call-id",
        "x-litellm-model-api-base",
        "llm_provider-content-length",
    ];
    let mut all: Vec<_> = headers
        .filter(|(name, _)| !skipped.contains(&name.as_str()) && !name.ends_with("-duration-ms"))
        .map(|(name, value)| match value.parse::<f64>() {
            Ok(number) if name.contains("cost") || name.contains("spend") => (name, format!("{number:.12}")),
            _ => (name, value),
        })
        .collect();
    all.sort();
    all
}

fn mask(text: &str) -> String {
    let mut out = Vec::new();
    for word in text.split_inclusive(['"', ',', ':']) {
        let plain = word.trim_end_matches(['"', ',', ':']);
        let made_up = plain.len() >= 36 && plain.ends_with(|c: char| c.is_ascii_hexdigit()) && plain.contains('-')
            || plain.len() == 10 && plain.starts_with("17") && plain != "1700000000";
        out.push(if made_up { "masked" } else { word });
    }
    out.concat()
}

fn values(body: &str) -> Vec<Value> {
    let parse = |text: &str| {
        let mut value: Value =
            serde_json::from_str(&mask(text).replace("\"masked", "\"masked\"").replace(":masked", ":0,"))
                .unwrap_or_else(|_| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
        crate::providers::openai::golden_tests::mask(&mut value);
        value
    };
    match body.starts_with("data: ") {
        true => body.split_terminator("\n\n").map(|frame| parse(frame.trim_start_matches("data: "))).collect(),
        false => vec![parse(body)],
    }
}

/// Runs one golden case; what differs, in words.
async fn differs(case: &Value) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut request = case["request"].clone();
    request.as_object_mut().unwrap().remove("_path");
    let path = case["path"].as_str().unwrap();
    let path_model = path.contains("/oa/").then_some("oa");
    let served = tokio::spawn(provider(listener, case["provider"].clone()));
    let execution = match admit(call(snapshot(&base), &request, path_model)) {
        Ok(execution) => execution,
        Err(halt) => return Some(format!("declined: {}", halt.decline())),
    };
    let mut reply = execution.await;
    let status = reply.status.as_u16();
    let ours = compared(reply.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let body = body_of(&mut reply).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = case["reply"]["headers"].as_array().unwrap().iter();
    let theirs = compared(pairs.map(|pair| (text(&pair[0]), text(&pair[1]))));
    let mut wrong = Vec::new();
    if case["reply"]["status"] != status {
        wrong.push(format!("status {status}, python {}", case["reply"]["status"]));
    }
    for header in ours.iter().filter(|header| !theirs.contains(header)) {
        wrong.push(format!("+ {header:?}"));
    }
    for header in theirs.iter().filter(|header| !ours.contains(header)) {
        wrong.push(format!("- {header:?}"));
    }
    let (made, expected) = (values(&body), values(case["reply"]["body"].as_str().unwrap()));
    if made != expected {
        wrong.push(format!("body {made:?}\n    python {expected:?}"));
    }
    if let Some(sent) = case["sent"].get(0) {
        let Ok(Some((head, body))) = served.await else { return Some("the provider was not called".into()) };
        wrong.extend(sent_differs(&head, &body, sent));
    }
    (!wrong.is_empty()).then(|| wrong.join("\n    "))
}

fn sent_differs(head: &str, body: &str, sent: &Value) -> Vec<String> {
    let skipped = ["host", "content-length", "cookie", "x-stainless-read-timeout"];
    let mut ours: Vec<(String, String)> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut theirs: Vec<(String, String)> = sent["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()))
        .collect();
    ours.retain(|(name, _)| !skipped.contains(&name.as_str()));
    theirs.retain(|(name, _)| !skipped.contains(&name.as_str()));
    ours.sort();
    theirs.sort();
    let mut wrong = Vec::new();
    if ours != theirs {
        wrong.push(format!("sent headers {ours:?}\n    python {theirs:?}"));
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    if parse(body) != parse(sent["body"].as_str().unwrap()) {
        wrong.push(format!("sent {body}\n    python {}", sent["body"]));
    }
    wrong
}

async fn all(text: &str, skipped: &[&str]) {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        if skipped.contains(&name) {
            continue;
        }
        if let Some(difference) = differs(case).await {
            wrong.push(format!("{name}\n    {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

#[tokio::test]
async fn whole_answers_are_the_gateways() {
    all(include_str!("../../../tests/golden/chat/responses.json"), &["numbers"]).await;
}

#[tokio::test]
async fn errors_are_the_gateways() {
    // a followed redirect; LiteLLM's tokenizer; clocks in the text (tested below)
    let skipped = ["redirect", "max_tokens_limit", "hang", "status_304"];
    all(include_str!("../../../tests/golden/chat/errors.json"), &skipped).await;
}

#[tokio::test]
async fn streams_are_the_gateways() {
    // pydantic's repr; an error of LiteLLM's own assembling; its tokenizer; clocks in the text (tested below)
    let skipped = ["finish_error", "index_missing", "usage_missing", "hang"];
    all(include_str!("../../../tests/golden/chat/streams.json"), &skipped).await;
}

#[tokio::test]
async fn prices_tiers_and_rare_shapes_are_the_gateways() {
    // whether the events before the cut are seen is a race in Python too
    all(include_str!("../../../tests/golden/chat/more.json"), &["content_length_cut"]).await;
}

/// What Python refused or rewrote in ways not built declines; the rest is sent as Python sends it.
#[tokio::test]
async fn requests_are_sent_as_the_gateway_sends_them() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../tests/golden/chat/requests.json")).unwrap();
    let (mut wrong, mut native) = (Vec::new(), 0);
    for case in &cases {
        match differs(case).await {
            None => native += 1,
            Some(reason) if reason.starts_with("declined") => {}
            Some(difference) => wrong.push(format!("{}\n    {difference}", case["name"])),
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
    assert!(native >= 45, "only {native} of {} requests are native", cases.len());
}

#[tokio::test]
async fn a_silent_provider_times_out_with_measured_times() {
    for stream in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(provider(listener, json!({"then": "hang"})));
        let body = json!({"model": "defaults", "messages": [{"role": "user", "content": "hi"}], "stream": stream});
        let mut reply = admit(call(snapshot(&base), &body, None)).ok().unwrap().await;
        assert_eq!(reply.status, 408);
        let body = body_of(&mut reply).await;
        let timed = body.contains("Error_str: Request timed out. - timeout value=0.2, time taken=0.2");
        assert_eq!(timed, !stream, "{body}");
        assert!(
            body.contains("Deployment Info: request_timeout: None\\ntimeout: 0.2\\n\\nLiteLLM: model group 'defaults'")
        );
        let shown = reply.headers.get("x-litellm-timeout").unwrap();
        assert_eq!(shown, if stream { "0.1" } else { "0.2" });
    }
}

#[tokio::test]
async fn events_are_given_as_they_come_and_dropping_aborts_the_provider() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let chunk = |text: &str| {
        let data =
            format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        format!("{:x}\r\n{data}\r\n", data.len())
    };
    let (first, second) = (chunk("one"), chunk("two"));
    let (next, wait) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        wait.await.unwrap();
        socket.write_all(second.as_bytes()).await.unwrap();
        // the client's leaving must reach the provider
        socket.read(&mut [0; 16]).await.unwrap_or(0)
    });
    let body = json!({"model": "oa", "messages": [], "stream": true});
    let reply = admit(call(snapshot(&base), &body, None)).ok().unwrap().await;
    let ReplyBody::Stream(mut events) = reply.body else { panic!("no stream") };
    let bytes = events.next().await.unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("\"content\":\"one\""));
    next.send(()).unwrap();
    assert!(String::from_utf8_lossy(&events.next().await.unwrap()).contains("two"));
    drop(events);
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), server).await.unwrap().unwrap(), 0);
}

#[test]
fn heads_that_only_python_serves_decline() {
    let snapshot = snapshot("http://127.0.0.1:9/v1");
    assert_eq!(admit_head(&head(&[("x-litellm-call-id", "abc"), ("x-litellm-tags", "a")]), &snapshot), Ok(()));
    for (name, value, reason) in [
        ("x-litellm-timeout", "5", Decline::ControlHeader),
        ("x-litellm-tags", "\u{e9}", Decline::ControlHeader),
        ("content-type", "text/plain", Decline::ContentType),
        ("content-type", "multipart/form-data; boundary=x", Decline::ContentType),
        ("content-encoding", "gzip", Decline::ContentEncoding),
        ("authorization", "Bearer xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", Decline::VirtualKey),
    ] {
        assert_eq!(admit_head(&head(&[(name, value)]), &snapshot), Err(reason), "{name}");
    }
    let with_query = Head { query: Some("api-version=1".into()), ..head(&[]) };
    assert_eq!(admit_head(&with_query, &snapshot), Err(Decline::Query));
}

#[test]
fn bodies_that_only_python_serves_decline() {
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (body, reason) in [
        (json!({"messages": messages}), Decline::MissingField),
        (json!({"model": "oa"}), Decline::MissingField),
        (json!({"model": 5, "messages": messages}), Decline::FieldType),
        (json!({"model": "nope", "messages": messages}), Decline::Model),
        (json!({"model": "oa,compat", "messages": messages}), Decline::Model),
        (json!({"model": "oa", "messages": messages, "api_key": "sk-x"}), Decline::Field),
        (json!({"model": "oa", "messages": messages, "fallbacks": ["compat"]}), Decline::Field),
        (json!({"model": "oa", "messages": messages, "reasoning_effort": "low"}), Decline::UnsupportedParam),
        (json!({"model": "oa", "messages": messages, "tools": [{"type": "mcp"}]}), Decline::Tools),
        (json!({"model": "oa", "messages": messages, "metadata": {"tags": "a"}}), Decline::FieldType),
        (json!({"model": "oa", "messages": messages, "tags": [""]}), Decline::Field),
        (json!(["x"]), Decline::BodyNotJson),
    ] {
        let declined = admit(call(snapshot("http://127.0.0.1:9/v1"), &body, None)).err().map(|halt| halt.decline());
        assert_eq!(declined, Some(reason), "{body}");
    }
}
