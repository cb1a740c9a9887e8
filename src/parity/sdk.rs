//! Real clients: the SDKs of OpenAI, Anthropic and LangChain, each in a program of its own (`parity-tests/clients`) that
//! takes one order a line and answers one line. It starts a program with its first order and stops it when dropped; it
//! must never look into what an SDK does: what the application sees and the attempts on the wire are all there is.
use std::{collections::BTreeMap, io, path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{case::KeyText, managed};
use crate::secret::Secret;

/// A scenario may retry and back off; the first order also starts the program.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    #[error("the clients are not installed in {0}: run tools/ensure-clients.sh (PARITY_CLIENTS names another folder)")]
    Missing(PathBuf),
    #[error("{program}: {source}")]
    Io { program: &'static str, source: io::Error },
    #[error("{program} {what}")]
    Broken { program: &'static str, what: String },
}

/// What an application does with its client (`client` in a case).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCall {
    /// names out of [`CLIENTS`]: each makes a case of its own
    pub programs: Vec<String>,
    /// the method as in the SDK for Python: `chat.completions.create`
    pub call: String,
    /// its named arguments
    #[serde(default)]
    pub args: Map<String, Value>,
    /// of the client: `max_retries` (0 unless given), `timeout` in seconds, `default_headers`
    #[serde(default)]
    pub options: Map<String, Value>,
    #[serde(default = "master")]
    pub key: KeyText,
    /// leaves the stream after so many events
    pub stop_after: Option<u32>,
    /// asks for the raw response too
    #[serde(default)]
    pub raw: bool,
}

fn master() -> KeyText {
    KeyText(super::case::Key::Master)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    Python,
    Node,
}

impl Program {
    fn file(self) -> &'static str {
        match self {
            Program::Python => "python_clients.py",
            Program::Node => "node_clients.mjs",
        }
    }
}

/// Every client, by the name cases use, and the program it lives in.
const CLIENTS: &[(&str, Program)] = &[
    ("openai-python", Program::Python),
    ("openai-python-async", Program::Python),
    ("anthropic-python", Program::Python),
    ("anthropic-python-async", Program::Python),
    ("langchain", Program::Python),
    ("langchain-async", Program::Python),
    ("openai-node", Program::Node),
    ("anthropic-node", Program::Node),
];

fn program(client: &str) -> Option<Program> {
    CLIENTS.iter().find(|(name, _)| *name == client).map(|(_, program)| *program)
}

impl ClientCall {
    /// What is wrong with it.
    pub fn complaint(&self) -> Option<String> {
        if self.programs.is_empty() {
            return Some("client.programs: names none".into());
        }
        let unknown = self.programs.iter().find(|name| program(name).is_none())?;
        let known: Vec<&str> = CLIENTS.iter().map(|(name, _)| *name).collect();
        Some(format!("client.programs: {unknown:?} is none of {}", known.join(", ")))
    }
}

/// What one order gave.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// an entry an HTTP attempt: `{status, header}`, or `{none: true}` where no answer came
    pub http: Vec<Value>,
    /// `{result | events, final, error}` as the application sees it
    pub outcome: Value,
}

impl Seen {
    /// `x-litellm-edge` of each answer that came.
    pub fn served_by(&self) -> Vec<Option<String>> {
        let edge = |answer: &Value| Some(answer.pointer("/header/x-litellm-edge/0")?.as_str()?.to_owned());
        self.http.iter().filter(|answer| answer.get("none").is_none()).map(edge).collect()
    }

    /// As part of a case's tree: `response` and `client`.
    pub fn put_into(self, tree: &mut Map<String, Value>) {
        tree.insert("response".into(), self.http.into());
        tree.insert("client".into(), self.outcome);
    }
}

struct Running {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// killed when dropped
    _child: Child,
}

/// The programs; started with their first order.
pub struct Sdks {
    /// where the packages are: `venv/`, `node_modules/`
    installed: PathBuf,
    /// `parity-tests/clients`
    programs: PathBuf,
    running: BTreeMap<Program, Running>,
}

impl Sdks {
    pub fn new(installed: PathBuf, programs: PathBuf) -> Self {
        Self { installed, programs, running: BTreeMap::new() }
    }

    /// Has the client call the gateway at `base_url` (`http://host:port`) and waits for what it saw.
    pub async fn call(&mut self, call: &ClientCall, base_url: &str, key: &Secret) -> Result<Seen, SdkError> {
        let client = call.programs.first().map(String::as_str).unwrap_or_default();
        let program = program(client).ok_or_else(|| SdkError::Missing(self.installed.clone()))?;
        let order = json!({
            "client": client, "base_url": base_url, "api_key": key.expose(), "call": call.call, "args": call.args,
            "options": call.options, "stop_after": call.stop_after, "raw": call.raw,
        });
        let result = self.order(program, &order).await;
        if result.is_err() {
            self.running.remove(&program); // the next order finds a fresh one
        }
        result
    }

    async fn order(&mut self, program: Program, order: &Value) -> Result<Seen, SdkError> {
        let at = |source| SdkError::Io { program: program.file(), source };
        let broken = |what: String| SdkError::Broken { program: program.file(), what };
        let running = match self.running.remove(&program) {
            Some(running) => running,
            None => self.start(program)?,
        };
        let running = self.running.entry(program).or_insert(running);
        running.stdin.write_all(format!("{order}\n").as_bytes()).await.map_err(at)?;
        running.stdin.flush().await.map_err(at)?;
        match timeout(DEADLINE, running.lines.next_line()).await {
            Err(_) => Err(broken(format!("gave no answer in {} s", DEADLINE.as_secs()))),
            Ok(Err(error)) => Err(at(error)),
            Ok(Ok(None)) => Err(broken("stopped; its errors stand above".into())),
            Ok(Ok(Some(line))) => serde_json::from_str(&line).map_err(|error| broken(format!("answered: {error}"))),
        }
    }

    fn start(&self, program: Program) -> Result<Running, SdkError> {
        if !self.installed.join(".ready").exists() {
            return Err(SdkError::Missing(self.installed.clone()));
        }
        let at = |source| SdkError::Io { program: program.file(), source };
        let mut command = match program {
            Program::Python => managed::clean(&self.installed.join("venv/bin/python")),
            Program::Node => managed::clean("node".as_ref()),
        };
        let mut child = command
            .arg(self.programs.join(program.file()))
            .env("PARITY_CLIENTS", &self.installed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(at)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(at(io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Running { stdin, lines: BufReader::new(stdout).lines(), _child: child })
    }
}

/// Where tools/ensure-clients.sh installs: `$PARITY_CLIENTS`, else `clients` in the cache folder.
pub fn installed() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("PARITY_CLIENTS").unwrap_or_else(|| {
        let cache = from("LITELLM_RUST_CACHE").or_else(|| Some(from("HOME")?.join(".cache/litellm-rust")));
        cache.unwrap_or_default().join("clients")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_served_is_read_of_every_attempt_that_was_answered() {
        let seen = Seen {
            http: vec![
                json!({"status": 500, "header": {"x-litellm-edge": ["native"]}}),
                json!({"none": true}),
                json!({"status": 200, "header": {}}),
            ],
            outcome: json!({}),
        };
        assert_eq!(seen.served_by(), [Some("native".to_owned()), None]);
    }

    #[tokio::test]
    async fn clients_that_are_not_installed_are_named_with_the_remedy() {
        let call: ClientCall = serde_json::from_value(json!({"programs": ["openai-node"], "call": "x"})).unwrap();
        let mut sdks = Sdks::new("/nonexistent".into(), "/nonexistent".into());
        let error = sdks.call(&call, "http://127.0.0.1:1", &Secret::new("")).await.unwrap_err().to_string();
        assert!(error.contains("tools/ensure-clients.sh"), "{error}");
    }
}
