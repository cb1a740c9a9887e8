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
    case::{Answer, Case, CaseError, Key, KeyText, Request},
    client::{Response, key_text},
    fresh,
    gateway::Base,
    http1::{End, elapsed_ms},
    normalise::{Context, normalise},
    observe,
    provider::Provider,
    quiet,
    redis::{self, Redis},
    rows::{MARKER, Rows},
    sdk::{ClientCall, SdkError, Sdks, Seen},
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
    #[error("{0} has statements for the database, and none is known")]
    NoDatabase(String),
    #[error("the Python gateway does not write its spend rows")]
    NotFlushed,
    #[error("the edge's log: {0}")]
    Log(io::Error),
    #[error("clients: {0}")]
    Client(#[from] SdkError),
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("{case}: {path} of its setup or teardown is answered with {status}")]
    Setup { case: String, path: String, status: u16 },
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Python,
    /// Python again
    Noise,
    Edge,
}

/// How long it is waited for what a client's leaving does to the provider's call.
const PARTING: Duration = Duration::from_secs(5);
/// After it, time for a second attempt that should not be.
const SECOND_THOUGHTS: Duration = Duration::from_millis(300);

/// One edge.
#[derive(Debug, Clone)]
pub struct Edge {
    pub base: Base,
    /// scanned for keys and prompts
    pub log: Option<PathBuf>,
}

/// What the cases are run against.
pub struct Runner {
    pub python: Base,
    pub edge: Edge,
    /// edges of cases with a `config` of their own, by its name
    pub configured: BTreeMap<String, Edge>,
    /// the other side is an edge that says who served; else any gateway
    pub edge_speaks: bool,
    pub provider: Provider,
    pub sdks: Sdks,
    pub master_key: Secret,
    pub canaries: Canaries,
    pub rows: Option<Rows>,
    /// nobody else uses the gateways: tables are emptied before a phase, and requests are counted
    pub exclusive: bool,
    pub redis: Option<Redis>,
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
            self.case(Phase::Python, case, &fresh::word()).await?;
        }
        let marker = self.mark().await?;
        if let Some(rows) = &mut self.rows
            && !rows.settle(&marker, false).await?
        {
            return Err(RunError::NotFlushed);
        }
        if let Some(redis) = &mut self.redis {
            quiet::settled(redis, None).await.map_err(RunError::Redis)?;
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
            if self.exclusive {
                rows.clear().await?;
            }
            before = rows.totals().await?;
        }
        let mut started = Vec::with_capacity(cases.len());
        let mut observed = Vec::with_capacity(cases.len());
        let words: Vec<String> = cases.iter().map(|_| fresh::word()).collect();
        for (case, word) in cases.iter().zip(&words) {
            started.push(SystemTime::now());
            observed.push(self.case(phase, case, word).await?);
        }
        let marker = self.mark().await?;
        let mut totals = json!({});
        if let Some(rows) = &mut self.rows {
            if !rows.settle(&marker, self.exclusive).await? {
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
        for (((observed, case), started), word) in observed.iter_mut().zip(cases).zip(&started).zip(&words) {
            let context = Context {
                window: (unix(*started) as i64, end.min(unix(*started) as i64 + observed.millis as i64 / 1000 + 5)),
                case_text: case.text.clone(),
                addresses: vec![self.python.address.to_string(), self.edge_of(case).base.address.to_string()],
                renames: fresh::renames(case, word),
            };
            normalise(&context, &mut observed.tree);
        }
        Ok(PhaseResult { cases: observed, totals })
    }

    /// The edge a case is for.
    fn edge_of(&self, case: &Case) -> &Edge {
        case.config.as_ref().and_then(|name| self.configured.get(name)).unwrap_or(&self.edge)
    }

    async fn case(&mut self, phase: Phase, case: &Case, word: &str) -> Result<Observed, RunError> {
        let case = &fresh::with(case, word)?;
        // of a run that was stopped in between
        let _ = self.prepare(case, &case.teardown).await;
        self.prepare(case, &case.setup).await?;
        for statement in &case.sql {
            let rows = self.rows.as_mut().ok_or_else(|| RunError::NoDatabase(case.name.clone()))?;
            rows.execute(statement).await?;
        }
        let observed = self.observe(phase, case).await?;
        self.prepare(case, &case.teardown).await?;
        Ok(observed)
    }

    /// What a case needs, or leaves: asked of the Python gateway itself.
    async fn prepare(&mut self, case: &Case, requests: &[Request]) -> Result<(), RunError> {
        for request in requests {
            let answer = self.python.send(request, &self.master_key).await;
            let answer = answer.map_err(|source| RunError::Python { address: self.python.address, source })?;
            if !(200..300).contains(&answer.status) {
                let (case, path) = (case.name.clone(), request.path.clone());
                return Err(RunError::Setup { case, path, status: answer.status });
            }
        }
        Ok(())
    }

    async fn observe(&mut self, phase: Phase, case: &Case) -> Result<Observed, RunError> {
        let on_edge = phase == Phase::Edge;
        let edge = self.edge_of(case).clone();
        let before = if on_edge { self.counters(&edge).await } else { None };
        let log_from = log_length(&edge);
        // a client's case compares no keys: the requests' cases do, and waiting for them to settle takes longer than all else
        let keys = match self.redis.as_mut().filter(|_| case.client.is_none()) {
            Some(redis) => Some(redis.dump().await.map_err(RunError::Redis)?),
            None => None,
        };
        let started = Instant::now();
        self.provider.script(&case.answers);
        let base = if on_edge { edge.base.clone() } else { self.python.clone() };
        let seen = match &case.client {
            Some(call) => Some(self.client(call, &base).await?),
            None => None,
        };
        let mut responses = Vec::with_capacity(case.requests.len());
        for request in &case.requests {
            let uncounted = self.dump_where(fresh::is_fresh(case)).await.map_err(RunError::Redis)?;
            let called = self.provider.called(request.calls_before_leaving());
            match base.send_until(request, &self.master_key, called).await {
                Ok(response) => responses.push(response),
                // an edge that is gone is a difference, a Python gateway that is gone is no measure
                Err(_) if on_edge => responses.push(Response::none(End::Reset)),
                Err(source) => return Err(RunError::Python { address: base.address, source }),
            }
            if let (Some(redis), Some(before)) = (&mut self.redis, uncounted) {
                let answered = responses.last().is_some_and(|answer| answer.status == 200);
                quiet::counted(redis, &before, answered).await.map_err(RunError::Redis)?;
            }
        }
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if case.leaves() {
            self.parted().await;
        }
        let mut tree = Value::Null;
        if let (Some(redis), Some(before)) = (&mut self.redis, keys) {
            let native = responses.iter().any(|r| served_by(r).as_deref() == Some("native"));
            let counts = !native && !fresh::is_fresh(case) && case.answers.iter().any(|answer| answer.is_success());
            let after = quiet::settled(redis, counts.then_some(&before)).await.map_err(RunError::Redis)?;
            tree = redis::delta(&before, &after, i64::try_from(elapsed_ms(started)).unwrap_or(i64::MAX));
        }
        let calls = self.provider.calls();
        let keys = std::mem::replace(&mut tree, observe::tree(case, &responses, &calls));
        if let (Some(tree), Value::Object(_)) = (tree.as_object_mut(), &keys) {
            tree.insert("redis".into(), keys);
        }
        let mut served_by: Vec<_> = responses.iter().filter(|r| !left_unanswered(r)).map(served_by).collect();
        if let (Some(seen), Some(tree)) = (seen, tree.as_object_mut()) {
            served_by = seen.served_by();
            seen.put_into(tree);
        }
        let mut observed = Observed {
            tree,
            raw: observe::raw(&responses, &calls),
            served_by,
            millis: micros / 1000,
            micros,
            anybody: !self.edge_speaks,
            ..Observed::default()
        };
        if on_edge {
            let sent = if case.route == METRICS { 0 } else { case.requests.len() as u64 };
            let grown = self.growth(&edge, before.unwrap_or_default(), sent).await.unwrap_or_default();
            let counts = self.exclusive && case.route != METRICS && case.client.is_none();
            observed.counted = counts.then_some(grown.requests);
            observed.declines = grown.declines;
            observed.leaks = self.leaks(case, &edge, log_from).map_err(RunError::Log)?;
        }
        Ok(observed)
    }

    async fn dump_where(&mut self, wanted: bool) -> io::Result<Option<redis::Dump>> {
        match self.redis.as_mut().filter(|_| wanted) {
            Some(redis) => redis.dump().await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until the provider's calls of clients that left are over, one way or the other.
    async fn parted(&self) {
        let started = Instant::now();
        while started.elapsed() < PARTING && self.provider.calls().iter().any(|call| call.left.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(SECOND_THOUGHTS).await;
    }

    /// What the edge has counted; `None`: it has no such page.
    async fn counters(&self, edge: &Edge) -> Option<Counters> {
        let response = edge.base.send(&get("/metrics", Key::Master), &self.master_key).await.ok()?;
        let native = response.head.get("x-litellm-edge") == Some("native");
        native.then(|| counters(&String::from_utf8_lossy(&response.body.bytes)))
    }

    /// What it has counted since `before`. A request is counted when its answer is through, so it may take a moment.
    async fn growth(&self, edge: &Edge, before: Counters, sent: u64) -> Option<Counters> {
        let started = Instant::now();
        loop {
            let mut now = self.counters(edge).await?;
            now.requests = since(now.requests, &before.requests);
            if now.requests.values().sum::<u64>() >= sent
                || !self.exclusive
                || started.elapsed() > Duration::from_secs(2)
            {
                now.declines = since(now.declines, &before.declines);
                return Some(now);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a real client sees of the gateway there.
    async fn client(&mut self, call: &ClientCall, base: &Base) -> Result<Seen, RunError> {
        let key = Secret::new(key_text(&call.key.0, &self.master_key).unwrap_or_default());
        Ok(self.sdks.call(call, &base.url(), &key).await?)
    }

    fn leaks(&self, case: &Case, edge: &Edge, from: u64) -> io::Result<Vec<String>> {
        use std::io::{Read, Seek, SeekFrom};
        let Some(path) = &edge.log else { return Ok(Vec::new()) };
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
        websocket: None,
        connection: None,
    }
}

fn served_by(response: &Response) -> Option<String> {
    response.head.get("x-litellm-edge").map(str::to_owned)
}

/// The client did not wait for any answer: who served it is only in the edge's count.
fn left_unanswered(response: &Response) -> bool {
    response.status == 0 && response.body.end == End::Left
}

fn log_length(edge: &Edge) -> u64 {
    edge.log.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len())
}

/// The route whose page the runner itself asks for.
const METRICS: &str = "metrics";

/// What the suite reads on the edge's `/metrics`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counters {
    /// `litellm_edge_declines_total` by reason
    declines: BTreeMap<String, u64>,
    /// `litellm_edge_requests_total` by side, without those for the page itself
    requests: BTreeMap<String, u64>,
}

/// What grew, and by how much.
fn since(now: BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = |(name, n): (String, u64)| {
        let n = n.saturating_sub(before.get(&name).copied().unwrap_or(0));
        (n > 0).then_some((name, n))
    };
    now.into_iter().filter_map(grown).collect()
}

/// Reads them out of the text format.
fn counters(metrics: &str) -> Counters {
    let mut out = Counters::default();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let Some((labels, count)) = rest.split_once("} ") else { continue };
        let label = |name: &str| {
            labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
        };
        let count = count.trim().parse::<f64>().unwrap_or_default() as u64;
        match (name, label("reason"), label("route")) {
            ("litellm_edge_declines_total", Some(reason), _) => {
                *out.declines.entry(reason.to_owned()).or_default() += count
            }
            ("litellm_edge_requests_total", _, route) if route != Some(METRICS) => {
                *out.requests.entry(label("side").unwrap_or_default().to_owned()).or_default() += count
            }
            _ => {}
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
    fn counters_are_read_by_label() {
        let text = "# HELP x\nlitellm_edge_declines_total{reason=\"model\",route=\"messages\"} 2\n\
                    litellm_edge_declines_total{reason=\"model\",route=\"chat_completions\"} 1\n\
                    litellm_edge_declines_total{reason=\"field\",route=\"messages\"} 1\nother{reason=\"x\"} 4\n\
                    litellm_edge_requests_total{route=\"messages\",side=\"python\",status=\"2xx\"} 5\n\
                    litellm_edge_requests_total{route=\"metrics\",side=\"native\",status=\"2xx\"} 9\n";
        let declines = BTreeMap::from([("model".into(), 3), ("field".into(), 1)]);
        let requests = BTreeMap::from([("python".into(), 5)]);
        assert_eq!(counters(text), Counters { declines, requests });
        assert_eq!(since(counters(text).declines, &BTreeMap::from([("model".into(), 3)])).len(), 1);
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
