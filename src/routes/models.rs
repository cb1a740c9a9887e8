//! `GET /v1/models` and `/models` (LiteLLM proxy_server.py `model_list`): for the master key all configured groups, for a
//! virtual key those it may see ([`visible`]), in the shape the client reads ([`shapes`]). Filters are Python's.
use http::{Method, StatusCode};

use super::{Admission, Call, CallLog, Decline, Head, NativeRoute, Reply, ReplyBody, refused::stopped};
use crate::{
    auth::{self, Caller},
    config::Snapshot,
    error::Dialect,
    faults::fault,
};

mod shapes;
pub(super) mod visible;

use shapes::Shape;

/// The row of the route table.
pub const MODELS: NativeRoute = NativeRoute {
    id: "models",
    methods: &[Method::GET],
    paths: &["/v1/models", "/models"],
    needs_body: false,
    needs_caller: true,
    fetch: None,
    dialect: Dialect::OpenAi,
    serves: "the list of all model groups, or of those a virtual key may see, as OpenAI and as Anthropic write it",
    declines: &[
        Decline::VirtualKey,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Query,
        Decline::KeyFeature,
        Decline::Model,
        Decline::ModelsInDatabase,
        Decline::NotThisPath,
    ],
    admit_head,
    admit,
};

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    auth::present(head, snapshot)?;
    if !head.query.as_deref().unwrap_or_default().split('&').all(has_no_meaning) {
        return Err(Decline::Query);
    }
    // their order in LiteLLM's memory is that of their making there
    let unread = snapshot.declines.iter().any(|reason| reason.decline == Decline::ModelsInDatabase);
    if unread || snapshot.settings.models_in_database {
        return Err(Decline::ModelsInDatabase);
    }
    // aliases and wildcards have rows of their own
    if snapshot.other_names || snapshot.group_order.iter().any(|name| name.contains('*')) {
        return Err(Decline::Model);
    }
    let plain = |name| snapshot.groups.get(name).is_none_or(|group| group.deployments.iter().all(|d| d.lists_plainly));
    match snapshot.group_order.iter().all(plain) {
        true => Ok(()),
        false => Err(Decline::Model),
    }
}

/// Anthropic's clients ask for pages; LiteLLM has one page.
fn has_no_meaning(parameter: &str) -> bool {
    let limit = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
    parameter.is_empty() || parameter.strip_prefix("limit=").is_some_and(limit)
}

fn admit(call: Call) -> Admission {
    if let Err(stop) = auth::judge_read(&call.head, &call.snapshot, &call.caller, call.now) {
        return stopped(call, stop);
    }
    let names = match &call.caller {
        Caller::Key(identity) => visible::visible(identity, &call.snapshot)?,
        _ => call.snapshot.group_order.iter().map(String::as_str).collect(),
    };
    let names = names.get(usize::from(fault!(ModelMissing))..).unwrap_or_default();
    let body = ReplyBody::Full(shapes::list(names, shape(&call.head), &call.snapshot).into());
    let headers = [("content-type", "application/json")].into();
    Ok(Box::pin(std::future::ready(Reply { status: StatusCode::OK, headers, body, log: CallLog::default() })))
}

/// The shape this client reads (model_listing_utils.py `is_claude_code_client`).
fn shape(head: &Head) -> Shape {
    if !head.headers.contains_key("anthropic-version") {
        return Shape::OpenAi;
    }
    let first = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let claude_code = ["claude-cli/", "claude-code/"].iter().any(|prefix| first("user-agent").starts_with(prefix));
    Shape::Anthropic { picker: claude_code || first("x-gateway-client").eq_ignore_ascii_case("claude-code") }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::load;

    pub(in crate::routes) fn snapshot(text: &str) -> Snapshot {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("models-{}-{count}.yaml", std::process::id()));
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
        assert_eq!(list(&snapshot, Shape::OpenAi), wanted);
    }

    fn list(snapshot: &Snapshot, shape: Shape) -> String {
        let names: Vec<&str> = snapshot.group_order.iter().map(String::as_str).collect();
        String::from_utf8(shapes::list(&names, shape, snapshot)).unwrap()
    }

    #[test]
    fn other_views_are_pythons() {
        let plain = "model_list:\n- {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: k}}\n";
        let plain = snapshot(plain);
        assert_eq!(admit_head(&head(None, &[]), &plain), Ok(()));
        assert_eq!(admit_head(&head(Some("scope=expand"), &[]), &plain), Err(Decline::Query));
        assert_eq!(admit_head(&head(Some("limit=1000"), &[]), &plain), Ok(()));
        assert_eq!(shape(&head(None, &[("x-gateway-client", "claude-code")])), Shape::OpenAi);
        let anthropic = ("anthropic-version", "x");
        assert_eq!(shape(&head(None, &[anthropic])), Shape::Anthropic { picker: false });
        for asks in [("x-gateway-client", "Claude-Code"), ("user-agent", "claude-cli/2.1")] {
            assert_eq!(shape(&head(None, &[anthropic, asks])), Shape::Anthropic { picker: true });
        }
        for hidden in ["blocked: true", "discoverable: false", "display_name: Mine"] {
            let config = format!(
                "model_list:\n- {{model_name: gpt-4o, litellm_params: {{model: openai/gpt-4o, api_key: k}}, \
                 model_info: {{{hidden}}}}}\n"
            );
            assert_eq!(admit_head(&head(None, &[]), &snapshot(&config)), Err(Decline::Model));
        }
        let wild =
            snapshot("model_list:\n- {model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: k}}\n");
        assert_eq!(admit_head(&head(None, &[]), &wild), Err(Decline::Model));
    }
}
