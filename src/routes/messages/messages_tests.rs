//! The whole path against an in-process provider: every golden pair (what LiteLLM itself was seen to do).
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    routes::{Execution, Reply, ReplyBody, Services},
    store::Health,
    telemetry::Metrics,
    upstream::Client,
};

pub(super) const KEY: &str = "sk-golden-master";

/// One scripted answer; the words of parity-tests/tools/golden_messages.py.
type Script = Vec<Value>;
type Seen = Arc<Mutex<Vec<(String, BTreeMap<String, String>, Value)>>>;

/// Serves the script, one answer a request.
async fn provider(script: Script) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let script = Arc::new(Mutex::new(script.into_iter()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&log));
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut connection).await {
                    let model = request.2["model"].as_str().unwrap_or_default().to_owned();
                    seen.lock().unwrap().push(request);
                    let next = script.lock().unwrap().next();
                    let Some(spec) = next else { return };
                    if !answer(&mut connection, &spec, &model).await {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

pub(super) async fn read_request(connection: &mut TcpStream) -> Option<(String, BTreeMap<String, String>, Value)> {
    let mut raw = Vec::new();
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(&raw, b"\r\n\r\n") {
            break at + 4;
        }
        let mut buffer = [0; 65536];
        let count = connection.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        raw.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8(raw[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().rsplit_once(' ').unwrap().0.to_owned();
    let headers: BTreeMap<_, _> =
        lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while raw.len() < head_end + length {
        let mut buffer = [0; 65536];
        let count = connection.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        raw.extend_from_slice(&buffer[..count]);
    }
    Some((line, headers, serde_json::from_slice(&raw[head_end..]).unwrap()))
}

/// False: the connection ends.
async fn answer(connection: &mut TcpStream, spec: &Value, model: &str) -> bool {
    let then = spec["then"].as_str().unwrap_or("end");
    if then == "hang" {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    if matches!(then, "reset" | "refuse" | "hang") {
        return false;
    }
    let chunked = spec.get("sse").is_some() || spec["chunked"] == true;
    let mut headers: Vec<(String, String)> = spec["headers"]
        .as_object()
        .map(|h| h.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect())
        .unwrap_or_default();
    let pieces: Vec<String> = match spec["sse"].as_array() {
        Some(frames) => {
            headers.push(("content-type".into(), "text/event-stream; charset=utf-8".into()));
            let frames = frames.iter().map(|frame| format!("{}\n\n", frame.as_str().unwrap()));
            frames.chain(spec["tail"].as_str().map(str::to_owned)).collect()
        }
        None => {
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".into(), "application/json".into()));
            }
            vec![spec["body"].as_str().map(str::to_owned).unwrap_or_else(|| spec["json"].to_string())]
        }
    };
    let pieces: Vec<String> = pieces.into_iter().map(|piece| piece.replace("$MODEL", model)).collect();
    let mut head = format!("HTTP/1.1 {} X\r\n", spec["status"].as_u64().unwrap_or(200));
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if chunked {
        head += "transfer-encoding: chunked\r\n\r\n";
    } else {
        head += &format!("content-length: {}\r\n\r\n", pieces[0].len() + if then == "cut" { 50 } else { 0 });
    }
    connection.write_all(head.as_bytes()).await.unwrap();
    // the recorded silences are 16.5 s, the test's ping comes after a fifteenth of LiteLLM's time
    let pause = |ms: u64| tokio::time::sleep(Duration::from_millis(ms / 15));
    pause(spec["first_gap_ms"].as_u64().unwrap_or(0)).await;
    for (at, piece) in pieces.iter().enumerate() {
        if !piece.is_empty() {
            let framed = if chunked { format!("{:x}\r\n{piece}\r\n", piece.len()) } else { piece.clone() };
            if connection.write_all(framed.as_bytes()).await.is_err() {
                return false;
            }
        }
        pause(spec["gap_ms"][at].as_u64().unwrap_or(75)).await;
    }
    if then == "stall" {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    if then != "end" {
        return false;
    }
    if chunked {
        connection.write_all(b"0\r\n\r\n").await.unwrap();
    }
    true
}

/// The configuration of parity-tests/tools/golden_messages_cases.py.
pub(super) fn snapshot(base: &str, dead: &str) -> Snapshot {
    let cases = include_str!("../../../parity-tests/tools/golden_messages_cases.py");
    let text = cases.split("\"\"\"").nth(3).unwrap().replace("$PROVIDER", base).replace("$DEAD", dead);
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("messages-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    let env = HashMap::from([("LITELLM_MASTER_KEY".to_owned(), KEY.to_owned())]);
    let loaded = crate::config::load(&path, &env);
    std::fs::remove_file(&path).unwrap();
    loaded.unwrap().snapshot
}

pub(super) fn head(query: Option<&str>, headers: &[(&str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    map.insert("authorization", HeaderValue::from_str(&format!("Bearer {KEY}")).unwrap());
    map.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Head { method: Method::POST, path: "/v1/messages".into(), query: query.map(Into::into), headers: map, client: None }
}

pub(super) fn call(head: Head, body: impl Into<Bytes>, snapshot: Snapshot) -> Call {
    Call {
        head: Arc::new(head),
        params: Arc::new(HashMap::new()),
        policy: Arc::default(),
        body: body.into(),
        snapshot: Arc::new(snapshot),
        services: Arc::clone(&SERVICES),
        caller: crate::auth::Caller::Master,
        fetched: None,
        started: Instant::now(),
        now: SystemTime::now(),
    }
}

/// One client for all: each test has a runtime of its own, but pooled connections are only met by who opened them.
static SERVICES: LazyLock<Arc<Services>> = LazyLock::new(|| {
    let metrics = Metrics::new().unwrap();
    Arc::new(Services {
        upstream: Client::new(),
        metrics,
        health: Arc::new(Health::default()),
        control: crate::routes::Control::none(),
    })
});

/// Both steps of admission.
pub(super) fn admitted(call: Call) -> Result<Execution, Decline> {
    admit_head(&call.head, &call.snapshot)?;
    admit(call).map_err(|halt| halt.decline())
}

pub(super) async fn body_of(reply: Reply) -> (Reply, Vec<u8>) {
    let Reply { status, headers, body, log } = reply;
    let (bytes, log) = match body {
        ReplyBody::Full(bytes) => (bytes.to_vec(), log),
        ReplyBody::Stream(mut stream) => {
            let mut all = Vec::new();
            while let Some(bytes) = stream.next().await {
                assert!(!bytes.is_empty(), "an empty piece would end a chunked answer");
                all.extend_from_slice(&bytes);
            }
            (all, stream.log())
        }
    };
    (Reply { status, headers, body: ReplyBody::Full(Bytes::new()), log }, bytes)
}

/// Cases that LiteLLM must serve, and why.
fn declined(name: &str) -> Option<Decline> {
    Some(match name {
        "unknown_fields" => Decline::Field,
        "stream_text" | "max_tokens_text" | "metadata_int_user" => Decline::FieldType,
        "metadata_more" => Decline::Field,
        "sampling_opus5_bad" | "sampling_unpriced" => Decline::UnsupportedParam,
        "thinking_empty_unsigned" => Decline::MessageShape,
        "beta_query_other" => Decline::Query,
        _ => return None,
    })
}

/// Cases where the edge is known to differ, and how.
const TOLERATED: [(&str, &str); 3] = [
    ("error_302", "LiteLLM follows redirects of the provider"),
    ("cost_web_search", "web search is declined by its tool; an answer alone cannot have it"),
    ("stream_rst", "the edge does not tell a reset from an end"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn golden_pairs() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages");
    let mut tasks = tokio::task::JoinSet::new();
    // LiteLLM's timeout of 0.4 s must not be met by waiting for a core
    let turns = Arc::new(tokio::sync::Semaphore::new(12));
    for entry in std::fs::read_dir(folder).unwrap() {
        let case: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let name = case["name"].as_str().unwrap().to_owned();
        if TOLERATED.iter().any(|(tolerated, _)| *tolerated == name) {
            continue;
        }
        let turn = Arc::clone(&turns);
        tasks.spawn(async move {
            let _turn = turn.acquire_owned().await.unwrap();
            (name, golden(&case).await)
        });
    }
    let mut wrong = Vec::new();
    let mut count = 0;
    while let Some(result) = tasks.join_next().await {
        let (name, result) = result.unwrap();
        count += 1;
        if let Err(why) = result {
            wrong.push(format!("{name}: {why}"));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 150, "only {count} golden pairs were found");
}

async fn golden(case: &Value) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    let script = case["provider"].as_array().unwrap().clone();
    let (base, seen) = provider(script).await;
    let dead = "http://127.0.0.1:9";
    let request = &case["request"];
    let query = request["path"].as_str().and_then(|path| path.split_once('?')).map(|(_, query)| query);
    let empty = Map::new();
    let headers: Vec<(&str, &str)> = request["headers"]
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let call = call(head(query, &headers), request["json"].to_string(), snapshot(&base, dead));
    let execution = match (admitted(call), declined(name)) {
        (Err(reason), Some(wanted)) if reason == wanted => return Ok(()),
        (Err(reason), _) => return Err(format!("declined: {reason}")),
        (Ok(_), Some(wanted)) => return Err(format!("not declined ({wanted})")),
        (Ok(execution), None) => execution,
    };
    let (reply, body) = body_of(execution.await).await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    compare_sent(case, &seen)?;
    compare_answer(case, &reply, &body, &base)
}

fn compare_sent(case: &Value, seen: &[(String, BTreeMap<String, String>, Value)]) -> Result<(), String> {
    let wanted = case["sent"].as_array().unwrap();
    if wanted.len() != seen.len() {
        return Err(format!("{} provider calls, LiteLLM made {}", seen.len(), wanted.len()));
    }
    for (wanted, (line, headers, body)) in wanted.iter().zip(seen) {
        let wanted_line = format!("{} {}", wanted["method"].as_str().unwrap(), wanted["target"].as_str().unwrap());
        if *line != wanted_line {
            return Err(format!("sent {line}, LiteLLM {wanted_line}"));
        }
        let mut wanted_headers: BTreeMap<String, String> = wanted["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| (h[0].as_str().unwrap().to_lowercase(), h[1].as_str().unwrap().to_owned()))
            .collect();
        let mut headers = headers.clone();
        for map in [&mut wanted_headers, &mut headers] {
            map.remove("host");
            map.remove("content-length");
        }
        if headers != wanted_headers {
            return Err(format!("sent headers {headers:?}\n  LiteLLM {wanted_headers:?}"));
        }
        let wanted_body: Value = serde_json::from_str(wanted["body"].as_str().unwrap()).unwrap();
        if !same(body, &wanted_body) {
            return Err(format!("sent {body}\n  LiteLLM {wanted_body}"));
        }
    }
    Ok(())
}

/// Equal but for the writing of numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() <= 1e-9 * b.as_f64().unwrap().abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn compare_answer(case: &Value, reply: &Reply, body: &[u8], base: &str) -> Result<(), String> {
    let answer = &case["answer"];
    let body = String::from_utf8(body.to_vec()).unwrap();
    let wanted_body = answer["body"].as_str().unwrap();
    if u64::from(reply.status.as_u16()) != answer["status"].as_u64().unwrap() {
        return Err(format!("status {}, LiteLLM {}: {body}\n  {wanted_body}", reply.status, answer["status"]));
    }
    // the edge's own part, and what no two runs share
    let skipped = [
        "date",
        "content-length",
        "transfer-encoding",
        "connection",
        "vary",
        "x-frame-options",
        "content-security-policy",
        "x-content-type-options",
    ];
    let mask = |name: &str, value: &str| match name {
        "x-litellm-call-id" if value.len() == 36 => "*".to_owned(),
        _ if name.ends_with("-duration-ms") => "*".to_owned(),
        _ => value
            .parse::<f64>()
            .map(|number| format!("{number:.12}"))
            .unwrap_or_else(|_| value.replace(base, "$PROVIDER")),
    };
    let mut wanted: Vec<(String, String)> = answer["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| (h[0].as_str().unwrap().to_lowercase(), h[1].as_str().unwrap()))
        .filter(|(name, _)| !skipped.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), mask(&name, value)))
        .collect();
    let mut got: Vec<(String, String)> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), mask(name, value)))
        .filter(|(name, _)| name != "llm_provider-content-length")
        .collect();
    wanted.retain(|(name, _)| name != "llm_provider-content-length");
    wanted.sort();
    got.sort();
    if wanted != got {
        let missing: Vec<_> = wanted.iter().filter(|pair| !got.contains(pair)).collect();
        let surplus: Vec<_> = got.iter().filter(|pair| !wanted.contains(pair)).collect();
        return Err(format!("headers missing {missing:?}, surplus {surplus:?}"));
    }
    // addresses, ports and measured times differ from run to run
    let normal = |text: &str| {
        let mut text = text.replace("$DEAD_HOST", "127.0.0.1:9").replace("25003", "9");
        if let Some(at) = text.find("SSLContext object at ") {
            let end = at + text[at..].find('>').unwrap();
            text.replace_range(at..end, "SSLContext");
        }
        if let Some(at) = text.find("(received ") {
            let end = at + text[at..].find(" bytes").unwrap();
            let numbers: Vec<i64> = text[at..end].split(' ').filter_map(|word| word.parse().ok()).collect();
            assert_eq!(numbers[1] - numbers[0], 50, "the script cuts 50 bytes");
            text.replace_range(at..end, "received");
        }
        if let Some(at) = text.find("time taken=") {
            let end = at + text[at..].find(" seconds").unwrap();
            text.replace_range(at..end, "time taken");
        }
        text
    };
    let (body, wanted_body) = (normal(&body), normal(wanted_body));
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    let equal = match (parsed(&body), parsed(&wanted_body)) {
        (Some(got), Some(wanted)) => same(&got, &wanted),
        _ => same_events(&body, &wanted_body),
    };
    if equal { Ok(()) } else { Err(format!("body {body}\n  LiteLLM {wanted_body}")) }
}

/// Line by line; data lines by their JSON.
fn same_events(a: &str, b: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('\n').collect(), b.split('\n').collect());
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| {
            let json =
                |line: &str| line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data).ok());
            match (json(a), json(b)) {
                (Some(a), Some(b)) => same(&a, &b),
                _ => a == b,
            }
        })
}
