//! Whether the Python gateway answers: asked once a second, four times a second while it does not.
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use super::{
    python::{PythonTarget, Resolved},
    tunnel::{Opened, open},
};
use crate::telemetry::Metrics;

const EVERY_WHEN_UP: Duration = Duration::from_secs(1);
const EVERY_WHEN_DOWN: Duration = Duration::from_millis(250);

/// What is known of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonState {
    /// not asked yet, or has never answered since the edge started
    Starting,
    Up,
    Down,
}

impl PythonState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A view of the prober's knowledge.
#[derive(Debug, Clone)]
pub struct PythonView {
    pub state: PythonState,
    /// how long it has been in that state
    pub since: Duration,
    pub last_error: Option<String>,
    /// since the last answer; `None`: never answered
    pub last_up: Option<Duration>,
}

#[derive(Debug)]
struct Known {
    state: PythonState,
    since: Instant,
    last_error: Option<String>,
    last_up: Option<Instant>,
}

/// The prober's memory; read by the status pages and by error answers, never on the way of a good request.
#[derive(Debug)]
pub struct PythonHealth {
    known: Mutex<Known>,
    kick: Notify,
}

impl Default for PythonHealth {
    fn default() -> Self {
        let known = Known { state: PythonState::Starting, since: Instant::now(), last_error: None, last_up: None };
        Self { known: Mutex::new(known), kick: Notify::new() }
    }
}

impl PythonHealth {
    pub fn view(&self) -> PythonView {
        let known = self.lock();
        PythonView {
            state: known.state,
            since: known.since.elapsed(),
            last_error: known.last_error.clone(),
            last_up: known.last_up.map(|at| at.elapsed()),
        }
    }

    /// Whether a refused connection means "not yet" rather than "gone": Python never answered, or did within `restart`.
    pub fn is_starting(&self, restart: Duration) -> bool {
        let known = self.lock();
        match known.last_up {
            None => true,
            Some(at) => at.elapsed() < restart,
        }
    }

    /// A request met a failure: ask at once instead of at the next beat.
    pub fn suspect(&self) {
        self.kick.notify_one();
    }

    fn learn(&self, answer: Result<(), String>, metrics: &Metrics) {
        let mut known = self.lock();
        let now = Instant::now();
        let state = match (&answer, known.last_up) {
            (Ok(()), _) => PythonState::Up,
            (Err(_), None) => PythonState::Starting,
            (Err(_), Some(_)) => PythonState::Down,
        };
        if state != known.state {
            match &answer {
                Ok(()) => tracing::info!(after_ms = known.since.elapsed().as_millis() as u64, "python gateway is up"),
                Err(error) => tracing::warn!(%error, "python gateway does not answer"),
            }
            known.state = state;
            known.since = now;
        }
        metrics.python_up.set(i64::from(state == PythonState::Up));
        match answer {
            Ok(()) => known.last_up = Some(now),
            Err(error) => known.last_error = Some(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks for ever; runs in the io service.
    pub async fn probe(&self, target: &PythonTarget, path: &str, timeout: Duration, metrics: &Metrics) {
        loop {
            let answer = match target.resolve().await {
                Err(error) => Err(error),
                Ok(()) => match tokio::time::timeout(timeout, ask(target, path, timeout)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(format!("no answer within {timeout:?}")),
                },
            };
            let every = if answer.is_ok() { EVERY_WHEN_UP } else { EVERY_WHEN_DOWN };
            self.learn(answer, metrics);
            let _ = tokio::time::timeout(every, self.kick.notified()).await;
            if every == EVERY_WHEN_UP {
                continue;
            }
            // suspicions come in swarms while Python is down
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One question on a connection of its own: what counts is that Python accepts and answers.
async fn ask(target: &PythonTarget, path: &str, timeout: Duration) -> Result<(), String> {
    let Some(to) = target.resolved() else { return Err("name not resolved".to_owned()) };
    let host = match &to {
        Resolved::Tcp(address) => address.to_string(),
        Resolved::Unix(_) => "localhost".to_owned(),
    };
    let opened = open(&to, timeout).await.map_err(|error| match error.etype() {
        pingora::ErrorType::ConnectRefused => "connection refused".to_owned(),
        pingora::ErrorType::ConnectTimedout => "connection timed out".to_owned(),
        _ => "connection failed".to_owned(),
    })?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: litellm-rust\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    match opened {
        Opened::Tcp(stream) => exchange(stream, request.as_bytes()).await,
        Opened::Unix(stream) => exchange(stream, request.as_bytes()).await,
    }
}

async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &[u8]) -> Result<(), String> {
    stream.write_all(request).await.map_err(|error| format!("not written: {}", error.kind()))?;
    let mut status = [0u8; 12]; // `HTTP/1.1 200`
    stream.read_exact(&mut status).await.map_err(|error| format!("not answered: {}", error.kind()))?;
    match status.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)) {
        Some(b"200") => Ok(()),
        Some(code) => Err(format!("answered {}", String::from_utf8_lossy(code))),
        None => Err("answered something else than HTTP".to_owned()),
    }
}
