//! A TCP connection's way to a server, which can be cut, slowed or made silent. Silence is the worst kind: what is open
//! then stays open and is never answered again, also when the way is free again, as behind a firewall that forgot it.
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// each piece of data waits
    Slow(Duration),
    /// connections are accepted and never answered
    Silent,
    /// connections are closed at once
    Cut,
    /// nobody listens
    Refused,
}

/// Waits for these bytes of a client, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    pub on: &'static [u8],
    /// whether the server still gets them, and has the time to act on them
    pub deliver: bool,
    pub then: Mode,
}

#[derive(Debug)]
struct State {
    to: u16,
    mode: Mutex<Mode>,
    trap: Mutex<Option<Trap>>,
    /// connections of an older generation are closed
    generation: AtomicUsize,
    /// connections from before a silence are dead
    silences: AtomicUsize,
}

pub(crate) struct Wire {
    pub port: u16,
    state: Arc<State>,
}

const LOOK: Duration = Duration::from_millis(10);

impl Wire {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            to: port,
            mode: Mutex::new(Mode::Pass),
            trap: Mutex::default(),
            generation: AtomicUsize::new(0),
            silences: AtomicUsize::new(0),
        });
        let of_thread = Arc::downgrade(&state);
        thread::spawn(move || {
            let mut listener = Some(listener);
            while let Some(state) = of_thread.upgrade() {
                if state.mode() == Mode::Refused {
                    listener = None;
                } else {
                    let open = listener.get_or_insert_with(|| TcpListener::bind(("127.0.0.1", own)).unwrap());
                    open.set_nonblocking(true).unwrap();
                    if let Ok((client, _)) = open.accept() {
                        client.set_nonblocking(false).unwrap();
                        if state.mode() != Mode::Cut
                            && let Ok(server) = TcpStream::connect(("127.0.0.1", state.to))
                        {
                            connect(&client, &server, &state);
                        }
                        continue;
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { port: own, state }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.set(mode);
    }

    pub(crate) fn trap(&self, trap: Trap) {
        *self.state.trap.lock().unwrap() = Some(trap);
    }

    pub(crate) fn is_sprung(&self) -> bool {
        self.state.trap.lock().unwrap().is_none()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // the accepting thread sees that nobody holds the state
        self.set(Mode::Cut);
    }
}

impl State {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        match mode {
            Mode::Cut | Mode::Refused => drop(self.generation.fetch_add(1, Ordering::SeqCst)),
            Mode::Silent => drop(self.silences.fetch_add(1, Ordering::SeqCst)),
            Mode::Pass | Mode::Slow(_) => {}
        }
    }
}

fn connect(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    let of = (state.generation.load(Ordering::SeqCst), state.silences.load(Ordering::SeqCst));
    let dead = state.mode() == Mode::Silent;
    for (from, to, asks) in [(client, server, true), (server, client, false)] {
        let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), state.clone());
        thread::spawn(move || pump(from, to, &state, of, dead, asks));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, of: (usize, usize), mut dead: bool, asks: bool) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    to.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let close = |from: &TcpStream, to: &TcpStream| {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    };
    while state.generation.load(Ordering::SeqCst) == of.0 {
        dead |= state.silences.load(Ordering::SeqCst) != of.1;
        if dead {
            thread::sleep(LOOK);
            continue;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        let data = &buffer[..read];
        let sprung = {
            let mut trap = state.trap.lock().unwrap();
            let hit = asks && trap.is_some_and(|trap| data.windows(trap.on.len()).any(|found| found == trap.on));
            if hit { trap.take() } else { None }
        };
        if let Some(trap) = sprung {
            // first the answer's way is closed
            if trap.deliver {
                state.silences.fetch_add(1, Ordering::SeqCst);
                thread::sleep(LOOK * 3);
                let _ = to.write_all(data);
                thread::sleep(Duration::from_millis(300));
            }
            state.set(trap.then);
            continue;
        }
        if let Mode::Slow(wait) = state.mode() {
            thread::sleep(wait);
        }
        // a silence may have begun meanwhile
        if state.silences.load(Ordering::SeqCst) == of.1 && to.write_all(data).is_err() {
            break;
        }
    }
    close(&from, &to);
}
