//! Evidence: the record of one run for one route, in the manifest's own schema. It holds counts and digests, no
//! request and no answer. Written only for routes whose cases all ran, between builds that said who they are.
use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::report::{RouteCounts, Verdict};
use crate::manifest::{
    digest::{self, SOURCE_DIGEST},
    gate::{CaseCounts, Evidence, EvidenceRecord, Expectations, RunResult},
    schema::RoutesFile,
};

/// The facts of a run that every record of it shares.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// folder of the suite
    pub suite: &'a Path,
    /// of the edge under test
    pub source_digest: &'a str,
    pub litellm_version: &'a str,
    /// RFC 3339
    pub started: &'a str,
    pub finished: &'a str,
}

/// The record of one route.
pub fn record(origin: &Origin<'_>, route: &str, verdict: Verdict, counts: RouteCounts) -> io::Result<EvidenceRecord> {
    let digests = digest::suite(origin.suite, route)?;
    Ok(EvidenceRecord {
        schema: 1,
        route: route.to_owned(),
        result: match verdict {
            Verdict::Green => RunResult::Green,
            Verdict::Red => RunResult::Red,
            Verdict::Inconclusive => RunResult::Inconclusive,
        },
        source_digest: origin.source_digest.to_owned(),
        litellm_version: origin.litellm_version.to_owned(),
        cases_digest: digests.cases,
        tolerated_digest: digests.tolerated,
        reference_config_digest: digests.reference_config,
        cases: CaseCounts {
            total: counts.total,
            passed: counts.passed,
            failed: counts.failed,
            tolerated: counts.tolerated,
        },
        started: origin.started.to_owned(),
        finished: origin.finished.to_owned(),
    })
}

fn file(suite: &Path, route: &str) -> PathBuf {
    suite.join("evidence").join(format!("{route}.json"))
}

/// Writes it whole or not at all.
pub fn write(suite: &Path, record: &EvidenceRecord) -> io::Result<()> {
    let path = file(suite, &record.route);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_string_pretty(record).map_err(io::Error::other)?;
    text.push('\n');
    let new = path.with_extension("json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

/// When the run of a route's evidence ended (RFC 3339); `None`: there is none.
pub fn finished(suite: &Path, route: &str) -> Option<String> {
    let bytes = std::fs::read(file(suite, route)).ok()?;
    Some(serde_json::from_slice::<EvidenceRecord>(&bytes).ok()?.finished)
}

/// May this route be native? The gate's own judgement: `Ok` with a word, `Err((exit code, why))`.
pub fn can_flip(suite: &Path, routes: &RoutesFile, route: &str, now: SystemTime) -> Result<String, (u8, String)> {
    let digests = digest::suite(suite, route).map_err(|error| (4, format!("the suite cannot be read: {error}")))?;
    let read = std::fs::read(file(suite, route));
    let bytes = match &read {
        Ok(bytes) => Ok(Some(bytes.as_slice())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(()),
    };
    let wanted = Expectations {
        route,
        source_digest: SOURCE_DIGEST,
        versions: &routes.versions,
        max_age: routes.max_age,
        suite: Some(&digests),
    };
    let evidence = Evidence::judge(bytes, &wanted);
    use crate::manifest::gate::Verdict as Gate;
    match evidence.verdict(now) {
        Gate::Fresh => {
            let total = evidence.record.map_or(0, |record| record.cases.total);
            Ok(format!("{route}: yes, {total} cases are green"))
        }
        Gate::Red => Err((1, format!("{route}: no, {}", Gate::Red.why()))),
        other => Err((4, format!("{route}: unknown, {}", other.why()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing::TempDir;

    const ROUTES: &str = "schema = 1\n[python]\nurl = \"http://127.0.0.1:4001\"\nversions = \"=1.106.2\"\n";

    #[test]
    fn the_gate_reads_what_a_run_writes() {
        let dir = TempDir::new();
        let suite = dir.path();
        std::fs::create_dir_all(suite.join("cases/messages")).unwrap();
        std::fs::write(suite.join("cases/messages/a.yaml"), "x").unwrap();
        let routes = crate::manifest::schema::parse("routes.toml", ROUTES).unwrap();
        let now = || SystemTime::now();
        assert_eq!(can_flip(suite, &routes, "messages", now()).unwrap_err().0, 4, "no evidence");

        let stamp = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap();
        let origin = Origin {
            suite,
            source_digest: SOURCE_DIGEST,
            litellm_version: "1.106.2",
            started: &stamp,
            finished: &stamp,
        };
        let counts = RouteCounts { total: 2, passed: 2, tolerated: 1, ..RouteCounts::default() };
        write(suite, &record(&origin, "messages", Verdict::Green, counts).unwrap()).unwrap();
        assert!(can_flip(suite, &routes, "messages", now()).unwrap().contains("2 cases"));

        write(suite, &record(&origin, "messages", Verdict::Red, RouteCounts { failed: 1, ..counts }).unwrap()).unwrap();
        assert_eq!(can_flip(suite, &routes, "messages", now()).unwrap_err().0, 1);

        for changed in ["cases/messages/b.yaml", "clients/node_clients.mjs"] {
            write(suite, &record(&origin, "messages", Verdict::Green, counts).unwrap()).unwrap();
            can_flip(suite, &routes, "messages", now()).unwrap();
            std::fs::create_dir_all(suite.join("clients")).unwrap();
            std::fs::write(suite.join(changed), "y").unwrap();
            let (code, why) = can_flip(suite, &routes, "messages", now()).unwrap_err();
            assert!(code == 4 && why.contains("route's cases, or the programs of their clients, have"), "{why}");
        }
    }
}
