//! The command line: one file a subcommand, no logic.
use std::process::ExitCode;

pub mod parity;

/// Exit codes: 0 ok, 1 found something, 2 usage, 3 infrastructure, 4 inconclusive.
pub fn main() -> ExitCode {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }
    #[derive(clap::Subcommand)]
    enum Command {
        #[command(subcommand)]
        Parity(parity::ParityCommand),
    }
    let Command::Parity(command) = <Cli as clap::Parser>::parse().command;
    parity::main(command)
}
