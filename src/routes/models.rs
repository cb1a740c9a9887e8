//! `GET /v1/models` and `/models` for the master key (LiteLLM proxy_server.py `model_list`). It lists the configured
//! groups; views of other clients, teams and filters are Python's.
use std::sync::LazyLock;

use http::{Method, StatusCode};
use regex::Regex;
use serde_json::{Map, Value};

use super::{Call, CallLog, Decline, Execution, Head, NativeRoute, Reply, ReplyBody};
use crate::{
    auth,
    config::{Deployment, ModelGroup, Snapshot},
    error::Dialect,
    faults::fault,
    json::ObjectWriter,
};

/// The row of the route table.
pub const MODELS: NativeRoute = NativeRoute {
    id: "models",
    methods: &[Method::GET],
    paths: &["/v1/models", "/models"],
    needs_body: false,
    needs_caller: false,
    dialect: Dialect::OpenAi,
    serves: "the OpenAI list of all model groups",
    declines: &[
        Decline::NoKey,
        Decline::VirtualKey,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Query,
        Decline::ControlHeader,
        Decline::Model,
        Decline::ModelsInDatabase,
        Decline::NotThisPath,
    ],
    admit_head,
    admit: |call| Ok(list(&call)),
};

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    auth::identify(head, snapshot)?;
    if head.query.as_deref().is_some_and(|query| !query.is_empty()) {
        return Err(Decline::Query);
    }
    // Anthropic's list, and Claude Code's names in it
    if head.headers.contains_key("anthropic-version") || head.headers.contains_key("x-gateway-client") {
        return Err(Decline::ControlHeader);
    }
    if snapshot.declines.iter().any(|reason| reason.decline == Decline::ModelsInDatabase) {
        return Err(Decline::ModelsInDatabase);
    }
    // aliases and wildcards have rows of their own
    if snapshot.other_names || snapshot.group_order.iter().any(|name| name.contains('*')) {
        return Err(Decline::Model);
    }
    Ok(())
}

fn list(call: &Call) -> Execution {
    let headers = [("content-type", "application/json")].into();
    let body = ReplyBody::Full(body(&call.snapshot).into());
    Box::pin(std::future::ready(Reply { status: StatusCode::OK, headers, body, log: CallLog::default() }))
}

/// `{"data":[...],"object":"list"}` in file order.
fn body(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(64 + snapshot.group_order.len() * 160);
    let data = out.key("data");
    data.push(b'[');
    for (at, name) in snapshot.group_order.iter().skip(usize::from(fault!(ModelMissing))).enumerate() {
        if at > 0 {
            data.push(b',');
        }
        data.extend_from_slice(&row(name, snapshot.groups.get(name).map(AsRef::as_ref)));
    }
    data.push(b']');
    out.string("object", "list");
    out.finish()
}

/// A Claude that LiteLLM's price map does not have (`fallback_generalizations`, rule claude-family-baseline).
static CLAUDE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)claude-[a-z]+-\d+(?:[-.]\d+)?(?:-\d{8})?").ok());
static CLAUDE_BASELINE: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let facts = [("max_input_tokens", 200_000), ("max_output_tokens", 64_000)];
    let mut info: Map<String, Value> = facts.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    info.insert("mode".into(), "chat".into());
    info
});

fn info_of(deployment: &Deployment) -> &Map<String, Value> {
    let is_claude = || CLAUDE.as_ref().is_some_and(|claude| claude.is_match(&deployment.litellm_model));
    if deployment.model_info.is_empty() && is_claude() { &CLAUDE_BASELINE } else { &deployment.model_info }
}

/// One model (proxy/utils.py `create_model_info_response`).
fn row(name: &str, group: Option<&ModelGroup>) -> Vec<u8> {
    let mut row = ObjectWriter::with_capacity(160);
    row.string("id", name);
    row.string("object", "model");
    row.raw("created", "1677610602");
    row.string("owned_by", "openai");
    let infos: Vec<&Map<String, Value>> =
        group.map(|group| group.deployments.iter().map(|d| info_of(d)).collect()).unwrap_or_default();
    if let Some(mode) = infos.first().and_then(|info| info.get("mode")).and_then(Value::as_str) {
        row.string("mode", mode);
    }
    for key in ["max_input_tokens", "max_output_tokens"] {
        let most = infos.iter().filter_map(|info| info.get(key)).filter_map(Value::as_f64).reduce(f64::max);
        if let Some(most) = most {
            row.raw(key, &format!("{most}"));
        }
    }
    row.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::load;

    fn snapshot(text: &str) -> Snapshot {
        let path = std::env::temp_dir().join(format!("models-{}-{}.yaml", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let loaded = load(&path, &HashMap::from([("LITELLM_MASTER_KEY".to_owned(), "sk-master-of-models".to_owned())]));
        std::fs::remove_file(&path).unwrap();
        loaded.unwrap().snapshot
    }

    fn head(query: Option<&str>, headers: &[(&'static str, &str)]) -> Head {
        let mut map = http::HeaderMap::new();
        map.insert("authorization", "Bearer sk-master-of-models".parse().unwrap());
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Head {
            method: Method::GET,
            path: "/v1/models".into(),
            query: query.map(Into::into),
            headers: map,
            client: None,
        }
    }

    /// What LiteLLM 1.106.2 was seen to answer for these groups.
    #[test]
    fn the_list_is_litellms() {
        let snapshot = snapshot(
            "model_list:\n\
             - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: k}}\n\
             - {model_name: claude-opus, litellm_params: {model: anthropic/claude-opus-4-1-20250805, api_key: k}}\n\
             - {model_name: unknown, litellm_params: {model: anthropic/claude-not-in-the-price-list, api_key: k}}\n\
             - {model_name: flash, litellm_params: {model: gemini/gemini-2.5-flash, api_key: k}}\n\
             - {model_name: emb, litellm_params: {model: openai/text-embedding-3-small, api_key: k}}\n",
        );
        let row = |id: &str, more: &str| {
            format!(r#"{{"id":"{id}","object":"model","created":1677610602,"owned_by":"openai"{more}}}"#)
        };
        let wanted = [
            row("gpt-4o", r#","mode":"chat","max_input_tokens":128000,"max_output_tokens":16384"#),
            row("claude-opus", r#","mode":"chat","max_input_tokens":200000,"max_output_tokens":64000"#),
            row("unknown", ""),
            row("flash", r#","mode":"chat","max_input_tokens":1048576,"max_output_tokens":65536"#),
            row("emb", r#","mode":"embedding","max_input_tokens":8191"#),
        ];
        let wanted = format!(r#"{{"data":[{}],"object":"list"}}"#, wanted.join(","));
        assert_eq!(String::from_utf8(body(&snapshot)).unwrap(), wanted);
    }

    #[test]
    fn other_views_are_pythons() {
        let plain = "model_list:\n- {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: k}}\n";
        let plain = snapshot(plain);
        assert_eq!(admit_head(&head(None, &[]), &plain), Ok(()));
        assert_eq!(admit_head(&head(Some("scope=expand"), &[]), &plain), Err(Decline::Query));
        for header in ["anthropic-version", "x-gateway-client"] {
            assert_eq!(admit_head(&head(None, &[(header, "x")]), &plain), Err(Decline::ControlHeader));
        }
        let wild =
            snapshot("model_list:\n- {model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: k}}\n");
        assert_eq!(admit_head(&head(None, &[]), &wild), Err(Decline::Model));
    }
}
