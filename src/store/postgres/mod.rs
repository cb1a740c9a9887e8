//! LiteLLM's Postgres: the pool, and one file for each thing read or written. All SQL of the project is below here.
//! Its tables are Prisma's: it must never alter one.
pub mod counters;
pub mod identity;
pub mod key_row;
pub mod spend;

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::Io;
use crate::secret::Secret;

/// Most connections; LiteLLM's own default is 10 a worker (`database_connection_pool_limit`).
pub const POOL: u32 = 10;
/// Longest wait for a free connection and for one query.
pub const WAIT: Duration = Duration::from_secs(5);

/// Until an unknown schema is looked at again: a migration may run meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
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
    #[error("the database failed: {0}")]
    Failed(String),
    #[error("the database has another schema than LiteLLM 1.106.2's")]
    Schema,
    #[error(transparent)]
    Stopped(#[from] super::io::Stopped),
}

impl From<sqlx::Error> for Unavailable {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Unavailable::TimedOut,
            // the code and class, not the text: a text may quote values
            sqlx::Error::Database(error) => Unavailable::Failed(format!("code {}", error.code().unwrap_or_default())),
            sqlx::Error::Io(error) => Unavailable::Failed(error.kind().to_string()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Unavailable::Failed("decoding".into()),
            _ => Unavailable::Failed("connection".into()),
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
    pool: PgPool,
}

impl Postgres {
    pub fn new(io: Io) -> Self {
        Self { io, open: Arc::default(), looked: Arc::default() }
    }

    /// Whether spend can be written there: every statement is tried once without a row. An unknown schema is looked at
    /// again after a while.
    pub async fn check_schema(&self, url: &Secret) -> Result<(), Unavailable> {
        if let Some(looked) = self.looked.load().as_ref().filter(|looked| looked.url == *url) {
            if looked.known {
                return Ok(());
            }
            if looked.at.elapsed() < LOOK_AGAIN {
                return Err(Unavailable::Schema);
            }
        }
        let probed = self.run(url, |pool| async move { spend::probe(&pool).await }).await;
        let known = match probed {
            Ok(()) => true,
            Err(Unavailable::Failed(code)) if code.starts_with(UNDEFINED) => {
                tracing::error!(%code, "the database's schema is unknown: virtual keys stay python's");
                false
            }
            Err(error) => return Err(error),
        };
        self.looked.store(Some(Arc::new(Looked { url: url.clone(), at: Instant::now(), known })));
        if known { Ok(()) } else { Err(Unavailable::Schema) }
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
            match tokio::time::timeout(WAIT, query(pool)).await {
                Ok(result) => result.map_err(Unavailable::from),
                Err(_) => Err(Unavailable::TimedOut),
            }
        };
        self.io.run(task).await?
    }

    /// The pool for `url`; only inside the io runtime.
    pub fn pool(&self, url: &Secret) -> Result<PgPool, Unavailable> {
        if let Some(open) = self.open.load().as_ref().filter(|open| open.url == *url) {
            return Ok(open.pool.clone());
        }
        let Parsed { options, limit } = parse(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(limit)
            .acquire_timeout(WAIT)
            .idle_timeout(Duration::from_secs(300))
            .max_lifetime(Duration::from_secs(1800))
            .connect_lazy_with(options);
        // a reload with another url: the old pool closes when its last query is done
        self.open.store(Some(Arc::new(Open { url: url.clone(), pool: pool.clone() })));
        Ok(pool)
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
