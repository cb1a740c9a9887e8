//! What all requests share: options, the configuration snapshot, the manifest, the clients and the state of Python.
use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    admin::AdminRoute,
    body::Budget,
    decide::Decider,
    drain::Drain,
    health::PythonHealth,
    python::{PythonAddress, PythonTarget},
};
use crate::{config::Snapshot, routes::Services, telemetry::trace::Tracer};

/// What happens to `X-Forwarded-*` on the way to Python.
///
/// uvicorn believes these headers from loopback peers, and with the edge in front every peer is one. So wherever
/// LiteLLM decides by the client's address (`allowed_ips`), use `append` or `replace`; `keep` changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeaders {
    /// as the client sent them
    #[default]
    Keep,
    /// the client's address is added at the end of `X-Forwarded-For`; `-Proto` and `-Host` where absent.
    /// For an edge behind a load balancer.
    Append,
    /// the client's own are dropped, ours are set. For an edge that clients reach directly.
    Replace,
}

/// Certificate and key, PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The edge's own options; [`EdgeConfig::default`] has the documented defaults.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// `host:port` to listen on
    pub listen: Vec<String>,
    pub unix_socket: Option<PathBuf>,
    /// terminates TLS on `listen`; h2 by ALPN
    pub tls: Option<TlsFiles>,
    /// `None`: the edge runs alone, what it cannot serve gets a 501
    pub python: Option<PythonAddress>,
    pub python_connect_timeout: Duration,
    /// the longest wait for Python's answer and between two parts of it
    pub python_timeout: Duration,
    /// how long an unused connection to Python is kept; below uvicorn's `timeout_keep_alive` (5 s)
    pub python_idle_timeout: Duration,
    /// see [`super::passthrough`]: how soon a pooled connection must break for its request to be sent again
    pub stale_window: Duration,
    /// how long after Python's last answer a refused connection is a restart (503) and not an outage (502)
    pub python_restart_window: Duration,
    pub probe_path: String,
    pub probe_timeout: Duration,
    pub forwarded: ForwardedHeaders,
    /// bytes of a request body that are read into memory for a native candidate
    pub max_native_body: usize,
    /// bytes of all such bodies together; beyond it candidates go to Python unread
    pub body_budget: usize,
    /// client connections at a time, one more is closed at once; and requests in flight, one more gets a 503
    pub max_connections: usize,
    /// how long an unused client connection is kept
    pub client_idle_timeout: Duration,
    /// the longest wait for a request's head, besides `client_idle_timeout` for its first byte
    pub client_head_timeout: Duration,
    /// the longest wait for the next bytes of a request
    pub client_read_timeout: Duration,
    /// the longest wait for the whole body of a native candidate
    pub client_body_timeout: Duration,
    /// the longest wait for a client to take the next part of an answer
    pub client_write_timeout: Duration,
    /// requests per client connection
    pub keepalive_requests: u32,
    /// worker threads of the request path
    pub threads: usize,
    /// how long in-flight requests may go on after SIGTERM
    pub grace_period: Duration,
    /// how long after a hand-over of the listeners to a new process
    pub upgrade_grace_period: Duration,
    /// how long idle connections stay open after the listeners are closed
    pub idle_linger: Duration,
    /// where listeners are handed over
    pub upgrade_socket: Option<PathBuf>,
    /// take the listeners over from the running process
    pub upgrade: bool,
    /// how long the edge still accepts after SIGTERM, readiness being 503
    pub drain_delay: Duration,
    /// `/edge/ready` is 503 while Python is down
    pub strict_ready: bool,
    /// `None`: no traces, and `traceparent` passes as it came
    pub tracer: Option<Tracer>,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            listen: vec!["0.0.0.0:4000".to_owned()],
            unix_socket: None,
            tls: None,
            python: None,
            python_connect_timeout: Duration::from_secs(5),
            python_timeout: Duration::from_secs(6000),
            python_idle_timeout: Duration::from_secs(4),
            stale_window: Duration::from_millis(10),
            python_restart_window: Duration::from_secs(120),
            probe_path: "/health/liveliness".to_owned(),
            probe_timeout: Duration::from_secs(5),
            forwarded: ForwardedHeaders::default(),
            max_native_body: 32 << 20,
            body_budget: 256 << 20,
            max_connections: 10_000,
            client_idle_timeout: Duration::from_secs(75),
            client_head_timeout: Duration::from_secs(30),
            client_read_timeout: Duration::from_secs(60),
            client_body_timeout: Duration::from_secs(300),
            client_write_timeout: Duration::from_secs(600),
            keepalive_requests: 100_000,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            grace_period: Duration::from_secs(30),
            upgrade_grace_period: Duration::from_secs(600),
            idle_linger: Duration::from_secs(2),
            upgrade_socket: None,
            upgrade: false,
            drain_delay: Duration::ZERO,
            strict_ready: false,
            tracer: None,
        }
    }
}

/// A future without an answer.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// What other modules plug into the edge's life.
#[derive(Default)]
pub struct Hooks {
    /// called at SIGHUP
    pub reload: Vec<Box<dyn Fn() + Send + Sync>>,
    /// awaited before the process exits: queues to be written
    pub flush: Vec<Box<dyn Fn() -> Task + Send + Sync>>,
    /// run in the io service for as long as the edge runs: watchers
    pub background: Vec<Box<dyn Fn() -> Task + Send + Sync>>,
    /// takes copies of live traffic (`parity record`)
    pub capture: Option<Arc<dyn crate::capture::Sink>>,
    /// further `/edge/*` paths
    pub admin: Vec<AdminRoute>,
}

/// Shared by every request.
pub struct Edge {
    pub config: EdgeConfig,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub services: Arc<Services>,
    pub decider: Arc<dyn Decider>,
    pub hooks: Hooks,
    pub python: Option<PythonTarget>,
    pub python_health: PythonHealth,
    pub drain: Arc<Drain>,
    pub(super) bodies: Arc<Budget>,
}

impl Edge {
    pub fn new(
        config: EdgeConfig,
        snapshot: Arc<ArcSwap<Snapshot>>,
        services: Arc<Services>,
        decider: Arc<dyn Decider>,
        hooks: Hooks,
    ) -> Arc<Self> {
        let (drain, bodies) = (Arc::new(Drain::default()), Arc::new(Budget::new(config.body_budget)));
        let metrics = &services.metrics;
        metrics.body_budget.set(config.body_budget as i64);
        metrics.python_configured.set(i64::from(config.python.is_some()));
        let (seen, held, budget) = (drain.clone(), bodies.clone(), config.body_budget);
        metrics.before_reading(move |metrics| {
            metrics.connections.set(seen.connections() as i64);
            metrics.draining.set(i64::from(seen.is_draining()));
            metrics.body_memory.set(budget.saturating_sub(held.left()) as i64);
        });
        Arc::new(Self {
            python: config.python.clone().map(|address| PythonTarget::new(address, &config)),
            python_health: PythonHealth::default(),
            drain,
            bodies,
            config,
            snapshot,
            services,
            decider,
            hooks,
        })
    }
}
