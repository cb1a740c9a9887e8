//! The first bytes of a connection: HTTP/1.1 or HTTP/2 without TLS on the same port.
//!
//! Pingora's own detection waits for the 24 bytes of the HTTP/2 preface before it looks at any, without a time limit:
//! a load balancer's `OPTIONS / HTTP/1.0` (22 bytes) would never be answered, and a silent connection never closed.
//! Here the first byte that differs decides.
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::{
        ALPN, Stream,
        http::{
            ServerSession,
            v2::server::{H2Options, default_h2_options},
        },
        l4,
    },
    proxy::HttpProxy,
    server::ShutdownWatch,
};
use tokio::io::AsyncReadExt;

use super::{
    phases::Proxy,
    request_line::{Reading, Seen},
    state::Edge,
};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What one HTTP/2 stream may have waiting for its client; h2's own 400 KiB are 40 MiB a connection.
const SEND_BUFFER: usize = 64 << 10;
/// Streams of one connection that the edge resets for their client's mistakes before it ends the connection; h2's own
/// bound is 1024. (A client that makes the server reset: "MadeYouReset".)
const RESETS: usize = 128;

/// Takes new connections and hands them on by what they speak.
pub(super) struct Front {
    http1: Arc<Spoken>,
    http2: Arc<Spoken>,
    edge: Arc<Edge>,
    /// how long a connection may stay silent before its first request
    patience: Duration,
    /// the log has said that there are `--max-connections`
    full_said: AtomicBool,
}

/// The one proxy, told beforehand what is spoken.
struct Spoken {
    proxy: Arc<HttpProxy<Proxy>>,
    options: HttpServerOptions,
    limits: Limits,
}

/// What a slow client is held to. Pingora has a limit on each read of a head, but none on their sum.
#[derive(Debug, Clone, Copy)]
struct Limits {
    head: Duration,
    read: Duration,
    write: Duration,
}

impl Front {
    pub(super) fn new(proxy: HttpProxy<Proxy>, options: &HttpServerOptions, edge: Arc<Edge>) -> Self {
        let proxy = Arc::new(proxy);
        let config = &edge.config;
        let patience = config.client_idle_timeout;
        let limits = Limits {
            head: patience + config.client_head_timeout,
            read: config.client_read_timeout,
            write: config.client_write_timeout,
        };
        let spoken = |h2c| {
            let mut options = options.clone();
            options.h2c = h2c;
            Arc::new(Spoken { proxy: proxy.clone(), options, limits })
        };
        Self { http1: spoken(false), http2: spoken(true), edge, patience, full_said: AtomicBool::new(false) }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _connected = self.edge.drain.connect();
        let metrics = &self.edge.services.metrics;
        // each costs memory before its client has shown a key, so only their number bounds it
        let most = self.edge.config.max_connections;
        if self.edge.drain.connections() > most {
            metrics.connections_refused.inc();
            if !self.full_said.swap(true, Ordering::Relaxed) {
                tracing::warn!(most, "no more client connections are taken: see --max-connections");
            }
            return None;
        }
        self.full_said.store(false, Ordering::Relaxed);
        if !(*stream).as_any().is::<l4::stream::Stream>() {
            // TLS: ALPN has said
            match stream.selected_alpn_proto() {
                Some(ALPN::H2) => {
                    metrics.accepted_http2.inc();
                    return self.http1.process_new(stream, shutdown).await;
                }
                _ => metrics.accepted_http1.inc(),
            }
            return self.http1.process_new(seen(stream), shutdown).await;
        }
        let mut stream = stream.into_any().downcast::<l4::stream::Stream>().ok()?;
        let http2 = tokio::time::timeout(self.patience, speaks_http2(&mut stream)).await.ok()??;
        if http2 {
            metrics.accepted_http2.inc();
            return self.http2.process_new(stream, shutdown).await;
        }
        metrics.accepted_http1.inc();
        self.http1.process_new(seen(stream), shutdown).await
    }

    async fn cleanup(&self) {
        self.edge.drain.linger(self.edge.config.idle_linger).await;
        self.edge.drain.lingered();
        self.http1.proxy.http_cleanup().await;
    }
}

fn seen(stream: Stream) -> Stream {
    Box::new(Seen(stream))
}

/// `None`: closed. What was read is put back.
async fn speaks_http2(stream: &mut l4::stream::Stream) -> Option<bool> {
    let mut start = [0; PREFACE.len()];
    let mut filled = 0;
    loop {
        let read = match stream.read(start.get_mut(filled..)?).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => read,
        };
        filled += read;
        let seen = start.get(..filled)?;
        let same = PREFACE.starts_with(seen);
        if !same || filled == PREFACE.len() {
            stream.rewind(seen);
            return Some(same);
        }
    }
}

#[async_trait]
impl HttpServerApp for Spoken {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_read_timeout(Some(self.limits.read));
        session.set_write_timeout(Some(self.limits.write));
        session.set_total_drain_timeout(Some(self.limits.read));
        let reading = Arc::<Reading>::default();
        let mut serving = pin!(reading.scope(self.proxy.process_new_http(session, shutdown)));
        tokio::select! {
            biased;
            served = &mut serving => return served,
            () = tokio::time::sleep(self.limits.head) => {}
        }
        // only the reading of a head may be dropped half-way
        if reading.head_is_read() { serving.await } else { None }
    }

    fn h2_options(&self) -> Option<H2Options> {
        // 64 KiB of header fields, 100 streams at a time
        let mut options = default_h2_options();
        options.max_send_buffer_size(SEND_BUFFER).max_local_error_reset_streams(Some(RESETS));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
