//! What LiteLLM keeps in its database beside config.yaml when `store_model_in_db` is on: models, credentials, settings.
//! Owns: what of it the edge understands, and that anything else is Python's. Pure: the rows are read elsewhere
//! (`store/postgres/models.rs`). It must never show a value of a row.
mod rows;
mod sealed;
mod settings;

use std::fmt;

use serde::Deserialize;
use serde_json::{Map as Json, Value as JsonValue};

use super::yaml::{Map, Node, Value};

pub(super) use rows::{Entry, entries};
pub(super) use settings::{Owned, declines};

/// The tables' content at one moment, still sealed.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// sha256 of what was read
    #[serde(default)]
    pub digest: String,
    /// `LiteLLM_ProxyModelTable`, in the order Postgres gives them
    models: Vec<Row>,
    /// `LiteLLM_CredentialsTable`
    credentials: Vec<Credential>,
    /// `LiteLLM_Config`: `param_name` -> `param_value`, of the four sections
    settings: Json<String, JsonValue>,
    /// `LiteLLM_UISettings`; text or an object
    ui_settings: JsonValue,
    /// `LiteLLM_SSOConfig`: variables of the environment
    sso: JsonValue,
    /// rows of other tables that LiteLLM loads with the models
    others: Json<String, JsonValue>,
}

#[derive(Clone, PartialEq, Deserialize)]
struct Row {
    model_id: String,
    model_name: String,
    litellm_params: JsonValue,
    model_info: JsonValue,
    blocked: bool,
}

#[derive(Clone, PartialEq, Deserialize)]
struct Credential {
    credential_name: String,
    credential_values: JsonValue,
}

impl Stored {
    /// How many models there are.
    pub fn models(&self) -> usize {
        self.models.len()
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} models, {} credentials)", self.models.len(), self.credentials.len())
    }
}

/// JSON as the same value that YAML would give.
fn node(value: &JsonValue) -> Node {
    let value = match value {
        JsonValue::Null => Value::Null,
        JsonValue::Bool(value) => Value::Bool(*value),
        JsonValue::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Value::Int(int.into()),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::BigInt(number.to_string()),
        },
        JsonValue::String(text) => Value::Str(text.clone()),
        JsonValue::Array(items) => Value::List(items.iter().map(node).collect()),
        JsonValue::Object(map) => Value::Map(mapping(map)),
    };
    Node::new(value, 0)
}

fn mapping(map: &Json<String, JsonValue>) -> Map {
    Map { entries: map.iter().map(|(key, value)| (key_node(key), node(value))).collect() }
}

fn key_node(key: &str) -> Node {
    Node::new(Value::Str(key.to_owned()), 0)
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
