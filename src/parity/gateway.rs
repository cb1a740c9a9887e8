//! Who is there: the builds of both sides are asserted before anything is compared, so that no old process that
//! survived answers in the name of the new one.
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{case::Key, client::send, run::get};
use crate::secret::Secret;

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0} does not answer {1}")]
    Silent(SocketAddr, &'static str),
    #[error("the Python gateway is LiteLLM {found}, the suite is written for {wanted}")]
    Version { found: String, wanted: &'static str },
    #[error("the edge is another build ({found}) than this binary ({wanted})")]
    Build { found: String, wanted: &'static str },
}

async fn ask(address: SocketAddr, path: &'static str, key: &Secret) -> Option<(u16, Value)> {
    let request = get(path, Key::Master);
    let response = tokio::time::timeout(Duration::from_secs(10), send(address, &request, key)).await.ok()?.ok()?;
    Some((response.status, serde_json::from_slice(&response.body.bytes).unwrap_or_default()))
}

/// LiteLLM's version, from `/health/readiness/details`.
pub async fn litellm_version(address: SocketAddr, key: &Secret, wanted: &'static str) -> Result<String, GatewayError> {
    const PATH: &str = "/health/readiness/details";
    let answer = ask(address, PATH, key).await.ok_or(GatewayError::Silent(address, PATH))?;
    let found = answer.1.get("litellm_version").and_then(Value::as_str).unwrap_or("of an unknown version").to_owned();
    if found == wanted { Ok(found) } else { Err(GatewayError::Version { found, wanted }) }
}

/// The edge's source digest, from `/edge/ready`; `None` where it does not say. Waits until the edge is ready.
pub async fn edge_digest(
    address: SocketAddr,
    key: &Secret,
    wanted: &'static str,
    patience: Duration,
) -> Result<Option<String>, GatewayError> {
    const PATH: &str = "/edge/ready";
    let started = Instant::now();
    loop {
        match ask(address, PATH, key).await {
            Some((200, answer)) => {
                return match answer.get("source_digest").and_then(Value::as_str) {
                    Some(found) if found != wanted => Err(GatewayError::Build { found: found.to_owned(), wanted }),
                    found => Ok(found.map(str::to_owned)),
                };
            }
            // something else answers there, which is no edge
            Some((404, _)) => return Ok(None),
            _ if started.elapsed() > patience => return Err(GatewayError::Silent(address, PATH)),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
