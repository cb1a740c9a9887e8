//! What is refused before anything is matched: requests whose target, Host or framing two readers could understand
//! differently. Pingora has refused the grossest already (with an empty 400). Pure.
use std::borrow::Cow;

use http::{HeaderMap, Method, Version, header};

/// The request target, split once: the same bytes are matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) query: Option<&'a str>,
    /// origin-form and UTF-8: may be matched against native routes
    pub(super) matchable: bool,
}

/// Splits the raw target. Absolute-form, `*` and non-UTF-8 are never matched; Python sees them as they came.
pub(super) fn target(raw: &[u8]) -> Target<'_> {
    match std::str::from_utf8(raw) {
        Ok(text) => {
            let (path, query) = match text.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (text, None),
            };
            Target { path: Cow::Borrowed(path), query, matchable: path.starts_with('/') }
        }
        Err(_) => Target { path: String::from_utf8_lossy(raw), query: None, matchable: false },
    }
}

/// `raw_head`: the head as it came, where there is one (HTTP/1).
pub(super) fn check(
    version: Version,
    method: &Method,
    headers: &HeaderMap,
    raw_head: impl FnOnce() -> Option<bytes::Bytes>,
) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => return Err("no Host header"),
        (None, _) => {}
        (Some(_), Some(_)) => return Err("more than one Host header"),
        (Some(host), None) if !valid_host(host.as_bytes()) => return Err("invalid Host header"),
        (Some(_), None) => {}
    }
    if method == Method::CONNECT {
        return Err("CONNECT is not served");
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        if lengths.next().is_some() {
            return Err("more than one Content-Length header");
        }
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err("invalid Content-Length header");
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding other than chunked");
        }
        // Pingora drops Content-Length where both are there, so only the raw head shows it
        if raw_head().is_some_and(|head| has_header_line(&head, b"content-length")) {
            return Err("both Content-Length and Transfer-Encoding");
        }
    }
    Ok(())
}

/// RFC 9110 `Host = uri-host [ ":" port ]`, without userinfo; an empty host is allowed by the grammar.
fn valid_host(host: &[u8]) -> bool {
    let (name, port) = if host.first() == Some(&b'[') {
        let Some(end) = host.iter().position(|byte| *byte == b']') else { return false };
        let (Some(inside), Some(rest)) = (host.get(1..end), host.get(end + 1..)) else { return false };
        if inside.is_empty() || !inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return false;
        }
        match rest.split_first() {
            None => return true,
            Some((b':', port)) => (&b""[..], Some(port)),
            Some(_) => return false,
        }
    } else {
        match host.iter().position(|byte| *byte == b':') {
            Some(colon) => (host.get(..colon).unwrap_or_default(), host.get(colon + 1..)),
            None => (host, None),
        }
    };
    let port_ok = port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    port_ok && reg_name(name)
}

fn reg_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        let ok = match byte {
            b'%' => bytes.next().is_some_and(u8::is_ascii_hexdigit) && bytes.next().is_some_and(u8::is_ascii_hexdigit),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !ok {
            return false;
        }
    }
    true
}

fn has_header_line(head: &[u8], name: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').skip(1).any(|line| {
        line.split(|byte| *byte == b':').next().is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn verdict(lines: &[(&str, &str)], raw: &'static str) -> Result<(), &'static str> {
        check(Version::HTTP_11, &Method::POST, &headers(lines), || Some(Bytes::from_static(raw.as_bytes())))
    }

    #[test]
    fn hosts() {
        for good in ["a", "a.b-c_d", "127.0.0.1:4000", "[::1]:4000", "[::1]", "", "a:", "x%20y", "a,b"] {
            assert!(valid_host(good.as_bytes()), "{good}");
        }
        for bad in
            ["a b", "user@a", "a/b", "a:80:90", "a:8x", "a:123456", "[::1", "[]", "[::1]x", "[::g]", "a%2", "a\\b", "ä"]
        {
            assert!(!valid_host(bad.as_bytes()), "{bad}");
        }
        assert_eq!(verdict(&[], ""), Err("no Host header"));
        assert_eq!(verdict(&[("host", "a"), ("host", "a")], ""), Err("more than one Host header"));
        assert_eq!(check(Version::HTTP_10, &Method::GET, &headers(&[]), || None), Ok(()));
    }

    #[test]
    fn framing() {
        let host = ("host", "a");
        assert_eq!(verdict(&[host, ("content-length", "12")], ""), Ok(()));
        for bad in ["", "+1", "1, 1", "0x1", "1234567890123456789"] {
            assert!(verdict(&[host, ("content-length", bad)], "").is_err(), "{bad}");
        }
        assert!(verdict(&[host, ("content-length", "1"), ("content-length", "1")], "").is_err());
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(
            verdict(&[host, chunked], "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n"),
            Ok(())
        );
        assert!(
            verdict(&[host, chunked], "POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n")
                .is_err()
        );
        assert!(verdict(&[host, ("transfer-encoding", "gzip, chunked")], "").is_err());
        assert!(verdict(&[host, chunked, chunked], "").is_err());
    }

    #[test]
    fn targets() {
        let split = target(b"/v1/models?a=b?c");
        assert_eq!((split.path.as_ref(), split.query, split.matchable), ("/v1/models", Some("a=b?c"), true));
        assert_eq!(target(b"/v1/models?").query, Some(""));
        assert!(!target(b"http://host/v1/models").matchable);
        assert!(!target(b"*").matchable);
        assert!(!target(b"/v1/\xff").matchable);
    }
}
