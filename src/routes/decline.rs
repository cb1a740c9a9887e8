//! The closed list of reasons why a request goes to Python although its route is native. Each is a metric label, a
//! word in the access log and a row in the README; a new one is added here and nowhere else.

macro_rules! declines {
    ($($variant:ident = $name:literal, $why:literal;)*) => {
        /// Why admission said no. Decided before any side effect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Decline { $(#[doc = $why] $variant,)* }

        impl Decline {
            pub const ALL: &'static [Decline] = &[$(Decline::$variant,)*];

            /// The name in metrics, logs and reports.
            pub fn as_str(self) -> &'static str {
                match self { $(Decline::$variant => $name,)* }
            }

            /// One line for people.
            pub fn why(self) -> &'static str {
                match self { $(Decline::$variant => $why,)* }
            }
        }
    };
}

declines! {
    // --- who is calling
    NoKey = "no_key", "no key in any header LiteLLM reads, or a malformed one: LiteLLM writes the refusal";
    VirtualKey = "virtual_key", "the route serves the master key alone, the key may be a session, or the database is away";
    KeyFeature = "key_feature", "the key, its team, user, project or end user has a feature that is Python's in this version, or a limit or budget without a Redis to share it";
    MasterKeyUnset = "master_key_unset", "no master key is configured: every caller is let in by Python's own rules";
    // --- the request as sent
    Cors = "cors", "the request comes from a web page (Origin): LiteLLM's CORS rules are Python's";
    Query = "query", "a query parameter that LiteLLM might act on";
    ContentType = "content_type", "the body is not declared as JSON";
    ContentEncoding = "content_encoding", "the body is compressed";
    ControlHeader = "control_header", "an x-litellm-* or other header that steers LiteLLM";
    BodyTooLarge = "body_too_large", "the body is over the bound that is read into memory";
    BodyNotJson = "body_not_json", "the body is no JSON object, or only Python's parser can say what it is";
    DuplicateKey = "duplicate_key", "a key stands twice in an object the edge has to read";
    // --- fields of the body
    Field = "field", "a body field that LiteLLM acts on and the edge does not";
    FieldType = "field_type", "a field has a type that needs LiteLLM's own error or coercion";
    MissingField = "missing_field", "a required field is missing: LiteLLM writes the refusal";
    UnsupportedParam = "unsupported_param", "LiteLLM refuses or drops this parameter for this model";
    MessageShape = "message_shape", "a message that LiteLLM rewrites in a way the edge does not";
    Tools = "tools", "a tool type that LiteLLM runs or rewrites itself";
    // --- the model
    Model = "model", "the model is unknown, a list, an alias, a wildcard or a deployment id";
    Provider = "provider", "the deployment's provider is not served natively, or routes.toml does not list it";
    DeploymentParam = "deployment_param", "a litellm_params key of the deployment that the edge does not honour";
    NoDeployment = "no_deployment", "no deployment of the group can be used";
    // --- the configuration
    Callbacks = "callbacks", "callbacks, guardrails, policies or alerting are configured";
    CustomAuth = "custom_auth", "custom, JWT or OAuth2 authentication is configured";
    SecretManager = "secret_manager", "a secret manager is configured";
    RouterSettings = "router_settings", "retries, fallbacks, cooldowns or another routing setting is asked for";
    Caching = "caching", "response caching is on for this request";
    ModelsInDatabase = "models_in_database", "the database's models and settings were not read yet, or have something that is Python's";
    SpendInDatabase = "spend_in_database", "a database is configured, the edge could not write the call's row as LiteLLM does, and the route does not accept that it is missing";
    Setting = "setting", "another setting in config.yaml that the edge does not honour";
    // --- the route
    NotThisPath = "not_this_path", "the path needs Python's own decoding or a root path is set";
    Fault = "fault", "admission itself failed: a bug of the edge, with its place in the log";
}

impl std::fmt::Display for Decline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
