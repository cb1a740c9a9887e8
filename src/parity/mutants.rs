//! Mutation smoke: is every fault of [`faults::TABLE`] noticed by the suite, where it should be? Only in builds with
//! the feature `faults`. Python is asked once for all of them; each fault has an edge of its own. It must never write
//! evidence.
use std::{fmt::Write, path::PathBuf};

use super::{
    case::Case,
    managed::{EdgePlace, Managed, ManagedError},
    report::{self, Verdict},
    run::{Phase, PhaseResult, RunError, Runner},
    suite::{Selection, SuiteError},
    tolerated::{covers, glob},
    verdict::{CaseResult, judge},
};
use crate::faults::{Row, TABLE, VARIABLE};

#[derive(Debug, thiserror::Error)]
pub enum MutantsError {
    #[error(transparent)]
    Suite(#[from] SuiteError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Managed(#[from] ManagedError),
    #[error("no case of the suite is {0} {1}")]
    NoCase(&'static str, &'static str),
    #[error("no fault is named like {0:?}")]
    NoFault(String),
}

/// What became of one fault; without a name: of the build without any.
#[derive(Debug)]
pub struct Caught {
    pub fault: Option<String>,
    pub wanted: &'static str,
    /// case and path of the first difference at the wanted place; `None`: the suite did not see it there
    pub by: Option<(String, String)>,
    pub verdict: Verdict,
    /// what was seen instead
    pub instead: Vec<(String, String)>,
}

impl Caught {
    /// A fault must be red where it is, everything else green.
    pub fn is_right(&self) -> bool {
        match self.fault {
            Some(_) => self.by.is_some() && self.verdict == Verdict::Red,
            None => self.verdict == Verdict::Green,
        }
    }
}

/// All faults whose names match the glob `only`. `runner.edge` is replaced by each fault's own.
pub async fn run(
    runner: &mut Runner,
    managed: &mut Managed,
    place: &EdgePlace<'_>,
    only: &str,
    mut say: impl FnMut(&str),
) -> Result<Vec<Caught>, MutantsError> {
    let rows: Vec<&Row> = TABLE.iter().filter(|row| glob(only, &format!("{:?}", row.fault))).collect();
    if rows.is_empty() {
        return Err(MutantsError::NoFault(only.to_owned()));
    }
    let mut suite = Selection::read(place.suite, &[], "*")?;
    suite.without(|case| case.client.is_some());
    if let Some(row) = rows.iter().find(|row| !suite.cases.iter().any(|case| is_for(row, case))) {
        return Err(MutantsError::NoCase(row.route, row.case));
    }
    let cases: Vec<Case> =
        suite.cases.iter().filter(|case| rows.iter().any(|row| is_for(row, case))).cloned().collect();
    say(&format!("{} faults, {} cases against the Python gateway, twice", rows.len(), cases.len()));
    runner.warm_up(&cases).await?;
    let python = runner.phase(Phase::Python, &cases).await?;
    let noise = runner.phase(Phase::Noise, &cases).await?;
    let reference = Reference { suite: &suite, cases: &cases, python: &python, noise: &noise };

    let mut caught = vec![one(runner, managed, place, &reference, None).await?];
    for row in rows {
        say(&format!("{:?}", row.fault));
        caught.push(one(runner, managed, place, &reference, Some(row)).await?);
    }
    Ok(caught)
}

fn is_for(row: &Row, case: &Case) -> bool {
    case.route == row.route && glob(row.case, case.file())
}

/// What the edges are compared with.
struct Reference<'a> {
    suite: &'a Selection,
    cases: &'a [Case],
    python: &'a PhaseResult,
    noise: &'a PhaseResult,
}

async fn one(
    runner: &mut Runner,
    managed: &mut Managed,
    place: &EdgePlace<'_>,
    reference: &Reference<'_>,
    row: Option<&Row>,
) -> Result<Caught, MutantsError> {
    let fault = row.map(|row| format!("{:?}", row.fault));
    let environment: Vec<_> = fault.iter().map(|name| (VARIABLE.to_owned(), name.clone())).collect();
    runner.edge = place.start(managed, None, &environment).await?;
    let mine: Vec<usize> = (0..reference.cases.len())
        .filter(|at| row.is_none_or(|row| reference.cases.get(*at).is_some_and(|case| is_for(row, case))))
        .collect();
    let cases: Vec<Case> = mine.iter().filter_map(|at| reference.cases.get(*at)).cloned().collect();
    let edge = runner.phase(Phase::Edge, &cases).await?;
    managed.stop_edges().await?;
    let python = mine.iter().filter_map(|at| reference.python.cases.get(*at));
    let noise = mine.iter().filter_map(|at| reference.noise.cases.get(*at));
    let results: Vec<CaseResult> = cases
        .iter()
        .zip(python.zip(noise).zip(&edge.cases))
        .map(|(case, ((python, noise), edge))| judge(case, python, noise, edge, &reference.suite.tolerated))
        .collect();
    let verdict = report::count(&results).values().map(report::RouteCounts::verdict).max();
    let seen: Vec<(String, String)> = results
        .iter()
        .flat_map(|case| case.blamed().filter(|judged| !judged.noise).map(move |judged| (case, judged)))
        .map(|(case, judged)| (case.name.clone(), judged.difference.path.clone()))
        .collect();
    let wanted = row.map_or("", |row| row.at);
    let by = seen.iter().find(|(_, path)| covers(wanted, path)).cloned();
    let verdict = verdict.unwrap_or(Verdict::Inconclusive);
    Ok(Caught { fault, wanted, by, verdict, instead: seen })
}

/// The table for people.
pub fn table(caught: &[Caught]) -> String {
    let mut out = format!("{:<32}{:<16}{:<48}at\n", "fault", "exit code", "caught by");
    for one in caught {
        let name = one.fault.as_deref().unwrap_or("(none)");
        let (case, path) = match &one.by {
            Some((case, path)) if one.fault.is_some() => (case.as_str(), path.as_str()),
            _ if one.is_right() => ("-", "-"),
            _ => ("NOT CAUGHT", one.wanted),
        };
        let _ = writeln!(out, "{name:<32}{:<16}{case:<48}{path}", one.verdict.exit_code());
        if !one.is_right() {
            for (case, path) in &one.instead {
                let _ = writeln!(out, "    seen instead: {case} {path}");
            }
        }
    }
    let right = caught.iter().filter(|one| one.is_right()).count();
    let _ = writeln!(out, "{right} of {} as they should be", caught.len());
    out
}

/// The folder for the edges' logs.
pub fn logs(suite: &std::path::Path) -> PathBuf {
    suite.join("out").join("mutants")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(fault: Option<&str>, by: bool, verdict: Verdict) -> Caught {
        let place = || ("messages/plain".to_owned(), "response[0].status".to_owned());
        Caught {
            fault: fault.map(str::to_owned),
            wanted: "response[0].status",
            by: by.then(place),
            verdict,
            instead: vec![place()],
        }
    }

    #[test]
    fn only_red_at_the_wanted_place_is_right() {
        assert!(caught(Some("X"), true, Verdict::Red).is_right());
        for wrong in [
            caught(Some("X"), false, Verdict::Red),
            caught(Some("X"), false, Verdict::Green),
            caught(Some("X"), false, Verdict::Inconclusive),
            caught(None, false, Verdict::Red),
            caught(None, false, Verdict::Inconclusive),
        ] {
            assert!(!wrong.is_right(), "{wrong:?}");
            assert!(table(&[wrong]).contains("0 of 1"));
        }
        assert!(caught(None, false, Verdict::Green).is_right());
    }

    #[test]
    fn every_fault_has_cases_in_the_suite() {
        let suite = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("parity-tests");
        let cases = crate::parity::case::load(&suite.join("cases")).unwrap();
        assert!(TABLE.len() >= 12);
        for row in TABLE {
            assert!(cases.iter().any(|case| is_for(row, case)), "{row:?}");
        }
    }
}
