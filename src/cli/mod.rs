//! The command line: one file a subcommand, no logic.
mod admission;
pub mod config;
#[cfg(feature = "faults")]
mod mutants;
pub mod options_doc;
pub mod parity;
mod record;
pub mod routes;
mod serve;
mod traces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::routes::table::NATIVE_ROUTES;

/// Exit codes of all subcommands.
pub mod exit {
    pub const OK: u8 = 0;
    /// something was found: a finding, a difference, a refused file
    pub const FOUND: u8 = 1;
    pub const USAGE: u8 = 2;
    /// a port, a file or another process failed
    pub const INFRASTRUCTURE: u8 = 3;
    pub const INCONCLUSIVE: u8 = 4;
}

/// A Rust edge in front of the LiteLLM proxy: serves migrated routes itself, passes the rest through unchanged.
#[derive(Debug, Parser)]
#[command(name = "litellm-rust", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Options,
}

/// Without a subcommand the edge serves. Each further subcommand is a variant here, an arm in [`main`] and a file.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the same as no subcommand)
    Serve(Box<serve::Options>),
    /// The parity suite
    #[command(subcommand)]
    Parity(parity::ParityCommand),
    /// Which requests the edge serves itself
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// LiteLLM's config.yaml as the edge understands it
    Config(config::ConfigArgs),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match cli.command {
        None => ExitCode::from(serve::run(cli.serve)),
        Some(Command::Serve(options)) => ExitCode::from(serve::run(*options)),
        Some(Command::Parity(command)) => parity::main(command),
        Some(Command::Config(args)) => config::run(&args).unwrap_or(ExitCode::from(exit::INFRASTRUCTURE)),
        Some(Command::Routes(command)) => ExitCode::from(routes::run(command, NATIVE_ROUTES, Some(&admission::ask))),
    }
}
