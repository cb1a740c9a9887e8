//! A row of `LiteLLM_ProxyModelTable` -> the same parts an entry of `model_list` has (proxy_server.py `_add_deployment`,
//! `get_model_info_with_id`), its credential filled in (utils.py `load_credentials_from_list`). Pure. What LiteLLM would
//! use although it could not be decrypted makes the model decline.
use serde_json::Value as JsonValue;

use super::{Stored, key_node, mapping, node, sealed::Seal};
use crate::config::{
    env::{self, Env},
    key_names,
    yaml::{Map, Node, Value},
};

/// What one row comes to.
pub(in crate::config) struct Entry<'a> {
    pub(in crate::config) model_name: &'a str,
    pub(in crate::config) params: Map,
    pub(in crate::config) info: Map,
    /// keys of the row that only LiteLLM can make something of
    pub(in crate::config) declines: Vec<String>,
}

/// All rows in order. `Err`: a row that stops LiteLLM's own reading of the rows, so nobody knows what it serves.
pub(in crate::config) fn entries<'a>(
    stored: &'a Stored,
    salt: Option<&str>,
    env: &Env,
) -> Result<Vec<Entry<'a>>, &'static str> {
    let seal = salt.map(Seal::of);
    let open = |value: &str| seal.as_ref().and_then(|seal| seal.open(value));
    stored.models.iter().map(|row| entry(stored, row, &open, env)).collect()
}

fn entry<'a>(
    stored: &'a Stored,
    row: &'a super::Row,
    open: &impl Fn(&str) -> Option<String>,
    env: &Env,
) -> Result<Entry<'a>, &'static str> {
    let mut declines = Vec::new();
    let mut params = Map::default();
    match &row.litellm_params {
        JsonValue::Object(sealed) => {
            for (key, value) in sealed {
                let opened = opened(value, open).unwrap_or_else(|| {
                    declines.push(format!("litellm_params.{key}"));
                    Value::Null
                });
                // a reference may stand for anything; LiteLLM resolves it as in a file
                let value = match opened {
                    Value::Str(text) if text.starts_with(env::PREFIX) && !env::is_pointer(key) => {
                        env::secret(env, &text)
                    }
                    value => value,
                };
                params.entries.push((key_node(key), Node::new(value, 0)));
            }
        }
        _ => return Err("litellm_params"),
    }
    credential(stored, &mut params, &mut declines, open);
    let JsonValue::Object(info) = &row.model_info else { return Err("model_info") };
    let mut info = mapping(info);
    // a copy of what `/model/info` showed: LiteLLM takes the prices in it for what they are, by a list of its own
    if info.get("key").is_some() {
        let price = |name: &String| key_names::PRICING.contains(&name.as_str()) || name.contains("cost");
        declines.extend(info.iter().map(|(name, _)| name).filter(price).map(|name| format!("model_info.{name}")));
    }
    info.insert(key_node("id"), Node::new(Value::Str(row.model_id.clone()), 0));
    info.insert(key_node("db_model"), Node::new(Value::Bool(true), 0));
    info.insert(key_node("blocked"), Node::new(Value::Bool(row.blocked), 0));
    Ok(Entry { model_name: &row.model_name, params, info, declines })
}

/// Texts are encrypted, whatever else there is stands as it is. `None`: a text that was not encrypted with our key.
fn opened(value: &JsonValue, open: &impl Fn(&str) -> Option<String>) -> Option<Value> {
    match value {
        JsonValue::String(text) => open(text).map(Value::Str),
        value => Some(node(value).value),
    }
}

/// Puts the values of the credential that is named under the row's own.
fn credential(stored: &Stored, params: &mut Map, declines: &mut Vec<String>, open: &impl Fn(&str) -> Option<String>) {
    const NAME: &str = "litellm_credential_name";
    let Some(Value::Str(name)) = params.get(NAME).map(|node| node.value.clone()).filter(Value::truthy) else { return };
    let mut unknown = || declines.push(format!("litellm_params.{NAME}"));
    let found = stored.credentials.iter().find(|credential| credential.credential_name == name);
    // one of config.yaml's, or one that LiteLLM calls without
    let Some(JsonValue::Object(values)) = found.map(|credential| &credential.credential_values) else {
        return unknown();
    };
    params.remove(NAME);
    for (key, value) in values {
        match opened(value, open) {
            // LiteLLM resolves no reference here
            Some(Value::Str(text)) if !text.starts_with(env::PREFIX) => {
                if params.get(key).is_none_or(|node| node.value.is_null()) {
                    params.insert(key_node(key), Node::new(Value::Str(text), 0));
                }
            }
            _ => unknown(),
        }
    }
}
