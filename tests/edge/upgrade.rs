//! A new process takes the listeners over from a running one, under load: nobody notices. And what goes wrong with the
//! new one leaves the old one as it was.
use std::{
    collections::BTreeSet,
    io::Write,
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    gateway::{CHAT, Folder, Process, config, routes},
    support::{Client, FakePython, MASTER, eventually, free_port, get, ok, post_bytes},
};

/// A folder with the files of a gateway, and the processes started over them.
struct Site {
    folder: Folder,
    port: u16,
    python: FakePython,
    _provider: FakePython,
    calls: Arc<AtomicUsize>,
}

impl Site {
    fn new() -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let counted = calls.clone();
        let provider = FakePython::start(move |_, stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"native"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).is_ok()
        });
        let python = FakePython::start(|request, stream| {
            if !request.line().contains("/stream") {
                let body: String = request.body.iter().map(|byte| char::from(*byte)).collect();
                return stream.write_all(ok(&body).as_bytes()).is_ok();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            for _ in 0..EVENTS {
                if stream.write_all(b"3\r\nx\n\n\r\n").is_err() {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let folder = Folder::new();
        folder.write("config.yaml", &config(provider.port));
        folder.write("routes.toml", &routes(python.port, "native"));
        Self { folder, port: free_port(), python, _provider: provider, calls }
    }

    fn command(&self, args: &[&str]) -> Command {
        let file = |name: &str| self.folder.0.join(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_litellm-rust"));
        command.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--config", &file("config.yaml"), "--routes", &file("routes.toml")]);
        command.args(["--upgrade-socket", &file("upgrade.sock"), "--unix-socket", &file("edge.sock")]).args(args);
        command.env_remove("RUST_LOG").env_remove("DATABASE_URL");
        command.env("LITELLM_MASTER_KEY", MASTER).env("LITELLM_EDGE_UNGATED", "1").stderr(Stdio::null());
        command
    }

    fn start(&self) -> Process {
        Process::of(self.command(&[]).spawn().unwrap(), self.port)
    }

    fn pid(&self) -> u64 {
        get(self.port, "/edge/ready").json()["pid"].as_u64().unwrap()
    }
}

/// Five seconds of events: longer than the whole change.
const EVENTS: usize = 100;

/// What the clients saw.
#[derive(Default)]
struct Seen {
    answers: usize,
    failures: Vec<String>,
    /// connections that ended with an answer that said so
    closed: usize,
}

struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// `kept`: connections are used until an answer says that they end.
    fn add(
        &mut self,
        port: u16,
        kept: bool,
        pause: Duration,
        request: impl Fn(usize) -> (Vec<u8>, String) + Send + 'static,
    ) {
        let (stop, seen) = (self.stop.clone(), self.seen.clone());
        self.threads.push(std::thread::spawn(move || {
            let mut connection: Option<Client> = None;
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut client = connection.take().unwrap_or_else(|| Client::to(port));
                let (bytes, wanted) = request(number);
                let answer = client.stream.write_all(&bytes).ok().and_then(|()| client.answer());
                let mut seen = seen.lock().unwrap();
                match answer {
                    Some(answer) if answer.status == 200 && answer.text().contains(&wanted) => {
                        seen.answers += 1;
                        if answer.header("connection") == Some("close") {
                            seen.closed += 1;
                        } else if kept {
                            connection = Some(client);
                        }
                    }
                    Some(answer) => seen.failures.push(format!("{} {}", answer.status, answer.text())),
                    None => seen.failures.push(format!("no answer to {wanted}")),
                }
                drop(seen);
                std::thread::sleep(pause);
            }
        }));
    }

    fn on(port: u16) -> Self {
        let mut load = Self { stop: Arc::default(), seen: Arc::default(), threads: Vec::new() };
        let chat = |_: usize| (post_bytes("/v1/chat/completions", CHAT), "native".to_owned());
        let echo = |number: usize| (post_bytes("/key/generate", format!("post {number}")), format!("post {number}"));
        for _ in 0..4 {
            load.add(port, true, Duration::from_millis(1), chat);
        }
        load.add(port, true, Duration::from_millis(1), echo);
        load.add(port, true, Duration::from_millis(700), echo); // idle most of the time
        load.add(port, false, Duration::from_millis(2), chat);
        load.add(port, false, Duration::from_millis(2), echo);
        load
    }

    fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

#[test]
fn a_new_process_takes_over_under_load_and_nobody_loses_a_request() {
    let site = Site::new();
    let mut old = site.start();
    let before = site.pid();
    assert_eq!(before, u64::from(old.child.id()));
    let load = Load::on(site.port);
    std::thread::sleep(Duration::from_millis(500));
    let streams: Vec<JoinHandle<usize>> = (0..4)
        .map(|_| {
            let mut client = Client::to(site.port);
            client.send("GET /stream HTTP/1.1\r\nhost: edge\r\n\r\n");
            assert_eq!(client.head().unwrap().status, 200);
            std::thread::spawn(move || {
                let mut events = Vec::new();
                loop {
                    match client.chunk().expect("a stream ends by its own end") {
                        chunk if chunk.is_empty() => return events.len() / 3, // chunks are cut anew on the way
                        chunk => events.extend(chunk),
                    }
                }
            })
        })
        .collect();
    // idle at the change, and late
    let (mut late, mut later) = (Client::to(site.port), Client::to(site.port));
    for idle in [&mut late, &mut later] {
        idle.send("GET /edge/ready HTTP/1.1\r\nhost: edge\r\n\r\n");
        assert_eq!(idle.answer().unwrap().json()["pid"], before);
    }

    let mut new = Process { child: site.command(&["--upgrade"]).spawn().unwrap(), port: site.port };
    old.signal("-QUIT");
    let mut pids = BTreeSet::new();
    eventually(Duration::from_secs(15), "new connections are the new process'", || {
        let pid = site.pid();
        pids.insert(pid);
        pid == u64::from(new.child.id()) && {
            let socket = site.folder.0.join("upgrade.sock.ready");
            !socket.exists() // the old one was told
        }
    });
    // a connection that was idle all the time still has its request answered, and is told to go
    std::thread::sleep(Duration::from_millis(300));
    late.send("GET /edge/ready HTTP/1.1\r\nhost: edge\r\n\r\n");
    let answer = late.answer().expect("a late request is served");
    let said = answer.json();
    assert_eq!(
        (answer.status, said["status"].as_str(), said["pid"].as_u64()),
        (200, Some("handed_over"), Some(before))
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(later.is_closed(), "an idle connection is closed in the end, without a reset");
    for stream in streams {
        assert_eq!(stream.join().unwrap(), EVENTS, "the stream is whole");
    }
    assert_eq!(old.exit(Duration::from_secs(5)), Some(0), "it ends as soon as nothing is in flight");
    // the load goes on against the new one alone, and so does the Unix socket
    std::thread::sleep(Duration::from_millis(500));
    let seen = load.stop();
    assert!(seen.failures.is_empty(), "{} of {}: {:?}", seen.failures.len(), seen.answers, seen.failures.first());
    assert!(seen.answers > 100 && seen.closed >= 5, "{} answers, {} closed", seen.answers, seen.closed);
    assert!(pids.contains(&u64::from(new.child.id())));
    let posts = site.python.requests().iter().filter(|request| request.line().contains("/key/generate")).count();
    assert!(site.calls.load(Ordering::SeqCst) + posts >= seen.answers, "no call was lost");
    assert_eq!(site.calls.load(Ordering::SeqCst) + posts, seen.answers, "and none was made twice");
    let mut socket = std::os::unix::net::UnixStream::connect(site.folder.0.join("edge.sock")).unwrap();
    socket.write_all(b"GET /edge/live HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut socket, &mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");

    // and once more: what was taken over can be handed on
    let newest = Process { child: site.command(&["--upgrade"]).spawn().unwrap(), port: site.port };
    new.signal("-QUIT");
    assert_eq!(new.exit(Duration::from_secs(15)), Some(0));
    assert_eq!(site.pid(), u64::from(newest.child.id()));
}

/// What `old` says of itself, and that it serves natively.
fn serves(site: &Site, old: &Process) {
    assert_eq!(site.pid(), u64::from(old.child.id()));
    assert_eq!(get(site.port, "/edge/ready").json()["status"], "ready");
    let answer = crate::support::ask(site.port, post_bytes("/v1/chat/completions", CHAT));
    assert_eq!(
        (answer.status, answer.header("x-litellm-edge"), answer.header("connection")),
        (200, Some("native"), Some("keep-alive"))
    );
}

fn failures(site: &Site) -> String {
    let request = format!("GET /edge/metrics HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {MASTER}\r\n\r\n");
    let text = crate::support::ask(site.port, request).text();
    text.lines().filter(|line| line.starts_with("litellm_edge_upgrades_total")).collect()
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_as_it_was() {
    let site = Site::new();
    let old = site.start();
    let load = Load::on(site.port);
    // a bad config.yaml is found before the listeners are asked for
    let good = std::fs::read_to_string(site.folder.0.join("config.yaml")).unwrap();
    let wrong = site.folder.write("wrong.yaml", "model_list: [\n");
    let mut new = Process {
        child: site.command(&["--upgrade"]).args(["--config", wrong.to_str().unwrap()]).spawn().unwrap(),
        port: site.port,
    };
    assert!(matches!(new.exit(Duration::from_secs(10)), Some(2 | 3)), "refused");
    old.signal("-QUIT");
    let started = Instant::now();
    eventually(Duration::from_secs(15), "the old one has given up", || failures(&site).contains("\"failed\"} 1"));
    assert!(started.elapsed() > Duration::from_secs(5), "it waited for a new one to come");
    serves(&site, &old);

    // one that gets the listeners and dies with them: here, something that takes them and hangs up
    let asked = std::os::unix::net::UnixListener::bind(site.folder.0.join("upgrade.sock")).unwrap();
    old.signal("-QUIT");
    let (taken, _) = asked.accept().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop((taken, asked));
    std::fs::remove_file(site.folder.0.join("upgrade.sock")).unwrap();
    serves(&site, &old);
    eventually(Duration::from_secs(15), "the old one has given up", || failures(&site).contains("\"failed\"} 2"));
    serves(&site, &old);
    let seen = load.stop();
    assert!(seen.failures.is_empty(), "{:?}", seen.failures.first());
    assert_eq!((seen.closed, good.is_empty()), (0, false), "no connection was closed either");

    // nobody to take over from
    let mut alone = Process { child: site.command(&["--upgrade"]).spawn().unwrap(), port: site.port };
    assert_eq!(alone.exit(Duration::from_secs(15)), Some(3));
    // and after all that an upgrade works
    let mut old = old;
    let new = Process { child: site.command(&["--upgrade"]).spawn().unwrap(), port: site.port };
    old.signal("-QUIT");
    assert_eq!(old.exit(Duration::from_secs(15)), Some(0));
    assert_eq!(site.pid(), u64::from(new.child.id()));
}

#[test]
fn without_a_socket_sigquit_changes_nothing() {
    let old = Process::start(&[]);
    old.signal("-QUIT");
    std::thread::sleep(Duration::from_millis(300));
    let ready = get(old.port, "/edge/ready").json();
    assert_eq!((ready["status"].as_str(), ready["pid"].as_u64()), (Some("ready"), Some(old.child.id().into())));
    assert!(TcpStream::connect(("127.0.0.1", old.port)).is_ok());
    let refused = Command::new(env!("CARGO_BIN_EXE_litellm-rust")).arg("--upgrade").output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "--upgrade needs --upgrade-socket");
}
