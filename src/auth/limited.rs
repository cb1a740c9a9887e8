//! Which limits and budgets of a key's rows only Python can judge in this version, on routes of models and on others. All
//! others are counted by `crate::limits`. Pure.
use serde_json::Value;

use super::record::{Budget, Identity};

/// On the key itself, or in the budget it is tied to.
pub fn key(identity: &Identity) -> bool {
    !identity.key.budget_fallbacks.is_empty()
}

/// On the membership, the organization or the project.
pub fn others(identity: &Identity) -> bool {
    let budgets = [
        &identity.member_budget,
        &identity.default_member_budget,
        &identity.organization_budget,
        &identity.project_budget,
    ];
    budgets.into_iter().flatten().any(|row| !row.model_max_budget.is_empty())
}

/// A budget of a single model, the key's own or its user's; the team's is compared last.
pub fn model_budget(identity: &Identity) -> bool {
    let row = identity.budget.as_ref().is_some_and(|budget| !budget.model_max_budget.is_empty());
    row || !identity.key.model_max_budget.is_empty() || user_model_budget(identity)
}

fn user_model_budget(identity: &Identity) -> bool {
    identity.user.as_ref().is_some_and(|user| !user.model_max_budget.is_empty())
}

/// A budget of a single model, of the team or the user.
pub fn owners_model_budget(identity: &Identity) -> bool {
    identity.team.as_ref().is_some_and(|team| !team.model_max_budget.is_empty()) || user_model_budget(identity)
}

/// LiteLLM compares a budget before it is through with its other checks: the key's, a team member's own, or of a model.
pub fn has_early_budget(identity: &Identity) -> bool {
    let of = |row: Option<&Budget>| row.is_some_and(|budget| budget.max_budget.is_some());
    identity.key.max_budget.is_some()
        || of(identity.budget.as_ref())
        || of(identity.member_budget.as_ref())
        || model_budget(identity)
}

/// A budget window of the key or its team.
pub fn has_windows(identity: &Identity) -> bool {
    windows(&identity.key.budget_limits) || identity.team.as_ref().is_some_and(|team| windows(&team.budget_limits))
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

fn windows(limits: &Value) -> bool {
    match limits {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
