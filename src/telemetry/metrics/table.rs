//! The one table of metrics: `docs/metrics.md`, the dashboard's and the alerts' tests are held to it. Every label is
//! bounded: route ids of routes.toml, closed enums, status classes. Nothing that a client chooses.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The word of the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! table {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $name: Meta = Meta { name: $text, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric.
        pub const ALL: &[Meta] = &[$($name,)*];
    };
}

table! {
    // --- requests
    REQUESTS = Counter "litellm_edge_requests_total" ["route", "side", "status"]
        "answered requests; status is the class, 4xx also where the client left before an answer began";
    DECLINES = Counter "litellm_edge_declines_total" ["route", "reason"]
        "requests of native routes that admission passed to Python";
    DURATION = Histogram "litellm_edge_request_seconds" ["route", "side"]
        "whole request, from its head to the last byte of the answer";
    FIRST_BYTE = Histogram "litellm_edge_first_byte_seconds" ["route", "side"]
        "from the request's head to the answer's head";
    IN_FLIGHT = Gauge "litellm_edge_in_flight_requests" ["side"]
        "requests being answered";
    REQUEST_BYTES = Counter "litellm_edge_request_bytes_total" ["route", "side"]
        "bytes of request bodies read from clients";
    RESPONSE_BYTES = Counter "litellm_edge_response_bytes_total" ["route", "side"]
        "bytes of answers' bodies written to clients, as sent (compressed)";
    ABORTS = Counter "litellm_edge_aborts_total" ["route", "side", "by"]
        "answers that did not reach their end: by the client (it left), or by the origin (Python or the edge broke off)";
    REPLAYS = Counter "litellm_edge_replays_total" ["route"]
        "declined requests whose body the edge had read and sent to Python itself";
    RESENDS = Counter "litellm_edge_resends_total" ["route"]
        "requests sent to Python again because a pooled connection was already closed";
    // --- providers
    PROVIDER = Histogram "litellm_edge_provider_seconds" ["route"]
        "wait for the provider, per native request, retries included";
    PROVIDER_CALLS = Histogram "litellm_edge_provider_call_seconds" ["result"]
        "one call to a provider until its answer's head; result is the status class, or connect, timeout, disconnected";
    // --- the Python gateway
    PYTHON_UP = Gauge "litellm_edge_python_up" []
        "1 while the Python gateway answers its health check";
    PYTHON_CONFIGURED = Gauge "litellm_edge_python_configured" []
        "1 where the edge has a Python gateway behind it";
    PYTHON_ERRORS = Counter "litellm_edge_python_errors_total" ["kind"]
        "failures towards the Python gateway: unreachable, starting, timeout, cut";
    // --- Postgres, Redis and the spend on its way there
    STORE_UP = Gauge "litellm_edge_store_up" ["store"]
        "1 while the store (postgres, redis) that config.yaml names answers and can be used natively; absent where it names none";
    LIMITS_LOCAL = Counter "litellm_edge_limits_local_total" []
        "requests whose limits and budgets were counted in this process because Redis did not answer";
    LEDGER_RECORDS = Gauge "litellm_edge_ledger_records" []
        "settled calls whose spend is not yet in Postgres";
    LEDGER_AGE = Gauge "litellm_edge_ledger_oldest_seconds" []
        "how long the oldest of them has been waiting";
    LEDGER_DROPPED = Counter "litellm_edge_ledger_dropped_total" ["what"]
        "given up while Postgres was away: row (a log row, its spend is kept), or record (all of a call: the writer stands still)";
    // --- which side and why
    ALL_PYTHON = Gauge "litellm_edge_all_python" []
        "1 while the kill switch sends everything to Python";
    ROUTE_WANTED = Gauge "litellm_edge_route_wanted" ["route"]
        "1 where routes.toml asks for native or canary";
    ROUTE_NATIVE = Gauge "litellm_edge_route_native" ["route"]
        "1 where the route does run natively (or as a canary), 0 where something keeps it in Python";
    EVIDENCE_FRESH = Gauge "litellm_edge_evidence_fresh" ["route"]
        "1 while the route's evidence is green, of this build and young enough";
    EVIDENCE_AGE = Gauge "litellm_edge_evidence_age_seconds" ["route"]
        "age of the route's evidence; absent without a record";
    EVIDENCE_MAX_AGE = Gauge "litellm_edge_evidence_max_age_seconds" []
        "the age at which evidence expires ([gate] max_age)";
    // --- files
    RELOADS = Counter "litellm_edge_reloads_total" ["file", "result"]
        "reloads of config.yaml (config) and routes.toml (routes): ok or refused";
    LOADED = Gauge "litellm_edge_loaded_timestamp_seconds" ["file"]
        "when the file in force was loaded, Unix time";
    REFUSED = Gauge "litellm_edge_file_refused" ["file"]
        "1 while the file as it is on disk is refused and the last good one stays in force";
    // --- traces
    SPANS = Counter "litellm_edge_trace_spans_total" ["outcome"]
        "spans for the trace collector: sent or dropped";
    // --- the process
    CONNECTIONS = Gauge "litellm_edge_connections" []
        "open client connections";
    ACCEPTED = Counter "litellm_edge_connections_total" ["protocol"]
        "client connections by what they speak: http1 or http2";
    CONNECTIONS_REFUSED = Counter "litellm_edge_connections_refused_total" []
        "client connections closed at once because --max-connections were open";
    BODY_MEMORY = Gauge "litellm_edge_body_memory_bytes" []
        "bytes of request bodies held in memory for native candidates";
    BODY_BUDGET = Gauge "litellm_edge_body_budget_bytes" []
        "the bound on them (--body-budget)";
    DRAINING = Gauge "litellm_edge_draining" []
        "1 while the process drains, after SIGTERM or an upgrade";
    UPGRADES = Counter "litellm_edge_upgrades_total" ["result"]
        "hand-overs of the listeners to a new process: handed_over, or failed and this one goes on";
    BUILD = Gauge "litellm_edge_build_info" ["version", "source_digest"]
        "1; which build this is";
    RSS = Gauge "process_resident_memory_bytes" []
        "resident memory";
    CPU = Counter "process_cpu_seconds_total" []
        "user and system CPU time";
    OPEN_FILES = Gauge "process_open_fds" []
        "open file descriptors";
    MAX_FILES = Gauge "process_max_fds" []
        "the limit on them";
    THREADS = Gauge "process_threads" []
        "threads";
    START = Gauge "process_start_time_seconds" []
        "start of the process, Unix time";
}

/// `docs/metrics.md`; a test keeps the file like it.
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- written from src/telemetry/metrics/table.rs; UPDATE=1 cargo test --test readme writes it anew -->\n\n\
         `GET /metrics` with the master key, in Prometheus' text format 0.0.4 (an entry of routes.toml must make the route\n\
         `metrics` native; where LiteLLM serves its own metrics there, they stay LiteLLM's and `GET /edge/metrics` has the\n\
         edge's). A series appears with its first event. Histograms have the buckets 0.1 ms to 600 s.\n\n\
         Labels: `route` is the id of an entry of routes.toml, `unlisted`/`other` for what no entry matches and `edge` for\n\
         the edge's own pages; `side` is who answered: `python`, `native` or `edge` (the edge itself: pages, refusals);\n\
         `reason` is a word of the README's table of declines.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for meta in ALL {
        let labels: Vec<String> = meta.labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            meta.name,
            meta.kind.as_str(),
            labels.join(" "),
            meta.help
        ));
    }
    page
}
