//! The checks of a virtual key in LiteLLM's order (proxy/auth/user_api_key_auth.py `validate_resolved_virtual_key`,
//! `_authorize_authenticated_request`; auth_checks.py `common_checks`). Pure. The first check that says something decides:
//! a refusal is LiteLLM's own, and what only Python can judge is declined at the place where Python would judge it.
//! It must never let a key pass that has a feature no check here knows.
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{
    Caller, KeyHash, Presented,
    access::{self, Aliases, Unsure},
    allowed_routes, fields, limited,
    metadata_words::is_plain,
    named,
    presented::{abbreviated, presented},
    record::Identity,
    refusal::{Refusal, read_timestamp},
};
use crate::{
    config::Snapshot,
    json::{Object, Raw},
    routes::{Decline, Head},
    secret::Secret,
};

/// What is judged.
pub struct Request<'a> {
    pub head: &'a Head,
    pub snapshot: &'a Snapshot,
    pub caller: &'a Caller,
    pub body: &'a Object<'a>,
    /// the path names a model too
    pub named_by_path: bool,
    pub now: SystemTime,
}

/// Why a request does not go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    Refused(Box<Refusal>),
    Declined(Decline),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(Box::new(refusal))
    }
}

impl From<Unsure> for Stop {
    fn from(Unsure(feature): Unsure) -> Self {
        needs_python(feature)
    }
}

/// The feature stands in the log: the decline's name is the same for all.
fn needs_python(feature: &'static str) -> Stop {
    tracing::debug!(feature, "a virtual key needs python");
    Stop::Declined(Decline::KeyFeature)
}

/// Judges a caller whose body has been read.
pub fn judge(request: &Request<'_>) -> Result<(), Stop> {
    if matches!(request.caller, Caller::Nobody | Caller::Master) {
        return Ok(());
    }
    let Some(master) = &request.snapshot.master_key else { return Err(Stop::Declined(Decline::MasterKeyUnset)) };
    // LiteLLM looks through the body before it looks at the key
    if request.body.iter().any(|(name, value)| !fields::UNSUSPICIOUS.contains(&name) && !names_only(name, value)) {
        return Err(Stop::Declined(Decline::Field));
    }
    by((EARLY_CHECKS, LATE_CHECKS), request, master, || model(request)).map_err(|stop| match stop {
        // whom the row of a refused call names depends on what LiteLLM had in memory
        Stop::Refused(_) if named::names_somebody(request.head, request.body) => Stop::Declined(Decline::Field),
        stop => stop,
    })
}

/// Whether all that the field can do is to name an end user, or tags.
fn names_only(name: &str, value: Raw<'_>) -> bool {
    let plain = |object: Object<'_>| {
        !object.has_duplicates() && object.iter().all(|(name, _)| matches!(name, "user_id" | "tags"))
    };
    named::FIELDS.contains(&name) && (name != "metadata" || value.is_null() || value.object().is_some_and(plain))
}

/// Judges the caller of a route that names no model and has no body.
pub fn judge_read(head: &Head, snapshot: &Snapshot, caller: &Caller, now: SystemTime) -> Result<(), Stop> {
    without_body(READ_CHECKS, &Request { head, snapshot, caller, body: &Object::default(), named_by_path: false, now })
}

/// Judges the caller of a route that is no model's: the key's own budget does not count there.
pub fn judge_info(head: &Head, snapshot: &Snapshot, caller: &Caller, now: SystemTime) -> Result<(), Stop> {
    without_body(INFO_CHECKS, &Request { head, snapshot, caller, body: &Object::default(), named_by_path: false, now })
}

fn without_body(checks: &[Check], request: &Request<'_>) -> Result<(), Stop> {
    if matches!(request.caller, Caller::Nobody | Caller::Master) {
        return Ok(());
    }
    let Some(master) = &request.snapshot.master_key else { return Err(Stop::Declined(Decline::MasterKeyUnset)) };
    by((checks, &[]), request, master, || Ok(String::new()))
}

fn by(
    (early, late): (&[Check], &[Check]),
    request: &Request<'_>,
    master: &Secret,
    model: impl FnOnce() -> Result<String, Stop>,
) -> Result<(), Stop> {
    let presented = presented(request.head, master);
    match (request.caller, &presented) {
        (Caller::Key(identity), Presented::Candidate { hash, shown }) => {
            let subject = Subject { identity, model: model()?, hash, shown, request };
            early.iter().try_for_each(|check| check(&subject))?;
            late.iter().try_for_each(|check| check(&subject)).map_err(|stop| subject.unless_over_budget(stop))
        }
        (Caller::Unknown(_), Presented::Candidate { hash, shown }) => {
            Err(Refusal::unknown_key(shown, &hash.to_string()).into())
        }
        (_, Presented::Missing) => Err(Refusal::missing_key().into()),
        (_, Presented::Malformed) => Err(Refusal::malformed_key().into()),
        (Caller::Stranger, _) if !request.snapshot.settings.has_database => Err(Refusal::no_database().into()),
        (Caller::Stranger, Presented::NotAKey { shown, jwt, .. }) => Err(Refusal::not_a_key(shown, *jwt).into()),
        _ => Err(Stop::Declined(Decline::VirtualKey)),
    }
}

/// One name, as it stands.
fn model(request: &Request<'_>) -> Result<String, Stop> {
    let decline = |reason| Err(Stop::Declined(reason));
    if request.named_by_path {
        return decline(Decline::NotThisPath);
    }
    let Some(model) = request.body.some("model") else { return decline(Decline::MissingField) };
    let Some(model) = Raw::as_str(model) else { return decline(Decline::FieldType) };
    let rewritten = model.starts_with("claude-router-") || model.to_lowercase().ends_with("[1m]");
    if rewritten || model.is_empty() || model.contains(',') || model.trim() != model {
        return decline(Decline::Model);
    }
    Ok(model.into_owned())
}

/// One key's request.
struct Subject<'a> {
    identity: &'a Identity,
    model: String,
    /// of the key as presented; the row's own differs while a rotated key's grace period lasts
    hash: &'a KeyHash,
    shown: &'a str,
    request: &'a Request<'a>,
}

impl Subject<'_> {
    fn aliases(&self, team: bool) -> Aliases<'_> {
        let filled = |map| Some(map).filter(|map: &&Map<String, Value>| !map.is_empty());
        Aliases { key: filled(&self.identity.key.aliases), team: filled(&self.identity.team_aliases).filter(|_| team) }
    }

    fn may<'m>(
        &self,
        models: impl IntoIterator<Item = &'m String>,
        aliases: Aliases<'_>,
        team: Option<&str>,
    ) -> Result<bool, Unsure> {
        access::can_call(&self.model, models, aliases, team, self.request.snapshot)
    }

    /// Whether a budget is spent is not known here: LiteLLM would say that instead.
    fn unless_over_budget(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Refused(_) if limited::has_early_budget(self.identity) => needs_python("a budget before a refusal"),
            stop => stop,
        }
    }

    fn denied(&self, who: &str) -> Stop {
        Refusal::model_denied(who, &self.model).into()
    }
}

type Check = fn(&Subject<'_>) -> Result<(), Stop>;

/// In LiteLLM's order; then it compares a team member's own budget.
const EARLY_CHECKS: &[Check] = &[early_features, user_is_no_exception, key_blocked, key_models, user_active];

/// In LiteLLM's order; the key's budget is compared among them, those of its owners after them (`routes::limited`).
const LATE_CHECKS: &[Check] = &[
    not_expired,
    key_limits,
    route_allowed,
    team_there_and_open,
    team_models,
    member_models,
    user_models,
    project,
    other_limits,
    late_features,
];

/// The same where no model is named. Budgets count there too, rates do not.
const READ_CHECKS: &[Check] = &[
    early_features,
    user_is_no_admin,
    key_blocked,
    user_active,
    not_expired,
    read_limits,
    route_allowed,
    team_there_and_open,
    read_features,
    no_tags,
    late_features,
];

const INFO_CHECKS: &[Check] = &[
    early_features,
    user_is_no_admin,
    key_blocked,
    user_active,
    not_expired,
    route_allowed,
    team_there_and_open,
    info_features,
];

/// What changes how the checks after it run.
fn early_features(subject: &Subject<'_>) -> Result<(), Stop> {
    let (identity, key) = (subject.identity, &subject.identity.key);
    let role = identity.user.as_ref().and_then(|user| user.user_role.as_deref());
    let team_settings = identity.team.as_ref().is_some_and(|team| !team.router_settings.is_empty());
    let found = [
        ("rotated_key", key.token != subject.hash.to_string()),
        ("config", !key.config.is_empty()),
        ("router_settings", !key.router_settings.is_empty() || team_settings),
        ("agent_id", key.agent_id.is_some()),
        ("user_role", !matches!(role, None | Some("internal_user" | "internal_user_viewer" | ADMIN))),
        ("admin_ui", key.team_id.as_deref() == Some("litellm-dashboard")),
        ("project", key.project_id.is_some() && identity.project.is_none()),
    ];
    none_of(&found)
}

/// LiteLLM's PROXY_ADMIN.
const ADMIN: &str = "proxy_admin";

/// An administrator's own models and budget are not looked at (`_run_centralized_common_checks` puts a bare user in the
/// place of this one), its limits are.
fn user_is_no_exception(subject: &Subject<'_>) -> Result<(), Stop> {
    let Some(user) = subject.identity.user.as_ref().filter(|user| user.user_role.as_deref() == Some(ADMIN)) else {
        return Ok(());
    };
    let special = !user.model_max_budget.is_empty() || user.organization_id.is_some();
    none_of(&[("admin", !user.models.is_empty() || user.max_budget.is_some() || special)])
}

/// Administrators see more than others.
fn user_is_no_admin(subject: &Subject<'_>) -> Result<(), Stop> {
    let role = subject.identity.user.as_ref().and_then(|user| user.user_role.as_deref());
    none_of(&[("admin", role == Some(ADMIN))])
}

fn none_of(found: &[(&'static str, bool)]) -> Result<(), Stop> {
    found.iter().find(|(_, here)| *here).map_or(Ok(()), |(feature, _)| Err(needs_python(feature)))
}

fn key_blocked(subject: &Subject<'_>) -> Result<(), Stop> {
    if subject.identity.key.blocked == Some(true) {
        return Err(Refusal::authentication("Key is blocked. Update via `/key/unblock` if you're an admin.").into());
    }
    Ok(())
}

/// `can_key_call_model`: its own models, then those of its access groups.
fn key_models(subject: &Subject<'_>) -> Result<(), Stop> {
    let (identity, key) = (subject.identity, &subject.identity.key);
    // the team's models are the team's check
    if key.models.iter().any(|name| name == access::ALL_TEAM_MODELS) {
        return Ok(());
    }
    let (aliases, team) = (subject.aliases(true), key.team_id.as_deref());
    if subject.may(&key.models, aliases, team)? {
        return Ok(());
    }
    let mut granted = identity.key_access_groups.iter().flat_map(|group| &group.access_model_names).peekable();
    match granted.peek().is_some() && subject.may(granted, aliases, team)? {
        true => Ok(()),
        false => Err(subject.denied("key")),
    }
}

fn user_active(subject: &Subject<'_>) -> Result<(), Stop> {
    let Some(user) = &subject.identity.user else { return Ok(()) };
    if user.metadata.get("scim_active") == Some(&Value::Bool(false)) {
        let message =
            format!("User={} has been deactivated via SCIM. Keys owned by this user cannot be used.", user.user_id);
        return Err(Refusal::authentication(&message).into());
    }
    Ok(())
}

fn not_expired(subject: &Subject<'_>) -> Result<(), Stop> {
    let Some(expires) = &subject.identity.key.expires else { return Ok(()) };
    let unreadable = || needs_python("expires");
    if read_timestamp(expires).ok_or_else(unreadable)? >= subject.request.now {
        return Ok(());
    }
    // LiteLLM has only the hash left where it has just read the key
    let shown = match subject.identity.just_read {
        true => abbreviated(&subject.hash.to_string()),
        false => subject.shown.to_owned(),
    };
    Err(Refusal::expired_key(expires, subject.request.now, &shown).ok_or_else(unreadable)?.into())
}

fn key_limits(subject: &Subject<'_>) -> Result<(), Stop> {
    none_of(&[("key_limit", limited::key(subject.identity))])
}

fn read_limits(subject: &Subject<'_>) -> Result<(), Stop> {
    let identity = subject.identity;
    none_of(&[
        ("limit", limited::key(identity) || limited::others(identity)),
        ("budget_windows", limited::has_windows(identity)),
        ("model_budget", limited::model_budget(identity) || limited::owners_model_budget(identity)),
        ("budget", limited::key_budget(identity) || limited::owners_budget(identity)),
    ])
}

/// What changes which models a key sees, and more than its lists.
fn read_features(subject: &Subject<'_>) -> Result<(), Stop> {
    let identity = subject.identity;
    none_of(&[
        ("project", identity.key.project_id.is_some()),
        ("aliases", !identity.key.aliases.is_empty() || !identity.team_aliases.is_empty()),
        ("access_groups", !identity.key_access_groups.is_empty() || !identity.team_access_groups.is_empty()),
    ])
}

/// Their budgets hold where nothing is billed, too.
fn no_tags(subject: &Subject<'_>) -> Result<(), Stop> {
    let identity = subject.identity;
    let team = identity.team.as_ref().map(|team| &team.metadata);
    let found =
        [Some(&identity.key.metadata), team].into_iter().flatten().any(|metadata| metadata.contains_key("tags"));
    none_of(&[("tags", found)])
}

fn info_features(subject: &Subject<'_>) -> Result<(), Stop> {
    let identity = subject.identity;
    none_of(&[
        ("project", identity.key.project_id.is_some()),
        ("limit", limited::others(identity) || limited::owners_budget(identity)),
        ("budget_windows", limited::has_windows(identity)),
        ("model_budget", limited::owners_model_budget(identity)),
    ])
}

/// `is_virtual_key_allowed_to_call_route`
fn route_allowed(subject: &Subject<'_>) -> Result<(), Stop> {
    let (allowed, route) = (&subject.identity.key.allowed_routes, subject.request.head.path.as_str());
    if allowed.is_empty() || allowed.iter().any(|entry| allowed_routes::covers(entry, route)) {
        return Ok(());
    }
    // a session of the admin pages is told something else
    if subject.identity.key.metadata.contains_key("password_reset_required") {
        return Err(needs_python("password_reset"));
    }
    let list = allowed_routes::python_list(allowed).ok_or_else(|| needs_python("allowed_routes"))?;
    Err(Refusal::route_denied(&list, route).into())
}

fn team_there_and_open(subject: &Subject<'_>) -> Result<(), Stop> {
    let Some(id) = &subject.identity.key.team_id else { return Ok(()) };
    match &subject.identity.team {
        None if id.contains(['"', '\'', '\\']) || id.chars().any(char::is_control) => Err(needs_python("team_id")),
        None => Err(Refusal::team_missing(id).into()),
        Some(team) if team.blocked => {
            let message = format!("Team={id} is blocked. Update via `/team/unblock` if you're an admin.");
            Err(Refusal::authentication(&message).into())
        }
        Some(_) => Ok(()),
    }
}

/// `can_team_access_model`, else what the key's own access groups grant (`key_access_group_grants_model`).
fn team_models(subject: &Subject<'_>) -> Result<(), Stop> {
    let (identity, key) = (subject.identity, &subject.identity.key);
    let Some(team) = &identity.team else { return Ok(()) };
    let (aliases, id) = (subject.aliases(true), Some(team.team_id.as_str()));
    if subject.may(&team.models, aliases, id)? {
        return Ok(());
    }
    let mut granted = identity.team_access_groups.iter().flat_map(|group| &group.access_model_names).peekable();
    if granted.peek().is_some() && subject.may(team.models.iter().chain(granted), aliases, id)? {
        return Ok(());
    }
    let own = identity
        .key_access_groups
        .iter()
        .filter(|group| group.assigned_team_ids.contains(&team.team_id) || group.assigned_key_ids.contains(&key.token));
    let mut granted = own.flat_map(|group| &group.access_model_names).peekable();
    match granted.peek().is_some() && subject.may(granted, aliases, key.team_id.as_deref())? {
        true => Ok(()),
        false => Err(subject.denied("team")),
    }
}

/// `check_team_member_model_access`: a member's own models within the team.
fn member_models(subject: &Subject<'_>) -> Result<(), Stop> {
    let (Some(team), Some(budget)) = (&subject.identity.team, &subject.identity.member_budget) else { return Ok(()) };
    if budget.allowed_models.is_empty()
        || subject.may(&budget.allowed_models, subject.aliases(false), Some(&team.team_id))?
    {
        return Ok(());
    }
    Err(subject.denied("team"))
}

/// `can_user_call_model`: only of keys without a team.
fn user_models(subject: &Subject<'_>) -> Result<(), Stop> {
    let (Some(user), None) = (&subject.identity.user, &subject.identity.team) else { return Ok(()) };
    if user.models.iter().any(|name| name == access::NO_DEFAULT_MODELS) {
        return Err(Refusal { late: true, ..Refusal::model_denied("key", &subject.model) }.into());
    }
    match subject.may(&user.models, subject.aliases(false), None)? {
        true => Ok(()),
        false => Err(subject.denied("user")),
    }
}

fn project(subject: &Subject<'_>) -> Result<(), Stop> {
    let Some(project) = &subject.identity.project else { return Ok(()) };
    if project.blocked {
        let message =
            format!("Project={} is blocked. Update via `/project/update` if you're an admin.", project.project_id);
        return Err(Refusal::authentication(&message).into());
    }
    if project.models.is_empty() || subject.may(&project.models, subject.aliases(false), None)? {
        return Ok(());
    }
    Err(subject.denied("project"))
}

fn other_limits(subject: &Subject<'_>) -> Result<(), Stop> {
    none_of(&[("limit", limited::others(subject.identity))])
}

/// What LiteLLM does after its checks, or in the last of them, and the edge does not do yet.
fn late_features(subject: &Subject<'_>) -> Result<(), Stop> {
    let identity = subject.identity;
    let (key, team, user) = (&identity.key, identity.team.as_ref(), identity.user.as_ref());
    let (project, organization) = (identity.project.as_ref(), identity.organization.as_ref());
    let of_owners = [team.map(|team| &team.metadata), project.map(|project| &project.metadata)];
    let of_organization = organization.map(|organization| &organization.metadata);
    let permissions = [
        key.object_permission_id.as_ref(),
        team.and_then(|team| team.object_permission_id.as_ref()),
        user.and_then(|user| user.object_permission_id.as_ref()),
        project.and_then(|project| project.object_permission_id.as_ref()),
        organization.and_then(|organization| organization.object_permission_id.as_ref()),
    ];
    let policies = [Some(&key.policies), team.map(|team| &team.policies), user.map(|user| &user.policies)];
    let group = subject.request.snapshot.groups.get(&subject.model);
    none_of(&[
        ("aliases", key.aliases.contains_key(&subject.model) || identity.team_aliases.contains_key(&subject.model)),
        ("permissions", !key.permissions.is_empty()),
        ("allowed_cache_controls", !key.allowed_cache_controls.is_empty()),
        ("policies", policies.into_iter().flatten().any(|policies| !policies.is_empty())),
        ("object_permission", permissions.into_iter().flatten().next().is_some()),
        // guardrails, callbacks and much more
        ("metadata", !is_plain(&key.metadata, |name| is_tagged(name) || OF_KEYS.contains(&name))),
        ("owners_metadata", !of_owners.into_iter().flatten().all(|metadata| is_plain(metadata, is_tagged))),
        ("organization_metadata", of_organization.is_some_and(|metadata| !is_plain(metadata, is_limit))),
        ("user_metadata", user.is_some_and(|user| !is_plain(&user.metadata, |name| name == "scim_active"))),
        ("access_groups", group.is_some_and(|group| group.deployments.iter().any(|d| !d.access_groups.is_empty()))),
    ])
}

/// [`is_limit`], and the tags of whatever the key calls (`super::tags`).
fn is_tagged(name: &str) -> bool {
    is_limit(name) || name == "tags"
}

/// Metadata that limits read: requests and tokens of single models, the budget of members without one of their own.
fn is_limit(name: &str) -> bool {
    matches!(name, "model_rpm_limit" | "model_tpm_limit" | "team_member_budget_id")
}

/// What limits read in a key's metadata alone: a budget that is raised for a while, rates of tags, and what becomes of a
/// spent budget where `budget_exceeded_throttle_percentage` is set, which makes all limits Python's.
const OF_KEYS: &[&str] =
    &["temp_budget_increase", "temp_budget_expiry", "throttle_on_budget_exceeded", "tag_rpm_limit"];

#[cfg(test)]
#[path = "checks_tests.rs"]
mod checks_tests;
