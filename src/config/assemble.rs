//! The resolved tree -> [`Snapshot`], with a row in the [`Report`] for every key. Pure.
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    ConfigDecline, ConfigError, Report, Settings, Snapshot, books,
    database::{self, Stored},
    deployment,
    env::{self, Env},
    groups::{Around, Groups},
    keys::{self, Rule, Section, rule},
    prices::PriceMap,
    redis,
    report::Verdict,
    yaml::{Map, Node, Value},
};
use crate::{routes::Decline, secret::Secret};

pub(super) struct Assembly<'a> {
    pub(super) root: &'a Map,
    pub(super) env: &'a Env,
    files: Vec<PathBuf>,
    pub(super) report: &'a mut Report,
    declines: Vec<ConfigDecline>,
}

/// A variable, what it makes calls decline with, and for which texts.
type Variable = (&'static str, Decline, fn(&str) -> bool);

/// Prefixes that Python strips from request paths (proxy/utils.py `get_server_root_path`, proxy/middleware/
/// per_request_root_path_middleware.py).
const ROOT_PATHS: &[&str] = &["SERVER_ROOT_PATH", "SERVER_ROOT_PATHS"];

/// Variables that change how LiteLLM serves, and when they do.
const VARIABLES: &[Variable] = &[
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
    stored: Option<&Stored>,
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
    let sections = database::Owned { litellm: &litellm, general: &general, router: &router };
    let models_in_database = this.models_in_database(&sections, database_url.is_some(), stored);
    let stored = stored.filter(|_| models_in_database);
    let around = Around { router: &router, request_timeout, prices: PriceMap::default() };
    let mut groups = Groups::read(&mut this, &around)?;
    if let Some(stored) = stored {
        // `get_salt_key`
        let salt = env.get("LITELLM_SALT_KEY").or(master_key.as_ref()).map(String::as_str);
        groups.add_stored(&mut this, &around, stored, salt);
        digest.update(&stored.digest);
    }
    let (other_books, other_limits) = stored.map(Stored::other_books).unwrap_or_default();
    for (path, line) in missing {
        let place = Node { value: Value::Null, line: *line, file: 0 };
        this.report.add(path.clone(), Some(&place), Verdict::NoBearing, "its environment variable is not set: null");
    }
    for name in ["DATABASE_URL", "LITELLM_MASTER_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"].iter().chain(ROOT_PATHS)
    {
        // whether it is there, never what it holds
        digest.update([u8::from(env.contains_key(*name))]);
    }
    let aliases = router.get("model_group_alias").and_then(|node| node.value.as_map());
    let aliases = aliases.into_iter().flat_map(Map::iter).map(|(name, _)| name);
    let aliases: HashSet<String> = std::mem::take(&mut groups.pythons).into_iter().chain(aliases).collect();
    let other_names = groups.other_names || models_in_database || !aliases.is_empty();
    let (groups, group_order, deployments) = groups.finish(&around.prices);
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
            models_in_database,
            other_books: other_books || !books::are_plain(&general, &litellm, env),
            other_limits: other_limits || !books::limits_are_plain(&general, &litellm, env),
            no_discovery: general.get("disable_model_info_refresh").is_some_and(|n| n.value == Value::Bool(true)),
            spend_flush: number(&general, "proxy_batch_write_at").and_then(|s| Duration::try_from_secs_f64(s).ok()),
        },
        master_key: master_key.filter(|key| !key.is_empty()).map(Secret::new),
        // a model may be there that was not read yet
        other_names,
        aliases,
        groups: groups.into_iter().map(|(name, group)| (name, Arc::new(group))).collect(),
        group_order,
        deployments,
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
    pub(super) fn error(&self, node: &Node, key: &str, problem: impl Into<String>) -> ConfigError {
        let file = self.files.get(usize::from(node.file)).map_or(Path::new(""), PathBuf::as_path);
        ConfigError::new(file, node.line, key, problem)
    }

    pub(super) fn decline(&mut self, decline: Decline, key: String) {
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
                // see `models_in_database`
                (Section::GeneralSettings, "store_model_in_db") if node.value.truthy() => continue,
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

    /// Whether LiteLLM loads models and settings from the database; what of them sends every call to Python, as does that
    /// nothing was read yet.
    fn models_in_database(&mut self, owned: &database::Owned<'_>, has_url: bool, stored: Option<&Stored>) -> bool {
        const KEY: &str = "general_settings.store_model_in_db";
        let node = owned.general.get("store_model_in_db");
        let setting = node.map_or(&Value::Null, |node| &node.value);
        let variable = self.env.get("STORE_MODEL_IN_DB").is_some_and(|text| truth(text));
        if !setting.truthy() && !variable {
            return false;
        }
        let key = if setting.truthy() { KEY } else { "environment STORE_MODEL_IN_DB" };
        // another value than true is on for a part of LiteLLM
        let understood = has_url && (*setting == Value::Bool(true) || !setting.truthy());
        let (verdict, note) = match understood {
            true => (Verdict::Native, "calls go to Python until the database was read"),
            false => {
                (Verdict::Declines(Decline::ModelsInDatabase), "served natively where it is true and the url is known")
            }
        };
        self.report.add(key, node.filter(|_| setting.truthy()), verdict, note);
        match stored.filter(|_| understood) {
            None => self.decline(Decline::ModelsInDatabase, key.into()),
            Some(stored) => self.declines.extend(database::declines(stored, owned)),
        }
        // applied anew with each reading: whole seconds there, and only some kinds of rows
        let timeout = owned.router.get("timeout").and_then(|node| node.value.as_f64());
        if timeout.is_some_and(|seconds| seconds.fract() != 0.0) {
            self.decline(Decline::ModelsInDatabase, "router_settings.timeout".into());
        }
        if owned.general.get("supported_db_objects").is_some_and(|node| !node.value.is_null()) {
            self.decline(Decline::ModelsInDatabase, "general_settings.supported_db_objects".into());
        }
        understood
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

pub(super) fn shape(wanted: &str, node: &Node) -> String {
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
