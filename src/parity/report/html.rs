//! The report as one HTML page that stands alone: no script, no address asked for, one style sheet which the page's
//! own policy names by digest. Pure. Every text goes through [`text`]; a case may be hostile.
use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Report, Standing, Verdict,
    group::{Group, group},
    plot::{Scale, Side, shown},
};
use crate::{
    base64::encode,
    parity::{
        diff::{Difference, Kind},
        verdict::{CaseResult, Judged, Outcome},
    },
};

const STYLE: &str = include_str!("page.css");
/// How much of a value is shown, in characters.
const MOST: usize = 4000;
/// How many failing cases, and differences of each, are shown in full: a page must stay readable.
const CASES: usize = 200;
const DIFFERENCES: usize = 20;

/// For text and quoted attributes.
pub(super) fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // bidirectional controls could make a value look like another
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The page. `report` must have been [`Report::redacted`].
pub fn html(report: &Report) -> String {
    let digest = encode(&Sha256::digest(STYLE));
    let word = report.result.as_str();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"referrer\" content=\"no-referrer\">\
         <title>Parity: {word}</title><style>{STYLE}</style></head><body>\n\
         <a class=\"skip\" href=\"#routes\">to the routes</a>\n<header>"
    );
    head(&mut out, report);
    out.push_str("</header>\n<main>\n");
    routes(&mut out, report);
    if !report.complaints.is_empty() {
        out.push_str("<section id=\"run\"><h2>What fails the run as a whole</h2><ul>");
        for complaint in &report.complaints {
            let _ = write!(out, "<li>{}</li>", text(complaint));
        }
        out.push_str("</ul></section>\n");
    }
    cases(&mut out, report);
    let judged = |wanted: fn(&Judged) -> bool| group(&report.cases, wanted);
    groups(
        &mut out,
        "differences",
        "Differences",
        "Python against the edge, by place; positions in lists are written <code>*</code>. Nothing excuses these.",
        &judged(|judged| !judged.tolerated && !judged.noise),
    );
    groups(
        &mut out,
        "noise",
        "Noise",
        "Places where Python differs from itself, asked twice. Without an entry in tolerated.toml a case with noise decides nothing.",
        &judged(|judged| judged.noise),
    );
    tolerated(&mut out, report);
    declines(&mut out, report);
    latency(&mut out, report);
    out.push_str("</main>\n</body></html>\n");
    out
}

fn head(out: &mut String, report: &Report) {
    let word = report.result.as_str();
    let _ = write!(out, "<h1>Parity <span class=\"word {word}\">{word}</span></h1>");
    let failed = report.cases.iter().filter(|case| case.outcome == Outcome::Failed).count();
    let says = match report.result {
        Verdict::Green => "The edge answered every case as the Python gateway does.",
        Verdict::Red if failed == 0 => "No case failed, but the run as a whole did.",
        Verdict::Red => "The edge answered differently from the Python gateway.",
        Verdict::Inconclusive => "The run decides nothing: Python differs from itself, or nothing was run.",
    };
    let _ = write!(out, "<p>{says} {} cases, {failed} failed.</p><dl>", report.cases.len());
    let build = report.source_digest.as_deref().unwrap_or("another gateway: it does not say which build it is");
    for (name, value) in [
        ("Python side", format!("LiteLLM {}", report.litellm_version)),
        (
            "Edge side",
            report.source_digest.as_ref().map_or(build.to_owned(), |digest| format!("litellm-rust, sources {digest}")),
        ),
        ("Started", short_time(&report.started)),
        ("Finished", short_time(&report.finished)),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", text(&value));
    }
    out.push_str("</dl><nav aria-label=\"Sections\"><ul>");
    for (id, name) in [
        ("routes", "Routes"),
        ("cases", "Cases that did not pass"),
        ("differences", "Differences"),
        ("noise", "Noise"),
        ("tolerated", "Tolerated"),
        ("declines", "Declines"),
        ("latency", "Latency"),
    ] {
        let _ = write!(out, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    out.push_str("</ul></nav>");
}

/// `2026-11-22T03:50:33.531480008Z` without the fraction.
fn short_time(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// `3 days` before the end of the run; `now` for the run itself.
fn age(evidence: &str, finished: &str) -> String {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let (Some(then), Some(now)) = (read(evidence), read(finished)) else { return evidence.to_owned() };
    match (now - then).whole_minutes() {
        i64::MIN..1 => "of this run".into(),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

fn open_table(out: &mut String, label: &str, columns: &[(&str, bool)]) {
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table class=\"stack\"><thead><tr>"
    );
    for (name, number) in columns {
        let _ = write!(out, "<th scope=\"col\"{}>{name}</th>", if *number { " class=\"n\"" } else { "" });
    }
    out.push_str("</tr></thead><tbody>\n");
}

fn number(out: &mut String, name: &str, count: u64) {
    let zero = if count == 0 { " zero" } else { "" };
    let _ = write!(out, "<td class=\"n{zero}\" data-h=\"{name}\">{count}</td>");
}

fn routes(out: &mut String, report: &Report) {
    out.push_str("<section id=\"routes\"><h2>Routes</h2>");
    open_table(
        out,
        "Routes",
        &[
            ("Route", false),
            ("Verdict", false),
            ("Mode", false),
            ("May be native", false),
            ("Evidence", false),
            ("Cases", true),
            ("Passed", true),
            ("Failed", true),
            ("Noisy", true),
            ("Tolerated", true),
        ],
    );
    let unknown = Standing::default();
    for (route, counts) in &report.routes {
        let known = report.standing.get(route);
        let standing = known.unwrap_or(&unknown);
        let verdict = counts.verdict().as_str();
        let (flip, class) = match (known, standing.can_flip) {
            (None, _) => ("not asked", "soft"),
            (_, 0) => ("yes", "word green"),
            (_, 1) => ("no", "word red"),
            _ => ("unknown", "word inconclusive"),
        };
        let evidence = standing.evidence.as_deref().map_or("none".into(), |at| age(at, &report.finished));
        let _ = write!(
            out,
            "<tr><th scope=\"row\"><code>{}</code></th><td data-h=\"Verdict\"><span class=\"word {verdict}\">{verdict}</span></td>\
             <td data-h=\"Mode\">{}</td><td data-h=\"May be native\"><span class=\"{class}\" title=\"{}\">{flip}</span></td>\
             <td data-h=\"Evidence\">{}</td>",
            text(route),
            text(standing.mode.as_deref().unwrap_or("python")),
            text(&standing.why),
            text(&evidence),
        );
        number(out, "Cases", counts.total);
        number(out, "Passed", counts.passed);
        number(out, "Failed", counts.failed);
        number(out, "Noisy", counts.inconclusive);
        number(out, "Tolerated", counts.tolerated);
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
    let why: Vec<(&String, &Standing)> = report.standing.iter().filter(|(_, s)| s.can_flip != 0).collect();
    if !why.is_empty() {
        out.push_str("<ul class=\"soft\">");
        for (_, standing) in why {
            let _ = write!(out, "<li>{}</li>", text(&standing.why));
        }
        out.push_str("</ul>");
    }
    out.push_str("</section>\n");
}

fn none(out: &mut String, what: &str) {
    let _ = write!(out, "<p class=\"none\">{what}</p>");
}

fn cases(out: &mut String, report: &Report) {
    out.push_str("<section id=\"cases\"><h2>Cases that did not pass</h2>");
    let failing: Vec<&CaseResult> = report.cases.iter().filter(|case| case.outcome != Outcome::Passed).collect();
    if failing.is_empty() {
        none(out, "None.");
    }
    for case in failing.iter().take(CASES) {
        let (word, class) = match case.outcome {
            Outcome::Failed => ("failed", "red"),
            _ => ("noisy", "inconclusive"),
        };
        let _ = write!(
            out,
            "<details><summary><span class=\"word {class}\">{word}</span> <code>{}</code> <span class=\"soft\">{}</span></summary>",
            text(&case.name),
            text(&case.why)
        );
        let file = case.name.rsplit('/').next().unwrap_or_default();
        let base = if report.command.is_empty() { "litellm-rust parity run" } else { &report.command };
        let command = format!("{base} --route {} --case {} --verbose", quoted(&case.route), quoted(file));
        let _ =
            write!(out, "<div class=\"cmd\"><h4>Run it alone</h4><pre tabindex=\"0\">{}</pre></div>", text(&command));
        let blamed: Vec<&Judged> = case.blamed().collect();
        for judged in blamed.iter().take(DIFFERENCES) {
            let noise = if judged.noise { ", Python differs from itself" } else { "" };
            let difference = &judged.difference;
            let _ = write!(
                out,
                "<div class=\"diff\"><h3><code>{}</code> <span class=\"soft\">{}{noise}</span></h3>",
                text(&difference.path),
                kind(difference.kind)
            );
            pair(out, difference);
            out.push_str("</div>");
        }
        if blamed.len() > DIFFERENCES {
            let _ = write!(out, "<p class=\"soft\">and {} more, all in report.json</p>", blamed.len() - DIFFERENCES);
        }
        out.push_str("</details>\n");
    }
    if failing.len() > CASES {
        let _ = write!(out, "<p class=\"soft\">and {} more cases, all in report.json</p>", failing.len() - CASES);
    }
    out.push_str("</section>\n");
}

/// For a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn pair(out: &mut String, difference: &Difference) {
    // a recorded answer is compared with Python's own
    let other = if difference.path.starts_with("recorded") { "recorded" } else { "edge" };
    let _ = write!(
        out,
        "<div class=\"pair\"><div><h4>python</h4><pre tabindex=\"0\">{}</pre></div><div><h4>{other}</h4><pre tabindex=\"0\">{}</pre></div></div>",
        value(difference.python.as_ref()),
        value(difference.other.as_ref())
    );
}

fn value(value: Option<&Value>) -> String {
    let Some(value) = value else { return "<span class=\"soft\">nothing</span>".into() };
    let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
    match pretty.char_indices().nth(MOST) {
        Some((at, _)) => format!(
            "{}\n<span class=\"soft\">… {} bytes in all</span>",
            text(pretty.get(..at).unwrap_or_default()),
            pretty.len()
        ),
        None => text(&pretty),
    }
}

/// The kind in words.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Missing => "missing on the edge",
        Kind::Extra => "only on the edge",
        Kind::Type => "another type",
        Kind::Value => "another value",
        Kind::HeaderMissing => "header missing on the edge",
        Kind::HeaderExtra => "header only on the edge",
        Kind::HeaderValue => "another header value",
        Kind::EventCount => "more or fewer events",
        Kind::AttemptCount => "provider called more or less often",
        Kind::RowCount => "more or fewer rows",
        Kind::Length => "another length",
        Kind::Order => "another order",
        Kind::NumberForm => "another form of the number",
    }
}

fn groups(out: &mut String, id: &str, title: &str, about: &str, groups: &[Group<'_>]) {
    let _ = write!(out, "<section id=\"{id}\"><h2>{title}</h2><p class=\"soft\">{about}</p>");
    if groups.is_empty() {
        none(out, "None.");
    }
    for group in groups {
        let named = group.cases.iter().take(8).map(|name| text(name)).collect::<Vec<_>>().join("</code>, <code>");
        let more = group.cases.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(
            out,
            "<details><summary><b>{}×</b> <code>{}</code> <span class=\"soft\">{}, {} {}</span></summary>\
             <p>In <code>{named}</code>{more}. The first, at <code>{}</code>:</p>",
            group.count,
            text(&group.place),
            kind(group.kind),
            group.cases.len(),
            if group.cases.len() == 1 { "case" } else { "cases" },
            text(&group.first.path),
        );
        pair(out, group.first);
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

fn tolerated(out: &mut String, report: &Report) {
    out.push_str(
        "<section id=\"tolerated\"><h2>Tolerated</h2><p class=\"soft\">Entries of tolerated.toml that this run needed. \
         An entry that is past its date, or no longer needed, fails the run.</p>",
    );
    if report.tolerated.is_empty() {
        none(out, "None was needed.");
    } else {
        let columns =
            [("Where", false), ("Route", false), ("Cases", false), ("Reason", false), ("Until", false), ("Used", true)];
        open_table(out, "Tolerated", &columns);
        for entry in &report.tolerated {
            let _ = write!(
                out,
                "<tr><th scope=\"row\"><code>{}</code></th><td data-h=\"Route\"><code>{}</code></td><td data-h=\"Cases\"><code>{}</code></td>\
                 <td data-h=\"Reason\">{}</td><td data-h=\"Until\">{}</td>",
                text(&entry.location),
                text(&entry.route),
                text(&entry.case),
                text(&entry.why),
                text(&entry.until).replace('-', "\u{2011}")
            );
            number(out, "Used", entry.used);
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>");
    }
    out.push_str("</section>\n");
}

fn declines(out: &mut String, report: &Report) {
    let mut counts: std::collections::BTreeMap<(&str, &str), u64> = Default::default();
    for case in &report.cases {
        for (reason, count) in &case.declines {
            *counts.entry((&case.route, reason)).or_default() += count;
        }
    }
    out.push_str(
        "<section id=\"declines\"><h2>Declines</h2><p class=\"soft\">Requests of native routes that the edge passed to \
         Python, by reason; the README says what each means.</p>",
    );
    if counts.is_empty() {
        none(out, "None.");
    } else {
        open_table(out, "Declines", &[("Route", false), ("Reason", false), ("Requests", true)]);
        for ((route, reason), count) in counts {
            let _ = write!(
                out,
                "<tr><th scope=\"row\"><code>{}</code></th><td data-h=\"Reason\"><code>{}</code></td>",
                text(route),
                text(reason)
            );
            number(out, "Requests", count);
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>");
    }
    out.push_str("</section>\n");
}

fn latency(out: &mut String, report: &Report) {
    out.push_str(
        "<section id=\"latency\"><h2>Latency</h2><p class=\"soft\">From the first byte sent to the last one received, one \
         request at a time, scripted delays and timeouts of the cases included: a look at the shape, no benchmark. Each \
         thin line is a case, the bar spans the 10th to the 90th percentile, the thick line is the median. The scale is \
         logarithmic and the same for all routes.</p>",
    );
    let side = |route: &str, phase: usize| {
        let cases = report.cases.iter().filter(move |case| case.route == route);
        Side::new(cases.filter_map(move |case| case.micros.get(phase).copied()))
    };
    let sides: Vec<(&String, Side, Side)> =
        report.routes.keys().map(|route| (route, side(route, 0), side(route, 2))).collect();
    let scale = Scale::new(sides.iter().map(|(_, python, edge)| python.max().max(edge.max())).fold(0.0, f64::max));
    for (route, python, edge) in &sides {
        let _ = write!(out, "<div class=\"lat\"><h3><code>{}</code></h3>", text(route));
        for (class, name, side) in [("p", "python", python), ("e", "edge", edge)] {
            let numbers: Vec<String> =
                [50, 90, 99].iter().map(|p| format!("p{p} {}", shown(side.percentile(*p)))).collect();
            let numbers = numbers.join(" · ");
            let strip = scale.strip(name, &format!("{name}: {numbers}"), side);
            let _ = write!(
                out,
                "<div class=\"row {class}\"><b>{name}</b><span class=\"num\">{numbers}</span>{strip}</div>"
            );
        }
        let _ = writeln!(out, "<div class=\"row ax\"><span></span><span></span>{}</div></div>", scale.axis());
    }
    out.push_str("</section>\n");
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
