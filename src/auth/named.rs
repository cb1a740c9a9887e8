//! Whom a request names: the end user, the session that Anthropic's clients hide in one's id, and its tags. Pure. What LiteLLM would
//! read in a way of its own (numbers with fractions, lists, control characters) declines; it must never log an id.
use super::{
    Caller,
    tags::{self, Tags},
};
use crate::{
    json::{Kind, Object, Raw},
    routes::{Decline, Head},
};

/// Headers that name an end user without any configuration, the first before the second (constants.py
/// `STANDARD_CUSTOMER_ID_HEADERS`).
pub const CUSTOMER_HEADERS: [&str; 2] = ["x-litellm-customer-id", "x-litellm-end-user-id"];

/// Headers that name whoever pays, or is billed: LiteLLM acts upon no other of its own that is served.
pub const HEADERS: [&str; 3] = [CUSTOMER_HEADERS[0], CUSTOMER_HEADERS[1], tags::HEADER];

/// Fields by which a body names somebody or something.
pub const FIELDS: [&str; 4] = ["user", "metadata", "safety_identifier", "tags"];

/// Longest id that is served: beyond some 2,700 bytes Postgres' indexes refuse a row, and its whole flush with it.
const MAX_ID: usize = 1024;

/// Whom a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub end_user: Option<String>,
    /// `..._session_<id>` of `metadata.user_id` (litellm_pre_call_utils.py `_get_anthropic_session_id_from_metadata`)
    pub session: Option<String>,
    /// with those of the caller's key
    pub tags: Tags,
}

/// Reads head and body as auth_utils.py `get_end_user_id_from_request_body` does. `litellm_metadata`, which it reads too,
/// declines elsewhere.
pub fn named(head: &Head, caller: &Caller, body: &Object<'_>) -> Result<Named, Decline> {
    let metadata = match body.some("metadata") {
        None => None,
        Some(raw) => Some(raw.object().ok_or(Decline::FieldType)?),
    };
    let tags = tags::tags(head, caller, body, metadata.as_ref())?;
    let of_metadata = metadata.as_ref().and_then(|metadata| metadata.some("user_id"));
    let session = of_metadata.and_then(Raw::as_str).and_then(|id| session(&id));
    let sources = [body.some("user"), of_metadata, body.some("safety_identifier")];
    let of_header = CUSTOMER_HEADERS.iter().filter(|name| head.headers.contains_key(**name));
    for name in of_header {
        if let Some(id) = usable(head.header(name).ok_or(Decline::ControlHeader)?)? {
            return Ok(Named { end_user: Some(id), session, tags });
        }
    }
    for raw in sources.into_iter().flatten() {
        if let Some(id) = text(raw)? {
            return Ok(Named { end_user: Some(id), session, tags });
        }
    }
    Ok(Named { end_user: None, session, tags })
}

/// Whether anything in the request may name somebody or something.
pub fn names_somebody(head: &Head, body: &Object<'_>) -> bool {
    FIELDS.iter().any(|name| body.some(name).is_some()) || HEADERS.iter().any(|name| head.headers.contains_key(*name))
}

/// Python's text of a value that LiteLLM takes for an id: a text, or a whole number.
fn text(raw: Raw<'_>) -> Result<Option<String>, Decline> {
    match raw.kind() {
        Kind::String => usable(&raw.as_str().ok_or(Decline::FieldType)?),
        Kind::Number => raw.as_u64().map(|id| Some(id.to_string())).ok_or(Decline::FieldType),
        _ => Err(Decline::FieldType),
    }
}

/// `None`: LiteLLM looks for another one.
fn usable(id: &str) -> Result<Option<String>, Decline> {
    // Postgres has no text with a zero in it; of others Python's `strip` takes more than Rust's
    if id.chars().any(char::is_control) {
        return Err(Decline::Field);
    }
    match id.trim() {
        "" => Ok(None),
        id if id.len() > MAX_ID => Err(Decline::Field),
        id => Ok(Some(id.to_owned())),
    }
}

fn session(id: &str) -> Option<String> {
    let (_, session) = id.rsplit_once("_session_")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!session.is_empty() && session.bytes().all(plain)).then(|| session.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;

    fn of(headers: &[(&'static str, &'static str)], body: &str) -> Result<Named, Decline> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let head = Head { method: Method::POST, path: "/".into(), query: None, headers: map, client: None };
        named(&head, &Caller::Master, &Object::parse(body.as_bytes()).unwrap())
    }

    fn end_user(body: &str) -> Result<Option<String>, Decline> {
        of(&[], body).map(|named| named.end_user)
    }

    fn some(id: &str) -> Result<Option<String>, Decline> {
        Ok(Some(id.to_owned()))
    }

    #[test]
    fn the_first_that_says_something_is_the_end_user() {
        assert_eq!(end_user("{}"), Ok(None));
        assert_eq!(end_user(r#"{"user":" a ","metadata":{"user_id":"b"},"safety_identifier":"c"}"#), some("a"));
        assert_eq!(end_user(r#"{"user":" ","metadata":{"user_id":"b"},"safety_identifier":"c"}"#), some("b"));
        assert_eq!(end_user(r#"{"user":null,"metadata":{"user_id":null},"safety_identifier":"c"}"#), some("c"));
        assert_eq!(end_user(r#"{"user":7}"#), some("7"));
        assert_eq!(end_user(r#"{"metadata":{"user_id":"{\"device_id\":\"d\"}"}}"#), some(r#"{"device_id":"d"}"#));
    }

    #[test]
    fn headers_come_first() {
        let body = r#"{"user":"a"}"#;
        let named = |headers| of(headers, body).map(|named| named.end_user);
        assert_eq!(named(&[("x-litellm-end-user-id", "e"), ("x-litellm-customer-id", "c")]), some("c"));
        assert_eq!(named(&[("x-litellm-end-user-id", "e"), ("x-litellm-customer-id", " ")]), some("e"));
        assert_eq!(named(&[("x-litellm-end-user-id", "")]), some("a"));
        assert_eq!(
            named(&[("x-litellm-customer-id", "c"), ("x-litellm-customer-id", "d")]),
            Err(Decline::ControlHeader)
        );
    }

    #[test]
    fn what_only_python_can_read_declines() {
        for user in ["true", "[]", "{}", "1.5", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(end_user(&format!(r#"{{"user":{user}}}"#)), Err(Decline::FieldType), "{user}");
        }
        for metadata in ["\"{}\"", "[]", "1"] {
            assert_eq!(end_user(&format!(r#"{{"metadata":{metadata}}}"#)), Err(Decline::FieldType), "{metadata}");
        }
        for id in ["\\u0000", "a\\u001f", "\\u0085a", "a\\nb"] {
            assert_eq!(end_user(&format!(r#"{{"user":"{id}"}}"#)), Err(Decline::Field), "{id}");
        }
        let long = |length: usize| end_user(&format!(r#"{{"user":"{}"}}"#, "x".repeat(length)));
        assert_eq!(long(MAX_ID), some(&"x".repeat(MAX_ID)));
        assert_eq!(long(MAX_ID + 1), Err(Decline::Field));
    }

    #[test]
    fn a_session_stands_in_anthropics_user_id() {
        let session =
            |id: &str| of(&[], &format!(r#"{{"user":"u","metadata":{{"user_id":"{id}"}}}}"#)).unwrap().session;
        assert_eq!(session("user_a_account__session_0f-1_B").as_deref(), Some("0f-1_B"));
        assert_eq!(session("a_session_b_session_c").as_deref(), Some("c"));
        for none in ["u", "a_session_", "a_session_b c", "a_session_é"] {
            assert_eq!(session(none), None, "{none}");
        }
    }
}
