use super::*;
use proptest::prelude::*;
use serde_json::json;

const UUID: &str = "069a5248-62b9-4efe-bb9a-076a897b6736";
const OTHER: &str = "169a5248-62b9-4efe-bb9a-076a897b6736";

fn context() -> Context {
    Context {
        window: (1_700_000_000, 1_700_000_010),
        case_text: "chatcmpl-mock1234567890".into(),
        addresses: vec!["127.0.0.1:4000".into()],
        renames: vec![("0a1b2c3d".into(), "<run>".into())],
    }
}

fn run(mut tree: Value) -> Value {
    normalise(&context(), &mut tree);
    tree
}

#[test]
fn ids_are_renamed_consistently_and_the_cases_own_are_kept() {
    let seen =
        run(json!({"a": [UUID, format!("id {UUID}, {OTHER}."), "chatcmpl-mock1234567890", "chatcmpl-abc1234567890"]}));
    assert_eq!(seen, json!({"a": ["<uuid#1>", "id <uuid#1>, <uuid#2>.", "chatcmpl-mock1234567890", "<chatcmpl#1>"]}));
    // words that only look like ids stay
    assert_eq!(run(json!({"a": "call_type msg_content resp_"})), json!({"a": "call_type msg_content resp_"}));
}

#[test]
fn a_limits_end_and_the_word_of_a_phase_are_taken_out() {
    let tree =
        |at: &str| json!({"response": [{"header": {"reset_at": [at]}, "text": format!("x. Limit resets at: {at}")}]});
    let now = run(tree("2023-11-14 22:14:25 UTC"));
    assert_eq!(now, tree("<now + 60 s>"));
    assert_eq!(run(tree("2023-11-14 23:14:25 UTC")), tree("2023-11-14 23:14:25 UTC"));
    assert_eq!(run(json!({"{team:t-0a1b2c3d}:tokens": "t-0a1b2c3d"})), json!({"{team:t-<run>}:tokens": "t-<run>"}));
}

#[test]
fn numbering_does_not_depend_on_the_order_of_keys() {
    let a = run(serde_json::from_str(&format!(r#"{{"x":"{UUID}","b":"{OTHER}"}}"#)).unwrap());
    let b = run(serde_json::from_str(&format!(r#"{{"b":"{OTHER}","x":"{UUID}"}}"#)).unwrap());
    assert_eq!(a["x"], b["x"]);
    assert_eq!(a["b"], b["b"]);
}

#[test]
fn only_clocks_in_the_window_are_now() {
    let tree =
        |created: i64, date: &str| json!({"response": [{"header": {"date": [date]}, "body": {"created": created}}]});
    let now = run(tree(1_700_000_005, "Tue, 14 Nov 2023 22:13:25 GMT"));
    assert_eq!(now, json!({"response": [{"header": {"date": ["<now>"]}, "body": {"created": "<now>"}}]}));
    let then = tree(1_700_003_600, "Tue, 14 Nov 2023 23:13:20 GMT");
    assert_eq!(run(then.clone()), then);
    assert_eq!(
        run(json!({"rows": {"t": [{"s": "2023-11-14T22:13:25.123"}]}})),
        json!({"rows": {"t": [{"s": "<now>"}]}})
    );
    assert_eq!(run(json!("2023-11-14 22:13:25+00:00")), json!("<now>"));
    assert_eq!(run(json!("2023-11-14 20:13:25")), json!("2023-11-14 20:13:25"));
}

#[test]
fn a_wrong_content_length_stays() {
    let tree = |header: &str| json!({"response": [{"header": {"content-length": [header]}, "length": 12}]});
    assert_eq!(run(tree("12"))["response"][0]["header"]["content-length"][0], "<length of the body>");
    assert_eq!(run(tree("13"))["response"][0]["header"]["content-length"][0], "13");
}

#[test]
fn durations_must_be_numbers() {
    let tree = |text: &str| json!({"response": [{"header": {"x-litellm-overhead-duration-ms": [text]}}]});
    assert_eq!(run(tree("1.5")), run(tree("99")));
    assert_ne!(run(tree("1.5")), run(tree("None")));
    assert_ne!(run(tree("1.5")), run(tree("-1")));
}

#[test]
fn measured_times_and_addresses() {
    assert_eq!(
        run(json!("timeout value=1.0, time taken=1.02 seconds at http://127.0.0.1:4000/x")),
        json!("timeout value=1.0, time taken=<s> seconds at http://<gateway>/x")
    );
}

#[test]
fn an_expired_keys_times_are_of_the_case() {
    let text = |time: &str| json!(format!("Key Expiry time {time} and current time x"));
    assert_eq!(run(text("2023-11-14 22:13:20.215000+00:00")), text("<now>"));
    for other in ["2023-11-14 23:13:20.215000+00:00", "2023-11-14 22:13:20.215000+01:00", "2023-11-14 22:13:20+00:00"] {
        assert_eq!(run(text(other)), text(other));
    }
}

#[test]
fn only_keep_alive_is_dropped_and_objects_have_no_place() {
    let tree = |value: &str| json!({"response": [{"header": {"connection": [value]}}]});
    assert_eq!(run(tree("keep-alive")), json!({"response": [{"header": {}}]}));
    assert_eq!(run(tree("close")), tree("close"));
    assert_eq!(run(json!("<a object at 0x7f7b9a9ccb00>, 0x12")), json!("<a object at 0x>, 0x12"));
}

#[test]
fn status_and_error_fields_pass_untouched() {
    let tree = json!({"response": [{"status": 429, "body": {"error": {"type": "throttling_error", "param": null, "code": "429"}}}]});
    assert_eq!(run(tree.clone()), tree);
}

fn arbitrary_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        Just(UUID.to_owned()),
        Just(format!("chatcmpl-{UUID}")),
        Just("msg_01AbCdEfGh1234567890, time taken=1.5 time taken=".to_owned()),
        Just("2023-11-14T22:13:25Z".to_owned()),
        Just("Tue, 14 Nov 2023 22:13:25 GMT".to_owned()),
        Just("127.0.0.1:4000127.0.0.1:4000".to_owned()),
        Just("12".to_owned()),
        Just("keep-alive".to_owned()),
        Just("x object at 0x12ab object at 0x".to_owned()),
        "\\PC{0,8}",
    ]
}

fn arbitrary_tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (1_699_999_990i64..1_700_000_020).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        arbitrary_text().prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "response",
        "header",
        "date",
        "content-length",
        "length",
        "x-litellm-edge",
        "created",
        "a",
        "rows",
        "x_ms",
        "connection",
        "connection",
        "x-a-duration-ms",
    ]);
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn twice_is_once(tree in arbitrary_tree()) {
        for (name, normaliser) in NORMALISERS {
            let mut once = tree.clone();
            normaliser(&context(), &mut once);
            let mut twice = once.clone();
            normaliser(&context(), &mut twice);
            prop_assert_eq!(&once, &twice, "{}", name);
        }
        let once = run(tree);
        prop_assert_eq!(run(once.clone()), once);
    }
}

#[test]
fn a_made_up_boundary_is_renamed_and_nothing_else() {
    let made_up = "8b2b30a3856746f40000b1e289017ad0";
    let message = |boundary: &str| {
        json!({"provider": [{"header": {"content-type": [format!("multipart/form-data; boundary={boundary}")]},
            "text": format!("--{boundary}\r\nname=a\r\n\r\nx\r\n--{boundary}--\r\n")}]})
    };
    let mut tree = message(made_up);
    boundaries(&Context::default(), &mut tree);
    assert_eq!(tree, message("<boundary>"));
    // the case's own stays
    let context = Context { case_text: made_up.to_owned(), ..Context::default() };
    let mut tree = message(made_up);
    boundaries(&context, &mut tree);
    assert_eq!(tree, message(made_up));
}

#[test]
fn a_key_of_a_handshake_is_one_only_if_it_is_well_formed() {
    let head = |key: &str| json!({"provider": [{"header": {"sec-websocket-key": [key], "x": [key]}}]});
    let mut tree = head("dGhlIHNhbXBsZSBub25jZQ==");
    websocket_keys(&Context::default(), &mut tree);
    let seen = &tree["provider"][0]["header"];
    assert_eq!((&seen["sec-websocket-key"][0], &seen["x"][0]), (&json!("<key>"), &json!("dGhlIHNhbXBsZSBub25jZQ==")));
    let mut tree = head("dGhlIHNhbXBsZQ==");
    websocket_keys(&Context::default(), &mut tree);
    assert_eq!(tree, head("dGhlIHNhbXBsZQ=="));
}
