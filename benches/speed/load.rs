//! The client. `Free`: connections that each send their next request when the answer is whole. `Paced`: requests at a
//! fixed rate, due one after the other across the connections. Latency is from before the write to the last byte.
use std::{
    io::{Error, Read, Result, Write},
    net::TcpStream as Blocking,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};

use crate::{
    answer::Answer,
    works::{Work, text},
};

/// No answer takes longer, not even the last of 200 that one Python worker was given at once.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is sent and what must come back.
pub(crate) struct Request {
    pub(crate) port: u16,
    pub(crate) bytes: Vec<u8>,
    pub(crate) work: &'static Work,
    pub(crate) text: String,
}

impl Request {
    pub(crate) fn new(port: u16, bytes: Vec<u8>, work: &'static Work) -> Arc<Self> {
        Arc::new(Self { port, bytes, work, text: text() })
    }
}

/// One answer, times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) whole: f64,
    /// until the first event was there; streams only
    pub(crate) first_event: f64,
    /// the longest silence after the first event
    pub(crate) longest_gap: f64,
}

/// What came of one run: every request was answered, and answered right.
pub(crate) struct Outcome {
    pub(crate) elapsed: Duration,
    pub(crate) timings: Vec<Timing>,
}

// ------------------------------------------------------------------------------------------------ as fast as answered

pub(crate) struct Free {
    runtime: Runtime,
    connections: Vec<(TcpStream, Answer)>,
    request: Arc<Request>,
}

impl Free {
    pub(crate) fn connect(request: Arc<Request>, connections: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let open = async {
            let mut open = Vec::new();
            for _ in 0..connections {
                let stream = TcpStream::connect(("127.0.0.1", request.port)).await?;
                stream.set_nodelay(true)?;
                open.push((stream, Answer::default()));
            }
            Ok::<_, Error>(open)
        };
        let connections = runtime.block_on(open)?;
        Ok(Self { runtime, connections, request })
    }

    /// No request is begun after `length`; every connection makes at least one.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Outcome> {
        let started = Instant::now();
        let connections = std::mem::take(&mut self.connections);
        let request = self.request.clone();
        let all = async move {
            let tasks: Vec<_> = connections
                .into_iter()
                .map(|connection| tokio::spawn(keep_asking(connection, request.clone(), started + length)))
                .collect();
            let mut done = Vec::new();
            for task in tasks {
                done.push(task.await.map_err(Error::other)??);
            }
            Ok::<_, Error>(done)
        };
        let done = self.runtime.block_on(async { tokio::time::timeout(length + PATIENCE, all).await })??;
        let elapsed = started.elapsed();
        let mut timings = Vec::new();
        for (connection, its) in done {
            self.connections.push(connection);
            timings.extend(its);
        }
        Ok(Outcome { elapsed, timings })
    }
}

type Asked = ((TcpStream, Answer), Vec<Timing>);

async fn keep_asking(
    (mut stream, mut answer): (TcpStream, Answer),
    request: Arc<Request>,
    until: Instant,
) -> Result<Asked> {
    let mut timings = Vec::new();
    loop {
        let mut clock = Clock::start(request.work.stream);
        answer.clear();
        stream.write_all(&request.bytes).await?;
        loop {
            if stream.read_buf(answer.input()).await? == 0 {
                return Err(closed());
            }
            if clock.read(&mut answer)? {
                break;
            }
        }
        timings.push(clock.timing());
        check(&request, &answer)?;
        if Instant::now() >= until {
            return Ok(((stream, answer), timings));
        }
    }
}

// ------------------------------------------------------------------------------------------------------ at a fixed rate

/// Threads that sleep until their request is due: tokio's timers are a millisecond wide, too wide for 2,000 a second.
pub(crate) struct Paced {
    connections: Vec<(Blocking, Answer)>,
    request: Arc<Request>,
    /// requests a second, of all connections together
    rate: f64,
}

impl Paced {
    pub(crate) fn connect(request: Arc<Request>, connections: usize, rate: f64) -> Result<Self> {
        let open = |_| {
            let stream = Blocking::connect(("127.0.0.1", request.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok((stream, Answer::default()))
        };
        Ok(Self { connections: (0..connections).map(open).collect::<Result<_>>()?, request, rate })
    }

    pub(crate) fn run(&mut self, length: Duration) -> Result<Outcome> {
        let total = (length.as_secs_f64() * self.rate).ceil() as usize;
        let (count, rate) = (self.connections.len(), self.rate);
        let request = &*self.request;
        let started = Instant::now();
        let all = thread::scope(|scope| {
            let threads: Vec<_> = self
                .connections
                .iter_mut()
                .enumerate()
                .map(|(first, connection)| {
                    scope.spawn(move || {
                        let due = |nth: usize| started + Duration::from_secs_f64(nth as f64 / rate);
                        (first..total).step_by(count).map(|nth| ask_at(due(nth), connection, request)).collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(closed()))).collect::<Vec<_>>()
        });
        let elapsed = started.elapsed();
        let mut timings = Vec::with_capacity(total);
        for its in all {
            timings.extend::<Vec<Timing>>(its?);
        }
        Ok(Outcome { elapsed, timings })
    }
}

fn ask_at(due: Instant, (stream, answer): &mut (Blocking, Answer), request: &Request) -> Result<Timing> {
    thread::sleep(due.saturating_duration_since(Instant::now()));
    let mut clock = Clock::start(request.work.stream);
    answer.clear();
    stream.write_all(&request.bytes)?;
    let mut buffer = [0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(closed());
        }
        answer.input().extend_from_slice(&buffer[..read]);
        if clock.read(answer)? {
            break;
        }
    }
    let timing = clock.timing();
    check(request, answer)?;
    Ok(timing)
}

// ----------------------------------------------------------------------------------------------------------- one answer

fn closed() -> Error {
    Error::other("connection closed before a whole answer")
}

fn check(request: &Request, answer: &Answer) -> Result<()> {
    request.work.verify(answer.body(), &request.text).map_err(Error::other)
}

/// The times of one answer.
struct Clock {
    stream: bool,
    started: Instant,
    last: Instant,
    first_event: Option<Duration>,
    longest_gap: Duration,
}

impl Clock {
    fn start(stream: bool) -> Self {
        let now = Instant::now();
        Self { stream, started: now, last: now, first_event: None, longest_gap: Duration::ZERO }
    }

    /// Bytes have come; true when the answer is whole.
    fn read(&mut self, answer: &mut Answer) -> Result<bool> {
        let now = Instant::now();
        let whole = answer.advance().map_err(Error::other)?;
        if self.stream {
            if self.first_event.is_some() {
                self.longest_gap = self.longest_gap.max(now - self.last);
            } else if memchr::memmem::find(answer.body(), b"\n\n").is_some() {
                self.first_event = Some(now - self.started);
            }
        }
        self.last = now;
        Ok(whole)
    }

    fn timing(&self) -> Timing {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Timing {
            whole: ms(self.last - self.started),
            first_event: ms(self.first_event.unwrap_or_default()),
            longest_gap: ms(self.longest_gap),
        }
    }
}
