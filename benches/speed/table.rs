//! The report as text: everything for the terminal, Markdown for README.md and docs/speed.md.
use std::fmt::Write;

use crate::{budgets::Budget, plan::load_name, report::Report, rows::Row};

/// Three digits that matter, and no more.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn optional(value: Option<f64>) -> String {
    value.map_or("-".into(), figure)
}

/// Loads of the report in the order of its rows.
fn loads(report: &Report) -> Vec<(usize, Option<f64>)> {
    let mut loads = Vec::new();
    for row in &report.rows {
        if !loads.contains(&(row.connections, row.rate)) {
            loads.push((row.connections, row.rate));
        }
    }
    loads
}

fn cells(row: &Row) -> [String; 9] {
    [
        figure(row.rps),
        figure(row.p50_ms),
        figure(row.p90_ms),
        figure(row.p99_ms),
        optional(row.added_p50_ms),
        optional(row.added_p99_ms),
        optional(row.first_event_p50_ms),
        format!("{}{}", if row.cpu_is_coarse() { "~" } else { "" }, figure(row.cpu_us_per_request)),
        figure(row.peak_rss_mb),
    ]
}

const COLUMNS: [&str; 9] =
    ["req/s", "p50 ms", "p90 ms", "p99 ms", "added p50", "added p99", "1st event", "CPU us", "RSS MB"];

pub(crate) fn terminal(report: &Report) -> String {
    let mut out = String::new();
    for (connections, rate) in loads(report) {
        let _ = write!(out, "\n{}\n{:<22} {:<14}", load_name(connections, rate), "work", "gateway");
        for column in COLUMNS {
            let _ = write!(out, " {column:>9}");
        }
        let _ = writeln!(out, " {:>8}", "requests");
        let mut before = "";
        for row in report.rows.iter().filter(|row| (row.connections, row.rate) == (connections, rate)) {
            let work = if row.work == before { "" } else { &row.work };
            before = &row.work;
            let _ = write!(out, "{work:<22} {:<14}", row.gateway);
            if let Some(error) = &row.error {
                let _ = writeln!(out, " FAILED: {}", error.lines().next().unwrap_or_default());
                continue;
            }
            for cell in cells(row) {
                let _ = write!(out, " {cell:>9}");
            }
            let _ = writeln!(out, " {:>8}{}", row.requests, if row.fell_behind() { "  fell behind" } else { "" });
        }
    }
    let _ = writeln!(out, "\n~: less than a tenth of a second of CPU in all, of which Linux counts hundredths");
    let _ = writeln!(out, "\nedge-native against python-1");
    for ratio in &report.ratios {
        let (edge, python, times) = (figure(ratio.edge), figure(ratio.python), figure(ratio.times));
        let _ = writeln!(out, "  {:<58} {edge:>9} against {python:>9}: {times:>6} times", ratio.what);
    }
    let _ = writeln!(out, "\nbudgets");
    for budget in &report.budgets {
        let _ = writeln!(out, "  {:<60} {:>12}  {:<12} {}", budget.what, measured(budget), limit(budget), met(budget));
    }
    let _ = writeln!(out, "\n{}", facts(report).join("\n"));
    for warning in &report.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

fn traffic(report: &Report) -> Vec<String> {
    let line = |of: &crate::traffic::Traffic| {
        let (queries, commands) = (figure(of.queries_per_1000), figure(of.commands_per_1000));
        format!(
            "1,000 requests through {}: {queries} statements to Postgres, {commands} commands to Redis.",
            of.gateway
        )
    };
    report.traffic.iter().map(line).collect()
}

fn measured(budget: &Budget) -> String {
    budget.measured.map_or("-".into(), |measured| format!("{} {}", figure(measured), budget.unit))
}

fn limit(budget: &Budget) -> String {
    let sign = if budget.at_least { ">=" } else { "<=" };
    format!("{sign} {} {}", budget.limit, budget.unit)
}

fn met(budget: &Budget) -> &'static str {
    match budget.met {
        Some(true) => "met",
        Some(false) => "not met",
        None => "not measured",
    }
}

/// What the machine's cheapest proxy costs, and the edge as a multiple of it.
fn floor(report: &Report) -> Option<String> {
    let cpu = |gateway: &str, work: &str| {
        let row = report.row(gateway, work, 50, None)?;
        Some(row.cpu_us_per_request).filter(|cpu| *cpu > 0.0)
    };
    let works: Vec<String> = ["chat-json", "messages-json"]
        .into_iter()
        .filter_map(|work| {
            let bare = cpu("forwarder", work)?;
            let times = ["edge-pass", "edge-native"]
                .into_iter()
                .filter_map(|gateway| Some(format!(", {gateway} {} times that", figure(cpu(gateway, work)? / bare))));
            Some(format!("{work} {} us{}", figure(bare), times.collect::<String>()))
        })
        .collect();
    (!works.is_empty())
        .then(|| format!("A bare hyper forwarder, CPU a request at 50 connections: {}.", works.join("; ")))
}

/// What every table must say: machine, versions, setup.
fn facts(report: &Report) -> Vec<String> {
    let versions: Vec<String> = report.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let by_gateway = |of: &std::collections::BTreeMap<String, f64>, unit: &str| {
        of.iter().map(|(name, value)| format!("{name} {} {unit}", figure(*value))).collect::<Vec<_>>().join(", ")
    };
    let mut facts = vec![
        format!("Machine: {}.", report.machine.caption()),
        format!(
            "Run: {}, rounds: {}, {:.0} s; {}. {}.",
            report.time,
            report.rounds,
            report.seconds,
            report.setup,
            versions.join(", ")
        ),
        format!("Start to ready: {}. Binary {:.1} MB.", by_gateway(&report.start_ms, "ms"), report.binary_mb),
        format!("Idle RSS: {}.", by_gateway(&report.idle_rss_mb, "MB")),
    ];
    facts.extend(floor(report));
    facts.extend(traffic(report));
    facts
}

// ------------------------------------------------------------------------------------------------------------- Markdown

fn line(out: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    for cell in cells {
        let _ = write!(out, "| {} ", cell.as_ref());
    }
    out.push_str("|\n");
}

fn head(out: &mut String, cells: &[&str]) {
    line(out, cells);
    line(out, cells.iter().map(|_| "---"));
}

/// For README.md: one line a gateway.
pub(crate) fn short(report: &Report) -> String {
    let mut out = String::new();
    let columns = [
        "gateway",
        "chat, 50 connections: requests/s",
        "CPU us a request",
        "messages: requests/s",
        "CPU us a request",
        "100-event chat stream: CPU us",
        "added p50 at 20/s, chat",
        "peak RSS",
        "start",
    ];
    head(&mut out, &columns);
    for gateway in report.gateways() {
        let at = |work: &str, of: fn(&Row) -> f64| {
            report.row(gateway, work, 50, None).map_or("-".into(), |row| figure(of(row)))
        };
        let added = report.row(gateway, "chat-json", 1, Some(20.0)).and_then(|row| row.added_p50_ms);
        let start = report.start_ms.get(gateway).map_or("-".into(), |ms| format!("{:.2} s", ms / 1e3));
        let cells = [
            format!("`{gateway}`"),
            at("chat-json", |row| row.rps),
            at("chat-json", |row| row.cpu_us_per_request),
            at("messages-json", |row| row.rps),
            at("messages-json", |row| row.cpu_us_per_request),
            at("chat-stream", |row| row.cpu_us_per_request),
            if gateway == "provider" { "-".into() } else { added.map_or("-".into(), |ms| figure(ms) + " ms") },
            at("chat-json", |row| row.peak_rss_mb) + " MB",
            start,
        ];
        line(&mut out, cells);
    }
    let facts = facts(report);
    let _ = write!(out, "\n{}\n", facts[..2].join("\n"));
    warn(&mut out, report);
    out
}

/// For docs/speed.md: everything.
pub(crate) fn long(report: &Report) -> String {
    let mut out = facts(report).join("\n") + "\n";
    warn(&mut out, report);
    out.push_str("\n### Budgets\n\n");
    head(&mut out, &["", "measured", "budget", ""]);
    for budget in &report.budgets {
        line(&mut out, [budget.what.as_str(), &measured(budget), &limit(budget), met(budget)]);
    }
    out.push_str("\n### `edge-native` against `python-1`\n\n");
    head(&mut out, &["", "edge", "Python", "times"]);
    for ratio in &report.ratios {
        line(&mut out, [ratio.what.as_str(), &figure(ratio.edge), &figure(ratio.python), &figure(ratio.times)]);
    }
    for (connections, rate) in loads(report) {
        let _ = write!(out, "\n### {}\n\n", load_name(connections, rate));
        head(&mut out, &["work", "gateway"].into_iter().chain(COLUMNS).chain(["requests"]).collect::<Vec<_>>());
        for row in report.rows.iter().filter(|row| (row.connections, row.rate) == (connections, rate)) {
            let figures = match &row.error {
                Some(_) => vec!["failed".to_owned()],
                None => cells(row).into_iter().chain([row.requests.to_string()]).collect(),
            };
            let behind = if row.fell_behind() { " (fell behind)" } else { "" };
            line(&mut out, [row.work.clone(), format!("`{}`{behind}", row.gateway)].into_iter().chain(figures));
        }
    }
    out
}

fn warn(out: &mut String, report: &Report) {
    for warning in &report.warnings {
        let _ = writeln!(out, "**Warning:** {warning}.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{budgets, report::tests::report};

    #[test]
    fn figures_have_three_digits_that_matter() {
        let shown = [0.0123, 1.234, 12.34, 123.4, 1234.5, 12_345.6, -0.05].map(figure);
        assert_eq!(shown, ["0.012", "1.23", "12.3", "123", "1234", "12,346", "-0.050"]);
    }

    #[test]
    fn every_row_and_every_doubt_is_printed() {
        let mut report = report();
        report.rows[0].error = Some("HTTP/1.1 502 oh\r\nx".into());
        report.find_warnings();
        (report.ratios, report.budgets) = (budgets::ratios(&report), budgets::budgets(&report));
        let text = terminal(&report);
        assert!(text.contains("FAILED: HTTP/1.1 502 oh\n") && text.contains("not met") && text.contains("fell behind"));
        for load in ["\n1 connection\n", "\n50 connections\n", "\n20 requests/s on 1 connection\n"] {
            assert!(text.contains(load), "{load}");
        }
        let markdown = long(&report);
        assert_eq!(markdown.matches("`edge-native`").count(), 25 + 1);
        assert!(markdown.contains("| failed |") && markdown.contains("**Warning:**"));
        let columns = |line: &str| line.matches('|').count();
        let short = short(&report);
        assert!(short.lines().take_while(|line| line.starts_with('|')).all(|line| columns(line) == 10), "{short}");
    }
}
