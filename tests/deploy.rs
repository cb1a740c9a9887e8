//! What deploy/ says is what the binary takes: YAML that parses, options that exist, pages that answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn options_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | '[' | ']' | '`' | '\''))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.split('=').next().unwrap_or(word).to_owned())
        .collect()
}

#[test]
fn the_options_of_the_deployment_files_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_litellm-rust")).arg("--help").output().unwrap();
    let known = options_in(&String::from_utf8(help.stdout).unwrap());
    assert!(known.contains("--config") && known.contains("--python"), "{known:?}");
    let commands = |path: &str, marks: &[&str]| {
        let text = read(path);
        let lines: Vec<&str> = text.lines().filter(|line| marks.iter().any(|mark| line.contains(mark))).collect();
        assert!(!lines.is_empty(), "{path}");
        options_in(&lines.join("\n"))
    };
    for (path, marks) in [
        ("deploy/Dockerfile", &["ENTRYPOINT", "CMD"][..]),
        ("deploy/compose.yaml", &["command:"]),
        ("deploy/kubernetes/sidecar-patch.yaml", &["args:"]),
        ("deploy/systemd/litellm-rust.service", &["ExecStart="]),
    ] {
        for option in commands(path, marks) {
            assert!(known.contains(&option), "{path}: {option} is no option of the binary");
        }
    }
}

#[test]
fn the_yaml_parses_and_puts_the_edge_in_front() {
    let compose: serde_yaml::Value = serde_yaml::from_str(&read("deploy/compose.yaml")).unwrap();
    assert_eq!(compose["services"]["edge"]["ports"][0], "4000:4000");
    assert!(compose["services"]["litellm"].get("ports").is_none(), "Python is not to be reached past the edge");
    let patch: serde_yaml::Value = serde_yaml::from_str(&read("deploy/kubernetes/sidecar-patch.yaml")).unwrap();
    let containers = &patch["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["name"], "edge");
    assert_eq!(containers[0]["ports"][0]["containerPort"], 4000);
    assert_eq!(containers[0]["readinessProbe"]["httpGet"]["path"], "/edge/ready");
}
