//! `litellm-rust parity mutants`: arguments in, exit code out. 0: every fault is noticed; 1: one is not.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;

use super::parity::{SuiteArgs, sdks, state};
use crate::{
    manifest::digest::SOURCE_DIGEST,
    parity::{
        canary::Canaries,
        gateway,
        managed::{EdgePlace, Managed, PROVIDER_KEY},
        mutants::{self, Caught},
        run::{Edge, Runner},
    },
    routes::litellm_headers::LITELLM_VERSION,
    secret::Secret,
};

#[derive(Debug, Args)]
pub struct MutantsArgs {
    #[command(flatten)]
    place: SuiteArgs,
    /// Only faults whose name matches; `*` is any text
    #[arg(long, default_value = "*")]
    fault: String,
    /// Leave the reference running for the next run
    #[arg(long)]
    keep: bool,
    /// Folder for the edges' logs [default: out/mutants in the suite's folder]
    #[arg(long)]
    out: Option<PathBuf>,
}

const MASTER_KEY: &str = "sk-parity-master";

pub(super) async fn run(args: &MutantsArgs) -> anyhow::Result<u8> {
    let mut managed = Managed::new(&args.place.suite, &state(&args.place)?, Secret::new(MASTER_KEY))?;
    let result = tokio::select! {
        result = whole(args, &mut managed) => result,
        signal = super::parity::interrupted() => Err(anyhow::anyhow!("stopped by {signal}")),
    };
    let stopped = managed.stop(args.keep).await;
    let caught = result?;
    stopped?;
    print!("{}", mutants::table(&caught));
    Ok(if caught.iter().all(Caught::is_right) { super::exit::OK } else { super::exit::FOUND })
}

async fn whole(args: &MutantsArgs, managed: &mut Managed) -> anyhow::Result<Vec<Caught>> {
    let say = |text: &str| eprintln!("mutants: {text}");
    let out = args.out.clone().unwrap_or_else(|| mutants::logs(&args.place.suite));
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    say("starting the reference");
    let provider = managed.start().await?;
    let binary = std::env::current_exe().context("this binary's path")?;
    let place = EdgePlace { suite: &args.place.suite, routes: None, binary: &binary, out: &out };
    let master_key = Secret::new(MASTER_KEY);
    let secrets = [("the master key", master_key.clone()), ("the provider's key", Secret::new(PROVIDER_KEY))];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut runner = Runner {
        python: managed.python().into(),
        edge: Edge { base: nowhere.into(), log: None },
        edge_speaks: true,
        configured: BTreeMap::new(),
        provider,
        sdks: sdks(&args.place.suite)?,
        master_key,
        canaries: Canaries::new(secrets),
        // native calls write neither: there is nothing to break yet
        rows: None,
        redis: None,
        exclusive: true,
    };
    gateway::litellm_version(&runner.python, &runner.master_key, LITELLM_VERSION).await?;
    runner.edge = place.start(managed, None, &[]).await?;
    gateway::edge_digest(&runner.edge.base, &runner.master_key, SOURCE_DIGEST, Duration::from_secs(30)).await?;
    managed.stop_edges().await?;
    Ok(mutants::run(&mut runner, managed, &place, &args.fault, say).await?)
}
