//! `litellm-rust parity ...`: arguments and files of the parity suite.
use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::{
    parity::{
        canary::Canaries,
        case,
        provider::Provider,
        redis::Redis,
        report::{self, Report, Verdict},
        rows::Rows,
        run::{Phase, Runner},
        tolerated::{Tolerated, glob},
        verdict::judge,
    },
    secret::Secret,
};

/// Runs the same cases against the Python gateway and the edge, and compares.
#[derive(Debug, Subcommand)]
pub enum ParityCommand {
    /// Run cases and compare; writes reports and, for whole routes, evidence
    Run(RunArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// only this route (may be given more than once)
    #[arg(long)]
    pub route: Vec<String>,
    /// only cases whose file name matches, `*` is any text
    #[arg(long, default_value = "*")]
    pub case: String,
    /// folder of the suite
    #[arg(long, default_value = "parity-tests")]
    pub suite: PathBuf,
    /// a running Python gateway (needs --edge and --provider-port)
    #[arg(long, requires = "edge")]
    pub python: Option<String>,
    /// a running edge
    #[arg(long, requires = "python")]
    pub edge: Option<String>,
    /// the port both gateways' config expects the scripted provider on
    #[arg(long, default_value_t = 0)]
    pub provider_port: u16,
    /// where reports go
    #[arg(long, default_value = "parity-tests/out")]
    pub out: PathBuf,
    #[arg(
        long,
        env = "LITELLM_MASTER_KEY",
        hide_env_values = true,
        default_value = "sk-parity-master",
        hide_default_value = true
    )]
    pub master_key: String,
    /// all differences of failed cases, not only the first ones
    #[arg(long)]
    pub verbose: bool,
}

/// Runs one command.
pub fn main(command: ParityCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("parity: {error}");
            return ExitCode::from(3);
        }
    };
    let result = match command {
        ParityCommand::Run(args) => runtime.block_on(run(args)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("parity: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let mut cases = case::load(&args.suite.join("cases"))?;
    cases.retain(|case| {
        (args.route.is_empty() || args.route.contains(&case.route))
            && glob(&args.case, case.name.rsplit('/').next().unwrap_or_default())
    });
    if cases.is_empty() {
        bail!("no case matches");
    }
    let tolerated = std::fs::read_to_string(args.suite.join("tolerated.toml")).unwrap_or_default();
    let tolerated = Tolerated::parse(&tolerated)?;
    let (Some(python), Some(edge)) = (&args.python, &args.edge) else { bail!("--python and --edge") };
    let provider = Provider::start(args.provider_port).await?;
    let master_key = Secret::new(&args.master_key);
    let canaries = Canaries::new([("the master key", master_key.clone())]);
    let rows = match std::env::var("DATABASE_URL") {
        Ok(url) => Some(Rows::connect(&Secret::new(url)).await?),
        Err(_) => None,
    };
    let redis = match std::env::var("REDIS_PORT") {
        Ok(port) => Some(Redis::connect(&format!("127.0.0.1:{port}")).await?),
        Err(_) => None,
    };
    let mut runner = Runner {
        python: address(python)?,
        edge: address(edge)?,
        provider,
        master_key,
        canaries: canaries.clone(),
        rows,
        own_database: true,
        redis,
        edge_log: None,
    };
    let a = runner.phase(Phase::Python, &cases, |_| ()).await?;
    let b = runner.phase(Phase::Noise, &cases, |_| ()).await?;
    let c = runner.phase(Phase::Edge, &cases, |_| ()).await?;
    let mut results = Vec::new();
    for (((case, a), b), c) in cases.iter().zip(&a.cases).zip(&b.cases).zip(&c.cases) {
        results.push(judge(case, a, b, c, &tolerated));
    }
    std::fs::create_dir_all(&args.out)?;
    let report = Report {
        schema: 1,
        result: Verdict::Red,
        litellm_version: "?".into(),
        source_digest: None,
        started: String::new(),
        finished: String::new(),
        routes: report::count(&results),
        complaints: vec![],
        cases: results,
    };
    std::fs::write(args.out.join("report.json"), report::json(&report, &canaries)?)?;
    print!("{}", report::terminal(&report, &canaries, args.verbose));
    Ok(report.result.exit_code())
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    rest.to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("{url}: not http://host:port"))
}
