//! Whether a budget or a limit of rate stands in a key's rows. In this version each is Python's. Pure.
use serde_json::Value;

use super::record::{Budget, Identity};

/// On the key itself, or in the budget it is tied to.
pub fn key(identity: &Identity) -> bool {
    let key = &identity.key;
    key.max_budget.is_some()
        || key.max_parallel_requests.is_some()
        || [key.tpm_limit, key.rpm_limit, key.tpd_limit].iter().any(Option::is_some)
        || !key.model_max_budget.is_empty()
        || !key.budget_fallbacks.is_empty()
        || windows(&key.budget_limits)
        || budget(identity.budget.as_ref())
}

/// On the team, the user, the membership, the organization or the project.
pub fn others(identity: &Identity) -> bool {
    let team = identity.team.as_ref().is_some_and(|team| {
        team.max_budget.is_some()
            || team.soft_budget.is_some()
            || [team.tpm_limit, team.rpm_limit, team.tpd_limit].iter().any(Option::is_some)
            || !team.model_max_budget.is_empty()
            || windows(&team.budget_limits)
    });
    let user = identity.user.as_ref().is_some_and(|user| {
        user.max_budget.is_some()
            || [user.tpm_limit, user.rpm_limit].iter().any(Option::is_some)
            || !user.model_max_budget.is_empty()
    });
    let budgets = [
        &identity.member_budget,
        &identity.default_member_budget,
        &identity.organization_budget,
        &identity.project_budget,
    ];
    team || user || budgets.into_iter().any(|row| budget(row.as_ref()))
}

/// A row without any value limits nothing: a member's list of models stands in one too.
fn budget(row: Option<&Budget>) -> bool {
    row.is_some_and(|budget| {
        budget.max_budget.is_some()
            || budget.soft_budget.is_some()
            || budget.temp_budget_increase.is_some()
            || budget.max_parallel_requests.is_some()
            || [budget.tpm_limit, budget.rpm_limit, budget.tpd_limit].iter().any(Option::is_some)
            || !budget.model_max_budget.is_empty()
    })
}

fn windows(limits: &Value) -> bool {
    match limits {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
