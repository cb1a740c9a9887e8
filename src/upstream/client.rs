//! hyper-util's pooled client behind a small face.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::decode::ContentDecoder;
use crate::capture::{self, ExchangeTap};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use prometheus::Histogram;

use crate::telemetry::Metrics;

/// One request to a provider.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// until the answer's head is there, and between two parts of its body (httpx' read timeout)
    pub timeout: Duration,
}

/// The head of a provider's answer, with the body still to come.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    /// as the provider sent them (order and duplicates kept)
    pub headers: HeaderMap,
    pub body: Body,
}

/// A body being received.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    timeout: Duration,
    inflate: Option<ContentDecoder>,
    received: u64,
    /// where a copy goes while traffic is recorded
    tap: Option<ExchangeTap>,
}

/// Why no (whole) answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("connection refused or not possible")]
    Connect,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("connection closed before an answer")]
    Disconnected,
    /// by RST, where [`Failed::Disconnected`] is by FIN
    #[error("connection reset before an answer")]
    Reset,
    #[error("answer cut short")]
    Cut,
    #[error("answer larger than {0} bytes")]
    TooLarge(usize),
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    watch: Option<Arc<Watch>>,
}

/// Where calls are counted, by their result; resolved once.
#[derive(Debug)]
struct Watch([Histogram; RESULTS.len()]);

/// Status classes by their first digit (0: none), then [`Failed`].
const RESULTS: [&str; 9] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx", "connect", "timeout", "disconnected"];

impl Watch {
    fn called(&self, result: Result<u16, &Failed>, seconds: f64) {
        let index = match result {
            Ok(status @ 100..600) => usize::from(status / 100),
            Ok(_) => 0,
            Err(Failed::Connect) => 6,
            Err(Failed::Timeout(_)) => 7,
            Err(_) => 8,
        };
        if let Some(histogram) = self.0.get(index) {
            histogram.observe(seconds);
        }
    }
}

impl Client {
    /// `native` roots come from the system's certificate store; a machine without one can still call `http://`.
    pub fn new() -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(60)));
        http.set_keepalive(Some(Duration::from_secs(60)));
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls_config());
        let connector = tls.https_or_http().enable_http1().wrap_connector(http);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(1024)
            .build(connector);
        Self { pool, watch: None }
    }

    /// A client whose calls are counted.
    pub fn watched(metrics: &Metrics) -> Self {
        let handles = RESULTS.map(|result| metrics.provider_calls.with_label_values(&[result]));
        Self { watch: Some(Arc::new(Watch(handles))), ..Self::new() }
    }

    /// Sends once; retries only what hyper knows was never sent (a pooled connection that was already closed).
    pub async fn send(&self, request: Request) -> Result<Response, Failed> {
        let Some(watch) = &self.watch else { return self.exchange(request).await };
        let sent = Instant::now();
        let result = self.exchange(request).await;
        watch.called(result.as_ref().map(|answer| answer.status.as_u16()), sent.elapsed().as_secs_f64());
        result
    }

    async fn exchange(&self, request: Request) -> Result<Response, Failed> {
        let tap = capture::exchange(&request.headers, &request.body);
        let mut outgoing = http::Request::new(Full::new(request.body));
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = request.uri;
        *outgoing.headers_mut() = request.headers;
        let answered = match tokio::time::timeout(request.timeout, self.pool.request(outgoing)).await {
            Err(_) => Err(Failed::Timeout(request.timeout)),
            Ok(Err(error)) if error.is_connect() => Err(Failed::Connect),
            Ok(Err(error)) if is_reset(&error) => Err(Failed::Reset),
            Ok(Err(_)) => Err(Failed::Disconnected),
            Ok(Ok(answer)) => Ok(answer),
        };
        let answer = answered.inspect_err(|failed| ended(tap.as_ref(), failed))?;
        let (head, incoming) = answer.into_parts();
        let inflate = inflate_of(&head.headers);
        if let Some(tap) = &tap {
            tap.head(head.status, &head.headers);
        }
        let body = Body { incoming, timeout: request.timeout, inflate, received: 0, tap };
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let by_reset = |error: &std::io::Error| matches!(error.kind(), ConnectionReset | BrokenPipe);
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<std::io::Error>().is_some_and(by_reset))
}

fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for certificate in found.certs {
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(%error, "a system root certificate was skipped");
        }
    }
    if roots.is_empty() {
        tracing::warn!("no system root certificates found: https calls to providers will fail");
    }
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

impl Body {
    /// The next piece, decompressed; `None` at the regular end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Failed>> {
        loop {
            let frame = match tokio::time::timeout(self.timeout, self.incoming.frame()).await {
                Err(_) => return Some(Err(self.failed(Failed::Timeout(self.timeout)))),
                Ok(None) => {
                    if let Some(tap) = &self.tap {
                        tap.end(capture::End::Complete);
                    }
                    return None;
                }
                Ok(Some(Err(_))) => return Some(Err(self.failed(Failed::Cut))),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.received += data.len() as u64;
            if let Some(tap) = &self.tap {
                tap.piece(&data);
            }
            match &mut self.inflate {
                None => return Some(Ok(data)),
                Some(inflate) => match inflate.push(&data) {
                    Ok(plain) if plain.is_empty() => {}
                    Ok(plain) => return Some(Ok(plain.into())),
                    Err(_) => return Some(Err(Failed::Cut)),
                },
            }
        }
    }

    fn failed(&self, failed: Failed) -> Failed {
        ended(self.tap.as_ref(), &failed);
        failed
    }

    /// Bytes that arrived so far, as sent.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The whole body, at most `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, Failed> {
        self.read(limit).await
    }

    /// As [`Body::collect`]; what arrived can still be asked for afterwards.
    pub async fn read(&mut self, limit: usize) -> Result<Bytes, Failed> {
        let mut whole: Option<Bytes> = None;
        let mut more = BytesMut::new();
        while let Some(piece) = self.chunk().await {
            let piece = piece?;
            if whole.as_ref().map_or(more.len(), Bytes::len) + piece.len() > limit {
                return Err(Failed::TooLarge(limit));
            }
            // a single piece (the usual case) is handed over without a copy
            match (whole.take(), more.is_empty()) {
                (None, true) => whole = Some(piece),
                (first, _) => {
                    more.extend_from_slice(&first.unwrap_or_default());
                    more.extend_from_slice(&piece);
                }
            }
        }
        Ok(whole.unwrap_or_else(|| more.freeze()))
    }
}

/// Notes how a recorded call ended.
fn ended(tap: Option<&ExchangeTap>, failed: &Failed) {
    let Some(tap) = tap else { return };
    tap.end(match failed {
        Failed::Connect => capture::End::Connect,
        Failed::Timeout(_) => capture::End::Timeout,
        Failed::Reset => capture::End::Reset,
        Failed::Disconnected | Failed::Cut | Failed::TooLarge(_) => capture::End::Cut,
    });
}

/// Most bytes one received piece may decode to.
const MAX_PIECE: usize = 64 << 20;

/// `content-encoding: gzip | deflate`, undone piece by piece. Python's client does the same.
fn inflate_of(headers: &HeaderMap) -> Option<ContentDecoder> {
    let encoding = headers.get(http::header::CONTENT_ENCODING)?.to_str().ok()?;
    Some(ContentDecoder::new(Some(encoding), MAX_PIECE)).filter(|decoder| !decoder.is_plain())
}
