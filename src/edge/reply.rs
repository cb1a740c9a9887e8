//! Writes answers the edge makes itself: native replies, `/edge/*`, and refusals. The only place where framing,
//! compression and LiteLLM's closing headers are added.
use std::io::Write;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::{Error, ErrorType, http::ResponseHeader, proxy::Session};

use super::head;
use crate::{
    error::{Dialect, Failure, anthropic_type},
    faults::fault,
    routes::{CallLog, HeaderList, Reply, ReplyBody},
    telemetry::access_log::Side,
};

/// LiteLLM compresses complete bodies from this size on (proxy/middleware/gzip_middleware.py `MINIMUM_SIZE_BYTES`).
const GZIP_FROM: usize = 500;
/// From here compressing is done beside the request path (LiteLLM: `OFF_LOOP_SIZE_BYTES`).
const GZIP_ASIDE: usize = 256 << 10;

/// LiteLLM's security headers (proxy/middleware/security_headers_middleware.py), on every answer.
const CLOSING: [(&str, &str); 3] = [
    ("x-frame-options", "DENY"),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
];

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// The answer's head in full; date and connection are Pingora's.
pub(super) fn head(
    status: StatusCode,
    mut headers: HeaderList,
    framing: Framing,
    vary: &'static str,
    gzip: bool,
    side: Side,
) -> pingora::Result<Box<ResponseHeader>> {
    match framing {
        Framing::Length(length) => headers.push_first("content-length", &length.to_string()),
        Framing::Chunked => headers.push_first("transfer-encoding", "chunked"),
    }
    if gzip {
        headers.push("content-encoding", "gzip");
    }
    headers.push("vary", vary);
    CLOSING.iter().for_each(|(name, value)| headers.push(name, value));
    headers.push(super::passthrough::EDGE_HEADER, side.as_str());
    head::head(status, headers)
}

/// Writes a complete answer.
pub(super) async fn full(
    session: &mut Session,
    status: StatusCode,
    headers: HeaderList,
    body: Bytes,
    side: Side,
) -> pingora::Result<()> {
    let as_it_is = |(name, value): (&str, &str)| match name {
        "content-encoding" | "etag" => true,
        "cache-control" => value.to_ascii_lowercase().contains("no-transform"),
        _ => false,
    };
    let negotiable = body.len() >= GZIP_FROM && status != StatusCode::PARTIAL_CONTENT && !headers.iter().any(as_it_is);
    let gzip = negotiable && !fault!(NotCompressed) && accepts_gzip(&session.req_header().headers);
    let body = if gzip { compress(body).await? } else { body };
    let vary = if negotiable { "Origin, Accept-Encoding" } else { "Origin" };
    let head = head(status, headers, Framing::Length(body.len()), vary, gzip, side)?;
    let downstream = &mut session.downstream_session;
    downstream.write_response_header(head).await.map_err(|error| error.into_down())?;
    downstream.write_response_body(body, true).await.map_err(|error| error.into_down())
}

/// The answer to a failure of the edge itself, in the caller's dialect.
pub(super) fn failure(failure: &Failure, dialect: Dialect) -> Reply {
    let mut headers = HeaderList::from([("content-type", "application/json")]);
    if let Some(seconds) = failure.retry_after {
        headers.push("retry-after", &seconds.to_string());
    }
    let body = match dialect {
        Dialect::OpenAi => failure.body(dialect),
        Dialect::Anthropic => {
            Failure { kind: Some(anthropic_type(failure.status).to_owned()), ..failure.clone() }.body(dialect)
        }
    };
    Reply { status: failure.status, headers, body: ReplyBody::Full(body), log: CallLog::default() }
}

/// The dialect of a path's callers: `/v1/messages` and what is below it speaks Anthropic's.
pub(super) fn dialect(path: &str) -> Dialect {
    if path.starts_with("/v1/messages") || path.starts_with("/anthropic/") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// The first accept-encoding header as LiteLLM reads it (gzip_middleware.py `accepts_gzip`): the last weight of a
/// coding wins, `gzip` before `x-gzip` before `*`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let Some(accepted) = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let (mut gzip, mut x_gzip, mut any) = (None, None, None);
    for part in accepted.split(',').filter(|part| !part.trim().is_empty()) {
        let (coding, params) = part.split_once(';').unwrap_or((part, ""));
        let weight = params.split(';').map(str::trim).find_map(|param| match param.get(..2) {
            Some("q=" | "Q=") => Some(param.get(2..).unwrap_or("").trim().parse::<f64>().unwrap_or(0.0)),
            _ => None,
        });
        let weight = Some(weight.unwrap_or(1.0));
        match coding.trim() {
            coding if coding.eq_ignore_ascii_case("gzip") => gzip = weight,
            coding if coding.eq_ignore_ascii_case("x-gzip") => x_gzip = weight,
            "*" => any = weight,
            _ => {}
        }
    }
    gzip.or(x_gzip).or(any).unwrap_or(0.0) > 0.0
}

async fn compress(body: Bytes) -> pingora::Result<Bytes> {
    fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
        let buffer = Vec::with_capacity(body.len() / 2);
        let mut encoder = flate2::write::GzEncoder::new(buffer, flate2::Compression::new(6));
        encoder.write_all(body)?;
        encoder.finish().map(Bytes::from)
    }
    let done = if body.len() < GZIP_ASIDE {
        gzip(&body)
    } else {
        // beside the request path: it would hold up other requests of this thread
        match tokio::task::spawn_blocking(move || gzip(&body)).await {
            Ok(done) => done,
            Err(_) => return Error::e_explain(ErrorType::InternalError, "compressing an answer"),
        }
    };
    done.map_err(|error| Error::because(ErrorType::InternalError, "compressing an answer", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_negotiated_as_litellm_does() {
        for (value, yes) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1, GZIP;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("x-gzip", true),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=x", false),
            ("gzip, gzip;q=0", false),
            ("deflate", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(accepts_gzip(&headers), yes, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
