//! The provider's side of what the Python gateway serves: `api_base` in config.yaml points here, calls are forwarded to
//! the provider as they are, and a copy goes to the recorder. Off the recorded requests it is a plain forwarder.
//!
//! It changes: hop-by-hop headers, `Host`, and `Accept-Encoding` (answers come uncompressed, so that they can be read).
//! A provider that cannot be reached, or cuts its answer, is a closed connection here.
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};

use super::Recorder;
use crate::{
    capture,
    upstream::{self, Client},
};

/// Most bytes of a request to a provider.
const MOST: usize = 64 << 20;
/// LiteLLM's own default: whoever waits is the gateway.
const PATIENCE: Duration = Duration::from_secs(6000);

const DROPPED: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHORIZATION,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// Forwards to `target` (`https://api.openai.com`, a path is put before the request's) for as long as it is awaited.
pub async fn serve(listener: TcpListener, target: String, client: Client, recorder: Arc<Recorder>) {
    let target: Arc<str> = target.trim_end_matches('/').into();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (target, client, recorder) = (target.clone(), client.clone(), recorder.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| forward(request, &target, &client, &recorder));
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "a call by way of the recorder ended early");
            }
        });
    }
}

fn broken(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(what.to_string())
}

async fn forward(
    request: Request<Incoming>,
    target: &str,
    client: &Client,
    recorder: &Recorder,
) -> io::Result<Response<Relay>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MOST).collect().await.map_err(broken)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("{target}{path}").parse().map_err(broken)?;
    let headers = head.headers.iter().filter(|(name, _)| !DROPPED.contains(name));
    let owner = recorder.owner(&body);
    let call = client.send(upstream::Request {
        method: head.method,
        uri,
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        body,
        timeout: PATIENCE,
    });
    let answer = match owner {
        Some(tap) => capture::scope(tap, call).await,
        None => call.await,
    };
    let answer = answer.map_err(broken)?;
    let mut response = Response::new(Relay::start(answer.body));
    *response.status_mut() = answer.status;
    let compressed = [header::CONTENT_ENCODING, header::CONTENT_LENGTH]; // the client has unpacked it
    let packed = answer.headers.contains_key(header::CONTENT_ENCODING);
    for (name, value) in &answer.headers {
        let dropped = DROPPED.contains(name) && *name != header::CONTENT_LENGTH || packed && compressed.contains(name);
        if !dropped {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(response)
}

/// An answer on its way, piece by piece.
struct Relay(mpsc::Receiver<Result<Bytes, upstream::Failed>>);

impl Relay {
    fn start(mut body: upstream::Body) -> Self {
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(piece) = body.chunk().await {
                if sender.send(piece).await.is_err() {
                    return; // the gateway has left: so do we
                }
            }
        });
        Self(receiver)
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = upstream::Failed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
