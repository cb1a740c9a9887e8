//! One run: starts what is compared, measures cell by cell and round by round, stops everything.
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Result as IoResult},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    budgets,
    gateway::{Gateway, Kind, Stage},
    load::{Free, Outcome, Paced, Request},
    options::Options,
    plan::{self, Cell},
    process,
    report::{Machine, Report, versions},
    rows::{self, Measured, Sample, median},
    traffic,
    works::WORKS,
};

/// Requests that the Python gateway answers before it is measured: its first ones load modules.
const PYTHON_WARM_UP: Duration = Duration::from_millis(500);

/// None: everything was only held up.
pub(crate) fn run(options: &Options) -> Result<Option<Report>> {
    let begun = Instant::now();
    let mut report = Report {
        schema: 1,
        time: time::OffsetDateTime::now_utc()
            .replace_nanosecond(0)?
            .format(&time::format_description::well_known::Rfc3339)?,
        quick: options.quick,
        rounds: options.rounds,
        machine: Machine::here(),
        versions: versions(&options.binary, options.python.as_deref()),
        binary_mb: std::fs::metadata(&options.binary)
            .with_context(|| format!("{}: build it first", options.binary.display()))?
            .len() as f64
            / 1e6,
        ..Report::default()
    };
    let stage = Stage::open(options)?;
    report.setup = stage.setup.name.into();
    let pythons = start_pythons(&stage)?;
    let mut samples = Vec::new();
    let (mut starts, mut idle) = (BTreeMap::<String, Vec<f64>>::new(), BTreeMap::<String, Vec<f64>>::new());
    for round in 0..options.rounds {
        // a fresh edge every round: three start-up times, and no round inherits another's memory
        let edges = start_edges(&stage, &pythons)?;
        let all: Vec<&Gateway> = edges.iter().chain(&pythons).collect();
        if let Some(seconds) = options.hold {
            hold(&all, seconds);
            return Ok(None);
        }
        std::thread::sleep(Duration::from_secs(if options.quick { 0 } else { 1 })); // edges ask for Python's health
        for gateway in &all {
            if let Some(ready) = gateway.ready {
                starts.entry(gateway.name.clone()).or_default().push(ready.as_secs_f64() * 1e3);
            }
            idle.entry(gateway.name.clone()).or_default().push(gateway.idle_memory());
        }
        for cell in plan::cells(options) {
            progress(&format!("{:4.0} s, round {}, {}", begun.elapsed().as_secs_f64(), round + 1, cell.name()));
            measure_all(cell, &in_order(&all), round, &stage, &mut samples);
        }
        if let (Some(backing), 0) = (&stage.backing, round) {
            progress("what Postgres and Redis are asked");
            report.traffic = traffic::measure(backing, &in_order(&all), options.quick)?;
        }
        for edge in edges.iter().filter(|edge| edge.kind == Kind::EdgeNative) {
            native_served_itself(edge, &stage)?;
        }
    }
    progress("");
    let medians =
        |of: BTreeMap<String, Vec<f64>>| of.into_iter().map(|(name, values)| (name, median(values))).collect();
    (report.start_ms, report.idle_rss_mb) = (medians(starts), medians(idle));
    report.rows = rows::rows(&samples);
    report.machine.other_cores = median(report.rows.iter().map(|row| row.other_cores).collect());
    report.seconds = begun.elapsed().as_secs_f64();
    report.find_warnings();
    (report.ratios, report.budgets) = (budgets::ratios(&report), budgets::budgets(&report));
    Ok(Some(report))
}

/// What is going on, on one line that is written over; nothing where nobody watches.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

fn hold(all: &[&Gateway], seconds: u64) {
    for gateway in all {
        println!("{:<14} port {}, processes {:?}", gateway.name, gateway.target.port, gateway.roots);
    }
    std::thread::sleep(Duration::from_secs(seconds));
}

/// Once a run: it takes half a minute of CPU each.
fn start_pythons(stage: &Stage<'_>) -> Result<Vec<Gateway>> {
    let mut pythons = Vec::new();
    if stage.options.python.is_none() {
        return Ok(pythons);
    }
    for (name, workers) in [("python-1", 1), ("python-2", 2)] {
        let behind_the_edge = workers == 1 && stage.options.wants("edge-python-1");
        if stage.options.wants(name) || behind_the_edge {
            progress(&format!("starting {name}, which takes half a minute"));
            let python = stage.start(name, Kind::Python { workers }, None)?;
            if pythons.is_empty() {
                stage.make_key(&python)?;
            }
            for work in WORKS.iter().filter(|work| work.standard) {
                if let Some(bytes) = work.request(&python.target) {
                    let request = Request::new(python.target.port, bytes, work);
                    Free::connect(request, 4 * workers as usize)
                        .and_then(|mut client| client.run(PYTHON_WARM_UP))
                        .with_context(|| format!("{name}, {}", work.name))?;
                }
            }
            pythons.push(python);
        }
    }
    Ok(pythons)
}

fn start_edges(stage: &Stage<'_>, pythons: &[Gateway]) -> Result<Vec<Gateway>> {
    let python = pythons.iter().find(|gateway| gateway.name == "python-1");
    let mut started = Vec::new();
    for (name, kind, behind) in [
        ("provider", Kind::Provider, None),
        ("forwarder", Kind::Forwarder, None),
        ("edge-pass", Kind::EdgePass, None),
        ("edge-native", Kind::EdgeNative, None),
        ("edge-python-1", Kind::EdgePython, python),
    ] {
        let possible = kind != Kind::EdgePython || python.is_some();
        if possible && stage.options.wants(name) {
            started.push(stage.start(name, kind, behind)?);
        }
    }
    started.extend(stage.options.others.iter().map(|other| stage.other(other)));
    Ok(started)
}

/// A request that was passed on would be answered by the provider in Python's place, and rightly: the edge must say of
/// each that it was native.
fn native_served_itself(edge: &Gateway, stage: &Stage<'_>) -> Result<()> {
    let metrics = process::get(edge.target.port, "/edge/metrics", stage.master_key())?;
    let declined = metrics.lines().find(|line| {
        let counts = line.starts_with("litellm_edge_declines_total{") && !line.ends_with(" 0");
        counts && ["chat_completions", "messages"].iter().any(|route| line.contains(&format!("route=\"{route}\"")))
    });
    match declined {
        Some(line) => anyhow::bail!("{} passed requests on: {line}", edge.name),
        None => Ok(()),
    }
}

/// The provider first: what is added is taken against it. Python, which heats the machine longest, last.
fn in_order<'a>(all: &[&'a Gateway]) -> Vec<&'a Gateway> {
    let mut all: Vec<&Gateway> = all.to_vec();
    all.sort_by_key(|gateway| (gateway.kind != Kind::Provider, gateway.kind.is_slow()));
    all
}

fn measure_all(cell: Cell, gateways: &[&Gateway], round: u32, stage: &Stage<'_>, samples: &mut Vec<Sample>) {
    for gateway in gateways {
        if !stage.options.wants(&gateway.name) {
            continue; // python-1 may be there only to stand behind the edge
        }
        let Some(length) = cell.length(gateway.kind, round, stage.options.quick) else { continue };
        let Some(bytes) = cell.work.request(&gateway.target) else { continue };
        let request = Request::new(gateway.target.port, bytes, cell.work);
        let measured = measure(cell, gateway, request, length, stage).map_err(|error| error.to_string());
        samples.push(Sample {
            gateway: gateway.name.clone(),
            work: cell.work.name,
            connections: cell.connections,
            rate: cell.rate,
            round,
            measured,
        });
    }
}

/// A client of either kind.
enum Client {
    Free(Free),
    Paced(Paced),
}

impl Client {
    fn run(&mut self, length: Duration) -> IoResult<Outcome> {
        match self {
            Self::Free(client) => client.run(length),
            Self::Paced(client) => client.run(length),
        }
    }
}

fn measure(
    cell: Cell,
    gateway: &Gateway,
    request: std::sync::Arc<Request>,
    length: Duration,
    stage: &Stage<'_>,
) -> IoResult<Measured> {
    let stream = request.work.stream;
    let mut client = match cell.rate {
        None => Client::Free(Free::connect(request, cell.connections)?),
        Some(rate) => Client::Paced(Paced::connect(request, cell.connections, rate)?),
    };
    if !gateway.kind.is_slow() {
        client.run(length / 10)?; // connections to the provider are made, the processor is awake
    }
    process::forget_peak(&gateway.roots);
    let mut ours = vec![std::process::id()]; // with all that it has started
    if gateway.kind == Kind::Other {
        ours.extend(&gateway.roots);
    }
    let read = || {
        let all = process::processes();
        let cpu = |roots: &[u32]| process::cpu(&all, roots);
        (cpu(&gateway.roots), cpu(&[stage.yardstick()]), cpu(&ours), process::machine_cpu())
    };
    let before = read();
    let begun = Instant::now();
    let outcome = client.run(length)?;
    let wall = begun.elapsed().as_secs_f64();
    let after = read();
    let requests = outcome.timings.len();
    let each = |seconds: f64| seconds * 1e6 / requests.max(1) as f64;
    let (p50, p90, p99, first_event, longest_gap) = rows::latencies(&outcome.timings, stream);
    Ok(Measured {
        requests,
        rps: requests as f64 / outcome.elapsed.as_secs_f64(),
        p50,
        p90,
        p99,
        first_event,
        longest_gap,
        cpu_us: each(after.0 - before.0),
        provider_cpu_us: each(after.1 - before.1),
        peak_rss: process::memory(&gateway.roots, "VmHWM"),
        other_cores: ((after.3 - before.3) - (after.2 - before.2)).max(0.0) / wall,
    })
}
