//! The `routes` subcommands over real files, with the clock and the native table of the manifest's tests.
use clap::Parser;

use super::*;
use crate::manifest::testing::{self, NOW, TABLE, TempDir};

const FILE: &str = r#"schema = 1 # kept
[gate]
evidence = "evidence"
[switch]
file = "all-python"
[[route]]
id = "messages"
mode = "python" # until it is green
match = { methods = ["POST"], paths = ["/v1/messages"] }
[[route]]
id = "models"
mode = "native"
match = { methods = ["GET"], paths = ["/v1/models"] }
"#;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: RoutesCommand,
}

fn setup() -> TempDir {
    let dir = TempDir::new();
    dir.write("routes.toml", FILE);
    dir.write("evidence/messages.json", serde_json::to_vec(&testing::record("messages", "src")).unwrap());
    dir
}

fn call_with(dir: &TempDir, args: &[&str], admission: Option<Admission<'_>>) -> (u8, String) {
    let routes = dir.path().join("routes.toml");
    let line = ["routes"].into_iter().chain(args.iter().copied()).chain(["--routes", routes.to_str().unwrap()]);
    let command = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command;
    let world = World { native: TABLE, source_digest: "src", now: NOW(), env_all_python: false, admission };
    let mut out = String::new();
    let code = world.run(command, &mut out).unwrap_or_else(|error| panic!("{error:#}"));
    (code, out)
}

fn call(dir: &TempDir, args: &[&str]) -> (u8, String) {
    call_with(dir, args, None)
}

#[test]
fn status_says_what_runs_where() {
    let dir = setup();
    let (code, out) = call(&dir, &["status"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "ROUTE     MODE    RUNS    EVIDENCE   WHY\n\
         messages  python  python  fresh, 60m  the entry's mode is python\n"
            .replace("EVIDENCE   WHY", "EVIDENCE    WHY")
            + "models    native  python  missing     there is no evidence for this route: run the parity suite\n"
    );
    let (_, out) = call(&dir, &["status", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["routes"][1]["reason"], "no_evidence");
    assert_eq!(value["routes"][0]["evidence_age_seconds"], 3600);
    dir.write("all-python", "");
    assert!(call(&dir, &["status"]).1.starts_with("the kill switch is on"));
}

#[test]
fn explain_names_route_side_and_reason() {
    let dir = setup();
    let (code, out) = call(&dir, &["explain", "post", "/v1/messages?beta=true"]);
    assert_eq!(code, 0);
    assert!(out.contains("route:    messages\n") && out.contains("reason:   mode\n"), "{out}");
    let (_, out) = call(&dir, &["explain", "GET", "/nowhere"]);
    assert!(out.contains("route:    other\n") && out.contains("reason:   unlisted\n"), "{out}");
    assert_eq!(call(&dir, &["explain", "G T", "/x"]).0, 2);
}

#[test]
fn explain_asks_the_admission_where_it_can() {
    let dir = setup();
    assert_eq!(call(&dir, &["flip", "messages", "native"]).0, 0);
    let body = dir.write("body.json", "{}");
    let args = ["explain", "POST", "/v1/messages", "--body", body.to_str().unwrap(), "--config", "c.yaml", "--json"];
    let declines: Admission<'_> = &|question| {
        assert_eq!((question.route.id, question.body, question.config), ("messages", &b"{}"[..], Path::new("c.yaml")));
        Ok(Some("missing_field".to_owned()))
    };
    let value: Value = serde_json::from_str(&call_with(&dir, &args, Some(declines)).1).unwrap();
    assert_eq!((&value["side"], &value["decline"]), (&json!("native"), &json!("missing_field")));
    let admits: Admission<'_> = &|_| Ok(None);
    let value: Value = serde_json::from_str(&call_with(&dir, &args, Some(admits)).1).unwrap();
    assert_eq!(value["decline"], "none: admitted");
}

#[test]
fn flip_writes_only_what_it_may() {
    let dir = setup();
    let path = dir.path().join("routes.toml");
    let text = || fs::read_to_string(&path).unwrap();
    for (args, code, word) in [
        (&["flip", "models", "native"][..], 1, "no evidence"),
        (&["flip", "models", "canary", "--percent", "5"], 1, "no evidence"),
        (&["flip", "message", "native"], 1, "did you mean `messages`"),
        (&["flip", "messages", "canary"], 2, "--percent"),
        (&["flip", "messages", "native", "--percent", "5"], 2, "canary's"),
        (&["flip", "messages", "canary", "--percent", "500"], 1, "between 0 and 100"),
        (&["flip", "messages", "python"], 0, "already"),
    ] {
        let (found, out) = call(&dir, args);
        assert_eq!(found, code, "{args:?}: {out}");
        assert!(out.contains(word), "{args:?}: {out}");
        assert_eq!(text(), FILE, "{args:?}");
    }
    assert_eq!(call(&dir, &["flip", "messages", "native"]).0, 0);
    assert_eq!(text(), FILE.replace("\"python\" # until", "\"native\" # until"));
    assert_eq!(call(&dir, &["flip", "messages", "canary", "--percent", "5", "--key", "ip"]).0, 0);
    assert!(text().contains("canary = { percent = 5, key = \"ip\" }"));
    assert_eq!(call(&dir, &["flip", "models", "python"]).0, 0, "back to Python without any evidence");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("next")), "{left:?}");
}

#[test]
fn flip_follows_a_link_and_keeps_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = setup();
    let (real, link) = (dir.path().join("real.toml"), dir.path().join("routes.toml"));
    fs::rename(&link, &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(call(&dir, &["flip", "messages", "native"]).0, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("mode = \"native\" # until"));
}

#[test]
fn lint_finds_and_says_where() {
    let dir = setup();
    let (code, out) = call(&dir, &["lint"]);
    assert_eq!(code, 1);
    assert!(out.contains("routes.toml: unlisted: management: no entry lists"), "{out}");
    dir.write("routes.toml", include_str!("../../routes.toml"));
    let (code, out) = call(&dir, &["lint"]);
    assert_eq!((code, out.ends_with("nothing found\n")), (0, true), "{out}");
    let (_, out) = call(&dir, &["lint", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["findings"], json!([]));
}

#[test]
fn exit_codes_of_files_that_cannot_be_used() {
    let dir = TempDir::new();
    let routes = dir.path().join("routes.toml");
    let line =
        |routes: &Path| RoutesCommand::Lint(LintArgs { file: FileArgs { routes: routes.to_owned() }, json: false });
    assert_eq!(run(line(&routes), TABLE, None), exit::INFRASTRUCTURE, "no such file");
    dir.write("routes.toml", "schema = 1\n[[route]]\n");
    assert_eq!(run(line(&routes), TABLE, None), exit::FOUND, "a file that is refused");
}
