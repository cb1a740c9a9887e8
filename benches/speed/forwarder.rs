//! The floor of this machine: hyper's server before hyper's client, and nothing between them. No key is checked, no body
//! is read or changed, no header is added. What a gateway costs above this is its own doing.
use std::convert::Infallible;

use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

type Pool = Client<HttpConnector, Incoming>;
type Body = BoxBody<Bytes, hyper::Error>;

/// Forwards to `provider` until the process ends; as many threads as the edge has.
pub(crate) fn run(port: u16, provider: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool: Pool = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1024).build(connector);
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = pool.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| forward(&pool, provider, request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await; // a client that leaves is no matter
            });
        }
    })
}

async fn forward(pool: &Pool, provider: u16, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("http").authority(format!("127.0.0.1:{provider}")).path_and_query(path).build();
    let answer = match uri {
        Ok(uri) => {
            *request.uri_mut() = uri;
            pool.request(request).await.ok()
        }
        Err(_) => None,
    };
    Ok(answer.map_or_else(failed, |answer| answer.map(BodyExt::boxed)))
}

fn failed() -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
