//! `GET /edge/status`: all that the status page shows, as JSON (docs/status.md). Put together from what is in memory;
//! it must never wait, and never hold anything of a request.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    admin::{AdminRoute, json_reply},
    state::Edge,
};
use crate::{
    manifest::{ManifestHandle, status as manifest_status},
    telemetry::{
        access_log::Side,
        history::{EVERY, History, SLOTS, SideSlot, Totals},
        metrics::RouteMetrics,
    },
};

/// Why config.yaml as it is now is not in force.
pub type ConfigRefused = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// `GET /edge/status` and `GET /edge/metrics`.
pub fn status_pages(
    manifest: Option<&ManifestHandle>,
    history: Arc<History>,
    config_refused: ConfigRefused,
) -> Vec<AdminRoute> {
    let manifest = manifest.cloned();
    let status = move |edge: &Edge| body(edge, manifest.as_ref(), &history, config_refused());
    vec![
        AdminRoute {
            method: Method::GET,
            path: "/edge/status",
            handler: Arc::new(move |_, _, edge| json_reply(StatusCode::OK, &status(edge))),
        },
        AdminRoute {
            method: Method::GET,
            path: "/edge/metrics",
            handler: Arc::new(|_, _, edge| crate::routes::metrics::reply(&edge.services.metrics)),
        },
    ]
}

fn body(edge: &Edge, manifest: Option<&ManifestHandle>, history: &History, config_refused: Option<String>) -> Value {
    let now = SystemTime::now();
    let known = manifest.map(|manifest| {
        let counters = manifest_status::counters(&edge.services.metrics);
        manifest.routes_body(&counters, now)
    });
    let mut known = match known {
        Some(Value::Object(known)) => known,
        _ => Map::new(),
    };
    let routes = match known.remove("routes") {
        Some(Value::Array(routes)) => routes,
        _ => Vec::new(),
    };
    let (routes, others) = with_traffic(edge, routes, history);
    json!({
        "schema": 1,
        "now": rfc3339(now),
        "slot_seconds": EVERY.as_secs(),
        "window_seconds": EVERY.as_secs() * SLOTS as u64,
        "edge": process(edge, now),
        "python": python(edge, known.remove("python")),
        "stores": edge.services.control.status(edge.services.health.database()),
        "switch": known.remove("switch"),
        "gate": known.remove("gate"),
        "routes_file": known.remove("file"),
        "config": config(edge, config_refused),
        "routes": routes,
        "others": others,
    })
}

fn process(edge: &Edge, now: SystemTime) -> Value {
    let metrics = &edge.services.metrics;
    let usage = metrics.process();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let in_flight = |side| metrics.in_flight(side).get();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "source_digest": crate::manifest::digest::SOURCE_DIGEST,
        "state": edge.drain.state(),
        "pid": std::process::id(),
        "uptime_seconds": (now - usage.started).max(0.0) as u64,
        "in_flight": { "native": in_flight(Side::Native), "python": in_flight(Side::Python) },
        "connections": edge.drain.connections(),
        "memory_bytes": usage.resident_bytes,
        "cpu_seconds": usage.cpu_seconds,
        "threads": usage.threads,
        "open_files": usage.open_files,
        "max_files": usage.max_files,
        "body_memory_bytes": edge.config.body_budget.saturating_sub(edge.bodies.left()),
        "body_budget_bytes": edge.config.body_budget,
    })
}

/// What the prober knows, and what the manifest says about versions.
fn python(edge: &Edge, versions: Option<Value>) -> Value {
    let mut value = match &edge.python {
        None => json!({ "state": "not_configured" }),
        Some(target) => {
            let view = edge.python_health.view();
            json!({
                "state": view.state.as_str(),
                "address": target.address.to_string(),
                "since_seconds": view.since.as_secs(),
                "last_up_seconds_ago": view.last_up.map(|ago| ago.as_secs()),
                "last_error": view.last_error,
            })
        }
    };
    if let (Some(value), Some(Value::Object(versions))) = (value.as_object_mut(), versions) {
        value.extend(versions);
    }
    value
}

fn config(edge: &Edge, refused: Option<String>) -> Value {
    let snapshot = edge.snapshot.load();
    let loaded = edge.services.metrics.loaded.with_label_values(&["config"]).get();
    let loaded = (loaded > 0.0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(loaded));
    let declines: Vec<Value> = snapshot
        .declines
        .iter()
        .map(|found| json!({ "key": found.key, "reason": found.decline.as_str(), "why": found.decline.why() }))
        .collect();
    json!({
        "digest": snapshot.digest,
        "loaded": loaded.and_then(rfc3339),
        "refused": refused,
        "model_groups": snapshot.groups.len(),
        "declines": declines,
    })
}

/// Adds each route's traffic; the second list is what no entry of routes.toml stands for.
fn with_traffic(edge: &Edge, mut routes: Vec<Value>, history: &History) -> (Vec<Value>, Vec<Value>) {
    let metrics = &edge.services.metrics;
    let mut listed = Vec::new();
    for route in &mut routes {
        let Some(route) = route.as_object_mut() else { continue };
        let Some(id) = route.get("id").and_then(Value::as_str).map(str::to_owned) else { continue };
        route.remove("requests");
        route.insert("traffic".to_owned(), traffic(&metrics.route(&id), history));
        listed.push(id);
    }
    let seen = metrics.seen_routes();
    let others = seen.iter().filter(|route| !listed.iter().any(|id| id == route.id()));
    let others =
        others.map(|route| json!({ "id": route.id(), "note": note(route.id()), "traffic": traffic(route, history) }));
    (routes, others.collect())
}

fn note(id: &str) -> &'static str {
    match id {
        "edge" => "the edge's own pages and refusals",
        "other" | super::decide::UNLISTED => "no entry of routes.toml matches: Python",
        _ => "no longer in routes.toml",
    }
}

fn traffic(route: &RouteMetrics, history: &History) -> Value {
    let totals = Totals::of(route);
    let view = history.view(route.id(), &totals);
    let series = |of: fn(&crate::telemetry::history::Slot) -> u32| view.slots.iter().map(of).collect::<Vec<u32>>();
    let declines: Vec<Value> = route
        .declines()
        .into_iter()
        .map(|(reason, count)| json!({ "reason": reason.as_str(), "count": count, "why": reason.why() }))
        .collect();
    json!({
        "total": {
            "native": totals.native.requests,
            "python": totals.python.requests,
            "edge": totals.edge.requests,
            "declined": totals.declined,
        },
        "window": {
            "native": side(&view.window.native),
            "python": side(&view.window.python),
            "edge": view.window.edge,
            "declined": view.window.declined,
        },
        "history": {
            "native": series(|slot| slot.native.requests),
            "python": series(|slot| slot.python.requests),
            "edge": series(|slot| slot.edge),
            "failed": series(|slot| slot.native.failed.saturating_add(slot.python.failed)),
            "declined": series(|slot| slot.declined),
        },
        "declines": declines,
    })
}

fn side(slot: &SideSlot) -> Value {
    let millis = |share| slot.quantile(share).map(|seconds| (seconds * 1e6).round() / 1e3);
    json!({
        "requests": slot.requests,
        "refused": slot.refused,
        "failed": slot.failed,
        "aborted": slot.aborted,
        "p50_ms": millis(0.5),
        "p90_ms": millis(0.9),
        "p99_ms": millis(0.99),
    })
}

fn rfc3339(time: SystemTime) -> Option<String> {
    manifest_status::rfc3339(time)
}
