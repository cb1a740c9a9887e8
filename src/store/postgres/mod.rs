//! LiteLLM's Postgres: the pool, and one file for each thing read or written. All SQL of the project is below here.
//! Its tables are Prisma's: it must never alter one. Whoever finds it away says so at once to everybody: nobody else waits
//! for it, and one task looks when it is back.
pub mod counters;
pub mod identity;
pub mod key_row;
pub mod model_access;
pub mod models;
pub mod named_rows;
pub mod spend;
mod windows;

use std::{
    str::FromStr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::Io;
use crate::secret::Secret;

/// Most connections; LiteLLM's own default is 10 a worker (`database_connection_pool_limit`).
pub const POOL: u32 = 10;
/// Longest wait for a free connection and for one query.
pub const WAIT: Duration = Duration::from_secs(5);

/// Time between two looks at a database that is away.
const PROBE: Duration = Duration::from_secs(1);
/// How long it is looked at before it is asked whether anybody still cares.
const CARE: Duration = Duration::from_secs(30);

/// Until an unknown schema is looked at again: a migration may run meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Codes of class 42: a table, a column or a constraint is not there.
const UNDEFINED: &str = "code 42";

/// Why Postgres did not answer. Never has a value of a row or the address in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("no database is configured")]
    NotConfigured,
    #[error("the database url cannot be read: {0}")]
    Url(String),
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("the database did not answer a moment ago")]
    Away,
    #[error("the database failed: {0}")]
    Failed(String),
    #[error("the connection to the database failed: {0}")]
    Lost(String),
    #[error("the database has another schema than LiteLLM 1.106.2's")]
    Schema,
    #[error(transparent)]
    Stopped(#[from] super::io::Stopped),
}

/// Classes of codes by which it refuses what is to be written: a value it cannot hold, a constraint, a limit of its own.
const REFUSED: &[&str] = &["code 22", "code 23", "code 54"];

impl Unavailable {
    /// The database is there, and the same call would fail again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Unavailable::Failed(code) if REFUSED.iter().any(|class| code.starts_with(class)))
    }
}

/// Classes of codes by which a database that goes down, starts, or has become a standby answers; and a full one.
const AWAY: &[&str] = &["57P", "08", "25006", "53300"];

impl From<sqlx::Error> for Unavailable {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Unavailable::TimedOut,
            // the code and class, not the text: a text may quote values
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                let lost = AWAY.iter().any(|class| code.starts_with(class));
                let text = format!("code {code}");
                if lost { Unavailable::Lost(text) } else { Unavailable::Failed(text) }
            }
            sqlx::Error::Io(error) => Unavailable::Lost(error.kind().to_string()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Unavailable::Failed("decoding".into()),
            _ => Unavailable::Lost("connection".into()),
        }
    }
}

/// A pool in the io runtime that follows the configured url.
#[derive(Debug, Clone)]
pub struct Postgres {
    io: Io,
    open: Arc<ArcSwapOption<Open>>,
    /// what was found of the schema there, and when
    looked: Arc<ArcSwapOption<Looked>>,
}

#[derive(Debug)]
struct Looked {
    url: Secret,
    at: Instant,
    known: bool,
}

#[derive(Debug)]
struct Open {
    url: Secret,
    options: PgConnectOptions,
    limit: u32,
    pool: ArcSwap<PgPool>,
    /// it did not answer, and somebody looks when it does again
    away: AtomicBool,
}

impl Open {
    fn pool(options: &PgConnectOptions, limit: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(limit)
            .acquire_timeout(WAIT)
            .idle_timeout(Duration::from_secs(300))
            .max_lifetime(Duration::from_secs(1800))
            .connect_lazy_with(options.clone())
    }
}

/// What an operator is told of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Up,
    Away,
    UnknownSchema,
}

impl Postgres {
    pub fn new(io: Io) -> Self {
        Self { io, open: Arc::default(), looked: Arc::default() }
    }

    /// What the last calls found.
    pub fn state(&self) -> State {
        match (&*self.open.load(), self.is_unknown()) {
            (Some(open), _) if open.away.load(Ordering::Relaxed) => State::Away,
            (_, true) => State::UnknownSchema,
            _ => State::Up,
        }
    }

    /// The schema was looked at and is not LiteLLM's.
    pub fn is_unknown(&self) -> bool {
        self.looked.load().as_ref().is_some_and(|looked| !looked.known)
    }

    /// Whether keys can be read and spend be written there: every statement is tried once without a row. An unknown schema
    /// is looked at again after a while.
    pub async fn check_schema(&self, url: &Secret) -> Result<(), Unavailable> {
        if let Some(looked) = self.looked.load().as_ref().filter(|looked| looked.url == *url) {
            if looked.known {
                return Ok(());
            }
            if looked.at.elapsed() < LOOK_AGAIN {
                return Err(Unavailable::Schema);
            }
        }
        let probe = |pool| async move {
            identity::probe(&pool).await?;
            named_rows::probe(&pool).await?;
            spend::probe(&pool).await
        };
        match self.run(url, probe).await {
            Ok(()) => {
                if self.is_unknown() {
                    tracing::info!("the database's schema is known now");
                }
                self.looked.store(Some(Arc::new(Looked { url: url.clone(), at: Instant::now(), known: true })));
                Ok(())
            }
            Err(Unavailable::Failed(code)) if code.starts_with(UNDEFINED) => {
                self.unknown(url, &code);
                Err(Unavailable::Schema)
            }
            Err(error) => Err(error),
        }
    }

    /// A statement met another schema, which it may have become meanwhile.
    fn unknown(&self, url: &Secret, code: &str) {
        if !self.is_unknown() {
            tracing::error!(code, "the database's schema is unknown: virtual keys stay python's");
        }
        self.looked.store(Some(Arc::new(Looked { url: url.clone(), at: Instant::now(), known: false })));
    }

    /// Runs `query` in the io runtime with the pool of `url`, bounded by [`WAIT`].
    pub async fn run<T, Q, F>(&self, url: &Secret, query: Q) -> Result<T, Unavailable>
    where
        Q: FnOnce(PgPool) -> F + Send + 'static,
        F: Future<Output = Result<T, sqlx::Error>> + Send,
        T: Send + 'static,
    {
        let (this, url) = (self.clone(), url.clone());
        let task = async move {
            let pool = this.pool(&url)?;
            let result = match tokio::time::timeout(WAIT, query(pool)).await {
                Ok(result) => result.map_err(Unavailable::from),
                Err(_) => Err(Unavailable::TimedOut),
            };
            result.inspect_err(|error| this.failed(&url, error))
        };
        self.io.run(task).await?
    }

    /// The pool for `url`, unless the database did not answer a moment ago; only inside the io runtime.
    pub fn pool(&self, url: &Secret) -> Result<PgPool, Unavailable> {
        if let Some(open) = self.open.load().as_ref().filter(|open| open.url == *url) {
            return match open.away.load(Ordering::Acquire) {
                true => Err(Unavailable::Away),
                false => Ok(PgPool::clone(&open.pool.load())),
            };
        }
        let Parsed { options, limit } = parse(url)?;
        let pool = Open::pool(&options, limit);
        let away = AtomicBool::new(false);
        let open = Open { url: url.clone(), options, limit, pool: ArcSwap::from_pointee(pool.clone()), away };
        // a reload with another url: the old pool closes when its last query is done
        self.open.store(Some(Arc::new(open)));
        Ok(pool)
    }

    /// Hears what became of a call; only inside the io runtime. After a lost connection nobody is sent to the database
    /// until it answers again.
    pub fn failed(&self, url: &Secret, error: &Unavailable) {
        match error {
            Unavailable::Failed(code) if code.starts_with(UNDEFINED) => return self.unknown(url, code),
            Unavailable::TimedOut | Unavailable::Lost(_) => {}
            _ => return,
        }
        let open = self.open.load();
        let Some(open) = open.as_ref().filter(|open| open.url == *url) else { return };
        if open.away.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(%error, "postgres does not answer: known keys go on, spend is kept");
        // its connections may hang without an end, and would never leave the pool
        let old = open.pool.swap(Arc::new(Open::pool(&open.options, open.limit)));
        tokio::spawn(async move { old.close().await });
        tokio::spawn(look_out(Arc::downgrade(open)));
    }
}

/// Looks whether the database answers again, as long as anybody cares.
async fn look_out(open: Weak<Open>) {
    while let Some(options) = open.upgrade().map(|open| open.options.clone()) {
        let back = until_answer(move || {
            let options = options.clone();
            async move { PgConnection::connect_with(&options).await?.close().await }
        });
        if tokio::time::timeout(CARE, back).await.is_ok()
            && let Some(open) = open.upgrade()
        {
            open.away.store(false, Ordering::Release);
            tracing::info!("postgres answers again");
            return;
        }
    }
}

/// Waits for the first attempt that ends well. One is begun each second, whether or not those before it have ended: a
/// connection that hangs must not hide that a new one would be answered, and a database may be as slow as its callers
/// bear.
pub(super) async fn until_answer<T, F>(attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    T: Send + 'static,
{
    let mut attempts = tokio::task::JoinSet::new();
    loop {
        attempts.spawn(tokio::time::timeout(WAIT, attempt()));
        let mut pause = std::pin::pin!(tokio::time::sleep(PROBE));
        loop {
            tokio::select! {
                Some(done) = attempts.join_next() => {
                    if let Ok(Ok(Ok(value))) = done {
                        return value;
                    }
                }
                () = &mut pause => break,
            }
        }
    }
}

struct Parsed {
    options: PgConnectOptions,
    limit: u32,
}

/// A Prisma connection url: Postgres' own, with Prisma's parameters (`schema`, `connection_limit`, `pgbouncer`,
/// `sslaccept`, ...), of which the ones with a meaning here are honoured.
fn parse(url: &Secret) -> Result<Parsed, Unavailable> {
    let (base, query) = url.expose().split_once('?').unwrap_or((url.expose(), ""));
    let (mut kept, mut limit, mut schema, mut pgbouncer, mut accept) = (Vec::new(), POOL, None, false, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "connection_limit" => limit = value.parse().map_or(POOL, |n: u32| n.clamp(1, POOL)),
            "schema" => schema = Some(value),
            "pgbouncer" => pgbouncer = value == "true",
            "sslaccept" => accept = Some(value),
            "pool_timeout"
            | "connect_timeout"
            | "socket_timeout"
            | "max_idle_connection_lifetime"
            | "statement_cache_size"
            | "single_use_connections"
            | "sslidentity"
            | "sslpassword" => {}
            _ => kept.push(pair),
        }
    }
    let base = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let mut options = PgConnectOptions::from_str(&base).map_err(|_| Unavailable::Url("malformed".into()))?;
    options = options.application_name("litellm-rust");
    if let Some(schema) = schema.filter(|schema| *schema != "public") {
        options = options.options([("search_path", schema)]);
    }
    if pgbouncer {
        options = options.statement_cache_capacity(0);
    }
    // Prisma's default is not to judge the certificate
    if accept == Some("strict") {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(Parsed { options, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prisma_urls_are_read() {
        let url = "postgresql://u:p@db:5433/litellm?connection_limit=4&pool_timeout=60&schema=own&sslmode=disable";
        let parsed = parse(&Secret::new(url)).unwrap();
        assert_eq!((parsed.limit, parsed.options.get_port(), parsed.options.get_host()), (4, 5433, "db"));
        assert_eq!(parsed.options.get_options(), Some("-c search_path=own"));
        assert!(matches!(parsed.options.get_ssl_mode(), PgSslMode::Disable));
        assert_eq!(parse(&Secret::new("postgresql://db/x?connection_limit=900")).unwrap().limit, POOL);
    }

    #[test]
    fn an_error_never_has_the_url_in_it() {
        let Err(error) = parse(&Secret::new("not a url with hunter2")) else { panic!("read") };
        assert!(!error.to_string().contains("hunter2"));
    }
}
