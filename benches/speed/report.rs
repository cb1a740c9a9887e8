//! result.json: the rows, and all that must be known to believe them.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{budgets, process, rows::Row};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    /// RFC 3339, UTC
    pub(crate) time: String,
    pub(crate) setup: String,
    pub(crate) quick: bool,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) binary_mb: f64,
    /// by gateway, from starting the process to its first 200 on its readiness path; median of the rounds
    pub(crate) start_ms: BTreeMap<String, f64>,
    /// by gateway, a second after it was ready
    pub(crate) idle_rss_mb: BTreeMap<String, f64>,
    /// what makes these figures doubtful
    pub(crate) warnings: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// what Postgres and Redis had to do, where gateways keep books
    #[serde(default)]
    pub(crate) traffic: Vec<crate::traffic::Traffic>,
    pub(crate) ratios: Vec<budgets::Ratio>,
    pub(crate) budgets: Vec<budgets::Budget>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gb: f64,
    pub(crate) kernel: String,
    /// load average of the last minute and the last five, when the run began
    pub(crate) load_average: [f64; 2],
    /// median over the rows of the cores that other programs used
    pub(crate) other_cores: f64,
}

impl Machine {
    /// As /proc describes it now.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let mut load = read("/proc/loadavg").split(' ').map_while(|field| field.parse().ok()).collect::<Vec<f64>>();
        load.resize(2, 0.0);
        Self {
            cpu: model.map_or("unknown", |(_, name)| name).trim().into(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_gb: process::kilobytes(&read("/proc/meminfo"), "MemTotal").unwrap_or(0.0) / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            load_average: [load[0], load[1]],
            other_cores: 0.0,
        }
    }

    /// One line for captions.
    pub(crate) fn caption(&self) -> String {
        format!(
            "{} cores of {}, {:.0} GB, Linux {}; client, provider and gateway share the cores. Load average at the \
             start {:.2}, other programs used {:.2} cores",
            self.cores, self.cpu, self.memory_gb, self.kernel, self.load_average[0], self.other_cores
        )
    }
}

/// Of everything that is compared.
pub(crate) fn versions(binary: &Path, python: Option<&Path>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut ask = |name: &str, program: PathBuf, arguments: &[&str]| {
        if let Ok(output) = Command::new(program).args(arguments).output()
            && output.status.success()
        {
            versions.insert(name.to_owned(), String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
    };
    ask("edge", binary.into(), &["--version"]);
    ask("commit", "git".into(), &["rev-parse", "--short=12", "HEAD"]);
    if let Some(venv) = python {
        let python = venv.join("bin/python");
        ask("litellm", python.clone(), &["-c", "import importlib.metadata as m; print(m.version('litellm'))"]);
        ask("python", python, &["-c", "import platform; print(platform.python_version())"]);
    }
    versions
}

impl Report {
    /// What a reader must be told before the figures.
    pub(crate) fn find_warnings(&mut self) {
        let mut warnings = Vec::new();
        if self.quick {
            warnings.push("a quick run: it shows that everything works, its figures mean nothing".into());
        }
        if self.machine.other_cores > 0.1 || self.machine.load_average[0] > 0.5 {
            warnings.push(format!(
                "other programs used the CPU: load average {:.2} at the start, {:.2} cores during the median row",
                self.machine.load_average[0], self.machine.other_cores
            ));
        }
        let disturbed = self.rows.iter().filter(|row| row.other_cores > 0.3).count();
        if disturbed > 0 {
            warnings.push(format!("{disturbed} of {} rows had more than 0.3 cores taken by others", self.rows.len()));
        }
        for row in self.rows.iter().filter(|row| row.fell_behind()) {
            let (name, work, rate, rps) = (&row.gateway, &row.work, row.rate.unwrap_or(0.0), row.rps);
            warnings.push(format!("{name} did not hold {rate}/s of {work}: {rps:.1}/s"));
        }
        for row in &self.rows {
            if let Some(error) = &row.error {
                let error = error.lines().next().unwrap_or_default();
                let (name, work, connections) = (&row.gateway, &row.work, row.connections);
                warnings.push(format!("{name} failed {work} at {connections} connections: {error}"));
            }
        }
        self.warnings = warnings;
    }

    pub(crate) fn row(&self, gateway: &str, work: &str, connections: usize, rate: Option<f64>) -> Option<&Row> {
        self.rows.iter().find(|row| row.is(gateway, work, connections, rate) && row.error.is_none())
    }

    /// Names of all gateways, in the order of the rows.
    pub(crate) fn gateways(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.gateway.as_str()) {
                names.push(&row.gateway);
            }
        }
        names
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rows::{rows, tests::sample};

    pub(crate) fn report() -> Report {
        let mut samples = Vec::new();
        for (gateway, p50, cpu) in [
            ("provider", 1.0, 20.0),
            ("python-1", 900.0, 20_000.0),
            ("edge-pass", 2.0, 70.0),
            ("edge-native", 2.0, 50.0),
        ] {
            for work in ["chat-json", "messages-json", "chat-stream", "messages-stream", "chat-100k"] {
                samples.push(sample(gateway, work, 0, p50, cpu));
                for (connections, rate) in [(1, None), (1, Some(20.0)), (16, Some(2_000.0)), (200, None)] {
                    let mut other = sample(gateway, work, 0, p50, cpu);
                    (other.connections, other.rate) = (connections, rate);
                    samples.push(other);
                }
            }
        }
        let mut report = Report { rows: rows(&samples), binary_mb: 18.0, rounds: 1, ..Report::default() };
        report.start_ms = BTreeMap::from([("edge-native".into(), 70.0), ("python-1".into(), 20_000.0)]);
        report
    }

    #[test]
    fn result_json_has_the_agreed_shape() {
        let json = serde_json::to_value(report()).unwrap();
        let row = json["rows"][0].as_object().unwrap();
        for key in ["gateway", "work"] {
            assert!(row[key].is_string(), "{key}");
        }
        for key in [
            "connections",
            "rps",
            "p50_ms",
            "p90_ms",
            "p99_ms",
            "added_p50_ms",
            "added_p99_ms",
            "cpu_us_per_request",
            "peak_rss_mb",
        ] {
            assert!(row[key].is_number(), "{key}");
        }
        assert!(json["start_ms"]["edge-native"].is_number() && json["binary_mb"].is_number());
        assert!(json["machine"]["load_average"].is_array() && json["rounds"] == 1);
        let back: Report = serde_json::from_value(json).unwrap();
        assert_eq!(back, report());
    }

    #[test]
    fn doubtful_figures_are_called_so() {
        let mut report = report();
        report.find_warnings();
        let behind = |warning: &&String| warning.contains("did not hold");
        // the invented gateways answer 1000/p50 requests a second whatever rate they are asked for
        assert_eq!(report.warnings.iter().filter(behind).count(), 5 + 5 + 15);
        report.rows.retain(|row| row.rate.is_none());
        report.find_warnings();
        assert_eq!(report.warnings, Vec::<String>::new());
        report.machine.other_cores = 0.5;
        report.rows[0].error = Some("HTTP/1.1 500\r\nmore".into());
        report.find_warnings();
        assert_eq!(report.warnings.len(), 2);
        assert!(!Machine::here().cpu.is_empty() && Machine::here().cores > 0);
    }
}
