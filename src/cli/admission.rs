//! Asks a native route's own admission for `routes explain`: with the master key, as JSON, and without ever running it.
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::Context;
use http::{HeaderMap, HeaderValue, header};

use super::routes::AdmissionQuestion;
use crate::{
    config::{ConfigHandle, Env, Snapshot},
    routes::{Call, Decline, Head, Services},
    telemetry::Metrics,
    upstream,
};

/// Why the route would decline, with the configuration's keys where they are to blame; `None`: it would admit.
pub(super) fn ask(question: &AdmissionQuestion<'_>) -> anyhow::Result<Option<String>> {
    ask_in(question, std::env::vars().collect())
}

fn ask_in(question: &AdmissionQuestion<'_>, env: Env) -> anyhow::Result<Option<String>> {
    let snapshot = ConfigHandle::open(question.config, env).context("config.yaml")?.snapshot();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &snapshot.master_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).context("the master key")?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let head = Head {
        method: question.method.clone(),
        path: question.path.to_owned(),
        query: None,
        headers,
        client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    if let Err(decline) = (question.route.admit_head)(&head, &snapshot) {
        return Ok(Some(told(decline, &snapshot)));
    }
    let services = Services {
        upstream: upstream::Client::new(),
        metrics: Metrics::new().context("metrics")?,
        health: Arc::default(),
        control: crate::routes::Control::none(),
    };
    let call = Call {
        head: Arc::new(head),
        params: Arc::new(question.params.clone()),
        policy: Arc::new(question.policy.clone()),
        body: question.body.to_vec().into(),
        snapshot: snapshot.clone(),
        services: Arc::new(services),
        caller: crate::auth::Caller::Master,
        fetched: None,
        started: Instant::now(),
        now: SystemTime::now(),
    };
    // an execution that is never polled calls nobody
    Ok((question.route.admit)(call).err().map(|halt| told(halt.decline(), &snapshot)))
}

fn told(decline: Decline, snapshot: &Snapshot) -> String {
    let keys: Vec<&str> =
        snapshot.declines.iter().filter(|found| found.decline == decline).map(|found| found.key.as_str()).collect();
    let text = format!("{}: {}", decline.as_str(), decline.why());
    if keys.is_empty() { text } else { format!("{text} ({})", keys.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::Method;

    use super::*;
    use crate::{
        manifest::testing::TempDir,
        routes::{RoutePolicy, table::native_route},
    };

    #[test]
    fn the_real_admission_is_asked() {
        let dir = TempDir::new();
        let config = |settings: &str| {
            let text = format!(
                "model_list:\n  - model_name: m\n    litellm_params: {{model: anthropic/m, api_key: k}}\n\
                 litellm_settings: {{num_retries: 0{settings}}}\nrouter_settings: {{num_retries: 0, disable_cooldowns: true}}\n\
                 general_settings: {{master_key: sk-x}}\n"
            );
            dir.write("config.yaml", text)
        };
        let ask = |config: &Path, body: &str| {
            let question = AdmissionQuestion {
                route: native_route("messages").unwrap(),
                params: &Default::default(),
                method: &Method::POST,
                path: "/v1/messages",
                body: body.as_bytes(),
                config,
                policy: &RoutePolicy { accept_no_spend_rows: true, providers: None },
            };
            // not this process's environment: it may hold settings that decline
            ask_in(&question, Env::new()).unwrap()
        };
        let plain = config("");
        let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(ask(&plain, body), None);
        let other = ask(&plain, &body.replace("\"m\"", "\"unknown\"")).unwrap();
        assert!(other.starts_with("model: "), "{other}");
        let callbacks = ask(&config(", callbacks: [langfuse]"), body).unwrap();
        assert!(callbacks.starts_with("callbacks: ") && callbacks.contains("callbacks)"), "{callbacks}");
    }
}
