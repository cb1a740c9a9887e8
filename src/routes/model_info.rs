//! `GET /v1/model/info` and `/model/info` (LiteLLM proxy_server.py `model_info_v1`): the configured deployments with the
//! facts of the price map, without secrets; what a virtual key may see of them, and through which team, is read anew for
//! each request ([`access`]). Deployments that LiteLLM knows more about than the configuration says are Python's: its
//! texts are made when the configuration is read (`config::Listing`), and nothing is guessed.
use http::{Method, StatusCode};
use serde::Deserialize;

use super::{
    Admission, Call, CallLog, Decline, Execution, Fetched, Head, NativeRoute, Reply, ReplyBody, models::visible,
    refused::stopped,
};
use crate::{
    auth::{self, Caller},
    config::{Deployment, Listing, Provider, Snapshot},
    error::Dialect,
    store::postgres::model_access::ModelAccess,
};

mod access;

use access::Access;

/// The row of the route table.
pub const MODEL_INFO: NativeRoute = NativeRoute {
    id: "model_info",
    methods: &[Method::GET],
    paths: &["/v1/model/info", "/model/info"],
    needs_body: false,
    needs_caller: true,
    fetch: Some(|call| Box::pin(fetch(call))),
    dialect: Dialect::OpenAi,
    serves: "the configured deployments with prices and limits of their models, all or one by its id, as far as a key may see them",
    declines: &[
        Decline::VirtualKey,
        Decline::MasterKeyUnset,
        Decline::CustomAuth,
        Decline::Query,
        Decline::KeyFeature,
        Decline::Model,
        Decline::Callbacks,
        Decline::SecretManager,
        Decline::ModelsInDatabase,
        Decline::Setting,
        Decline::NotThisPath,
    ],
    admit_head,
    admit,
};

/// Reasons of the configuration that change what is listed; how calls are made has no bearing.
const CHANGES: &[Decline] =
    &[Decline::Callbacks, Decline::CustomAuth, Decline::SecretManager, Decline::ModelsInDatabase, Decline::Setting];

fn admit_head(head: &Head, snapshot: &Snapshot) -> Result<(), Decline> {
    if snapshot.settings.root_path.is_some() {
        return Err(Decline::NotThisPath);
    }
    auth::present(head, snapshot)?;
    if snapshot.settings.models_in_database {
        return Err(Decline::ModelsInDatabase);
    }
    let asked = asked(head)?;
    if asked.usable_only && !snapshot.settings.has_database {
        return Err(Decline::Query);
    }
    let routing_groups = |key: &str| key.ends_with(".routing_groups");
    let changes =
        |reason: &&crate::config::ConfigDecline| CHANGES.contains(&reason.decline) || routing_groups(&reason.key);
    match snapshot.declines.iter().find(changes) {
        Some(reason) if CHANGES.contains(&reason.decline) => Err(reason.decline),
        Some(_) => Err(Decline::Model),
        // aliases, wildcards and teams' own deployments have rows of their own
        None if snapshot.other_names || snapshot.group_order.iter().any(|name| name.contains('*')) => {
            Err(Decline::Model)
        }
        None => Ok(()),
    }
}

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Asked<'a> {
    /// `litellm_model_id`: one deployment
    id: Option<&'a str>,
    /// `include_team_models=true`: only what the caller can use
    usable_only: bool,
}

/// The query, in characters that mean themselves; of a parameter given twice the last counts.
fn asked(head: &Head) -> Result<Asked<'_>, Decline> {
    let mut asked = Asked::default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    for pair in head.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("litellm_model_id", id)) if id.bytes().all(plain) => asked.id = Some(id),
            Some(("include_team_models", "true")) => asked.usable_only = true,
            Some(("include_team_models", "false")) => asked.usable_only = false,
            Some(("healthy_only", "false")) => {}
            _ => return Err(Decline::Query),
        }
    }
    Ok(asked)
}

/// Whose teams are shown; `None`: nobody's, and nothing is read.
enum Teams {
    All,
    Of(String),
}

fn teams(call: &Call) -> Option<Teams> {
    match &call.caller {
        Caller::Master => Some(Teams::All),
        Caller::Key(identity) => identity.key.user_id.clone().map(Teams::Of),
        _ => None,
    }
    .filter(|_| call.snapshot.settings.has_database)
}

async fn fetch(mut call: Call) -> Result<Call, Decline> {
    let user = match teams(&call) {
        None => return Ok(call),
        Some(Teams::All) => None,
        Some(Teams::Of(user)) => Some(user),
    };
    let url = call.snapshot.database_url.clone().ok_or(Decline::VirtualKey)?;
    let access = call.services.control.postgres.model_access(&url, user).await.map_err(|error| {
        tracing::debug!(%error, "the teams of a list of deployments could not be read");
        Decline::VirtualKey
    })?;
    call.fetched = Some(Fetched::Row(access.into()));
    Ok(call)
}

fn admit(call: Call) -> Admission {
    if let Err(stop) = auth::judge_read(&call.head, &call.snapshot, &call.caller, call.now) {
        return stopped(call, stop);
    }
    let asked = asked(&call.head)?;
    let rows = match asked.id {
        // whoever knows an id may see it, as in LiteLLM
        Some(id) => match deployments(&call.snapshot).filter(|deployment| deployment.id == id).last() {
            Some(deployment) => vec![(deployment, listed(deployment, &call.snapshot)?)],
            None => return Ok(answer(StatusCode::BAD_REQUEST, not_found(id))),
        },
        None => visible_rows(&call)?,
    };
    let access = match call.snapshot.settings.has_database {
        true => Some(Access::new(&call.caller, fetched(&call)?, &call.snapshot)),
        false => None,
    };
    let mut out =
        Vec::with_capacity(16 + rows.iter().map(|(_, row)| row.head.len() + row.facts.len() + 512).sum::<usize>());
    out.extend_from_slice(b"{\"data\":[");
    let start = out.len();
    for (deployment, row) in rows {
        let access = access.as_ref().map(|access| access.of(deployment));
        if asked.usable_only && !access.as_ref().is_some_and(access::Of::usable) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        write(&mut out, row, access.as_ref(), asked.id.is_some());
    }
    out.extend_from_slice(b"]}");
    Ok(answer(StatusCode::OK, out))
}

fn fetched(call: &Call) -> Result<Option<ModelAccess>, Decline> {
    match (&call.fetched, teams(call)) {
        (_, None) => Ok(None),
        (Some(Fetched::Row(found)), Some(_)) => {
            ModelAccess::deserialize(found.as_ref()).map(Some).map_err(|_| Decline::VirtualKey)
        }
        _ => Err(Decline::VirtualKey),
    }
}

fn deployments(snapshot: &Snapshot) -> impl Iterator<Item = &Deployment> {
    snapshot.deployments.iter().map(AsRef::as_ref)
}

/// In the order of the file.
fn visible_rows(call: &Call) -> Result<Vec<(&Deployment, &Listing)>, Decline> {
    let snapshot = &call.snapshot;
    let granted = match &call.caller {
        Caller::Key(identity) => visible::granted(identity, snapshot),
        _ => None,
    };
    if granted.as_ref().is_some_and(|names| names.iter().any(|name| name.contains('*'))) {
        return Err(Decline::Model);
    }
    let seen = |deployment: &&Deployment| {
        granted.as_ref().is_none_or(|names| names.iter().any(|name| *name == deployment.model_group))
    };
    deployments(snapshot).filter(seen).map(|deployment| Ok((deployment, listed(deployment, snapshot)?))).collect()
}

/// Its row, if nothing but the configuration bears on it.
fn listed<'a>(deployment: &'a Deployment, snapshot: &Snapshot) -> Result<&'a Listing, Decline> {
    let row = deployment.listing.as_deref().ok_or(Decline::Model)?;
    // LiteLLM asks compatible servers for the limits of their models
    let discovered = match &deployment.provider {
        Provider::OpenAi => deployment.api_base.is_some(),
        Provider::Other(name) => matches!(name.as_str(), "hosted_vllm" | "openai_like" | "text-completion-openai"),
        Provider::Anthropic => false,
    };
    // what a deployment says of its model holds for all that serve the same
    let last = |model: &str| model.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let own = last(&deployment.litellm_model);
    let tells = |other: &Deployment| other.listing.is_none() && last(&other.litellm_model) == own;
    // and its id is a name of the price map
    let hides = |other: &Deployment| {
        other.id != deployment.id
            && (other.id.eq_ignore_ascii_case(&own) || other.id.eq_ignore_ascii_case(&deployment.litellm_model))
    };
    let told = deployments(snapshot).any(|other| tells(other) || hides(other));
    match told || discovered && !snapshot.settings.no_discovery {
        true => Err(Decline::Model),
        false => Ok(row),
    }
}

/// One row. LiteLLM fills in access first where it lists, and last where one deployment is asked for.
fn write(out: &mut Vec<u8>, row: &Listing, access: Option<&access::Of<'_>>, last: bool) {
    let access = access.map(access::Of::members).unwrap_or_default();
    let (first, last) = if last { ("", access.as_str()) } else { (access.as_str(), "") };
    out.push(b'{');
    out.extend_from_slice(row.head.as_bytes());
    out.extend_from_slice(b",\"model_info\":{");
    out.extend_from_slice(row.own.as_bytes());
    for members in [first, &row.stamps, &row.facts, last].into_iter().filter(|members| !members.is_empty()) {
        out.push(b',');
        out.extend_from_slice(members.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

fn not_found(id: &str) -> Vec<u8> {
    let text = format!("Model id = {id} not found on litellm proxy");
    serde_json::json!({ "detail": { "error": text } }).to_string().into_bytes()
}

fn answer(status: StatusCode, body: Vec<u8>) -> Execution {
    let headers = [("content-type", "application/json")].into();
    let reply = Reply { status, headers, body: ReplyBody::Full(body.into()), log: CallLog::default() };
    Box::pin(std::future::ready(reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::models::tests::snapshot;

    fn head(query: Option<&str>) -> Head {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", "Bearer sk-master-of-models".parse().unwrap());
        Head { method: Method::GET, path: "/v1/model/info".into(), query: query.map(Into::into), headers, client: None }
    }

    #[test]
    fn the_query_is_read_as_fastapi_reads_it() {
        let read =
            |query: &str| asked(&head(Some(query))).map(|asked| (asked.id.map(str::to_owned), asked.usable_only));
        let id = |id: &str| Ok((Some(id.to_owned()), false));
        assert_eq!(read("litellm_model_id=a&litellm_model_id=b"), id("b"));
        assert_eq!(read("litellm_model_id="), id(""));
        assert_eq!(read("include_team_models=true&healthy_only=false"), Ok((None, true)));
        for other in ["litellm_model_id=a%20b", "litellm_model_id", "teamId=t", "healthy_only=true", "x=1"] {
            assert_eq!(read(other), Err(Decline::Query), "{other}");
        }
    }

    /// A row for each deployment that is known whole; the others are LiteLLM's.
    #[test]
    fn what_the_configuration_does_not_tell_declines() {
        const PLAIN: &str = "{model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-canary-key}}";
        let known = |more: &str| {
            let snapshot = snapshot(&format!("model_list:\n- {PLAIN}\n{more}"));
            let listed = snapshot.deployments.iter().map(|d| listed(d, &snapshot).is_ok()).collect::<Vec<_>>();
            let texts = format!("{:?}", snapshot.deployments.iter().map(|d| d.listing.clone()).collect::<Vec<_>>());
            assert!(!texts.contains("canary"), "{texts}");
            listed
        };
        assert_eq!(known(""), [true]);
        for other in ["openai/gpt-not-of-the-list", "hosted_vllm/gpt-4o"] {
            assert_eq!(
                known(&format!("- {{model_name: b, litellm_params: {{model: {other}}}}}\n")).last(),
                Some(&false)
            );
        }
        let params = |more: &str| format!("- {{model_name: b, litellm_params: {{model: openai/gpt-4.1, {more}}}}}\n");
        assert_eq!(known(&params("api_key: sk-canary-0")), [true, true]);
        for more in ["api_base: 'http://127.0.0.1:1/v1'", "some_field: 5", "tpm: '5'", "drop_params: true"] {
            assert_eq!(known(&params(more)), [true, false], "{more}");
        }
        let quiet = "general_settings: {disable_model_info_refresh: true}\n";
        assert_eq!(known(&(params("api_base: 'http://127.0.0.1:1/v1'") + quiet)), [true, true]);
        // facts of one deployment hold for all that serve the same model
        let info = "- {model_name: b, litellm_params: {model: openai/gpt-4o}, model_info: {max_tokens: 5}}\n";
        assert_eq!(known(info), [false, false]);
        let named = |id: &str| {
            known(&format!("- {{model_name: b, litellm_params: {{model: openai/mine}}, model_info: {{id: {id}}}}}\n"))
        };
        assert_eq!(
            (named("mine"), named("gpt-4o"), named("Mine")),
            (vec![true, true], vec![false, true], vec![true, false])
        );
    }
}
