//! The benchmark: the bare provider, the Python gateway, the edge and any other gateway side by side in one run.
//!
//!     make bench        (or: cargo run --release --example speed -- --help)
//!
//! Provider and client are this program's own, the provider in a process of its own. What is compared is measured within
//! seconds of each other, in alternating rounds; between runs a shared machine drifts. docs/speed.md says how to read it.
// what fails here fails a measurement, not a request
#![allow(clippy::indexing_slicing)]

mod answer;
mod backing;
mod budgets;
mod docs;
mod forwarder;
mod gateway;
mod load;
mod options;
mod plan;
mod plot;
mod process;
mod provider;
mod report;
mod rows;
mod run;
#[cfg(test)]
mod smoke;
mod table;
mod traffic;
mod works;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{options::Options, report::Report};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, port] if command == "provider" => return Ok(provider::run(port.parse()?)?),
        [command, port, provider] if command == "forwarder" => {
            return Ok(forwarder::run(port.parse()?, provider.parse()?)?);
        }
        [help] if help == "--help" || help == "-h" => {
            print!("{}", options::USAGE);
            return Ok(());
        }
        _ => {}
    }
    let options = Options::parse(arguments.into_iter())?;
    if options.write_docs {
        return docs::write(&options.out);
    }
    process::stop_all_on_signal()?;
    let Some(report) = run::run(&options)? else { return Ok(()) };
    save(&report, &options)?;
    print!("{}", table::terminal(&report));
    println!("\n{0}/result.json, {0}/speed.svg", options.out.display());
    let failed = report.rows.iter().filter(|row| row.error.is_some()).count();
    if failed > 0 {
        bail!("{failed} rows failed");
    }
    Ok(())
}

fn save(report: &Report, options: &Options) -> Result<()> {
    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    fs::write(options.out.join("result.json"), serde_json::to_string_pretty(report)? + "\n")?;
    fs::write(options.out.join("speed.svg"), plot::svg(report))?;
    Ok(())
}
