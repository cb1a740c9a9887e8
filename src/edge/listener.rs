//! Builds and runs the server: one proxy service on all listeners, one io service beside it, and the signals.
use std::{
    fs, io,
    net::{SocketAddr, ToSocketAddrs},
    os::unix::fs::FileTypeExt,
    path::Path,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    listeners::{ListenerConfig, tls::TlsSettings},
    protocols::l4::stream::L4BufferSettings,
    proxy::http_proxy,
    server::{Fds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch, configuration::ServerConf},
    services::{
        background::{BackgroundService, background_service},
        listening::Service,
    },
};
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{
    front::Front,
    phases::Proxy,
    state::{Edge, TlsFiles},
    upgrade::{self, Handed, Listeners, UpgradeError},
    version,
};

/// How long after the last answer the edge waits for a request that was just being read.
const SETTLE: Duration = Duration::from_millis(30);
/// Pingora's own limit stays behind ours.
const SPARE: Duration = Duration::from_secs(10);
/// Writing: a native answer's head alone is 1.1 KB, so that with Pingora's own 1460 bytes head and body go out by two
/// system calls and wake the client twice. Only bodies of a declared length are gathered, streams never. Reading: a
/// connection's head; bodies are read past this buffer, so Pingora's 64 KiB would only be memory.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(16 << 10), write: Some(4 << 10) };
/// Bound on writing out queues.
const FLUSH: Duration = Duration::from_secs(10);

/// Who tells the edge to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// SIGTERM drains, SIGINT stops at once, SIGHUP reloads, SIGQUIT hands over to a new process
    Process,
    /// nobody: an edge inside another program (tests)
    Never,
}

/// Why the edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("cannot use the certificate or key: {0}")]
    Tls(String),
    #[error("no upgrade: {0}")]
    Upgrade(#[from] UpgradeError),
}

/// Serves until told to stop; after a drain the process exits from within.
pub fn run(edge: Arc<Edge>, signals: Signals) -> Result<(), StartError> {
    let config = &edge.config;
    // last before serving: what is wrong with this process was found by now, and the running one goes on
    check_files(&edge)?;
    let received = match config.upgrade {
        true => Some(upgrade::receive(config.upgrade_socket.as_deref())?),
        false => None,
    };
    check_addresses(&edge, received.as_ref())?;
    let listeners = Listeners::default();
    let conf = ServerConf {
        threads: config.threads.max(1),
        work_stealing: true,
        grace_period_seconds: Some((config.grace_period.max(config.upgrade_grace_period) + SPARE).as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: 1024,
        max_retries: 3,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(config.keepalive_requests);
    options.h2_idle_timeout = Some(config.client_idle_timeout);
    let proxy = http_proxy(&server.configuration, Proxy(edge.clone()));
    let front = Front::new(proxy, &options, edge.clone());
    let mut service = Service::new("edge".to_owned(), front);
    for address in &config.listen {
        match &config.tls {
            None => service.add_listener(ListenerConfig::tcp(address).l4_buffer(BUFFERS)),
            Some(files) => {
                let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
                let mut settings = TlsSettings::intermediate(&certificate, &key)
                    .map_err(|error| StartError::Tls(error.etype().as_str().to_owned()))?;
                settings.enable_h2();
                service.add_listener(ListenerConfig::tcp(address).tls(settings).l4_buffer(BUFFERS));
            }
        }
    }
    if let Some(path) = &config.unix_socket {
        service.add_uds(&path.to_string_lossy(), None);
    }
    let received = received.map(Mutex::new);
    let watched = Arc::<Notify>::default();
    server.add_service(Handed {
        service,
        edge: edge.clone(),
        listeners: listeners.clone(),
        received,
        watched: watched.clone(),
    });
    let mut io = background_service("io", Io(edge.clone()));
    io.threads = Some(1);
    server.add_service(io);

    raise_file_limit();
    if signals == Signals::Process {
        survive_early_signals();
    }
    let python = config.python.as_ref().map(ToString::to_string);
    tracing::info!(listen = ?config.listen, unix_socket = ?config.unix_socket, python, "edge starts");
    server.run(RunArgs { shutdown_signal: Box::new(Watch { edge: edge.clone(), signals, listeners, watched }) });
    clean_up(&edge);
    Ok(())
}

/// Pingora panics in a thread of its own where it cannot bind; so it is tried first.
fn check_addresses(edge: &Edge, received: Option<&Fds>) -> Result<(), StartError> {
    let new = |address: &&String| received.is_none_or(|received| received.get(address).is_none());
    for address in edge.config.listen.iter().filter(new) {
        let tried = address.to_socket_addrs().and_then(|mut found| match found.next() {
            Some(found) => try_bind(found),
            None => Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no such address")),
        });
        tried.map_err(|source| StartError::Listen { address: address.clone(), source })?;
    }
    Ok(())
}

fn check_files(edge: &Edge) -> Result<(), StartError> {
    if let Some(files) = &edge.config.tls {
        check_tls(files).map_err(StartError::Tls)?;
    }
    if let Some(path) = &edge.config.unix_socket {
        let taken = fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket());
        let parent = path.parent().is_none_or(|parent| parent.as_os_str().is_empty() || parent.is_dir());
        if taken || !parent {
            let kind = if taken { io::ErrorKind::AlreadyExists } else { io::ErrorKind::NotFound };
            return Err(StartError::Listen { address: path.display().to_string(), source: kind.into() });
        }
    }
    Ok(())
}

/// Pingora panics as well where a certificate and a key do not fit. The words name files, never what is in them.
fn check_tls(files: &TlsFiles) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unreadable(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable(&files.certificate, &"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let fits = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    fits.map(drop).map_err(|error| format!("{} and {}: {error}", files.certificate.display(), files.key.display()))
}

/// Binds without listening: nobody may connect to a socket that is about to go away.
fn try_bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// A streamed request holds two sockets, and the usual soft limit of 1024 files is 500 of them: the hard limit is used,
/// as servers do.
#[allow(unsafe_code)] // two calls on a local struct; there is no safe way in std
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write `limit`, which outlives them
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !raised {
        tracing::warn!("the limit on open files could not be raised");
    }
}

/// SIGHUP and SIGQUIT end a process that has no handler yet: one that is only starting has just read its files anyway,
/// and has nothing to hand over.
#[allow(unsafe_code)] // calls without arguments of ours; there is no safe way in std
fn survive_early_signals() {
    // SAFETY: ignoring a signal runs no code of ours; `Watch` replaces it by its handler
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
    }
}

fn clean_up(edge: &Edge) {
    if edge.drain.is_handed_over() {
        return; // the socket's file is the new process' now
    }
    if let Some(path) = &edge.config.unix_socket {
        let _ = fs::remove_file(path);
    }
}

/// The signals, as Pingora asks for them.
struct Watch {
    edge: Arc<Edge>,
    signals: Signals,
    listeners: Listeners,
    /// told once signals have their handlers: whoever is served from then on is drained
    watched: Arc<Notify>,
}

impl Watch {
    /// Gives the listeners to a new process; false: that failed, and this one goes on as before.
    async fn upgrade(&self) -> bool {
        tracing::info!("upgrade asked for");
        let result = upgrade::hand_over(&self.edge, &self.listeners).await;
        let word = if result.is_ok() { "handed_over" } else { "failed" };
        self.edge.services.metrics.upgrades.with_label_values(&[word]).inc();
        match result {
            Ok(pid) => {
                self.edge.drain.hand_over();
                tracing::info!(pid, in_flight = self.edge.drain.in_flight(), "a new process serves, draining");
                true
            }
            Err(error) => {
                tracing::error!(%error, "no upgrade, this process goes on");
                false
            }
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        let registered = match self.signals {
            Signals::Never => {
                self.watched.notify_one();
                return std::future::pending().await;
            }
            Signals::Process => {
                let on = |kind| signal(kind).ok();
                let kinds =
                    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
                kinds.map(on)
            }
        };
        self.watched.notify_one();
        let [Some(mut terminate), Some(mut interrupt), Some(mut hangup), Some(mut quit)] = registered else {
            tracing::error!("signals cannot be watched: the edge stops only by being killed");
            return std::future::pending().await;
        };
        let mut upgrading = pin!(OptionFuture(None));
        loop {
            tokio::select! {
                _ = quit.recv() => {
                    if upgrading.0.is_none() {
                        upgrading.0 = Some(Box::pin(self.upgrade()));
                    }
                }
                handed_over = &mut upgrading => {
                    upgrading.0 = None;
                    if handed_over {
                        return ShutdownSignal::GracefulTerminate;
                    }
                }
                _ = hangup.recv() => {
                    tracing::info!("reload asked for");
                    for reload in &self.edge.hooks.reload {
                        reload();
                    }
                }
                _ = interrupt.recv() => {
                    tracing::info!("interrupted, stopping at once");
                    flush(&self.edge, Duration::from_secs(1)).await;
                    clean_up(&self.edge);
                    return ShutdownSignal::FastShutdown;
                }
                _ = terminate.recv() => {
                    self.edge.drain.begin();
                    let (in_flight, delay) = (self.edge.drain.in_flight(), self.edge.config.drain_delay);
                    tracing::info!(in_flight, ?delay, "draining: readiness is 503 from now on");
                    tokio::select! {
                        () = tokio::time::sleep(delay) => return ShutdownSignal::GracefulTerminate,
                        _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                    }
                }
            }
        }
    }
}

/// Pending while there is none.
struct OptionFuture<'a>(Option<Pin<Box<dyn Future<Output = bool> + Send + 'a>>>);

impl Future for OptionFuture<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        match &mut self.0 {
            Some(running) => running.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

async fn flush(edge: &Edge, limit: Duration) {
    for hook in &edge.hooks.flush {
        if tokio::time::timeout(limit, hook()).await.is_err() {
            tracing::error!(?limit, "a queue was not written out in time");
        }
    }
}

/// Everything that is not a request: the prober, watchers, and the end of a drain.
struct Io(Arc<Edge>);

#[async_trait]
impl BackgroundService for Io {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let edge = self.0.clone();
        if edge.python.is_some() {
            let edge = edge.clone();
            tokio::spawn(async move {
                if let Some(target) = &edge.python {
                    let (config, metrics) = (&edge.config, &edge.services.metrics);
                    edge.python_health.probe(target, &config.probe_path, config.probe_timeout, metrics).await;
                }
            });
        }
        tokio::spawn({
            let edge = edge.clone();
            async move {
                if let Some(target) = &edge.python {
                    version::watch(&edge, target).await;
                }
            }
        });
        tokio::spawn({
            let edge = edge.clone();
            async move {
                let url = || edge.snapshot.load().database_url.clone();
                edge.services.health.watch(url, Duration::from_secs(5), Duration::from_secs(5)).await;
            }
        });
        for task in &edge.hooks.background {
            tokio::spawn(task());
        }
        // a closed channel is Pingora's end as well
        let _ = shutdown.wait_for(|stop| *stop).await;
        if !edge.drain.is_draining() {
            return;
        }
        let grace = match edge.drain.is_handed_over() {
            true => edge.config.upgrade_grace_period,
            false => edge.config.grace_period,
        };
        let mut interrupt = signal(SignalKind::interrupt()).ok();
        let interrupted = async {
            match &mut interrupt {
                Some(interrupt) => drop(interrupt.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            idle = edge.drain.idle(SETTLE, grace) => match idle {
                true => tracing::info!("drained"),
                false => tracing::warn!(in_flight = edge.drain.in_flight(), "grace period is over, requests are cut"),
            },
            () = interrupted => tracing::warn!(in_flight = edge.drain.in_flight(), "interrupted, requests are cut"),
        }
        flush(&edge, FLUSH).await;
        clean_up(&edge);
        // not after the whole grace period, which Pingora's main thread is sleeping through
        std::process::exit(0);
    }
}
