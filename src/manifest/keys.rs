//! The one table of routes.toml's keys. Validation, the JSON schema and the reference page are derived from it.

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// exactly this number
    Exactly(i64),
    /// a number in this range, whole or not
    Number { min: f64, max: f64 },
    /// non-empty text
    Text,
    /// letters, digits, `_`, `-`, `.`; at most 64: it becomes a metric label and a file name
    Id,
    /// `http://host[:port]`, `https://...` or `unix:/path`
    Url,
    /// `30d`, `12h`, `90m`, `45s`
    Duration,
    /// `=1.106.2` or `>=1.106.2, <1.107`
    Versions,
    /// a day, `"2026-12-31"` or a bare TOML date
    Date,
    /// one of these words
    Choice(&'static [&'static str]),
    /// a list of these words
    Choices(&'static [&'static str]),
    /// a list of HTTP methods
    Methods,
    /// a non-empty list of path patterns
    Paths,
    /// a table with these keys
    Table(&'static [Key]),
    /// an array of tables with these keys
    Tables(&'static [Key]),
}

/// One key of routes.toml.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// what holds where the key is not set, in words or TOML
    pub default: &'static str,
    /// for people; Markdown
    pub doc: &'static str,
    /// one line of TOML
    pub example: &'static str,
}

/// HTTP methods a route can name, upper case.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Providers a native route can serve.
pub const PROVIDERS: &[&str] = &["openai", "anthropic"];

/// The file's root.
pub const ROOT: &[Key] = &[
    Key {
        name: "schema",
        kind: Kind::Exactly(1),
        required: true,
        default: "",
        doc: "Version of this format. A file of another version is refused.",
        example: "schema = 1",
    },
    Key {
        name: "python",
        kind: Kind::Table(PYTHON),
        required: false,
        default: "",
        doc: "The Python gateway behind the edge.",
        example: "[python]",
    },
    Key {
        name: "gate",
        kind: Kind::Table(GATE),
        required: false,
        default: "",
        doc: "When evidence of the parity suite counts. A route without fresh green evidence runs in Python, whatever its mode.",
        example: "[gate]",
    },
    Key {
        name: "switch",
        kind: Kind::Table(SWITCH),
        required: false,
        default: "",
        doc: "The kill switch. `LITELLM_EDGE_ALL_PYTHON=1` and `POST /edge/switch` work without it.",
        example: "[switch]",
    },
    Key {
        name: "route",
        kind: Kind::Tables(ROUTE),
        required: false,
        default: "no entry: everything is Python's",
        doc: "One entry a route. A request belongs to the first entry, in file order, that matches its method and path; a request that no entry matches is Python's.",
        example: "[[route]]",
    },
];

const PYTHON: &[Key] = &[
    Key {
        name: "url",
        kind: Kind::Url,
        required: false,
        default: "the command line's `--python`; without both the edge runs alone",
        doc: "Where the Python gateway listens: `http://host:port` or `unix:/path/to/socket`. `--python` wins over it. Read when the edge starts; a change needs a restart.",
        example: "url = \"http://127.0.0.1:4001\"",
    },
    Key {
        name: "versions",
        kind: Kind::Versions,
        required: false,
        default: "`\"=1.106.2\"`, the version this edge was built against",
        doc: "Evidence counts only if it was made with a LiteLLM in this range, and native routes run only beside a Python gateway in it. Comparisons (`=`, `>=`, `>`, `<=`, `<`) joined by commas, all of which must hold. Pre-releases are never in range.",
        example: "versions = \">=1.106.2, <1.107\"",
    },
];

const GATE: &[Key] = &[
    Key {
        name: "evidence",
        kind: Kind::Text,
        required: false,
        default: "`\"parity-tests/evidence\"`",
        doc: "Folder with one `<route>.json` a route, written by `parity run`. Relative to the folder of routes.toml. Where the suite stands around it (a folder `cases` beside it), the evidence must also carry the digests of the cases, of the programs of real clients, the tolerated list and the reference configuration found there.",
        example: "evidence = \"parity-tests/evidence\"",
    },
    Key {
        name: "max_age",
        kind: Kind::Duration,
        required: false,
        default: "`\"30d\"`",
        doc: "Evidence older than this is stale. A whole number and `s`, `m`, `h` or `d`.",
        example: "max_age = \"30d\"",
    },
];

const SWITCH: &[Key] = &[Key {
    name: "file",
    kind: Kind::Text,
    required: true,
    default: "",
    doc: "While this file exists, every request is Python's (unless it says `0`, `false`, `off` or `no`). Looked at twice a second. Relative to the folder of routes.toml.",
    example: "file = \"/run/litellm-edge/all-python\"",
}];

const ROUTE: &[Key] = &[
    Key {
        name: "id",
        kind: Kind::Id,
        required: true,
        default: "",
        doc: "Names the route in metrics, logs, evidence and reports; unique. Only the ids of native routes can be native; any other names a family of LiteLLM's routes.",
        example: "id = \"chat_completions\"",
    },
    Key {
        name: "match",
        kind: Kind::Table(MATCH),
        required: true,
        default: "",
        doc: "Which requests the entry is for.",
        example: "match = { methods = [\"POST\"], paths = [\"/v1/chat/completions\"] }",
    },
    Key {
        name: "mode",
        kind: Kind::Choice(&["python", "canary", "native"]),
        required: true,
        default: "",
        doc: "`python`: passed through. `native`: served by the edge. `canary`: a share is served by the edge. Native service needs fresh evidence, and the request must be one the native route fully supports; every other is passed through.",
        example: "mode = \"native\"",
    },
    Key {
        name: "canary",
        kind: Kind::Table(CANARY),
        required: false,
        default: "",
        doc: "The share of mode `canary`; required there, without effect in the other modes.",
        example: "canary = { percent = 5, key = \"ip\" }",
    },
    Key {
        name: "providers",
        kind: Kind::Choices(PROVIDERS),
        required: false,
        default: "every provider the native route supports",
        doc: "Requests to deployments of other providers decline to Python.",
        example: "providers = [\"openai\"]",
    },
    Key {
        name: "accept",
        kind: Kind::Choices(&["no_spend_rows"]),
        required: false,
        default: "nothing",
        doc: "Shortcomings that you accept for native answers of this route. `no_spend_rows`: where a database is configured, the master key's calls are served natively even if the edge could not write their row in the spend tables as LiteLLM does (a setting that changes the rows, a model whose tokens it cannot count); without it such calls decline to Python.",
        example: "accept = [\"no_spend_rows\"]",
    },
    Key {
        name: "owner",
        kind: Kind::Text,
        required: false,
        default: "",
        doc: "Who answers for the route; shown by `routes status`.",
        example: "owner = \"gateway team\"",
    },
    Key {
        name: "tolerate",
        kind: Kind::Tables(TOLERATE),
        required: false,
        default: "",
        doc: "A difference between Python and native that this deployment lives with, on record. It changes no decision; `routes lint` fails once it has expired. The suite's own list is parity-tests/tolerated.toml.",
        example: "[[route.tolerate]]",
    },
];

const MATCH: &[Key] = &[
    Key {
        name: "methods",
        kind: Kind::Methods,
        required: false,
        default: "every method",
        doc: "HTTP methods, upper case. A path that matches with another method is passed to Python.",
        example: "methods = [\"GET\", \"POST\"]",
    },
    Key {
        name: "paths",
        kind: Kind::Paths,
        required: true,
        default: "",
        doc: "Raw request paths as LiteLLM writes them: `/v1/models` exactly; `{x}` stands for one segment, `{x:path}` for any number of them; a closing `/*` makes it a family: `/key/*` is `/key` and everything below it. A path with `%`, `//`, `;`, `\\` or a dot segment is never served natively.",
        example: "paths = [\"/v1/models\", \"/engines/{model:path}/chat/completions\", \"/key/*\"]",
    },
];

const CANARY: &[Key] = &[
    Key {
        name: "percent",
        kind: Kind::Number { min: 0.0, max: 100.0 },
        required: true,
        default: "",
        doc: "Share of the callers (with `random`: of the requests) that is served natively, 0 to 100, in steps of 0.01.",
        example: "percent = 5",
    },
    Key {
        name: "key",
        kind: Kind::Choice(&["virtual_key", "ip", "random"]),
        required: false,
        default: "`\"virtual_key\"`",
        doc: "What decides on which side a caller is. `virtual_key`: the key it sends; the same key stays on its side, a caller without one is Python's. `ip`: the client's address. `random`: each request anew. Raising the percentage moves nobody back.",
        example: "key = \"ip\"",
    },
];

const TOLERATE: &[Key] = &[
    Key {
        name: "what",
        kind: Kind::Text,
        required: true,
        default: "",
        doc: "The difference.",
        example: "what = \"header x-litellm-version is absent\"",
    },
    Key {
        name: "why",
        kind: Kind::Text,
        required: true,
        default: "",
        doc: "Why it does no harm here.",
        example: "why = \"no client reads it\"",
    },
    Key {
        name: "until",
        kind: Kind::Date,
        required: true,
        default: "",
        doc: "The last day on which it is tolerated.",
        example: "until = \"2026-12-31\"",
    },
];
