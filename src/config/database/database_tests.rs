//! config.yaml and rows together, through the same assembler that serves.
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{super::*, *};
use crate::routes::Decline;

const SALT: &str = "sk-salt";
const YAML: &str = "model_list:
  - {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-file}, model_info: {id: of-file}}
litellm_settings: {num_retries: 0}
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings: {master_key: sk-master, database_url: 'postgresql://h/d', store_model_in_db: true}
";

fn sealed(text: &str) -> String {
    sealed::tests::sealed(SALT, text)
}

/// A row as `POST /model/new` leaves it.
fn row(name: &str, id: &str, model: &str) -> Json {
    json!({
        "model_id": id, "model_name": name, "blocked": false,
        "litellm_params": {
            "model": sealed(model), "api_key": sealed("sk-row"), "api_base": sealed("https://row.example/v1"),
            "use_in_pass_through": false, "use_litellm_proxy": false, "merge_reasoning_content_in_choices": false,
        },
        "model_info": {"id": id, "db_model": true, "member_auto_router": false},
    })
}

fn stored(models: &[Json], more: Json) -> Stored {
    let others: serde_json::Map<String, Json> = [
        "LiteLLM_GuardrailsTable",
        "LiteLLM_PolicyTable",
        "LiteLLM_PolicyAttachmentTable",
        "LiteLLM_PromptTable",
        "LiteLLM_CacheConfig",
        "LiteLLM_ConfigOverrides",
        "LiteLLM_ManagedVectorStoresTable",
        "LiteLLM_ManagedVectorStoreIndexTable",
    ]
    .map(|table| (table.to_owned(), json!(0)))
    .into_iter()
    .collect();
    let mut content = json!({
        "models": models, "credentials": [], "settings": {}, "ui_settings": null, "sso": null, "others": others,
    });
    for (key, value) in more.as_object().unwrap() {
        match (key.as_str(), value) {
            ("others", Json::Object(changed)) => content["others"].as_object_mut().unwrap().extend(changed.clone()),
            _ => content[key] = value.clone(),
        }
    }
    content["digest"] = format!("{:x}", Sha256::digest(content.to_string())).into();
    serde_json::from_value(content).unwrap()
}

fn with(yaml: &str, variables: &[(&str, &str)], stored: Option<&Stored>) -> Snapshot {
    let root = yaml::parse(yaml.as_bytes()).unwrap().value.as_map().cloned().unwrap();
    let env = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assemble::snapshot(&root, &env, &[], stored, Sha256::new(), &mut Report::default()).unwrap()
}

fn snapshot(stored: &Stored) -> Snapshot {
    with(YAML, &[("LITELLM_SALT_KEY", SALT)], Some(stored))
}

fn keys(declines: &[ConfigDecline]) -> Vec<&str> {
    declines.iter().map(|found| found.key.as_str()).collect()
}

/// Keys by which the only deployment of the group `b` declines.
fn of_b(row: Json, more: Json) -> Vec<String> {
    let snapshot = snapshot(&stored(&[row], more));
    assert_eq!(snapshot.declines, []);
    assert_eq!(snapshot.groups["a"].deployments[0].declines, [], "only its own group");
    keys(&snapshot.groups["b"].deployments[0].declines).into_iter().map(str::to_owned).collect()
}

#[test]
fn until_the_database_was_read_everything_is_pythons() {
    let unread = with(YAML, &[], None);
    assert_eq!(keys(&unread.declines), ["general_settings.store_model_in_db"]);
    assert!(unread.settings.models_in_database);
    let read = snapshot(&stored(&[], json!({})));
    assert_eq!(read.declines, []);
    assert_ne!(read.digest, unread.digest);
    // a name that nobody knows may be a new model's
    assert!(read.other_names);
    assert_eq!(read.resolve("b").unwrap_err(), Decline::Model);
}

#[test]
fn where_it_is_not_on_rows_do_not_count() {
    let rows = stored(&[row("b", "1", "openai/gpt-4o")], json!({}));
    let off = with(&YAML.replace("store_model_in_db: true", "store_model_in_db: false"), &[], Some(&rows));
    assert_eq!((off.groups.len(), off.declines.len(), off.other_names), (1, 0, false));
    let variable = [("STORE_MODEL_IN_DB", "True"), ("LITELLM_SALT_KEY", SALT)];
    let on = with(&YAML.replace(", store_model_in_db: true", ""), &variable, Some(&rows));
    assert_eq!((on.groups.len(), on.declines.len()), (2, 0));
    for odd in [
        YAML.replace("store_model_in_db: true", "store_model_in_db: 'on'"),
        YAML.replace("database_url: 'postgresql://h/d', ", ""),
    ] {
        let odd = with(&odd, &[], Some(&rows));
        assert_eq!(keys(&odd.declines), ["general_settings.store_model_in_db"]);
        assert!(!odd.settings.models_in_database && odd.groups.len() == 1);
    }
    for more in [
        "router_settings: {num_retries: 0, disable_cooldowns: true, timeout: 1.5}",
        "general_settings: \
        {master_key: m, database_url: 'postgresql://h/d', store_model_in_db: true, supported_db_objects: [models]}",
    ] {
        let section = more.split(':').next().unwrap();
        let kept: String =
            YAML.lines().filter(|line| !line.starts_with(section)).map(|line| format!("{line}\n")).collect();
        assert_eq!(with(&format!("{kept}{more}\n"), &[], Some(&rows)).declines.len(), 1, "{more}");
    }
}

#[test]
fn a_row_is_a_deployment_behind_those_of_the_file() {
    let rows = [row("b", "row-b", "anthropic/claude-sonnet-4-5-20250929"), row("a", "row-a", "openai/gpt-4o")];
    let snapshot = snapshot(&stored(&rows, json!({})));
    assert_eq!(snapshot.group_order, ["a", "b"]);
    let ids = |name: &str| snapshot.groups[name].deployments.iter().map(|d| d.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids("a"), ids("b")), (vec!["of-file".into(), "row-a".into()], vec!["row-b".into()]));
    let row = &snapshot.groups["a"].deployments[1];
    let of_file = &snapshot.groups["a"].deployments[0];
    assert_eq!(row.declines, []);
    assert_eq!(row.api_key.as_ref().unwrap().expose(), "sk-row");
    assert_eq!(row.uri.as_ref().unwrap(), "https://row.example/v1/chat/completions");
    assert_eq!((&row.model, &row.litellm_model), (&of_file.model, &of_file.litellm_model));
    assert!(row.model_map.is_some() && row.model_map == of_file.model_map);
    assert_eq!(row.pricing.as_ref().map(|p| p.input), of_file.pricing.as_ref().map(|p| p.input));
}

#[test]
fn references_and_credentials_are_filled_in() {
    let mut of_row = row("b", "1", "openai/gpt-4o");
    of_row["litellm_params"]["api_key"] = json!(sealed("os.environ/OF_ROW"));
    of_row["litellm_params"]["litellm_credential_name"] = json!(sealed("named"));
    of_row["litellm_params"].as_object_mut().unwrap().remove("api_base");
    let values = json!({"api_key": sealed("sk-not-taken"), "api_base": sealed("https://named.example/v1")});
    let credentials = json!({"credentials": [{"credential_name": "named", "credential_values": values}]});
    let rows = stored(&[of_row.clone()], credentials.clone());
    let snapshot = with(YAML, &[("LITELLM_SALT_KEY", SALT), ("OF_ROW", "sk-variable")], Some(&rows));
    let deployment = &snapshot.groups["b"].deployments[0];
    assert_eq!(deployment.declines, []);
    assert_eq!(deployment.api_key.as_ref().unwrap().expose(), "sk-variable");
    assert_eq!(deployment.uri.as_ref().unwrap(), "https://named.example/v1/chat/completions");
    // its variable is not set, so the credential's counts: LiteLLM drops what is null
    assert_eq!(of_b(of_row.clone(), credentials), [""; 0]);
    assert!(of_b(of_row.clone(), json!({})).contains(&"litellm_params.litellm_credential_name".to_owned()));
    for odd in [json!("plain"), json!(sealed("os.environ/X")), json!(5), json!(sealed("x").replace('B', "C"))] {
        let values = json!({"api_key": sealed("sk-1"), "api_base": odd});
        let credentials = json!({"credentials": [{"credential_name": "named", "credential_values": values}]});
        let found = of_b(of_row.clone(), credentials);
        assert!(found.contains(&"litellm_params.litellm_credential_name".to_owned()), "{odd} {found:?}");
    }
}

#[test]
fn what_is_not_understood_sends_its_own_group_to_python() {
    let base = row("b", "1", "openai/gpt-4o");
    let changed = |pointer: &str, key: &str, value: Json| {
        let mut row = base.clone();
        row.pointer_mut(pointer).unwrap()[key] = value;
        of_b(row, json!({}))
    };
    assert_eq!(changed("/litellm_params", "api_key", json!("sk-plain")), ["litellm_params.api_key"; 2]);
    assert_eq!(changed("/litellm_params", "temperature", json!(0.5)), [""; 0]);
    assert_eq!(changed("/litellm_params", "max_retries", json!(2)), ["litellm_params.max_retries"]);
    assert_eq!(changed("/litellm_params", "timeout", json!(sealed("30"))), ["litellm_params.timeout"]);
    assert_eq!(changed("/litellm_params", "never_heard_of", json!(sealed("x"))), ["litellm_params.never_heard_of"]);
    assert_eq!(changed("", "blocked", json!(true)), ["model_info.blocked"]);
    assert_eq!(changed("/model_info", "team_id", json!("t")), ["model_info.team_id"]);
    let mut echoed = base.clone();
    echoed["model_info"]["key"] = json!("gpt-4o");
    echoed["model_info"]["input_cost_per_token"] = json!(1.0);
    assert_eq!(of_b(echoed, json!({})), ["model_info.input_cost_per_token"]);
    // without the key nothing can be read
    let rows = stored(std::slice::from_ref(&base), json!({}));
    assert_eq!(with(YAML, &[], Some(&rows)).resolve("b").unwrap_err(), Decline::Model);
}

#[test]
fn names_that_litellm_gives_to_others_are_pythons() {
    let of_team = |name: &str| {
        let mut row = row(name, "1", "openai/gpt-4o");
        row["model_info"] = json!({"id": "1", "team_id": "t", "team_public_model_name": "a"});
        row
    };
    let cases = [
        vec![of_team("model_name_t_1")],
        // no provider that LiteLLM knows
        vec![row("a", "1", "no-such-model")],
        // the file's id once more
        vec![row("b", "of-file", "openai/gpt-4o")],
    ];
    for rows in cases {
        let snapshot = snapshot(&stored(&rows, json!({})));
        assert_eq!(snapshot.resolve("a").unwrap_err(), Decline::Model, "{rows:?}");
        assert_eq!(snapshot.declines, []);
    }
    let wild = snapshot(&stored(&[row("openai/*", "1", "openai/*")], json!({})));
    assert!(wild.resolve("a").is_ok() && !wild.groups["openai/*"].deployments[0].declines.is_empty());
}

#[test]
fn a_row_that_stops_litellm_stops_everything() {
    for (column, value) in [("model_info", Json::Null), ("litellm_params", json!("text"))] {
        let mut odd = row("b", "1", "openai/gpt-4o");
        odd[column] = value;
        let snapshot = snapshot(&stored(&[odd], json!({})));
        assert_eq!(keys(&snapshot.declines), [format!("LiteLLM_ProxyModelTable.{column}")]);
    }
}

#[test]
fn settings_of_the_database_are_understood_or_everything_is_pythons() {
    let of = |more: Json| {
        let snapshot = snapshot(&stored(&[], more));
        snapshot.declines.iter().map(|found| (found.decline, found.key.clone())).collect::<Vec<_>>()
    };
    let section = |name: &str, row: Json| json!({ "settings": { name: row } });
    for nothing in [
        section("litellm_settings", json!({"num_retries": 5, "cache": false, "public_model_groups": ["a"], "x": 1})),
        section("general_settings", json!({"store_model_in_db": false, "alerting": null, "ui_access_mode": "all"})),
        section("router_settings", json!({"num_retries": 3, "fallbacks": [], "routing_strategy": "simple-shuffle"})),
        section("environment_variables", json!({"SMTP_HOST": "x", "slack_webhook_url": "x"})),
        section("another", json!({"callbacks": ["x"]})),
        json!({"ui_settings": "{\"forward_client_headers_to_llm_api\": false}", "sso": {"google_client_id": "x"}}),
    ] {
        assert_eq!(of(nothing.clone()), [], "{nothing}");
    }
    for (more, decline, key) in [
        (
            section("litellm_settings", json!({"callbacks": ["x"]})),
            Decline::Callbacks,
            "LiteLLM_Config.litellm_settings.callbacks",
        ),
        (
            section("litellm_settings", json!({"request_timeout": 5})),
            Decline::ModelsInDatabase,
            "LiteLLM_Config.litellm_settings.request_timeout",
        ),
        (
            section("litellm_settings", json!({"default_redis_ttl": 5})),
            Decline::ModelsInDatabase,
            "LiteLLM_Config.litellm_settings.default_redis_ttl",
        ),
        (
            section("general_settings", json!({"pass_through_endpoints": [{}]})),
            Decline::Setting,
            "LiteLLM_Config.general_settings.pass_through_endpoints",
        ),
        (
            section("router_settings", json!({"fallbacks": [{}]})),
            Decline::RouterSettings,
            "LiteLLM_Config.router_settings.fallbacks",
        ),
        (
            section("router_settings", json!({"model_group_alias": {}})),
            Decline::ModelsInDatabase,
            "LiteLLM_Config.router_settings.model_group_alias",
        ),
        (section("router_settings", json!("text")), Decline::ModelsInDatabase, "LiteLLM_Config.router_settings"),
        (
            section("environment_variables", json!({"openai_api_key": "x"})),
            Decline::Setting,
            "LiteLLM_Config.environment_variables.OPENAI_API_KEY",
        ),
        (
            json!({"ui_settings": {"forward_client_headers_to_llm_api": true}}),
            Decline::Setting,
            "LiteLLM_UISettings.forward_client_headers_to_llm_api",
        ),
        (json!({"sso": {"openai_api_key": "x"}}), Decline::Setting, "LiteLLM_SSOConfig.OPENAI_API_KEY"),
        (json!({"others": {"LiteLLM_GuardrailsTable": 1}}), Decline::Callbacks, "LiteLLM_GuardrailsTable"),
        (json!({"others": {"LiteLLM_CacheConfig": 1}}), Decline::Caching, "LiteLLM_CacheConfig"),
    ] {
        assert_eq!(of(more.clone()), [(decline, key.to_owned())], "{more}");
    }
    // books are kept in one way only
    let rows = stored(&[], section("general_settings", json!({"store_prompts_in_spend_logs": true})));
    let found = snapshot(&rows);
    assert!(found.settings.other_books && found.declines.is_empty());
    // the variable says on, the database off
    let rows = stored(&[], section("general_settings", json!({"store_model_in_db": false})));
    let off = with(&YAML.replace(", store_model_in_db: true", ""), &[("STORE_MODEL_IN_DB", "True")], Some(&rows));
    assert_eq!(keys(&off.declines), ["LiteLLM_Config.general_settings.store_model_in_db"]);
}

#[test]
fn nothing_of_a_row_is_shown() {
    let rows = stored(&[row("b", "1", "openai/gpt-4o")], json!({}));
    assert_eq!(format!("{rows:?}"), "Stored(1 models, 0 credentials)");
}
