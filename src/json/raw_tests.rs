//! The scanner against serde_json and against what Python reads.
use proptest::prelude::*;

use super::*;
use crate::json::MAX_DEPTH;

#[test]
fn numbers_that_python_reads_as_others_are_no_request() {
    for good in ["1", "-0", "9223372036854775807", "-9223372036854775808", "18446744073709551615", "1E-1", "1e300"] {
        assert!(Object::parse_request(format!(r#"{{"a":[{good}]}}"#).as_bytes()).is_ok(), "{good}");
    }
    for bad in ["18446744073709551616", "-9223372036854775809", "12345678901234567890123", "1e400", "-1.5e999"] {
        let text = format!(r#"{{"a":{{"b":[{bad}]}}}}"#);
        assert_eq!(Object::parse_request(text.as_bytes()).err(), Some(NotJson), "{bad}");
        assert!(Object::parse(text.as_bytes()).is_ok(), "answers may hold {bad}");
    }
}

#[test]
fn members_are_slices_in_order() {
    let object = Object::parse(br#" {"model" : "a\u0041", "n":1.5e3,"x":{"y":[1,{}]},"z":null} "#).unwrap();
    let members: Vec<_> = object.iter().map(|(k, v)| (k, v.text())).collect();
    assert_eq!(members, [("model", r#""a\u0041""#), ("n", "1.5e3"), ("x", r#"{"y":[1,{}]}"#), ("z", "null")]);
    assert_eq!(object.get("model").unwrap().as_str().unwrap(), "aA");
    assert!(object.some("z").is_none());
    assert!(!object.has_duplicates());
}

#[test]
fn refuses_what_the_sides_read_differently() {
    for bad in [
        "",
        "{",
        "{}x",
        "NaN",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "+1",
        "\"\t\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\x\"",
        "'a'",
        "{a:1}",
        "tru",
        "-",
        "1e",
        "\u{feff}{}",
        "[1 2]",
        "\"abc",
    ] {
        assert!(Raw::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Raw::parse(b"\"\xff\"").is_err());
    let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
    assert!(Raw::parse(deep.as_bytes()).is_err());
    let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert!(Raw::parse(deep.as_bytes()).is_ok());
}

#[test]
fn elements_come_with_their_members() {
    let text = br#"[ {"a" : [1, {"b":2}]} , 5,{},"x" ]"#;
    let array = Raw::parse(text).unwrap();
    let both = array.array_of_objects().unwrap();
    let plain: Vec<Raw<'_>> = both.iter().map(|(element, _)| *element).collect();
    assert_eq!(plain, array.array().unwrap());
    for (element, object) in both {
        let members = |object: &Object<'_>| format!("{object:?}");
        assert_eq!(object.as_ref().map(members), element.object().as_ref().map(members));
    }
    assert!(Raw::parse(b"{}").unwrap().array_of_objects().is_none());
    assert!(Object::parse(b"[1]").is_err() && Object::parse(b"{} x").is_err());
}

#[test]
fn duplicates_are_seen() {
    let object = Object::parse(br#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
    assert!(object.has_duplicates());
    assert_eq!(object.get("a").unwrap().text(), "3");
}

proptest! {
    /// Whatever serde_json accepts within our bounds we accept with the same strings, and nothing it refuses.
    #[test]
    fn agrees_with_serde_json(text in r#"[\[\]{}",:0-9eE+\-. a-z\\u"é\x01\n]{0,40}"#) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = Raw::parse(text.as_bytes());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok() || is_float_overflow(&text, &theirs), "{}", text);
    }

    #[test]
    fn strings_end_at_their_own_quote(contents in prop::collection::vec(r#"[\\"a\n]{0,20}"#, 0..6)) {
        let text = serde_json::to_string(&contents).unwrap();
        let elements = Raw::parse(text.as_bytes()).unwrap().array().unwrap();
        let read: Vec<_> = elements.into_iter().map(|element| element.as_str().unwrap().into_owned()).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn strings_of_any_content(content in ".{0,60}") {
        let text = serde_json::to_string(&content).unwrap();
        let raw = Raw::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(raw.as_str().unwrap(), content);
    }
}

/// serde_json refuses numbers that overflow f64; they are JSON all the same.
fn is_float_overflow(_: &str, theirs: &Result<serde_json::Value, serde_json::Error>) -> bool {
    theirs.as_ref().is_err_and(|error| error.to_string().contains("number out of range"))
}
