//! What the process takes of the machine, out of /proc; zeros where there is none.
use std::{
    fs,
    time::{Duration, SystemTime},
};

use prometheus::{Counter, Gauge, core::Collector};

use super::metrics::table::{self, Meta};

/// One look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub resident_bytes: u64,
    pub cpu_seconds: f64,
    pub open_files: u64,
    pub max_files: u64,
    pub threads: u64,
    /// Unix time
    pub started: f64,
}

/// The gauges of it.
pub(super) struct Process {
    resident: Gauge,
    cpu: Counter,
    open_files: Gauge,
    max_files: Gauge,
    threads: Gauge,
    started: Gauge,
}

impl Process {
    pub(super) fn new<E: From<prometheus::Error>>(
        gauge: impl Fn(&Meta) -> Result<Gauge, E>,
        register: impl Fn(Counter) -> Result<Counter, E>,
    ) -> Result<Self, E>
    where
        Counter: Collector,
    {
        Ok(Self {
            resident: gauge(&table::RSS)?,
            cpu: register(Counter::new(table::CPU.name, table::CPU.help)?)?,
            open_files: gauge(&table::OPEN_FILES)?,
            max_files: gauge(&table::MAX_FILES)?,
            threads: gauge(&table::THREADS)?,
            started: gauge(&table::START)?,
        })
    }

    pub(super) fn refresh(&self, usage: &Usage) {
        self.resident.set(usage.resident_bytes as f64);
        let more = usage.cpu_seconds - self.cpu.get();
        if more > 0.0 {
            self.cpu.inc_by(more);
        }
        self.open_files.set(usage.open_files as f64);
        self.max_files.set(usage.max_files as f64);
        self.threads.set(usage.threads as f64);
        self.started.set(usage.started);
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// /proc counts in hundredths of a second and in pages, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Reads /proc/self.
pub(super) fn usage() -> Usage {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // the name in parentheses may hold anything; what follows it is numbers
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(first_number).unwrap_or(0);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let max_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).and_then(first_number);
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime")).and_then(first_number).unwrap_or(0);
    Usage {
        resident_bytes: resident * 1024,
        cpu_seconds: (number(11) + number(12)) / TICKS,
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        max_files: max_files.unwrap_or(0),
        threads: number(17) as u64,
        started: boot as f64 + number(19) / TICKS,
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
