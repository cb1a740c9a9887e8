//! The command line: one file a subcommand, no logic.
pub mod config;

use std::process::ExitCode;

/// Exit codes: 0 ok, 1 found something, 2 usage, 3 infrastructure, 4 inconclusive.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
