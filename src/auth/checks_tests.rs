use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::auth::access::access_tests::snapshot;

const KEY: &str = "sk-key-of-the-checks";

fn merged(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        for (name, value) in more {
            let old = base.remove(name).unwrap_or(Value::Null);
            base.insert(name.clone(), if old.is_object() { merged(old, value) } else { value.clone() });
        }
    }
    base
}

/// A plain key with these rows over it.
fn caller(rows: &Value) -> Caller {
    let plain = json!({"key": {"token": KeyHash::of(KEY).to_string()}});
    Caller::Key(Arc::new(serde_json::from_value(merged(plain, rows)).unwrap()))
}

fn judged(caller: &Caller, path: &str, key: Option<&str>, body: &Value, database: bool) -> Result<(), Stop> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let groups = json!({"gpt-4o": [], "gpt-4o-mini": [], "claude-sonnet": ["beta"]});
    let mut snapshot = snapshot(groups.as_object().unwrap());
    snapshot.settings.has_database = database;
    let head = Head { method: Method::POST, path: path.into(), query: None, headers, client: None };
    let body = body.to_string();
    judge(&Request {
        head: &head,
        snapshot: &snapshot,
        caller,
        body: &Object::parse_request(body.as_bytes()).unwrap(),
        named_by_path: false,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_324_336),
    })
}

fn body() -> Value {
    json!({"model": "gpt-4o", "messages": []})
}

/// `200`, the decline, or status, type and start of the message.
fn said(outcome: &Result<(), Stop>) -> String {
    match outcome {
        Ok(()) => "200".into(),
        Err(Stop::Declined(reason)) => reason.to_string(),
        Err(Stop::Refused(refusal)) => {
            let failure = &refusal.failure;
            let kind = if refusal.detail { "detail" } else { failure.kind.as_deref().unwrap_or("null") };
            format!("{} {kind} {}", failure.status.as_u16(), failure.message)
        }
    }
}

fn told(rows: &Value) -> String {
    said(&judged(&caller(rows), "/v1/chat/completions", Some(KEY), &body(), true))
}

#[test]
fn each_check_refuses_as_litellm_does() {
    let team = |more: Value| merged(json!({"key": {"team_id": "t"}, "team": {"team_id": "t"}}), &more);
    let user = |more: Value| merged(json!({"key": {"user_id": "u"}, "user": {"user_id": "u"}}), &more);
    let denied = |who: &str| {
        format!(
            "403 {who}_model_access_denied The requested model 'gpt-4o' is not available for this API key, or the \
             model name is invalid. Check the models available to you and try again."
        )
    };
    let group = |models: Value, teams: Value| json!([{"access_group_id": "g", "access_group_name": "g", "access_model_names": models, "assigned_team_ids": teams}]);
    let blocked = "401 auth_error Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.";
    let route = "403 detail Virtual key is not allowed to call this route. Only allowed to call routes: \
                 ['/v1/models', 'x y']. Tried to call route: /v1/chat/completions";
    for (rows, wanted) in [
        (json!({}), "200".to_owned()),
        (json!({"key": {"blocked": true}}), blocked.into()),
        (json!({"key": {"models": ["gpt-4o-mini"]}}), denied("key")),
        (json!({"key": {"models": ["no-default-models"]}}), denied("key")),
        (json!({"key": {"models": ["gpt-4o-mini", "openai/*"]}}), "200".into()),
        (json!({"key": {"models": ["x"]}, "key_access_groups": group(json!(["gpt-4o"]), json!([]))}), "200".into()),
        // without a team its models are nobody's
        (json!({"key": {"models": ["all-team-models"]}}), "200".into()),
        (
            user(json!({"user": {"metadata": {"scim_active": false}}})),
            "401 auth_error Authentication Error, User=u has been deactivated via SCIM. Keys owned by this user cannot \
             be used."
                .into(),
        ),
        (
            json!({"key": {"expires": "2026-11-20T23:09:18.935"}}),
            "401 expired_key Authentication Error - Expired Key. Key Expiry time 2026-11-20 23:09:18.935000+00:00 and \
             current time 2026-11-22 05:12:16+00:00"
                .into(),
        ),
        (json!({"key": {"expires": "2026-11-22T05:12:16"}}), "200".into()),
        (json!({"key": {"allowed_routes": ["/v1/models", "x y"]}}), route.into()),
        (json!({"key": {"allowed_routes": ["llm_api_routes"]}}), "200".into()),
        (json!({"key": {"allowed_routes": ["/v1"]}}), "200".into()),
        (json!({"key": {"allowed_routes": ["/v1/chat/comp*"]}}), "200".into()),
        (
            json!({"key": {"team_id": "t"}}),
            "404 auth_error {'error': \"Team doesn't exist in db. Team=t. Create team via `/team/new` call.\"}".into(),
        ),
        (
            team(json!({"team": {"blocked": true}})),
            "401 auth_error Authentication Error, Team=t is blocked. Update via `/team/unblock` if you're an admin."
                .into(),
        ),
        (team(json!({"team": {"models": ["x"]}})), denied("team")),
        (team(json!({"key": {"models": ["all-team-models"]}, "team": {"models": ["x"]}})), denied("team")),
        (team(json!({"team": {"models": ["all-team-models"]}})), "200".into()),
        (
            team(json!({"team": {"models": ["x"]}, "team_access_groups": group(json!(["gpt-4o"]), json!([]))})),
            "200".into(),
        ),
        // the group is not the team's, so it grants the key nothing beyond it
        (
            team(json!({"team": {"models": ["x"]}, "key_access_groups": group(json!(["gpt-4o"]), json!(["other"]))})),
            denied("team"),
        ),
        (
            team(json!({"team": {"models": ["x"]}, "key_access_groups": group(json!(["gpt-4o"]), json!(["t"]))})),
            "200".into(),
        ),
        (team(json!({"member_budget": {"budget_id": "b", "allowed_models": ["x"]}})), denied("team")),
        (user(json!({"user": {"models": ["x"]}})), denied("user")),
        (user(json!({"user": {"models": ["gpt-4o", "no-default-models"]}})), denied("key")),
        // a team's key does not ask the user
        (merged(team(json!({})), &user(json!({"user": {"models": ["x"]}}))), "200".into()),
        (
            json!({"key": {"project_id": "p"}, "project": {"project_id": "p", "blocked": true}}),
            "401 auth_error Authentication Error, Project=p is blocked. Update via `/project/update` if you're an \
             admin."
                .into(),
        ),
        (json!({"key": {"project_id": "p"}, "project": {"project_id": "p", "models": ["x"]}}), denied("project")),
    ] {
        assert_eq!(told(&rows), wanted, "{rows}");
    }
}

#[test]
fn the_first_check_in_litellms_order_decides() {
    let all = json!({
        "key": {"blocked": true, "models": ["x"], "expires": "2026-11-20T23:09:18", "allowed_routes": ["/x"],
                "team_id": "t", "user_id": "u", "max_budget": 0.0, "metadata": {"guardrails": ["g"]}},
        "team": {"team_id": "t", "blocked": true, "models": ["x"], "max_budget": 1.0},
        "user": {"user_id": "u", "metadata": {"scim_active": false}},
    });
    let mut rows = all;
    for (wanted, at, value) in [
        ("401 auth_error Authentication Error, Key is blocked", "/key/blocked", json!(false)),
        ("403 key_model", "/key/models", json!([])),
        ("401 auth_error Authentication Error, User=u", "/user/metadata", json!({})),
        // the budget may be spent, and LiteLLM would say that first
        ("key_feature", "/key/max_budget", Value::Null),
        ("401 expired_key", "/key/expires", Value::Null),
        ("403 detail", "/key/allowed_routes", json!([])),
        ("401 auth_error Authentication Error, Team=t", "/team/blocked", json!(false)),
        ("403 team_model", "/team/models", json!([])),
        ("key_feature", "/key/metadata", json!({})),
    ] {
        let said = told(&rows);
        assert!(said.starts_with(wanted), "{said} is not {wanted}");
        *rows.pointer_mut(at).unwrap() = value;
    }
    assert_eq!(told(&rows), "200");
}

#[test]
fn limits_and_budgets_are_no_check() {
    let row = json!({"budget_id": "b", "rpm_limit": 1, "tpm_limit": 1, "max_budget": 1.0, "soft_budget": 0.5});
    for rows in [
        json!({"key": {"rpm_limit": 1, "tpm_limit": 1, "max_parallel_requests": 0, "max_budget": 0.0}}),
        json!({ "budget": row }),
        json!({ "organization_budget": row }),
        json!({ "project_budget": row }),
        json!({ "member_budget": row }),
        json!({"key": {"team_id": "t"}, "team": {"team_id": "t", "tpm_limit": 1, "max_budget": 1.0}}),
        json!({"user": {"user_id": "u", "max_budget": 1.0, "rpm_limit": 1}}),
        json!({"key": {"metadata": {"model_rpm_limit": {"gpt-4o": 1}, "temp_budget_increase": 1}}}),
        json!({"key": {"model_max_budget": {"gpt-4o": {}}}}),
        json!({"user": {"user_id": "u", "model_max_budget": {"gpt-4o": {}}}}),
        json!({"member_budget": {"budget_id": "b", "temp_budget_increase": 1.0}}),
        json!({"key": {"budget_limits": [{"max_budget": 1}]}}),
        json!({"key": {"team_id": "t"}, "team": {"team_id": "t", "budget_limits": [{"max_budget": 1}]}}),
        // words of their owners', and a key that an administrator made for itself
        json!({"key": {"metadata": {"parity_word": {"guardrails": []}}}}),
        json!({"organization": {"organization_id": "o", "metadata": {"parity_word": 1}}}),
        json!({"user": {"user_id": "u", "user_role": "proxy_admin", "metadata": {"parity_word": 1}}}),
    ] {
        assert_eq!(told(&rows), "200", "{rows}");
    }
}

#[test]
fn features_without_a_check_of_their_own_are_pythons() {
    let budget = json!({"budget_id": "b", "model_max_budget": {"gpt-4o": {}}});
    for rows in [
        json!({"key": {"config": {"a": 1}, "blocked": true}}),
        json!({"key": {"router_settings": {"a": 1}}}),
        json!({"key": {"agent_id": "a"}}),
        json!({"key": {"team_id": "litellm-dashboard"}}),
        json!({"key": {"token": KeyHash::of("sk-successor").to_string()}}),
        json!({"key": {"project_id": "gone"}}),
        json!({"key": {"budget_fallbacks": {"gpt-4o": ["gpt-4o-mini"]}}}),
        json!({ "organization_budget": budget }),
        json!({ "project_budget": budget }),
        json!({ "member_budget": budget }),
        json!({ "default_member_budget": budget }),
        json!({"user": {"user_id": "u", "user_role": "proxy_admin", "model_max_budget": {"gpt-4o": {}}}}),
        json!({"user": {"user_id": "u", "user_role": "proxy_admin_viewer"}}),
        json!({"user": {"user_id": "u", "user_role": "proxy_admin", "models": ["gpt-4o"]}}),
        json!({"user": {"user_id": "u", "user_role": "proxy_admin", "max_budget": 1.0}}),
        json!({"user": {"user_id": "u", "metadata": {"tags": 1}}}),
        json!({"key": {"aliases": {"gpt-4o": "gpt-4o-mini"}}}),
        json!({"key": {"permissions": {"a": true}}}),
        json!({"key": {"allowed_cache_controls": ["no-store"]}}),
        json!({"key": {"policies": ["p"]}}),
        json!({"key": {"object_permission_id": "o"}}),
        json!({"organization": {"organization_id": "o", "metadata": {"tags": ["a"]}}}),
        json!({"key": {"metadata": {"parity_word": 1, "Guardrails": []}}}),
        json!({"organization": {"organization_id": "o", "metadata": {"logging": []}}}),
    ] {
        assert_eq!(told(&rows), "key_feature", "{rows}");
    }
    let grouped = json!({"model": "claude-sonnet", "messages": []});
    assert_eq!(said(&judged(&caller(&json!({})), "/v1/messages", Some(KEY), &grouped, true)), "key_feature");
}

#[test]
fn bodies_that_litellm_looks_into_are_pythons() {
    for (more, reason) in [
        (json!({"api_base": "http://x"}), "field"),
        (json!({"metadata": {"user_id": "u", "tags": ["t"]}}), "field"),
        (json!({"metadata": "{}"}), "field"),
        // what the row of a refused caller says of an end user is Python's
        (json!({"user": "u"}), "field"),
        (json!({"metadata": {"user_id": "u"}}), "field"),
        (json!({"tags": ["t"]}), "field"),
        (json!({"metadata": {"user_id": "u", "guardrails": []}}), "field"),
        (json!({"model": "a,b"}), "model"),
        (json!({"model": "gpt-4o[1M]"}), "model"),
        (json!({"model": "claude-router-ab"}), "model"),
        (json!({"model": " gpt-4o"}), "model"),
        (json!({"model": 1}), "field_type"),
        (json!({"model": null}), "missing_field"),
    ] {
        let body = merged(body(), &more);
        let blocked = caller(&json!({"key": {"blocked": true}}));
        assert_eq!(said(&judged(&blocked, "/v1/messages", Some(KEY), &body, true)), reason, "{more}");
    }
    for more in [
        json!({"user": "u"}),
        json!({"metadata": {"user_id": "u", "tags": ["t"]}}),
        json!({"safety_identifier": "u"}),
        json!({"tags": ["t"]}),
    ] {
        let body = merged(body(), &more);
        let tags = json!({"metadata": {"tags": ["t"]}});
        let rows = json!({"key": merged(tags.clone(), &json!({"team_id": "t"})), "team": merged(tags, &json!({"team_id": "t"}))});
        for rows in [json!({}), rows] {
            assert_eq!(judged(&caller(&rows), "/v1/messages", Some(KEY), &body, true), Ok(()), "{more}");
        }
    }
    let body = json!({"api_base": "x"});
    assert_eq!(said(&judged(&Caller::Stranger, "/v1/messages", None, &body, true)), "field");
}

#[test]
fn strangers_are_told_what_litellm_tells_them() {
    let unknown = Caller::Unknown(KeyHash::of(KEY));
    let wanted = format!(
        "401 token_not_found_in_db Authentication Error, Invalid proxy server token passed. Received API Key = \
         sk-...ecks, Key Hash (Token) ={}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
        KeyHash::of(KEY)
    );
    assert_eq!(said(&judged(&unknown, "/v1/messages", Some(KEY), &body(), true)), wanted);
    let stranger =
        |key: Option<&str>, database: bool| said(&judged(&Caller::Stranger, "/v1/messages", key, &body(), database));
    assert!(stranger(None, true).starts_with("401 auth_error Authentication Error, No api key"));
    assert!(stranger(None, false).starts_with("401 auth_error Authentication Error, No api key"));
    assert_eq!(stranger(Some("abc"), false), "400 no_db_connection No connected db.");
    assert_eq!(stranger(Some(KEY), false), "400 no_db_connection No connected db.");
    assert_eq!(
        stranger(Some("abc"), true),
        "401 auth_error LiteLLM Virtual Key expected. Received=****, expected to start with 'sk-'."
    );
    // the master key is asked nothing
    assert_eq!(judged(&Caller::Master, "/v1/messages", Some("sk-master"), &json!({"user": "u"}), true), Ok(()));
}
