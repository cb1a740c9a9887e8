//! The gateways: what stands in each row, how it is started, and what belongs to it.
use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    backing::Backing,
    options::{Options, Other},
    process::{self, Running},
    works::Target,
};

/// What all gateways of one run are given. Another way of running them (virtual keys, Postgres, Redis) is another
/// `Setup`; nothing else knows what is in it.
pub(crate) struct Setup {
    /// said in the reports
    pub(crate) name: &'static str,
    /// config.yaml
    pub(crate) config: String,
    /// environment of Python and edge alike
    pub(crate) env: Vec<(&'static str, String)>,
    /// what clients send
    pub(crate) key: String,
    /// what creates it: the body of `/key/generate`
    pub(crate) generate: Option<String>,
}

const MASTER_KEY: &str = "sk-bench";

impl Setup {
    /// A master key and nothing else: no database, no Redis, no retries, no cooldowns.
    pub(crate) fn master_key(provider: u16) -> Self {
        let config = format!(
            "model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o, api_base: \"http://127.0.0.1:{provider}/v1\", api_key: sk-upstream}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5-20250929, api_base: \"http://127.0.0.1:{provider}\", api_key: sk-upstream}}
litellm_settings: {{num_retries: 0, request_timeout: 60}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {MASTER_KEY}}}
"
        );
        let env = vec![("LITELLM_LOCAL_MODEL_COST_MAP", "True".to_owned()), ("LITELLM_LOG", "ERROR".to_owned())];
        Self { name: "master key only, no database, no Redis", config, env, key: MASTER_KEY.into(), generate: None }
    }

    /// A virtual key with limits that are never reached, a budget, and its books in Postgres and Redis.
    pub(crate) fn virtual_key(provider: u16, backing: &Backing) -> Self {
        let plain = Self::master_key(provider);
        let books = format!("general_settings: {{master_key: {MASTER_KEY}, database_url: os.environ/DATABASE_URL}}");
        let config = plain.config.replace(&format!("general_settings: {{master_key: {MASTER_KEY}}}"), &books);
        let key = "sk-bench-virtual-0001";
        let body = format!(
            r#"{{"key":"{key}","rpm_limit":100000000,"tpm_limit":1000000000000,"max_parallel_requests":100000,"max_budget":1000000}}"#
        );
        let mut env = plain.env;
        env.extend(backing.env());
        let name = "virtual key with limits of requests, tokens and calls at a time and a budget; Postgres and Redis";
        Self { name, config, env, key: key.into(), generate: Some(body) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Nothing between client and provider: what all others are compared with.
    Provider,
    /// The least a proxy costs on this machine, see [`crate::forwarder`].
    Forwarder,
    Python {
        workers: u32,
    },
    /// Every route passed through, to the scripted provider: what passing through itself costs.
    EdgePass,
    /// Every route passed through to the Python gateway with one worker: what a client sees of that.
    EdgePython,
    EdgeNative,
    Other,
}

impl Kind {
    /// Python works in milliseconds, all others in microseconds: it needs fewer requests and gets more time.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Kind::Python { .. } | Kind::EdgePython)
    }
}

/// One gateway, ready.
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    /// all that serves its requests; with their children they are its process tree
    pub(crate) roots: Vec<u32>,
    pub(crate) ready: Option<Duration>,
    /// stopped when dropped
    _process: Option<Running>,
}

impl Gateway {
    pub(crate) fn idle_memory(&self) -> f64 {
        process::memory(&self.roots, "VmRSS")
    }
}

/// Starts gateways and knows what they need.
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) setup: Setup,
    folder: PathBuf,
    provider_port: u16,
    provider: Option<Running>,
    pub(crate) backing: Option<Backing>,
}

impl<'a> Stage<'a> {
    /// Starts the provider.
    pub(crate) fn open(options: &'a Options) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("litellm-rust-speed-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let port = options.port.map_or_else(process::free_port, Ok)?;
        let venv = options.python.as_deref().filter(|_| options.keys);
        let backing = venv.map(|venv| Backing::start(&folder, venv)).transpose()?;
        let setup = backing.as_ref().map_or_else(|| Setup::master_key(port), |it| Setup::virtual_key(port, it));
        fs::write(folder.join("config.yaml"), &setup.config)?;
        let mut stage = Self { options, setup, folder, provider_port: port, provider: None, backing };
        stage.start_provider()?;
        Ok(stage)
    }

    #[cfg(not(test))]
    fn start_provider(&mut self) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["provider", &self.provider_port.to_string()]);
        let mut running = Running::start(command, &[], &self.folder.join("provider.log"))?;
        running.wait_for(self.provider_port, "/", Duration::from_secs(5)).context("the scripted provider")?;
        self.provider = Some(running);
        Ok(())
    }

    /// The test's program cannot be its own provider: a thread is.
    #[cfg(test)]
    fn start_provider(&mut self) -> Result<()> {
        let port = self.provider_port;
        std::thread::spawn(move || crate::provider::run(port));
        Ok(())
    }

    #[cfg(not(test))]
    fn forwarder(&self, name: &str) -> Result<(u16, Option<Running>)> {
        let port = process::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["forwarder", &port.to_string(), &self.provider_port.to_string()]);
        let mut running = Running::start(command, &[], &self.log(name))?;
        running.wait_for(port, "/", Duration::from_secs(5)).context("the bare forwarder")?;
        Ok((port, Some(running)))
    }

    /// As the provider: a thread.
    #[cfg(test)]
    fn forwarder(&self, _: &str) -> Result<(u16, Option<Running>)> {
        let (port, provider) = (process::free_port()?, self.provider_port);
        std::thread::spawn(move || crate::forwarder::run(port, provider));
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && began.elapsed().as_secs() < 5 {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((port, None))
    }

    /// The provider's process.
    pub(crate) fn yardstick(&self) -> u32 {
        self.provider.as_ref().map_or_else(std::process::id, Running::pid)
    }

    /// `python`: what the edge is put before.
    pub(crate) fn start(&self, name: &str, kind: Kind, python: Option<&Gateway>) -> Result<Gateway> {
        let started = match kind {
            Kind::Provider => {
                let roots = vec![self.yardstick()];
                let target = Target { port: self.provider_port, ..self.target() };
                return Ok(Gateway { name: name.into(), kind, target, roots, ready: None, _process: None });
            }
            Kind::Forwarder => {
                let (port, process) = self.forwarder(name)?;
                let roots = vec![process.as_ref().map_or_else(std::process::id, Running::pid)];
                let target = Target { port, ..self.target() };
                return Ok(Gateway { name: name.into(), kind, target, roots, ready: None, _process: process });
            }
            Kind::Python { workers } => self.python(name, workers),
            _ => self.edge(name, kind, python.map_or(self.provider_port, |python| python.target.port)),
        };
        let (port, process, ready) =
            started.with_context(|| format!("{name} does not start:\n{}", self.last_words(name)))?;
        let mut roots = vec![process.pid()];
        roots.extend(python.iter().flat_map(|python| python.roots.iter().copied()));
        let target = Target { port, ..self.target() };
        Ok(Gateway { name: name.into(), kind, target, roots, ready: Some(ready), _process: Some(process) })
    }

    /// A gateway that somebody else has started.
    pub(crate) fn other(&self, other: &Other) -> Gateway {
        let target = Target {
            port: other.port,
            prefix: other.prefix.clone(),
            key: other.key.clone().unwrap_or_else(|| self.setup.key.clone()),
            chat_model: other.chat_model.clone(),
            messages_model: other.messages_model.clone(),
        };
        let (name, kind) = (other.name.clone(), Kind::Other);
        Gateway { name, kind, target, roots: vec![other.pid], ready: None, _process: None }
    }

    fn target(&self) -> Target {
        Target {
            port: 0,
            prefix: String::new(),
            key: self.setup.key.clone(),
            chat_model: Some("gpt".into()),
            messages_model: Some("claude".into()),
        }
    }

    fn python(&self, name: &str, workers: u32) -> Result<(u16, Running, Duration)> {
        let venv = self.options.python.as_deref().context("no Python environment (--python)")?;
        let port = process::free_port()?;
        let litellm = venv.join("bin/litellm");
        let mut command = match &self.backing {
            Some(backing) => backing.wrapped(&litellm)?,
            None => Command::new(litellm),
        };
        command.current_dir(&self.folder).arg("--config").arg(self.folder.join("config.yaml"));
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--telemetry", "False"]);
        command.args(["--num_workers", &workers.to_string()]);
        let mut env = self.setup.env.clone();
        env.push(("REFERENCE_VENV", venv.display().to_string()));
        let mut running = Running::start(command, &env, &self.log(name))?;
        let ready = running.wait_for(port, "/health/readiness", Duration::from_secs(600))?;
        Ok((port, running, ready))
    }

    pub(crate) fn master_key(&self) -> &'static str {
        MASTER_KEY
    }

    /// Makes the clients' key, by the first Python gateway.
    pub(crate) fn make_key(&self, python: &Gateway) -> Result<()> {
        let Some(body) = &self.setup.generate else { return Ok(()) };
        process::post(python.target.port, "/key/generate", MASTER_KEY, body).context("the virtual key")
    }

    /// With its shipped routes.toml, access log and all; native routes run without evidence, which only this and the
    /// parity suite may ask for.
    fn edge(&self, name: &str, kind: Kind, python: u16) -> Result<(u16, Running, Duration)> {
        let port = process::free_port()?;
        let mut command = Command::new(&self.options.binary);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--log", &self.options.log]);
        command.args(["--python", &format!("http://127.0.0.1:{python}"), "--routes"]).arg(self.routes()?);
        command.arg("--config").arg(self.folder.join("config.yaml"));
        let mut env = self.setup.env.clone();
        env.push(match kind {
            Kind::EdgeNative => ("LITELLM_EDGE_UNGATED", "1".into()),
            _ => ("LITELLM_EDGE_ALL_PYTHON", "1".into()),
        });
        let mut running = Running::start(command, &env, &self.log(name))?;
        let ready = running.wait_for(port, "/edge/ready", Duration::from_secs(20))?;
        Ok((port, running, ready))
    }

    /// The shipped file; where books are kept, with what an operator has to accept for that.
    fn routes(&self) -> Result<PathBuf> {
        if self.backing.is_none() {
            return Ok("routes.toml".into());
        }
        let accepting = self.folder.join("routes.toml");
        fs::write(&accepting, fs::read_to_string("routes.toml")?.replace("# accept = [", "accept = ["))?;
        Ok(accepting)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn last_words(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.provider = None;
        self.backing = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}
