//! What is refused before anything is matched: requests whose target, Host or framing two readers could understand
//! differently. Pingora has refused the grossest already (with an empty 400). Pure.
use std::borrow::Cow;

use http::{HeaderMap, Method, Version, header};

/// The request target, split once: the same bytes are matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) path: Cow<'a, str>,
    pub(crate) query: Option<&'a str>,
    /// origin-form and UTF-8: may be matched against native routes
    pub(crate) matchable: bool,
}

/// Splits the raw target. Absolute-form, `*` and non-UTF-8 are never matched; Python sees them as they came.
pub(crate) fn target(raw: &[u8]) -> Target<'_> {
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

/// `raw_head`: the head as it came, where there is one (HTTP/1). `target`: its target, or the `:path`; `authority`: that
/// of the target, or `:authority`.
pub(crate) fn check(
    version: Version,
    method: &Method,
    target: &[u8],
    authority: Option<&str>,
    headers: &HeaderMap,
    raw_head: impl FnOnce() -> Option<bytes::Bytes>,
) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    match host {
        None if version == Version::HTTP_11 => return Err("no Host header"),
        None => {}
        Some(_) if hosts.next().is_some() => return Err("more than one Host header"),
        Some(host) if !valid_host(host) => return Err("invalid Host header"),
        Some(_) => {}
    }
    if authority.is_some_and(|authority| !valid_host(authority.as_bytes())) {
        return Err("invalid authority");
    }
    if method == Method::CONNECT {
        return Err("CONNECT is not served");
    }
    if !valid_target(method, target, host) {
        return Err("invalid request target");
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
    let raw_head = raw_head();
    if let Some(head) = &raw_head {
        strict_lines(head)?;
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding other than chunked");
        }
        // Pingora drops Content-Length where both are there, so only the raw head shows it
        if raw_head.is_some_and(|head| has_header_line(&head, b"content-length")) {
            return Err("both Content-Length and Transfer-Encoding");
        }
    }
    let mut tokens =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|at| *at == b','));
    if tokens.by_ref().enumerate().any(|(at, token)| at >= MAX_TOKENS || end_to_end(token.trim_ascii())) {
        return Err("Connection is malformed or names a header that is not the connection's");
    }
    Ok(())
}

/// Tokens in `Connection`; Pingora's own limit on the way to Python.
const MAX_TOKENS: usize = 9;

/// Whether a `Connection` token is none, or names a header that Python or the edge decides by. Dropping it on the way would make one
/// request for the edge and another for Python.
fn end_to_end(token: &[u8]) -> bool {
    const NAMES: [&[u8]; 11] = [
        b"host",
        b"authorization",
        b"cookie",
        b"origin",
        b"expect",
        b"transfer-encoding",
        b"forwarded",
        b"x-real-ip",
        b"user-agent",
        b"accept",
        b"traceparent",
    ];
    const STARTS: [&[u8]; 6] = [b"content-", b"x-litellm-", b"x-forwarded-", b"anthropic-", b"openai-", b"x-pass-"];
    const END: &[u8] = b"api-key";
    let is = |found: Option<&[u8]>, wanted: &[u8]| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    NAMES.iter().any(|name| token.eq_ignore_ascii_case(name))
        || STARTS.iter().any(|start| is(token.get(..start.len()), start))
        || !(token.is_empty() || http::HeaderName::from_bytes(token).is_ok())
        || is(token.len().checked_sub(END.len()).and_then(|at| token.get(at..)), END)
}

/// Origin-form; `*` for OPTIONS; absolute-form of HTTP that says the same host as `Host`.
fn valid_target(method: &Method, target: &[u8], host: Option<&[u8]>) -> bool {
    if target.first() == Some(&b'/') {
        return true;
    }
    if target == b"*" {
        return method == Method::OPTIONS;
    }
    let after = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)).then_some(scheme.len())
    });
    let Some(rest) = after.and_then(|after| target.get(after..)) else { return false };
    let Some(slash) = rest.iter().position(|byte| *byte == b'/') else { return false };
    rest.get(..slash) == host
}

/// The parser takes a lone LF for a line's end and skips a fragment. Another reader might not.
fn strict_lines(head: &[u8]) -> Result<(), &'static str> {
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', head) {
        let line = head.get(from..at).unwrap_or_default();
        if line.last() != Some(&b'\r') {
            return Err("a line that ends without CR");
        }
        if from == 0 && memchr::memchr(b'#', line).is_some() {
            return Err("a fragment in the request target");
        }
        from = at + 1;
    }
    Ok(())
}

/// A host as clients of a gateway write it: a name (letters, digits, `-._`), an IPv4 or a bracketed IPv6 address, and a
/// port. RFC 9110 allows more (nothing at all, `%2f`, `a,b;c`, an empty port): whoever puts a URL together with it, as
/// LiteLLM did, may read it otherwise.
fn valid_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name_ok, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((inside, port)) = rest.split_once(']') else { return false };
        (inside.parse::<std::net::Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!name.is_empty() && name.len() <= 255 && name.bytes().all(plain), port)
    };
    let port_ok = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        });
    name_ok && port_ok
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
        check(Version::HTTP_11, &Method::POST, b"/x", None, &headers(lines), || {
            Some(Bytes::from_static(raw.as_bytes()))
        })
    }

    #[test]
    fn hosts() {
        for good in ["a", "a.b-c_d", "127.0.0.1:4000", "[::1]:4000", "[::1]", "a.", "a:65535"] {
            assert!(valid_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "x%20y", "a,b", "a:65536", "a:+1", "[::1%1]", "[:::]", "x/?", "a#b", "a b", "user@a",
            "a/b", "a:80:90", "a:8x", "a:123456", "[::1", "[]", "[::1]x", "[::g]", "a%2", "a\\b", "ä",
        ] {
            assert!(!valid_host(bad.as_bytes()), "{bad}");
        }
        assert_eq!(verdict(&[], ""), Err("no Host header"));
        assert_eq!(verdict(&[("host", "a"), ("host", "a")], ""), Err("more than one Host header"));
        assert_eq!(check(Version::HTTP_10, &Method::GET, b"/x", None, &headers(&[]), || None), Ok(()));
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
    fn connection_tokens() {
        let host = ("host", "a");
        for good in ["close", "keep-alive, Upgrade", "TE", "x-mine", ""] {
            assert_eq!(verdict(&[host, ("connection", good)], ""), Ok(()), "{good}");
        }
        for bad in
            ["Authorization", "close, X-LiteLLM-Tags", "x-api-key", "X-Goog-Api-Key", "host", "content-length", "a b"]
        {
            assert!(verdict(&[host, ("connection", bad)], "").is_err(), "{bad}");
        }
        assert!(verdict(&[host, ("connection", &"a,".repeat(10))], "").is_err());
    }

    #[test]
    fn forms_of_a_target() {
        let verdict = |method: Method, target: &str| valid_target(&method, target.as_bytes(), Some(b"a:1"));
        assert!(verdict(Method::GET, "/x") && verdict(Method::OPTIONS, "*") && verdict(Method::GET, "HTTP://a:1/x"));
        for bad in
            ["*", "x", "a:1", "", "?x", "http://a/x", "http://a:1", "http://a:1?/x", "http:/a:1/x", "ftp://a:1/x"]
        {
            assert!(!verdict(Method::GET, bad), "{bad}");
        }
    }

    #[test]
    fn lines_end_with_crlf() {
        assert_eq!(strict_lines(b"GET / HTTP/1.1\r\na: b\r\n\r\n"), Ok(()));
        for bad in [
            "GET / HTTP/1.1\na: b\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\n\r\n",
            "GET / HTTP/1.1\r\n\n",
            "GET /#a HTTP/1.1\r\n\r\n",
        ] {
            assert!(strict_lines(bad.as_bytes()).is_err(), "{bad}");
        }
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
