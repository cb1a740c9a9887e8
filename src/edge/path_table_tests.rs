//! Which request target is whose: the edge's matching against what LiteLLM's own router says about 190,000 request targets
//! (`tests/golden/routing/paths.txt.gz`, written and checked by `parity-tests/tools/golden_paths.py`). The rule: where
//! the edge may serve a request natively, Python would have served the very same endpoint. The reverse, a request that
//! is passed although the edge has a route for it, is always right and only counted.
use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    time::SystemTime,
};

use http::Method;
use pingora::http::RequestHeader;
use proptest::prelude::*;

use super::{admin, hygiene};
use crate::{
    manifest::{
        Caller, ManifestHandle, Mode, Side,
        litellm::{LiteLlmRoute, LiteLlmTable, RouteKind},
    },
    routes::{Decline, Head, table::NATIVE_ROUTES},
};

/// LiteLLM's endpoint behind each native route. `metrics` has none in LiteLLM's table at rest: there a 404 is Python's
/// answer, which stands in tolerated.toml.
const ENDPOINTS: &[(&str, &str)] = &[
    ("chat_completions", "litellm.proxy.proxy_server.chat_completion"),
    ("models", "litellm.proxy.proxy_server.model_list"),
    ("model_info", "litellm.proxy.proxy_server.model_info_v1"),
    ("key_info", "litellm.proxy.management_endpoints.key_management_endpoints.info_key_fn"),
    ("health_liveliness", "litellm.proxy.health_endpoints._health_endpoints.health_liveliness"),
    ("health_readiness", "litellm.proxy.health_endpoints._health_endpoints.health_readiness"),
    ("messages", "litellm.proxy.anthropic_endpoints.endpoints.anthropic_response"),
];

/// What Python does with method and target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Python {
    /// 400, 404, 405, 307
    Status(u16),
    Endpoint {
        name: String,
        pattern: String,
    },
}

struct Golden {
    methods: Vec<Method>,
    /// the native paths whose tricks are among the rows
    native: HashSet<String>,
    /// by number: one for each method
    outcomes: HashMap<usize, Vec<Python>>,
    rows: Vec<(usize, Vec<u8>)>,
}

fn golden() -> Golden {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/routing/paths.txt.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_end(&mut bytes).unwrap();
    let (mut methods, mut native, mut outcomes, mut rows) = (Vec::new(), HashSet::new(), HashMap::new(), Vec::new());
    let mut endpoints: HashMap<&str, Python> = HashMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line[0].is_ascii_digit() {
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap();
            rows.push((std::str::from_utf8(&line[..tab]).unwrap().parse().unwrap(), line[tab + 1..].to_vec()));
            continue;
        }
        let words: Vec<&str> = std::str::from_utf8(line).unwrap().split(' ').collect();
        match words.as_slice() {
            ["#", "methods", names @ ..] => methods = names.iter().map(|name| name.parse().unwrap()).collect(),
            ["#", "native", paths @ ..] => native = paths.iter().map(|path| (*path).to_owned()).collect(),
            ["#", ..] => {}
            ["=", number, name, pattern] => {
                let endpoint = Python::Endpoint { name: (*name).into(), pattern: (*pattern).into() };
                endpoints.insert(number, endpoint);
            }
            ["@", number, words @ ..] => {
                let said = |word: &&str| match word.parse() {
                    Ok(status) => Python::Status(status),
                    Err(_) => endpoints[word].clone(),
                };
                outcomes.insert(number.parse().unwrap(), words.iter().map(said).collect::<Vec<_>>());
            }
            other => panic!("{other:?}"),
        }
    }
    Golden { methods, native, outcomes, rows }
}

fn manifests() -> Vec<ManifestHandle> {
    let open = |file: &str| {
        let handle =
            ManifestHandle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file), NATIVE_ROUTES, None, None).unwrap();
        handle.ungate().unwrap();
        handle.set_python_version(Some("1.106.2"));
        handle
    };
    vec![open("routes.toml"), open("parity-tests/routes.toml")]
}

/// The path the edge matches, made of the target as it makes it; `None`: refused, or never matched.
fn edge_path(target: &[u8]) -> Option<String> {
    // a fragment: refused by hygiene, which sees the raw head
    if target.contains(&b'#') {
        return None;
    }
    let request = RequestHeader::build_no_case(Method::GET, target, None).ok()?;
    let target = hygiene::target(request.raw_path());
    (target.matchable && !admin::is_ours(&target.path)).then(|| target.path.into_owned())
}

/// The native route that would be asked.
fn native(manifest: &ManifestHandle, method: &Method, path: &str) -> Option<&'static str> {
    match manifest.decide(method, path, Caller::default(), SystemTime::now()).side {
        Side::Native { route, .. } => Some(route.id),
        Side::Python { .. } => None,
    }
}

/// Whether Python serves an endpoint there that the edge has, too.
fn has_native_route(python: &Python) -> bool {
    matches!(python, Python::Endpoint { name, .. } if ENDPOINTS.iter().any(|(_, own)| own == name))
}

/// Whether Python serves there what the native route stands for.
fn same(route: &str, path: &str, python: &Python) -> bool {
    match python {
        Python::Endpoint { name, .. } => ENDPOINTS.contains(&(route, name.as_str())),
        Python::Status(status) => route == "metrics" && path == "/metrics" && *status == 404,
    }
}

/// What a pass over the table found: native rows by route, and rows that are passed although their endpoint has one.
type Counts = (HashMap<&'static str, usize>, usize);

fn check(manifest: &ManifestHandle, golden: &Golden) -> Counts {
    let (mut natives, mut passed) = (HashMap::new(), 0);
    for (outcome, target) in &golden.rows {
        let Some(path) = edge_path(target) else { continue };
        for (method, python) in golden.methods.iter().zip(&golden.outcomes[outcome]) {
            if let Some(route) = native(manifest, method, &path) {
                let shown = String::from_utf8_lossy(target);
                assert!(same(route, &path, python), "the edge serves {route}, Python {python:?}: {method} {shown}");
                *natives.entry(route).or_default() += 1;
            } else {
                passed += usize::from(has_native_route(python));
            }
        }
    }
    (natives, passed)
}

#[test]
fn nothing_is_native_that_python_would_serve_otherwise() {
    let golden = golden();
    assert!(golden.rows.len() > 150_000 && golden.methods.len() == 10);
    let manifests = manifests();
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let threads: Vec<_> = manifests.iter().map(|manifest| scope.spawn(|| check(manifest, &golden))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (natives, passed) in counts {
        // the rule would hold for an edge that serves nothing, too
        for (route, _) in ENDPOINTS {
            assert!(natives.get(route).is_some_and(|rows| *rows >= 5), "{route}: {natives:?}");
        }
        println!("native rows: {natives:?}; passed although the endpoint has a native route: {passed}");
    }
}

/// A route that is new in a manifest needs its own tricks in the table: without them the rule above says little of it.
#[test]
fn the_table_was_made_for_the_native_paths_there_are() {
    let made_for = golden().native;
    let paths: HashSet<String> = manifests()
        .iter()
        .flat_map(|manifest| manifest.load().file.routes.clone())
        .filter(|route| route.mode != Mode::Python)
        .flat_map(|route| route.paths.into_iter().map(|path| path.pattern.as_str().to_owned()))
        .collect();
    assert_eq!(made_for, paths, "make the table anew: parity-tests/tools/golden_paths.py");
}

/// Python strips a root path before it matches: `/v1/messages` below the root path `/v1` is its `/messages`.
#[test]
fn under_a_root_path_every_native_route_declines() {
    for name in ["SERVER_ROOT_PATH", "SERVER_ROOT_PATHS"] {
        let env = HashMap::from([(name.to_owned(), "/v1".to_owned())]);
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/deployments.yaml");
        let snapshot = crate::config::load(&config, &env).unwrap().snapshot;
        for route in NATIVE_ROUTES {
            let head = Head {
                method: route.methods[0].clone(),
                path: route.paths[0].to_owned(),
                query: None,
                headers: http::HeaderMap::new(),
                client: None,
            };
            assert_eq!((route.admit_head)(&head, &snapshot), Err(Decline::NotThisPath), "{name}: {}", route.id);
        }
    }
}

/// Python's matching in Rust, for targets nobody has asked Python about: LiteLLM's route table, first match wins.
/// Only for plain paths, where decoding is the identity. `golden_rows_hold_for_the_model` ties it to Python.
fn model<'t>(table: &'t [LiteLlmRoute], method: &Method, path: &str) -> Result<&'t LiteLlmRoute, u16> {
    let matching = || table.iter().filter(|route| route.kind != RouteKind::WebSocket && route.pattern.matches(path));
    if let Some(route) = matching().find(|route| route.serves(method.as_str())) {
        return Ok(route);
    }
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), |_| path.trim_end_matches('/').to_owned());
    match matching().next() {
        Some(_) => Err(405),
        None if path != "/" && table.iter().any(|r| r.kind != RouteKind::WebSocket && r.pattern.matches(&other)) => {
            Err(307)
        }
        None => Err(404),
    }
}

/// LiteLLM's table as it is at rest.
fn litellm() -> Vec<LiteLlmRoute> {
    let mut routes = LiteLlmTable::embedded().unwrap().routes;
    routes.retain(|route| route.pattern.as_str() != "/metrics");
    routes
}

fn same_words(pattern: &str, golden: &str) -> bool {
    let bare = pattern.replace(":path}", "}");
    bare == golden || bare.strip_suffix("/{path}") == Some(golden)
}

#[test]
fn golden_rows_hold_for_the_model() {
    let (golden, table) = (golden(), litellm());
    let (mut rows, mut endpoints) = (0usize, 0usize);
    for (index, (number, target)) in golden.rows.iter().enumerate() {
        let outcome = &golden.outcomes[number];
        let plain = target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%') && target.first() == Some(&b'/');
        if !plain || (index % 40 != 0 && !outcome.iter().any(has_native_route)) {
            continue;
        }
        let path = std::str::from_utf8(target).unwrap().split('?').next().unwrap();
        for (method, python) in golden.methods.iter().zip(outcome) {
            let said = match model(&table, method, path) {
                Ok(route) => {
                    endpoints += 1;
                    matches!(python, Python::Endpoint { pattern, .. } if same_words(route.pattern.as_str(), pattern))
                }
                Err(status) => *python == Python::Status(status),
            };
            assert!(
                said,
                "{method} {path}: Python {python:?}, the model {:?}",
                model(&table, method, path).map(|r| r.pattern.as_str().to_owned())
            );
            rows += 1;
        }
    }
    assert!(rows > 20_000 && endpoints > 3_000, "{rows} rows, {endpoints} with an endpoint");
}

/// Pieces that paths are made of: segments of LiteLLM's routes and every trick.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "v1",
        "chat",
        "completions",
        "messages",
        "models",
        "health",
        "liveliness",
        "liveness",
        "readiness",
        "metrics",
        "engines",
        "openai",
        "deployments",
        "responses",
        "count_tokens",
        "a",
        "x.y",
        "gpt-4o",
        "anthropic",
        "azure",
        "{model}",
        "batches",
        "embeddings",
        "threads",
        "files",
        "edge",
        "CHAT",
        "Models",
        "mcp",
        "v1beta",
        "cursor",
    ]);
    let tricks = prop::sample::select(vec![
        "", ".", "..", ";", ";x", "%2e", "%2f", "%5c", "\\", "%00", "%0a", "%c0%af", "%252f", "?", "#", " ", "*", ":",
        "é", "%zz", "~", "@", "+", "|",
    ]);
    prop_oneof![
        6 => words.clone().prop_map(str::to_owned),
        1 => tricks.clone().prop_map(str::to_owned),
        1 => (words.clone(), tricks).prop_map(|(word, trick)| format!("{word}{trick}")),
        1 => words.prop_flat_map(|word| (0..word.len()).prop_map(move |at| format!("{}%{:02x}{}", &word[..at], word.as_bytes()[at], &word[at + 1..]))),
    ]
}

fn target() -> impl Strategy<Value = String> {
    let tails = prop::sample::select(vec![
        "",
        "/chat/completions",
        "/v1/chat/completions",
        "/v1/messages",
        "/models",
        "/v1/models",
        "/health/readiness",
        "/",
    ]);
    let heads =
        prop::sample::select(vec!["", "", "/engines", "/openai/deployments", "/v1", "http://gateway.parity", "/."]);
    (heads, prop::collection::vec(piece(), 0..5), tails).prop_map(|(head, pieces, tail)| {
        format!("{head}{}{tail}", pieces.iter().map(|piece| format!("/{piece}")).collect::<String>())
    })
}

#[test]
fn compositions_of_tricks_are_native_only_where_python_serves_the_same() {
    let (table, manifests) = (litellm(), manifests());
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let natives = std::cell::Cell::new(0usize);
    let methods = prop::sample::select(vec![Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::PUT]);
    runner
        .run(&(methods, target()), |(method, target)| {
            let Some(path) = edge_path(target.as_bytes()) else { return Ok(()) };
            for route in manifests.iter().filter_map(|manifest| native(manifest, &method, &path)) {
                natives.set(natives.get() + 1);
                // what the edge matches must be the target itself, and decoding it must change nothing
                prop_assert_eq!(target.split('?').next(), Some(path.as_str()));
                prop_assert!(!path.contains('%'));
                let row = NATIVE_ROUTES.iter().find(|row| row.id == route).unwrap();
                match model(&table, &method, &path) {
                    Ok(found) => prop_assert!(
                        row.paths
                            .iter()
                            .any(|own| own.replace(":path}", "}") == found.pattern.as_str().replace(":path}", "}")),
                        "the edge serves {}, Python {}",
                        route,
                        found.pattern
                    ),
                    Err(status) => prop_assert!(route == "metrics" && path == "/metrics" && status == 404),
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(natives.get() > 300, "{natives:?}");
}
