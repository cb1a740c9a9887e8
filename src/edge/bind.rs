//! The manifest as the edge's [`Decider`], and the edge's pages about it.
use std::{sync::Arc, time::SystemTime};

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    admin::{AdminRoute, json_reply, refuse},
    decide::{Caller, Decider, Decision},
    status::ConfigRefused,
};
use crate::manifest::{ManifestHandle, decide::Side, status};

impl Decider for ManifestHandle {
    fn decide(&self, method: &Method, path: &str, caller: Caller<'_>) -> Decision {
        let decision = ManifestHandle::decide(self, method, path, caller, SystemTime::now());
        match (decision.side, decision.entry) {
            (Side::Native { route, params }, Some(entry)) => {
                Decision::Native { route, params, policy: entry.policy.clone() }
            }
            (Side::Native { .. }, None) => Decision::Python { route: decision.route_id, reason: "unlisted" },
            (Side::Python { reason }, _) => Decision::Python { route: decision.route_id, reason: reason.as_str() },
        }
    }

    fn python_version(&self, version: Option<&str>) {
        self.set_python_version(version);
    }
}

/// `GET /edge/routes` and `POST /edge/switch`. `config_refused`: why config.yaml as it is now is not in force.
pub fn manifest_pages(manifest: &ManifestHandle, config_refused: ConfigRefused) -> Vec<AdminRoute> {
    let (shown, turned) = (manifest.clone(), manifest.clone());
    vec![
        AdminRoute {
            method: Method::GET,
            path: "/edge/routes",
            handler: Arc::new(move |_, _, edge| {
                let counters = status::counters(&edge.services.metrics);
                let mut body = shown.routes_body(&counters, SystemTime::now());
                if let Some(body) = body.as_object_mut() {
                    let config = json!({ "digest": edge.snapshot.load().digest, "refused": config_refused() });
                    body.insert("config".to_owned(), config);
                }
                json_reply(StatusCode::OK, &body)
            }),
        },
        AdminRoute {
            method: Method::POST,
            path: "/edge/switch",
            handler: Arc::new(move |_, body, _| match status::post_switch(&turned, body) {
                Ok(state) => json_reply(StatusCode::OK, &state),
                Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
            }),
        },
    ]
}
