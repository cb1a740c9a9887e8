//! `litellm-rust config check`: what the edge makes of every key of config.yaml. Exit 0: fine; 1: LiteLLM would not
//! start with it.
use std::path::PathBuf;

use crate::config;

/// `litellm-rust config ...`
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Print for each key whether it is honoured natively, makes requests go to Python, or has no bearing
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// LiteLLM's config.yaml
    #[arg(long, short, env = "CONFIG_FILE_PATH")]
    config: PathBuf,
    /// machine-readable output
    #[arg(long)]
    json: bool,
}

/// Prints the report to standard output; the exit code says whether the file is one LiteLLM starts with.
pub fn run(args: &ConfigArgs) -> anyhow::Result<std::process::ExitCode> {
    use std::io::Write;
    let ConfigCommand::Check(args) = &args.command;
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let (text, good) = check(args, &env);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if good { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::from(1) })
}

fn check(args: &CheckArgs, env: &config::Env) -> (String, bool) {
    match config::load(&args.config, env) {
        Ok(loaded) if args.json => (format!("{}\n", loaded.report.to_json()), true),
        Ok(loaded) => (loaded.report.to_text() + &summary(&loaded), true),
        Err(error) if args.json => {
            let body = serde_json::json!({ "error": {
                "file": error.file.display().to_string(), "line": error.line, "key": error.key, "problem": error.problem,
            }});
            (format!("{body}\n"), false)
        }
        Err(error) => (format!("error: {error}\n"), false),
    }
}

fn summary(loaded: &config::Loaded) -> String {
    let snapshot = &loaded.snapshot;
    let total: usize = snapshot.groups.values().map(|group| group.deployments.len()).sum();
    let native =
        snapshot.groups.values().flat_map(|group| &group.deployments).filter(|d| d.declines.is_empty()).count();
    let mut text = format!("\n{native} of {total} deployments can be served natively");
    if let Some(first) = snapshot.declines.first() {
        let more = snapshot.declines.len() - 1;
        text += &format!("; but every model call goes to Python because of {}", first.key);
        if more > 0 {
            text += &format!(" and {more} more");
        }
    }
    if snapshot.master_key.is_none() {
        text += "; no master key is set, so every caller is Python's";
    }
    if snapshot.keeps_no_books() {
        text += "; the edge cannot write LiteLLM's spend rows into the configured database: model calls need `accept = \
                 [\"no_spend_rows\"]` in routes.toml";
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: bool, file: &str) -> (String, bool) {
        let config = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        check(&CheckArgs { config, json }, &config::Env::new())
    }

    #[test]
    fn the_check_says_what_is_native_and_why_not() {
        let (text, good) = checked(false, "tests/golden/check/everything.yaml");
        assert!(good && text.contains("litellm_settings.callbacks") && text.contains("declines: callbacks"));
        assert!(text.contains("every model call goes to Python because of"), "{text}");
        let (text, good) = checked(true, "tests/golden/check/everything.yaml");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row =
            json["keys"].as_array().unwrap().iter().find(|row| row["key"] == "litellm_settings.callbacks").unwrap();
        assert!(good && row["decline"] == "callbacks" && row["place"] == "everything.yaml:16");
    }

    #[test]
    fn a_file_litellm_would_not_start_with_is_an_error() {
        for (json, wanted) in [(false, "error: "), (true, "\"line\":")] {
            let (text, good) = checked(json, "tests/yaml/unclosed.yaml");
            assert!(!good && text.contains(wanted), "{text}");
        }
        assert!(!checked(false, "no-such-file.yaml").1);
    }
}
