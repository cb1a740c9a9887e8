//! The whole run, quickly, against the debug binary, without Python: every gateway, work and kind of load answers
//! rightly, and the files are written. Its figures mean nothing and are not looked at.
use std::{fs, path::PathBuf};

use crate::{options::Options, report::Report};

#[test]
fn a_quick_run_measures_everything_once() {
    // beside this test: target/<profile>/examples/speed-<hash>
    let own = std::env::current_exe().unwrap();
    let binary: PathBuf = own.parent().unwrap().parent().unwrap().join("litellm-rust");
    assert!(binary.exists(), "`cargo build` first: {}", binary.display());
    let out = std::env::temp_dir().join(format!("litellm-rust-speed-test-{}", std::process::id()));
    let options = Options { binary, python: None, rounds: 1, quick: true, out: out.clone(), ..Options::default() };
    let report = crate::run::run(&options).unwrap().unwrap();
    for row in &report.rows {
        assert_eq!(row.error, None, "{row:?}");
        assert!(row.requests > 0 && row.p50_ms > 0.0 && row.p50_ms <= row.p99_ms && row.peak_rss_mb > 1.0, "{row:?}");
        assert_eq!(row.first_event_p50_ms.is_some(), row.work.contains("stream"));
    }
    assert_eq!(report.gateways(), ["provider", "forwarder", "edge-pass", "edge-native"]);
    assert_eq!(report.rows.len(), 4 * (7 + 2 + 5));
    crate::save(&report, &options).unwrap();
    let saved: Report = serde_json::from_str(&fs::read_to_string(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(saved.rows.len(), report.rows.len());
    assert!(fs::read_to_string(out.join("speed.svg")).unwrap().starts_with("<svg"));
    fs::remove_dir_all(&out).unwrap();
}
