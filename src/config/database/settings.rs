//! Settings that stand in the database (`LiteLLM_Config`, `LiteLLM_UISettings`) and what else LiteLLM loads from there
//! (proxy_server.py `_init_non_llm_objects_in_db`). config.yaml owns each key it has; of the others only what changes
//! nothing here is understood, anything else sends the calls to Python. Pure; data first.
use serde_json::{Map as Json, Value as JsonValue};

use super::{Stored, mapping, node};
use crate::{
    config::{
        ConfigDecline, books,
        keys::{self, Rule, Section, rule},
        yaml::{Map, Value},
    },
    routes::Decline,
};

/// Rows of a table -> why calls go to Python while there are some.
const OTHERS: &[(&str, Decline)] = &[
    ("LiteLLM_GuardrailsTable", Decline::Callbacks),
    ("LiteLLM_PolicyTable", Decline::Callbacks),
    ("LiteLLM_PolicyAttachmentTable", Decline::Callbacks),
    ("LiteLLM_PromptTable", Decline::Callbacks),
    ("LiteLLM_CacheConfig", Decline::Caching),
    ("LiteLLM_ConfigOverrides", Decline::SecretManager),
    ("LiteLLM_ManagedVectorStoresTable", Decline::Setting),
    ("LiteLLM_ManagedVectorStoreIndexTable", Decline::Setting),
];

/// Keys without bearing where they stand in config.yaml, but not when they come and go while LiteLLM runs.
const FIXED: &[&str] = &["cache_params", "default_redis_ttl", "coordination_redis", "supported_db_objects"];

/// Variables of mail, chat and single sign-on: no call depends on them.
const VARIABLES: &[&str] = &["SMTP_", "SLACK_", "EMAIL_", "UI_", "GOOGLE_CLIENT_", "MICROSOFT_", "GENERIC_"];
const SINGLE_VARIABLES: &[&str] = &["PROXY_BASE_URL", "PROXY_LOGOUT_URL", "USER_EMAIL", "TEST_EMAIL_ADDRESS"];

/// The sections of config.yaml that a row stands beside.
pub(in crate::config) struct Owned<'a> {
    pub(in crate::config) litellm: &'a Map,
    pub(in crate::config) general: &'a Map,
    pub(in crate::config) router: &'a Map,
}

/// What sends every call to Python, by the key to blame.
pub(in crate::config) fn declines(stored: &Stored, owned: &Owned<'_>) -> Vec<ConfigDecline> {
    let mut found = Vec::new();
    let mut add = |decline, key: String| found.push(ConfigDecline { decline, key });
    for (name, value) in &stored.settings {
        let (section, yaml) = match name.as_str() {
            "litellm_settings" => (Section::LitellmSettings, owned.litellm),
            "general_settings" => (Section::GeneralSettings, owned.general),
            "router_settings" => (Section::RouterSettings, owned.router),
            "environment_variables" => {
                variables(value)
                    .into_iter()
                    .for_each(|key| add(Decline::Setting, format!("LiteLLM_Config.{name}.{key}")));
                continue;
            }
            _ => continue,
        };
        match value {
            JsonValue::Null => {}
            JsonValue::Object(row) => row.iter().for_each(|(key, value)| {
                if let Some(decline) = setting(section, key, value, yaml) {
                    add(decline, format!("LiteLLM_Config.{name}.{key}"));
                }
            }),
            _ => add(Decline::ModelsInDatabase, format!("LiteLLM_Config.{name}")),
        }
    }
    match object(&stored.ui_settings) {
        Some(flags) => flags.iter().for_each(|(key, value)| {
            if let Some(decline) = setting(Section::GeneralSettings, key, value, owned.general) {
                add(decline, format!("LiteLLM_UISettings.{key}"));
            }
        }),
        None => add(Decline::ModelsInDatabase, "LiteLLM_UISettings".into()),
    }
    // LiteLLM writes the names in capitals
    let sso = variables(&stored.sso).into_iter().filter(|key| !SSO_ONLY.contains(&key.as_str()));
    sso.for_each(|key| add(Decline::Setting, format!("LiteLLM_SSOConfig.{key}")));
    for (table, decline) in OTHERS {
        match stored.others.get(*table).and_then(JsonValue::as_u64) {
            Some(0) => {}
            _ => add(*decline, (*table).to_owned()),
        }
    }
    found
}

/// Parts of `LiteLLM_SSOConfig` that are no variables.
const SSO_ONLY: &[&str] = &["ROLE_MAPPINGS", "TEAM_MAPPINGS", "UI_ACCESS_MODE"];

/// One key of a row. `None`: config.yaml has it, or nothing depends on it.
fn setting(section: Section, key: &str, value: &JsonValue, yaml: &Map) -> Option<Decline> {
    // lists of endpoints are joined, not owned
    let joined = key == "pass_through_endpoints";
    if value.is_null() || (!joined && yaml.get(key).is_some()) {
        return None;
    }
    let value = node(value).value;
    if (section, key) == (Section::GeneralSettings, "store_model_in_db") {
        // the environment says that it is on
        return (value != Value::Bool(true)).then_some(Decline::ModelsInDatabase);
    }
    if (section, key) == (Section::LitellmSettings, "cache") {
        return keys::cache_is_on(&value, None).then_some(Decline::Caching);
    }
    match rule(section, key) {
        Rule::NoBearing if FIXED.contains(&key) => Some(Decline::ModelsInDatabase),
        Rule::NoBearing | Rule::Unknown => None,
        Rule::Declines(decline, when) if when.holds(&value) => Some(decline),
        // as the edge assumes; whether LiteLLM takes it from here at all does not matter then
        Rule::Declines(..) => None,
        Rule::Native => Some(Decline::ModelsInDatabase),
    }
}

/// Names in capitals of the variables that something may depend on. A row that is no object depends on everything.
fn variables(value: &JsonValue) -> Vec<String> {
    let harmless = |name: &String| {
        VARIABLES.iter().any(|prefix| name.starts_with(prefix)) || SINGLE_VARIABLES.contains(&name.as_str())
    };
    match object(value) {
        Some(map) => map.keys().map(|name| name.to_uppercase()).filter(|name| !harmless(name)).collect(),
        None => vec!["?".into()],
    }
}

/// An object, also one that is written as text; nothing is an empty one.
fn object(value: &JsonValue) -> Option<Json<String, JsonValue>> {
    match value {
        JsonValue::Null => Some(Json::new()),
        JsonValue::Object(map) => Some(map.clone()),
        JsonValue::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

impl Stored {
    /// Whether a setting there changes how LiteLLM keeps its books, and how it holds limits.
    pub(in crate::config) fn other_books(&self) -> (bool, bool) {
        let section = |name: &str| match self.settings.get(name) {
            Some(JsonValue::Object(row)) => mapping(row),
            _ => Map::default(),
        };
        let (general, litellm, env) = (section("general_settings"), section("litellm_settings"), Default::default());
        (!books::are_plain(&general, &litellm, &env), !books::limits_are_plain(&general, &litellm, &env))
    }
}
