//! The decision table, canary shares, and that nothing tricky is ever native.
use proptest::prelude::*;

use super::*;
use crate::manifest::testing::{NOW, manifest};

const FILE: &str = r#"
schema = 1
[[route]]
id = "chat_completions"
mode = "native"
match = { methods = ["POST"], paths = ["/v1/chat/completions", "/engines/{model:path}/chat/completions", "/engines/{model:path}/odd", "/v1/other"] }
[[route]]
id = "messages"
mode = "python"
match = { methods = ["POST"], paths = ["/v1/messages"] }
[[route]]
id = "models"
mode = "native"
match = { methods = ["GET"], paths = ["/v1/models", "/models"] }
[[route]]
id = "embeddings"
mode = "native"
match = { methods = ["POST"], paths = ["/v1/embeddings"] }
[[route]]
id = "health_liveliness"
mode = "canary"
canary = { percent = 50, key = "ip" }
match = { methods = ["GET", "HEAD"], paths = ["/health/liveliness"] }
[[route]]
id = "health"
mode = "python"
match = { paths = ["/health/*"] }
[[route]]
id = "engines"
mode = "python"
match = { paths = ["/engines/*"] }
"#;

const GREEN: &[&str] = &["chat_completions", "messages", "health_liveliness", "embeddings"];

fn ask<'a>(method: &'a Method, path: &'a str) -> Ask<'a> {
    Ask {
        method,
        path,
        caller: Caller::default(),
        now: NOW(),
        all_python: false,
        python: PythonVersion::from_text(Some("1.106.2")),
    }
}

fn told(decision: &Decision) -> (&str, &'static str) {
    let side = match &decision.side {
        Side::Native { route, .. } => {
            assert_eq!(route.id, &*decision.route_id);
            "native"
        }
        Side::Python { reason } => reason.as_str(),
    };
    (&decision.route_id, side)
}

#[test]
fn decision_table() {
    let manifest = manifest(FILE, GREEN);
    let cases = [
        ("POST", "/v1/chat/completions", "chat_completions", "native"),
        ("POST", "/engines/a/b/chat/completions", "chat_completions", "native"),
        ("GET", "/v1/chat/completions", "chat_completions", "wrong_method"),
        ("BREW", "/v1/chat/completions", "chat_completions", "wrong_method"),
        // a later entry takes the method that an earlier one does not
        ("GET", "/engines/a/chat/completions", "engines", "mode"),
        // the file lists it, the native row does not
        ("POST", "/v1/other", "chat_completions", "no_native_handler"),
        ("POST", "/engines/a/odd", "chat_completions", "no_native_handler"),
        ("HEAD", "/health/liveliness", "health_liveliness", "no_native_handler"),
        ("POST", "/v1/embeddings", "embeddings", "no_native_handler"),
        ("POST", "/v1/messages", "messages", "mode"),
        ("GET", "/v1/models", "models", "no_evidence"),
        ("GET", "/health/readiness", "health", "mode"),
        ("GET", "/health", "health", "mode"),
        ("GET", "/healthy", "other", "unlisted"),
        ("GET", "/v1/models/", "other", "unlisted"),
        ("POST", "/engines/a%2Fb/chat/completions", "chat_completions", "path"),
        ("POST", "/engines//chat/completions", "chat_completions", "path"),
        ("POST", "/engines/../chat/completions", "chat_completions", "path"),
        ("POST", "/engines/a;b/chat/completions", "chat_completions", "path"),
        ("POST", "//v1/chat/completions", "other", "unlisted"),
        ("OPTIONS", "*", "other", "unlisted"),
        ("GET", "", "other", "unlisted"),
    ];
    for (method, path, route, side) in cases {
        let decision = decide(&manifest, &ask(&method.parse().unwrap(), path));
        assert_eq!(told(&decision), (route, side), "{method} {path}");
    }
}

#[test]
fn what_blocks_a_native_route() {
    let manifest = manifest(FILE, GREEN);
    let good = ask(&Method::POST, "/v1/chat/completions");
    let day = Duration::from_secs(86_400);
    let cases = [
        (good, "native"),
        (Ask { all_python: true, ..good }, "killswitch"),
        (Ask { now: NOW() + day * 31, ..good }, "stale_evidence"),
        (Ask { python: PythonVersion::Unknown, ..good }, "native"),
        (Ask { python: PythonVersion::from_text(Some("1.106.3")), ..good }, "version"),
        (Ask { python: PythonVersion::Odd, ..good }, "version"),
    ];
    for (ask, side) in cases {
        assert_eq!(told(&decide(&manifest, &ask)).1, side);
    }
    // and none of it changes what is Python's anyway
    let python = Ask { all_python: true, ..ask(&Method::POST, "/v1/messages") };
    assert_eq!(told(&decide(&manifest, &python)).1, "mode");
}

#[test]
fn variables_are_the_native_rows() {
    let manifest = manifest(FILE, GREEN);
    let decision = decide(&manifest, &ask(&Method::POST, "/engines/azure/gpt-4.1/chat/completions"));
    let Side::Native { params, .. } = decision.side else { panic!("not native") };
    assert_eq!(params.get("model").unwrap(), "azure/gpt-4.1");
    let decision = decide(&manifest, &ask(&Method::POST, "/v1/chat/completions"));
    let Side::Native { params, .. } = decision.side else { panic!("not native") };
    assert!(params.is_empty());
}

fn share(caller: impl Fn(u32) -> bool) -> f64 {
    f64::from((0..20_000).filter(|n| caller(*n)).count() as u32) / 200.0
}

#[test]
fn canary_is_sticky_and_has_its_share() {
    for percent in [0.0, 1.0, 5.0, 50.0, 100.0] {
        for key in [CanaryKey::VirtualKey, CanaryKey::Ip, CanaryKey::Random] {
            let canary = Canary { percent, key };
            let in_share = |n: u32| {
                let text = format!("sk-{n}");
                let caller = Caller {
                    key: Some(text.as_bytes()),
                    ip: Some(IpAddr::from((0x0a00_0000 + n).to_be_bytes())),
                    random: u64::from(n),
                };
                let first = chosen(&canary, "messages", &caller);
                assert_eq!(first, chosen(&canary, "messages", &caller), "sticky");
                first
            };
            let found = share(in_share);
            let tolerance = if percent == 0.0 || percent == 100.0 { 0.0 } else { 0.2 + percent * 0.06 };
            assert!((found - percent).abs() <= tolerance, "{key:?} {percent}: {found}");
        }
    }
}

#[test]
fn a_larger_share_keeps_its_callers_and_another_route_has_others() {
    let of = |percent, route: &str, n: u32| {
        let key = format!("sk-{n}");
        let caller = Caller { key: Some(key.as_bytes()), ..Caller::default() };
        chosen(&Canary { percent, key: CanaryKey::VirtualKey }, route, &caller)
    };
    assert!((0..2000).all(|n| !of(5.0, "messages", n) || of(10.0, "messages", n)));
    let both = (0..20_000).filter(|n| of(10.0, "messages", *n) && of(10.0, "models", *n)).count();
    assert!((100..300).contains(&both), "two canaries choose independently: {both}");
}

#[test]
fn who_cannot_be_told_apart_is_pythons() {
    for key in [CanaryKey::VirtualKey, CanaryKey::Ip] {
        assert!(!chosen(&Canary { percent: 100.0, key }, "messages", &Caller::default()));
    }
    let mapped = Caller { ip: Some("::ffff:10.0.0.1".parse().unwrap()), ..Caller::default() };
    let plain = Caller { ip: Some("10.0.0.1".parse().unwrap()), ..Caller::default() };
    for percent in 0..100 {
        let canary = Canary { percent: f64::from(percent), key: CanaryKey::Ip };
        assert_eq!(chosen(&canary, "m", &mapped), chosen(&canary, "m", &plain));
    }
}

#[test]
fn the_canarys_side_reaches_the_decision() {
    let manifest = manifest(FILE, GREEN);
    let sides: Vec<&str> = (0..64u8)
        .map(|n| {
            let caller = Caller { ip: Some(IpAddr::from([10, 0, 0, n])), ..Caller::default() };
            let ask = Ask { caller, ..ask(&Method::GET, "/health/liveliness") };
            told(&decide(&manifest, &ask)).1
        })
        .collect();
    assert!(sides.contains(&"native") && sides.contains(&"canary"));
}

/// Not a benchmark, only a bound that a slip (a scan over all entries, a compile per request) would break.
#[test]
fn an_exact_path_is_found_at_once() {
    let manifest = manifest(FILE, GREEN);
    let ask = ask(&Method::POST, "/v1/chat/completions");
    let started = std::time::Instant::now();
    for _ in 0..20_000 {
        std::hint::black_box(decide(&manifest, std::hint::black_box(&ask)));
    }
    let each = started.elapsed() / 20_000;
    assert!(each < Duration::from_micros(20), "{each:?} in an unoptimised build");
}

proptest! {
    /// Whatever the path, matching neither panics nor gives a path to a native route that Python might read differently.
    #[test]
    fn tricky_paths_are_never_native(path in "(/|\\.|%2[fF]|%|;|\\\\|//|\\.\\.|engines|v1|chat|completions|a|é|\u{0}|[ -~]){0,12}") {
        let manifest = manifest(FILE, GREEN);
        for path in [path.clone(), format!("/engines/{path}/chat/completions"), format!("/v1/chat/completions{path}")] {
            let decision = decide(&manifest, &ask(&Method::POST, &path));
            if let Side::Native { .. } = decision.side {
                let tricky = path.contains(['%', ';', '\\', '?', '#', ' ', 'é', '\0'])
                    || path.contains("//")
                    || path.split('/').any(|segment| segment == "." || segment == "..");
                prop_assert!(!tricky, "{:?}", path);
                let listed = path == "/v1/chat/completions"
                    || (path.starts_with("/engines/") && path.ends_with("/chat/completions"));
                prop_assert!(listed, "{:?}", path);
            }
        }
    }
}
