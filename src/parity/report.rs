//! What a run says: a terminal summary, JUnit XML, JSON and one HTML page ([`html`]). Pure: text out of results.
//! Everything that leaves passes [`Report::redacted`], so that no key and no prompt stands in a report.
use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    canary::Canaries,
    verdict::{CaseResult, Judged, Outcome},
};

mod group;
mod html;
mod plot;
pub use html::html;

/// The version of report.json.
pub const SCHEMA: u32 = 2;

/// A whole run: report.json, described in parity-tests/README.md.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`]
    pub schema: u32,
    /// green, red or inconclusive
    pub result: Verdict,
    pub litellm_version: String,
    /// of the edge; `None` where it does not say
    pub source_digest: Option<String>,
    /// RFC 3339
    pub started: String,
    pub finished: String,
    pub routes: BTreeMap<String, RouteCounts>,
    /// what fails the run as a whole: expired or unused entries of tolerated.toml, daily tables
    pub complaints: Vec<String>,
    /// what routes.toml and the evidence say of the routes that ran
    #[serde(default)]
    pub standing: BTreeMap<String, Standing>,
    /// entries of tolerated.toml that were needed
    #[serde(default)]
    pub tolerated: Vec<ToleratedUse>,
    /// the command line that runs it again, without `--route` and `--case`
    #[serde(default)]
    pub command: String,
    pub cases: Vec<CaseResult>,
}

/// What a route may do after this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `python`, `canary` or `native` in the manifest the edge ran with
    pub mode: Option<String>,
    /// RFC 3339: end of the run that the evidence is of
    pub evidence: Option<String>,
    /// 0 may be native, 1 may not, 4 there is no usable evidence
    pub can_flip: u8,
    /// one line for people
    pub why: String,
}

/// An entry of tolerated.toml and how often it was needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToleratedUse {
    pub route: String,
    pub case: String,
    #[serde(rename = "where")]
    pub location: String,
    pub why: String,
    /// a date
    pub until: String,
    pub used: u64,
}

/// Why a report.json can not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("no report of a run: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a report of schema {0}, this binary reads {SCHEMA}")]
    Schema(u32),
}

impl Report {
    /// Reads report.json.
    pub fn parse(text: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        match serde_json::from_str::<Version>(text)?.schema {
            SCHEMA => {}
            other => return Err(ReportError::Schema(other)),
        }
        let mut report: Self = serde_json::from_str(text)?;
        report.routes = count(&report.cases);
        Ok(report)
    }

    /// The report without canaries: every text of it, before any escaping could hide one.
    pub fn redacted(&self, canaries: &Canaries) -> serde_json::Result<Self> {
        let mut tree = serde_json::to_value(self)?;
        redact(&mut tree, canaries);
        let mut report: Self = serde_json::from_value(tree)?;
        report.routes = count(&report.cases);
        Ok(report)
    }
}

fn redact(value: &mut Value, canaries: &Canaries) {
    match value {
        Value::String(text) => *text = canaries.redact(std::mem::take(text)),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, canaries)),
        Value::Object(map) => {
            let entries = std::mem::take(map);
            map.extend(entries.into_iter().map(|(key, mut value)| {
                redact(&mut value, canaries);
                (canaries.redact(key), value)
            }));
        }
        _ => {}
    }
}

/// The word of a run or a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Green,
    Inconclusive,
    Red,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Green => "green",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Red => "red",
        }
    }

    /// 0 ok, 1 found something, 4 inconclusive.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Green => 0,
            Verdict::Red => 1,
            Verdict::Inconclusive => 4,
        }
    }
}

/// Counts of one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounts {
    pub total: u64,
    pub passed: u64,
    pub failed: u64,
    /// passed, but with tolerated differences
    pub tolerated: u64,
    #[serde(default, skip_serializing)]
    pub inconclusive: u64,
}

impl RouteCounts {
    /// No case is no proof.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self { failed: 1.., .. } => Verdict::Red,
            Self { total: 0, .. } | Self { inconclusive: 1.., .. } => Verdict::Inconclusive,
            _ => Verdict::Green,
        }
    }
}

/// Counts by route.
pub fn count(cases: &[CaseResult]) -> BTreeMap<String, RouteCounts> {
    let mut routes: BTreeMap<String, RouteCounts> = BTreeMap::new();
    for case in cases {
        let counts = routes.entry(case.route.clone()).or_default();
        counts.total += 1;
        match case.outcome {
            Outcome::Passed => counts.passed += 1,
            Outcome::Failed => counts.failed += 1,
            Outcome::Inconclusive => counts.inconclusive += 1,
        }
        counts.tolerated += u64::from(case.is_tolerated());
    }
    routes
}

/// How many differences of a case the terminal shows.
const SHOWN: usize = 6;
/// How much of a value a summary shows.
const WIDTH: usize = 160;

// What follows is given a report that was `Report::redacted`.

/// The terminal's summary. `all`: every difference of the blamed cases.
pub fn terminal(report: &Report, all: bool) -> String {
    let mut out = String::new();
    for case in report.cases.iter().filter(|case| case.outcome != Outcome::Passed) {
        let word = if case.outcome == Outcome::Failed { "FAILED" } else { "NOISE " };
        let _ = writeln!(out, "{word} {}: {}", case.name, case.why);
        let blamed: Vec<&Judged> = case.blamed().collect();
        for judged in blamed.iter().take(if all { usize::MAX } else { SHOWN }) {
            let noise = if judged.noise { " (Python differs from itself)" } else { "" };
            let difference = &judged.difference;
            let _ = writeln!(out, "    {} {}{noise}", difference.path, difference.kind);
            let _ = writeln!(out, "        python: {}", shown(difference.python.as_ref()));
            let _ = writeln!(out, "        edge:   {}", shown(difference.other.as_ref()));
        }
        if blamed.len() > SHOWN && !all {
            let _ = writeln!(out, "    ... and {} more (report.json has all)", blamed.len() - SHOWN);
        }
    }
    for complaint in &report.complaints {
        let _ = writeln!(out, "FAILED {complaint}");
    }
    let _ =
        writeln!(out, "{:<24}{:>7}{:>8}{:>8}{:>7}{:>11}", "route", "cases", "passed", "failed", "noisy", "tolerated");
    for (route, counts) in &report.routes {
        let RouteCounts { total, passed, failed, tolerated, inconclusive } = counts;
        let _ = writeln!(out, "{route:<24}{total:>7}{passed:>8}{failed:>8}{inconclusive:>7}{tolerated:>11}");
    }
    let _ = writeln!(out, "{} (LiteLLM {})", report.result.as_str(), report.litellm_version);
    out
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(nothing)".into() };
    let text = value.to_string();
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}... ({} bytes)", text.get(..at).unwrap_or_default(), text.len()),
        None => text,
    }
}

/// The whole report as JSON.
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report)
}

/// JUnit XML: a test suite a route, a test case a case.
pub fn junit(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"parity\">\n");
    for (route, counts) in &report.routes {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
            escape(route),
            counts.total,
            counts.failed,
            counts.inconclusive
        );
        for case in report.cases.iter().filter(|case| case.route == *route) {
            let seconds = case.millis.iter().sum::<u64>() as f64 / 1000.0;
            let name = case.name.rsplit('/').next().unwrap_or_default();
            let _ = write!(
                out,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
                escape(route),
                escape(name)
            );
            if case.outcome == Outcome::Passed {
                out.push_str("/>\n");
                continue;
            }
            let tag = if case.outcome == Outcome::Failed { "failure" } else { "error" };
            let mut text = String::new();
            for judged in case.blamed() {
                let d = &judged.difference;
                let _ = writeln!(
                    text,
                    "{} {}\n  python: {}\n  edge:   {}",
                    d.path,
                    d.kind,
                    shown(d.python.as_ref()),
                    shown(d.other.as_ref())
                );
            }
            let _ = writeln!(
                out,
                ">\n      <{tag} message=\"{}\">{}</{tag}>\n    </testcase>",
                escape(&case.why),
                escape(&text)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    if !report.complaints.is_empty() {
        let _ = writeln!(out, "  <testsuite name=\"run\" tests=\"{0}\" failures=\"{0}\">", report.complaints.len());
        for complaint in &report.complaints {
            let _ = writeln!(
                out,
                "    <testcase classname=\"run\" name=\"{0}\"><failure message=\"{0}\"/></testcase>",
                escape(complaint)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// For XML text and attributes; characters XML 1.0 can not hold become `?`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[path = "report/report_tests.rs"]
mod tests;
