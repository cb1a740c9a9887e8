//! May this list of models call this model? LiteLLM proxy/auth/auth_checks.py `_can_object_call_model` and
//! `check_model_access_helper`, rule by rule. Pure. Where only Python can tell, it says [`Unsure`]; it must never guess.
use serde_json::{Map, Value};

use crate::config::{Snapshot, name_provider};

/// Only Python can tell; the word says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure(pub &'static str);

/// The words with a meaning of their own in lists of models (proxy/_types.py `SpecialModelNames`).
pub const ALL_TEAM_MODELS: &str = "all-team-models";
const ALL_PROXY_MODELS: &str = "all-proxy-models";
pub const NO_DEFAULT_MODELS: &str = "no-default-models";

/// What a request is renamed by: `aliases` of the key and of its team.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aliases<'a> {
    pub key: Option<&'a Map<String, Value>>,
    pub team: Option<&'a Map<String, Value>>,
}

/// Whether a holder of `models` may call `model`. `team`: the id of the team whose models it is about.
pub fn can_call<'a>(
    model: &str,
    models: impl IntoIterator<Item = &'a String>,
    aliases: Aliases<'_>,
    team: Option<&str>,
    snapshot: &Snapshot,
) -> Result<bool, Unsure> {
    // a team's own deployments have names that LiteLLM makes
    if model.starts_with("model_name_") {
        return Err(Unsure("team_deployment"));
    }
    let models: Vec<&str> = models.into_iter().map(String::as_str).collect();
    // where the key renames the model, what it is renamed to is asked for, and nothing else
    let by_team = match aliases.team.and_then(|aliases| aliases.get(model)) {
        Some(target) => target.as_str().ok_or(Unsure("team_alias"))?,
        None => model,
    };
    let renamed = |name: &'_ str| aliases.key.and_then(|aliases| aliases.get(name)?.as_str().map(str::to_owned));
    let once = renamed(by_team);
    let after = once.as_deref().unwrap_or(by_team);
    let twice = renamed(after);
    let dispatched = twice.as_deref().unwrap_or(after);
    let asked = if after != by_team || dispatched != after { dispatched } else { model };
    listed(asked, &models, aliases.team, team, snapshot)
}

fn listed(
    model: &str,
    models: &[&str],
    team_aliases: Option<&Map<String, Value>>,
    team: Option<&str>,
    snapshot: &Snapshot,
) -> Result<bool, Unsure> {
    let groups = access_groups(model, snapshot)?;
    let models = match team {
        Some(_) if models.contains(&ALL_TEAM_MODELS) => with_all_models(models, snapshot),
        _ => models.to_vec(),
    };
    if models.iter().any(|name| groups.contains(name)) {
        return Ok(true);
    }
    // from here on no name is one of the model's access groups
    if team_aliases.is_some_and(|aliases| aliases.contains_key(model)) {
        return Ok(true);
    }
    if models.is_empty() || models.iter().any(|name| *name == model || matches!(*name, "*" | ALL_PROXY_MODELS)) {
        return Ok(true);
    }
    by_wildcard(model, &models)
}

/// `model_info.access_groups` of the deployments that serve it.
fn access_groups<'a>(model: &str, snapshot: &'a Snapshot) -> Result<Vec<&'a str>, Unsure> {
    if snapshot.aliases.contains(model) {
        return Err(Unsure("model_alias"));
    }
    match snapshot.groups.get(model) {
        Some(group) => Ok(group.deployments.iter().flat_map(|d| &d.access_groups).map(String::as_str).collect()),
        // a wildcard's deployments have groups too
        None if snapshot.other_names => Err(Unsure("model_alias")),
        None => Ok(Vec::new()),
    }
}

/// `all-team-models` in a team's list is every model the proxy has.
fn with_all_models<'a>(models: &[&'a str], snapshot: &'a Snapshot) -> Vec<&'a str> {
    let own = models.iter().copied().filter(|name| *name != ALL_TEAM_MODELS);
    let all: Vec<&str> = own.chain(snapshot.group_order.iter().chain(&snapshot.aliases).map(String::as_str)).collect();
    if all.is_empty() { models.to_vec() } else { all }
}

fn by_wildcard(model: &str, models: &[&str]) -> Result<bool, Unsure> {
    let wild: Vec<&str> = models.iter().copied().filter(|name| name.contains('*')).collect();
    if wild.is_empty() {
        return Ok(false);
    }
    // LiteLLM makes a regular expression of it and escapes nothing
    if wild.iter().any(|pattern| pattern.contains(['\\', '^', '$', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\n']))
    {
        return Err(Unsure("regular_expression"));
    }
    if wild.iter().any(|pattern| matches(pattern, model)) {
        return Ok(true);
    }
    let Some((provider, stripped)) = name_provider(model) else { return Ok(false) };
    // names of other providers are not all known here
    if !matches!(provider.as_str(), "openai" | "anthropic") {
        return Err(Unsure("provider_of_the_name"));
    }
    // a namespace that is no provider's is never taken for one
    if stripped == model && model.contains('/') {
        return Ok(false);
    }
    let full = format!("{provider}/{stripped}");
    Ok(wild.iter().any(|pattern| matches(pattern, &full)))
}

/// Python's `re.match(f"^{pattern.replace('*', '.*')}$", text)` for patterns of plain characters, `.` and `*`.
fn matches(pattern: &str, text: &str) -> bool {
    // `$` also matches before a last line break
    let whole = |text: &str| {
        let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        let (mut p, mut t) = (0, 0);
        // where the last star stands, and how far it reaches
        let mut star: Option<(usize, usize)> = None;
        while let Some(&c) = text.get(t) {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some('.') if c != '\n' => (p, t) = (p + 1, t + 1),
                Some(&wanted) if wanted == c && wanted != '.' => (p, t) = (p + 1, t + 1),
                _ => match star {
                    Some((at, reach)) if text.get(reach).is_some_and(|c| *c != '\n') => {
                        star = Some((at, reach + 1));
                        (p, t) = (at + 1, reach + 1);
                    }
                    _ => return false,
                },
            }
        }
        pattern.iter().skip(p).all(|c| *c == '*')
    };
    whole(text) || text.strip_suffix('\n').is_some_and(whole)
}

#[cfg(test)]
#[path = "access_tests.rs"]
pub(crate) mod access_tests;
