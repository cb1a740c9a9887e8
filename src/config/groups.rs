//! `model_list` and the database's models -> model groups, by the same rules. Pure. A row is never an error: one that the
//! edge cannot make out sends its name's calls to Python.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    ConfigDecline, ConfigError, Deployment, ModelGroup,
    assemble::{Assembly, shape},
    database::{self, Stored},
    deployment::{self, Built, Input},
    keys::{Rule, Section, rule},
    prices::PriceMap,
    registered::{Registered, Shared},
    report::Verdict,
    yaml::Map,
};
use crate::routes::Decline;

/// What all deployments are built with.
pub(super) struct Around<'a> {
    pub(super) router: &'a Map,
    pub(super) request_timeout: Option<f64>,
    pub(super) prices: PriceMap,
}

/// What was read; [`Groups::finish`] makes groups of it.
#[derive(Default)]
pub(super) struct Groups {
    built: Vec<(Deployment, Box<Registered>)>,
    /// what all deployments of a model say of it
    shared: Shared,
    pub(super) other_names: bool,
    /// names whose calls are Python's, whatever groups there are
    pub(super) pythons: HashSet<String>,
}

impl Groups {
    pub(super) fn read(this: &mut Assembly<'_>, around: &Around<'_>) -> Result<Self, ConfigError> {
        let mut groups = Groups::default();
        let Some(list) = this.root.get("model_list").filter(|node| node.value.truthy()) else { return Ok(groups) };
        let entries = list.value.as_list().ok_or_else(|| this.error(list, "model_list", shape("a list", list)))?;
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
            let (mut deployment, registered) = match deployment::build(&around.input(this, name, params, info)) {
                Built::Deployment(deployment, registered) => (*deployment, registered),
                Built::Skipped(why) => {
                    this.report.add(at, Some(entry), Verdict::Skipped, why);
                    continue;
                }
            };
            entry_keys(this, &at, map, &mut deployment);
            rows(this, &at, params, info, &deployment);
            groups.push(deployment, registered, info);
        }
        Ok(groups)
    }

    /// Behind those of the file, as LiteLLM has them.
    pub(super) fn add_stored(
        &mut self,
        this: &mut Assembly<'_>,
        around: &Around<'_>,
        stored: &Stored,
        salt: Option<&str>,
    ) {
        let entries = match database::entries(stored, salt, this.env) {
            Ok(entries) => entries,
            Err(column) => return this.decline(Decline::ModelsInDatabase, format!("LiteLLM_ProxyModelTable.{column}")),
        };
        let named = self.built.iter().map(|(deployment, _)| (deployment.id.clone(), deployment.model_group.clone()));
        let mut ids: HashMap<String, String> = named.collect();
        for database::Entry { model_name, params, info, declines } in entries {
            // for a team LiteLLM has it under another name
            if let Some(public) = info.get("team_public_model_name").and_then(|node| node.value.as_str()) {
                self.pythons.insert(public.to_owned());
            }
            let built = deployment::build(&around.input(this, model_name, &params, Some(&info)));
            let Built::Deployment(mut deployment, registered) = built else {
                self.pythons.insert(model_name.to_owned());
                continue;
            };
            if let Some(other) = ids.insert(deployment.id.clone(), model_name.to_owned()) {
                // LiteLLM keeps the last it saw
                self.pythons.extend([other, model_name.to_owned()]);
            }
            let unreadable = declines.into_iter().map(|key| ConfigDecline { decline: Decline::DeploymentParam, key });
            deployment.declines.extend(unreadable);
            self.push(*deployment, registered, Some(&info));
        }
    }

    fn push(&mut self, mut deployment: Deployment, registered: Box<Registered>, info: Option<&Map>) {
        let name = &deployment.model_group;
        self.other_names |= name.contains('*') || has_team(info);
        if name.contains('*') {
            deployment.declines.push(ConfigDecline { decline: Decline::Model, key: "model_name".into() });
        }
        self.shared.add(&registered);
        self.built.push((deployment, registered));
    }

    /// The groups, their names and all deployments in order.
    pub(super) fn finish(self, prices: &PriceMap) -> (HashMap<String, ModelGroup>, Vec<String>, Vec<Arc<Deployment>>) {
        let (mut by_name, mut order) = (HashMap::<String, ModelGroup>::new(), Vec::new());
        let mut all = Vec::with_capacity(self.built.len());
        let changed: HashSet<String> =
            self.built.iter().filter_map(|(_, registered)| registered.changes()).map(str::to_owned).collect();
        for (deployment, registered) in self.built {
            let name = deployment.model_group.clone();
            let model_map = registered.model_map(&self.shared, prices);
            let group = by_name.entry(name.clone()).or_insert_with(|| {
                order.push(name.clone());
                ModelGroup { name, deployments: Vec::new() }
            });
            let listing = deployment.listing.clone().filter(|_| !changed.contains(registered.backend()));
            let deployment = Arc::new(Deployment { model_map, listing, ..deployment });
            group.deployments.push(deployment.clone());
            all.push(deployment);
        }
        (by_name, order, all)
    }
}

impl Around<'_> {
    fn input<'a>(
        &'a self,
        this: &Assembly<'a>,
        model_group: &'a str,
        params: &'a Map,
        model_info: Option<&'a Map>,
    ) -> Input<'a> {
        let number = |key: &str| self.router.get(key).and_then(|node| node.value.as_f64()).filter(|n| *n > 0.0);
        Input {
            model_group,
            params,
            model_info,
            env: this.env,
            prices: &self.prices,
            router_timeout: number("timeout"),
            router_stream_timeout: number("stream_timeout"),
            request_timeout: self.request_timeout,
        }
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
