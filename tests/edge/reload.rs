//! The kill switch and reloads in the real binary, under load.
use std::{
    fs,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    gateway::{CHAT, Gateway, config, routes},
    support::{Client, FakePython, MASTER, ask, eventually, post_bytes},
};

/// Chat requests on a few kept connections, one after the other, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    /// when each request was sent, its status, and who answered
    seen: Arc<Mutex<Vec<(Instant, u16, String)>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let run = |_| {
            let (stop, seen) = (stop.clone(), seen.clone());
            std::thread::spawn(move || {
                let mut client = Client::to(port);
                while !stop.load(Ordering::SeqCst) {
                    let sent = Instant::now();
                    client.send(post_bytes("/v1/chat/completions", CHAT));
                    let answer = client.answer().expect("an answer on a connection that is kept");
                    let side = answer.header("x-litellm-edge").unwrap_or("none").to_owned();
                    seen.lock().unwrap().push((sent, answer.status, side));
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let threads = (0..8).map(run).collect();
        Self { stop, seen, threads }
    }

    /// Does `turn` and demands that everything sent a second later is answered by `side`, and that nothing failed. A machine
    /// that is busy may be late itself: `undo` and another try, three in all.
    fn turns_to(&self, side: &str, turn: impl Fn(), undo: impl Fn()) {
        let mut late = Vec::new();
        for _ in 0..3 {
            turn();
            let turned = Instant::now();
            std::thread::sleep(Duration::from_millis(1400));
            let after: Vec<String> = {
                let seen = self.seen.lock().unwrap();
                assert!(seen.iter().all(|(_, status, _)| *status == 200), "a request failed");
                let second = Duration::from_secs(1);
                seen.iter().filter(|(sent, ..)| *sent > turned + second).map(|row| row.2.clone()).collect()
            };
            if after.len() > 8 && after.iter().all(|found| found == side) {
                return;
            }
            late.push(after);
            undo();
            std::thread::sleep(Duration::from_millis(1400));
        }
        panic!("{side}: {late:?}");
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no request failed");
        }
    }
}

fn switch(gateway: &Gateway, on: bool) -> u16 {
    ask(gateway.process.port, post_bytes("/edge/switch", format!("{{\"all_python\": {on}}}"))).status
}

#[test]
fn the_kill_switch_takes_effect_within_a_second_and_fails_nobody() {
    let python = FakePython::saying("python");
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    assert_eq!(gateway.side(), "native");
    let load = Load::on(gateway.process.port);
    let file = (
        || drop(gateway.folder.write("all-python", "")),
        || drop(fs::remove_file(gateway.folder.0.join("all-python"))),
    );
    let switched = |on| assert_eq!(switch(&gateway, on), 200);
    load.turns_to("native", || {}, || {});
    load.turns_to("python", file.0, file.1);
    assert_eq!(gateway.get("/edge/routes").json()["switch"]["by"][0], "file");
    load.turns_to("native", file.1, file.0);
    load.turns_to("python", || switched(true), || switched(false));
    assert_eq!(gateway.side(), "python", "the admin's switch is effective for the next request");
    load.turns_to("native", || switched(false), || switched(true));
    load.stop();
    // nobody else may turn it
    let stranger = "POST /edge/switch HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer sk-x\r\ncontent-length: 20\r\n\r\n{\"all_python\": true }";
    assert_eq!(ask(gateway.process.port, stranger).status, 401);
    assert_eq!(gateway.side(), "native");

    let gateway = Gateway::start(python.port, &[], &[("LITELLM_EDGE_ALL_PYTHON", "1")], Stdio::null());
    assert_eq!(gateway.side(), "python", "from the first request on");
    assert_eq!(gateway.get("/edge/routes").json()["switch"]["by"][0], "env");
    assert_eq!(gateway.provider.requests().len(), 0);
}

#[test]
fn a_broken_file_is_refused_and_the_last_good_one_stays() {
    let python = FakePython::saying("python");
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    let page = || gateway.get("/edge/routes").json();
    let refusals =
        |file: &str| gateway.metric(&format!("litellm_edge_reloads_total{{file=\"{file}\",result=\"refused\"}}"));
    let soon = Duration::from_secs(5);
    assert!(page()["file"]["refused"].is_null() && page()["config"]["refused"].is_null());
    let (digest, config_digest) = (page()["file"]["digest"].clone(), page()["config"]["digest"].clone());
    let load = Load::on(gateway.process.port);

    // found by watching
    gateway.folder.write("routes.toml", "schema = 1\n[[route]]\nid = \"x\"\nmode = \"sometimes\"\n");
    gateway.folder.write("config.yaml", &format!("general_settings: {{master_key: {MASTER}\nmodel_list: [\n"));
    eventually(soon, "both were refused", || refusals("routes") == 1 && refusals("config") == 1);
    let shown = page();
    assert!(shown["file"]["refused"]["message"].as_str().unwrap().contains("routes.toml"), "{shown}");
    assert!(shown["config"]["refused"].as_str().unwrap().contains("config.yaml"), "{shown}");
    assert!(!shown.to_string().contains(MASTER));
    assert_eq!((&shown["file"]["digest"], &shown["config"]["digest"]), (&digest, &config_digest));
    assert_eq!(gateway.side(), "native");
    // the same bytes are not tried again and again
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!((refusals("routes"), refusals("config")), (1, 1));
    // but on demand
    gateway.process.signal("-HUP");
    eventually(soon, "SIGHUP tried both", || refusals("routes") == 2 && refusals("config") == 2);
    assert_eq!(gateway.side(), "native");

    // and what is right again is in force
    gateway.folder.write("routes.toml", &routes(python.port, "python"));
    gateway.folder.write("config.yaml", &format!("{}# changed\n", config(gateway.provider.port)));
    eventually(soon, "both are in force", || {
        let shown = page();
        shown["file"]["refused"].is_null() && shown["config"]["refused"].is_null()
    });
    assert_eq!(gateway.side(), "python");
    assert!(page()["file"]["digest"] != digest && page()["config"]["digest"] != config_digest);
    load.stop();
}
