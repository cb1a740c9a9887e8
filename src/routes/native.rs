//! What a native route is made of: the request it is given, the reply it gives back, and the contract between the two.
use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{Decline, HeaderList};
use crate::{
    auth::{Caller, Kind, Standing},
    config::Snapshot,
    error::Dialect,
    telemetry::Metrics,
    upstream,
};

/// The head of a request, taken once: the same bytes are matched, authorised and forwarded.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    /// raw path as received, percent-encoding untouched, without the query
    pub path: String,
    /// raw query without `?`; `None` where the target had no `?`
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub client: Option<IpAddr>,
}

impl Head {
    /// The header's value where it is there exactly once and visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }
}

/// Variables of the matched path pattern (`model` of `/engines/{model}/chat/completions`), raw.
pub type PathParams = HashMap<&'static str, String>;

/// What the routes.toml entry adds to a route's own admission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutePolicy {
    /// `accept = ["no_spend_rows"]`: the master key's calls are served although their rows could not be written
    pub accept_no_spend_rows: bool,
    /// `providers = [...]`; `None`: all the route knows
    pub providers: Option<Vec<String>>,
}

impl RoutePolicy {
    /// Whether the operator lets this provider be called natively.
    pub fn allows(&self, provider: &str) -> bool {
        self.providers.as_ref().is_none_or(|listed| listed.iter().any(|name| name == provider))
    }
}

/// What every route may use besides the request. Built once, shared by all requests.
pub struct Services {
    pub upstream: upstream::Client,
    pub metrics: Metrics,
    pub health: Arc<crate::store::Health>,
    pub control: super::Control,
}

/// One request to a native route, with its body where [`NativeRoute::needs_body`].
#[derive(Clone)]
pub struct Call {
    pub head: Arc<Head>,
    pub params: Arc<PathParams>,
    pub policy: Arc<RoutePolicy>,
    pub body: Bytes,
    /// one consistent view of the configuration for the whole request
    pub snapshot: Arc<Snapshot>,
    pub services: Arc<Services>,
    pub caller: Caller,
    /// what was read for this request alone
    pub fetched: Option<Fetched>,
    pub started: Instant,
    /// wall clock at the start, for `created`
    pub now: SystemTime,
}

/// What an admission cannot remember.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// by the route's [`NativeRoute::fetch`]
    Row(Arc<Value>),
    /// of what it asked for by [`Halt::Unread`]
    Named(Vec<(Kind, String, Standing)>),
}

/// The part of the access-log line and of the metrics that only the route knows. Never a key, never a prompt.
#[derive(Debug, Clone, Default)]
pub struct CallLog {
    pub model_group: Option<String>,
    pub deployment_id: Option<String>,
    pub provider: Option<&'static str>,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// US dollars
    pub cost: Option<f64>,
    /// milliseconds spent waiting for the provider's first byte
    pub provider_ms: Option<f64>,
}

/// The events of a streamed answer. Dropping it (client gone, drain) aborts the provider's answer and settles.
#[async_trait::async_trait]
pub trait EventStream: Send {
    /// The next bytes for the client: one or more whole events, as soon as they are there. `None`: the end.
    /// Dropping the future before it is ready loses nothing.
    async fn next(&mut self) -> Option<Bytes>;
    /// What is known so far; read at the end, however the stream ended.
    fn log(&self) -> CallLog;
}

pub enum ReplyBody {
    Full(Bytes),
    Stream(Box<dyn EventStream>),
}

/// A native answer. The edge adds `date`, content-length or chunking, gzip, `x-litellm-edge` and LiteLLM's closing
/// security headers (`vary`, `x-frame-options`, ...); everything else is here, in order.
pub struct Reply {
    pub status: StatusCode,
    /// in LiteLLM's order, including `content-type`
    pub headers: HeaderList,
    pub body: ReplyBody,
    pub log: CallLog,
}

/// An admitted request on its way. It cannot decline any more; it answers, whatever happens.
/// It runs to its end even if the client leaves before the answer starts (LiteLLM does not cancel those calls).
pub type Execution = Pin<Box<dyn Future<Output = Reply> + Send + 'static>>;

/// Names that must be looked up first.
pub struct Unread(pub Vec<(Kind, String)>);

/// Why an admission did not end in an execution.
pub enum Halt {
    Declined(Decline),
    /// It depends on these names, of which nothing is in memory: the call is given back, to be admitted again with
    /// [`Fetched::Named`].
    Unread {
        call: Box<Call>,
        names: Vec<(Kind, String)>,
    },
}

impl Halt {
    /// Asks for what is named.
    pub fn unread(call: Call, Unread(names): Unread) -> Self {
        Halt::Unread { call: Box::new(call), names }
    }

    /// For who cannot read.
    pub fn decline(&self) -> Decline {
        match self {
            Halt::Declined(reason) => *reason,
            Halt::Unread { .. } => Decline::KeyFeature,
        }
    }
}

impl std::fmt::Debug for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.decline().as_str())
    }
}

impl From<Decline> for Halt {
    fn from(reason: Decline) -> Self {
        Halt::Declined(reason)
    }
}

/// What an admission comes to.
pub type Admission = Result<Execution, Halt>;

/// Reads what an admission is decided on, and answered with, from where no memory of it is good enough. Read-only: it may
/// still decline.
pub type Fetch = fn(Call) -> Pin<Box<dyn Future<Output = Result<Call, Decline>> + Send>>;

/// One row of [`super::table::NATIVE_ROUTES`].
pub struct NativeRoute {
    /// names routes.toml entries, metrics, evidence and reports
    pub id: &'static str,
    pub methods: &'static [Method],
    /// LiteLLM's own path patterns; `{model:path}` spans slashes
    pub paths: &'static [&'static str],
    pub needs_body: bool,
    /// whether the caller is looked up before `admit`
    pub needs_caller: bool,
    /// after the caller, before `admit`
    pub fetch: Option<Fetch>,
    pub dialect: Dialect,
    /// one line for the README's table: what is served
    pub serves: &'static str,
    /// why a request of this route may be passed to Python: the README's table, and a test that no other is returned
    pub declines: &'static [Decline],
    /// Decides on the head alone, before any body byte is read.
    pub admit_head: fn(&Head, &Snapshot) -> Result<(), Decline>,
    /// Decides on the whole request. Pure: no provider, no database, no side effect.
    pub admit: fn(Call) -> Admission,
}
