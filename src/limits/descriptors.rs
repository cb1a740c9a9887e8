//! Which limits hold for a request: LiteLLM's descriptors in LiteLLM's order (parallel_request_limiter_v3
//! `_build_request_rate_limit_descriptors`), and the token counters a finished call is added to. Pure. What this does not
//! know (agents, dynamic limits, project input/output tokens) is named by [`unsupported`] and declines.
use serde_json::{Map, Value};

use super::plan::Limit;
use crate::auth::Identity;

/// One scope with its limits; `None`: that kind is not limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub key: &'static str,
    pub value: String,
    pub requests: Option<i64>,
    pub tokens: Option<i64>,
    pub parallel: Option<i64>,
}

impl Descriptor {
    /// `{<key>:<value>}`, the stem of its Redis keys.
    pub fn scope(&self) -> String {
        scope(self.key, &self.value)
    }
}

fn scope(key: &str, value: &str) -> String {
    format!("{{{key}:{value}}}")
}

/// The id LiteLLM counts the master key under.
const MASTER: &str = "litellm_proxy_master_key";
const MASTER_USER: &str = "default_user_id";

/// rpm and tpm of something that is not in the key's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub rpm: Option<i64>,
    pub tpm: Option<i64>,
}

/// A request as the limits see it.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// `None` is the master key
    pub identity: Option<&'a Identity>,
    /// the model as the client wrote it
    pub model: Option<&'a str>,
    /// the same after `router_settings.model_group_alias`
    pub group: Option<&'a str>,
    /// smallest `default_api_key_rpm_limit`/`_tpm_limit` of the group's deployments
    pub deployment: Rates,
    pub end_user: Option<(&'a str, Rates)>,
    /// `metadata.tags` and `tags` of the body, in order
    pub tags: &'a [String],
    /// the limits of those tags that have a `LiteLLM_TagTable` budget with one
    pub tag_rates: &'a [(String, Rates)],
    /// `budget_exceeded_throttle_percentage` when the key is over its budget and slowed down instead
    pub throttle: Option<f64>,
}

/// Why Python must count this request, if it must.
pub fn unsupported(subject: &Subject<'_>) -> Option<&'static str> {
    let identity = subject.identity?;
    let metadata = &identity.key.metadata;
    let dynamic = |name: &str| metadata.get(name).and_then(Value::as_str) == Some("dynamic");
    if dynamic("rpm_limit_type") || dynamic("tpm_limit_type") {
        return Some("dynamic rate limits");
    }
    if identity.key.agent_id.is_some() {
        return Some("agent");
    }
    let project = identity.project.as_ref().map(|project| &project.metadata);
    let has = |map: Option<&Map<String, Value>>, name| map.and_then(|map: &Map<_, _>| map.get(name)).is_some();
    if has(project, "model_itpm_limit") || has(project, "model_otpm_limit") {
        return Some("project input and output token limits");
    }
    let sources = [Some(metadata), identity.team.as_ref().map(|team| &team.metadata), project, organization(identity)];
    let odd = |value: Option<&Value>| value.is_some_and(|value| !is_limits(value));
    for source in sources.into_iter().flatten() {
        if odd(source.get("model_rpm_limit")) || odd(source.get("model_tpm_limit")) || odd(source.get("tag_rpm_limit"))
        {
            return Some("a limit of an unusual form");
        }
    }
    None
}

/// NULL or a map of whole numbers.
fn is_limits(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(|limit| limit.is_i64() || limit.is_null()),
        _ => false,
    }
}

fn organization(identity: &Identity) -> Option<&Map<String, Value>> {
    identity.organization.as_ref().map(|organization| &organization.metadata)
}

impl Subject<'_> {
    fn key(&self) -> &str {
        self.identity.map_or(MASTER, |identity| &identity.key.token)
    }

    fn user(&self) -> Option<&str> {
        self.identity.map_or(Some(MASTER_USER), |identity| identity.key.user_id.as_deref()).filter(|id| !id.is_empty())
    }

    fn team(&self) -> Option<&str> {
        self.identity.and_then(|identity| identity.key.team_id.as_deref()).filter(|id| !id.is_empty())
    }

    fn organization(&self) -> Option<&str> {
        let identity = self.identity?;
        let of_team = || identity.team.as_ref().and_then(|team| team.organization_id.as_deref());
        identity.key.organization_id.as_deref().or_else(of_team)
    }

    /// the limit of the requested name, else of its group
    fn of_model(&self, limits: Option<&Value>) -> Option<i64> {
        let limits = limits?.as_object()?;
        let of = |name: Option<&str>| limits.get(name?).and_then(Value::as_i64);
        of(self.model).or_else(|| of(self.group))
    }

    fn of_team(&self, name: &str) -> Option<&Value> {
        self.identity?.team.as_ref()?.metadata.get(name).filter(|value| !value.is_null())
    }

    /// the key's own limits of models: its metadata, else those in `model_max_budget`
    fn own_model_limits(&self, name: &str) -> Option<Value> {
        let identity = self.identity?;
        let is_set = |value: &&Value| value.as_object().is_some_and(|map| !map.is_empty());
        if let Some(limits) = identity.key.metadata.get(name).filter(is_set) {
            return Some(limits.clone());
        }
        let field = if name == "model_rpm_limit" { "rpm_limit" } else { "tpm_limit" };
        let budgets = match (&identity.key.model_max_budget, &identity.budget) {
            (own, Some(budget)) if own.is_empty() => &budget.model_max_budget,
            (own, _) => own,
        };
        let limits: Map<String, Value> = budgets
            .iter()
            .filter_map(|(model, budget)| Some((model.clone(), budget.get(field).filter(|v| !v.is_null())?.clone())))
            .collect();
        (!limits.is_empty()).then_some(Value::Object(limits))
    }

    fn model_per_key(&self, name: &str, deployment: Option<i64>) -> Option<i64> {
        if let Some(own) = self.own_model_limits(name) {
            return self.of_model(Some(&own));
        }
        if let Some(team) = self.of_team(name) {
            return self.of_model(Some(team));
        }
        deployment
    }

    fn model_per_team(&self, name: &str) -> Option<i64> {
        let team = self.of_model(self.of_team(name))?;
        let own = self.own_model_limits(name);
        self.of_model(own.as_ref()).is_none().then_some(team)
    }

    /// Every descriptor of the request, in LiteLLM's order.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let mut list = Vec::new();
        let mut add = |key, value: String, rates: Rates| {
            if rates != Rates::default() {
                list.push(Descriptor { key, value, requests: rates.rpm, tokens: rates.tpm, parallel: None });
            }
        };
        let identity = self.identity;
        if let (Some(identity), Some(user)) = (identity, self.user()) {
            let rates = identity.user.as_ref().map(|user| Rates { rpm: user.rpm_limit, tpm: user.tpm_limit });
            add("user", user.to_owned(), rates.unwrap_or_default());
        }
        if let (Some(team), Some(id)) = (identity.and_then(|identity| identity.team.as_ref()), self.team()) {
            add("team", id.to_owned(), Rates { rpm: team.rpm_limit, tpm: team.tpm_limit });
        }
        if let (Some(identity), Some(user)) = (identity, self.user()) {
            let rates = identity.member_budget.as_ref().map(|b| Rates { rpm: b.rpm_limit, tpm: b.tpm_limit });
            let team = identity.key.team_id.as_deref().unwrap_or("None");
            add("team_member", format!("{team}:{user}"), rates.unwrap_or_default());
        }
        if let Some((id, rates)) = self.end_user.filter(|(id, _)| !id.is_empty()) {
            add("end_user", id.to_owned(), rates);
        }
        if let Some(group) = self.group {
            let rates = Rates {
                rpm: self.model_per_key("model_rpm_limit", self.deployment.rpm),
                tpm: self.model_per_key("model_tpm_limit", self.deployment.tpm),
            };
            add("model_per_key", format!("{}:{group}", self.key()), rates);
        }
        let tag_limits = identity.and_then(|identity| identity.key.metadata.get("tag_rpm_limit")?.as_object());
        for (tag, limits) in self.unique_tags().filter_map(|tag| Some((tag, tag_limits?))) {
            let rpm = limits.get(tag).and_then(Value::as_i64);
            add("tag_per_key", format!("{}:{tag}", self.key()), Rates { rpm, tpm: None });
        }
        if let (Some(group), Some(identity)) = (self.group, identity) {
            let rates =
                Rates { rpm: self.model_per_team("model_rpm_limit"), tpm: self.model_per_team("model_tpm_limit") };
            add("model_per_team", format!("{}:{group}", identity.key.team_id.as_deref().unwrap_or("None")), rates);
            let of = |map: Option<&Map<String, Value>>, name| self.of_model(map.and_then(|map| map.get(name)));
            let project = identity.project.as_ref().map(|project| &project.metadata);
            let rates = Rates { rpm: of(project, "model_rpm_limit"), tpm: of(project, "model_tpm_limit") };
            add(
                "model_per_project",
                format!("{}:{group}", identity.key.project_id.as_deref().unwrap_or("None")),
                rates,
            );
        }
        if let (Some(identity), Some(id)) = (identity, self.organization()) {
            let budget = identity.organization_budget.as_ref();
            let rates = budget.map(|budget| Rates { rpm: budget.rpm_limit, tpm: budget.tpm_limit });
            add("organization", id.to_owned(), rates.unwrap_or_default());
            if let Some(group) = self.group {
                let of = |name| self.of_model(organization(identity).and_then(|map| map.get(name)));
                let rates = Rates { rpm: of("model_rpm_limit"), tpm: of("model_tpm_limit") };
                add("model_per_organization", format!("{id}:{group}"), rates);
            }
        }
        for tag in self.unique_tags() {
            let rates = self.tag_rates.iter().find(|(name, _)| name == tag).map(|(_, rates)| *rates);
            add("tag", tag.to_owned(), rates.unwrap_or_default());
        }
        let own = identity.and_then(|identity| self.of_key(identity));
        own.into_iter().chain(list).collect()
    }

    fn of_key(&self, identity: &Identity) -> Option<Descriptor> {
        let (key, budget) = (&identity.key, identity.budget.as_ref());
        let slowed = |limit: Option<i64>| match self.throttle {
            Some(part) => limit.map(|limit| ((limit as f64 * part).floor() as i64).max(1)),
            None => limit,
        };
        let requests = slowed(key.rpm_limit.or_else(|| budget?.rpm_limit));
        let tokens = slowed(key.tpm_limit.or_else(|| budget?.tpm_limit));
        let parallel = key.max_parallel_requests;
        (requests.is_some() || tokens.is_some() || parallel.is_some()).then(|| Descriptor {
            key: "api_key",
            value: key.token.clone(),
            requests,
            tokens,
            parallel,
        })
    }

    fn unique_tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.tags;
        tags.iter()
            .enumerate()
            .filter(|(at, tag)| !tags.iter().take(*at).any(|seen| seen == *tag))
            .map(|(_, tag)| &**tag)
    }

    /// Scopes whose token counters a finished call is added to, limited or not (`_collect_tpm_scope_targets`).
    pub fn token_targets(&self, limited_tags: &[String]) -> Vec<String> {
        let mut targets = vec![scope("api_key", self.key())];
        let mut add = |key: &str, value: Option<String>| targets.extend(value.map(|value| scope(key, &value)));
        let (user, team) = (self.user(), self.team());
        let organization = self.organization().filter(|id| !id.is_empty());
        let project = self.identity.and_then(|identity| identity.key.project_id.as_deref()).filter(|id| !id.is_empty());
        add("user", user.map(str::to_owned));
        add("team", team.map(str::to_owned));
        add("team_member", team.zip(user).map(|(team, user)| format!("{team}:{user}")));
        add("end_user", self.end_user.map(|(id, _)| id.to_owned()).filter(|id| !id.is_empty()));
        add("organization", organization.map(str::to_owned));
        if let Some(group) = self.group {
            let with = |id: Option<&str>| id.map(|id| format!("{id}:{group}"));
            add("model_per_key", with(Some(self.key())));
            let own = self.own_model_limits("model_tpm_limit");
            if self.of_model(own.as_ref()).is_none() {
                add("model_per_team", with(team));
            }
            add("model_per_organization", with(organization));
            add("model_per_project", with(project));
        }
        let mut tags = limited_tags.to_vec();
        tags.sort();
        tags.dedup();
        targets.extend(tags.iter().map(|tag| scope("tag", tag)));
        targets
    }
}

/// The limits of one kind, in descriptor order.
pub fn limits(descriptors: &[Descriptor], kind: impl Fn(&Descriptor) -> Option<i64>) -> Vec<Limit> {
    descriptors.iter().filter_map(|d| Some(Limit { scope: d.scope(), limit: kind(d)? })).collect()
}
