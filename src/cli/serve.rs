//! `litellm-rust [serve]`: reads the options, puts the parts together, runs the edge.
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::{exit, traces};
use crate::{
    config::{ConfigDecline, ConfigHandle, Env, Settings, Snapshot},
    edge::{
        self, Edge, EdgeConfig, ForwardedHeaders, Hooks, PythonAddress, Signals, TlsFiles,
        decide::{AllPython, Decider},
    },
    manifest::{ManifestHandle, handle::ALL_PYTHON_ENV},
    routes::{Control, Decline, Services, control, table::NATIVE_ROUTES},
    secret::Secret,
    spend::ledger::Writer,
    telemetry::{self, LogFormat, Metrics, history::History},
    upstream,
};

/// Durations are written `500ms`, `30s`, `5m`, `1h`; a bare number is seconds.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// LiteLLM's config.yaml
    #[arg(long, short, env = "CONFIG_FILE_PATH", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    host: String,
    /// TCP port to listen on
    #[arg(long, env = "PORT", default_value_t = 4000)]
    port: u16,
    /// Unix socket to listen on besides
    #[arg(long, env = "LITELLM_EDGE_UNIX_SOCKET", value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Which routes are served natively
    #[arg(long, env = "LITELLM_EDGE_ROUTES", value_name = "FILE")]
    routes: Option<PathBuf>,
    /// The Python gateway: http://host:port or unix:/path; default: routes.toml's `[python] url`. Without either the
    /// edge runs alone
    #[arg(long, env = "LITELLM_EDGE_PYTHON", value_name = "ADDRESS")]
    python: Option<PythonAddress>,
    /// Longest wait for a connection to Python
    #[arg(long, env = "LITELLM_EDGE_PYTHON_CONNECT_TIMEOUT", default_value = "5s", value_parser = duration)]
    python_connect_timeout: Duration,
    /// Longest wait for Python's answer, and between two parts of it
    #[arg(long, env = "LITELLM_EDGE_PYTHON_TIMEOUT", default_value = "6000s", value_parser = duration)]
    python_timeout: Duration,
    /// How long an unused connection to Python is kept; must be below uvicorn's keep-alive
    #[arg(long, env = "LITELLM_EDGE_PYTHON_IDLE_TIMEOUT", default_value = "4s", value_parser = duration)]
    python_idle_timeout: Duration,
    /// A POST is sent again when its pooled connection breaks within this time, unanswered; 0s: never
    #[arg(long, env = "LITELLM_EDGE_STALE_WINDOW", default_value = "10ms", value_parser = duration)]
    stale_window: Duration,
    /// How long after Python's last answer a refused connection is a restart (503) and not an outage (502)
    #[arg(long, env = "LITELLM_EDGE_PYTHON_RESTART_WINDOW", default_value = "120s", value_parser = duration)]
    python_restart_window: Duration,
    /// What Python is asked to see whether it is up
    #[arg(long, env = "LITELLM_EDGE_PROBE_PATH", default_value = "/health/liveliness", value_name = "PATH")]
    probe_path: String,
    /// Certificate (PEM) to terminate TLS with
    #[arg(long, env = "SSL_CERTFILE_PATH", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "SSL_KEYFILE_PATH", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// What happens to X-Forwarded-* on the way to Python. uvicorn believes them from loopback peers, so with IP rules
    /// in LiteLLM use append (behind a load balancer) or replace (clients connect directly)
    #[arg(long, env = "LITELLM_EDGE_FORWARDED_HEADERS", default_value = "keep", value_enum)]
    forwarded_headers: Forwarded,
    /// Bytes of a request body that are read into memory for a native candidate
    #[arg(long, env = "LITELLM_EDGE_MAX_NATIVE_BODY", default_value_t = 32 << 20, value_name = "BYTES")]
    max_native_body: usize,
    /// Bytes of all such bodies together
    #[arg(long, env = "LITELLM_EDGE_BODY_BUDGET", default_value_t = 256 << 20, value_name = "BYTES")]
    body_budget: usize,
    /// Client connections at a time: one more is closed at once; and requests in flight: one more gets a 503
    #[arg(long, env = "LITELLM_EDGE_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "N")]
    max_connections: usize,
    /// How long an unused client connection is kept
    #[arg(long, env = "LITELLM_EDGE_CLIENT_IDLE_TIMEOUT", default_value = "75s", value_parser = duration)]
    client_idle_timeout: Duration,
    /// Longest wait for the rest of a request's head, once --client-idle-timeout for its first byte is over
    #[arg(long, env = "LITELLM_EDGE_CLIENT_HEAD_TIMEOUT", default_value = "30s", value_parser = duration)]
    client_head_timeout: Duration,
    /// Longest wait for the next bytes of a request
    #[arg(long, env = "LITELLM_EDGE_CLIENT_READ_TIMEOUT", default_value = "60s", value_parser = duration)]
    client_read_timeout: Duration,
    /// Longest wait for the whole body of a native candidate
    #[arg(long, env = "LITELLM_EDGE_CLIENT_BODY_TIMEOUT", default_value = "300s", value_parser = duration)]
    client_body_timeout: Duration,
    /// Longest wait for a client to take the next part of an answer
    #[arg(long, env = "LITELLM_EDGE_CLIENT_WRITE_TIMEOUT", default_value = "600s", value_parser = duration)]
    client_write_timeout: Duration,
    /// Worker threads; default: one a core
    #[arg(long, env = "LITELLM_EDGE_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// How long requests in flight may go on after SIGTERM
    #[arg(long, env = "LITELLM_EDGE_GRACE_PERIOD", default_value = "30s", value_parser = duration)]
    grace_period: Duration,
    /// How long idle client connections stay open after the listeners are closed, for a request that is on its way
    #[arg(long, env = "LITELLM_EDGE_IDLE_LINGER", default_value = "2s", value_parser = duration)]
    idle_linger: Duration,
    /// Take the listeners over from the running process, which is sent SIGQUIT for it; needs --upgrade-socket on both
    #[arg(long, env = "LITELLM_EDGE_UPGRADE", requires = "upgrade_socket")]
    upgrade: bool,
    /// Where listeners are handed over from an old process to a new one; in a folder that only the service may write to
    #[arg(long, env = "LITELLM_EDGE_UPGRADE_SOCKET", value_name = "PATH")]
    upgrade_socket: Option<PathBuf>,
    /// How long requests in flight may go on in the old process after a hand-over
    #[arg(long, env = "LITELLM_EDGE_UPGRADE_GRACE_PERIOD", default_value = "10m", value_parser = duration)]
    upgrade_grace_period: Duration,
    /// How long the edge still accepts after SIGTERM while /edge/ready is 503
    #[arg(long, env = "LITELLM_EDGE_DRAIN_DELAY", default_value = "0s", value_parser = duration)]
    drain_delay: Duration,
    /// /edge/ready is 503 while Python is down
    #[arg(long, env = "LITELLM_EDGE_STRICT_READY")]
    strict_ready: bool,
    #[command(flatten)]
    traces: traces::TraceOptions,
    /// Shape of log lines
    #[arg(long, env = "LITELLM_EDGE_LOG_FORMAT", default_value = "text", value_enum)]
    log_format: Format,
    /// Log filter: info, debug, warn,access=off
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Forwarded {
    Keep,
    Append,
    Replace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs until told to stop.
pub(super) fn run(options: Options) -> u8 {
    run_with(options, |_, _, _| Ok(()))
}

/// As [`run`], with what else is to be plugged in.
pub(super) fn run_with(
    options: Options,
    plug: impl FnOnce(&mut Hooks, &Arc<Services>, &ConfigHandle) -> Result<()>,
) -> u8 {
    let format = match options.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    telemetry::init(format, &options.log);
    telemetry::hush_panics();
    match serve(options, plug) {
        Ok(()) => exit::OK,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the edge does not start");
            exit::INFRASTRUCTURE
        }
    }
}

fn serve(
    mut options: Options,
    plug: impl FnOnce(&mut Hooks, &Arc<Services>, &ConfigHandle) -> Result<()>,
) -> Result<()> {
    let metrics = Metrics::new().context("metrics")?;
    let config = Arc::new(open_config(&options)?);
    metrics.file_state("config", true);
    let manifest = open_manifest(&options, metrics.clone())?;
    if options.python.is_none()
        && let Some(url) = manifest.as_ref().and_then(|manifest| manifest.load().file.python_url.clone())
    {
        options.python = Some(url.parse().context("routes.toml: python.url")?);
    }
    let (control, writer) = Control::new(config.shared());
    let services = Arc::new(Services {
        upstream: upstream::Client::watched(&metrics),
        metrics: metrics.clone(),
        health: Arc::default(),
        control,
    });
    let mut hooks = hooks(&config, manifest.as_ref(), &metrics);
    run_control(&mut hooks, &services, writer, &config);
    let tracer = traces::open(&options.traces, &metrics, &mut hooks);
    plug(&mut hooks, &services, &config)?;
    let decider: Arc<dyn Decider> = match manifest {
        Some(manifest) => Arc::new(manifest),
        None => Arc::new(AllPython),
    };
    let edge = Edge::new(EdgeConfig { tracer, ..edge_config(options) }, config.shared(), services, decider, hooks);
    edge::run(edge, Signals::Process)?;
    Ok(())
}

/// config.yaml, or an empty configuration where none is named: then every model call declines.
fn open_config(options: &Options) -> Result<ConfigHandle> {
    let env: Env = std::env::vars().collect();
    match &options.config {
        Some(path) => ConfigHandle::open(path, env).context("config.yaml"),
        None => {
            tracing::warn!("no --config: only the master key of the environment is known, model calls go to python");
            Ok(ConfigHandle::fixed(without_config(&env)))
        }
    }
}

/// routes.toml; without one everything is passed through.
fn open_manifest(options: &Options, metrics: Metrics) -> Result<Option<ManifestHandle>> {
    let Some(path) = &options.routes else {
        tracing::warn!("no --routes: every request is passed through");
        return Ok(None);
    };
    let all_python = std::env::var(ALL_PYTHON_ENV).ok();
    let handle =
        ManifestHandle::open(path, NATIVE_ROUTES, all_python.as_deref(), Some(metrics)).context("routes.toml")?;
    if std::env::var(UNGATED_ENV).is_ok_and(|value| value == "1") {
        let loopback = matches!(options.host.as_str(), "127.0.0.1" | "::1" | "localhost");
        anyhow::ensure!(loopback, "{UNGATED_ENV} is for the parity suite: it needs a loopback --host");
        tracing::warn!("native routes run without evidence: {UNGATED_ENV} is set");
        handle.ungate().context("routes.toml")?;
    }
    Ok(Some(handle))
}

/// Lets native routes run without evidence, on a loopback address only: how the parity suite makes evidence.
const UNGATED_ENV: &str = "LITELLM_EDGE_UNGATED";
/// Half of what is promised: a change or the kill switch's file takes effect within a second.
const WATCH_EVERY: Duration = Duration::from_millis(500);

fn hooks(config: &Arc<ConfigHandle>, manifest: Option<&ManifestHandle>, metrics: &Metrics) -> Hooks {
    let mut hooks = Hooks::default();
    let (watched, reload_metrics) = (config.clone(), metrics.clone());
    let reload = Arc::new(move || reload_config(&watched, &reload_metrics));
    let by_signal = reload.clone();
    hooks.reload.push(Box::new(move || by_signal()));
    let watched = config.clone();
    hooks.background.push(Box::new(move || {
        let (watched, reload) = (watched.clone(), reload.clone());
        Box::pin(async move {
            loop {
                tokio::time::sleep(WATCH_EVERY).await;
                let (watched, reload) = (watched.clone(), reload.clone());
                let look = move || {
                    if watched.changed() {
                        reload();
                    }
                };
                if tokio::task::spawn_blocking(look).await.is_err() {
                    tracing::error!("watching config.yaml failed");
                }
            }
        })
    }));
    let state = config.clone();
    let refused: edge::ConfigRefused = Arc::new(move || state.last_error().map(|error| error.to_string()));
    if let Some(manifest) = manifest {
        let by_signal = manifest.clone();
        hooks.reload.push(Box::new(move || {
            // logged and remembered for the status page there
            let _ = by_signal.reload();
        }));
        let watched = manifest.clone();
        hooks.background.push(Box::new(move || {
            let watched = watched.clone();
            Box::pin(async move { watched.watch(WATCH_EVERY).await })
        }));
        hooks.admin.extend(edge::manifest_pages(manifest, refused.clone()));
    }
    let history = Arc::<History>::default();
    hooks.admin.extend(edge::status_pages(manifest, history.clone(), refused));
    let metrics = metrics.clone();
    hooks.background.push(Box::new(move || {
        let (history, metrics) = (history.clone(), metrics.clone());
        Box::pin(async move { history.run(&metrics).await })
    }));
    hooks
}

/// The io runtime learns that it is one, drives the spend writer, and writes what is left before the process ends.
fn run_control(hooks: &mut Hooks, services: &Arc<Services>, writer: Writer, config: &Arc<ConfigHandle>) {
    let (writer, io, config) = (Mutex::new(Some(writer)), services.control.io.clone(), config.clone());
    let services_of = services.clone();
    let seen = Arc::downgrade(services);
    services.metrics.before_reading(move |metrics| {
        if let Some(services) = seen.upgrade() {
            services.control.refresh(services.health.database(), metrics);
        }
    });
    hooks.background.push(Box::new(move || {
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (io, config, services) = (io.clone(), config.clone(), services_of.clone());
        Box::pin(async move {
            io.attach(tokio::runtime::Handle::current());
            let followed = config.clone();
            let follow = services.control.follow(move || followed.snapshot());
            let models = services.control.models.follow(&services.control.postgres, &config);
            let write = async {
                if let Some(writer) = writer {
                    writer.run(|| control::flush_every(&config.snapshot())).await;
                }
            };
            tokio::select! { () = follow => {}, () = models => {}, () = write => {} }
        })
    }));
    let services = services.clone();
    hooks.flush.push(Box::new(move || {
        let services = services.clone();
        Box::pin(async move {
            let Control { counting, io, ledger, .. } = &services.control;
            counting.idle().await;
            // slots and budgets held back, which nobody else gives back; what was counted may be among them
            io.idle().await;
            // the database may be just coming back; the caller of this bounds it
            for _ in 0..FLUSHES {
                if ledger.flush().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            tracing::error!(records = ledger.waiting(), "spend of the last moments could not be written");
        })
    }));
}

/// Tries to write what is left at the end, half a second apart.
const FLUSHES: u32 = 10;

fn reload_config(config: &ConfigHandle, metrics: &Metrics) {
    let result = config.reload();
    match &result {
        Ok(snapshot) => tracing::info!(digest = %snapshot.digest, "config.yaml reloaded"),
        Err(error) => tracing::error!(%error, "config.yaml refused, the last good one stays in force"),
    }
    metrics.reloaded("config", result.is_ok());
}

/// The edge's own options; nothing of config.yaml is in it.
fn edge_config(options: Options) -> EdgeConfig {
    let defaults = EdgeConfig::default();
    let host = if options.host.contains(':') { format!("[{}]", options.host) } else { options.host };
    EdgeConfig {
        listen: vec![format!("{host}:{}", options.port)],
        unix_socket: options.unix_socket,
        tls: options.tls_cert.zip(options.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
        python: options.python,
        python_connect_timeout: options.python_connect_timeout,
        python_timeout: options.python_timeout,
        python_idle_timeout: options.python_idle_timeout,
        stale_window: options.stale_window,
        python_restart_window: options.python_restart_window,
        probe_path: options.probe_path,
        forwarded: match options.forwarded_headers {
            Forwarded::Keep => ForwardedHeaders::Keep,
            Forwarded::Append => ForwardedHeaders::Append,
            Forwarded::Replace => ForwardedHeaders::Replace,
        },
        max_native_body: options.max_native_body,
        body_budget: options.body_budget,
        max_connections: options.max_connections,
        client_idle_timeout: options.client_idle_timeout,
        client_head_timeout: options.client_head_timeout,
        client_read_timeout: options.client_read_timeout,
        client_body_timeout: options.client_body_timeout,
        client_write_timeout: options.client_write_timeout,
        threads: options.threads.unwrap_or(defaults.threads),
        grace_period: options.grace_period,
        drain_delay: options.drain_delay,
        idle_linger: options.idle_linger,
        upgrade: options.upgrade,
        upgrade_socket: options.upgrade_socket,
        upgrade_grace_period: options.upgrade_grace_period,
        strict_ready: options.strict_ready,
        ..defaults
    }
}

/// What is known without a config.yaml.
fn without_config(env: &Env) -> Snapshot {
    Snapshot {
        digest: String::new(),
        master_key: env.get("LITELLM_MASTER_KEY").filter(|key| !key.is_empty()).map(Secret::new),
        settings: Settings { metrics_auth: true, ..Settings::default() },
        groups: HashMap::new(),
        group_order: Vec::new(),
        deployments: Vec::new(),
        declines: vec![ConfigDecline { decline: Decline::Setting, key: "config.yaml".to_owned() }],
        other_names: true,
        aliases: Default::default(),
        database_url: None,
        coordination: Default::default(),
    }
}

/// `500ms`, `30s`, `5m`, `1h`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| "expected a number with ms, s, m or h".to_owned())?;
    let unit = match text.get(digits.len()..).unwrap_or("") {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit {unit}: expected ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "1d", "-1s", "1e99h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
