//! The project's own budgets against one run, and what the edge saves against the Python gateway. Pure.
use serde::{Deserialize, Serialize};

use crate::{report::Report, rows::Row};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Budget {
    pub(crate) what: String,
    /// null: not measured in this run
    pub(crate) measured: Option<f64>,
    pub(crate) limit: f64,
    pub(crate) unit: String,
    /// the limit is the least that will do, not the most
    pub(crate) at_least: bool,
    pub(crate) met: Option<bool>,
}

/// How many times better `edge-native` is than `python-1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) what: String,
    pub(crate) edge: f64,
    pub(crate) python: f64,
    pub(crate) times: f64,
}

const NATIVE: &str = "edge-native";
const PASS: &str = "edge-pass";
const PYTHON: &str = "python-1";

type Field = fn(&Row) -> Option<f64>;

fn cpu(row: &Row) -> Option<f64> {
    Some(row.cpu_us_per_request)
}

fn added_p50(row: &Row) -> Option<f64> {
    row.added_p50_ms
}

fn added_p99(row: &Row) -> Option<f64> {
    row.added_p99_ms
}

pub(crate) fn budgets(report: &Report) -> Vec<Budget> {
    let get = |gateway: &str, work: &str, connections, rate, field: Field| {
        report.row(gateway, work, connections, rate).and_then(field)
    };
    let at_most = |what: &str, measured: Option<f64>, limit: f64, unit: &str| Budget {
        what: what.into(),
        measured,
        limit,
        unit: unit.into(),
        at_least: false,
        met: measured.map(|measured| measured <= limit),
    };
    let at_least = |what: &str, measured: Option<f64>, limit: f64| Budget {
        at_least: true,
        met: measured.map(|measured| measured >= limit),
        ..at_most(what, measured, limit, "x")
    };
    let quotient = |over: Option<f64>, under: Option<f64>| Some(over? / under.filter(|under| *under > 0.0)?);
    let at_50 = |gateway: &str, work: &str| get(gateway, work, 50, None, cpu);
    let at_2000 = |gateway: &str, work: &str, field| get(gateway, work, 16, Some(2_000.0), field);
    let mut all = Vec::new();
    for (name, work, stream) in [("chat", "chat-json", "chat-stream"), ("messages", "messages-json", "messages-stream")]
    {
        let cpu = at_50(NATIVE, work);
        all.push(at_most(&format!("{name}: CPU a request, 50 connections"), cpu, 60.0, "us"));
        let times = quotient(at_50(PYTHON, work), cpu);
        all.push(at_least(&format!("{name}: requests per CPU-second against python-1"), times, 300.0));
        let added = |field| at_2000(NATIVE, work, field);
        all.push(at_most(&format!("{name}: added p50 at 2,000/s"), added(added_p50), 0.10, "ms"));
        all.push(at_most(&format!("{name}: added p99 at 2,000/s"), added(added_p99), 0.5, "ms"));
        let slow = get(NATIVE, work, 1, Some(20.0), added_p50);
        all.push(at_most(&format!("{name}: added p50 at 20/s"), slow, 0.4, "ms"));
        let stream_cpu = at_50(NATIVE, stream);
        all.push(at_most(&format!("{name}: CPU of a 100-event stream, 50 connections"), stream_cpu, 600.0, "us"));
        let gap = |gateway| get(gateway, &format!("{stream}-paced"), 1, None, |row| row.longest_gap_p50_ms);
        let wait = gap(NATIVE).zip(gap("provider")).map(|(through, bare)| through - bare);
        all.push(at_most(&format!("{name}: longest wait added between events 1 ms apart"), wait, 5.0, "ms"));
    }
    let prompt = quotient(at_50(NATIVE, "chat-100k"), at_50(NATIVE, "chat-json"));
    all.push(at_most("chat: CPU of a 100 KB prompt against a 1 KB one", prompt, 3.0, "x"));
    for (name, work) in [("chat", "chat-json"), ("messages", "messages-json")] {
        all.push(at_most(
            &format!("pass-through of {name}: CPU a request, 50 connections"),
            at_50(PASS, work),
            60.0,
            "us",
        ));
        let added = at_2000(PASS, work, added_p50);
        all.push(at_most(&format!("pass-through of {name}: added p50 at 2,000/s"), added, 0.10, "ms"));
    }
    let peak = |gateway: &str| {
        let rows = report.rows.iter().filter(|row| row.gateway == gateway && row.connections <= 50);
        rows.filter(|row| row.error.is_none()).map(|row| row.peak_rss_mb).reduce(f64::max)
    };
    all.push(at_most("peak RSS up to 50 connections, all works", peak(NATIVE), 32.0, "MB"));
    all.push(at_most("binary", Some(report.binary_mb), 25.0, "MB"));
    all.push(at_most("ready after start", report.start_ms.get(NATIVE).copied(), 100.0, "ms"));
    all
}

pub(crate) fn ratios(report: &Report) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let mut compare = |what: String, edge: Option<f64>, python: Option<f64>| {
        if let Some((edge, python)) = edge.zip(python).filter(|(edge, _)| *edge > 0.0) {
            ratios.push(Ratio { what, edge, python, times: python / edge });
        }
    };
    let get = |gateway: &str, work: &str, connections, rate, field: Field| {
        report.row(gateway, work, connections, rate).and_then(field)
    };
    for work in ["chat-json", "messages-json", "chat-stream", "messages-stream", "chat-100k"] {
        let at = |gateway| get(gateway, work, 50, None, cpu);
        compare(format!("requests per CPU-second, {work}: CPU us a request"), at(NATIVE), at(PYTHON));
    }
    for work in ["chat-json", "messages-json"] {
        let at = |gateway| get(gateway, work, 1, Some(20.0), added_p50);
        compare(format!("added latency at 20/s, {work}: p50 in ms"), at(NATIVE), at(PYTHON));
    }
    let at = |gateway| get(gateway, "chat-json", 50, None, |row| Some(row.p99_ms));
    compare("latency at 50 connections, chat-json: p99 in ms".into(), at(NATIVE), at(PYTHON));
    let at = |gateway| get(gateway, "chat-json", 50, None, |row| Some(row.peak_rss_mb));
    compare("peak RSS at 50 connections, chat-json: MB".into(), at(NATIVE), at(PYTHON));
    let at = |gateway| report.start_ms.get(gateway).copied();
    compare("start to ready: ms".into(), at(NATIVE), at(PYTHON));
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_met_missed_or_not_measured() {
        let mut report = crate::report::tests::report();
        let find =
            |report: &Report, what: &str| budgets(report).into_iter().find(|b| b.what.starts_with(what)).unwrap();
        assert_eq!(find(&report, "chat: CPU a request").met, Some(true)); // 50 us
        assert_eq!(find(&report, "pass-through of chat: CPU").met, Some(false)); // 70 us
        assert_eq!(find(&report, "chat: requests per CPU-second").measured, Some(400.0));
        assert_eq!(find(&report, "messages: longest wait").met, None);
        assert_eq!(find(&report, "ready after start").met, Some(true));
        report.rows.iter_mut().for_each(|row| row.error = Some("no".into()));
        assert_eq!(find(&report, "chat: CPU a request").met, None);
    }

    #[test]
    fn a_ratio_says_how_many_times_better_the_edge_is() {
        let ratios = ratios(&crate::report::tests::report());
        assert_eq!(ratios[0].times, 400.0);
        assert_eq!(ratios.last().unwrap().times, 20_000.0 / 70.0);
        assert_eq!(super::ratios(&Report::default()), []);
    }
}
