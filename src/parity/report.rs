//! What a run says: a terminal summary, JUnit XML and JSON. Pure: text out of results. Everything that leaves passes
//! [`Canaries::redact`], so that no key and no prompt stands in a report.
use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;
use serde_json::Value;

use super::{
    canary::Canaries,
    verdict::{CaseResult, Judged, Outcome},
};

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
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
    pub cases: Vec<CaseResult>,
}

/// The word of a run or a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
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

/// The terminal's summary. `all`: every difference of the blamed cases.
pub fn terminal(report: &Report, canaries: &Canaries, all: bool) -> String {
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
    canaries.redact(out)
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
pub fn json(report: &Report, canaries: &Canaries) -> serde_json::Result<String> {
    Ok(canaries.redact(serde_json::to_string_pretty(report)?))
}

/// JUnit XML: a test suite a route, a test case a case.
pub fn junit(report: &Report, canaries: &Canaries) -> String {
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
    canaries.redact(out)
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
mod tests {
    use super::*;
    use crate::{
        parity::diff::{Difference, Kind},
        secret::Secret,
    };

    fn report() -> Report {
        let difference = Difference {
            path: "response[0].body/x".into(),
            kind: Kind::Value,
            python: Some("<a & \"b\" sk-secret".into()),
            other: None,
        };
        let case = |outcome, differences| CaseResult {
            name: "r/x".into(),
            route: "r".into(),
            why: "w < v".into(),
            outcome,
            differences,
            recorded: vec![],
            python: Default::default(),
            edge: Default::default(),
            millis: [1, 2, 3],
            repeated: false,
        };
        let judged = |tolerated| Judged { difference: difference.clone(), noise: false, tolerated };
        let cases = vec![
            case(Outcome::Failed, vec![judged(false)]),
            case(Outcome::Passed, vec![judged(true)]),
            case(Outcome::Passed, vec![]),
        ];
        Report {
            schema: 1,
            result: Verdict::Red,
            litellm_version: "1".into(),
            source_digest: None,
            started: String::new(),
            finished: String::new(),
            routes: count(&cases),
            complaints: vec!["a & b".into()],
            cases,
        }
    }

    #[test]
    fn counts_add_up_and_decide() {
        let routes = count(&report().cases);
        let expected = RouteCounts { total: 3, passed: 2, failed: 1, tolerated: 1, inconclusive: 0 };
        assert_eq!(routes["r"], expected);
        assert_eq!(expected.verdict(), Verdict::Red);
        assert_eq!(RouteCounts { failed: 0, ..expected }.verdict(), Verdict::Green);
        assert_eq!(RouteCounts { failed: 0, inconclusive: 1, ..expected }.verdict(), Verdict::Inconclusive);
        assert_eq!(RouteCounts::default().verdict(), Verdict::Inconclusive);
    }

    #[test]
    fn no_output_holds_a_secret_and_xml_is_escaped() {
        let canaries = Canaries::new([("the key", Secret::new("sk-secret"))]);
        let xml = junit(&report(), &canaries);
        assert!(xml.contains("&lt;a &amp;") && xml.contains("w &lt; v") && xml.contains("failures=\"1\""), "{xml}");
        for text in [xml, json(&report(), &canaries).unwrap(), terminal(&report(), &canaries, false)] {
            assert!(!text.contains("sk-secret") && text.contains("the key"), "{text}");
        }
    }
}
