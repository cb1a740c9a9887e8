//! `litellm-rust parity ...`: arguments in, exit code out. Codes: 0 green, 1 red, 2 usage, 3 infrastructure, 4 inconclusive.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::{
    manifest::{digest::SOURCE_DIGEST, schema},
    parity::{
        canary::Canaries,
        evidence,
        gateway::{self, Base},
        managed::{EdgePlace, Managed, PROVIDER_KEY},
        provider::Provider,
        redis::Redis,
        report::{self, Standing},
        rows::Rows,
        run::{Edge, Runner},
        sdk::{self, Sdks},
        suite::{self, Builds, Selection, SuiteError},
    },
    routes::litellm_headers::LITELLM_VERSION,
    secret::Secret,
};

use super::record::RecordArgs;

/// Drive the Python gateway and the edge with the same cases and compare.
#[derive(Debug, Subcommand)]
pub enum ParityCommand {
    /// Run cases and compare; writes reports and, for whole routes, evidence
    Run(Box<RunArgs>),
    /// Render the reports of a run again from its report.json
    Report(ReportArgs),
    /// Run the edge and turn live traffic into cases
    Record(Box<RecordArgs>),
    /// May this route be native? 0 yes, 1 no, 4 there is no usable evidence
    CanFlip(CanFlipArgs),
    /// Stop the reference that `run --keep` left running
    Down(SuiteArgs),
    /// See every built-in fault turn the suite red
    #[cfg(feature = "faults")]
    Mutants(super::mutants::MutantsArgs),
}

#[derive(Debug, Args)]
pub struct SuiteArgs {
    /// Folder of the suite
    #[arg(long, env = "LITELLM_PARITY_SUITE", default_value = "parity-tests")]
    pub suite: PathBuf,
    /// Data and logs of the reference [default: a folder in the system's temporary folder, one per suite]
    #[arg(long, env = "LITELLM_PARITY_STATE")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub place: SuiteArgs,
    /// Only this route (may be given more than once)
    #[arg(long)]
    pub route: Vec<String>,
    /// Only cases whose file name matches; `*` is any text
    #[arg(long, default_value = "*")]
    pub case: String,
    /// Leave the reference running for the next run
    #[arg(long)]
    pub keep: bool,
    /// Leave out the cases that SDKs drive; their routes get no evidence
    #[arg(long)]
    pub without_clients: bool,
    /// Manifest for the edge [default: routes.toml in the suite's folder]
    #[arg(long)]
    pub routes: Option<PathBuf>,
    /// The edge's binary [default: this one]
    #[arg(long)]
    pub edge_binary: Option<PathBuf>,
    /// A running Python gateway; with --edge nothing is started
    #[arg(long, requires_all = ["edge", "provider_port"])]
    pub python: Option<String>,
    /// A running edge
    #[arg(long, requires = "python")]
    pub edge: Option<String>,
    /// With --python: the port on which both gateways' config.yaml has the scripted provider
    #[arg(long)]
    pub provider_port: Option<u16>,
    /// With --python: the Python gateway's database; rows are compared
    #[arg(long, requires = "python", hide_env_values = true)]
    pub database_url: Option<String>,
    /// With --python: host:port of the Python gateway's Redis; keys are compared
    #[arg(long, requires = "python")]
    pub redis: Option<String>,
    /// With --python: the edge's log, scanned for keys and prompts
    #[arg(long, requires = "python")]
    pub edge_log: Option<PathBuf>,
    /// Master key of both sides
    #[arg(long, env = "PARITY_MASTER_KEY", hide_env_values = true, default_value = "sk-parity-master")]
    pub master_key: String,
    /// Folder for report.json, junit.xml and edge.log [default: out in the suite's folder]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Where the JUnit report goes instead
    #[arg(long)]
    pub junit: Option<PathBuf>,
    /// Write no evidence
    #[arg(long)]
    pub no_evidence: bool,
    /// Show all differences of failed cases
    #[arg(long, short)]
    pub verbose: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// report.json of a run
    #[arg(default_value = "parity-tests/out/report.json")]
    pub report: PathBuf,
    /// Folder for report.html and junit.xml [default: the one of report.json]
    #[arg(long)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CanFlipArgs {
    pub route: String,
    /// Folder of the suite
    #[arg(long, env = "LITELLM_PARITY_SUITE", default_value = "parity-tests")]
    pub suite: PathBuf,
    /// The manifest whose versions and max_age count
    #[arg(long, default_value = "routes.toml")]
    pub routes: PathBuf,
}

const INFRASTRUCTURE: u8 = 3;
const USAGE: u8 = 2;

/// Runs one command.
pub fn main(command: ParityCommand) -> ExitCode {
    let command = match command {
        // the edge has a runtime of its own
        ParityCommand::Record(args) => return ExitCode::from(super::record::run(*args)),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("parity: {error}");
            return ExitCode::from(INFRASTRUCTURE);
        }
    };
    let result = match command {
        ParityCommand::Run(args) => runtime.block_on(run(&args)),
        ParityCommand::Record(_) => Ok(USAGE), // went its own way above
        ParityCommand::Report(args) => report_again(&args),
        ParityCommand::CanFlip(args) => can_flip(&args),
        ParityCommand::Down(args) => runtime.block_on(down(&args)),
        #[cfg(feature = "faults")]
        ParityCommand::Mutants(args) => runtime.block_on(super::mutants::run(&args)),
    };
    // a connection that hangs in a case must not hold the exit
    runtime.shutdown_background();
    ExitCode::from(result.unwrap_or_else(|error| {
        eprintln!("parity: {error:#}");
        match error.downcast_ref::<SuiteError>() {
            Some(SuiteError::Run(_) | SuiteError::Io { .. }) | None => INFRASTRUCTURE,
            Some(_) => USAGE,
        }
    }))
}

fn can_flip(args: &CanFlipArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.routes).with_context(|| args.routes.display().to_string())?;
    let routes = schema::parse(&args.routes.display().to_string(), &text)?;
    Ok(match evidence::can_flip(&args.suite, &routes, &args.route, SystemTime::now()) {
        Ok(text) => {
            println!("{text}");
            0
        }
        Err((code, why)) => {
            println!("{why}");
            code
        }
    })
}

/// The exit code is the run's.
fn report_again(args: &ReportArgs) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(&args.report).with_context(|| args.report.display().to_string())?;
    let report = report::Report::parse(&text).with_context(|| args.report.display().to_string())?;
    let beside = args.report.parent().unwrap_or(Path::new("."));
    suite::write_reports(&report, args.out.as_deref().unwrap_or(beside), None)?;
    print!("{}", report::terminal(&report, false));
    Ok(report.result.exit_code())
}

/// What routes.toml and the evidence say of the routes that ran, for the report.
fn standing(args: &RunArgs, report: &report::Report) -> BTreeMap<String, Standing> {
    let path = args.routes.clone().unwrap_or_else(|| args.place.suite.join("routes.toml"));
    let read = std::fs::read_to_string(&path).ok();
    let Some(file) = read.and_then(|text| schema::parse(&path.display().to_string(), &text).ok()) else {
        return BTreeMap::new();
    };
    let listed = file.routes.iter().filter(|entry| report.routes.contains_key(&entry.id));
    let of = |entry: &schema::RouteEntry| {
        let (can_flip, why) = match evidence::can_flip(&args.place.suite, &file, &entry.id, SystemTime::now()) {
            Ok(why) => (0, why),
            Err(no) => no,
        };
        let evidence = evidence::finished(&args.place.suite, &entry.id);
        (entry.id.clone(), Standing { mode: Some(entry.mode.as_str().to_owned()), evidence, can_flip, why })
    };
    listed.map(of).collect()
}

/// The command line that runs the same again; secrets are named, not shown.
fn command(args: &RunArgs) -> String {
    let mut words = vec!["litellm-rust parity run".to_owned()];
    let mut add = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("--{name} {value}")));
    add("suite", Some(args.place.suite.display().to_string()).filter(|suite| suite != "parity-tests"));
    add("python", args.python.clone());
    add("edge", args.edge.clone());
    add("provider-port", args.provider_port.map(|port| port.to_string()));
    words.join(" ")
}

async fn down(args: &SuiteArgs) -> anyhow::Result<u8> {
    Managed::new(&args.suite, &state(args)?, Secret::new(""))?.down().await?;
    Ok(0)
}

/// One state folder per suite: two checkouts do not meet.
pub(super) fn state(args: &SuiteArgs) -> anyhow::Result<PathBuf> {
    if let Some(state) = &args.state {
        return std::path::absolute(state).context("--state");
    }
    let suite = args.suite.canonicalize().with_context(|| args.suite.display().to_string())?;
    let digest = crate::manifest::digest::bytes(suite.as_os_str().as_encoded_bytes());
    Ok(std::env::temp_dir().join(format!("litellm-parity-{}", digest.get(..12).unwrap_or_default())))
}

/// The real clients, none of them started yet.
pub(super) fn sdks(suite: &Path) -> anyhow::Result<Sdks> {
    let programs = std::path::absolute(suite.join("clients")).context("the clients' folder")?;
    Ok(Sdks::new(sdk::installed(), programs))
}

async fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let mut selection = Selection::read(&args.place.suite, &args.route, &args.case)?;
    if args.python.is_some() {
        let left = selection.without(|case| case.config.is_some());
        if left > 0 {
            eprintln!("parity: {left} cases with a config of their own need an edge that is started here: left out");
        }
    }
    if args.without_clients {
        selection.without(|case| case.client.is_some());
    }
    let out = args.out.clone().unwrap_or_else(|| args.place.suite.join("out"));
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let mut managed = Managed::new(&args.place.suite, &state(&args.place)?, Secret::new(&args.master_key))?;
    let result = tokio::select! {
        result = whole_run(args, &selection, &out, &mut managed) => result,
        signal = interrupted() => Err(anyhow::anyhow!("stopped by {signal}")),
    };
    let stopped = if args.python.is_none() { managed.stop(args.keep).await } else { Ok(()) };
    let code = result?;
    stopped?;
    Ok(code)
}

async fn whole_run(args: &RunArgs, selection: &Selection, out: &Path, managed: &mut Managed) -> anyhow::Result<u8> {
    let say = |text: &str| eprintln!("parity: {text}");
    let master_key = Secret::new(&args.master_key);
    let canaries =
        Canaries::new([("the master key", master_key.clone()), ("the provider's key", Secret::new(PROVIDER_KEY))]);
    let sdks = sdks(&args.place.suite)?;
    let mut runner = match (&args.python, &args.edge) {
        (Some(python), Some(edge)) => {
            let rows = match &args.database_url {
                Some(url) => Some(Rows::connect(&Secret::new(url)).await.context("--database-url")?),
                None => None,
            };
            let redis = match &args.redis {
                Some(address) => Some(Redis::connect(address).await.context("--redis")?),
                None => None,
            };
            Runner {
                python: Base::parse(python)?,
                edge: Edge { base: Base::parse(edge)?, log: args.edge_log.clone() },
                configured: BTreeMap::new(),
                edge_speaks: true,
                provider: Provider::start(args.provider_port.unwrap_or_default()).await.context("--provider-port")?,
                sdks,
                master_key,
                canaries: canaries.clone(),
                rows,
                exclusive: false,
                redis,
            }
        }
        _ => {
            say("starting the reference (the first time takes a minute or two)");
            let provider = managed.start().await?;
            let binary = match &args.edge_binary {
                Some(binary) => binary.clone(),
                None => std::env::current_exe().context("this binary's path")?,
            };
            let place = EdgePlace { suite: &args.place.suite, routes: args.routes.as_deref(), binary: &binary, out };
            let edge = place.start(managed, None, &[]).await?;
            let mut configured = BTreeMap::new();
            for name in selection.cases.iter().filter_map(|case| case.config.as_deref()) {
                if !configured.contains_key(name) {
                    configured.insert(name.to_owned(), place.start(managed, Some(name), &[]).await?);
                }
            }
            Runner {
                python: managed.python().into(),
                edge,
                configured,
                edge_speaks: true,
                provider,
                sdks,
                master_key,
                canaries: canaries.clone(),
                rows: Some(Rows::connect(&managed.database_url()).await.context("postgres")?),
                exclusive: true,
                redis: Some(Redis::connect(&managed.redis()).await.context("redis")?),
            }
        }
    };
    let key = &runner.master_key;
    let builds = Builds {
        litellm_version: gateway::litellm_version(&runner.python, key, LITELLM_VERSION).await?,
        source_digest: gateway::edge_digest(&runner.edge.base, key, SOURCE_DIGEST, Duration::from_secs(30)).await?,
    };
    for edge in runner.configured.values() {
        gateway::edge_digest(&edge.base, key, SOURCE_DIGEST, Duration::from_secs(30)).await?;
    }
    runner.edge_speaks = builds.source_digest.is_some();
    let mut report = suite::run(&mut runner, selection, &builds, say).await?;
    if builds.source_digest.is_none() {
        say("the edge does not say which build it is: no evidence is written");
    } else if !args.no_evidence && !cfg!(feature = "faults") {
        for written in suite::write_evidence(&report, selection, &args.place.suite)? {
            say(&format!("evidence: {written}"));
        }
    }
    report.standing = standing(args, &report);
    report.command = command(args);
    let canaries = selection.cases.iter().fold(canaries, |canaries, case| canaries.of_case(case));
    let report = report.redacted(&canaries).context("the report")?;
    suite::write_reports(&report, out, args.junit.as_deref())?;
    print!("{}", report::terminal(&report, args.verbose));
    say(&format!("report: {}", out.join("report.html").display()));
    Ok(report.result.exit_code())
}

pub(super) async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "SIGINT",
        _ = terminated.recv() => "SIGTERM",
    }
}
