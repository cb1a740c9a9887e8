//! Faults that can be built into the native side on purpose, to see the parity suite go red (`make mutants`). Owns the
//! one table of them: the hooks ask [`fault!`] for a variant, the runner reads where each must be caught. It must never
//! do anything in a build without the feature `faults`: there the check is a constant `false` and no name, text or
//! variable of this file is in the binary. A release build with the feature does not compile.
#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` builds wrong answers in: it is for debug builds of `make mutants` only");

#[cfg(feature = "faults")]
mod wrong;

/// Whether the named fault of [`faults::Fault`](crate::faults::Fault) is on: `if fault!(WrongCost) { .. }`.
macro_rules! fault {
    ($name:ident) => {
        $crate::faults::on($crate::faults::Fault::$name)
    };
}
pub(crate) use fault;

macro_rules! faults {
    ($($name:ident: $route:literal, $case:literal, $at:literal;)*) => {
        /// What can be wrong on purpose.
        #[cfg_attr(feature = "faults", derive(Debug, Clone, Copy, PartialEq, Eq))]
        pub enum Fault { $($name,)* }

        /// Every fault with where the suite must notice it.
        #[cfg(feature = "faults")]
        pub const TABLE: &[Row] = &[$(Row { fault: Fault::$name, route: $route, case: $case, at: $at },)*];
    };
}

/// One fault and where it must be caught.
#[cfg(feature = "faults")]
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub fault: Fault,
    /// route of the cases
    pub route: &'static str,
    /// glob over their file names
    pub case: &'static str,
    /// path of a difference that one of them must show, or what it is below (as in tolerated.toml)
    pub at: &'static str,
}

faults! {
    // --- the answer's body
    DroppedField: "chat_completions", "plain", "response[0].body/system_fingerprint";
    FinishReason: "chat_completions", "finish_length", "response[0].body/choices/0/finish_reason";
    ModelName: "messages", "plain", "response[0].body/model";
    LostUsage: "chat_completions", "plain", "response[0].body/usage";
    LostStreamUsage: "chat_completions", "stream_usage_details", "response[0].events";
    // --- errors
    ErrorStatus: "chat_completions", "error_429", "response[0].status";
    ErrorType: "chat_completions", "error_429", "response[0].body/error/type";
    ErrorParam: "chat_completions", "error_429", "response[0].body/error/param";
    ErrorCode: "chat_completions", "error_429", "response[0].body/error/code";
    ErrorTypeAnthropic: "messages", "error_429", "response[0].body/error/type";
    // --- headers
    CostHeader: "chat_completions", "plain", "response[0].header.x-litellm-response-cost";
    ModelId: "chat_completions", "plain", "response[0].header.x-litellm-model-id";
    ContentType: "chat_completions", "plain", "response[0].header.content-type";
    CallId: "messages", "plain", "response[0].header.x-litellm-call-id";
    RateLimitHeader: "chat_completions", "plain", "response[0].header.x-ratelimit-remaining-requests";
    NotCompressed: "chat_completions", "gzip_answer", "response[0].header.content-encoding";
    // --- money
    WrongCost: "messages", "cost_cache", "response[0].header.x-litellm-response-cost";
    LostUsageAnthropic: "messages", "plain", "response[0].header.x-litellm-response-cost";
    // --- what the provider is sent
    SecondAttempt: "messages", "plain", "provider";
    ProviderFieldDropped: "chat_completions", "params", "provider[0].body/temperature";
    ProviderFieldChanged: "messages", "plain", "provider[0].body/max_tokens";
    ProviderHeaderDropped: "messages", "plain", "provider[0].header.anthropic-version";
    ProviderHeaderChanged: "chat_completions", "plain", "provider[0].header.user-agent";
    // --- streams
    EventsReordered: "chat_completions", "stream_plain", "response[0].events";
    DoneDropped: "chat_completions", "stream_plain", "response[0].events";
    MessageStopDropped: "messages", "stream", "response[0].events";
    ErrorEventSwallowed: "chat_completions", "stream_cut", "response[0].events";
    ErrorEventSwallowedAnthropic: "messages", "stream_cut_mid", "response[0].events";
    LateFlush: "chat_completions", "stream_paced", "response[0].arrival";
    LateFlushAnthropic: "messages", "stream_paced", "response[0].arrival";
    EventWaitsForNext: "messages", "stream_paced", "response[0].arrival";
    // --- a client that leaves
    CallAborted: "chat_completions", "leaves_before_answer", "provider[0].left";
    StreamGoesOn: "messages", "leaves_after_events", "provider[0].left";
    // --- who may call, and who serves
    KeyNotChecked: "chat_completions", "client_wrong_key", "response[0].status";
    NotDeclined: "chat_completions", "client_reasoning_effort", "expect.served_by";
    ReplayChanged: "chat_completions", "other_provider", "provider[0].body/messages";
    // --- logs and metrics
    KeyInLog: "chat_completions", "plain", "log.edge";
    PromptInLog: "messages", "tool_round_trip", "log.edge";
    RequestNotCounted: "chat_completions", "plain", "expect.counted";
    MetricsEmpty: "chat_completions", "plain", "expect.counted";
    DeclineNotCounted: "messages", "other_provider", "expect.declines";
    // --- the other routes
    ModelMissing: "models", "list", "response[0].body/data";
    ReadinessWrong: "health_readiness", "plain", "response[0].body/db";
    LivelinessWrong: "health_liveliness", "plain", "response[0].status";
}

/// The variable that names the one fault that is on.
#[cfg(feature = "faults")]
pub const VARIABLE: &str = "LITELLM_EDGE_FAULT";

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn on(_: Fault) -> bool {
    false
}

/// Whether this is the fault of this process; the variable is read once.
#[cfg(feature = "faults")]
pub fn on(fault: Fault) -> bool {
    use std::sync::OnceLock;
    static ACTIVE: OnceLock<Option<Fault>> = OnceLock::new();
    *ACTIVE.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        TABLE.iter().map(|row| row.fault).find(|fault| format!("{fault:?}") == name)
    }) == Some(fault)
}

/// What the edge hands through here on its way.
#[cfg(feature = "faults")]
pub use wrong::{after, replayed, stream};

#[cfg(not(feature = "faults"))]
mod right {
    use crate::routes::EventStream;

    /// The stream of an answer as it is.
    #[inline(always)]
    pub fn stream(stream: Box<dyn EventStream>) -> Box<dyn EventStream> {
        stream
    }

    /// A stream nobody listens to any more ends.
    #[inline(always)]
    pub fn after(stream: Box<dyn EventStream>) {
        drop(stream);
    }

    /// A declined body as it is.
    #[inline(always)]
    pub fn replayed(body: bytes::Bytes) -> bytes::Bytes {
        body
    }
}
#[cfg(not(feature = "faults"))]
pub use right::{after, replayed, stream};
