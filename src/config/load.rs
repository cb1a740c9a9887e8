//! File -> [`Snapshot`]: parse, include, resolve references, classify, build deployments. The only I/O is reading the
//! named files; the environment is passed in.
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    ConfigDecline, ModelGroup, Settings, Snapshot, deployment,
    env::{self, Env},
    include,
    prices::PriceMap,
    yaml::{self, Map, Node, Value},
};
use crate::{routes::Decline, secret::Secret};

/// A config file that LiteLLM would not start with. It names the place and the shape, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {key}{}{problem}", file.display(), if key.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    pub file: PathBuf,
    /// 1-based; 0 where the file as a whole is meant
    pub line: u32,
    /// dotted key path; may be empty
    pub key: String,
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, line: u32, key: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, key: key.to_owned(), problem: problem.into() }
    }
}

/// A loaded configuration and the files it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub snapshot: Snapshot,
    /// every file read, the root file first, with the sha256 of its bytes
    pub files: Vec<(PathBuf, [u8; 32])>,
}

/// Reads `path` and what it includes. `env` is the process environment.
pub fn load(path: &Path, env: &Env) -> Result<Loaded, ConfigError> {
    let mut disk = Disk::default();
    let absolute = include::normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let root = include::Files::read(&mut disk, &absolute)?;
    let Value::Map(root) = root.value else {
        let problem = format!("the file must be a mapping of sections, found {}", root.value.shape());
        return Err(ConfigError::new(&absolute, root.line, "", problem));
    };
    let root = include::resolve(root, &absolute, &mut disk)?;
    let snapshot = snapshot(root, env.clone(), &absolute)?;
    Ok(Loaded { snapshot, files: disk.read })
}

#[derive(Default)]
struct Disk {
    read: Vec<(PathBuf, [u8; 32])>,
}

impl include::Files for Disk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&mut self, path: &Path) -> Result<Node, ConfigError> {
        let bytes = std::fs::read(path)
            .map_err(|error| ConfigError::new(path, 0, "", format!("cannot be read: {}", error.kind())))?;
        self.read.push((path.to_owned(), Sha256::digest(&bytes).into()));
        yaml::parse(&bytes).map_err(|error| {
            ConfigError::new(path, error.line, "", format!("column {}: {}", error.column, error.problem))
        })
    }
}

fn snapshot(mut root: Map, mut env: Env, file: &Path) -> Result<Snapshot, ConfigError> {
    let mut missing = Vec::new();
    env::resolve(&mut root, &env, "", 0, &mut missing);
    if let Some(Value::Map(section)) = root.get("environment_variables").map(|node| &node.value) {
        env::export(section, &mut env);
    }
    let section = |name: &str| root.get(name).and_then(|node| node.value.as_map()).cloned().unwrap_or_default();
    let (litellm, general, router) =
        (section("litellm_settings"), section("general_settings"), section("router_settings"));
    let secret_of = |section: &Map, key: &str, variable: &str| -> Option<Secret> {
        match section.get(key) {
            Some(node) => node.value.as_str().map(Secret::new),
            None => env::text(&env, variable).map(Secret::new),
        }
    };
    let database_url = secret_of(&general, "database_url", "DATABASE_URL");
    let settings = Settings {
        request_timeout: litellm
            .get("request_timeout")
            .and_then(|node| node.value.as_f64())
            .map(Duration::from_secs_f64),
        drop_params: litellm.get("drop_params").is_some_and(|node| node.value == Value::Bool(true)),
        key_header_name: general.get("litellm_key_header_name").and_then(|node| node.value.as_str()).map(str::to_owned),
        metrics_auth: litellm.get("require_auth_for_metrics_endpoint").is_none_or(|node| node.value.truthy()),
        python_metrics: mentions(&litellm, "prometheus"),
        root_path: env.get("SERVER_ROOT_PATH").filter(|path| !path.is_empty()).cloned(),
        has_database: database_url.is_some(),
        call_id_in_error_body: general.get("include_call_id_in_error_body").is_some_and(|node| node.value.truthy()),
    };
    let mut declines = Vec::new();
    let retries = router.get("num_retries").or_else(|| litellm.get("num_retries")).map(|node| node.value.clone());
    if retries != Some(Value::Int(0)) {
        declines.push(ConfigDecline { decline: Decline::RouterSettings, key: "litellm_settings.num_retries".into() });
    }
    if router.get("disable_cooldowns").is_none_or(|node| node.value != Value::Bool(true)) {
        declines
            .push(ConfigDecline { decline: Decline::RouterSettings, key: "router_settings.disable_cooldowns".into() });
    }
    let prices = PriceMap::default();
    let mut groups: HashMap<String, ModelGroup> = HashMap::new();
    let mut group_order = Vec::new();
    let empty = Vec::new();
    let list = root.get("model_list").and_then(|node| node.value.as_list()).unwrap_or(&empty);
    for (i, entry) in list.iter().enumerate() {
        let key = format!("model_list[{i}]");
        let wrong = |line: u32, problem: &str| ConfigError::new(file, line, &key, problem);
        let map = entry.value.as_map().ok_or_else(|| wrong(entry.line, "must be a mapping"))?;
        let name = map
            .get("model_name")
            .and_then(|node| node.value.as_str())
            .ok_or_else(|| wrong(entry.line, "needs a string `model_name`"))?;
        let params = map
            .get("litellm_params")
            .and_then(|node| node.value.as_map())
            .ok_or_else(|| wrong(entry.line, "needs a mapping `litellm_params`"))?;
        let info = map.get("model_info").and_then(|node| node.value.as_map());
        let Some(deployment) = deployment::build(name, params, info, &env, &prices) else { continue };
        groups
            .entry(name.to_owned())
            .or_insert_with(|| {
                group_order.push(name.to_owned());
                ModelGroup { name: name.to_owned(), deployments: Vec::new() }
            })
            .deployments
            .push(Arc::new(deployment));
    }
    Ok(Snapshot {
        digest: String::new(),
        master_key: secret_of(&general, "master_key", "LITELLM_MASTER_KEY"),
        settings,
        groups: groups.into_iter().map(|(name, group)| (name, Arc::new(group))).collect(),
        group_order,
        declines,
        other_names: false,
        database_url,
    })
}

fn mentions(litellm: &Map, name: &str) -> bool {
    ["callbacks", "success_callback", "failure_callback"].iter().any(|key| {
        litellm.get(key).is_some_and(|node| match &node.value {
            Value::List(items) => items.iter().any(|item| item.value.as_str() == Some(name)),
            Value::Str(text) => text == name,
            _ => false,
        })
    })
}
