//! Where the Python gateway is, and how Pingora is told to talk to it.
use std::{
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use pingora::{
    protocols::TcpKeepalive,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};

use super::{state::EdgeConfig, tunnel};

/// What the system receives ahead of us on a connection to Python, bytes (it doubles this for its own use). An answer
/// that nobody reads is held back after so much instead of after the megabytes the system would take by itself, and the
/// pieces that wait inside Pingora are smaller.
const RECEIVE_BUFFER: usize = 64 << 10;

/// Where the Python gateway listens, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonAddress {
    /// `http://host:port`
    Tcp { host: String, port: u16 },
    /// `unix:/path`
    Unix(PathBuf),
}

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("expected http://host:port or unix:/path")]
    Shape,
    #[error("https is not supported between the edge and Python: they share a host or pod")]
    Https,
    #[error("a path, query or user behind the address is not supported")]
    Trailing,
}

impl FromStr for PythonAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(BadAddress::Shape) };
        }
        if text.starts_with("https:") {
            return Err(BadAddress::Https);
        }
        let rest = text.strip_prefix("http://").ok_or(BadAddress::Shape)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(BadAddress::Trailing);
        }
        let uri: http::uri::Authority = rest.parse().map_err(|_| BadAddress::Shape)?;
        // `Authority` lets a port through that is none (99999, or nothing behind the colon) and then says there is none
        let port = match rest.get(uri.host().len()..).unwrap_or_default() {
            "" => 80,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(BadAddress::Shape)?,
        };
        let host = uri.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() { Err(BadAddress::Shape) } else { Ok(Self::Tcp { host, port }) }
    }
}

impl std::fmt::Display for PythonAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address with what it resolves to. Names are resolved by the health prober, never on the request path.
#[derive(Debug)]
pub struct PythonTarget {
    pub address: PythonAddress,
    peers: ArcSwapOption<Peers>,
    options: PeerTimes,
    /// from 2 (1 is for upgrades): pooled connections of an earlier era are not taken again, see [`Self::distrust_pooled`]
    era: AtomicU64,
}

/// The templates of the two kinds of connections to Python.
#[derive(Debug)]
struct Peers {
    resolved: Resolved,
    plain: HttpPeer,
    /// WebSocket handshakes: see [`tunnel`]
    upgrade: HttpPeer,
}

/// What the address stands for right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy)]
struct PeerTimes {
    connect: Duration,
    read: Duration,
    idle: Duration,
}

impl PythonTarget {
    pub fn new(address: PythonAddress, config: &EdgeConfig) -> Self {
        let options = PeerTimes {
            connect: config.python_connect_timeout,
            read: config.python_timeout,
            idle: config.python_idle_timeout,
        };
        let target = Self { address, peers: ArcSwapOption::empty(), options, era: AtomicU64::new(2) };
        match &target.address {
            PythonAddress::Unix(path) => target.set(Resolved::Unix(path.clone())),
            PythonAddress::Tcp { host, port } => {
                if let Ok(ip) = host.parse() {
                    target.set(Resolved::Tcp(SocketAddr::new(ip, *port)));
                }
            }
        }
        target
    }

    /// Looks the name up (again); `Err` is a line for people. Nothing to do for an IP address or a socket path.
    pub async fn resolve(&self) -> Result<(), String> {
        let PythonAddress::Tcp { host, port } = &self.address else { return Ok(()) };
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Ok(());
        }
        let found: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), *port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(format!("name not resolved: {}", error.kind())),
        };
        // keep the address in use while it is still one of the name's: pooled connections stay valid
        if let Some(Resolved::Tcp(current)) = self.resolved().as_ref()
            && found.contains(current)
        {
            return Ok(());
        }
        // Python listens on IPv4 unless told otherwise
        match found.iter().find(|address| address.is_ipv4()).or(found.first()) {
            Some(address) => {
                self.set(Resolved::Tcp(*address));
                Ok(())
            }
            None => Err("name has no address".to_owned()),
        }
    }

    pub fn resolved(&self) -> Option<Resolved> {
        self.peers.load().as_ref().map(|peers| peers.resolved.clone())
    }

    /// The peer for one request; `None` while the name was never resolved.
    pub(super) fn peer(&self, upgrade: bool) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        let peers = peers.as_ref()?;
        let mut peer = if upgrade { peers.upgrade.clone() } else { peers.plain.clone() };
        if !upgrade {
            peer.group_key = self.era.load(Ordering::Relaxed);
        }
        Some(Box::new(peer))
    }

    /// To be called for every 500. When an exception has left the application, uvicorn answers 500 like any other, logs
    /// the traceback, and only then closes the connection, without having said `Connection: close`. The next request
    /// on it, perhaps another client's, would be lost. Which connection it was cannot be told to the pool, so none of
    /// them is taken again; they end by their idle time.
    pub(super) fn distrust_pooled(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self, resolved: Resolved) {
        let plain = match &resolved {
            Resolved::Tcp(address) => HttpPeer::new(address, false, String::new()),
            Resolved::Unix(path) => match HttpPeer::new_uds(&path.to_string_lossy(), false, String::new()) {
                Ok(peer) => peer,
                Err(error) => {
                    tracing::error!(%error, "the python gateway's socket path is not usable");
                    return;
                }
            },
        };
        let mut plain = plain;
        // every timeout is set: Pingora's default is none at all
        let options = &mut plain.options;
        options.connection_timeout = Some(self.options.connect);
        options.total_connection_timeout = Some(self.options.connect);
        // between two reads, so also the wait for the answer's head: as long as the slowest model
        options.read_timeout = Some(self.options.read);
        options.write_timeout = Some(self.options.read);
        // below uvicorn's keep-alive of 5 s, so that a pooled connection is never one that Python is just closing
        options.idle_timeout = Some(self.options.idle);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 5,
            user_timeout: Duration::ZERO,
        });
        options.tcp_recv_buf = Some(RECEIVE_BUFFER);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::default();
        let mut upgrade = plain.clone();
        // another pool: an ordinary connection has not the tunnel's reader
        upgrade.group_key = 1;
        upgrade.options.custom_l4 =
            Some(Arc::new(tunnel::Connect { to: resolved.clone(), timeout: self.options.connect }));
        self.peers.store(Some(Arc::new(Peers { resolved, plain, upgrade })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let tcp = |host: &str, port| Ok(PythonAddress::Tcp { host: host.into(), port });
        for (text, expected) in [
            ("http://127.0.0.1:4001", tcp("127.0.0.1", 4001)),
            ("http://litellm:4001/", tcp("litellm", 4001)),
            ("http://[::1]:4001", tcp("::1", 4001)),
            ("http://litellm", tcp("litellm", 80)),
            ("unix:/run/litellm.sock", Ok(PythonAddress::Unix("/run/litellm.sock".into()))),
            ("unix:litellm.sock", Err(BadAddress::Shape)),
            ("https://litellm:4001", Err(BadAddress::Https)),
            ("http://litellm:4001/base", Err(BadAddress::Trailing)),
            ("http://user@litellm:4001", Err(BadAddress::Trailing)),
            ("http://litellm:99999", Err(BadAddress::Shape)),
            ("http://litellm:", Err(BadAddress::Shape)),
            ("http://[::1]", tcp("::1", 80)),
            ("http://[::1]:99999", Err(BadAddress::Shape)),
            ("litellm:4001", Err(BadAddress::Shape)),
            ("http://", Err(BadAddress::Shape)),
        ] {
            assert_eq!(text.parse::<PythonAddress>(), expected, "{text}");
        }
    }
}
