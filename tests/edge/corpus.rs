//! The corpus of requests that two readers could understand differently (`tests/edge/corpus/`), over raw sockets to the
//! real binary, with recorders in the places of Python and of the provider: what is refused has reached nobody, what is
//! accepted has arrived exactly once, byte for byte, and every answer went to the one who asked.
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    gateway::{Folder, Process, config, routes},
    recorder::{Kind, Message, Recorder, Rest, find, mark, messages},
    support::{MASTER, eventually, get},
};

const FILES: [(&str, &str); 6] = [
    ("framing", include_str!("corpus/framing.txt")),
    ("chunks", include_str!("corpus/chunks.txt")),
    ("head", include_str!("corpus/head.txt")),
    ("line", include_str!("corpus/line.txt")),
    ("host", include_str!("corpus/host.txt")),
    ("pipeline", include_str!("corpus/pipeline.txt")),
];
const PATIENCE: Duration = Duration::from_secs(12);

/// One entry of a corpus file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Item {
    pub name: String,
    pub keys: Vec<(String, String)>,
    /// with placeholders and escapes
    pub text: String,
}

impl Item {
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.keys.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn key(&self, key: &str) -> &str {
        self.keys.iter().find(|(found, _)| found == key).map_or("", |(_, value)| value.as_str())
    }
}

/// Reads a corpus file; a key nobody knows is a mistake in it.
pub(crate) fn parse(file: &str, text: &str, known: &[&str]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            items.push(Item { name: format!("{file}-{name}"), ..Item::default() });
        } else if let (Some(bytes), Some(item)) = (line.strip_prefix("| "), items.last_mut()) {
            item.text.push_str(bytes);
        } else if let (Some((key, value)), Some(item)) = (line.split_once(": "), items.last_mut()) {
            assert!(known.contains(&key), "{}: {key}", item.name);
            item.keys.push((key.to_owned(), value.to_owned()));
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{file}: {line}");
        }
    }
    items
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Native,
    Declined,
    Through,
    Own,
}
use Target::{Declined, Native, Own, Through};

impl Target {
    fn name(self) -> &'static str {
        match self {
            Native => "native",
            Declined => "declined",
            Through => "through",
            Own => "own",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Native | Declined => "/v1/chat/completions",
            Through => "/key/generate",
            Own => "/v1/models",
        }
    }

    /// The edge reads the whole body before anybody hears of the request.
    fn reads_first(self) -> bool {
        matches!(self, Native | Declined)
    }
}

fn body(target: Target, mark: &str) -> String {
    let model = if target == Native { "m" } else { "unknown" };
    format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{mark}\"}}]}}")
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first().expect("something behind a backslash");
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{}", *other as char),
        });
    }
    bytes
}

/// The bytes of an item for a target.
fn bytes(item: &Item, target: Target, mark: &str) -> Vec<u8> {
    let body = body(target, mark);
    let auth = format!("authorization: Bearer {MASTER}\r\n");
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nhost: edge\r\nx-case: {mark}\r\nx-smuggled: yes\r\n\r\n");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: edge\r\n{auth}x-case: {mark}\r\ncontent-type: application/json\r\n",
        target.path()
    );
    // every request with a body is JSON
    let auth = format!("{auth}content-type: application/json\r\n");
    expand(&item.text, &|name| match name {
        "head" => head.clone(),
        "auth" => auth.clone(),
        "path" => target.path().to_owned(),
        "case" => mark.to_owned(),
        "body" => body.clone(),
        "rest" => body[1..].to_owned(),
        "len" => body.len().to_string(),
        "hex" => format!("{:x}", body.len()),
        "HEX" => format!("{:X}", body.len()),
        "hex rest" => format!("{:x}", body.len() - 1),
        "smuggled" => smuggled.clone(),
        "len smuggled" => smuggled.len().to_string(),
        other => panic!("{}: <{other}>", item.name),
    })
}

/// The bytes of a text with escapes, `<repeat N x>`, `<lt>` and other placeholders.
pub(crate) fn expand(text: &str, value: &dyn Fn(&str) -> String) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        all.extend(unescape(&rest[..start]));
        let end = start + rest[start..].find('>').expect("the end of a placeholder");
        let name = &rest[start + 1..end];
        let mut words = name.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("repeat"), Some(count), Some(what)) => all.extend(unescape(what).repeat(count.parse().unwrap())),
            (Some("lt"), None, None) => all.push(b'<'),
            _ => all.extend(value(name).into_bytes()),
        }
        rest = &rest[end + 1..];
    }
    all.extend(unescape(rest));
    all
}

/// A request to be played, and what may become of it.
struct Play {
    item: Item,
    target: Target,
    mark: String,
    bytes: Vec<u8>,
}

fn plays() -> Vec<Play> {
    let mut plays = Vec::new();
    for (file, text) in FILES {
        for item in parse(file, text, &["source", "why", "want", "only", "not"]) {
            assert!(!item.key("source").is_empty() && !item.text.is_empty(), "{}", item.name);
            for target in [Native, Declined, Through, Own] {
                let only = item.key("only");
                if if only.is_empty() { target == Own } else { !only.split(' ').any(|name| name == target.name()) } {
                    continue;
                }
                let mark = format!("case-{}-{}-{}.", plays.len(), item.name.replace('.', "_"), target.name());
                let bytes = bytes(&item, target, &mark);
                plays.push(Play { item: item.clone(), target, mark, bytes });
            }
        }
    }
    plays
}

/// Says it and listens until the edge closes.
fn say(port: u16, mark: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes); // the edge may have heard enough
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            Err(format!("{mark}: the connection is still open: {}", said.escape_ascii()))
        }
        _ => Ok(said),
    }
}

const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "http2-settings",
    "x-litellm-edge",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

/// Request line, headers, body.
type Essence = (Vec<u8>, Vec<(String, Vec<u8>)>, Vec<u8>);

/// What must be the same here and there: the line, the headers without those of the connection, the body.
fn essence(message: &Message, target: Target) -> Essence {
    let named: Vec<String> = message
        .all("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .collect();
    let mut headers = message.headers.clone();
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !HOP_BY_HOP.contains(&name.as_str()) && !named.contains(&name) && (name != "expect" || target == Through)
    });
    headers.sort();
    let line = String::from_utf8_lossy(&message.line).replace(" HTTP/1.0", " HTTP/1.1");
    (line.into_bytes(), headers, message.body.clone())
}

/// The first request of what was sent, read leniently: extensions and trailers are not there for it.
fn sent(bytes: &[u8]) -> Message {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let bytes = &bytes[start..];
    let end = find(bytes, b"\r\n\r\n").expect("an accepted request has an end") + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let mut plain = bytes[..end].to_vec();
    let mut rest = &bytes[end..];
    if head.contains("\r\ntransfer-encoding:") {
        loop {
            let line = find(rest, b"\r\n").expect("a chunk's size");
            let digits = rest[..line].split(|byte| *byte == b';').next().unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            if size == 0 {
                plain.extend_from_slice(b"0\r\n\r\n");
                break;
            }
            plain.extend(format!("{size:x}\r\n").bytes());
            plain.extend_from_slice(&rest[line + 2..line + 2 + size + 2]);
            rest = &rest[line + 2 + size + 2..];
        }
    } else {
        plain.extend_from_slice(rest);
    }
    let (mut all, _) = messages(&plain, Kind::Request);
    all.swap_remove(0)
}

/// What is wrong with what came of a request.
fn verdict(
    play: &Play,
    said: &[u8],
    python: &[&Message],
    provider: &[&Message],
    begun: bool,
    model: &Message,
) -> Option<String> {
    let want = play.item.key("want");
    let kind = if play.bytes.starts_with(b"HEAD ") { Kind::BodilessAnswer } else { Kind::Answer };
    let (answers, rest) = messages(said, kind);
    let answers: Vec<_> = answers.iter().filter(|answer| answer.status() >= 200).collect();
    if rest != Rest::Nothing {
        return Some(format!("an answer that is none: {rest:?}"));
    }
    let refused = answers.len() <= 1 && answers.iter().all(|answer| matches!(answer.status(), 400..=499 | 501 | 505));
    let (arrived, elsewhere) = if play.target == Native { (provider, python) } else { (python, provider) };
    if want == "lenient" {
        let wrong = answers.len() > 1 || arrived.len() + elsewhere.len() > 1 || begun;
        return wrong.then(|| format!("{} answers, arrived {arrived:?} {elsewhere:?}", answers.len()));
    }
    if !elsewhere.is_empty() {
        return Some(format!("{} arrived where none should", elsewhere.len()));
    }
    match want {
        "refused" | "cut" => {
            if !refused {
                return Some(format!("not refused: {}", said.escape_ascii()));
            }
            if !arrived.is_empty() {
                return Some(format!("{} arrived", arrived.len()));
            }
            if begun && (want == "refused" || play.target.reads_first()) {
                return Some("one had begun to arrive".to_owned());
            }
        }
        "served" => {
            let [answer] = answers[..] else { return Some(format!("{} answers", answers.len())) };
            if answer.status() != 200
                || (kind == Kind::Answer && play.target != Own && find(&answer.body, play.mark.as_bytes()).is_none())
            {
                return Some(format!("not its own answer: {}", said.escape_ascii()));
            }
            if begun {
                return Some("a second one had begun to arrive".to_owned());
            }
            let arrived = match (play.target, arrived) {
                (Own, []) => return None,
                (_, [one]) => one,
                _ => return Some(format!("{} arrived", arrived.len())),
            };
            if play.target == Native {
                let wanted = Message { body: body_of_model(model, &play.mark), ..model.clone() };
                return (essence(arrived, Native) != essence(&wanted, Native))
                    .then(|| format!("arrived {arrived:?}, wanted {wanted:?}"));
            }
            let mut wanted = essence(&sent(&play.bytes), play.target);
            for line in play.item.all("not") {
                let (name, value) = line.split_once(": ").unwrap();
                wanted
                    .1
                    .retain(|found| (found.0.to_ascii_lowercase().as_str(), &found.1[..]) != (name, value.as_bytes()));
                if arrived.all(name).any(|found| found == value.as_bytes()) {
                    return Some(format!("{line} arrived"));
                }
            }
            let found = essence(arrived, play.target);
            return (found != wanted).then(|| format!("arrived {found:?}, wanted {wanted:?}"));
        }
        other => panic!("{}: {other}", play.item.name),
    }
    None
}

/// The provider's body of the good request, with another mark.
fn body_of_model(model: &Message, to: &str) -> Vec<u8> {
    let from = mark(model).unwrap();
    String::from_utf8_lossy(&model.body).replace(&from, to).into_bytes()
}

pub(crate) const SHORT: [(&str, &str); 7] = [
    ("LITELLM_EDGE_CLIENT_WRITE_TIMEOUT", "2s"),
    ("LITELLM_EDGE_UNGATED", "1"),
    ("LITELLM_EDGE_CLIENT_IDLE_TIMEOUT", "1s"),
    ("LITELLM_EDGE_CLIENT_HEAD_TIMEOUT", "1s"),
    ("LITELLM_EDGE_CLIENT_READ_TIMEOUT", "1s"),
    ("LITELLM_EDGE_CLIENT_BODY_TIMEOUT", "2s"),
    ("LITELLM_EDGE_PYTHON_TIMEOUT", "8s"),
];

/// Python's answer: the mark of what it was asked.
pub(crate) fn said(mark: &str) -> String {
    format!("{{\"said\":\"{mark}\"}}")
}

/// The binary before two recorders.
pub(crate) struct Stage {
    pub process: Process,
    pub python: Recorder,
    pub provider: Recorder,
    pub log: std::path::PathBuf,
    _folder: Folder,
}

impl Stage {
    pub(crate) fn set() -> Self {
        Self::set_with(said, &[])
    }

    /// `answer`: Python's, to a mark; `settings`: environment variables.
    pub(crate) fn set_with(answer: fn(&str) -> String, settings: &[(&str, &str)]) -> Self {
        let python = Recorder::start(answer);
        let provider = Recorder::start(|mark| {
            format!(
                r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{mark}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
            )
        });
        let folder = Folder::new();
        let config = folder.write("config.yaml", &config(provider.port));
        let routes = folder.write("routes.toml", &routes(python.port, "native"));
        let log = folder.0.join("log");
        let files = ["--config", config.to_str().unwrap(), "--routes", routes.to_str().unwrap()];
        let process =
            Process::with(&files, &[&SHORT, settings].concat(), Stdio::from(std::fs::File::create(&log).unwrap()));
        Self { process, python, provider, log, _folder: folder }
    }

    /// Nothing is in flight, and nothing was worth an error line.
    pub(crate) fn is_calm(&self) {
        eventually(Duration::from_secs(8), "nothing is in flight but the question", || {
            get(self.process.port, "/edge/ready").json()["in_flight"] == 1
        });
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(!log.contains("panic") && !log.contains(" ERROR "), "{log}");
    }
}

fn by_mark(seen: &[(Vec<Message>, Rest)]) -> (HashMap<String, Vec<&Message>>, Vec<String>) {
    let mut found: HashMap<String, Vec<&Message>> = HashMap::new();
    let mut strange = Vec::new();
    for (messages, rest) in seen {
        for message in messages {
            match mark(message) {
                Some(_) if message.all("x-smuggled").count() > 0 => strange.push(format!("smuggled: {message:?}")),
                Some(mark) => found.entry(mark).or_default().push(message),
                None => strange.push(format!("nobody's: {message:?}")),
            }
        }
        if let Rest::Wrong(what) = rest {
            strange.push(what.clone());
        }
    }
    (found, strange)
}

#[test]
fn what_two_readers_could_understand_differently_is_refused_or_arrives_exactly_once() {
    let stage = Stage::set();
    let plays = plays();
    let next = AtomicUsize::new(0);
    let said: Mutex<HashMap<String, Result<Vec<u8>, String>>> = Mutex::default();
    // several at a time, so that they share connections to Python: a shifted answer would be somebody else's
    std::thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(|| {
                while let Some(play) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let heard = say(stage.process.port, &play.mark, &play.bytes);
                    said.lock().unwrap().insert(play.mark.clone(), heard);
                }
            });
        }
    });
    stage.is_calm();
    let (python, provider) = (stage.python.seen(), stage.provider.seen());
    let (to_python, mut wrong) = by_mark(&python);
    let (to_provider, strange) = by_mark(&provider);
    wrong.extend(strange);
    let begun: Vec<String> = python
        .iter()
        .chain(&provider)
        .filter_map(|(_, rest)| {
            if let Rest::Begun(bytes) = rest { Some(String::from_utf8_lossy(bytes).into_owned()) } else { None }
        })
        .collect();
    let good = plays.iter().find(|play| play.item.name == "head-good" && play.target == Native).unwrap();
    let model = to_provider[&good.mark][0];
    let nothing = Vec::new();
    for play in &plays {
        let has_begun = begun.iter().any(|begun| begun.contains(&play.mark));
        let verdict = match &said.lock().unwrap()[&play.mark] {
            Ok(said) => verdict(
                play,
                said,
                to_python.get(&play.mark).unwrap_or(&nothing),
                to_provider.get(&play.mark).unwrap_or(&nothing),
                has_begun,
                model,
            ),
            Err(open) => Some(open.clone()),
        };
        wrong.extend(verdict.map(|what| {
            format!("{} {}: {}", play.item.name, play.target.name(), what.chars().take(600).collect::<String>())
        }));
    }
    assert!(wrong.is_empty(), "{} of {} plays:\n{}", wrong.len(), plays.len(), wrong.join("\n"));
}
