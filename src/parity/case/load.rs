//! Case files into cases: what serde cannot say is checked here, each complaint with its file. It must never mend a case.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Answer, Case, CaseError, ClientCall, Expect, Recorded, Request, base64};
use crate::parity::recorded;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    #[serde(default)]
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    route: String,
    why: String,
    #[serde(default)]
    setup: Vec<Request>,
    #[serde(default)]
    sql: Vec<String>,
    #[serde(default)]
    teardown: Vec<Request>,
    request: Option<Request>,
    requests: Option<Vec<Request>>,
    client: Option<ClientCall>,
    #[serde(default = "no_answers")]
    provider: Provider,
    expect: String,
    config: Option<String>,
    compare: Option<Compare>,
    recorded: Option<Recorded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compare {
    Bytes,
}

fn no_answers() -> Provider {
    Provider { answers: Vec::new() }
}

/// Parses one case. `file`: names it in errors; its last two components are the case's name.
pub fn parse(file: &Path, text: &str) -> Result<Case, CaseError> {
    let invalid = |message: String| CaseError::Invalid { file: file.to_owned(), message };
    let parsed: File = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if parsed.route != folder {
        return Err(invalid(format!("route: {:?} is in the folder {folder:?}", parsed.route)));
    }
    if parsed.why.trim().is_empty() {
        return Err(invalid("why: says nothing".into()));
    }
    let requests = match (parsed.request, parsed.requests, &parsed.client) {
        (Some(request), None, None) => vec![request],
        (None, Some(requests), None) if !requests.is_empty() => requests,
        (None, None, Some(_)) => Vec::new(),
        _ => return Err(invalid("request: give exactly one of `request`, a non-empty `requests` and `client`".into())),
    };
    if let Some(complaint) = parsed.client.as_ref().and_then(ClientCall::complaint) {
        return Err(invalid(complaint));
    }
    for (key, list) in [("setup", &parsed.setup), ("request", &requests), ("teardown", &parsed.teardown)] {
        list.iter().try_for_each(|request| check(key, request)).map_err(invalid)?;
    }
    for (i, answer) in parsed.provider.answers.iter().enumerate() {
        let bodies = [
            answer.json.is_some(),
            answer.body.is_some(),
            answer.body_base64.is_some(),
            answer.sse.is_some(),
            answer.websocket.is_some(),
        ];
        if bodies.iter().filter(|given| **given).count() > 1 {
            return Err(invalid(format!("provider.answers[{i}]: give one of json, body, body_base64, sse, websocket")));
        }
        if let Some(text) = &answer.body_base64 {
            base64(text).ok_or_else(|| invalid(format!("provider.answers[{i}].body_base64: not base64")))?;
        }
    }
    let expect = match parsed.expect.as_str() {
        "native" => Expect::Native,
        "passed" => Expect::Passed,
        other => match other.strip_prefix("declined:") {
            Some(reason) if !reason.is_empty() => Expect::Declined(reason.to_owned()),
            _ => return Err(invalid(format!("expect: {other:?} must be native, passed or declined:<reason>"))),
        },
    };
    if let Some(config) = &parsed.config {
        if config.is_empty() || !config.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(invalid(format!("config: {config:?} must be a name of small letters and _")));
        }
        // Python behind it keeps config.yaml: what the edge answers itself could not be compared
        if expect == Expect::Native {
            return Err(invalid("config: only for a case that Python serves".into()));
        }
    }
    Ok(Case {
        name: format!("{folder}/{stem}"),
        route: parsed.route,
        why: parsed.why,
        setup: parsed.setup,
        sql: parsed.sql,
        teardown: parsed.teardown,
        requests,
        client: parsed.client,
        answers: parsed.provider.answers,
        expect,
        config: parsed.config,
        compare_bytes: matches!(parsed.compare, Some(Compare::Bytes)),
        text: if parsed.recorded.is_some() { recorded::own_text(text) } else { text.to_owned() },
        recorded: parsed.recorded,
    })
}

/// `key`: the key of the file it stands below.
fn check(key: &str, request: &Request) -> Result<(), String> {
    let bodies = [request.json.is_some(), request.body.is_some(), request.body_base64.is_some()];
    if bodies.iter().filter(|given| **given).count() > 1 {
        return Err(format!("{key}: give one of json, body, body_base64"));
    }
    if let Some(text) = &request.body_base64 {
        base64(text).ok_or_else(|| format!("{key}.body_base64: not base64"))?;
    }
    if request.websocket.is_some() && (request.method != "GET" || bodies.contains(&true)) {
        return Err(format!("{key}.websocket: only for a GET without a body"));
    }
    if !request.path.starts_with('/') && request.path != "*" {
        return Err(format!("{key}.path: {:?} does not start with /", request.path));
    }
    Ok(())
}

/// Reads every case below `dir`: those of requests in order of name, then those of clients.
pub fn load(dir: &Path) -> Result<Vec<Case>, CaseError> {
    let read = |file: &Path, source| CaseError::Read { file: file.to_owned(), source };
    let mut cases = Vec::new();
    for folder in sorted_entries(dir).map_err(|e| read(dir, e))?.into_iter().filter(|path| path.is_dir()) {
        for file in sorted_entries(&folder).map_err(|e| read(&folder, e))? {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&file).map_err(|e| read(&file, e))?;
                let case = parse(&file, &text)?;
                if let Some(name) = case.config.as_deref().filter(|name| !has_config(dir, name)) {
                    let message = format!("config: there is no configs/{name}.yaml beside the cases");
                    return Err(CaseError::Invalid { file, message });
                }
                cases.extend(case.for_each_client());
            }
        }
    }
    // what LiteLLM still writes after a client has left must not fall into the keys of a case that compares them
    cases.sort_by_key(|case| case.client.is_some());
    Ok(cases)
}

/// `configs/<name>.yaml` beside `cases`.
fn has_config(cases: &Path, name: &str) -> bool {
    cases.parent().is_some_and(|suite| suite.join("configs").join(format!("{name}.yaml")).is_file())
}

fn sorted_entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
