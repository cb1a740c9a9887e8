//! Which limits and budgets of a key's rows only Python can judge in this version: those of single models, of windows,
//! and raised ones. All others are counted by `crate::limits`. Pure.
use serde_json::Value;

use super::record::{Budget, Identity};

/// On the key itself, or in the budget it is tied to.
pub fn key(identity: &Identity) -> bool {
    let key = &identity.key;
    !key.model_max_budget.is_empty()
        || !key.budget_fallbacks.is_empty()
        || windows(&key.budget_limits)
        || special(identity.budget.as_ref())
}

/// On the team, the user, the membership, the organization or the project.
pub fn others(identity: &Identity) -> bool {
    let team =
        identity.team.as_ref().is_some_and(|team| !team.model_max_budget.is_empty() || windows(&team.budget_limits));
    let user = identity.user.as_ref().is_some_and(|user| !user.model_max_budget.is_empty());
    let budgets = [
        &identity.member_budget,
        &identity.default_member_budget,
        &identity.organization_budget,
        &identity.project_budget,
    ];
    team || user || budgets.into_iter().any(|row| special(row.as_ref()))
}

/// LiteLLM compares a budget before it is through with its other checks: the key's, or a team member's own.
pub fn has_early_budget(identity: &Identity) -> bool {
    let of = |row: Option<&Budget>| row.is_some_and(|budget| budget.max_budget.is_some());
    identity.key.max_budget.is_some() || of(identity.budget.as_ref()) || of(identity.member_budget.as_ref())
}

/// A budget of the key itself.
pub fn key_budget(identity: &Identity) -> bool {
    let key = &identity.key;
    key.max_budget.is_some() || identity.budget.as_ref().is_some_and(has_budget)
}

/// A budget of its team, user, membership, organization or project.
pub fn owners_budget(identity: &Identity) -> bool {
    let team = identity.team.as_ref().is_some_and(|team| team.max_budget.is_some() || team.soft_budget.is_some());
    let user = identity.user.as_ref().is_some_and(|user| user.max_budget.is_some());
    let rows = [
        &identity.member_budget,
        &identity.default_member_budget,
        &identity.organization_budget,
        &identity.project_budget,
    ];
    team || user || rows.into_iter().flatten().any(has_budget)
}

fn has_budget(row: &Budget) -> bool {
    row.max_budget.is_some() || row.soft_budget.is_some()
}

fn special(row: Option<&Budget>) -> bool {
    row.is_some_and(|budget| budget.temp_budget_increase.is_some() || !budget.model_max_budget.is_empty())
}

fn windows(limits: &Value) -> bool {
    match limits {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
