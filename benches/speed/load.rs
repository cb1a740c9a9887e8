//! Closed-loop load over kept connections: each sends its next request when the answer is whole.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What came of one run.
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) elapsed: Duration,
    /// sorted
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Milliseconds; `quantile` in 0..1.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        let at = (self.latencies.len() as f64 * quantile) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).map_or(0.0, |l| l.as_secs_f64() * 1e3)
    }
}

/// `rate`: requests a second of all connections together; 0: as fast as they are answered.
pub(crate) fn run(
    port: u16,
    request: &[u8],
    connections: usize,
    requests: usize,
    rate: f64,
) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let left = Arc::new(AtomicUsize::new(requests));
        let request: Arc<[u8]> = request.into();
        let started = Instant::now();
        let every = (rate > 0.0).then(|| Duration::from_secs_f64(connections as f64 / rate));
        let tasks: Vec<_> =
            (0..connections).map(|_| tokio::spawn(connection(port, request.clone(), left.clone(), every))).collect();
        let mut latencies = Vec::with_capacity(requests);
        for task in tasks {
            latencies.extend(task.await.map_err(std::io::Error::other)??);
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok(Outcome { requests: latencies.len(), elapsed, latencies })
    })
}

async fn connection(
    port: u16,
    request: Arc<[u8]>,
    left: Arc<AtomicUsize>,
    every: Option<Duration>,
) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut ticks = every.map(tokio::time::interval);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let started = Instant::now();
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

/// Reads one answer, by length or to its last chunk. The bench's bodies never contain what ends a chunked one.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    let mut whole = None;
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::Error::other("connection closed before a whole answer"));
        }
        if whole.is_none()
            && let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n")
        {
            if !buffer.starts_with(b"HTTP/1.1 200") {
                return Err(std::io::Error::other(String::from_utf8_lossy(buffer).into_owned()));
            }
            whole = Some(content_length(&buffer[..end]).map_or(usize::MAX, |length| end + 4 + length));
        }
        match whole {
            Some(usize::MAX) if buffer.ends_with(b"\r\n0\r\n\r\n") => return Ok(()),
            Some(length) if buffer.len() >= length => return Ok(()),
            _ => {}
        }
    }
}

/// The declared length of a body.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    })
}
