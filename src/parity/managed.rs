//! Everything a run needs, started on free ports and stopped at its end: Postgres, Redis and the Python gateway by
//! `reference/*.sh`, the edge as this very binary. `--keep` leaves the reference for the next run: its ports stand in
//! the state folder, and a changed config.yaml restarts it.
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::{
    provider::{DeadPort, Provider},
    run::Edge,
};
use crate::{manifest::digest, secret::Secret};

#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error(
        "{0} failed ({1}); has parity-tests/reference/setup.sh been run? (REFERENCE_VENV names another environment)"
    )]
    Script(&'static str, std::process::ExitStatus),
    #[error("another run uses {0}; give it another --state")]
    Busy(PathBuf),
    #[error("the edge stopped by itself ({0}), see {1}")]
    EdgeGone(std::process::ExitStatus, PathBuf),
}

fn at(what: &'static str) -> impl Fn(io::Error) -> ManagedError {
    move |source| ManagedError::Io { what, source }
}

/// Ports of the reference, kept in the state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ports {
    proxy: u16,
    postgres: u16,
    redis: u16,
    provider: u16,
    dead: u16,
    /// of config.yaml when the Python gateway was started
    config_digest: String,
}

/// The keys are fixed: a kept reference must know them, and they are worth nothing.
pub const PROVIDER_KEY: &str = "sk-parity-provider";
const SALT_KEY: &str = "sk-parity-salt";
/// Providers that LiteLLM calls without a deployment (files, /anthropic/*, ...), by the names of their variables, and the
/// path of their base: the scripted provider for all of them, so that no case reaches out of the machine.
const PROVIDERS: &[(&str, &str)] = &[
    ("OPENAI", "/v1"),
    ("ANTHROPIC", ""),
    ("AZURE", ""),
    ("COHERE", ""),
    ("GEMINI", ""),
    ("MISTRAL", ""),
    ("OPENROUTER", ""),
    ("TYPESAFE", ""),
    ("GIGACHAT", ""),
    ("VLLM", ""),
];

/// What belongs to a run.
pub struct Managed {
    suite: PathBuf,
    state: PathBuf,
    master_key: Secret,
    ports: Option<Ports>,
    edges: Vec<Child>,
    _dead: Option<DeadPort>,
}

/// How an edge is to be started.
#[derive(Debug, Clone, Copy)]
struct EdgeSetup<'a> {
    binary: &'a Path,
    /// its manifest
    routes: &'a Path,
    /// its config.yaml
    config: &'a Path,
    /// its output
    log: &'a Path,
    /// on top of the suite's own; an empty value takes a variable away
    environment: &'a [(String, String)],
}

/// What the edges of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct EdgePlace<'a> {
    pub suite: &'a Path,
    /// `None`: the suite's
    pub routes: Option<&'a Path>,
    pub binary: &'a Path,
    /// where logs go
    pub out: &'a Path,
}

impl EdgePlace<'_> {
    /// Starts the edge of `configs/<name>.yaml` (with `<name>.routes.toml` and `<name>.env`, where they are there), or of
    /// config.yaml. `environment` comes on top.
    pub async fn start(
        &self,
        managed: &mut Managed,
        name: Option<&str>,
        environment: &[(String, String)],
    ) -> Result<Edge, ManagedError> {
        let own = |ending: &str| {
            let path = self.suite.join("configs").join(format!("{}.{ending}", name?));
            path.is_file().then_some(path)
        };
        let routes = own("routes.toml").or_else(|| self.routes.map(Path::to_owned));
        let routes = routes.unwrap_or_else(|| self.suite.join("routes.toml"));
        let config = own("yaml").unwrap_or_else(|| self.suite.join("config.yaml"));
        let log = self.out.join(name.map_or("edge.log".to_owned(), |name| format!("edge-{name}.log")));
        let mut variables = match own("env") {
            Some(path) => variables(&std::fs::read_to_string(path).map_err(at("a config's .env"))?),
            None => Vec::new(),
        };
        variables.extend_from_slice(environment);
        let setup =
            EdgeSetup { binary: self.binary, routes: &routes, config: &config, log: &log, environment: &variables };
        Ok(Edge { base: managed.start_edge(&setup).await?.into(), log: Some(log) })
    }
}

/// `NAME=value` lines; `#` begins a comment line.
fn variables(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

impl Managed {
    /// Starts nothing yet. `suite`: the folder `parity-tests`; `state`: data and logs of the reference.
    pub fn new(suite: &Path, state: &Path, master_key: Secret) -> Result<Self, ManagedError> {
        let suite = suite.canonicalize().map_err(at("the suite's folder"))?;
        Ok(Self { suite, state: state.to_owned(), master_key, ports: None, edges: Vec::new(), _dead: None })
    }

    /// Starts the provider and the reference, or takes the one that is kept.
    pub async fn start(&mut self) -> Result<Provider, ManagedError> {
        std::fs::create_dir_all(&self.state).map_err(at("the state folder"))?;
        let config_digest = digest::python_config(&self.suite).map_err(at("config.yaml"))?;
        let kept = self.kept();
        let provider = match &kept {
            Some(ports) => match Provider::start(ports.provider).await {
                Ok(provider) => Some(provider),
                // the port belongs to another run, or somebody else took it meanwhile
                Err(_) if self.is_alive("proxy") => return Err(ManagedError::Busy(self.state.clone())),
                Err(_) => None,
            },
            None => None,
        };
        let (provider, ports) = match (provider, kept) {
            (Some(provider), Some(kept)) if kept.config_digest == config_digest => (provider, kept),
            (provider, kept) => {
                self.ports = kept;
                self.down().await?;
                drop(provider);
                let provider = Provider::start(0).await.map_err(at("the scripted provider"))?;
                let ports = free_ports(provider.address.port(), config_digest).map_err(at("free ports"))?;
                (provider, ports)
            }
        };
        self._dead = Some(DeadPort::bind(ports.dead).map_err(at("the dead port"))?);
        let text = serde_json::to_string(&ports).map_err(|e| at("ports.json")(io::Error::other(e)))?;
        std::fs::write(self.state.join("ports.json"), text).map_err(at("ports.json"))?;
        self.ports = Some(ports);
        let mut up = self.script("up.sh");
        let status = up.status().await.map_err(at("reference/up.sh"))?;
        if !status.success() {
            return Err(ManagedError::Script("reference/up.sh", status));
        }
        Ok(provider)
    }

    fn kept(&self) -> Option<Ports> {
        serde_json::from_slice(&std::fs::read(self.state.join("ports.json")).ok()?).ok()
    }

    fn is_alive(&self, name: &str) -> bool {
        let pid = std::fs::read_to_string(self.state.join(format!("{name}.pid"))).unwrap_or_default();
        let pid = pid.lines().next().unwrap_or_default();
        !pid.is_empty() && Path::new("/proc").join(pid).exists()
    }

    fn environment(&self, command: &mut Command) {
        let Some(ports) = &self.ports else { return };
        let base = |port: u16, path: &str| format!("http://127.0.0.1:{port}{path}");
        command
            .env("LITELLM_MASTER_KEY", self.master_key.expose())
            .env("LITELLM_SALT_KEY", SALT_KEY)
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", ports.redis.to_string())
            .env("DATABASE_URL", self.database_url().expose())
            .env("PARITY_PROVIDER_KEY", PROVIDER_KEY)
            .env("PARITY_OPENAI_BASE", base(ports.provider, "/v1"))
            .env("PARITY_ANTHROPIC_BASE", base(ports.provider, ""))
            .env("PARITY_DEAD_OPENAI_BASE", base(ports.dead, "/v1"))
            .env("PARITY_DEAD_ANTHROPIC_BASE", base(ports.dead, ""));
        for (name, path) in PROVIDERS {
            command.env(format!("{name}_API_BASE"), base(ports.provider, path));
            command.env(format!("{name}_API_KEY"), PROVIDER_KEY);
        }
    }

    fn script(&self, name: &str) -> Command {
        let mut command = clean(&self.suite.join("reference").join(name));
        command
            .env("REFERENCE_STATE", &self.state)
            .env("REFERENCE_CONFIG", self.suite.join("config.yaml"))
            .env("UPSTREAM_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(ports) = &self.ports {
            command.env("PROXY_PORT", ports.proxy.to_string()).env("PG_PORT", ports.postgres.to_string());
        }
        self.environment(&mut command);
        command
    }

    /// Starts an edge and waits until it listens.
    async fn start_edge(&mut self, edge: &EdgeSetup<'_>) -> Result<SocketAddr, ManagedError> {
        let port = free_port().map_err(at("a free port"))?;
        let file = File::create(edge.log).map_err(at("the edge's log"))?;
        let mut command = clean(edge.binary);
        command
            .arg("--config")
            .arg(edge.config)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--python"])
            .arg(format!("http://{}", self.python()))
            .arg("--routes")
            .arg(edge.routes)
            // the gate wants evidence, which is only being made: honoured on loopback alone
            .env("LITELLM_EDGE_UNGATED", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(at("the edge's log"))?)
            .stderr(file)
            .kill_on_drop(true);
        self.environment(&mut command);
        for (name, value) in edge.environment {
            match value.is_empty() {
                true => command.env_remove(name),
                false => command.env(name, value),
            };
        }
        let mut child = command.spawn().map_err(at("the edge"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // it must listen before anybody asks it who it is
        for _ in 0..200 {
            if let Some(status) = child.try_wait().map_err(at("the edge"))? {
                return Err(ManagedError::EdgeGone(status, edge.log.to_owned()));
            }
            if super::provider::listens(address).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.edges.push(child);
        Ok(address)
    }

    /// Stops every edge that was started.
    pub async fn stop_edges(&mut self) -> Result<(), ManagedError> {
        for mut edge in std::mem::take(&mut self.edges) {
            if let Some(pid) = edge.id() {
                // asks; the edge drains
                let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
            }
            if tokio::time::timeout(Duration::from_secs(5), edge.wait()).await.is_err() {
                edge.kill().await.map_err(at("the edge"))?;
            }
        }
        Ok(())
    }

    /// The Python gateway's address.
    pub fn python(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.as_ref().map_or(0, |ports| ports.proxy)))
    }

    pub fn database_url(&self) -> Secret {
        Secret::new(format!("postgresql://litellm@127.0.0.1:{}/litellm", self.ports.as_ref().map_or(0, |p| p.postgres)))
    }

    /// host:port
    pub fn redis(&self) -> String {
        format!("127.0.0.1:{}", self.ports.as_ref().map_or(0, |ports| ports.redis))
    }

    /// Stops the edges and, unless `keep`, the reference.
    pub async fn stop(&mut self, keep: bool) -> Result<(), ManagedError> {
        self.stop_edges().await?;
        if keep {
            return Ok(());
        }
        self.down().await
    }

    /// Stops what a state folder's reference runs.
    pub async fn down(&mut self) -> Result<(), ManagedError> {
        if self.ports.is_none() {
            self.ports = self.kept();
        }
        let status = self.script("down.sh").status().await.map_err(at("reference/down.sh"))?;
        if status.success() { Ok(()) } else { Err(ManagedError::Script("reference/down.sh", status)) }
    }
}

/// A command that sees nothing of what the caller's shell has set for LiteLLM, its providers, TLS or proxies.
pub(super) fn clean(program: &Path) -> Command {
    const KEPT: &[&str] = &["PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH"];
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        KEPT.contains(&name.as_ref()) || name.starts_with("REFERENCE_")
    }));
    command
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// All at once, so that no port is given twice.
fn free_ports(provider: u16, config_digest: String) -> io::Result<Ports> {
    let held = (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<io::Result<Vec<_>>>()?;
    match ports.as_slice() {
        &[proxy, postgres, redis, dead] => Ok(Ports { proxy, postgres, redis, provider, dead, config_digest }),
        _ => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}
