//! What `GET /edge/routes`, `POST /edge/switch` and `routes status` show. Pure: everything comes in as arguments,
//! nothing of a request does.
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    decide::{PythonReason, blocked},
    handle::{HandleStatus, ManifestHandle, SwitchState},
    matcher::{Entry, Manifest},
    schema::Mode,
    version::PythonVersion,
};
use crate::telemetry::{Metrics, access_log::Side, metrics::RouteMetrics};

/// How a route runs at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// the mode in force: `Python` where something stands against the entry's own
    pub mode: Mode,
    /// why it is Python
    pub reason: Option<PythonReason>,
}

/// Works out how an entry runs.
pub fn effective(
    manifest: &Manifest,
    entry: &Entry,
    now: SystemTime,
    all_python: bool,
    python: PythonVersion,
) -> Effective {
    match blocked(entry, now, all_python, python, manifest) {
        Some(reason) => Effective { mode: Mode::Python, reason: Some(reason) },
        None => Effective { mode: entry.route.mode, reason: None },
    }
}

/// Requests of one route since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteCounts {
    pub native: u64,
    pub python: u64,
    /// by reason
    pub declines: BTreeMap<String, u64>,
}

/// Requests by route label.
pub type Counters = BTreeMap<String, RouteCounts>;

/// Reads the counters out of the metrics. What the edge answered itself (its own pages, refusals) is not in them.
pub fn counters(metrics: &Metrics) -> Counters {
    let counts = |route: &RouteMetrics| RouteCounts {
        native: route.totals(Side::Native).requests,
        python: route.totals(Side::Python).requests,
        declines: route.declines().into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
    };
    metrics.seen_routes().iter().map(|route| (route.id().to_owned(), counts(route))).collect()
}

/// Everything the status page depends on besides the manifest.
pub struct StatusInput<'a> {
    pub handle: &'a HandleStatus,
    pub python: PythonVersion,
    pub counters: &'a Counters,
    pub now: SystemTime,
}

/// The body of `GET /edge/routes`.
pub fn routes_body(manifest: &Manifest, input: &StatusInput<'_>) -> Value {
    let StatusInput { handle, python, counters, now } = input;
    let none = RouteCounts::default();
    let counts = |id: &str| counters.get(id).unwrap_or(&none);
    // whatever label the edge gives to what no entry matches
    let mut unlisted = RouteCounts::default();
    for (_, counts) in counters.iter().filter(|(id, _)| !manifest.entries.iter().any(|entry| *entry.id == ***id)) {
        unlisted.native += counts.native;
        unlisted.python += counts.python;
    }
    let routes: Vec<Value> = manifest
        .entries
        .iter()
        .map(|entry| {
            let effective = effective(manifest, entry, *now, handle.switch.on(), *python);
            route_value(entry, effective, counts(&entry.id), *now)
        })
        .collect();
    json!({
        "schema": 1,
        "file": {
            "path": handle.places.routes.display().to_string(),
            "digest": manifest.digest,
            "loaded": rfc3339(handle.loaded),
            "refused": handle.refused.as_ref().map(|refused| json!({
                "message": refused.message,
                "at": rfc3339(refused.at),
            })),
        },
        "switch": switch_body(handle.switch),
        "python": {
            "version": handle.python_version,
            "versions": manifest.file.versions.to_string(),
            "in_range": match python {
                PythonVersion::Unknown => Value::Null,
                known => manifest.file.versions.admits(*known).into(),
            },
        },
        "gate": {
            "enforced": !manifest.ungated,
            "evidence": handle.places.evidence.display().to_string(),
            "max_age_seconds": manifest.file.max_age.as_secs(),
        },
        "routes": routes,
        "unlisted": { "native": unlisted.native, "python": unlisted.python },
    })
}

fn route_value(entry: &Entry, effective: Effective, counts: &RouteCounts, now: SystemTime) -> Value {
    let route = &entry.route;
    let methods = route.methods.as_ref().map(|list| list.iter().map(|method| method.as_str()).collect::<Vec<_>>());
    let mut value = json!({
        "id": route.id,
        "mode": route.mode.as_str(),
        "effective": effective.mode.as_str(),
        "reason": effective.reason.map(PythonReason::as_str),
        "why": effective.reason.map(|reason| reason_text(entry, reason, now)),
        "methods": methods,
        "paths": route.paths.iter().map(|path| path.pattern.as_str()).collect::<Vec<_>>(),
        "requests": counts_value(counts),
    });
    let Value::Object(object) = &mut value else { return value };
    if let Some(canary) = route.canary {
        object.insert("canary".into(), json!({ "percent": canary.percent, "key": canary.key.as_str() }));
    }
    if let Some(providers) = &route.providers {
        object.insert("providers".into(), json!(providers));
    }
    if !route.accept.is_empty() {
        object.insert("accept".into(), json!(route.accept));
    }
    if let Some(owner) = &route.owner {
        object.insert("owner".into(), json!(owner));
    }
    if !route.tolerate.is_empty() {
        let of = |tolerate: &super::schema::Tolerate| json!({ "what": tolerate.what, "why": tolerate.why, "until": tolerate.until.to_string() });
        object.insert("tolerate".into(), route.tolerate.iter().map(of).collect());
    }
    // only native routes can have evidence
    if entry.native_route().is_some() {
        object.insert("evidence".into(), evidence_value(entry, now));
    }
    value
}

fn evidence_value(entry: &Entry, now: SystemTime) -> Value {
    let verdict = entry.evidence.verdict(now);
    let mut value = Map::new();
    value.insert("verdict".into(), verdict.as_str().into());
    value.insert("why".into(), verdict.why().into());
    if let Some(record) = &entry.evidence.record {
        value.insert("age_seconds".into(), json!(entry.evidence.age(now).map(|age| age.as_secs())));
        value.insert("result".into(), json!(record.result));
        value.insert("litellm_version".into(), json!(record.litellm_version));
        value.insert("finished".into(), json!(record.finished));
        value.insert("cases".into(), json!(record.cases));
    }
    Value::Object(value)
}

fn counts_value(counts: &RouteCounts) -> Value {
    json!({ "native": counts.native, "python": counts.python, "declines": counts.declines })
}

/// Why a route runs in Python, with the evidence's own word where it is to blame.
pub fn reason_text(entry: &Entry, reason: PythonReason, now: SystemTime) -> String {
    match reason {
        PythonReason::NoEvidence | PythonReason::StaleEvidence => entry.evidence.verdict(now).why().to_owned(),
        reason => reason.why().to_owned(),
    }
}

/// The body of `POST /edge/switch`, and the switch on the status page.
pub fn switch_body(state: SwitchState) -> Value {
    let by = [("env", state.env), ("file", state.file), ("admin", state.admin)];
    let by: Vec<&str> = by.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    json!({ "all_python": state.on(), "by": by })
}

/// What is wrong with the body of a `POST /edge/switch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body must be {{\"all_python\": true}} or {{\"all_python\": false}}")]
pub struct SwitchBodyError;

/// `POST /edge/switch`: turns the admin's kill switch and says what holds now. Who may do so is the caller's to check.
/// Nothing but `{"all_python": true|false}` turns it, so that a slip does not do the opposite of what was meant.
pub fn post_switch(handle: &ManifestHandle, body: &[u8]) -> Result<Value, SwitchBodyError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        all_python: bool,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| SwitchBodyError)?;
    Ok(switch_body(handle.switch(body.all_python)))
}

impl ManifestHandle {
    /// Sets the gauges of routes and their evidence, for who is about to read them.
    pub(super) fn measure(&self, metrics: &Metrics, now: SystemTime) {
        let (manifest, all_python, python) = (self.load(), self.all_python(), self.python_version());
        // a route that has left the file leaves the metrics as well
        [&metrics.route_wanted, &metrics.route_native, &metrics.evidence_fresh]
            .iter()
            .for_each(|gauges| gauges.reset());
        metrics.evidence_age.reset();
        metrics.evidence_max_age.set(manifest.file.max_age.as_secs_f64());
        for entry in manifest.entries.iter().filter(|entry| entry.native_route().is_some()) {
            let set = |gauges: &prometheus::IntGaugeVec, on: bool| {
                gauges.with_label_values(&[&*entry.id]).set(i64::from(on));
            };
            let runs = effective(&manifest, entry, now, all_python, python).mode;
            set(&metrics.route_wanted, entry.route.mode != Mode::Python);
            set(&metrics.route_native, runs != Mode::Python);
            set(&metrics.evidence_fresh, entry.evidence.verdict(now) == super::gate::Verdict::Fresh);
            if let Some(age) = entry.evidence.age(now) {
                metrics.evidence_age.with_label_values(&[&*entry.id]).set(age.as_secs_f64());
            }
        }
    }

    /// The body of `GET /edge/routes` at this moment.
    pub fn routes_body(&self, counters: &Counters, now: SystemTime) -> Value {
        let input = StatusInput { handle: &self.status(), python: self.python_version(), counters, now };
        routes_body(&self.load(), &input)
    }
}

/// Whole seconds.
pub fn rfc3339(time: SystemTime) -> Option<String> {
    let whole = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    OffsetDateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(whole)).format(&Rfc3339).ok()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
