//! The environment as LiteLLM's `get_secret` sees it, and `os.environ/NAME` references. Pure: the process environment
//! is passed in. It must never log a value.
use std::collections::HashMap;

use super::yaml::{Map, Node, Value};

/// Variables by name: the process environment plus config.yaml's `environment_variables`.
pub type Env = HashMap<String, String>;

pub(crate) const PREFIX: &str = "os.environ/";

/// `DEFAULT_MAX_RECURSE_DEPTH`: deeper references stay as they are written.
const MAX_DEPTH: usize = 100;

/// Names that `environment_variables` must not set (proxy_server.py `_BLOCKED_ENV_KEYS`).
const BLOCKED: &[&str] = &[
    "PATH",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_INSERT_LIBRARIES",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "HOME",
    "USER",
    "SHELL",
    "LOGNAME",
    "NO_PROXY",
    "no_proxy",
];

/// What a reference stands for (secret_managers/main.py `get_secret` without a secret manager): text, a boolean where
/// the text is `true` or `false`, or null where the variable is not set.
pub(crate) fn secret(env: &Env, reference: &str) -> Value {
    let name = reference.replace(PREFIX, "");
    match env.get(&name) {
        None => Value::Null,
        Some(text) => match text.trim().to_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Str(text.clone()),
        },
    }
}

/// `get_secret_str`: text only.
pub(crate) fn text<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    let text = env.get(name)?;
    (!matches!(text.trim().to_lowercase().as_str(), "true" | "false")).then_some(text)
}

/// Replaces references in mappings and in mappings within lists, not bare strings within lists
/// (proxy_server.py `_check_for_os_environ_vars`). `missing` collects key paths whose variable is not set.
pub(crate) fn resolve(map: &mut Map, env: &Env, path: &str, depth: usize, missing: &mut Vec<(String, u32)>) {
    if depth > MAX_DEPTH {
        return;
    }
    for (key, node) in &mut map.entries {
        let key = key.value.python_str();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match &mut node.value {
            Value::Map(inner) => resolve(inner, env, &path, depth + 1, missing),
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    if let Value::Map(inner) = &mut item.value {
                        resolve(inner, env, &format!("{path}[{i}]"), depth + 1, missing);
                    }
                }
            }
            // a federation field that ends in `_ref` is a pointer for later use
            Value::Str(text) if text.starts_with(PREFIX) && !is_pointer(&key) => {
                node.value = secret(env, text);
                if node.value.is_null() {
                    missing.push((path, node.line));
                }
            }
            _ => {}
        }
    }
}

/// types/router.py `holds_secret_pointer`
pub(super) fn is_pointer(key: &str) -> bool {
    key.starts_with("anthropic_") && key.ends_with("_ref")
}

/// Exports `environment_variables` (proxy_server.py `_load_environment_variables`); runs after [`resolve`], so its
/// values were references once and are what they stood for now.
pub(crate) fn export(section: &Map, env: &mut Env) {
    for (name, Node { value, .. }) in section.iter() {
        // a null here was a reference to a variable that is not set... or an explicit null, which Python writes as "None"
        if !BLOCKED.contains(&name.as_str()) {
            env.insert(name, value.python_str());
        }
    }
}
