//! Callers that go on calling while something breaks, and remember what they were told.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    stack::{chat, side},
    support::Client,
};

/// One call that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub status: u16,
    pub side: String,
    /// the provider's id, of a call it answered
    pub id: Option<String>,
    pub took: Duration,
    pub at: Instant,
}

pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
    threads: Vec<JoinHandle<()>>,
}

/// A caller waits that long; the edge must have answered long before.
const PATIENCE: Duration = Duration::from_secs(60);

impl Traffic {
    /// One caller for each of `keys`, with a pause between its calls.
    pub(crate) fn start(port: u16, keys: &[&str], pause: Duration) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Call>>>::default());
        let caller = |key: &str| {
            let (key, stop, calls) = (key.to_owned(), stop.clone(), calls.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let Some(call) = one(port, &key) else { return };
                    calls.lock().unwrap().push(call);
                    thread::sleep(pause);
                }
            })
        };
        let threads = keys.iter().map(|key| caller(key)).collect();
        Self { stop, calls, threads }
    }

    pub(crate) fn so_far(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits for so many more answers.
    pub(crate) fn more(&self, count: usize) {
        let goal = self.so_far().len() + count;
        crate::support::eventually(PATIENCE, "callers are answered", || self.calls.lock().unwrap().len() >= goal);
    }

    /// All answers; the callers finish what they have begun.
    pub(crate) fn end(self) -> Vec<Call> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::try_unwrap(self.calls).unwrap().into_inner().unwrap()
    }
}

/// On a connection of its own. `None`: the edge is gone.
fn one(port: u16, key: &str) -> Option<Call> {
    let start = Instant::now();
    let mut client = Client::over(std::net::TcpStream::connect(("127.0.0.1", port)).ok()?);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut client.stream, &chat(key)).ok()?;
    let answer = client.answer()?;
    let (status, side) = side(&answer);
    let native = (status, side) == (200, "native");
    let id = native.then(|| answer.json()["id"].as_str().unwrap().to_owned());
    Some(Call { status, side: side.to_owned(), id, took: start.elapsed(), at: Instant::now() })
}
