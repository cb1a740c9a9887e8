//! What the project says of itself is so: the README's table of native routes, docs/options.md and docs/metrics.md are
//! the code's. `UPDATE=1 cargo test --test readme` rewrites them.
#![allow(clippy::unwrap_used)] // in a helper of the tests, which clippy does not see as one
use std::{collections::BTreeSet, path::Path};

use litellm_rust::{
    cli::options_doc,
    parity::case::{self, Expect},
    routes::{Decline, doc::markdown, table::NATIVE_ROUTES},
    telemetry::metrics,
};

const BEGIN: &str = "<!-- native-routes: begin -->\n";
const END: &str = "<!-- native-routes: end -->";

#[test]
fn the_readme_lists_the_native_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("begin marker");
    let (table, tail) = rest.split_once(END).expect("end marker");
    let current = markdown(NATIVE_ROUTES);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{current}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(table, current, "run `UPDATE=1 cargo test --test readme`");
}

#[test]
fn the_options_page_lists_every_option() {
    is_current("docs/options.md", options_doc::page());
}

#[test]
fn the_metrics_page_lists_every_metric() {
    is_current("docs/metrics.md", metrics::table::page());
}

fn is_current(file: &str, current: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, current).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), current, "run `UPDATE=1 cargo test --test readme`");
}

/// Reasons that no case of the parity suite can show, and what shows them instead.
const WITHOUT_A_CASE: &[(Decline, &str)] = &[
    (Decline::NoDeployment, "needs calls at the same time, the suite sends one after the other: admission_tests.rs"),
    (Decline::Fault, "a bug of the edge, which no request is known to meet: tests/edge/panics.rs"),
];

#[test]
fn every_reason_to_decline_has_a_parity_case() {
    let cases = case::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("parity-tests/cases")).unwrap();
    let shown: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| match &case.expect {
            Expect::Declined(reason) => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    for reason in Decline::ALL {
        let excuse = WITHOUT_A_CASE.iter().find(|(excused, _)| excused == reason);
        match (shown.contains(reason.as_str()), excuse) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("{reason}: no parity case expects it"),
            (true, Some((_, excuse))) => panic!("{reason}: has a case, although {excuse:?}"),
        }
    }
    let known: BTreeSet<&str> = Decline::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "cases name what does not exist");
}

/// The faults of `make mutants` exist in builds for it alone.
#[cfg(not(feature = "faults"))]
#[test]
fn the_default_build_has_no_faults_in_it() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_litellm-rust")).unwrap();
    let has = |text: &str| memchr::memmem::find(&binary, text.as_bytes()).is_some();
    assert!(has("LITELLM_EDGE_UNGATED"), "the search finds what is there");
    for trace in ["LITELLM_EDGE_FAULT", "ErrorEventSwallowed", "ReplayChanged", "see every built-in fault"] {
        assert!(!has(trace), "{trace}");
    }
}
