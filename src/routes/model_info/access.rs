//! Through what a caller may use a deployment: itself, or teams (proxy_server.py `_populate_team_access_on_models`,
//! `get_all_team_models`, `get_direct_access_models`). Pure.
use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::{
    auth::Caller,
    config::{Deployment, Snapshot},
    store::postgres::model_access::{ModelAccess, TeamModels},
};

const ALL_TEAM_MODELS: &str = "all-team-models";
const ALL_PROXY_MODELS: &str = "all-proxy-models";

/// Names of model groups; `None`: all of them.
type Names<'a> = Option<HashSet<&'a str>>;

/// What one caller may use.
pub(super) struct Access {
    /// every group
    every: bool,
    direct: HashSet<String>,
    /// ids of the teams by group; `None`: the caller is nobody's member
    teams: Option<HashMap<String, Vec<String>>>,
}

/// The same of one deployment.
pub(super) struct Of<'a> {
    direct: bool,
    teams: Option<&'a [String]>,
}

impl Of<'_> {
    /// `_filter_models_to_user_accessible`
    pub(super) fn usable(&self) -> bool {
        self.direct || self.teams.is_some_and(|teams| !teams.is_empty())
    }

    /// `"access_via_team_ids":[...],"direct_access":...`
    pub(super) fn members(&self) -> String {
        let teams = self.teams.map(|teams| format!("\"access_via_team_ids\":{},", json!(teams)));
        format!("{}\"direct_access\":{}", teams.unwrap_or_default(), self.direct)
    }
}

impl Access {
    /// `found`: `None` where the caller belongs to no user.
    pub(super) fn new(caller: &Caller, found: Option<ModelAccess>, snapshot: &Snapshot) -> Self {
        let Some(found) = found else { return Self { every: false, direct: HashSet::new(), teams: None } };
        let direct: Names<'_> = match (caller, &found.user) {
            (Caller::Master, _) => None,
            (Caller::Key(identity), Some(user)) => {
                let own = granted(user.models.as_deref().unwrap_or_default(), snapshot);
                let keys = granted(&identity.key.models, snapshot);
                match (own, keys) {
                    (names, None) | (None, names) => names,
                    (Some(own), Some(keys)) => Some(own.intersection(&keys).copied().collect()),
                }
            }
            // its user is gone
            _ => return Self { every: false, direct: HashSet::new(), teams: None },
        };
        let mut teams: HashMap<String, Vec<String>> = HashMap::new();
        for team in &found.teams {
            let names = of_team(team, snapshot);
            let may = |name: &&String| names.as_ref().is_none_or(|names| names.contains(name.as_str()));
            for name in snapshot.group_order.iter().filter(may) {
                teams.entry(name.clone()).or_default().push(team.team_id.clone());
            }
        }
        let every = direct.is_none();
        let direct = direct.into_iter().flatten().map(str::to_owned).collect();
        Self { every, direct, teams: Some(teams) }
    }

    pub(super) fn of(&self, deployment: &Deployment) -> Of<'_> {
        let group = &deployment.model_group;
        let teams = self.teams.as_ref().map(|teams| teams.get(group).map(Vec::as_slice).unwrap_or_default());
        Of { direct: self.every || self.direct.contains(group), teams }
    }
}

/// `_resolve_model_grant_to_deployment_ids`
fn granted<'a>(models: &'a [String], snapshot: &'a Snapshot) -> Names<'a> {
    if models.is_empty() || models.iter().any(|name| name == ALL_PROXY_MODELS) {
        return None;
    }
    Some(models.iter().flat_map(|name| members(name, snapshot).chain([name.as_str()])).collect())
}

/// Groups with a deployment in that access group.
fn members<'a>(access_group: &'a str, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a str> {
    let has = move |d: &&std::sync::Arc<Deployment>| d.access_groups.iter().any(|name| name == access_group);
    snapshot.deployments.iter().filter(has).map(|deployment| deployment.model_group.as_str())
}

/// `_add_team_models_to_all_models`, `_add_access_group_models_to_team_models`
fn of_team<'a>(team: &'a TeamModels, snapshot: &'a Snapshot) -> Names<'a> {
    let models = team.models.as_deref().unwrap_or_default();
    if models.is_empty() || models.iter().any(|name| name == ALL_PROXY_MODELS || name == ALL_TEAM_MODELS) {
        return None;
    }
    let own = models.iter().flat_map(|name| members(name, snapshot).chain([name.as_str()]));
    let granted = team.granted.iter().flatten().flatten().flatten().map(String::as_str);
    Some(own.chain(granted).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::routes::models::tests::snapshot;

    fn key(models: Value) -> Caller {
        let identity = json!({"key": {"token": "h", "models": models, "user_id": "u"}});
        Caller::Key(Arc::new(serde_json::from_value(identity).unwrap()))
    }

    /// Of three groups, two of them in an access group: how each is reached.
    fn reached(caller: &Caller, found: Option<Value>) -> Vec<String> {
        let deployment = "litellm_params: {model: openai/gpt-4o, api_key: k}";
        let snapshot = snapshot(&format!(
            "model_list:\n\
             - {{model_name: a, {deployment}}}\n\
             - {{model_name: b, {deployment}, model_info: {{access_groups: [g]}}}}\n\
             - {{model_name: c, {deployment}, model_info: {{access_groups: [g]}}}}\n"
        ));
        let access = Access::new(caller, found.map(|found| serde_json::from_value(found).unwrap()), &snapshot);
        snapshot.deployments.iter().map(|deployment| access.of(deployment).members()).collect()
    }

    fn row(teams: &[&str], direct: bool) -> String {
        format!("\"access_via_team_ids\":{},\"direct_access\":{direct}", json!(teams))
    }

    #[test]
    fn by_itself_and_through_teams() {
        let teams = json!([
            {"team_id": "all", "models": [], "granted": [["a"]]},
            {"team_id": "of_a", "models": ["a", "not-deployed"], "granted": null},
            {"team_id": "of_g", "models": ["g"], "granted": null},
            {"team_id": "granted", "models": ["b"], "granted": [["a"], null]},
            {"team_id": "everything", "models": ["all-team-models"], "granted": null},
        ]);
        let wanted_teams = [
            vec!["all", "of_a", "granted", "everything"],
            vec!["all", "of_g", "granted", "everything"],
            vec!["all", "of_g", "everything"],
        ];
        let with = |direct: [bool; 3]| -> Vec<String> {
            wanted_teams.iter().zip(direct).map(|(teams, direct)| row(teams, direct)).collect()
        };
        assert_eq!(reached(&Caller::Master, Some(json!({"user": null, "teams": teams}))), with([true; 3]));
        for (keys, users, direct) in [
            (json!([]), json!([]), [true; 3]),
            (json!(["a"]), json!([]), [true, false, false]),
            (json!([]), json!(["g"]), [false, true, true]),
            (json!(["b", "a"]), json!(["g"]), [false, true, false]),
            (json!(["all-proxy-models"]), json!(["a"]), [true, false, false]),
            (json!([]), json!(["no-default-models"]), [false; 3]),
        ] {
            let found = json!({"user": {"models": users}, "teams": teams});
            assert_eq!(reached(&key(keys), Some(found)), with(direct));
        }
    }

    #[test]
    fn nobodys_member_has_no_teams() {
        let nothing = vec!["\"direct_access\":false".to_owned(); 3];
        assert_eq!(reached(&key(json!([])), None), nothing);
        assert_eq!(reached(&key(json!([])), Some(json!({"user": null, "teams": []}))), nothing);
    }
}
