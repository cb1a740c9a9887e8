//! `GET /v1/models` and `/models` for the master key (LiteLLM proxy_server.py `model_list`). It lists the configured
//! groups; views of other clients, teams and filters are Python's.
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::{Call, CallLog, Decline, Execution, Head, NativeRoute, Reply, ReplyBody};
use crate::{
    auth,
    config::{ModelGroup, Snapshot},
    error::Dialect,
    json::ObjectWriter,
};

/// The row of the route table.
pub const MODELS: NativeRoute = NativeRoute {
    id: "models",
    methods: &[Method::GET],
    paths: &["/v1/models", "/models"],
    needs_body: false,
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
    let headers = vec![("content-type".into(), "application/json".to_owned())];
    let body = ReplyBody::Full(body(&call.snapshot).into());
    Box::pin(std::future::ready(Reply { status: StatusCode::OK, headers, body, log: CallLog::default() }))
}

/// `{"data":[...],"object":"list"}` in file order.
fn body(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(64 + snapshot.group_order.len() * 160);
    let data = out.key("data");
    data.push(b'[');
    for (at, name) in snapshot.group_order.iter().enumerate() {
        if at > 0 {
            data.push(b',');
        }
        data.extend_from_slice(&row(name, snapshot.groups.get(name).map(AsRef::as_ref)));
    }
    data.push(b']');
    out.string("object", "list");
    out.finish()
}

/// One model (proxy/utils.py `create_model_info_response`).
fn row(name: &str, group: Option<&ModelGroup>) -> Vec<u8> {
    let mut row = ObjectWriter::with_capacity(160);
    row.string("id", name);
    row.string("object", "model");
    row.raw("created", "1677610602");
    row.string("owned_by", "openai");
    let infos: Vec<&Map<String, Value>> =
        group.map(|group| group.deployments.iter().map(|d| &d.model_info).collect()).unwrap_or_default();
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
