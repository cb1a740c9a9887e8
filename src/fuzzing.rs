//! What reads bytes that somebody else wrote, as functions of bytes: the targets of `fuzz/` and of the tests below. A
//! target panics where a property is broken; so it is built for tests and for cargo-fuzz alone, never into the gateway.
#![allow(clippy::panic)] // a panic is the finding; built for tests and fuzzers alone
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::{
    config::{self, Env, Snapshot},
    edge::hygiene,
    json::{Object, push_string},
    manifest::{Evidence, Manifest, Verdict, gate::Expectations, pattern, schema, version::VersionRange},
    parity,
    routes::{Call, Head, Services, table::NATIVE_ROUTES},
    telemetry::Metrics,
    upstream,
};

/// Must not panic, whatever the bytes.
pub type Target = fn(&[u8]);

/// Name (also of its corpus folder `fuzz/corpus/<name>`) and target.
pub const TARGETS: &[(&str, Target)] = &[
    ("routes_toml", routes_toml),
    ("config_yaml", config_yaml),
    ("host_and_path", host_and_path),
    ("sse", sse),
    ("json", json),
    ("case", case),
    ("evidence", evidence),
    ("inflate", inflate),
    ("chat_completions", chat_completions),
    ("messages", messages),
];

/// routes.toml: refused or compiled, and an unknown piece of evidence never makes a route native.
pub fn routes_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = schema::parse("routes.toml", text) else { return };
    let same = schema::parse("routes.toml", text).map(|again| format!("{again:?}") == format!("{file:?}"));
    assert!(same.unwrap_or(false), "two readings differ");
    let missing = |route: &str| Evidence::judge(Err(()), &expectations(route, &file.versions));
    let manifest = Manifest::compile(file.clone(), String::new(), NATIVE_ROUTES, &missing);
    assert_eq!(manifest.file.routes.len(), file.routes.len());
}

fn expectations<'a>(route: &'a str, versions: &'a VersionRange) -> Expectations<'a> {
    Expectations { route, source_digest: "none", versions, max_age: Duration::from_secs(3600), suite: None }
}

/// config.yaml: the YAML alone (its JSON is JSON), and the whole file from the disk.
pub fn config_yaml(data: &[u8]) {
    if let Ok(node) = config::yaml::parse(data) {
        let _ = (node.value.python_str(), node.value.to_json().to_string(), node.value.truthy());
        let _ = node.value.json_dumps();
    }
    // an include or a reference of a hostile file reads what the operator may read: not what is tested here
    if memchr::memmem::find(data, b"include").is_none() {
        drop(load(data));
    }
}

fn load(data: &[u8]) -> Option<Snapshot> {
    let path = std::env::temp_dir().join(format!(
        "litellm-rust-fuzz-{}-{:?}.yaml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, data).ok()?;
    let loaded = config::load(&path, &Env::default());
    let _ = std::fs::remove_file(path);
    loaded.ok().map(|loaded| loaded.snapshot)
}

/// First line: a Host; second: a Connection; the rest: a request target. What is accepted is read by another parser alike.
pub fn host_and_path(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (host, connection, raw) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in [(http::header::HOST, host), (http::header::CONNECTION, connection)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let target = hygiene::target(raw);
    if target.matchable {
        let again = hygiene::target(target.path.as_bytes());
        assert_eq!((again.path, again.query), (target.path.clone(), None), "a path is its own path");
    }
    if hygiene::check(Version::HTTP_11, &Method::GET, raw, None, &headers, || None).is_err() {
        return;
    }
    let url = format!("http://{}/", String::from_utf8_lossy(host));
    match url.parse::<http::Uri>() {
        Ok(uri) => {
            assert_eq!(uri.authority().map(|found| found.as_str().as_bytes()), Some(host), "{url}: another authority");
            assert_eq!(uri.path(), "/", "{url}: the host reaches into the path");
        }
        Err(error) => panic!("{url}: {error}"),
    }
    assert!(matches!(raw.first(), Some(b'/' | b'h' | b'H')), "a target that is none");
    if target.matchable && pattern::is_plain(&target.path) {
        assert!(
            !target.path.contains(['%', ';', '\\']) && !target.path.contains("//") && !target.path.contains("/../")
        );
        for route in NATIVE_ROUTES {
            for path in route.paths {
                let Ok(parsed) = pattern::Pattern::parse(path) else { panic!("{path}") };
                assert_eq!(parsed.matches(&target.path), parsed.captures(&target.path).is_some());
            }
        }
    }
}

/// Server-sent events: the same events however the bytes are cut, none over the bound, no byte of them changed.
pub fn sse(data: &[u8]) {
    const LIMIT: usize = 512;
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = upstream::sse::Decoder::new(LIMIT);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(event) = decoder.next_event() {
                let Ok(event) = event else { return (events, true) };
                let _ = (event.name().map(<[u8]>::len), event.data().map(|data| data.len()), event.lines().count());
                events.push(event.raw);
            }
        }
        (events, false)
    };
    let cut = usize::from(data.first().copied().unwrap_or(0) % 7) + 1;
    let (by_byte, large) = read(&mut data.chunks(1));
    let (pieces, _) = read(&mut data.chunks(cut));
    if !large {
        let lines = |events: &[Bytes]| -> Vec<Vec<u8>> {
            // a CR LF that was cut belongs to the event's end or not, as it came
            events.iter().map(|event| event.strip_suffix(b"\n").unwrap_or(event).to_vec()).collect()
        };
        assert_eq!(lines(&by_byte), lines(&pieces), "the cuts show");
    }
    for event in by_byte {
        assert!(memchr::memmem::find(data, &event).is_some(), "an event that was not sent");
    }
}

/// JSON: what the scanner takes, serde_json takes; texts survive writing.
pub fn json(data: &[u8]) {
    let Ok(object) = Object::parse(data) else { return };
    match serde_json::from_slice::<serde::de::IgnoredAny>(data) {
        Ok(_) => {}
        // its own bound on depth
        Err(error) if error.to_string().contains("recursion limit") => {}
        Err(error) => panic!("taken, but {error}"),
    }
    let _ = object.has_duplicates();
    for (name, value) in object.iter() {
        for text in [Some(std::borrow::Cow::Borrowed(name)), value.as_str()].into_iter().flatten() {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(&*text), "a text changed");
        }
        let elements = value.array();
        assert_eq!(
            elements.map(|all| all.len()),
            value.array_of_objects().map(|all| all.len()),
            "two readings of an array"
        );
        let _ =
            (value.kind(), value.as_bool(), value.as_u64(), value.as_f64(), value.object().map(|object| object.len()));
    }
}

/// A case of the parity suite: refused or read, and what was read has what a case must have.
pub fn case(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(case) = parity::case::parse(Path::new("messages/x.yaml"), text) else { return };
    assert!(case.route == "messages" && !case.requests.is_empty() && !case.why.trim().is_empty());
}

/// Evidence that was not written for this binary is never fresh.
pub fn evidence(data: &[u8]) {
    let Some(versions) = VersionRange::parse("=1.106.2") else { return };
    let judged = Evidence::judge(Ok(Some(data)), &expectations("messages", &versions));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let fresh = judged.verdict(now) == Verdict::Fresh;
    let ours =
        judged.record.as_ref().is_some_and(|record| record.source_digest == "none" && record.route == "messages");
    assert!(!fresh || ours, "fresh, but not ours");
    let _ = judged.age(now);
}

/// Compressed answers: the same bytes however they come, never more than the bound at once.
pub fn inflate(data: &[u8]) {
    const LIMIT: usize = 1 << 16;
    let Some((first, body)) = data.split_first() else { return };
    let encoding = if first % 2 == 0 { "gzip" } else { "deflate" };
    let read = |size: usize| {
        let mut decoder = upstream::decode::ContentDecoder::new(Some(encoding), LIMIT);
        let mut all = Vec::new();
        for piece in body.chunks(size) {
            match decoder.push(piece) {
                Ok(bytes) => {
                    assert!(bytes.len() <= LIMIT, "more than the bound");
                    all.extend(bytes);
                }
                Err(_) => return (all, false),
            }
        }
        (all, true)
    };
    let (whole, good) = read(body.len().max(1));
    if good {
        assert_eq!(read(3).0, whole, "the cuts show");
    }
}

/// Admission of a chat request with any body.
pub fn chat_completions(data: &[u8]) {
    admit("chat_completions", "/v1/chat/completions", data);
}

/// Admission of a messages request with any body.
pub fn messages(data: &[u8]) {
    admit("messages", "/v1/messages", data);
}

const CONFIG: &str = "\
model_list:
  - {model_name: m, litellm_params: {model: openai/m, api_base: 'http://127.0.0.1:1/v1', api_key: k}}
  - {model_name: claude, litellm_params: {model: anthropic/claude, api_base: 'http://127.0.0.1:1', api_key: k}}
litellm_settings: {num_retries: 0}
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings: {master_key: sk-fuzz}
";

/// Twice the same word; what is admitted is a JSON object for others too. Nothing is executed.
fn admit(id: &str, path: &str, body: &[u8]) {
    static SHARED: OnceLock<Option<(Arc<Snapshot>, Arc<Services>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let snapshot = Arc::new(load(CONFIG.as_bytes())?);
        let metrics = Metrics::new().ok()?;
        Some((
            snapshot,
            Arc::new(Services {
                upstream: upstream::Client::new(),
                metrics,
                health: Arc::default(),
                control: crate::routes::Control::none(),
            }),
        ))
    });
    let Some((snapshot, services)) = shared else { panic!("the configuration of the target does not load") };
    let Some(route) = NATIVE_ROUTES.iter().find(|route| route.id == id) else { panic!("{id}") };
    let mut headers = HeaderMap::new();
    for (name, value) in [("host", "edge"), ("authorization", "Bearer sk-fuzz"), ("content-type", "application/json")] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let head = Head { method: Method::POST, path: path.to_owned(), query: None, headers, client: None };
    assert!((route.admit_head)(&head, snapshot).is_ok(), "the head of the target");
    let call = Call {
        head: Arc::new(head),
        params: Arc::default(),
        policy: Arc::default(),
        body: Bytes::copy_from_slice(body),
        snapshot: snapshot.clone(),
        services: services.clone(),
        caller: crate::auth::Caller::Master,
        fetched: None,
        started: Instant::now(),
        now: SystemTime::UNIX_EPOCH,
    };
    let admit = |call| (route.admit)(call).map_err(|halt| halt.decline());
    let (first, second) = (admit(call.clone()), admit(call));
    assert_eq!(first.as_ref().err(), second.as_ref().err(), "two words");
    match first {
        Err(reason) => assert!(route.declines.contains(&reason), "{id} must list {}", reason.as_str()),
        Ok(_) => {
            let read = serde_json::from_slice::<serde_json::Value>(body);
            let deep = |error: &serde_json::Error| error.to_string().contains("recursion limit");
            assert!(read.as_ref().map_or_else(deep, serde_json::Value::is_object), "admitted, but no object");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small and always the same.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end.max(1) as u64) as usize
        }
    }

    /// Pieces that mean something to one of the formats.
    const WORDS: [&[u8]; 40] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"null",
        b"true",
        b"-",
        b"1e999",
        b"0x1",
        b"99999999999999999999",
        b"\\u0000",
        b"\\ud800",
        b"#",
        b"?",
        b"%2f",
        b"..",
        b"//",
        b"@",
        b"data: ",
        b"event: x\n",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!int ",
        b"'''",
        b"\"model\":",
        b"\"stream\":true",
        b"[[",
    ];

    fn mutate(seed: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len() + 1);
            match dice.below(7) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
                2 => drop(bytes.splice(at..at, WORDS[dice.below(WORDS.len())].iter().copied())),
                3 => {
                    let end = (at + dice.below(32)).min(bytes.len());
                    bytes.drain(at..end);
                }
                4 => {
                    let end = (at + dice.below(64)).min(bytes.len());
                    let piece = bytes[at..end].repeat(1 + dice.below(4));
                    bytes.splice(at..at, piece);
                }
                5 => {
                    let from = dice.below(other.len() + 1);
                    let end = (from + dice.below(64)).min(other.len());
                    bytes.splice(at..at, other[from..end].iter().copied());
                }
                _ => bytes.push(dice.below(256) as u8),
            }
        }
        bytes
    }

    fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    /// Each corpus file and mutations of it. `FUZZ_ROUNDS` (default 60) mutations a file; `FUZZ_SEED` for others.
    #[test]
    fn corpora_and_mutations_of_them() {
        let number =
            |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
        let (rounds, seed) = (number("FUZZ_ROUNDS", 60), number("FUZZ_SEED", 1));
        for (name, target) in TARGETS {
            let files = corpus(name);
            assert!(files.len() >= 3, "{name}: {} corpus files", files.len());
            for (index, (file, bytes)) in files.iter().enumerate() {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1).wrapping_mul(seed));
                for round in 0..=rounds {
                    let other = &files[dice.below(files.len())].1;
                    let input = if round == 0 { bytes.clone() } else { mutate(bytes, other, &mut dice) };
                    if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
                        let what = panic
                            .downcast_ref::<String>()
                            .cloned()
                            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                        panic!("{name}: {file}, round {round}: {}\n{}", what.unwrap_or_default(), input.escape_ascii());
                    }
                }
            }
        }
    }
}
