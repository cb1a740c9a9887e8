use super::*;
use crate::parity::report::tests::sample;

#[test]
fn a_hostile_case_stays_text() {
    let evil = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\" onfocus='x' \u{202e}";
    let mut report = sample();
    report.complaints = vec![evil.into()];
    report.litellm_version = evil.into();
    report.command = evil.into();
    for case in &mut report.cases {
        case.name = format!("r/{evil}");
        case.why = evil.into();
        for judged in &mut case.differences {
            judged.difference.path = format!("response[0].body/{evil}");
            judged.difference.python = Some(serde_json::json!({ evil: [evil] }));
        }
        case.declines.insert(evil.into(), 1);
    }
    for entry in &mut report.tolerated {
        (entry.location, entry.why, entry.until) = (evil.into(), evil.into(), evil.into());
    }
    for standing in report.standing.values_mut() {
        (standing.why, standing.mode, standing.evidence) = (evil.into(), Some(evil.into()), Some(evil.into()));
    }
    let page = html(&report);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    assert!(!page.contains("\" onfocus") && !page.contains("' onfocus") && page.matches("</style>").count() == 1);
    assert!(page.matches("&lt;script&gt;").count() > 8);
}

#[test]
fn nothing_is_asked_for_and_all_sections_are_there() {
    let page = html(&sample());
    for word in ["src=", "url(", "http:", "https:", "@import", "<script", "<link", " style="] {
        assert!(!page.contains(word), "{word}");
    }
    for id in ["routes", "cases", "differences", "noise", "tolerated", "declines", "latency"] {
        assert_eq!(page.matches(&format!("<section id=\"{id}\">")).count(), 1, "{id}");
    }
    assert!(page.contains("--route r --case x --verbose"));
}

#[test]
fn a_shell_sees_one_word() {
    assert_eq!(quoted("tool_use-1"), "tool_use-1");
    assert_eq!(quoted("a'; rm -rf b"), r"'a'\''; rm -rf b'");
}
