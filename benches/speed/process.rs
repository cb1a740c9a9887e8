//! Processes: starting them so that none is left behind, and what /proc says of them.
use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Process ids of all that was started and not stopped yet.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A started process; dropping it stops it and its children.
pub(crate) struct Running(Child);

impl Running {
    /// Standard output and error go to `log`. Of this program's environment only what programs need to run is given.
    pub(crate) fn start(mut command: Command, env: &[(&str, String)], log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        command.env_clear();
        for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
        Ok(Self(child))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Until a GET of `path` answers 200; the time it took.
    pub(crate) fn wait_for(&mut self, port: u16, path: &str, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if get_is_ok(port, path) {
                return Ok(begun.elapsed());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("it ended by itself ({status})");
            }
            // to the millisecond for what starts at once; who takes longer is not kept from the processor
            thread::sleep(Duration::from_millis(if begun.elapsed().as_secs() < 1 { 1 } else { 50 }));
        }
        bail!("no answer to GET {path} on port {port} within {within:?}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id();
        stop_tree(pid);
        let _ = self.0.wait();
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).retain(|started| *started != pid);
    }
}

/// A process that something else has started is stopped by a signal too.
pub(crate) fn also_stop(pid: u32) {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
}

/// Ctrl-C and SIGTERM stop what was started, too.
pub(crate) fn stop_all_on_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut term) = signal(SignalKind::terminate()) else { return };
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
        });
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|pid| stop_tree(*pid));
        std::process::exit(130);
    });
    Ok(())
}

/// All at once and without asking: nothing that a benchmark starts has anything to lose.
fn stop_tree(root: u32) {
    let pids = tree(&processes(), &[root]);
    let _ = Command::new("kill").arg("-KILL").args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status();
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A POST of JSON that must be answered with 200.
pub(crate) fn post(port: u16, path: &str, key: &str, body: &str) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("POST {path}: {answer}");
    }
    Ok(())
}

/// The text of a GET's answer.
pub(crate) fn get(port: u16, path: &str, key: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn get_is_ok(port: u16, path: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

// ---------------------------------------------------------------------------------------------------------------- /proc

/// Of one process: its parent, and its hundredths of seconds of CPU, with those of children it has waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    parent: u32,
    ticks: u64,
}

/// Everything that runs now.
pub(crate) fn processes() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// /proc/PID/stat; the name of the program in brackets may hold anything.
fn stat(line: &str) -> Option<Process> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: number(1)? as u32,
        ticks: (11..=14).map(number).sum::<Option<u64>>()?, // user, system, and both of the children
    })
}

/// The roots and all that descend from them.
pub(crate) fn tree(all: &HashMap<u32, Process>, roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = all.iter().filter(|(pid, process)| process.parent == parent && !found.contains(pid));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// Seconds of user and system time of the trees (Linux shows hundredths).
pub(crate) fn cpu(all: &HashMap<u32, Process>, roots: &[u32]) -> f64 {
    let ticks: u64 = tree(all, roots).iter().filter_map(|pid| Some(all.get(pid)?.ticks)).sum();
    ticks as f64 / 100.0
}

/// Seconds of CPU that the whole machine has used, also what a host took away (steal).
pub(crate) fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy(stat.lines().next().unwrap_or_default()) as f64 / 100.0
}

/// cpu user nice system idle iowait irq softirq steal
fn busy(line: &str) -> u64 {
    line.split_whitespace()
        .skip(1)
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .filter_map(|(_, field)| field.parse::<u64>().ok())
        .sum()
}

/// Megabytes of the trees: `VmRSS` now, `VmHWM` at its highest. Pages that processes share count for each of them.
pub(crate) fn memory(roots: &[u32], key: &str) -> f64 {
    tree(&processes(), roots)
        .iter()
        .filter_map(|pid| kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, key))
        .sum::<f64>()
        * 1024.0
        / 1e6
}

/// Lets the highest memory begin anew, so that it is that of one row.
pub(crate) fn forget_peak(roots: &[u32]) {
    for pid in tree(&processes(), roots) {
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// A line `Key:   123 kB` of /proc/PID/status or /proc/meminfo.
pub(crate) fn kilobytes(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split(':').next() == Some(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_programs_name() {
        let line = "12 (a) b (c)) S 7 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(stat(line), Some(Process { parent: 7, ticks: 127 }));
        assert_eq!(stat("12 (cut"), None);
        assert_eq!(busy("cpu  1 2 3 1000 2000 4 5 6 7 8"), 21);
        assert_eq!(kilobytes("VmHWMx:\t1 kB\nVmHWM:\t  42 kB\n", "VmHWM"), Some(42.0));
    }

    #[test]
    fn a_tree_is_found_and_no_stranger() {
        let process = |parent| Process { parent, ticks: 1 };
        let all = HashMap::from([(1, process(0)), (2, process(1)), (3, process(2)), (4, process(1)), (5, process(3))]);
        let mut found = tree(&all, &[2]);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 5]);
        assert_eq!(cpu(&all, &[2]), 0.03);
        assert!(memory(&[std::process::id()], "VmRSS") > 0.5);
    }
}
