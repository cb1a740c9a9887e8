//! Settings that change what LiteLLM writes down of a call, or how long it believes a key. The edge keeps books in one
//! way only: where one of these is set it writes nothing, and virtual keys are Python's. Pure.
use std::time::Duration;

use super::{
    env::Env,
    yaml::{Map, Value},
};

const LITELLM: &[&str] = &[
    "disable_end_user_cost_tracking",
    "disable_add_user_agent_to_request_tags",
    "extra_spend_tag_headers",
    "overwrite_user_with_key_hash",
    "redact_user_api_key_info",
    "force_redis_hash_tag_grouping",
    "default_team_settings",
];
const GENERAL: &[&str] = &[
    "disable_spend_logs",
    "disable_spend_updates",
    "store_prompts_in_spend_logs",
    "spend_logs_metadata_fields",
    "token_rate_limit_type",
    "use_spend_logs_partitioning",
    "custom_auth_run_common_checks",
];
const VARIABLES: &[&str] = &["STORE_PROMPTS_IN_SPEND_LOGS"];

/// Settings that change how limits and budgets are held: who has one is Python's then.
const LIMITS_GENERAL: &[&str] = &[
    "apply_user_budget_to_team_keys",
    "disable_budget_reservation",
    "fail_closed_budget_enforcement",
    "fail_closed_rate_limit_enforcement",
];
const LIMITS_LITELLM: &[&str] = &["budget_exceeded_status_code", "budget_exceeded_throttle_percentage"];
const LIMITS_VARIABLES: &[&str] =
    &["LEGACY_MULTI_INSTANCE_RATE_LIMITING", "LITELLM_RATE_LIMIT_WINDOW_SIZE", "LITELLM_TPM_TOKEN_RESERVATION_ENABLED"];

/// None of those for limits is set.
pub(super) fn limits_are_plain(general: &Map, litellm: &Map, env: &Env) -> bool {
    let set =
        |map: &Map, names: &[&str]| names.iter().any(|name| map.get(name).is_some_and(|node| !node.value.is_null()));
    let variable = |name: &&str| env.get(*name).is_some_and(|text| !text.trim().is_empty());
    !set(general, LIMITS_GENERAL) && !set(litellm, LIMITS_LITELLM) && !LIMITS_VARIABLES.iter().any(variable)
}

/// None of them is set.
pub(super) fn are_plain(general: &Map, litellm: &Map, env: &Env) -> bool {
    let set =
        |map: &Map, names: &[&str]| names.iter().any(|name| map.get(name).is_some_and(|node| node.value.truthy()));
    let variable = |name: &&str| env.get(*name).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    key_ttl(general).is_some() && !set(general, GENERAL) && !set(litellm, LITELLM) && !VARIABLES.iter().any(variable)
}

/// `user_api_key_cache_ttl`, where it is set. `None`: it is nothing that the edge can read.
pub(super) fn key_ttl(general: &Map) -> Option<Option<Duration>> {
    match general.get("user_api_key_cache_ttl").map(|node| &node.value) {
        None | Some(Value::Null) => Some(None),
        Some(value) => Some(Some(Duration::try_from_secs_f64(value.as_f64()?).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    #[test]
    fn one_setting_is_enough() {
        let map = |text: &str| yaml::parse(text.as_bytes()).unwrap().value.as_map().cloned().unwrap();
        let (none, env) = (Map::default(), Env::new());
        assert!(are_plain(&map("{disable_spend_logs: false, master_key: x}"), &none, &env));
        assert!(!are_plain(&map("{disable_spend_logs: true}"), &none, &env));
        assert!(!are_plain(&none, &map("{extra_spend_tag_headers: [x]}"), &env));
        assert!(limits_are_plain(&map("{disable_spend_logs: true}"), &none, &env));
        assert!(!limits_are_plain(&map("{fail_closed_rate_limit_enforcement: true}"), &none, &env));
        assert!(!limits_are_plain(&none, &map("{budget_exceeded_status_code: 429}"), &env));
        let window = Env::from([("LITELLM_RATE_LIMIT_WINDOW_SIZE".to_owned(), "5".to_owned())]);
        assert!(!limits_are_plain(&none, &none, &window));
        let ttl = |text: &str| key_ttl(&map(text));
        assert_eq!(ttl("{user_api_key_cache_ttl: 2.5}"), Some(Some(Duration::from_millis(2500))));
        assert_eq!((ttl("{}"), ttl("{user_api_key_cache_ttl: null}")), (Some(None), Some(None)));
        for odd in ["-1", "soon", "'5'"] {
            assert!(!are_plain(&map(&format!("{{user_api_key_cache_ttl: {odd}}}")), &none, &env), "{odd}");
        }
        let stored = Env::from([("STORE_PROMPTS_IN_SPEND_LOGS".to_owned(), "True".to_owned())]);
        assert!(!are_plain(&none, &none, &stored));
    }
}
