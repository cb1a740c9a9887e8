//! Which LiteLLM the Python gateway is: evidence counts only for the versions routes.toml names. Asked for whenever
//! Python comes up and once a minute; unknown until then.
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    health::PythonState,
    python::{PythonTarget, Resolved},
    state::Edge,
    tunnel::{Opened, open},
};
use crate::secret::Secret;

const PATH: &str = "/health/readiness/details";
const LOOK_EVERY: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 256 << 10;

/// Tells the decider for ever; runs in the io service.
pub(super) async fn watch(edge: &Edge, target: &PythonTarget) {
    let mut asked: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if edge.python_health.view().state != PythonState::Up {
            asked = None; // whatever comes back may be another version
            continue;
        }
        if asked.is_some_and(|at| at.elapsed() < ASK_EVERY) {
            continue;
        }
        let Some(key) = edge.snapshot.load().master_key.clone() else { continue };
        match tokio::time::timeout(TIMEOUT, ask(target, &key)).await {
            Ok(Some(version)) => {
                if asked.is_none() {
                    tracing::info!(%version, "python gateway's version");
                }
                edge.decider.python_version(Some(&version));
            }
            // it is up and does not say: what was known before stands
            Ok(None) | Err(_) => tracing::debug!("the python gateway does not say its version"),
        }
        asked = Some(tokio::time::Instant::now());
    }
}

async fn ask(target: &PythonTarget, key: &Secret) -> Option<String> {
    let to = target.resolved()?;
    let host = match &to {
        Resolved::Tcp(address) => address.to_string(),
        Resolved::Unix(_) => "localhost".to_owned(),
    };
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nhost: {host}\r\nuser-agent: litellm-rust\r\nauthorization: Bearer {}\r\naccept: */*\r\nconnection: close\r\n\r\n",
        key.expose()
    );
    match open(&to, TIMEOUT).await.ok()? {
        Opened::Tcp(stream) => exchange(stream, request.as_bytes()).await,
        Opened::Unix(stream) => exchange(stream, request.as_bytes()).await,
    }
}

async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &[u8]) -> Option<String> {
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.ok()?;
    version_in(&answer)
}

/// `litellm_version` of the JSON body of an HTTP answer with status 200.
fn version_in(answer: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Details {
        litellm_version: String,
    }
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end)?;
    if head.get(8..12) != Some(b" 200") {
        return None;
    }
    let details: Details = serde_json::from_slice(body.get(4..)?).ok()?;
    Some(details.litellm_version)
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_is_read() {
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"status\":\"healthy\",\"litellm_version\":\"1.106.2\"}";
        assert_eq!(version_in(answer).as_deref(), Some("1.106.2"));
        for other in ["HTTP/1.1 401 x\r\n\r\n{\"litellm_version\":\"1\"}", "HTTP/1.1 200 OK\r\n\r\n{}", "x", ""] {
            assert_eq!(version_in(other.as_bytes()), None);
        }
    }
}
