//! Models that a real Python gateway keeps in the database: the edge serves them as it serves config.yaml's.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    backing::backing,
    judge::{Both, patient, start},
    stack::{NATIVE, side, with_key},
    support::{Answer, MASTER, eventually},
    wire::Mode,
};

/// The edge looks every two seconds.
const HEARD: Duration = Duration::from_secs(5);

impl Both {
    fn call(&self, port: u16, model: &str, key: &str) -> Answer {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "canary-prompt"}]}).to_string();
        patient(
            port,
            &with_key(&format!("authorization: Bearer {key}\r\nuser-agent: proof/1"), "/v1/chat/completions", &body),
        )
    }

    fn side(&self, model: &str) -> (u16, &'static str) {
        let answer = self.call(self.stack.process.port, model, MASTER);
        match side(&answer) {
            (status, "native") => (status, "native"),
            (status, _) => (status, "python"),
        }
    }

    fn native_soon(&self, model: &str) {
        eventually(HEARD, &format!("{model} is native"), || self.side(model) == NATIVE);
    }

    /// What the provider was asked last: the model and the credential.
    fn asked(&self) -> (String, String) {
        let last = self.stack.provider.last();
        let body: Value = serde_json::from_slice(&last.body).unwrap();
        let key = last.header("authorization").or(last.header("x-api-key")).unwrap_or_default().to_owned();
        (body["model"].as_str().unwrap().to_owned(), key)
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.stack.provider.port)
    }
}

#[test]
fn a_model_of_the_database_is_native_as_long_as_it_is_there() {
    let Some(backing) = backing() else { return };
    let both = start(backing, "  store_model_in_db: true\n");
    let started = Instant::now();
    // Python's first call takes seconds
    assert_eq!(both.call(both.python.port, "m", MASTER).status, 200);
    both.native_soon("m");
    made_changed_deleted(&both);
    same_rows(&both);
    credentials(&both);
    left_to_python(&both);
    postgres_away(&both);
    eprintln!("models of the database took {:?}", started.elapsed());
}

fn made_changed_deleted(both: &Both) {
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-row", "api_base": both.base()});
    let model = both.through("/model/new", json!({"model_name": "made", "litellm_params": params}));
    let id = model["model_id"].as_str().unwrap().to_owned();
    both.native_soon("made");
    assert_eq!(both.asked(), ("gpt-4o".into(), "Bearer sk-of-row".into()));
    let answer = both.call(both.stack.process.port, "made", MASTER);
    assert_eq!(answer.header("x-litellm-model-id"), Some(id.as_str()));
    // Python would say the same
    let python = both.call(both.python.port, "made", MASTER);
    for name in [
        "x-litellm-model-id",
        "x-litellm-model-api-base",
        "x-litellm-model-name",
        "x-litellm-model-group",
        "x-litellm-response-cost",
    ] {
        assert_eq!(answer.header(name), python.header(name), "{name}");
    }
    let change =
        json!({"model_info": {"id": id}, "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-changed"}});
    both.through("/model/update", change);
    // by way of the edge nothing old is served
    both.side("made");
    assert_eq!(both.asked(), ("gpt-4o-mini".into(), "Bearer sk-changed".into()));
    both.native_soon("made");
    assert_eq!(both.asked(), ("gpt-4o-mini".into(), "Bearer sk-changed".into()));
    both.through("/model/delete", json!({"id": id}));
    assert_eq!(both.side("made"), (400, "python"), "deleted by way of the edge");
    // one that another gateway made and deleted
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-row", "api_base": both.base()});
    let model = both.manage("/model/new", json!({"model_name": "elsewhere", "litellm_params": params}));
    assert_eq!(both.side("elsewhere").0, 200, "python knows a name that the edge does not");
    both.native_soon("elsewhere");
    both.manage("/model/delete", json!({"id": model["model_id"]}));
    eventually(HEARD, "a model deleted elsewhere", || both.side("elsewhere") == (400, "python"));
}

/// A virtual key's calls, one by the edge and one by Python, are the same in the books.
fn same_rows(both: &Both) {
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-row", "api_base": both.base()});
    let info = json!({"access_groups": [], "mode": "chat"});
    for (name, info) in [("booked", json!({})), ("described", info)] {
        let model =
            both.manage("/model/new", json!({"model_name": name, "litellm_params": params, "model_info": info}));
        both.native_soon(name);
        let key = both.key(json!({"models": [name]}));
        let mut rows = Vec::new();
        for port in [both.stack.process.port, both.python.port] {
            let answer = both.call(port, name, &key);
            assert_eq!(answer.status, 200, "{name} {}", answer.text());
            let by = if port == both.python.port { (200, "none") } else { NATIVE };
            assert_eq!(side(&answer), by, "{name}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            let sql = format!(
                r#"SELECT jsonb_build_array(spend, model, model_id, model_group, custom_llm_provider, api_base,
                   metadata->'model_map_information', metadata->'cost_breakdown')
                   FROM "LiteLLM_SpendLogs" WHERE request_id = '{id}'"#
            );
            eventually(Duration::from_secs(20), "a row", || !both.stack.database.column(&sql).is_empty());
            rows.extend(both.stack.database.column(&sql));
        }
        assert_eq!(rows[0], rows[1], "{name}");
        both.manage("/model/delete", json!({"id": model["model_id"]}));
    }
}

fn credentials(both: &Both) {
    let values = json!({"api_key": "sk-of-credential", "api_base": both.base()});
    both.through(
        "/credentials",
        json!({"credential_name": "named", "credential_values": values, "credential_info": {}}),
    );
    let params = json!({"model": "openai/gpt-4o", "litellm_credential_name": "named"});
    let model = both.through("/model/new", json!({"model_name": "by-credential", "litellm_params": params}));
    both.native_soon("by-credential");
    assert_eq!(both.asked(), ("gpt-4o".into(), "Bearer sk-of-credential".into()));
    let [edge, python] =
        [both.stack.process.port, both.python.port].map(|port| both.call(port, "by-credential", MASTER));
    for name in ["x-litellm-model-id", "x-litellm-model-api-base", "x-litellm-model-name", "x-litellm-response-cost"] {
        assert_eq!(edge.header(name), python.header(name), "{name}");
    }
    both.through("/model/delete", json!({"id": model["model_id"]}));
}

/// What the edge does not understand is Python's, and nothing else with it.
fn left_to_python(both: &Both) {
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-row", "api_base": both.base(), "max_retries": 1});
    let model = both.through("/model/new", json!({"model_name": "odd", "litellm_params": params}));
    both.native_soon("m");
    assert_eq!(both.side("odd"), (200, "python"));
    both.through("/model/delete", json!({"id": model["model_id"]}));
    both.native_soon("m");
    for (set, unset) in [
        (
            r#"INSERT INTO "LiteLLM_GuardrailsTable" (guardrail_id, guardrail_name, litellm_params, updated_at)
               VALUES ('g', 'g', '{}', now())"#,
            r#"DELETE FROM "LiteLLM_GuardrailsTable""#,
        ),
        (
            r#"INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('router_settings', '{"fallbacks": [{"m": ["c"]}]}')"#,
            r#"DELETE FROM "LiteLLM_Config" WHERE param_name = 'router_settings'"#,
        ),
        (
            r#"ALTER TABLE "LiteLLM_ProxyModelTable" RENAME COLUMN blocked TO another"#,
            r#"ALTER TABLE "LiteLLM_ProxyModelTable" RENAME COLUMN another TO blocked"#,
        ),
    ] {
        both.stack.database.run(set);
        if set.starts_with("ALTER") {
            // what was read stays in force
            eventually(HEARD, set, || both.stack.log().contains("models of the database cannot be read"));
            assert_eq!(both.side("m"), NATIVE);
            both.stack.database.run(unset);
            eventually(HEARD, unset, || both.stack.log().contains("models of the database are read again"));
        } else {
            eventually(HEARD, set, || both.side("m") == (200, "python"));
            both.stack.database.run(unset);
            both.native_soon("m");
        }
    }
}

fn postgres_away(both: &Both) {
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-row", "api_base": both.base()});
    both.through("/model/new", json!({"model_name": "stays", "litellm_params": params}));
    both.native_soon("stays");
    both.stack.postgres.set(Mode::Refused);
    std::thread::sleep(HEARD);
    assert_eq!(both.side("stays"), NATIVE);
    both.stack.postgres.set(Mode::Pass);
    assert!(!both.stack.log().contains("sk-of-row") && !both.stack.log().contains("sk-of-credential"));
}
