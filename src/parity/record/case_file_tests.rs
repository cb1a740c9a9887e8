use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::parity::case::{Case, Expect, Key, Then};

fn headers(list: &[(&str, &str)]) -> Headers {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn part(text: impl AsRef<[u8]>) -> Part {
    Part { bytes: text.as_ref().to_vec(), over: false }
}

fn exchange(answer: &str) -> Exchange {
    Exchange {
        headers: headers(&[("authorization", "Bearer provider-key-1"), ("content-type", "application/json")]),
        body: part(r#"{"model":"gpt-4o"}"#),
        status: Some(200),
        answer_headers: headers(&[
            ("date", "Sun, 22 Nov 2026 01:00:00 GMT"),
            ("content-type", "application/json"),
            ("content-length", "99"),
            ("x-request-id", "req_1"),
            ("set-cookie", "a=b"),
        ]),
        answer: part(answer),
        end: Some(End::Complete),
    }
}

fn taken() -> Taken {
    Taken {
        route: "chat_completions".into(),
        at: SystemTime::UNIX_EPOCH,
        method: "POST".into(),
        target: "/v1/chat/completions".into(),
        headers: headers(&[
            ("host", "gateway.corp"),
            ("authorization", "Bearer master-key"),
            ("content-type", "application/json"),
            ("user-agent", "openai-python"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-stainless-lang", "python"),
        ]),
        body: part(r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}]}"#),
        status: 200,
        answer_headers: headers(&[("content-type", "application/json"), ("x-litellm-model-id", "x")]),
        answer: part(r#"{"id":"chatcmpl-1","text":"yes"}"#),
        exchanges: vec![exchange(r#"{"id":"chatcmpl-1","text":"yes"}"#)],
        unsure: false,
        edge_calls: false,
        spoiled: false,
    }
}

fn text_of(taken: &Taken, served: Served, rules: &Rules) -> Result<String, Skip> {
    let gateway =
        Gateway { rules, master_key: Some(Secret::new("master-key")), secrets: vec![Secret::new("provider-key-1")] };
    render(taken, served, &gateway, "rec-1")
}

fn case_of(taken: &Taken, served: Served) -> Case {
    let text = text_of(taken, served, &Rules::default()).unwrap();
    case::parse(std::path::Path::new("chat_completions/rec-1.yaml"), &text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_request_becomes_a_case() {
    let case = case_of(&taken(), Served::Native);
    assert_eq!((case.expect, case.requests[0].key.0.clone()), (Expect::Native, Key::Master));
    let names: Vec<&str> = case.requests[0].headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["accept", "user-agent", "x-stainless-lang"], "the rest is left out");
    assert_eq!(case.requests[0].json.as_ref().unwrap()["messages"][0]["content"], "hi");
    let answer = &case.answers[0];
    assert_eq!(answer.headers.keys().collect::<Vec<_>>(), ["content-type", "x-request-id"]);
    assert_eq!((answer.status, answer.then, answer.chunked), (Some(200), Then::End, false));
    assert_eq!(case.recorded.unwrap().answers[0].json.as_ref().unwrap()["text"], "yes");
    assert!(!case.text.contains("recorded:"), "what was recorded is not the case's own: {}", case.text);
    let declined = case_of(&taken(), Served::Python(Some("virtual_key")));
    assert_eq!(declined.expect, Expect::Declined("virtual_key".into()));
}

#[test]
fn another_callers_key_is_named_not_written() {
    let mut taken = taken();
    taken.headers[1] = ("x-api-key".into(), b"somebody-else".to_vec());
    let request = case_of(&taken, Served::Python(None)).requests.remove(0);
    assert_eq!(request.key.0, Key::Env(CALLER_KEY.into()));
    assert_eq!(request.key_header.as_deref(), Some("x-api-key"));
    taken.headers[1] = ("authorization".into(), b"Basic abc".to_vec());
    assert_eq!(text_of(&taken, Served::Native, &Rules::default()), Err(Skip::Caller));
    taken.headers.remove(1);
    taken.target = "/v1beta/models/m:generateContent?alt=sse&key=somebody-else".into();
    assert_eq!(text_of(&taken, Served::Native, &Rules::default()), Err(Skip::Caller));
}

#[test]
fn a_form_is_read_as_one() {
    let mut taken = taken();
    taken.headers[2].1 = b"application/x-www-form-urlencoded".to_vec();
    taken.body = part("model=m&client_secret=abc&note=Bearer%20abcdefghijklmnop");
    let request = case_of(&taken, Served::Python(None)).requests.remove(0);
    assert_eq!(request.body.as_deref(), Some("model=m&REDACTED&note=redacted"));
}

#[test]
fn no_answer_ends_as_the_gateway_saw_it() {
    let ends = |end: End, served: Served| {
        let mut taken = taken();
        (taken.exchanges[0].status, taken.exchanges[0].end) = (None, Some(end));
        taken.exchanges[0].answer_headers.clear();
        taken.exchanges[0].answer = Part::default();
        case_of(&taken, served).answers[0].then
    };
    assert_eq!(ends(End::Reset, Served::Native), Then::Reset);
    assert_eq!(ends(End::Cut, Served::Native), Then::Refuse);
    assert_eq!(ends(End::Timeout, Served::Native), Then::Hang);
    assert_eq!(ends(End::Reset, Served::Python(None)), Then::Refuse, "the forwarder closes");
}

#[test]
fn what_has_no_name_is_pass_through() {
    for route in ["other", "unlisted", "", "a/b", ".."] {
        assert_eq!(folder(route), "pass_through", "{route}");
    }
    assert_eq!(folder("chat_completions"), "chat_completions");
}

#[test]
fn streams_become_frames_and_cuts_are_kept() {
    let mut taken = taken();
    let stream = "data: {\"a\": 1}\n\ndata: [DONE]\n\n";
    let kind = headers(&[("content-type", "text/event-stream; charset=utf-8")]);
    taken.exchanges[0].answer_headers = kind.clone();
    taken.exchanges[0].answer = part(stream);
    taken.exchanges[0].end = Some(End::Cut);
    (taken.answer_headers, taken.answer) = (kind, part(stream));
    let case = case_of(&taken, Served::Native);
    assert_eq!(case.answers[0].sse.as_ref().unwrap(), &["data: {\"a\": 1}", "data: [DONE]"]);
    assert_eq!(case.answers[0].then, Then::Cut);
    assert_eq!(case.recorded.unwrap().answers[0].sse.as_ref().unwrap().len(), 2);
}

#[test]
fn what_a_tree_cannot_hold_stays_text_and_what_is_no_text_base64() {
    let mut taken = taken();
    for (body, is_json) in [
        (r#"{"a":1,"a":2}"#, false),
        (r#"{"a":123456789012345678901234567890}"#, false),
        ("{\"a\" : 1.50}", false),
        (r#"{"a":1.5,"b":"\u00e9"}"#, true),
        ("{cut", false),
    ] {
        taken.body = part(body);
        let request = case_of(&taken, Served::Native).requests.remove(0);
        assert_eq!(request.json.is_some(), is_json, "{body}");
        assert_eq!(request.body.as_deref().unwrap_or(body), body);
    }
    taken.body = part([0xff, 0x00, 0x01]);
    let request = case_of(&taken, Served::Native).requests.remove(0);
    assert_eq!(case::base64(&request.body_base64.unwrap()).unwrap(), [0xff, 0x00, 0x01]);
}

#[test]
fn an_error_of_the_provider_keeps_its_white_space_unless_something_is_taken_out() {
    let mut taken = taken();
    taken.exchanges[0].status = Some(529);
    let told = |taken: &Taken, text: &str| {
        let mut taken = taken.clone();
        taken.exchanges[0].answer = part(text);
        case_of(&taken, Served::Native).answers.remove(0)
    };
    let spaced = r#"{"error": {"message": "Overloaded"}}"#;
    assert_eq!(told(&taken, spaced).body.as_deref(), Some(spaced));
    assert!(told(&taken, r#"{"error":{"message":"Overloaded"}}"#).json.is_some());
    let secret = told(&taken, r#"{"error": {"message": "Overloaded", "credentials": {"id": 7}}}"#);
    assert_eq!(secret.json.unwrap()["error"]["credentials"]["id"], 0);
    taken.exchanges[0].status = Some(200);
    assert!(told(&taken, spaced).json.is_some());
}

#[test]
fn digits_that_a_tree_loses_keep_nothing_that_is_taken_out() {
    let mut taken = taken();
    taken.body = part(r#"{"temperature": 1.50, "password": {"of": "Ann"}}"#);
    let text = text_of(&taken, Served::Native, &Rules::default()).unwrap();
    assert!(!text.contains("Ann"), "{text}");
}

#[test]
fn what_could_not_be_played_back_is_not_written() {
    let skip = |change: fn(&mut Taken)| {
        let mut taken = taken();
        change(&mut taken);
        text_of(&taken, Served::Python(None), &Rules::default()).unwrap_err()
    };
    assert_eq!(skip(|taken| taken.answer.over = true), Skip::TooLarge);
    assert_eq!(skip(|taken| taken.exchanges[0].answer.over = true), Skip::TooLarge);
    assert_eq!(skip(|taken| taken.spoiled = true), Skip::Ambiguous);
    assert_eq!(skip(|taken| taken.unsure = true), Skip::Ambiguous);
    assert_eq!(
        skip(|taken| taken.exchanges[0].answer_headers.push(("content-encoding".into(), b"br".to_vec()))),
        Skip::Encoded
    );
    assert_eq!(
        skip(|taken| {
            taken.exchanges.clear();
            taken.answer_headers.push(("llm_provider-x".into(), Vec::new()));
        }),
        Skip::NoProvider
    );
    assert_eq!(
        skip(|taken| (taken.exchanges[0].status, taken.exchanges[0].end) = (None, Some(End::Connect))),
        Skip::Unreachable
    );
}

#[test]
fn an_unsure_call_counts_where_its_answer_is_seen_again() {
    let mut taken = taken();
    taken.unsure = true;
    taken.exchanges[0].answer = part(r#"{"id":"chatcmpl-abcdefghijklmnop"}"#);
    taken.answer = part(r#"{"x":{"id":"chatcmpl-abcdefghijklmnop"}}"#);
    assert!(text_of(&taken, Served::Python(None), &Rules::default()).is_ok());
}

/// Puts the canary somewhere.
fn plant(taken: &mut Taken, place: usize, canary: &str) {
    let json = Value::from(format!("x {canary} y")).to_string();
    let stream = format!("event: a\ndata: {{\"delta\": {json}}}\n\ndata: {canary}\n\n");
    let kind = headers(&[("content-type", "text/event-stream")]);
    let exchange = &mut taken.exchanges[0];
    match place {
        0 => taken.headers.push(("x-whatever".into(), canary.into())),
        1 => taken.headers.push(("user-agent".into(), canary.into())),
        2 => taken.headers.push(("x-litellm-tags".into(), canary.into())),
        3 => {
            taken.target = format!("/v1/chat/completions?a=b&x={}", canary.replace(['&', '#'], "").replace(' ', "%20"))
        }
        4 => taken.body = part(format!("{{\"messages\": [{{\"content\": {json}, {json}: 1}}]}}")),
        5 => taken.body = part(format!("not json: {canary}")),
        6 => taken.body = part([b"\xff\xfe".as_slice(), canary.as_bytes()].concat()),
        7 => exchange.headers.push(("x-provider-thing".into(), canary.into())),
        8 => exchange.body = part(format!("{{\"a\": {json}}}")),
        9 => exchange.answer_headers.push(("x-answer".into(), canary.into())),
        10 => exchange.answer = part(format!("{{\"error\": {{\"message\": {json}}}}}")),
        11 => (exchange.answer_headers, exchange.answer) = (kind, part(stream)),
        12 => taken.answer_headers[0].1 = format!("text/plain; {canary}").into_bytes(),
        13 => taken.answer = part(format!("[{json}]")),
        14 => (taken.answer_headers, taken.answer) = (kind, part(stream)),
        _ => (exchange.answer_headers, exchange.answer) = (kind, part(format!("data: {{\"cut\": {json}"))),
    }
}

/// Bodies that stand in base64 are looked into, too.
fn shows(text: &str, canary: &str) -> bool {
    let hidden = text.lines().filter_map(|line| case::base64(line.split_once("body_base64: ")?.1));
    text.contains(canary)
        || hidden.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains(canary))
        || serde_yaml::from_str::<Value>(text).is_ok_and(|tree| tree.to_string().contains(canary))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A key by its looks, wherever it stands, never reaches a file.
    #[test]
    fn what_looks_like_a_key_is_never_written(place in 0usize..16, tail in "[A-Za-z0-9]{24}", kind in 0usize..4) {
        let canary = ["sk-", "AKIA", "Bearer ", "sk-ant-api03-"][kind].to_owned()
            + &if kind == 1 { tail[..16].to_ascii_uppercase() } else { tail };
        let mut taken = taken();
        plant(&mut taken, place, &canary);
        if let Ok(text) = text_of(&taken, Served::Native, &Rules::default()) {
            let shown = shows(&text, canary.trim_start_matches("Bearer "));
            prop_assert!(!shown, "{}: {}", place, text);
        }
    }

    /// A key the gateway knows or the caller sent, whatever it looks like; and what an operator's pattern names.
    #[test]
    fn what_is_known_to_be_secret_is_never_written(place in 0usize..16, secret in "[!-~]{8,40}", how in 0usize..4) {
        prop_assume!(!"redacted chat_completions application/json openai-python".contains(&secret));
        let mut taken = taken();
        let mut rules = Rules::default();
        let mut secrets = vec![Secret::new("provider-key-1")];
        match how {
            0 => secrets.push(Secret::new(&secret)),
            1 => taken.headers[1].1 = format!("Bearer {secret}").into_bytes(),
            2 => taken.exchanges[0].headers.push(("x-api-key".into(), secret.clone().into_bytes())),
            _ => rules.patterns.push(regex::Regex::new(&regex::escape(&secret)).unwrap()),
        }
        plant(&mut taken, place, &secret);
        let gateway = Gateway { rules: &rules, master_key: Some(Secret::new("master-key")), secrets };
        if let Ok(text) = render(&taken, Served::Native, &gateway, "rec-1") {
            let shown = shows(&text, &secret);
            prop_assert!(!shown, "{}: {}", place, text);
        }
    }
}
