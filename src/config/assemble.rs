//! The resolved tree -> [`Snapshot`], with a row in the [`Report`] for every key. Pure.
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    ConfigDecline, ConfigError, Deployment, ModelGroup, Report, Settings, Snapshot, books,
    deployment::{self, Built, Input},
    env::{self, Env},
    keys::{self, Rule, Section, rule},
    prices::PriceMap,
    redis,
    report::Verdict,
    yaml::{Map, Node, Value},
};
use crate::{routes::Decline, secret::Secret};

struct Assembly<'a> {
    root: &'a Map,
    env: &'a Env,
    files: Vec<PathBuf>,
    report: &'a mut Report,
    declines: Vec<ConfigDecline>,
}

/// A variable, what it makes calls decline with, and for which texts.
type Variable = (&'static str, Decline, fn(&str) -> bool);

/// Prefixes that Python strips from request paths (proxy/utils.py `get_server_root_path`, proxy/middleware/
/// per_request_root_path_middleware.py).
const ROOT_PATHS: &[&str] = &["SERVER_ROOT_PATH", "SERVER_ROOT_PATHS"];

/// Variables that change how LiteLLM serves, and when they do.
const VARIABLES: &[Variable] = &[
    ("STORE_MODEL_IN_DB", Decline::ModelsInDatabase, truth),
    ("LITELLM_RUST", Decline::Setting, filled),
    ("USE_LITELLM_PROXY", Decline::Setting, truth),
    ("LITELLM_CORS_ORIGINS", Decline::Setting, filled),
    ("LITELLM_CONFIG_BUCKET_NAME", Decline::Setting, filled),
    ("LITELLM_ANTHROPIC_DISABLE_URL_SUFFIX", Decline::Setting, truth),
    ("SSL_VERIFY", Decline::Setting, filled),
    ("SSL_CERTIFICATE", Decline::Setting, filled),
    // LiteLLM's clients honour proxies, the edge's does not
    ("HTTP_PROXY", Decline::Setting, filled),
    ("HTTPS_PROXY", Decline::Setting, filled),
    ("ALL_PROXY", Decline::Setting, filled),
    ("http_proxy", Decline::Setting, filled),
    ("https_proxy", Decline::Setting, filled),
    ("all_proxy", Decline::Setting, filled),
];

fn truth(text: &str) -> bool {
    matches!(text.trim().to_lowercase().as_str(), "true" | "1")
}

fn filled(text: &str) -> bool {
    !text.trim().is_empty()
}

pub(super) fn snapshot(
    root: &Map,
    env: &Env,
    missing: &[(String, u32)],
    mut digest: Sha256,
    report: &mut Report,
) -> Result<Snapshot, ConfigError> {
    let files = report.files.clone();
    let mut this = Assembly { root, env, files, report, declines: Vec::new() };
    for (name, node) in root.iter() {
        this.top(&name, node)?;
    }
    let litellm = this.section("litellm_settings")?;
    let general = this.section("general_settings")?;
    let router = this.section("router_settings")?;
    for (section, map) in
        [(Section::LitellmSettings, &litellm), (Section::GeneralSettings, &general), (Section::RouterSettings, &router)]
    {
        this.settings(section, map)?;
    }
    this.defaults(&litellm, &router);
    this.variables();
    let text = |section: &Map, key: &str| section.get(key).and_then(|node| node.value.as_str()).map(str::to_owned);
    let number = |section: &Map, key: &str| section.get(key).and_then(|node| node.value.as_f64()).filter(|n| *n > 0.0);
    let master_key = match general.get("master_key") {
        Some(node) => node.value.as_str().map(str::to_owned),
        None => env::text(env, "LITELLM_MASTER_KEY").map(str::to_owned),
    };
    let database_url = text(&general, "database_url")
        .or_else(|| env::text(env, "DATABASE_URL").map(str::to_owned))
        .filter(|url| !url.is_empty());
    let parts = ["DATABASE_HOST", "DATABASE_USERNAME", "DATABASE_PASSWORD", "DATABASE_NAME"];
    let request_timeout =
        number(&litellm, "request_timeout").or_else(|| env.get("REQUEST_TIMEOUT").and_then(|text| text.parse().ok()));
    let groups = Groups::read(&mut this, &router, request_timeout)?;
    for (path, line) in missing {
        let place = Node { value: Value::Null, line: *line, file: 0 };
        this.report.add(path.clone(), Some(&place), Verdict::NoBearing, "its environment variable is not set: null");
    }
    for name in ["DATABASE_URL", "LITELLM_MASTER_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"].iter().chain(ROOT_PATHS)
    {
        // whether it is there, never what it holds
        digest.update([u8::from(env.contains_key(*name))]);
    }
    let aliases: HashSet<String> = router
        .get("model_group_alias")
        .and_then(|node| node.value.as_map())
        .map(|map| map.iter().map(|(name, _)| name).collect())
        .unwrap_or_default();
    Ok(Snapshot {
        digest: deployment::hex(&digest.finalize()),
        settings: Settings {
            request_timeout: request_timeout.and_then(|s| Duration::try_from_secs_f64(s).ok()),
            drop_params: litellm.get("drop_params").is_some_and(|node| node.value == Value::Bool(true)),
            key_header_name: text(&general, "litellm_key_header_name").filter(|name| !name.is_empty()),
            metrics_auth: litellm.get("require_auth_for_metrics_endpoint").is_none_or(|node| node.value.truthy()),
            python_metrics: mentions(&litellm, "prometheus"),
            root_path: ROOT_PATHS
                .iter()
                .filter_map(|name| env.get(*name))
                .find(|path| !path.trim().is_empty() && *path != "/")
                .cloned(),
            has_database: database_url.is_some() || parts.iter().all(|name| env.contains_key(*name)),
            call_id_in_error_body: general.get("include_call_id_in_error_body").is_some_and(|node| node.value.truthy()),
            // a bool, or Python's `str_to_bool` of a text
            ready_without_database: general.get("allow_requests_on_db_unavailable").is_some_and(|node| {
                let text = node.value.as_str().map(|text| text.trim().to_ascii_lowercase());
                node.value == Value::Bool(true) || text.as_deref() == Some("true")
            }),
            counter_ttl: counter_ttl(&litellm),
            key_ttl: books::key_ttl(&general).flatten(),
            other_books: !books::are_plain(&general, &litellm, env),
            other_limits: !books::limits_are_plain(&general, &litellm, env),
            no_discovery: general.get("disable_model_info_refresh").is_some_and(|n| n.value == Value::Bool(true)),
            spend_flush: number(&general, "proxy_batch_write_at").and_then(|s| Duration::try_from_secs_f64(s).ok()),
        },
        master_key: master_key.filter(|key| !key.is_empty()).map(Secret::new),
        other_names: groups.other_names || !aliases.is_empty(),
        aliases,
        groups: groups.by_name.into_iter().map(|(name, group)| (name, Arc::new(group))).collect(),
        group_order: groups.order,
        deployments: groups.deployments,
        declines: this.declines,
        database_url: database_url.map(Secret::new),
        coordination: redis::coordination(&general, &litellm, env),
    })
}

/// `litellm_settings.default_redis_ttl`; the cache's own comes later and wins (proxy_server.py `init_cache`).
fn counter_ttl(litellm: &Map) -> Option<i64> {
    let seconds = |map: &Map| map.get("default_redis_ttl").and_then(|node| node.value.as_f64()).map(|n| n as i64);
    let cache_is_on = litellm.get("cache").is_some_and(|node| node.value.truthy());
    let params = litellm.get("cache_params").and_then(|node| node.value.as_map()).filter(|_| cache_is_on);
    params.and_then(seconds).or_else(|| seconds(litellm)).filter(|seconds| *seconds > 0)
}

impl Assembly<'_> {
    fn error(&self, node: &Node, key: &str, problem: impl Into<String>) -> ConfigError {
        let file = self.files.get(usize::from(node.file)).map_or(Path::new(""), PathBuf::as_path);
        ConfigError::new(file, node.line, key, problem)
    }

    fn decline(&mut self, decline: Decline, key: String) {
        self.declines.push(ConfigDecline { decline, key });
    }

    fn top(&mut self, name: &str, node: &Node) -> Result<(), ConfigError> {
        const SECTIONS: &[&str] =
            &["model_list", "litellm_settings", "general_settings", "router_settings", "environment_variables"];
        if !SECTIONS.contains(&name) {
            if let Some(decline) = self.report.classify(Section::Top, "", name, node) {
                self.decline(decline, name.to_owned());
            }
        } else if name == "environment_variables" && node.value.truthy() {
            let map = node.value.as_map().ok_or_else(|| self.error(node, name, shape("a mapping", node)))?;
            for (key, value) in map.iter() {
                self.report.add(format!("{name}.{key}"), Some(value), Verdict::Native, "for later look-ups only");
            }
        }
        Ok(())
    }

    /// A settings section; LiteLLM takes null and, for some, an empty value as no settings.
    fn section(&self, name: &str) -> Result<Map, ConfigError> {
        match self.root.get(name) {
            None => Ok(Map::default()),
            Some(node) => match &node.value {
                Value::Map(map) => Ok(map.clone()),
                value if !value.truthy() => Ok(Map::default()),
                _ => Err(self.error(node, name, shape("a mapping", node))),
            },
        }
    }

    fn settings(&mut self, section: Section, map: &Map) -> Result<(), ConfigError> {
        for (name, node) in map.iter() {
            let key = format!("{}{name}", section.path());
            match (section, name.as_str()) {
                (Section::LitellmSettings, "cache") => {
                    let params = map.get("cache_params").map(|node| &node.value);
                    let on = keys::cache_is_on(&node.value, params);
                    let verdict = if on { Verdict::Declines(Decline::Caching) } else { Verdict::Native };
                    let note = "served natively where it is off, or cache_params.mode is default_off";
                    self.report.add(key.clone(), Some(node), verdict, note);
                    if on {
                        self.decline(Decline::Caching, key);
                    }
                    continue;
                }
                (Section::RouterSettings, "health_check_interval" | "health_check_concurrency") => {
                    return Err(self.error(node, &key, "LiteLLM refuses it here; it belongs to general_settings"));
                }
                (Section::GeneralSettings, "master_key" | "database_url")
                    if node.value.truthy() && node.value.as_str().is_none() =>
                {
                    return Err(self.error(node, &key, shape("a string", node)));
                }
                _ => {}
            }
            let wrong_type = rule(section, &name) == Rule::Native
                && matches!(name.as_str(), "request_timeout" | "timeout" | "stream_timeout")
                && node.value.as_f64().is_none()
                && !node.value.is_null();
            if wrong_type {
                let note = shape("a number of seconds", node);
                self.report.add(key.clone(), Some(node), Verdict::Declines(Decline::Setting), note);
                self.decline(Decline::Setting, key);
            } else if let Some(decline) = self.report.classify(section, "", &name, node) {
                self.decline(decline, key);
            }
        }
        Ok(())
    }

    /// Settings whose default already asks for more than the edge does.
    fn defaults(&mut self, litellm: &Map, router: &Map) {
        let set = |map: &Map, key: &str| map.get(key).is_some_and(|node| !node.value.is_null());
        if !set(litellm, "num_retries") && !set(router, "num_retries") {
            let note = "absent: LiteLLM retries twice; set it to 0 in litellm_settings or router_settings";
            let key = "litellm_settings.num_retries";
            self.report.add(key, None, Verdict::Declines(Decline::RouterSettings), note);
            self.decline(Decline::RouterSettings, key.into());
        }
        if router.get("disable_cooldowns").is_none() {
            let note = "absent: LiteLLM cools deployments down; set it to true in router_settings";
            let key = "router_settings.disable_cooldowns";
            self.report.add(key, None, Verdict::Declines(Decline::RouterSettings), note);
            self.decline(Decline::RouterSettings, key.into());
        }
    }

    fn variables(&mut self) {
        for (name, decline, when) in VARIABLES {
            if self.env.get(*name).is_some_and(|text| when(text)) {
                let key = format!("environment {name}");
                self.report.add(key.clone(), None, Verdict::Declines(*decline), decline.why());
                self.decline(*decline, key);
            }
        }
    }
}

#[derive(Default)]
struct Groups {
    by_name: HashMap<String, ModelGroup>,
    order: Vec<String>,
    deployments: Vec<Arc<Deployment>>,
    other_names: bool,
}

impl Groups {
    fn read(this: &mut Assembly<'_>, router: &Map, request_timeout: Option<f64>) -> Result<Self, ConfigError> {
        let mut groups = Groups::default();
        let Some(list) = this.root.get("model_list").filter(|node| node.value.truthy()) else { return Ok(groups) };
        let entries = list.value.as_list().ok_or_else(|| this.error(list, "model_list", shape("a list", list)))?;
        let prices = PriceMap::default();
        let number = |key: &str| router.get(key).and_then(|node| node.value.as_f64()).filter(|n| *n > 0.0);
        for (i, entry) in entries.iter().enumerate() {
            let at = format!("model_list[{i}]");
            let wrong = |this: &Assembly<'_>, problem: &str| this.error(entry, &at, problem);
            let map = entry.value.as_map().ok_or_else(|| wrong(this, &shape("a mapping", entry)))?;
            let params = map.get("litellm_params").and_then(|node| node.value.as_map());
            let params = params.ok_or_else(|| wrong(this, "needs a mapping `litellm_params`"))?;
            if params.get("model").is_none() {
                return Err(wrong(this, "needs `litellm_params.model`"));
            }
            let name = map.get("model_name").ok_or_else(|| wrong(this, "needs `model_name`"))?;
            let info = match map.get("model_info") {
                None => None,
                Some(node) => Some(node.value.as_map().ok_or_else(|| wrong(this, "`model_info` must be a mapping"))?),
            };
            let Some(name) = name.value.as_str() else {
                this.report.add(at, Some(name), Verdict::Skipped, shape("a string as model_name", name));
                continue;
            };
            let built = deployment::build(&Input {
                model_group: name,
                params,
                model_info: info,
                env: this.env,
                prices: &prices,
                router_timeout: number("timeout"),
                router_stream_timeout: number("stream_timeout"),
                request_timeout,
            });
            let mut deployment = match built {
                Built::Deployment(deployment) => *deployment,
                Built::Skipped(why) => {
                    this.report.add(at, Some(entry), Verdict::Skipped, why);
                    continue;
                }
            };
            entry_keys(this, &at, map, &mut deployment);
            rows(this, &at, params, info, &deployment);
            groups.other_names |= name.contains('*') || has_team(info);
            groups.push(name, deployment);
        }
        Ok(groups)
    }

    fn push(&mut self, name: &str, deployment: Deployment) {
        let group = self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.order.push(name.to_owned());
            ModelGroup { name: name.to_owned(), deployments: Vec::new() }
        });
        let deployment = Arc::new(deployment);
        group.deployments.push(deployment.clone());
        self.deployments.push(deployment);
    }
}

fn has_team(info: Option<&Map>) -> bool {
    info.and_then(|info| info.get("team_id")).is_some_and(|node| !node.value.is_null())
}

/// Keys of the entry itself: LiteLLM takes `rpm` and `tpm` there too.
fn entry_keys(this: &mut Assembly<'_>, at: &str, map: &Map, deployment: &mut Deployment) {
    for (key, node) in map.iter() {
        let known = matches!(key.as_str(), "model_name" | "litellm_params" | "model_info");
        if !known && !node.value.is_null() {
            deployment.declines.push(ConfigDecline { decline: Decline::DeploymentParam, key: key.clone() });
            deployment.listing = None;
            let verdict = Verdict::Declines(Decline::DeploymentParam);
            this.report.add(format!("{at}.{key}"), Some(node), verdict, "not a key the edge reads here");
        }
    }
    if deployment.model_group.contains('*') {
        deployment.declines.push(ConfigDecline { decline: Decline::Model, key: "model_name".into() });
    }
}

/// A row for every key of one deployment, by what became of it.
fn rows(this: &mut Assembly<'_>, at: &str, params: &Map, info: Option<&Map>, deployment: &Deployment) {
    let sections = [(Section::LitellmParams, Some(params)), (Section::ModelInfo, info)];
    for (section, map) in sections {
        for (name, node) in map.map(Map::iter).into_iter().flatten() {
            let path = format!("{}{name}", section.path());
            let declined = deployment.declines.iter().find(|entry| entry.key == path);
            let verdict = match declined {
                Some(entry) => Verdict::Declines(entry.decline),
                None if section == Section::ModelInfo && rule(section, &name) == Rule::NoBearing => Verdict::NoBearing,
                None if rule(section, &name) == Rule::NoBearing => Verdict::NoBearing,
                None => Verdict::Native,
            };
            let note = declined.map_or("", |entry| entry.decline.why());
            this.report.add(format!("{at}.{path}"), Some(node), verdict, note);
        }
    }
    for entry in &deployment.declines {
        let of_file = params.get(entry.key.strip_prefix("litellm_params.").unwrap_or("")).is_some()
            || entry.key.starts_with("model_info.");
        if !of_file {
            let note = entry.decline.why();
            this.report.add(format!("{at}: {}", entry.key), None, Verdict::Declines(entry.decline), note);
        }
    }
}

fn shape(wanted: &str, node: &Node) -> String {
    format!("must be {wanted}, found {}", node.value.shape())
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
