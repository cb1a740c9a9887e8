//! LiteLLM's whole route table, for the lint. Data: `data/litellm-routes.json`, in the order in which LiteLLM matches.
use std::collections::BTreeSet;

use super::pattern::{Pattern, Piece};

const TABLE: &str = include_str!("../../data/litellm-routes.json");

/// Routes that LiteLLM adds only with certain settings, so that its table at rest has none of them: path, method, group.
const AT_RUN_TIME: &[(&str, &str, &str)] = &[
    // `callbacks: [prometheus]` (integrations/prometheus.py `_mount_metrics_endpoint`)
    ("/metrics", "GET", "metrics"),
];

/// How LiteLLM serves a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    Http,
    WebSocket,
    /// everything below the path, every method
    Mount,
}

/// One route of LiteLLM.
#[derive(Debug, Clone)]
pub struct LiteLlmRoute {
    pub pattern: Pattern,
    /// empty for mounts and WebSockets
    pub methods: Vec<String>,
    /// our name for its family
    pub group: String,
    pub kind: RouteKind,
}

impl LiteLlmRoute {
    /// Whether an HTTP request with that method is served.
    pub fn serves(&self, method: &str) -> bool {
        match self.kind {
            RouteKind::Mount => true,
            RouteKind::WebSocket => false,
            RouteKind::Http => self.methods.iter().any(|served| served == method),
        }
    }
}

/// LiteLLM's route table.
#[derive(Debug, Clone)]
pub struct LiteLlmTable {
    pub version: String,
    /// in order of matching
    pub routes: Vec<LiteLlmRoute>,
}

/// The embedded table could not be read: a broken build.
#[derive(Debug, thiserror::Error)]
#[error("the embedded table of LiteLLM's routes is broken: {0}")]
pub struct TableError(String);

#[derive(serde::Deserialize)]
struct Raw {
    litellm: String,
    routes: Vec<Vec<String>>,
}

impl LiteLlmTable {
    pub fn embedded() -> Result<Self, TableError> {
        let raw: Raw = serde_json::from_str(TABLE).map_err(|error| TableError(error.to_string()))?;
        let mut routes = Vec::with_capacity(raw.routes.len());
        for row in &raw.routes {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            routes.push(match row.as_slice() {
                [path, methods, group] => route(path, methods, group, RouteKind::Http)?,
                [path, "", group, "websocket"] => route(path, "", group, RouteKind::WebSocket)?,
                // a mount answers below its path only (starlette Mount: path + "/{path:path}")
                [path, "", group, "mount"] => route(&format!("{path}/{{path:path}}"), "", group, RouteKind::Mount)?,
                _ => return Err(TableError(format!("row {row:?}"))),
            });
        }
        for (path, methods, group) in AT_RUN_TIME {
            routes.push(route(path, methods, group, RouteKind::Http)?);
        }
        Ok(Self { version: raw.litellm, routes })
    }

    /// The ids a route entry may have besides those of native routes: the groups, and the first segments of paths.
    pub fn family_ids(&self) -> BTreeSet<String> {
        let segments = self.routes.iter().filter_map(|route| route.pattern.first_segment());
        let versions = ["", "v1", "v2", "v3", "v1beta"];
        let segments = segments.filter(|segment| !versions.contains(segment)).map(|segment| segment.replace('-', "_"));
        self.routes.iter().map(|route| route.group.clone()).chain(segments).collect()
    }
}

fn route(path: &str, methods: &str, group: &str, kind: RouteKind) -> Result<LiteLlmRoute, TableError> {
    let pattern = Pattern::parse(path).map_err(|error| TableError(format!("{path}: {error}")))?;
    let methods = methods.split_whitespace().map(str::to_owned).collect();
    Ok(LiteLlmRoute { pattern, methods, group: group.to_owned(), kind })
}

/// Whether two patterns are the same but for the names of their variables.
pub(super) fn same_shape(a: &Pattern, b: &Pattern) -> bool {
    let shape = |piece: &Piece| match piece {
        Piece::Segment(_) => Piece::Segment(String::new()),
        Piece::Path(_) => Piece::Path(String::new()),
        other => other.clone(),
    };
    a.pieces.iter().map(shape).eq(b.pieces.iter().map(shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_litellms() {
        let table = LiteLlmTable::embedded().unwrap();
        assert_eq!(table.version, "1.106.2");
        assert_eq!(table.routes.len(), 1014 + AT_RUN_TIME.len());
        let of = |path: &str| {
            let routes = table.routes.iter().filter(|route| route.pattern.as_str() == path);
            routes.flat_map(|route| route.methods.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of("/v1/chat/completions"), ["POST"]);
        assert_eq!(of("/health/liveliness"), ["GET", "OPTIONS"]);
        assert!(table.routes.iter().any(|route| route.kind == RouteKind::WebSocket));
        assert!(table.routes.iter().any(|route| route.kind == RouteKind::Mount));
        let ids = table.family_ids();
        assert!(["key", "responses", "mcp", "claude_code"].iter().all(|id| ids.contains(*id)));
    }
}
