//! LiteLLM's Redis: one multiplexed connection in the io runtime, scripts, and the channel by which Python says what
//! changed. Keys are written as LiteLLM names them; the namespace is put in front here and nowhere else. After five
//! failures in a row it is left alone for a while, as LiteLLM's own breaker does (caching/redis_cache.py).
use std::{
    sync::{
        Arc, LazyLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};
use tokio::sync::Mutex;

use super::{Io, io::Stopped};
use crate::secret::Secret;

/// Where Redis is and under which prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisTarget {
    /// `redis://[user:password@]host:port/db`
    pub url: Secret,
    /// `<namespace>:` in front of every key
    pub namespace: Option<String>,
}

/// Why Redis did not answer. Never has a key or the address in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    #[error("redis is left alone for a while after repeated failures")]
    Broken,
    #[error("redis did not answer in time")]
    TimedOut,
    #[error("redis failed: {0}")]
    Failed(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            return RedisError::TimedOut;
        }
        // the kind and code, not the text: a text may quote what was sent
        RedisError::Failed(error.code().map_or_else(|| format!("{:?}", error.kind()), str::to_owned))
    }
}

/// Longest wait for a call, connecting included; LiteLLM's `socket_timeout` is 5 s (constants.REDIS_SOCKET_TIMEOUT).
const WAIT: Duration = Duration::from_secs(5);
/// Longest wait for a new connection: a Redis that is only slow answers within it.
const CONNECT: Duration = Duration::from_secs(2);
/// LiteLLM's breaker: failures in a row until it opens, and how long it stays open.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(60);
/// Time between looks at a Redis that is left alone, and the longest wait for its answer then.
const PROBE: Duration = Duration::from_secs(1);
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Longest pause between two tries to listen to it.
const RELISTEN: Duration = Duration::from_secs(2);

/// Sets a number and its life, if it is below or absent.
static RAISE: LazyLock<redis::Script> = LazyLock::new(|| {
    redis::Script::new(
        "local now = tonumber(redis.call('GET', KEYS[1]) or '') \
         if not now or now < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end",
    )
});

/// The connection, shared by clones.
#[derive(Debug, Clone)]
pub struct Redis {
    io: Io,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: RedisTarget,
    open: Mutex<Option<MultiplexedConnection>>,
    failures: AtomicU32,
    /// while it is in the future nothing is sent
    pause_until: std::sync::Mutex<Option<Instant>>,
    /// since when [`Redis::listen`] has a connection that answers
    listening: std::sync::Mutex<Option<Instant>>,
    scripts: std::sync::Mutex<Scripts>,
}

/// What became of scripts.
#[derive(Debug, Default)]
struct Scripts {
    /// when the last one was run: who began before that has nothing to say
    ran: Option<Instant>,
    /// when the last one began, if it was not run
    failed: Option<Instant>,
}

impl Redis {
    /// Connects with the first call.
    pub fn new(io: Io, target: RedisTarget) -> Self {
        let (open, failures, pause_until, listening, scripts) = Default::default();
        Self { io, shared: Arc::new(Shared { target, open, failures, pause_until, listening, scripts }) }
    }

    /// When the last script began that was not run: Redis was away, or refused it. `None`: it was.
    pub fn failed(&self) -> Option<Instant> {
        self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner).failed
    }

    /// Since when [`Redis::listen`] hears what is said; `None`: it does not.
    pub fn listening(&self) -> Option<Instant> {
        *self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, since: Option<Instant>) {
        *self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub fn target(&self) -> &RedisTarget {
        &self.shared.target
    }

    /// A key as it stands in Redis.
    pub fn key(&self, key: &str) -> String {
        match &self.shared.target.namespace {
            Some(namespace) if !key.starts_with(&format!("{namespace}:")) => format!("{namespace}:{key}"),
            _ => key.to_owned(),
        }
    }

    /// Whether the breaker lets calls through.
    pub fn is_usable(&self) -> bool {
        let pause = self.shared.pause_until.lock().unwrap_or_else(PoisonError::into_inner);
        pause.is_none_or(|until| Instant::now() >= until)
    }

    /// Sends the pipeline in one go and reads all its answers; keys in it are whole ([`Redis::key`]).
    pub async fn run<T>(&self, pipeline: Pipeline) -> Result<T, RedisError>
    where
        T: redis::FromRedisValue + Send + 'static,
    {
        self.within(|mut open| async move { pipeline.query_async(&mut open).await }).await
    }

    /// Runs a script by its hash, sending its text only when Redis does not know it.
    pub async fn script<T>(&self, call: redis::ScriptInvocation<'static>) -> Result<T, RedisError>
    where
        T: redis::FromRedisValue + Send + 'static,
    {
        if !self.is_usable() {
            return Err(RedisError::Broken);
        }
        let begun = Instant::now();
        let result = self.within(|mut open| async move { call.invoke_async(&mut open).await }).await;
        let mut scripts = self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() {
            *scripts = Scripts { ran: Some(Instant::now()), failed: None };
        } else if scripts.ran.is_none_or(|ran| ran < begun) {
            scripts.failed = Some(begun);
        }
        drop(scripts);
        result
    }

    /// Gives a spend counter the value of its row: an absent one (`absent`) if it still is, another one if it is below.
    pub async fn seed(&self, key: &str, value: f64, ttl: i64, absent: bool) -> Result<(), RedisError> {
        let (key, text) = (self.key(key), format!("{value:?}"));
        if absent {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SET").arg(key).arg(text).arg("NX").arg("EX").arg(ttl).ignore();
            return self.run(pipeline).await;
        }
        let mut raise = RAISE.prepare_invoke();
        raise.key(key).arg(text).arg(ttl);
        self.script(raise).await
    }

    /// Sets a spend counter.
    pub async fn put(&self, key: &str, value: f64, ttl: i64) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(self.key(key)).arg(format!("{value:?}")).arg("EX").arg(ttl).ignore();
        self.run(pipeline).await
    }

    /// Runs `call` on the connection, from any runtime: what it sends goes through a channel to the connection's own task.
    /// A failed connection is replaced by the next call. Dropping the future may leave the call sent and its answer unheard.
    pub async fn within<T, C, F>(&self, call: C) -> Result<T, RedisError>
    where
        C: FnOnce(MultiplexedConnection) -> F,
        F: Future<Output = redis::RedisResult<T>>,
    {
        if !self.is_usable() {
            return Err(RedisError::Broken);
        }
        // who waits for another's connection waits no longer for it than for an answer
        let whole = async {
            match self.connection().await? {
                Ok(open) => Ok(call(open).await),
                Err(error) => Ok(Err(error)),
            }
        };
        let (error, lost) = match tokio::time::timeout(WAIT, whole).await {
            Ok(Ok(Ok(value))) => {
                self.shared.failures.store(0, Ordering::Relaxed);
                return Ok(value);
            }
            Ok(Err(stopped)) => (RedisError::Stopped(stopped), false),
            Ok(Ok(Err(error))) => {
                let lost = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
                // a master that has become a replica stays one on this connection
                let demoted = error.kind() == redis::ServerErrorKind::ReadOnly.into();
                (RedisError::from(error), lost || demoted)
            }
            Err(_) => (RedisError::TimedOut, true),
        };
        if lost {
            // whoever holds the lock is connecting anew
            if let Ok(mut open) = self.shared.open.try_lock() {
                *open = None;
            }
            self.count_failure();
        }
        Err(error)
    }

    /// The open connection, or a new one: the io runtime drives it, whoever asks.
    async fn connection(&self) -> Result<redis::RedisResult<MultiplexedConnection>, Stopped> {
        let mut open = self.shared.open.lock().await;
        if let Some(open) = &*open {
            return Ok(Ok(open.clone()));
        }
        let this = self.clone();
        let new = self.io.run(async move { this.connect().await }).await?;
        if let Ok(new) = &new {
            *open = Some(new.clone());
        }
        Ok(new)
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        // how long an answer may take is said by who waits for it
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let client = Client::open(self.shared.target.url.expose())?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn count_failure(&self) {
        if self.shared.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES {
            return;
        }
        self.shared.failures.store(0, Ordering::Relaxed);
        let mut pause = self.shared.pause_until.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = Some(Instant::now() + PAUSE);
        drop(pause);
        tracing::error!(pause_s = PAUSE.as_secs(), "redis fails, limits are counted locally for a while");
        self.probe();
    }

    /// Looks every second whether Redis is back and ends the pause then: LiteLLM's breaker waits it out.
    fn probe(&self) {
        let this = self.clone();
        self.io.start(async move {
            let until = Instant::now() + PAUSE;
            while Instant::now() < until {
                tokio::time::sleep(PROBE).await;
                let answers = async {
                    let mut open = this.connection().await.ok()?.ok()?;
                    redis::cmd("PING").query_async::<String>(&mut open).await.ok()
                };
                if let Ok(Some(_)) = tokio::time::timeout(PROBE_WAIT, answers).await {
                    *this.shared.pause_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    tracing::info!("redis answers again");
                    return;
                }
                if let Ok(mut open) = this.shared.open.try_lock() {
                    *open = None;
                }
            }
        });
    }

    /// Hands every message of `channel` (named without the namespace) to `heard`, for ever; reconnects, also where the
    /// connection is only silent. For the io runtime. `again`: called after each (re)connection: what was said meanwhile
    /// was missed.
    pub async fn listen(&self, channel: &str, again: impl Fn(), heard: impl Fn(&[u8])) {
        let channel = self.key(channel);
        let mut pause = PROBE;
        loop {
            match tokio::time::timeout(PROBE_WAIT, self.subscribe(&channel)).await {
                Ok(Ok(messages)) => {
                    pause = PROBE;
                    self.heard(Some(Instant::now()));
                    again();
                    hear(messages, &heard).await;
                    tracing::warn!("the connection to redis for invalidations broke");
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %RedisError::from(error), "no connection to redis for invalidations");
                }
                Err(_) => tracing::warn!("redis does not answer: no connection for invalidations"),
            }
            self.heard(None);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RELISTEN);
        }
    }

    async fn subscribe(&self, channel: &str) -> redis::RedisResult<redis::aio::PubSub> {
        let client = Client::open(self.shared.target.url.expose())?;
        let mut messages = client.get_async_pubsub().await?;
        messages.subscribe(channel).await?;
        Ok(messages)
    }
}

/// Until the connection ends, or does not answer a ping.
async fn hear(messages: redis::aio::PubSub, heard: &impl Fn(&[u8])) {
    let (mut asking, mut messages) = messages.split();
    let mut ping = tokio::time::interval(PROBE_WAIT);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => heard(message.get_payload_bytes()),
                None => return,
            },
            _ = ping.tick() => {
                if !matches!(tokio::time::timeout(PROBE_WAIT, asking.ping::<redis::Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
