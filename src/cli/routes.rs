//! `litellm-rust routes ...`: reads the files that the manifest reads and prints what it says. No logic of its own.
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::exit;
use crate::{
    manifest::{
        Manifest, ManifestError, Mode, PythonVersion, Side,
        decide::{Ask, Caller, Decision, age_text, decide},
        digest,
        flip::{self, FlipError},
        handle::{ALL_PYTHON_ENV, env_says_on},
        lint::lint,
        litellm::LiteLlmTable,
        load::{self, Places, switch_file_on},
        status::{effective, reason_text},
    },
    routes::{NativeRoute, PathParams, RoutePolicy},
};

/// Which requests the edge serves itself, and why.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// What runs where, with the evidence behind it
    Status(StatusArgs),
    /// Who would serve one request, and why
    Explain(ExplainArgs),
    /// Change one route's mode in routes.toml; native and canary only with fresh evidence
    Flip(FlipArgs),
    /// Check routes.toml against LiteLLM's whole route table
    Lint(LintArgs),
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// The manifest
    #[arg(long, env = "LITELLM_EDGE_ROUTES", default_value = "routes.toml", value_name = "FILE")]
    pub routes: PathBuf,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// GET, POST, ...
    pub method: String,
    /// The raw path, without query
    pub path: String,
    /// A request body; with --config the native route's own admission is asked too
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// LiteLLM's config.yaml
    #[arg(long, short, env = "CONFIG_FILE_PATH", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub file: FileArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FlipArgs {
    /// The route's id
    pub route: String,
    pub mode: ModeArg,
    /// The canary's share, 0 to 100
    #[arg(long)]
    pub percent: Option<f64>,
    /// What the canary is sticky by: virtual_key, ip or random
    #[arg(long)]
    pub key: Option<String>,
    #[command(flatten)]
    pub file: FileArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeArg {
    Python,
    Canary,
    Native,
}

/// What `explain` asks the native route's admission, where a body and a configuration are given.
pub struct AdmissionQuestion<'a> {
    pub route: &'static NativeRoute,
    pub params: &'a PathParams,
    pub method: &'a Method,
    pub path: &'a str,
    pub body: &'a [u8],
    pub config: &'a Path,
    /// the entry's own conditions
    pub policy: &'a RoutePolicy,
}

/// Why the admission declines, `None` where it admits. Bound by the caller, which knows how a configuration is read.
pub type Admission<'a> = &'a dyn Fn(&AdmissionQuestion<'_>) -> anyhow::Result<Option<String>>;

/// Runs a subcommand against the real table, clock and environment.
pub fn run(command: RoutesCommand, native: &'static [NativeRoute], admission: Option<Admission<'_>>) -> u8 {
    let all_python = std::env::var(ALL_PYTHON_ENV).ok();
    let world = World {
        native,
        source_digest: digest::SOURCE_DIGEST,
        now: SystemTime::now(),
        env_all_python: env_says_on(all_python.as_deref()),
        admission,
    };
    let mut out = String::new();
    let code = world.run(command, &mut out);
    // a closed pipe (`| head`) is no failure of ours
    let _ = std::io::stdout().write_all(out.as_bytes());
    match code {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            match error.downcast_ref::<ManifestError>() {
                Some(ManifestError::Schema(_)) => exit::FOUND,
                _ => exit::INFRASTRUCTURE,
            }
        }
    }
}

/// Everything a subcommand depends on besides its arguments and files.
struct World<'a> {
    native: &'static [NativeRoute],
    source_digest: &'a str,
    now: SystemTime,
    env_all_python: bool,
    admission: Option<Admission<'a>>,
}

impl World<'_> {
    fn run(&self, command: RoutesCommand, out: &mut String) -> anyhow::Result<u8> {
        match command {
            RoutesCommand::Status(args) => self.status(&args, out),
            RoutesCommand::Explain(args) => self.explain(&args, out),
            RoutesCommand::Flip(args) => self.flip(&args, out),
            RoutesCommand::Lint(args) => self.lint(&args, out),
        }
    }

    fn load(&self, file: &FileArgs) -> anyhow::Result<(Manifest, Places)> {
        Ok(load::load(&file.routes, self.native, self.source_digest)?)
    }

    fn all_python(&self, places: &Places) -> bool {
        self.env_all_python || switch_file_on(places.switch_file.as_deref())
    }

    fn status(&self, args: &StatusArgs, out: &mut String) -> anyhow::Result<u8> {
        let (manifest, places) = self.load(&args.file)?;
        let all_python = self.all_python(&places);
        let mut rows = vec![["ROUTE", "MODE", "RUNS", "EVIDENCE", "WHY"].map(str::to_owned)];
        let mut values: Vec<Value> = Vec::new();
        for entry in &manifest.entries {
            let effective = effective(&manifest, entry, self.now, all_python, PythonVersion::Unknown);
            let verdict = entry.native_route().map(|_| entry.evidence.verdict(self.now).as_str());
            let age = entry.evidence.age(self.now);
            let why = effective.reason.map(|reason| reason_text(entry, reason, self.now));
            let evidence = match (verdict, age) {
                (None, _) => "-".to_owned(),
                (Some(verdict), None) => verdict.to_owned(),
                (Some(verdict), Some(age)) => format!("{verdict}, {}", age_text(age)),
            };
            rows.push([
                entry.id.to_string(),
                entry.route.mode.as_str().to_owned(),
                effective.mode.as_str().to_owned(),
                evidence,
                why.clone().unwrap_or_default(),
            ]);
            values.push(json!({
                "id": &*entry.id,
                "mode": entry.route.mode.as_str(),
                "effective": effective.mode.as_str(),
                "reason": effective.reason.map(|reason| reason.as_str()),
                "why": why,
                "evidence": verdict,
                "evidence_age_seconds": age.map(|age| age.as_secs()),
                "owner": entry.route.owner,
            }));
        }
        if args.json {
            writeln!(out, "{:#}", json!({ "schema": 1, "all_python": all_python, "routes": values }))?;
        } else {
            if all_python {
                writeln!(out, "the kill switch is on: everything is Python's")?;
            }
            table(&rows, out)?;
        }
        Ok(exit::OK)
    }

    fn explain(&self, args: &ExplainArgs, out: &mut String) -> anyhow::Result<u8> {
        let (manifest, places) = self.load(&args.file)?;
        let Ok(method) = args.method.to_ascii_uppercase().parse::<Method>() else {
            writeln!(out, "`{}` is no HTTP method", args.method.escape_debug())?;
            return Ok(exit::USAGE);
        };
        // the decision takes the path as it is sent, before the query
        let path = args.path.split(['?', '#']).next().unwrap_or_default();
        let ask = Ask {
            method: &method,
            path,
            // a canary is told as such below; who is calling is not known here
            caller: Caller::default(),
            now: self.now,
            all_python: self.all_python(&places),
            python: PythonVersion::Unknown,
        };
        let decision = decide(&manifest, &ask);
        let explained = self.explained(&decision, &method, path, args)?;
        if args.json {
            writeln!(out, "{explained:#}")?;
        } else if let Value::Object(lines) = &explained {
            for (name, value) in lines.iter().filter(|(_, value)| !value.is_null()) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(out, "{:<10}{text}", format!("{name}:"))?;
            }
        }
        Ok(exit::OK)
    }

    fn explained(&self, decision: &Decision, method: &Method, path: &str, args: &ExplainArgs) -> anyhow::Result<Value> {
        let entry = decision.entry.as_deref();
        let mode = entry.map(|entry| entry.route.mode.as_str());
        let (side, reason, why, native) = match &decision.side {
            Side::Native { route, params } => ("native", None, None, Some((*route, params))),
            Side::Python { reason } => {
                let why = entry.map_or_else(|| reason.why().to_owned(), |entry| reason_text(entry, *reason, self.now));
                ("python", Some(reason.as_str()), Some(why), None)
            }
        };
        let mut decline = Value::Null;
        if let (Some((route, params)), Some(body), Some(config), Some(entry)) =
            (native, &args.body, &args.config, entry)
        {
            let body = fs::read(body).with_context(|| body.display().to_string())?;
            let Some(admission) = self.admission else { bail!("this build cannot ask the native route's admission") };
            let policy = &entry.policy;
            let question = AdmissionQuestion { route, params, method, path, body: &body, config, policy };
            decline = admission(&question)?.map_or("none: admitted".into(), Value::from);
        }
        Ok(json!({
            "route": &*decision.route_id,
            "line": entry.map(|entry| entry.route.line),
            "mode": mode,
            "side": side,
            "reason": reason,
            "why": why,
            "serves": native.map(|(route, _)| route.serves),
            "declines": native.map(|(route, _)| route.declines.iter().map(|decline| decline.as_str()).collect::<Vec<_>>()),
            "decline": decline,
        }))
    }

    fn flip(&self, args: &FlipArgs, out: &mut String) -> anyhow::Result<u8> {
        let mode = match args.mode {
            ModeArg::Python => Mode::Python,
            ModeArg::Canary => Mode::Canary,
            ModeArg::Native => Mode::Native,
        };
        if mode != Mode::Canary && (args.percent.is_some() || args.key.is_some()) {
            writeln!(out, "--percent and --key are the canary's")?;
            return Ok(exit::USAGE);
        }
        let (manifest, _) = self.load(&args.file)?;
        // a link (a mounted ConfigMap) is followed: the rename must not replace the link by a file
        let path = fs::canonicalize(&args.file.routes)?;
        let name = args.file.routes.display().to_string();
        let text = fs::read_to_string(&path)?;
        // what is judged must be what is edited
        if digest::bytes(text.as_bytes()) != manifest.digest {
            bail!("{name} changed meanwhile, nothing was written");
        }
        let edited = flip::permitted(&manifest, &args.route, mode, self.now)
            .and_then(|()| flip::flip(&name, &text, &args.route, mode, args.percent, args.key.as_deref()));
        let edited = match edited {
            Ok(edited) => edited,
            Err(error) => {
                writeln!(out, "refused: {error}")?;
                return Ok(if matches!(error, FlipError::NoShare) { exit::USAGE } else { exit::FOUND });
            }
        };
        if edited == text {
            writeln!(out, "{} is {} already", args.route, mode.as_str())?;
            return Ok(exit::OK);
        }
        replace(&path, edited.as_bytes()).with_context(|| format!("{name} was not changed"))?;
        writeln!(out, "{} is {} now; a running edge follows within a second", args.route, mode.as_str())?;
        Ok(exit::OK)
    }

    fn lint(&self, args: &LintArgs, out: &mut String) -> anyhow::Result<u8> {
        let (manifest, _) = self.load(&args.file)?;
        let litellm = LiteLlmTable::embedded()?;
        let findings = lint(&manifest.file, self.native, &litellm, OffsetDateTime::from(self.now).date());
        let name = args.file.routes.display().to_string();
        if args.json {
            let of = |finding: &crate::manifest::lint::Finding| {
                let (code, line) = (finding.code.as_str(), finding.line);
                json!({ "code": code, "line": line, "route": finding.route, "message": finding.message })
            };
            let values: Vec<Value> = findings.iter().map(of).collect();
            writeln!(out, "{:#}", json!({ "schema": 1, "file": name, "findings": values }))?;
        } else {
            for finding in &findings {
                let place = if finding.line == 0 { name.clone() } else { format!("{name}:{}", finding.line) };
                writeln!(out, "{place}: {}: {}: {}", finding.code.as_str(), finding.route, finding.message)?;
            }
            let routes = manifest.entries.len();
            match findings.len() {
                0 => writeln!(out, "{name}: {routes} routes, nothing found")?,
                found => writeln!(out, "{name}: {routes} routes, {found} found")?,
            }
        }
        Ok(if findings.is_empty() { exit::OK } else { exit::FOUND })
    }
}

/// Writes a new file beside the old one and renames it over: a reader sees the old or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let next = folder.join(format!(".{name}.{}.next", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&next)?;
        file.write_all(content)?;
        file.set_permissions(fs::metadata(path)?.permissions())?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        // the rename itself must survive a crash
        fs::File::open(folder)?.sync_all()
    };
    let result = write();
    if result.is_err() {
        let _ = fs::remove_file(&next);
    }
    result
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]], out: &mut String) -> std::fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            write!(line, "{cell:<width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
