//! The command line.
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "\
Measures the bare provider, the Python gateway, the edge and others side by side.

    speed [BINARY] [options]        BINARY: target/release/litellm-rust

  --python VENV          environment with LiteLLM (default: $REFERENCE_VENV; without one no Python rows)
  --no-python            no Python rows
  --rounds N             default 3; figures are medians of the rounds
  --keys                 a virtual key with limits and a budget, spend kept in Postgres and Redis (needs Python; streams
                         that a slow provider paces are left out). The result goes below FOLDER/keys
  --quick                a smoke: seconds, one round, few connections; the figures mean nothing
  --only WORK            only works whose name contains this (a whole name also finds works that are no part of a run)
  --gateways A,B         only these: provider forwarder python-1 python-2 edge-pass edge-python-1 edge-native and others' names
  --connections A,B      only these numbers of connections
  --other NAME=URL,PID[,KEY[,CHAT-MODEL[,MESSAGES-MODEL]]]
                         a gateway that already runs, whose models call this run's provider; may be repeated.
                         An empty field has its default (sk-bench, gpt, claude); a model `-` is not served
  --port N               the provider's port, for the configuration of others (default: a free one)
  --hold SECONDS         only starts everything, for a profiler
  --log FILTER           the edge's log filter (default info: one line a request, to a file)
  --out FOLDER           default target/bench: result.json, speed.svg
  --write-docs           measures nothing: writes the last result into README.md and docs/speed.md
";

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) binary: PathBuf,
    pub(crate) python: Option<PathBuf>,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    pub(crate) only: String,
    pub(crate) gateways: Vec<String>,
    pub(crate) connections: Vec<usize>,
    pub(crate) others: Vec<Other>,
    pub(crate) port: Option<u16>,
    pub(crate) hold: Option<u64>,
    pub(crate) log: String,
    pub(crate) out: PathBuf,
    pub(crate) write_docs: bool,
    pub(crate) keys: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binary: "target/release/litellm-rust".into(),
            python: std::env::var_os("REFERENCE_VENV").map(PathBuf::from),
            rounds: 3,
            quick: false,
            only: String::new(),
            gateways: Vec::new(),
            connections: Vec::new(),
            others: Vec::new(),
            port: None,
            hold: None,
            log: "info".into(),
            out: "target/bench".into(),
            write_docs: false,
            keys: false,
        }
    }
}

/// A running gateway to be measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) prefix: String,
    pub(crate) pid: u32,
    pub(crate) key: Option<String>,
    pub(crate) chat_model: Option<String>,
    pub(crate) messages_model: Option<String>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument}: a value is missing"));
            match argument.as_str() {
                "--python" => options.python = Some(value()?.into()),
                "--no-python" => options.python = None,
                "--rounds" => options.rounds = value()?.parse::<u32>().context("--rounds")?.max(1),
                "--quick" => (options.quick, options.rounds) = (true, 1),
                "--keys" => options.keys = true,
                "--only" => options.only = value()?,
                "--gateways" => options.gateways = list(&value()?).map(str::to_owned).collect(),
                "--connections" => {
                    options.connections =
                        list(&value()?).map(str::parse).collect::<Result<_, _>>().context("--connections")?;
                }
                "--other" => options.others.push(other(&value()?)?),
                "--port" => options.port = Some(value()?.parse().context("--port")?),
                "--hold" => options.hold = Some(value()?.parse().context("--hold")?),
                "--log" => options.log = value()?,
                "--out" => options.out = value()?.into(),
                "--write-docs" => options.write_docs = true,
                unknown if unknown.starts_with('-') => bail!("unknown option {unknown}\n\n{USAGE}"),
                binary => options.binary = binary.into(),
            }
        }
        if options.keys {
            options.python.as_ref().context("--keys: the key is Python's to make (--python)")?;
            options.out.push("keys");
        }
        Ok(options)
    }

    /// Whether this gateway is to be measured.
    pub(crate) fn wants(&self, gateway: &str) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|name| name == gateway)
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// NAME=URL,PID[,KEY[,CHAT-MODEL[,MESSAGES-MODEL]]]
fn other(text: &str) -> Result<Other> {
    let bad = || format!("--other {text}: not NAME=URL,PID[,KEY[,CHAT-MODEL[,MESSAGES-MODEL]]]");
    let (name, rest) = text.split_once('=').with_context(bad)?;
    let mut fields = rest.split(',').map(str::trim);
    let url: http::Uri = fields.next().and_then(|url| url.parse().ok()).with_context(bad)?;
    let pid = fields.next().and_then(|pid| pid.parse().ok()).with_context(bad)?;
    if url.scheme_str() != Some("http") || !matches!(url.host(), Some("127.0.0.1" | "localhost")) {
        bail!("--other {text}: only http on this machine can be measured");
    }
    let model = |field: Option<&str>, default: &str| match field {
        Some("-") => None,
        Some("") | None => Some(default.to_owned()),
        Some(model) => Some(model.to_owned()),
    };
    Ok(Other {
        name: name.into(),
        port: url.port_u16().unwrap_or(80),
        prefix: url.path().trim_end_matches('/').into(),
        pid,
        key: fields.next().filter(|key| !key.is_empty()).map(str::to_owned),
        chat_model: model(fields.next(), "gpt"),
        messages_model: model(fields.next(), "claude"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_gateway_is_a_url_and_a_pid() {
        let full = other("labs=http://127.0.0.1:4100/api/,77,sk-1,-,sonnet").unwrap();
        assert_eq!((full.name.as_str(), full.port, full.prefix.as_str(), full.pid), ("labs", 4100, "/api", 77));
        assert_eq!((full.key.as_deref(), full.chat_model), (Some("sk-1"), None));
        assert_eq!(full.messages_model.as_deref(), Some("sonnet"));
        let short = other("a=http://localhost:1,2").unwrap();
        assert_eq!((short.prefix.as_str(), short.chat_model.as_deref(), short.key), ("", Some("gpt"), None));
        for wrong in ["a", "a=http://127.0.0.1:1", "a=http://example.com:1,2", "a=https://127.0.0.1:1,2", "a=x,y"] {
            assert!(other(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_checked() {
        let parse = |line: &str| Options::parse(line.split(' ').map(str::to_owned));
        let options = parse("bin --rounds 2 --connections 1,50 --gateways provider,edge-native").unwrap();
        assert_eq!((options.rounds, options.connections.as_slice()), (2, [1, 50].as_slice()));
        assert!(options.wants("provider") && !options.wants("python-1"));
        assert!(parse("--rounds").is_err() && parse("--wat").is_err() && parse("--connections x").is_err());
    }
}
