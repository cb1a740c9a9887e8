//! Which models a virtual key is shown (proxy/utils.py `get_available_models_for_user`, auth/model_checks.py
//! `get_key_models`, `get_team_models`, `get_complete_model_list`). Pure. Names that LiteLLM would look up elsewhere decline.
use std::collections::HashSet;

use crate::{auth::Identity, config::Snapshot, routes::Decline};

const ALL_TEAM_MODELS: &str = "all-team-models";
const ALL_PROXY_MODELS: &str = "all-proxy-models";
const NO_DEFAULT_MODELS: &str = "no-default-models";

/// The key's models, else its team's, else all. The order of a team's models is chance in LiteLLM; here it is the team's.
pub(super) fn visible<'a>(identity: &'a Identity, snapshot: &'a Snapshot) -> Result<Vec<&'a str>, Decline> {
    let listed = granted(identity, snapshot);
    let listed = listed.unwrap_or_else(|| snapshot.group_order.iter().map(String::as_str).collect());
    // what LiteLLM knows of other names is not in the configuration
    listed.into_iter().map(|name| snapshot.groups.contains_key(name).then_some(name).ok_or(Decline::Model)).collect()
}

/// The same names whether or not they are deployed, each once. `None`: neither the key nor its team has a list.
pub(in crate::routes) fn granted<'a>(identity: &'a Identity, snapshot: &'a Snapshot) -> Option<Vec<&'a str>> {
    let all = || snapshot.group_order.iter().map(String::as_str);
    let team: &[String] = identity.team.as_ref().map(|team| team.models.as_slice()).unwrap_or_default();
    let of = |list: &'a [String]| list.iter().map(String::as_str).collect::<Vec<&str>>();
    let with_all = |list: Vec<&'a str>| -> Vec<&'a str> {
        match list.contains(&ALL_TEAM_MODELS) {
            true => list.into_iter().filter(|name| *name != ALL_TEAM_MODELS).chain(all()).collect(),
            false => list,
        }
    };
    let mut own = of(&identity.key.models);
    if own.contains(&ALL_TEAM_MODELS) {
        own = with_all(of(team));
    }
    if own.contains(&ALL_PROXY_MODELS) {
        own = all().collect();
    }
    let own = by_group(own, snapshot);
    let granted = match own.is_empty() {
        false => own,
        true => by_group(with_all(of(team)), snapshot),
    };
    let mut seen = HashSet::new();
    (!granted.is_empty())
        .then(|| granted.into_iter().filter(|name| *name != NO_DEFAULT_MODELS && seen.insert(*name)).collect())
}

/// Names of access groups give way to their members, which come last (`_get_models_from_access_groups`).
fn by_group<'a>(names: Vec<&'a str>, snapshot: &'a Snapshot) -> Vec<&'a str> {
    let members = |group: &'a str| {
        let has = move |name: &&'a String| {
            snapshot
                .groups
                .get(*name)
                .is_some_and(|g| g.deployments.iter().any(|d| d.access_groups.iter().any(|a| a == group)))
        };
        snapshot.group_order.iter().filter(has).map(String::as_str)
    };
    let is_group = |name: &'a str| members(name).next().is_some();
    let kept = names.iter().copied().filter(|name| !is_group(name) || snapshot.groups.contains_key(*name));
    kept.chain(names.iter().copied().flat_map(members)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::models::tests::snapshot;

    fn identity(models: &[&str], team: Option<&[&str]>) -> Identity {
        let team = team.map(|models| serde_json::json!({"team_id": "t", "models": models}));
        serde_json::from_value(serde_json::json!({"key": {"token": "h", "models": models}, "team": team})).unwrap()
    }

    #[test]
    fn the_keys_list_then_the_teams_then_all() {
        let deployment = "litellm_params: {model: openai/gpt-4o, api_key: k}";
        let snapshot = snapshot(&format!(
            "model_list:\n\
             - {{model_name: a, {deployment}}}\n\
             - {{model_name: b, {deployment}, model_info: {{access_groups: [g]}}}}\n\
             - {{model_name: c, {deployment}, model_info: {{access_groups: [g]}}}}\n"
        ));
        let of = |models: &[&str], team: Option<&[&str]>| {
            visible(&identity(models, team), &snapshot).map(|names| names.join(" "))
        };
        let seen = |names: &str| Ok(names.to_owned());
        assert_eq!(of(&[], None), seen("a b c"));
        assert_eq!(of(&["c", "a"], Some(&["b"])), seen("c a"));
        assert_eq!(of(&[], Some(&["b"])), seen("b"));
        assert_eq!(of(&["all-team-models"], Some(&["b"])), seen("b"));
        assert_eq!(of(&["all-team-models"], Some(&["all-team-models"])), seen("a b c"));
        assert_eq!(of(&["all-team-models"], None), seen("a b c"));
        assert_eq!(of(&["all-proxy-models"], Some(&["b"])), seen("a b c"));
        assert_eq!(of(&["g", "a"], None), seen("a b c"));
        assert_eq!(of(&["no-default-models"], None), seen(""));
        for elsewhere in ["not-deployed", "openai/*"] {
            assert_eq!(of(&[elsewhere], None), Err(Decline::Model));
        }
        // stays in the list, and is no model
        assert_eq!(of(&[], Some(&["all-proxy-models"])), Err(Decline::Model));
    }
}
