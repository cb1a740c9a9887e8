//! The phases: every case against Python, against Python again, against the edge. Strictly one after the other, so
//! that provider calls, rows and keys belong to the case that runs.
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    canary::Canaries,
    case::{Answer, Case, Key, KeyText, Request},
    client::Response,
    gateway::Base,
    http1::{Body, End, Head, elapsed_ms},
    normalise::{Context, normalise},
    observe,
    provider::Provider,
    redis::{self, Redis},
    rows::{MARKER, Rows},
    verdict::Observed,
};
use crate::secret::Secret;

/// Why a run could not be finished: infrastructure, not a verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the Python gateway at {address} does not answer: {source}")]
    Python { address: SocketAddr, source: io::Error },
    #[error("redis: {0}")]
    Redis(io::Error),
    #[error("postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("the Python gateway does not write its spend rows")]
    NotFlushed,
    #[error("the edge's log: {0}")]
    Log(io::Error),
}

/// Keys that have not changed for so long are taken as final.
const QUIET: Duration = Duration::from_millis(120);

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Python,
    /// Python again
    Noise,
    Edge,
}

/// What the cases are run against.
pub struct Runner {
    pub python: Base,
    pub edge: Base,
    /// the other side is an edge that says who served; else any gateway
    pub edge_speaks: bool,
    pub provider: Provider,
    pub master_key: Secret,
    pub canaries: Canaries,
    pub rows: Option<Rows>,
    /// the database is ours: tables are emptied before a phase
    pub own_database: bool,
    pub redis: Option<Redis>,
    pub edge_log: Option<PathBuf>,
}

/// All cases in one phase, and what belongs to the phase as a whole.
pub struct PhaseResult {
    pub cases: Vec<Observed>,
    /// growth of the daily tables
    pub totals: Value,
}

impl Runner {
    /// The first case of each route, unseen: Python loads much of itself with the first call.
    pub async fn warm_up(&mut self, cases: &[Case]) -> Result<(), RunError> {
        let mut seen = std::collections::BTreeSet::new();
        for case in cases.iter().filter(|case| seen.insert(case.route.as_str())) {
            self.case(Phase::Python, case).await?;
        }
        let marker = self.mark().await?;
        if let Some(rows) = &mut self.rows
            && !rows.settle(&marker, false).await?
        {
            return Err(RunError::NotFlushed);
        }
        if let Some(redis) = &mut self.redis {
            settled(redis).await.map_err(RunError::Redis)?;
        }
        Ok(())
    }

    /// A call to the Python gateway whose row marks the end of a phase; its request id.
    async fn mark(&mut self) -> Result<String, RunError> {
        let id = format!("chatcmpl-{}", uuid::Uuid::new_v4());
        if self.rows.is_none() {
            return Ok(id);
        }
        let answer = json!({"id": id, "object": "chat.completion", "created": 1, "model": MARKER,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
        self.provider.script(&[Answer { status: Some(200), json: Some(answer), ..Answer::default() }]);
        let mut request = get("/v1/chat/completions", Key::Master);
        request.method = "POST".into();
        request.json = Some(json!({"model": MARKER, "messages": [{"role": "user", "content": "marker"}]}));
        match self.python.send(&request, &self.master_key).await {
            Ok(response) if response.status == 200 => Ok(id),
            Ok(_) => Err(RunError::NotFlushed),
            Err(source) => Err(RunError::Python { address: self.python.address, source }),
        }
    }

    /// Runs every case once.
    pub async fn phase(&mut self, phase: Phase, cases: &[Case]) -> Result<PhaseResult, RunError> {
        let phase_started = SystemTime::now();
        let mut before = BTreeMap::new();
        if let Some(rows) = &mut self.rows {
            if self.own_database {
                rows.clear().await?;
            }
            before = rows.totals().await?;
        }
        let mut started = Vec::with_capacity(cases.len());
        let mut observed = Vec::with_capacity(cases.len());
        for case in cases {
            started.push(SystemTime::now());
            observed.push(self.case(phase, case).await?);
        }
        let marker = self.mark().await?;
        let mut totals = json!({});
        if let Some(rows) = &mut self.rows {
            if !rows.settle(&marker, self.own_database).await? {
                return Err(RunError::NotFlushed);
            }
            totals = json!(growth(&before, &rows.totals().await?));
            let mut by_case: Vec<Vec<Value>> = cases.iter().map(|_| Vec::new()).collect();
            for log in rows.spend_logs(phase_started).await? {
                if log.columns.get("request_id").and_then(Value::as_str) == Some(&marker) {
                    continue;
                }
                let owner = started.iter().rposition(|start| unix(*start) <= log.started + 0.002);
                if let Some(rows) = owner.and_then(|i| by_case.get_mut(i)) {
                    rows.push(log.columns);
                }
            }
            for (observed, rows) in observed.iter_mut().zip(by_case) {
                if let Some(tree) = observed.tree.as_object_mut() {
                    tree.insert("rows".into(), json!({ "LiteLLM_SpendLogs": rows }));
                }
            }
        }
        let end = unix(SystemTime::now()) as i64;
        for ((observed, case), started) in observed.iter_mut().zip(cases).zip(&started) {
            let context = Context {
                window: (unix(*started) as i64, end.min(unix(*started) as i64 + observed.millis as i64 / 1000 + 5)),
                case_text: case.text.clone(),
                addresses: vec![self.python.address.to_string(), self.edge.address.to_string()],
            };
            normalise(&context, &mut observed.tree);
        }
        Ok(PhaseResult { cases: observed, totals })
    }

    async fn case(&mut self, phase: Phase, case: &Case) -> Result<Observed, RunError> {
        let on_edge = phase == Phase::Edge;
        let declines = if on_edge { self.declines().await } else { BTreeMap::new() };
        let log_from = self.log_length();
        let keys = match &mut self.redis {
            Some(redis) => Some(redis.dump().await.map_err(RunError::Redis)?),
            None => None,
        };
        let started = Instant::now();
        self.provider.script(&case.answers);
        let mut responses = Vec::with_capacity(case.requests.len());
        for request in &case.requests {
            let base = if on_edge { &self.edge } else { &self.python };
            match base.send(request, &self.master_key).await {
                Ok(response) => responses.push(response),
                // an edge that is gone is a difference, a Python gateway that is gone is no measure
                Err(_) if on_edge => responses.push(unreachable()),
                Err(source) => return Err(RunError::Python { address: base.address, source }),
            }
        }
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut tree = Value::Null;
        if let (Some(redis), Some(before)) = (&mut self.redis, keys) {
            let after = settled(redis).await.map_err(RunError::Redis)?;
            tree = redis::delta(&before, &after, i64::try_from(elapsed_ms(started)).unwrap_or(i64::MAX));
        }
        let calls = self.provider.calls();
        let keys = std::mem::replace(&mut tree, observe::tree(&responses, &calls, case.compare_bytes));
        if let (Some(tree), Value::Object(_)) = (tree.as_object_mut(), &keys) {
            tree.insert("redis".into(), keys);
        }
        let mut observed = Observed {
            tree,
            raw: observe::raw(&responses, &calls),
            served_by: responses.iter().map(|r| r.head.get("x-litellm-edge").map(str::to_owned)).collect(),
            millis: micros / 1000,
            micros,
            anybody: !self.edge_speaks,
            ..Observed::default()
        };
        if on_edge {
            observed.declines = self.declines().await;
            observed
                .declines
                .iter_mut()
                .for_each(|(reason, n)| *n -= declines.get(reason).copied().unwrap_or(0).min(*n));
            observed.declines.retain(|_, n| *n > 0);
            observed.leaks = self.leaks(case, log_from).map_err(RunError::Log)?;
        }
        Ok(observed)
    }

    /// `litellm_edge_declines_total` by reason; empty where the edge has no such metric.
    async fn declines(&self) -> BTreeMap<String, u64> {
        let request = get("/metrics", Key::Master);
        match self.edge.send(&request, &self.master_key).await {
            Ok(response) => declines(&String::from_utf8_lossy(&response.body.bytes)),
            Err(_) => BTreeMap::new(),
        }
    }

    fn log_length(&self) -> u64 {
        self.edge_log.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len())
    }

    fn leaks(&self, case: &Case, from: u64) -> io::Result<Vec<String>> {
        use std::io::{Read, Seek, SeekFrom};
        let Some(path) = &self.edge_log else { return Ok(Vec::new()) };
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(64 * 1024 * 1024).read_to_end(&mut text)?;
        Ok(self.canaries.of_case(case).seen_in(&String::from_utf8_lossy(&text)))
    }
}

/// A bodyless GET.
pub fn get(path: &str, key: Key) -> Request {
    Request {
        method: "GET".into(),
        path: path.into(),
        key: KeyText(key),
        key_header: None,
        headers: BTreeMap::new(),
        json: None,
        body: None,
        body_base64: None,
    }
}

fn unreachable() -> Response {
    let body = Body { bytes: Vec::new(), chunks: Vec::new(), end: End::Reset };
    Response { head: Head::default(), status: 0, body, head_ms: 0 }
}

/// The keys once nothing changes them any more: LiteLLM counts after it has answered.
async fn settled(redis: &mut Redis) -> io::Result<redis::Dump> {
    let values = |dump: &redis::Dump| dump.iter().map(|(k, e)| (k.clone(), e.value.clone())).collect::<Vec<_>>();
    let started = Instant::now();
    let mut last = redis.dump().await?;
    let mut quiet = Instant::now();
    while quiet.elapsed() < QUIET && started.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = redis.dump().await?;
        if values(&now) != values(&last) {
            quiet = Instant::now();
        }
        last = now;
    }
    Ok(last)
}

/// Reads the counter out of the text format.
fn declines(metrics: &str) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("litellm_edge_declines_total{")) {
        let Some((labels, count)) = line.split_once("} ") else { continue };
        let reason = labels.split(',').find_map(|label| label.strip_prefix("reason=\"")?.strip_suffix('"'));
        if let (Some(reason), Ok(count)) = (reason, count.trim().parse::<f64>()) {
            *out.entry(reason.to_owned()).or_default() += count as u64;
        }
    }
    out
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64()).unwrap_or_default()
}

/// What grew, by table and column.
fn growth(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let grown = |name: &String, now: &Value| match (now, before.get(name)) {
        (Value::Object(now), Some(Value::Object(then))) => {
            let column = |(key, now): (&String, &Value)| {
                let then = then.get(key).and_then(Value::as_f64).unwrap_or_default();
                (key.clone(), json!(now.as_f64().unwrap_or_default() - then))
            };
            Value::Object(now.iter().map(column).collect())
        }
        (now, Some(then)) => json!(now.as_f64().unwrap_or_default() - then.as_f64().unwrap_or_default()),
        (now, None) => now.clone(),
    };
    after.iter().map(|(name, now)| (name.clone(), grown(name, now))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declines_are_read_by_reason() {
        let text = "# HELP x\nlitellm_edge_declines_total{reason=\"model\",route=\"messages\"} 2\n\
                    litellm_edge_declines_total{reason=\"model\",route=\"chat_completions\"} 1\n\
                    litellm_edge_declines_total{reason=\"field\",route=\"messages\"} 1\nother{reason=\"x\"} 4\n";
        assert_eq!(declines(text), BTreeMap::from([("model".into(), 3), ("field".into(), 1)]));
    }

    #[test]
    fn only_growth_counts() {
        let before = BTreeMap::from([("a".to_owned(), json!({"rows": 1.0})), ("n".to_owned(), json!(3))]);
        let after = BTreeMap::from([("a".to_owned(), json!({"rows": 4.0, "spend": 0.5})), ("n".to_owned(), json!(5))]);
        let expected =
            BTreeMap::from([("a".to_owned(), json!({"rows": 3.0, "spend": 0.5})), ("n".to_owned(), json!(2.0))]);
        assert_eq!(growth(&before, &after), expected);
    }
}
