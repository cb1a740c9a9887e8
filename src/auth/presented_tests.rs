//! Each row is what LiteLLM 1.106.2 was seen to do with the headers, or its `get_bearer_token` read.
use http::{HeaderMap, HeaderValue, Method};

use super::*;

fn head(headers: &[(&'static str, &[u8])]) -> Head {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    Head { method: Method::POST, path: "/v1/messages".into(), query: None, headers: map, client: None }
}

fn of(headers: &[(&'static str, &[u8])]) -> Presented {
    presented(&head(headers), &Secret::new("sk-master"))
}

fn candidate(key: &str) -> Presented {
    Presented::Candidate { hash: KeyHash::of(key), shown: abbreviated(key) }
}

#[test]
fn schemes_are_taken_off_as_litellm_does() {
    for (value, key) in [
        ("Bearer sk-1", "sk-1"),
        ("Basic sk-1", "sk-1"),
        ("bearer sk-1", "sk-1"),
        // wherever it stands
        ("Bearer sk-Bearer 1", "sk-1"),
        ("Bearer sk-bearer 1", "sk-bearer 1"),
        ("AWS4-HMAC-SHA256 Credential=Bearer sk-1/20260101/us-east-1/x", "sk-1"),
        ("AWS4-HMAC-SHA256 Credential=Bearer   sk-1, SignedHeaders=x", "sk-1"),
        ("AWS4-HMAC-SHA256 Credential=sk-1/2026", "sk-1"),
        ("AWS4-HMAC-SHA256 Credential=/x Credential=sk-2", "sk-2"),
    ] {
        assert_eq!(of(&[("authorization", value.as_bytes())]), candidate(key), "{value}");
    }
    for value in ["BEARER sk-1", "sk-1", "Bearer", "Token sk-1", "Bearer Bearer ", "AWS4-HMAC-SHA256 x"] {
        assert_eq!(of(&[("authorization", value.as_bytes())]), Presented::Malformed, "{value}");
    }
    // the header of LiteLLM's own takes the key as it is, too
    assert_eq!(of(&[("x-litellm-api-key", b"sk-1")]), candidate("sk-1"));
    assert_eq!(of(&[("x-litellm-api-key", b"Basic sk-1")]), candidate("sk-1"));
    assert_eq!(of(&[("x-litellm-api-key", b"Bearer Bearer ")]), Presented::Malformed);
}

#[test]
fn the_first_header_wins_and_an_empty_one_is_none() {
    assert_eq!(of(&[]), Presented::Missing);
    assert_eq!(of(&[("authorization", b""), ("x-api-key", b"")]), Presented::Missing);
    assert_eq!(of(&[("authorization", b""), ("x-api-key", b"sk-2")]), candidate("sk-2"));
    assert_eq!(of(&[("authorization", b"x"), ("x-api-key", b"sk-master")]), Presented::Malformed);
    assert_eq!(of(&[("x-litellm-api-key", b"sk-1"), ("authorization", b"Bearer sk-master")]), candidate("sk-1"));
    let order: [&'static str; 4] = ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];
    for from in 0..order.len() {
        let headers: Vec<(&'static str, &[u8])> = order[from..]
            .iter()
            .enumerate()
            .map(|(at, name)| (*name, if at == 0 { b"sk-1" } else { b"sk-2" } as &[u8]))
            .collect();
        assert_eq!(of(&headers), candidate("sk-1"), "{}", order[from]);
    }
    // of a header sent twice the first counts
    assert_eq!(of(&[("x-api-key", b"sk-1"), ("x-api-key", b"sk-master")]), candidate("sk-1"));
}

#[test]
fn the_master_key_is_ascii_and_whole() {
    assert_eq!(of(&[("authorization", b"Bearer sk-master")]), Presented::Master);
    assert_eq!(of(&[("authorization", b"Basic sk-master")]), Presented::Master);
    assert_eq!(
        of(&[("authorization", b"Bearer  sk-master")]),
        Presented::NotAKey { shown: " sk-****ster".into(), jwt: false, short: true }
    );
    // latin-1, then UTF-8 for the hash
    assert_eq!(of(&[("api-key", b"sk-\xe9")]), candidate("sk-\u{e9}"));
}

#[test]
fn no_more_is_shown_than_litellm_shows() {
    let shown = |key: &str| match of(&[("api-key", key.as_bytes())]) {
        Presented::NotAKey { shown, jwt, short } => (shown, jwt, short),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown("12345678"), ("****".into(), false, true));
    assert_eq!(shown("123456789"), ("1234****6789".into(), false, true));
    assert_eq!(shown("aaaa.bbbb.cccc"), ("aaaa****cccc".into(), true, true));
    assert!(!shown(&"x".repeat(48)).2);
    assert_eq!(abbreviated("sk-012345678901"), "sk-...");
    assert_eq!(abbreviated("sk-0123456789012"), "sk-...9012");
}
