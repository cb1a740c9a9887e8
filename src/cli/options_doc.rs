//! `docs/options.md`: every option of `serve`, out of clap's own table.
use clap::{Arg, ArgAction, Args, Command};

use super::serve::Options;

/// The page; a test keeps the file like it.
pub fn page() -> String {
    let mut page = String::from(
        "# Options\n\n\
         <!-- written from src/cli/serve.rs; UPDATE=1 cargo test --test readme writes it anew -->\n\n\
         `litellm-rust [OPTIONS]` and `litellm-rust serve [OPTIONS]`. The command line wins over the environment. Durations\n\
         are written `500ms`, `30s`, `5m`, `1h`; a bare number is seconds. What the limits are for: [deploying.md](deploying.md).\n",
    );
    for option in Options::augment_args(Command::new("serve")).get_arguments() {
        section(&mut page, option);
    }
    page
}

fn section(page: &mut String, option: &Arg) {
    let Some(name) = option.get_long() else { return };
    let flag = matches!(option.get_action(), ArgAction::SetTrue);
    let value = option.get_value_names().and_then(|names| names.first()).filter(|_| !flag);
    let value = value.map(|value| format!(" <{value}>")).unwrap_or_default();
    let help = option.get_long_help().or(option.get_help()).map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## `--{name}{value}`\n\n{help}\n"));
    let mut facts = Vec::new();
    if let Some(env) = option.get_env() {
        facts.push(format!("- environment: `{}`", env.to_string_lossy()));
    }
    let possible = option.get_possible_values();
    if !flag && !possible.is_empty() {
        let names: Vec<String> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
        facts.push(format!("- one of: {}", names.join(", ")));
    }
    let default: Vec<_> = option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !flag && !default.is_empty() {
        facts.push(format!("- default: `{}`", default.join(" ")));
    }
    if !facts.is_empty() {
        page.push_str(&format!("\n{}\n", facts.join("\n")));
    }
}
