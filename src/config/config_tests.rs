//! Golden tests against LiteLLM's own results (tests/golden), and the classification as `config check` shows it.
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{report::Verdict, *};
use crate::{
    routes::Decline,
    spend::{Usage, cost},
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn json(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("litellm-rust-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = Folder::new(name);
    load(&folder.write("config.yaml", text), &env(variables))
}

const QUIET: &str = "litellm_settings: {num_retries: 0}\nrouter_settings: {disable_cooldowns: true}\n";

#[test]
fn ids_and_providers_are_litellms() {
    let variables = env(&[("A_KEY", "sk-from-env"), ("A_FLAG", "true"), ("SPACED", "two words")]);
    let loaded = load(&golden("deployments.yaml"), &variables).unwrap();
    let ours: Vec<Json> = loaded
        .snapshot
        .group_order
        .iter()
        .flat_map(|name| &loaded.snapshot.groups[name].deployments)
        .map(|d| serde_json::json!({"model_name": d.model_group, "id": d.id, "provider": d.provider.as_str(), "model": d.model}))
        .collect();
    let theirs = json("deployments.json");
    let theirs = theirs.as_array().unwrap();
    let names = |rows: &[Json]| rows.iter().map(|row| row["model_name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(theirs));
    let native = |row: &Json| row["provider"] == "openai" || row["provider"] == "anthropic";
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours["id"], theirs["id"], "{theirs}");
        assert_eq!(native(ours), native(theirs), "{ours} {theirs}");
        if native(theirs) {
            assert_eq!((&ours["provider"], &ours["model"]), (&theirs["provider"], &theirs["model"]));
        }
    }
    assert!(theirs.len() >= 40);
}

#[test]
fn costs_are_litellms() {
    let prices = prices::PriceMap::default();
    let rows = json("cost.json");
    let mut wrong = Vec::new();
    for row in rows.as_array().unwrap() {
        let text = |i: usize| row[i].as_str();
        let count = |i: usize| row[i].as_u64().unwrap();
        let found = prices.find(text(1).unwrap(), text(0).unwrap()).map(|entry| prices::pricing(&entry));
        let usage = Usage {
            prompt: count(2),
            completion: count(3),
            cache_read: count(4),
            cache_creation: count(5),
            cache_creation_1h: count(6),
            reasoning: count(7),
        };
        let ours = found.map(|pricing| cost(pricing.for_tier(text(8)), &usage).total);
        let same = match (ours, row[9].as_f64()) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-9),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !same {
            wrong.push(format!("{row} but {ours:?}"));
        }
    }
    assert!(rows.as_array().unwrap().len() > 1000);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

#[test]
fn the_price_map_is_searchable() {
    let prices = prices::PriceMap::default();
    let keys: Vec<&str> = prices.keys().collect();
    assert!(keys.len() > 4000 && keys.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
    assert!(keys.iter().all(|key| key.is_ascii() && !key.contains('\\')));
    for key in &keys {
        assert!(prices.get(key).is_some(), "{key}");
    }
    for key in ["", "\"", "a", "zzz", "gpt-4", "gpt-4o-", "\u{e9}"] {
        assert_eq!(prices.get(key).is_some(), keys.contains(&key), "{key}");
    }
}

#[test]
fn no_model_is_taken_for_another_providers() {
    let prices = prices::PriceMap::default();
    let golden = json("providers.json");
    let native = |provider: &str| provider == "openai" || provider == "anthropic";
    let mut wrong = Vec::new();
    for (name, theirs) in golden.as_object().unwrap() {
        let ours = provider::infer(name, None, None, &prices).map(|inferred| inferred.provider.as_str().to_owned());
        let same = match (&ours, theirs.as_str()) {
            (Some(ours), Some(theirs)) => native(ours) == native(theirs) && (!native(theirs) || ours == theirs),
            (None, None) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{name}: {ours:?}, LiteLLM {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), golden.as_object().unwrap().len(), wrong.join("\n"));
}

/// The report of tests/golden/check/everything.yaml; write it anew with `UPDATE_GOLDEN=1`.
#[test]
fn the_report_is_the_golden_one() {
    let loaded =
        load(&golden("check/everything.yaml"), &env(&[("OPENAI_KEY", "sk-secret-1"), ("LITELLM_RUST", "1")])).unwrap();
    let text = loaded.report.to_text();
    let path = golden("check/everything.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
    let all = format!("{text}{}{:?}", loaded.report.to_json(), loaded.snapshot);
    for secret in ["secret", "sk-2", "sk-ant-1"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[test]
fn a_quiet_configuration_is_served_natively() {
    let text = format!(
        "{QUIET}general_settings: {{master_key: sk-m}}\nmodel_list:\n- {{model_name: a, litellm_params: {{model: gpt-4o, api_key: k}}}}\n\
         - {{model_name: b, litellm_params: {{model: claude-haiku-4-5, api_key: k, api_base: \"http://h:1\"}}}}\n"
    );
    let snapshot = read("quiet", &text, &[]).unwrap().snapshot;
    assert_eq!(snapshot.declines, []);
    assert_eq!(snapshot.group_order, ["a", "b"]);
    let one = |name: &str| std::sync::Arc::clone(&snapshot.resolve(name).unwrap().deployments[0]);
    assert_eq!((one("a").declines.len(), one("b").declines.len()), (0, 0));
    assert_eq!(one("a").uri.as_ref().unwrap(), "https://api.openai.com/v1/chat/completions");
    assert_eq!(one("b").uri.as_ref().unwrap(), "http://h:1/v1/messages");
    assert_eq!(snapshot.resolve("gpt-4o").unwrap_err(), Decline::Model);
    assert!(snapshot.master_key.is_some_and(|key| key.matches("sk-m")) && !snapshot.settings.has_database);
}

#[test]
fn each_setting_that_asks_for_more_declines() {
    let model = "model_list: [{model_name: a, litellm_params: {model: gpt-4o, api_key: k}}]\n";
    for (text, decline, key) in [
        ("", Decline::RouterSettings, "litellm_settings.num_retries"),
        ("litellm_settings: {num_retries: 2}", Decline::RouterSettings, "litellm_settings.num_retries"),
        ("litellm_settings: {num_retries: 0}", Decline::RouterSettings, "router_settings.disable_cooldowns"),
        (
            "router_settings: {num_retries: 0, disable_cooldowns: no}",
            Decline::RouterSettings,
            "router_settings.disable_cooldowns",
        ),
        ("router_settings: {fallbacks: [{a: [b]}]}", Decline::RouterSettings, "router_settings.fallbacks"),
        (
            "router_settings: {routing_strategy: usage-based-routing-v2}",
            Decline::RouterSettings,
            "router_settings.routing_strategy",
        ),
        ("litellm_settings: {cache: true}", Decline::Caching, "litellm_settings.cache"),
        ("litellm_settings: {success_callback: [langfuse]}", Decline::Callbacks, "litellm_settings.success_callback"),
        ("guardrails: [{guardrail_name: x}]", Decline::Callbacks, "guardrails"),
        ("general_settings: {enable_jwt_auth: true}", Decline::CustomAuth, "general_settings.enable_jwt_auth"),
        (
            "general_settings: {key_management_system: aws_kms}",
            Decline::SecretManager,
            "general_settings.key_management_system",
        ),
        ("general_settings: {store_model_in_db: yes}", Decline::ModelsInDatabase, "general_settings.store_model_in_db"),
        ("litellm_settings: {ssl_verify: no}", Decline::Setting, "litellm_settings.ssl_verify"),
        ("litellm_settings: {openai_key: x}", Decline::Setting, "litellm_settings.openai_key"),
        ("litellm_settings: {request_timeout: soon}", Decline::Setting, "litellm_settings.request_timeout"),
    ] {
        let snapshot = read("declines", &format!("{model}{text}\n"), &[]).unwrap().snapshot;
        let found = snapshot.declines.iter().any(|entry| entry.decline == decline && entry.key == key);
        assert!(found, "{text}: {:?}", snapshot.declines);
    }
    for text in
        ["litellm_settings: {num_retries: 0, cache: no, callbacks: [], never_heard_of: 1}", "litellm_settings:", "x: 1"]
    {
        let snapshot = read("accepted", &format!("{model}{text}\n"), &[]).unwrap().snapshot;
        assert!(
            snapshot.declines.iter().all(|entry| entry.decline == Decline::RouterSettings),
            "{:?}",
            snapshot.declines
        );
    }
    let snapshot =
        read("variable", QUIET, &[("STORE_MODEL_IN_DB", "True"), ("HTTPS_PROXY", "http://p")]).unwrap().snapshot;
    assert_eq!(snapshot.declines.len(), 2);
}

#[test]
fn each_deployment_key_that_is_not_understood_declines() {
    for (params, key) in [
        ("zzcustom: 1", "litellm_params.zzcustom"),
        ("extra_body: {a: 1}", "litellm_params.extra_body"),
        ("max_retries: 1", "litellm_params.max_retries"),
        ("timeout: '5'", "litellm_params.timeout"),
        ("temperature: {a: 1}", "litellm_params.temperature"),
        ("api_base: 'http://h/v1/'", "litellm_params.api_base"),
        ("api_base: 'ftp://h/v1'", "litellm_params.api_base"),
        ("mock_response: hi", "litellm_params.mock_response"),
        ("base_url: 'http://h/v1'", "litellm_params.base_url"),
        ("extra_headers: {'bad name': x}", "litellm_params.extra_headers"),
        ("tiered_pricing: [{}]", "the model's price"),
        ("use_litellm_proxy: yes", "litellm_params.use_litellm_proxy"),
    ] {
        let text = format!(
            "model_list: [{{model_name: a, litellm_params: {{model: gpt-4o, api_key: k, {params}}}}}]\n{QUIET}"
        );
        let snapshot = read("params", &text, &[]).unwrap().snapshot;
        let declines = &snapshot.groups["a"].deployments[0].declines;
        assert!(declines.iter().any(|entry| entry.key == key), "{params}: {declines:?}");
    }
    for (model, declined) in
        [("gpt-5-pro", true), ("openai/responses/x", true), ("gpt-4o-search-preview", true), ("openai/x", false)]
    {
        let text = format!("model_list: [{{model_name: a, litellm_params: {{model: {model}, api_key: k}}}}]\n{QUIET}");
        let snapshot = read("models", &text, &[]).unwrap().snapshot;
        assert_eq!(!snapshot.groups["a"].deployments[0].declines.is_empty(), declined, "{model}");
    }
    let text = format!(
        "model_list: [{{model_name: a, litellm_params: {{model: gpt-4o}}}}]\n{QUIET}environment_variables: {{OPENAI_API_KEY: k}}\n"
    );
    assert!(read("env-key", &text, &[]).unwrap().snapshot.groups["a"].deployments[0].api_key.is_some());
}

#[test]
fn prices_follow_the_answer_unless_the_deployment_sets_them() {
    let text = format!(
        "{QUIET}model_list:\n- {{model_name: a, litellm_params: {{model: openai/gpt-4o, api_key: k}}}}\n\
         - {{model_name: b, litellm_params: {{model: openai/gpt-4o, api_key: k, input_cost_per_token: 1e-6}}}}\n\
         - {{model_name: c, litellm_params: {{model: openai/mine, api_key: k}}}}\n\
         - {{model_name: d, litellm_params: {{model: openai/mine, api_key: k}}, model_info: {{base_model: gpt-4.1}}}}\n"
    );
    let snapshot = read("prices", &text, &[]).unwrap().snapshot;
    let input = |group: &str, answer: Option<&str>| {
        snapshot.groups[group].deployments[0].pricing_for(answer).map(|pricing| pricing.input)
    };
    assert_eq!(input("a", None), Some(2.5e-6));
    assert_eq!(input("a", Some("gpt-4o-mini")), Some(1.5e-7));
    assert_eq!(input("a", Some("gpt-4o-mini")), Some(1.5e-7));
    assert_eq!(input("a", Some("unheard-of")), Some(2.5e-6));
    assert_eq!((input("b", None), input("b", Some("gpt-4o-mini"))), (Some(1e-6), Some(1e-6)));
    assert_eq!(snapshot.groups["b"].deployments[0].pricing.as_ref().unwrap().cache_read, Some(1.25e-6));
    assert_eq!((input("c", None), input("c", Some("gpt-4o"))), (None, Some(2.5e-6)));
    assert_eq!(input("d", Some("gpt-4o")), Some(2e-6));
}

#[test]
fn what_litellm_would_not_start_with_is_an_error_with_its_place() {
    for (text, line, wanted) in [
        ("- 1\n", 1, "mapping"),
        ("", 1, "null"),
        ("a: [\n", 2, "column"),
        ("model_list: 5\n", 1, "list"),
        ("model_list:\n- 5\n", 2, "mapping"),
        ("model_list:\n- {model_name: a}\n", 2, "litellm_params"),
        ("model_list:\n- {model_name: a, litellm_params: {}}\n", 2, "model"),
        ("\nlitellm_settings: hello\n", 2, "found string"),
        ("include: more.yaml\n", 1, "list of file paths"),
        ("include: [gone.yaml]\n", 1, "does not exist"),
        ("general_settings:\n  master_key: 12345\n", 2, "found integer"),
        ("router_settings: {health_check_interval: 5}\n", 1, "general_settings"),
    ] {
        let error = read("errors", text, &[]).unwrap_err();
        assert!(error.line == line && error.to_string().contains(wanted), "{text:?}: {error}");
        assert!(!error.to_string().contains("12345"), "{error}");
    }
}

#[test]
fn included_files_merge_as_litellm_merges_them() {
    let folder = Folder::new("include");
    let root = folder
        .write("config.yaml", "include: [sub/a.yaml, b.yaml]\nmodel_list: []\nlitellm_settings: {num_retries: 1}\n");
    let entry =
        |name: &str| format!("model_list: [{{model_name: {name}, litellm_params: {{model: gpt-4o, api_key: k}}}}]\n");
    folder.write("sub/a.yaml", &format!("include: [c.yaml, ../b.yaml, ../config.yaml]\n{}", entry("a")));
    folder.write("sub/c.yaml", &format!("{}litellm_settings: {{num_retries: 0}}\n", entry("c")));
    folder.write("b.yaml", &entry("b"));
    folder.write("d.yaml", &entry("d"));
    let loaded = load(&root, &Env::new()).unwrap();
    assert_eq!(loaded.snapshot.group_order, ["a", "b", "c"]);
    assert_eq!(loaded.files.len(), 4);
    assert!(!loaded.snapshot.declines.iter().any(|entry| entry.key.contains("num_retries")));
    // an old layout: found beside the root file
    folder.write("sub/c.yaml", "include: [d.yaml]\n");
    assert_eq!(load(&root, &Env::new()).unwrap().snapshot.group_order, ["a", "b", "d"]);
}

#[test]
fn a_reload_keeps_the_last_good_snapshot() {
    let folder = Folder::new("reload");
    let path = folder.write("config.yaml", "general_settings: {master_key: one}\n");
    let handle = ConfigHandle::open(&path, Env::new()).unwrap();
    let key = || handle.snapshot().master_key.clone().unwrap();
    assert!(!handle.changed() && key().matches("one"));
    folder.write("config.yaml", "general_settings: {master_key: two}\n");
    assert!(handle.changed());
    handle.reload().unwrap();
    assert!(!handle.changed() && key().matches("two") && handle.last_error().is_none());
    folder.write("config.yaml", "general_settings: [\n");
    assert!(handle.reload().is_err() && key().matches("two") && handle.last_error().is_some());
    assert!(!handle.changed(), "a wrong file is not read again and again");
    folder.write("config.yaml", "general_settings: {master_key: three}\n");
    assert!(handle.changed() && handle.reload().is_ok() && key().matches("three") && handle.last_error().is_none());
}

#[test]
fn slots_bound_the_calls_in_flight() {
    let slots = snapshot::Slots { limit: Some(2), ..Default::default() };
    let (one, two) = (slots.take(), slots.clone().take());
    assert!(one.is_some() && two.is_some() && slots.take().is_none());
    drop(one);
    assert!(slots.take().is_some());
}

#[test]
fn a_large_configuration_loads_quickly() {
    let mut text = String::from(QUIET) + "model_list:\n";
    for i in 0..200 {
        text += &format!("- model_name: m{i}\n  litellm_params:\n    model: openai/gpt-4o\n    api_key: k{i}\n");
    }
    let started = std::time::Instant::now();
    let loaded = read("large", &text, &[]).unwrap();
    assert_eq!(loaded.snapshot.groups.len(), 200);
    // an unoptimised build on a busy machine; a release build takes a twentieth of it
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(loaded.report.rows.iter().all(|row| row.verdict == Verdict::Native));
}
