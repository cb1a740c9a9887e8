//! A whole run: which cases, the three phases, the verdicts, the reports and the evidence.
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    case::{self, Case, CaseError, Expect, Key},
    diff::diff,
    evidence::{self, Origin},
    report::{self, Report, ToleratedUse, Verdict},
    run::{Phase, PhaseResult, RunError, Runner},
    tolerated::{self, RUN, Tolerated, ToleratedError, glob},
    verdict::{CaseResult, Observed, Outcome, judge},
};

#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Tolerated(#[from] ToleratedError),
    #[error("no case matches")]
    NoCase,
    #[error("{0} needs the environment variable {1}: the key of the caller")]
    NoKey(String, String),
    #[error("there is no route {0:?} in the suite")]
    NoRoute(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What is to be run.
#[derive(Debug)]
pub struct Selection {
    pub cases: Vec<Case>,
    pub tolerated: Tolerated,
    /// routes of which every case runs
    pub whole: BTreeSet<String>,
    /// nothing was left out
    pub everything: bool,
}

impl Selection {
    /// Reads the suite; `routes` empty: all of them. `case`: glob over file names.
    pub fn read(suite: &Path, routes: &[String], case: &str) -> Result<Self, SuiteError> {
        let all = case::load(&suite.join("cases"))?;
        let path = suite.join("tolerated.toml");
        let tolerated = match std::fs::read_to_string(&path) {
            Ok(text) => Tolerated::parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tolerated::default(),
            Err(source) => return Err(SuiteError::Io { path, source }),
        };
        if let Some(unknown) = routes.iter().find(|route| !all.iter().any(|case| case.route == **route)) {
            return Err(SuiteError::NoRoute(unknown.clone()));
        }
        let mut whole: BTreeSet<String> = all.iter().map(|case| case.route.clone()).collect();
        let total = all.len();
        let selected = |one: &Case| (routes.is_empty() || routes.contains(&one.route)) && glob(case, one.file());
        let (cases, left): (Vec<_>, Vec<_>) = all.into_iter().partition(selected);
        for case in &left {
            whole.remove(&case.route);
        }
        if cases.is_empty() {
            return Err(SuiteError::NoCase);
        }
        for case in &cases {
            for request in &case.requests {
                if let Key::Env(name) = &request.key.0
                    && std::env::var(name).is_err()
                {
                    return Err(SuiteError::NoKey(case.name.clone(), name.clone()));
                }
            }
        }
        let everything = cases.len() == total;
        Ok(Self { cases, tolerated, whole, everything })
    }

    /// Leaves out cases; how many. Their routes are no longer whole: no evidence is written for them.
    pub fn without(&mut self, left_out: impl Fn(&Case) -> bool) -> usize {
        let before = self.cases.len();
        let whole = &mut self.whole;
        self.cases.retain(|case| {
            let stays = !left_out(case);
            if !stays {
                whole.remove(&case.route);
            }
            stays
        });
        self.everything &= self.cases.len() == before;
        before - self.cases.len()
    }
}

/// Builds of both sides, asserted before.
#[derive(Debug, Clone)]
pub struct Builds {
    pub litellm_version: String,
    /// `None`: the edge does not say; no evidence is written
    pub source_digest: Option<String>,
}

/// Runs the selection. `say`: one line of progress.
pub async fn run(
    runner: &mut Runner,
    selection: &Selection,
    builds: &Builds,
    mut say: impl FnMut(&str),
) -> Result<Report, SuiteError> {
    let started = now();
    let Selection { cases, tolerated, .. } = selection;
    say("warming the Python gateway up");
    runner.warm_up(cases).await?;
    let (mut results, phases) = three_phases(runner, cases, tolerated, &mut say).await?;
    // what LiteLLM writes after it has answered may arrive late on a busy machine, and a clock may turn between two
    // phases: such a case gets one more look
    let moved = moved(runner, cases, &results, &phases).await?;
    let moves = |result: &CaseResult| only_late(result, &BTreeSet::new()) || moved.contains(&result.name);
    let again: Vec<Case> =
        cases.iter().zip(&results).filter(|(_, result)| moves(result)).map(|(case, _)| case.clone()).collect();
    if !again.is_empty() {
        say(&format!("{} cases moved by themselves: once more", again.len()));
        let (second, _) = three_phases(runner, &again, tolerated, &mut say).await?;
        for result in second {
            if let Some(first) = results.iter_mut().find(|first| first.name == result.name) {
                *first = CaseResult { repeated: true, ..result };
            }
        }
    }
    let mut complaints = Vec::new();
    if runner.rows.is_some() {
        complaints.extend(totals(&phases, tolerated));
    }
    let routes = report::count(&results);
    let ran = |route: &str| selection.everything || (!route.contains('*') && selection.whole.contains(route));
    let lists = tolerated.complaints(OffsetDateTime::now_utc().date(), ran);
    complaints.extend(lists.into_iter().map(|(_, complaint)| complaint));
    let worst = routes.values().map(report::RouteCounts::verdict).max().unwrap_or(Verdict::Inconclusive);
    Ok(Report {
        schema: report::SCHEMA,
        result: if complaints.is_empty() { worst } else { Verdict::Red },
        litellm_version: builds.litellm_version.clone(),
        source_digest: builds.source_digest.clone(),
        started,
        finished: now(),
        routes,
        complaints,
        standing: Default::default(),
        tolerated: tolerated.used().map(used).collect(),
        command: String::new(),
        cases: results,
    })
}

fn used((entry, used): (&tolerated::Entry, u64)) -> ToleratedUse {
    ToleratedUse {
        route: entry.route.clone(),
        case: entry.case.clone(),
        location: entry.location.clone(),
        why: entry.why.clone(),
        until: entry.until.to_string(),
        used,
    }
}

async fn three_phases(
    runner: &mut Runner,
    cases: &[Case],
    tolerated: &Tolerated,
    say: &mut impl FnMut(&str),
) -> Result<(Vec<CaseResult>, [PhaseResult; 3]), RunError> {
    say(&format!("{} cases against the Python gateway", cases.len()));
    let python = runner.phase(Phase::Python, cases).await?;
    say("the same again, for the noise");
    let noise = runner.phase(Phase::Noise, cases).await?;
    say("the same against the edge");
    let edge = runner.phase(Phase::Edge, cases).await?;
    let mut results = Vec::with_capacity(cases.len());
    for (((case, a), b), c) in cases.iter().zip(&python.cases).zip(&noise.cases).zip(&edge.cases) {
        results.push(judge(case, a, b, c, tolerated));
    }
    Ok((results, [python, noise, edge]))
}

/// More failures than these are no accident of a clock.
const FEW: usize = 20;

/// Failed cases that Python answers otherwise by now, where the edge differed: asked once more, for a window of time ends
/// between two phases without being noise to either.
async fn moved(
    runner: &mut Runner,
    cases: &[Case],
    results: &[CaseResult],
    [python, ..]: &[PhaseResult; 3],
) -> Result<BTreeSet<String>, RunError> {
    let failed = |result: &CaseResult| result.outcome == Outcome::Failed && !only_late(result, &BTreeSet::new());
    let asked: Vec<_> =
        cases.iter().zip(results).zip(&python.cases).filter(|((_, result), _)| failed(result)).collect();
    if asked.is_empty() || asked.len() > FEW {
        return Ok(BTreeSet::new());
    }
    let cases: Vec<Case> = asked.iter().map(|((case, _), _)| (*case).clone()).collect();
    let now = runner.phase(Phase::Noise, &cases).await?;
    let otherwise = |before: &Observed, now: &Observed| {
        let differences = diff(&before.tree, &now.tree).into_iter().filter(|d| !d.kind.is_recorded_only());
        differences.map(|difference| difference.path).collect::<BTreeSet<_>>()
    };
    let moved =
        asked.iter().zip(&now.cases).filter(|(((_, result), before), now)| only_late(result, &otherwise(before, now)));
    Ok(moved.map(|(((case, _), _), _)| case.name.clone()).collect())
}

/// Only noise, or only what is written after the answer, or stands at one of these places.
fn only_late(result: &CaseResult, places: &BTreeSet<String>) -> bool {
    let excused = |path: &str| is_late(path) || places.contains(path);
    result.outcome != Outcome::Passed && result.blamed().all(|judged| judged.noise || excused(&judged.difference.path))
}

/// Written after the answer, or a matter of milliseconds.
fn is_late(path: &str) -> bool {
    ["redis.", "rows."].iter().any(|late| path.starts_with(late)) || path.contains("].arrival[")
}

/// The daily tables have no column that tells cases apart: they are compared by phase.
fn totals([python, noise, edge]: &[PhaseResult; 3], tolerated: &Tolerated) -> Vec<String> {
    let tree = |phase: &PhaseResult| json!({ "totals": phase.totals });
    let noisy = diff(&tree(python), &tree(noise));
    let mut complaints = Vec::new();
    for difference in diff(&tree(python), &tree(edge)).into_iter().chain(noisy) {
        if !difference.kind.is_recorded_only() && !tolerated.allows(&RUN, &difference) {
            complaints.push(format!(
                "{} {}: Python {}, edge or noise {}",
                difference.path,
                difference.kind,
                json!(difference.python),
                json!(difference.other)
            ));
        }
    }
    complaints
}

/// Writes the reports. `report` must have been [`Report::redacted`].
pub fn write_reports(report: &Report, out: &Path, junit: Option<&Path>) -> Result<(), SuiteError> {
    let put =
        |path: PathBuf, text: String| std::fs::write(&path, text).map_err(|source| SuiteError::Io { path, source });
    std::fs::create_dir_all(out).map_err(|source| SuiteError::Io { path: out.to_owned(), source })?;
    let json =
        report::json(report).map_err(|e| SuiteError::Io { path: out.to_owned(), source: io::Error::other(e) })?;
    put(out.join("report.json"), json)?;
    put(out.join("report.html"), report::html(report))?;
    put(junit.map_or_else(|| out.join("junit.xml"), Path::to_owned), report::junit(report))
}

/// Writes the evidence of every route whose cases all ran; the routes written.
pub fn write_evidence(report: &Report, selection: &Selection, suite: &Path) -> Result<Vec<String>, SuiteError> {
    let Some(source_digest) = &report.source_digest else { return Ok(Vec::new()) };
    let origin = Origin {
        suite,
        source_digest,
        litellm_version: &report.litellm_version,
        started: &report.started,
        finished: &report.finished,
    };
    let mut written = Vec::new();
    for (route, counts) in &report.routes {
        // a route none of whose cases is native has nothing to prove
        let native = selection.cases.iter().any(|case| case.route == *route && case.expect == Expect::Native);
        if !native || !selection.whole.contains(route) {
            continue;
        }
        // a complaint is about the run: no route of it is proven
        let verdict = if report.complaints.is_empty() { counts.verdict() } else { Verdict::Red };
        let io = |source| SuiteError::Io { path: suite.join("evidence"), source };
        let record = evidence::record(&origin, route, verdict, *counts).map_err(io)?;
        evidence::write(suite, &record).map_err(io)?;
        written.push(format!("{route} {}", verdict.as_str()));
    }
    Ok(written)
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of which Python says `python`, and the edge `edge`, at `response[0].body/reset_at` and `/left`.
    fn result(python: [u8; 2], edge: [u8; 2]) -> CaseResult {
        let text = "{route: r, why: w, expect: native, request: {method: GET, path: /}}";
        let case = case::parse(Path::new("r/x.yaml"), text).unwrap();
        let [python, edge] = [python, edge].map(|[reset_at, left]| Observed {
            tree: json!({"response": [{"status": 200, "body": {"reset_at": reset_at, "left": left}}]}),
            served_by: vec![Some("native".into())],
            ..Observed::default()
        });
        judge(&case, &python, &python, &edge, &Tolerated::default())
    }

    #[test]
    fn a_clock_that_turned_excuses_its_own_place_alone() {
        let turned = BTreeSet::from(["response[0].body/reset_at".to_owned()]);
        assert!(only_late(&result([14, 1], [15, 1]), &turned));
        assert!(!only_late(&result([14, 1], [15, 1]), &BTreeSet::new()));
        assert!(!only_late(&result([14, 1], [15, 2]), &turned));
        // what passed is not looked at again
        assert!(!only_late(&result([14, 1], [14, 1]), &turned));
    }
}
