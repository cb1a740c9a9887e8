//! No family of LiteLLM's routes is forgotten: each entry of the shipped routes.toml (which the lint holds against
//! LiteLLM's whole route table) and each group of that table has a case, or stands in `parity-tests/uncovered.toml` with
//! the reason why the reference cannot answer it.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::SystemTime,
};

use super::case::{self, Request};
use crate::{
    manifest::{
        Caller, ManifestHandle,
        litellm::{LiteLlmRoute, LiteLlmTable, RouteKind},
    },
    routes::table::NATIVE_ROUTES,
};

fn root(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn requests() -> Vec<Request> {
    case::load(&root("parity-tests/cases")).unwrap().into_iter().flat_map(|case| case.requests).collect()
}

/// Method and path as matching sees them; a WebSocket's as the table has it.
fn asked(request: &Request) -> (&str, &str, bool) {
    let upgrade = request.headers.keys().any(|name| name.eq_ignore_ascii_case("upgrade"));
    (&request.method, request.path.split('?').next().unwrap_or_default(), upgrade)
}

fn serves(route: &LiteLlmRoute, request: &Request) -> bool {
    let (method, path, upgrade) = asked(request);
    let kind = if upgrade { route.kind == RouteKind::WebSocket } else { route.serves(method) };
    kind && route.pattern.matches(path)
}

fn uncovered() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root("parity-tests/uncovered.toml")).unwrap();
    let table: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&text).unwrap();
    table.into_values().flatten().collect()
}

#[test]
fn every_family_has_a_case_or_a_reason() {
    let requests = requests();
    let mut covered = BTreeSet::new();
    let manifest = ManifestHandle::open(&root("routes.toml"), NATIVE_ROUTES, None, None).unwrap();
    for request in &requests {
        let (method, path, _) = asked(request);
        let Ok(method) = method.parse() else { continue };
        covered.insert(manifest.decide(&method, path, Caller::default(), SystemTime::now()).route_id.to_string());
    }
    let table = LiteLlmTable::embedded().unwrap().routes;
    for request in &requests {
        covered.extend(table.iter().find(|route| serves(route, request)).map(|route| route.group.clone()));
    }
    let file = manifest.load();
    let families: BTreeSet<String> = file
        .entries
        .iter()
        .map(|entry| entry.id.to_string())
        .chain(table.iter().map(|route| route.group.clone()))
        .collect();
    let reasons = uncovered();
    let missing: Vec<_> = families.iter().filter(|id| !covered.contains(*id) && !reasons.contains_key(*id)).collect();
    assert!(missing.is_empty(), "no case and no reason: {missing:?}");
    for (id, reason) in &reasons {
        assert!(families.contains(id), "{id} is no family");
        assert!(!covered.contains(id), "{id} has a case: take it off the list");
        assert!(reason.len() > 20, "{id}: {reason:?} is no reason");
    }
}

/// Routes that no case asks for may only become fewer.
#[test]
fn most_routes_are_asked_for() {
    let (requests, table) = (requests(), LiteLlmTable::embedded().unwrap().routes);
    let asked = table.iter().filter(|route| requests.iter().any(|request| serves(route, request))).count();
    println!("{asked} of {} routes of LiteLLM are asked for by a case", table.len());
    assert!(asked >= 380, "{asked}");
}
