//! Who is there: the builds of both sides are asserted before anything is compared, so that no old process that
//! survived answers in the name of the new one.
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    case::{Key, Request},
    client::{Response, send_until},
    run::get,
};
use crate::secret::Secret;

/// Where a gateway is: `http://host:port/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub address: SocketAddr,
    /// put before the path of every request; empty, or `/...` without a slash at the end
    pub prefix: String,
}

impl From<SocketAddr> for Base {
    fn from(address: SocketAddr) -> Self {
        Self { address, prefix: String::new() }
    }
}

impl Base {
    /// Reads a base URL; a name is looked up.
    pub fn parse(url: &str) -> Result<Self, GatewayError> {
        let wrong = || GatewayError::Url(url.to_owned());
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        if url.starts_with("https://") || path.contains(['?', '#', ' ']) {
            return Err(wrong());
        }
        let named = if host.rsplit(']').next().unwrap_or_default().contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = named.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(wrong)?;
        let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { address, prefix })
    }

    /// As it is written.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.prefix)
    }

    /// Sends to it, without leaving early.
    pub async fn send(&self, request: &Request, master_key: &Secret) -> io::Result<Response> {
        self.send_until(request, master_key, std::future::pending()).await
    }

    /// [`send_until`] to it.
    pub async fn send_until(
        &self,
        request: &Request,
        master_key: &Secret,
        called: impl Future<Output = ()>,
    ) -> io::Result<Response> {
        if self.prefix.is_empty() {
            return send_until(self.address, request, master_key, called).await;
        }
        let path = format!("{}{}", self.prefix, request.path);
        send_until(self.address, &Request { path, ..request.clone() }, master_key, called).await
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0} does not answer {1}")]
    Silent(SocketAddr, &'static str),
    #[error("the Python gateway is LiteLLM {found}, the suite is written for {wanted}")]
    Version { found: String, wanted: &'static str },
    #[error("{0}: must be http://host:port, a path may follow")]
    Url(String),
    #[error("the edge is another build ({found}) than this binary ({wanted})")]
    Build { found: String, wanted: &'static str },
}

async fn ask(base: &Base, path: &'static str, key: &Secret) -> Option<(u16, Value)> {
    let request = get(path, Key::Master);
    let response = tokio::time::timeout(Duration::from_secs(10), base.send(&request, key)).await.ok()?.ok()?;
    Some((response.status, serde_json::from_slice(&response.body.bytes).unwrap_or_default()))
}

/// LiteLLM's version, from `/health/readiness/details`.
pub async fn litellm_version(base: &Base, key: &Secret, wanted: &'static str) -> Result<String, GatewayError> {
    const PATH: &str = "/health/readiness/details";
    let answer = ask(base, PATH, key).await.ok_or(GatewayError::Silent(base.address, PATH))?;
    let found = answer.1.get("litellm_version").and_then(Value::as_str).unwrap_or("of an unknown version").to_owned();
    if found == wanted { Ok(found) } else { Err(GatewayError::Version { found, wanted }) }
}

/// The edge's source digest, from `/edge/ready`; `None` where it does not say. Waits until the edge is ready.
pub async fn edge_digest(
    base: &Base,
    key: &Secret,
    wanted: &'static str,
    patience: Duration,
) -> Result<Option<String>, GatewayError> {
    const PATH: &str = "/edge/ready";
    let started = Instant::now();
    loop {
        match ask(base, PATH, key).await {
            Some((200, answer)) => {
                return match answer.get("source_digest").and_then(Value::as_str) {
                    Some(found) if found != wanted => Err(GatewayError::Build { found: found.to_owned(), wanted }),
                    found => Ok(found.map(str::to_owned)),
                };
            }
            // something else answers there, which is no edge
            Some((404, _)) => return Ok(None),
            _ if started.elapsed() > patience => return Err(GatewayError::Silent(base.address, PATH)),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path() {
        for (url, shown) in [
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
            ("127.0.0.1:4000/", "http://127.0.0.1:4000"),
            ("http://127.0.0.1/corp/llm//", "http://127.0.0.1:80/corp/llm"),
            ("http://[::1]:4000/a", "http://[::1]:4000/a"),
        ] {
            assert_eq!(Base::parse(url).unwrap().url(), shown, "{url}");
        }
        for url in ["", "https://127.0.0.1", "http://127.0.0.1:1/a?b", "http://127.0.0.1:1/a#b", "http://127.0.0.1:x"] {
            assert!(Base::parse(url).is_err(), "{url}");
        }
    }
}
