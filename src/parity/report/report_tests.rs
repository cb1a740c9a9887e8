use super::*;
use crate::{
    parity::diff::{Difference, Kind},
    secret::Secret,
};

pub(super) fn sample() -> Report {
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
        expect: "native".into(),
        declines: BTreeMap::from([("model".into(), 2)]),
        micros: [1500, 2500, 90],
    };
    let judged = |tolerated| Judged { difference: difference.clone(), noise: false, tolerated };
    let cases = vec![
        case(Outcome::Failed, vec![judged(false)]),
        case(Outcome::Passed, vec![judged(true)]),
        case(Outcome::Passed, vec![]),
    ];
    Report {
        schema: SCHEMA,
        result: Verdict::Red,
        litellm_version: "1".into(),
        source_digest: None,
        started: String::new(),
        finished: String::new(),
        routes: count(&cases),
        complaints: vec!["a & b".into()],
        standing: BTreeMap::from([(
            "r".into(),
            Standing {
                mode: Some("native".into()),
                evidence: Some("2026-11-22T03:50:33Z".into()),
                can_flip: 1,
                why: "r: no".into(),
            },
        )]),
        tolerated: vec![ToleratedUse {
            route: "r".into(),
            case: "*".into(),
            location: "response.body/x".into(),
            why: "because".into(),
            until: "2099-01-01".into(),
            used: 1,
        }],
        command: String::new(),
        cases,
    }
}

#[test]
fn counts_add_up_and_decide() {
    let routes = count(&sample().cases);
    let expected = RouteCounts { total: 3, passed: 2, failed: 1, tolerated: 1, inconclusive: 0 };
    assert_eq!(routes["r"], expected);
    assert_eq!(expected.verdict(), Verdict::Red);
    assert_eq!(RouteCounts { failed: 0, ..expected }.verdict(), Verdict::Green);
    assert_eq!(RouteCounts { failed: 0, inconclusive: 1, ..expected }.verdict(), Verdict::Inconclusive);
    assert_eq!(RouteCounts::default().verdict(), Verdict::Inconclusive);
}

#[test]
fn no_output_holds_a_secret_and_xml_is_escaped() {
    let canaries =
        Canaries::new([("the key", Secret::new("sk-secret")), ("a prompt", Secret::new("say \"hi\"\n<b> & go"))]);
    let mut report = sample();
    let prompt = serde_json::json!({"say \"hi\"\n<b> & go": ["x say \"hi\"\n<b> & go y"]});
    report.cases[0].differences[0].difference.other = Some(prompt);
    let report = report.redacted(&canaries).unwrap();
    let xml = junit(&report);
    assert!(xml.contains("&lt;a &amp;") && xml.contains("w &lt; v") && xml.contains("failures=\"1\""), "{xml}");
    for text in [xml, json(&report).unwrap(), terminal(&report, false), html(&report)] {
        assert!(!text.contains("sk-secret") && text.contains("the key"), "{text}");
        assert!(!text.contains("hi\\\"") && !text.contains("& go") && !text.contains("&amp; go"), "{text}");
    }
}

#[test]
fn a_report_is_read_back_as_it_was() {
    let text = json(&sample()).unwrap();
    assert_eq!(json(&Report::parse(&text).unwrap()).unwrap(), text);
    assert!(matches!(Report::parse(&text.replacen("\"schema\": 2", "\"schema\": 3", 1)), Err(ReportError::Schema(3))));
    assert!(Report::parse("{}").is_err());
}
