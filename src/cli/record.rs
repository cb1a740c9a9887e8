//! `litellm-rust parity record`: the serving edge, with a recorder plugged in.
use std::{net::TcpListener, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;

use super::{exit, serve};
use crate::{
    config::ConfigHandle,
    edge::Hooks,
    parity::record::{Options, Recorder, proxy, redact::Rules},
    routes::Services,
    upstream::Client,
};

/// The options of `serve`, and what is recorded. Exit codes are those of `serve`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Folder of a suite; cases go to cases/<route>/ in it
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Forward providers' calls of the Python gateway, and record them: api_base in its config.yaml names the address
    /// (may be given more than once)
    #[arg(long, value_name = "HOST:PORT=URL", value_parser = provider)]
    provider: Vec<(String, String)>,
    /// Only this route (may be given more than once); pass_through: what neither routes.toml nor the edge has a name for
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// How many of the requests
    #[arg(long, default_value_t = 100.0, value_name = "PERCENT", value_parser = percent)]
    percent: f64,
    /// Then the edge goes on and records no more
    #[arg(long, default_value_t = 200, value_name = "N")]
    max_cases: usize,
    /// Bytes of each body; a request with a longer one becomes no case
    #[arg(long, default_value_t = 256 << 10, value_name = "BYTES")]
    max_body: usize,
    /// JSON key whose value is taken out, at any depth (may be given more than once): user, content, ...
    #[arg(long, value_name = "KEY")]
    redact_field: Vec<String>,
    /// What matches is taken out (may be given more than once)
    #[arg(long, value_name = "REGEX")]
    redact_pattern: Vec<regex::Regex>,
    /// Header that is left out (may be given more than once)
    #[arg(long, value_name = "NAME")]
    redact_header: Vec<String>,
    /// Header of requests that is recorded besides the usual ones (may be given more than once)
    #[arg(long, value_name = "NAME")]
    keep_header: Vec<String>,
    #[command(flatten)]
    serve: serve::Options,
}

fn percent(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or("must be 0 to 100".into())
}

fn provider(text: &str) -> Result<(String, String), String> {
    let (listen, target) = text.split_once('=').ok_or("must be HOST:PORT=URL")?;
    let uri: http::Uri = target.parse().map_err(|_| "the URL is none")?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.query().is_none() => Ok((listen.to_owned(), target.to_owned())),
        _ => Err("the URL must begin with http:// or https:// and have no query".into()),
    }
}

/// Serves and records until told to stop.
pub(super) fn run(args: RecordArgs) -> u8 {
    let lower = |names: Vec<String>| names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
    let rules = Rules {
        fields: args.redact_field.into_iter().collect(),
        patterns: args.redact_pattern,
        headers: lower(args.redact_header),
        keep: lower(args.keep_header),
    };
    let options = Options {
        out: args.out,
        max_cases: args.max_cases,
        max_body: args.max_body,
        percent: args.percent,
        routes: args.route.into_iter().collect(),
        rules,
    };
    let mut listeners = Vec::new();
    for (listen, target) in args.provider {
        let bound = TcpListener::bind(&listen).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        match bound {
            Ok(socket) => listeners.push((socket, target)),
            Err(error) => {
                eprintln!("parity record: --provider {listen}: {error}");
                return exit::INFRASTRUCTURE;
            }
        }
    }
    serve::run_with(args.serve, move |hooks, services, config| plug(options, listeners, hooks, services, config))
}

fn plug(
    options: Options,
    listeners: Vec<(TcpListener, String)>,
    hooks: &mut Hooks,
    services: &Arc<Services>,
    config: &ConfigHandle,
) -> Result<()> {
    let snapshot = config.shared();
    let secrets = Box::new(move || {
        let snapshot = snapshot.load();
        let keys = snapshot
            .groups
            .values()
            .flat_map(|group| &group.deployments)
            .filter_map(|deployment| deployment.api_key.clone());
        (snapshot.master_key.clone(), keys.chain(snapshot.database_url.clone()).collect())
    });
    tracing::warn!(out = %options.out.display(), max_cases = options.max_cases, "live traffic is recorded");
    let recorder = Recorder::start(options, services.metrics.clone(), secrets).context("--out")?;
    hooks.capture = Some(recorder.clone());
    for (socket, target) in listeners {
        // a client of its own: what Python calls is not counted as the edge's
        let (client, recorder) = (Client::new(), recorder.clone());
        hooks.background.push(Box::new(move || {
            let (socket, target) = (socket.try_clone(), target.clone());
            let (client, recorder) = (client.clone(), recorder.clone());
            Box::pin(async move {
                match socket.and_then(tokio::net::TcpListener::from_std) {
                    Ok(listener) => proxy::serve(listener, target, client, recorder).await,
                    Err(error) => tracing::error!(%error, "--provider can not be listened on"),
                }
            })
        }));
    }
    hooks.flush.push(Box::new(move || {
        let recorder = recorder.clone();
        Box::pin(async move { recorder.flush().await })
    }));
    Ok(())
}
