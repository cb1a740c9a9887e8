//! Reloading, the last good manifest, the kill switch: over real files.
use http::Method;

use super::*;
use crate::manifest::{
    decide::PythonReason,
    gate::EvidenceRecord,
    testing::{self, NOW, TABLE, TempDir},
};

const FILE: &str = r#"
schema = 1
[gate]
evidence = "suite/evidence"
[switch]
file = "all-python"
[[route]]
id = "messages"
mode = "native"
match = { methods = ["POST"], paths = ["/v1/messages"] }
"#;

fn evidence(dir: &TempDir, change: impl Fn(&mut EvidenceRecord)) {
    let mut record = testing::record("messages", "src");
    let digests = digest::suite(&dir.path().join("suite"), "messages").unwrap();
    record.cases_digest = digests.cases;
    record.tolerated_digest = digests.tolerated;
    record.reference_config_digest = digests.reference_config;
    change(&mut record);
    dir.write("suite/evidence/messages.json", serde_json::to_vec(&record).unwrap());
}

fn opened(dir: &TempDir, env: Option<&str>) -> ManifestHandle {
    let path = dir.write("routes.toml", FILE);
    dir.write("suite/cases/messages/one.yaml", "route: messages");
    dir.write("suite/tolerated.toml", "");
    dir.write("suite/config.yaml", "model_list: []");
    evidence(dir, |_| {});
    ManifestHandle::open_as(&path, TABLE, env, Some(Metrics::new().unwrap()), "src").unwrap()
}

/// `None`: native
fn reason(handle: &ManifestHandle) -> Option<PythonReason> {
    handle.decide(&Method::POST, "/v1/messages", Caller::default(), NOW()).python_reason()
}

#[test]
fn evidence_is_followed() {
    let dir = TempDir::new();
    let handle = opened(&dir, None);
    assert_eq!(reason(&handle), None);
    let first = handle.load();
    handle.poll();
    assert!(Arc::ptr_eq(&first, &handle.load()), "nothing changed, nothing is swapped");

    dir.write("suite/cases/messages/two.yaml", "route: messages");
    handle.poll();
    assert_eq!(reason(&handle), Some(PythonReason::StaleEvidence), "a new case has not been run");
    evidence(&dir, |_| {});
    handle.poll();
    assert_eq!(reason(&handle), None);
    for (changed, content) in [
        ("suite/tolerated.toml", "# more"),
        ("suite/config.yaml", "model_list: [1]"),
        ("suite/configs/caching.yaml", "model_list: [2]"),
        ("suite/clients/python_clients.py", "print()"),
    ] {
        dir.write(changed, content);
        handle.poll();
        assert_eq!(reason(&handle), Some(PythonReason::StaleEvidence), "{changed}");
        evidence(&dir, |_| {});
        handle.poll();
        assert_eq!(reason(&handle), None, "{changed}");
    }
    evidence(&dir, |record| record.source_digest = "another build".into());
    handle.poll();
    assert_eq!(reason(&handle), Some(PythonReason::StaleEvidence));
    std::fs::remove_file(dir.path().join("suite/evidence/messages.json")).unwrap();
    handle.poll();
    assert_eq!(reason(&handle), Some(PythonReason::NoEvidence));
}

#[test]
fn without_the_suite_the_record_is_enough() {
    let dir = TempDir::new();
    let handle = opened(&dir, None);
    std::fs::remove_dir_all(dir.path().join("suite/cases")).unwrap();
    evidence(&dir, |record| record.cases_digest = "from the image's build".into());
    handle.reload().unwrap();
    assert_eq!(reason(&handle), None);
}

#[test]
fn the_last_good_manifest_stays() {
    let dir = TempDir::new();
    let handle = opened(&dir, None);
    dir.write("routes.toml", FILE.replace("mode = \"native\"", "mode = \"nativ\""));
    handle.poll();
    assert_eq!(reason(&handle), None, "still the good one");
    let refused = handle.status().refused.unwrap();
    assert!(refused.message.contains("did you mean `native`"), "{}", refused.message);
    handle.poll();
    assert_eq!(handle.status().refused.unwrap(), refused, "a known bad file is not read again");
    assert!(handle.reload().is_err(), "but SIGHUP does");
    std::fs::remove_file(dir.path().join("routes.toml")).unwrap();
    handle.poll();
    assert_eq!(reason(&handle), None, "a vanished file is no order to change anything");
    dir.write("routes.toml", FILE.replace("mode = \"native\"", "mode = \"python\""));
    handle.poll();
    assert_eq!(reason(&handle), Some(PythonReason::Mode));
    assert_eq!(handle.status().refused, None);
    let text = String::from_utf8(handle.0.metrics.as_ref().unwrap().render()).unwrap();
    assert!(text.contains("litellm_edge_reloads_total{file=\"routes\",result=\"refused\"} 3"), "{text}");
}

#[test]
fn a_bad_file_at_the_start_is_an_error() {
    let dir = TempDir::new();
    let path = dir.write("routes.toml", "schema = 2");
    assert!(ManifestHandle::open(&path, TABLE, None, None).is_err());
    assert!(ManifestHandle::open(&dir.path().join("none.toml"), TABLE, None, None).is_err());
    let path = dir.write("huge.toml", vec![b'#'; (1 << 20) + 1]);
    assert!(ManifestHandle::open(&path, TABLE, None, None).is_err());
}

#[test]
fn every_kill_switch_works_alone() {
    let dir = TempDir::new();
    let handle = opened(&dir, Some("1"));
    assert_eq!(reason(&handle), Some(PythonReason::KillSwitch));
    assert!(handle.switch(false).on(), "the admin cannot undo the environment");

    let handle = opened(&dir, Some("0"));
    assert_eq!(reason(&handle), None);
    assert!(handle.switch(true).admin);
    assert_eq!(reason(&handle), Some(PythonReason::KillSwitch), "at once");
    assert!(!handle.switch(false).on());
    assert_eq!(reason(&handle), None);

    dir.write("all-python", "");
    handle.poll();
    assert_eq!(reason(&handle), Some(PythonReason::KillSwitch));
    handle.switch(true);
    dir.write("all-python", "off\n");
    handle.poll();
    assert_eq!(handle.status().switch, SwitchState { env: false, file: false, admin: true });
    handle.switch(false);
    assert_eq!(reason(&handle), None);
}

#[test]
fn a_switch_file_is_honoured_from_the_start_and_after_a_reload() {
    let dir = TempDir::new();
    dir.write("all-python", "");
    let handle = opened(&dir, None);
    assert_eq!(reason(&handle), Some(PythonReason::KillSwitch));
    dir.write("routes.toml", FILE.replace("[switch]\nfile = \"all-python\"", ""));
    handle.poll();
    assert_eq!(reason(&handle), None);
    dir.write("routes.toml", FILE);
    handle.reload().unwrap();
    assert_eq!(reason(&handle), Some(PythonReason::KillSwitch));
}

#[test]
fn the_python_gateways_version_counts() {
    let dir = TempDir::new();
    let handle = opened(&dir, None);
    handle.set_python_version(Some("1.106.2"));
    assert_eq!(reason(&handle), None);
    handle.set_python_version(Some("1.107.0"));
    assert_eq!(reason(&handle), Some(PythonReason::Version));
    handle.set_python_version(None);
    assert_eq!(reason(&handle), None);
}

#[tokio::test]
async fn watching_finds_a_change() {
    let dir = TempDir::new();
    let handle = opened(&dir, None);
    let watcher = handle.clone();
    let task = tokio::spawn(async move { watcher.watch(Duration::from_millis(10)).await });
    dir.write("routes.toml", FILE.replace("mode = \"native\"", "mode = \"python\""));
    let changed = async {
        while reason(&handle) != Some(PythonReason::Mode) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    task.abort();
}
