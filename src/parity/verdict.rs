//! From three observations of a case to its verdict. Pure: Python against the edge, with Python against itself as
//! the measure of noise. Noise is never masked: a path that moves by itself needs an entry in tolerated.toml too.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    case::{Case, Expect},
    diff::{Difference, Kind, diff},
    observe::Raw,
    recorded,
    tolerated::{Subject, Tolerated},
};

/// One case in one phase.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// normalised
    pub tree: Value,
    pub raw: Raw,
    /// `x-litellm-edge` of each answer
    pub served_by: Vec<Option<String>>,
    /// growth of `litellm_edge_declines_total` by reason
    pub declines: BTreeMap<String, u64>,
    /// growth of `litellm_edge_requests_total` by side; `None`: not asked
    pub counted: Option<BTreeMap<String, u64>>,
    /// names (never values) of the canaries seen in the edge's log
    pub leaks: Vec<String>,
    pub millis: u64,
    /// the other side is no edge of this build: who served there is not asked
    pub anybody: bool,
    /// the same, finer
    pub micros: u64,
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    /// Python does not agree with itself and no entry says why
    Inconclusive,
}

/// A difference and what is made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judged {
    #[serde(flatten)]
    pub difference: Difference,
    /// Python differs from itself there
    pub noise: bool,
    pub tolerated: bool,
}

/// One case's verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaseResult {
    pub name: String,
    pub route: String,
    pub why: String,
    pub outcome: Outcome,
    pub differences: Vec<Judged>,
    /// differences that are recorded only
    pub recorded: Vec<Difference>,
    pub python: Raw,
    pub edge: Raw,
    /// `native`, `passed` or `declined:<reason>`
    #[serde(default)]
    pub expect: String,
    /// the edge's counted reasons
    #[serde(default)]
    pub declines: BTreeMap<String, u64>,
    /// of the three phases, from the first byte sent to the last one received
    pub millis: [u64; 3],
    #[serde(default)]
    pub micros: [u64; 3],
    /// the first look was disturbed by what arrived late; this is the second
    pub repeated: bool,
}

impl CaseResult {
    /// Passed, but only thanks to tolerated.toml.
    pub fn is_tolerated(&self) -> bool {
        self.outcome == Outcome::Passed && !self.differences.is_empty()
    }

    /// What made the case fail or inconclusive.
    pub fn blamed(&self) -> impl Iterator<Item = &Judged> {
        self.differences.iter().filter(|judged| !judged.tolerated)
    }
}

/// The verdict on one case.
pub fn judge(case: &Case, python: &Observed, noise: &Observed, edge: &Observed, tolerated: &Tolerated) -> CaseResult {
    let expect = case.expect.to_string();
    let subject = Subject { route: &case.route, file: case.file(), expect: &expect };
    let mut found = diff(&python.tree, &edge.tree);
    if !edge.anybody {
        found.extend(expectation(case, edge));
    }
    found.extend(recorded::differences(case, &python.tree));
    found.extend(edge.leaks.iter().map(|leak| value("log.edge", Value::Null, leak.as_str().into())));
    let (recorded, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.kind.is_recorded_only());
    let noisy: Vec<Difference> =
        diff(&python.tree, &noise.tree).into_iter().filter(|d| !d.kind.is_recorded_only()).collect();
    let mut differences: Vec<Judged> = Vec::new();
    for difference in found {
        let tolerated = tolerated.allows(&subject, &difference);
        let path = difference.path.replacen("recorded[", "response[", 1);
        let noise = noisy.iter().any(|noisy| noisy.path == path);
        differences.push(Judged { difference, noise, tolerated });
    }
    for difference in noisy {
        if !differences.iter().any(|judged| judged.difference.path == difference.path) {
            let tolerated = tolerated.allows(&subject, &difference);
            differences.push(Judged { difference, noise: true, tolerated });
        }
    }
    let blamed = || differences.iter().filter(|judged| !judged.tolerated);
    let outcome = match (blamed().any(|judged| !judged.noise), blamed().next().is_some()) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Inconclusive,
        (false, false) => Outcome::Passed,
    };
    CaseResult {
        name: case.name.clone(),
        route: case.route.clone(),
        why: case.why.clone(),
        outcome,
        differences,
        recorded,
        python: python.raw.clone(),
        edge: edge.raw.clone(),
        expect,
        declines: edge.declines.clone(),
        millis: [python.millis, noise.millis, edge.millis],
        micros: [python.micros, noise.micros, edge.micros],
        repeated: false,
    }
}

fn value(path: &str, python: Value, other: Value) -> Difference {
    Difference { path: path.into(), kind: Kind::Value, python: Some(python), other: Some(other) }
}

/// `expect`: who served on the edge, and with which reason it was passed on.
fn expectation(case: &Case, edge: &Observed) -> Vec<Difference> {
    let side = if case.expect == Expect::Native { "native" } else { "python" };
    let mut found = Vec::new();
    for served_by in &edge.served_by {
        if served_by.as_deref() != Some(side) {
            found.push(value("expect.served_by", side.into(), json!(served_by)));
        }
    }
    let wanted = match &case.expect {
        Expect::Native | Expect::Passed => BTreeMap::new(),
        Expect::Declined(reason) => BTreeMap::from([(reason.clone(), edge.served_by.len() as u64)]),
    };
    if edge.declines != wanted {
        found.push(value("expect.declines", json!(wanted), json!(edge.declines)));
    }
    let sent = BTreeMap::from([(side.to_owned(), case.requests.len() as u64)]);
    if let Some(counted) = edge.counted.as_ref().filter(|counted| **counted != sent) {
        found.push(value("expect.counted", json!(sent), json!(counted)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(expect: &str) -> Case {
        let text = format!("{{route: r, why: w, expect: {expect}, request: {{method: GET, path: /}}}}");
        super::super::case::parse(std::path::Path::new("r/x.yaml"), &text).unwrap()
    }

    fn observed(body: Value) -> Observed {
        let tree = json!({"response": [{"status": 200, "body": body}]});
        Observed { tree, served_by: vec![Some("native".into())], ..Observed::default() }
    }

    fn verdict(python: Value, noise: Value, edge: Value, list: &str) -> Outcome {
        let list = Tolerated::parse(list).unwrap();
        judge(&case("native"), &observed(python), &observed(noise), &observed(edge), &list).outcome
    }

    const LIST: &str = "[[tolerated]]\nroute='r'\nwhere='response.body/a'\nwhy='because it moves'\nuntil='2099-01-01'";

    #[test]
    fn noise_is_never_a_pass_without_an_entry() {
        assert_eq!(verdict(json!({"a": 1}), json!({"a": 1}), json!({"a": 1}), ""), Outcome::Passed);
        assert_eq!(verdict(json!({"a": 1}), json!({"a": 1}), json!({"a": 2}), ""), Outcome::Failed);
        assert_eq!(verdict(json!({"a": 1}), json!({"a": 3}), json!({"a": 2}), ""), Outcome::Inconclusive);
        assert_eq!(verdict(json!({"a": 1}), json!({"a": 3}), json!({"a": 1}), ""), Outcome::Inconclusive);
        assert_eq!(verdict(json!({"a": 1}), json!({"a": 3}), json!({"a": 2}), LIST), Outcome::Passed);
        assert_eq!(
            verdict(json!({"a": 1, "b": 1}), json!({"a": 3, "b": 1}), json!({"a": 2, "b": 2}), LIST),
            Outcome::Failed
        );
    }

    #[test]
    fn who_served_is_part_of_the_verdict() {
        let list = Tolerated::default();
        let same = observed(json!({}));
        let judged = |case: &Case, edge: &Observed| judge(case, &same, &same, edge, &list).outcome;
        assert_eq!(judged(&case("native"), &same), Outcome::Passed);
        assert_eq!(judged(&case("passed"), &same), Outcome::Failed);
        let python = Observed { served_by: vec![Some("python".into())], ..same.clone() };
        assert_eq!(judged(&case("passed"), &python), Outcome::Passed);
        assert_eq!(judged(&case("'declined:model'"), &python), Outcome::Failed);
        let declined = Observed { declines: BTreeMap::from([("model".into(), 1)]), ..python.clone() };
        assert_eq!(judged(&case("'declined:model'"), &declined), Outcome::Passed);
        assert_eq!(judged(&case("'declined:field'"), &declined), Outcome::Failed);
        let silent = Observed { served_by: vec![None], ..same.clone() };
        assert_eq!(judged(&case("native"), &silent), Outcome::Failed);
    }

    #[test]
    fn a_request_that_is_not_counted_fails_the_case() {
        let same = observed(json!({}));
        for (side, n, outcome) in
            [("native", 1, Outcome::Passed), ("native", 2, Outcome::Failed), ("python", 1, Outcome::Failed)]
        {
            let edge = Observed { counted: Some(BTreeMap::from([(side.into(), n)])), ..same.clone() };
            assert_eq!(judge(&case("native"), &same, &same, &edge, &Tolerated::default()).outcome, outcome);
        }
    }

    #[test]
    fn a_leak_fails_the_case() {
        let same = observed(json!({}));
        let edge = Observed { leaks: vec!["master key".into()], ..same.clone() };
        assert_eq!(judge(&case("native"), &same, &same, &edge, &Tolerated::default()).outcome, Outcome::Failed);
    }
}
