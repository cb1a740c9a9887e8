//! Which side serves a request, as the edge asks it: method and raw path in, [`Decision`] out. The answer comes from
//! the manifest (routes.toml); this module only has the question's shape and the simplest answers to it.
use std::sync::Arc;

use http::Method;

pub use crate::manifest::decide::Caller;
use crate::routes::{Decline, NativeRoute, PathParams, RoutePolicy};

/// What the manifest says about one request, before its headers' meaning or body are looked at.
#[derive(Clone)]
pub enum Decision {
    /// The Python gateway serves it.
    Python {
        /// the route's id for logs and metrics: a native route's, a routes.toml entry's, or [`UNLISTED`]
        route: Arc<str>,
        /// why, for logs and the status page: `mode`, `evidence`, `kill_switch`, `unlisted`, ...
        reason: &'static str,
    },
    /// A native candidate: the route's admission decides next.
    Native { route: &'static NativeRoute, params: Arc<PathParams>, policy: Arc<RoutePolicy> },
}

/// The label of paths that no entry names.
pub const UNLISTED: &str = "unlisted";

/// The manifest as the edge sees it. Must be cheap and must not block: it is asked once for every request.
pub trait Decider: Send + Sync {
    /// `path` is raw, without query.
    fn decide(&self, method: &Method, path: &str, caller: Caller<'_>) -> Decision;

    /// Told when the Python gateway says which LiteLLM it is.
    fn python_version(&self, _: Option<&str>) {}

    /// Told after each decline of a native candidate, so that the status page can count.
    fn declined(&self, _route: &'static NativeRoute, _reason: Decline) {}
}

/// Everything to Python.
#[derive(Debug, Default)]
pub struct AllPython;

impl Decider for AllPython {
    fn decide(&self, _: &Method, _: &str, _: Caller<'_>) -> Decision {
        Decision::Python { route: UNLISTED.into(), reason: UNLISTED }
    }
}

/// Every route of a table natively, wherever method and literal path match; for tests and for a run without routes.toml.
pub struct AllNative {
    routes: &'static [NativeRoute],
    unlisted: Arc<str>,
    policy: Arc<RoutePolicy>,
}

impl AllNative {
    pub fn new(routes: &'static [NativeRoute]) -> Self {
        Self { routes, unlisted: UNLISTED.into(), policy: Arc::default() }
    }
}

impl Decider for AllNative {
    fn decide(&self, method: &Method, path: &str, _: Caller<'_>) -> Decision {
        let found = self.routes.iter().find(|route| route.methods.contains(method) && route.paths.contains(&path));
        match found {
            Some(route) => Decision::Native { route, params: Arc::default(), policy: self.policy.clone() },
            None => Decision::Python { route: self.unlisted.clone(), reason: UNLISTED },
        }
    }
}

/// The caller's key as sent, by LiteLLM's precedence: what a canary is sticky by. Only ever hashed.
pub(super) fn presented_key(headers: &http::HeaderMap) -> Option<&[u8]> {
    const NAMES: [&str; 5] = ["x-litellm-api-key", "authorization", "api-key", "x-api-key", "x-goog-api-key"];
    NAMES.iter().find_map(|name| headers.get(*name)).map(|value| value.as_bytes())
}
