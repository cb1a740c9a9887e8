//! The plot: one self-contained SVG. Dots on logarithmic axes, since what is compared lies a thousand times apart; every
//! dot has its figure beside it.
use std::fmt::Write;

use crate::{plan::load_name, report::Report, rows::Row, table::figure};

struct Panel {
    title: &'static str,
    /// the load the rows are taken from
    connections: usize,
    rate: Option<f64>,
    of: fn(&Row) -> Option<f64>,
    better: &'static str,
}

const PANELS: &[Panel] = &[
    Panel {
        title: "CPU per request, us",
        connections: 50,
        rate: None,
        of: |row| Some(row.cpu_us_per_request),
        better: "less is better",
    },
    Panel {
        title: "Requests per second",
        connections: 50,
        rate: None,
        of: |row| Some(row.rps),
        better: "more is better",
    },
    Panel {
        title: "Added latency, p50, ms",
        connections: 1,
        rate: None,
        of: |row| row.added_p50_ms.filter(|_| row.gateway != "provider"),
        better: "less is better",
    },
    Panel {
        title: "Peak memory (RSS), MB",
        connections: 50,
        rate: None,
        of: |row| Some(row.peak_rss_mb),
        better: "less is better",
    },
];

const WORKS: &[&str] = &["chat-json", "messages-json", "chat-stream", "messages-stream", "chat-100k"];
/// By order of the gateways; told apart without red against green.
const COLOURS: &[&str] = &["#6b7280", "#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#b4570b", "#009e73", "#cc79a7"];

const WIDTH: f64 = 1120.0;
const PANEL_WIDTH: f64 = 540.0;
/// for the works' names
const LEFT: f64 = 118.0;
/// for the figure of the rightmost dot
const RIGHT: f64 = 62.0;
const LINE: f64 = 13.0;
const TOP: f64 = 92.0;
const PANEL_HEAD: f64 = 44.0;

pub(crate) fn svg(report: &Report) -> String {
    let gateways = report.gateways();
    let works: Vec<&str> =
        WORKS.iter().copied().filter(|work| report.rows.iter().any(|row| row.work == *work)).collect();
    let block = gateways.len() as f64 * LINE + 9.0;
    let panel_height = PANEL_HEAD + block * works.len() as f64 + 40.0;
    let height = TOP + panel_height * 2.0 + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#1f2937\">\n\
         <title>litellm-rust: the gateways side by side</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, (20.0, 26.0), "font-size=\"16\" font-weight=\"600\"", "The gateways side by side");
    let doubt = if report.warnings.is_empty() { "" } else { " (with warnings: see the table)" };
    let caption = format!("{}{doubt}", report.machine.caption());
    text(&mut out, (20.0, 44.0), "fill=\"#4b5563\"", &caption);
    for (at, gateway) in gateways.iter().enumerate() {
        let x = 26.0 + at as f64 * 130.0;
        dot(&mut out, (x, 66.0), colour(at));
        text(&mut out, (x + 9.0, 70.0), "", gateway);
    }
    for (at, panel) in PANELS.iter().enumerate() {
        let x = 10.0 + (at % 2) as f64 * (PANEL_WIDTH + 20.0);
        let y = TOP + (at / 2) as f64 * panel_height;
        draw(&mut out, report, (&gateways, &works), panel, (x, y), block);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(
    out: &mut String,
    report: &Report,
    (gateways, works): (&[&str], &[&str]),
    panel: &Panel,
    (x, y): (f64, f64),
    block: f64,
) {
    let load = load_name(panel.connections, panel.rate);
    text(out, (x + 10.0, y + 18.0), "font-size=\"13\" font-weight=\"600\"", panel.title);
    text(out, (x + 10.0, y + 33.0), "fill=\"#4b5563\"", &format!("{load}, logarithmic, {}", panel.better));
    let value = |gateway: &str, work: &str| {
        let row = report.row(gateway, work, panel.connections, panel.rate)?;
        (panel.of)(row)
    };
    let all: Vec<f64> =
        works.iter().flat_map(|work| gateways.iter().filter_map(|gateway| value(gateway, work))).collect();
    let Some((low, high)) = decades(&all) else {
        text(out, (x + LEFT, y + PANEL_HEAD + 20.0), "fill=\"#4b5563\"", "not measured in this run");
        return;
    };
    let width = PANEL_WIDTH - LEFT - RIGHT;
    let place = |value: f64| {
        let share = (value.max(10f64.powi(low)).log10() - f64::from(low)) / f64::from(high - low);
        x + LEFT + share.clamp(0.0, 1.0) * width
    };
    let (top, bottom) = (y + PANEL_HEAD, y + PANEL_HEAD + block * works.len() as f64);
    for decade in low..=high {
        let at = place(10f64.powi(decade));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"#e5e7eb\"/>"
        );
        let label = if decade < 0 {
            format!("{:.*}", decade.unsigned_abs() as usize, 10f64.powi(decade))
        } else {
            figure(10f64.powi(decade)).trim_end_matches(".00").trim_end_matches(".0").to_owned()
        };
        text(out, (at, bottom + 14.0), "text-anchor=\"middle\" fill=\"#4b5563\"", &label);
    }
    for (nth, work) in works.iter().enumerate() {
        let begin = top + nth as f64 * block;
        if nth > 0 {
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{begin:.1}\" y2=\"{begin:.1}\" stroke=\"#d1d5db\"/>",
                x + 10.0,
                x + PANEL_WIDTH
            );
        }
        text(out, (x + 10.0, begin + block / 2.0 + 4.0), "", work);
        for (at, gateway) in gateways.iter().enumerate() {
            let line = begin + 5.0 + (at as f64 + 0.5) * LINE;
            let Some(value) = value(gateway, work) else { continue };
            dot(out, (place(value), line), colour(at));
            text(out, (place(value) + 8.0, line + 3.5), "font-size=\"10\"", &figure(value));
        }
    }
}

/// Powers of ten around the values; what is not above zero has no place on such an axis and stands at its left end.
fn decades(values: &[f64]) -> Option<(i32, i32)> {
    let positive = values.iter().copied().filter(|value| *value > 0.0);
    let low = positive.clone().reduce(f64::min)?.max(0.01).log10().floor() as i32;
    let high = positive.reduce(f64::max)?.log10().ceil() as i32;
    Some((low, high.max(low + 1)))
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

fn dot(out: &mut String, (x, y): (f64, f64), colour: &str) {
    let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
}

fn text(out: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    /// Every element is closed, in order; nothing stands outside the root; nothing is fetched.
    fn well_formed(svg: &str) -> bool {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = svg;
        while let Some(at) = rest.find('<') {
            let Some(end) = rest[at..].find('>') else { return false };
            let tag = &rest[at + 1..at + end];
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
            if let Some(closing) = tag.strip_prefix('/') {
                if open.pop() != Some(closing) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            if tag.matches('"').count() % 2 == 1 {
                return false;
            }
            rest = &rest[at + end + 1..];
        }
        open.is_empty() && svg.trim_end().ends_with("</svg>") && !svg.contains("href") && !svg.contains('&')
    }

    #[test]
    fn the_plot_is_one_well_formed_file_with_every_figure() {
        let plot = svg(&report());
        assert!(well_formed(&plot), "{plot}");
        assert!(!plot.contains("NaN") && !plot.contains("inf"));
        // 4 in the legend; provider, python-1, edge-pass and edge-native in four panels, the provider adds nothing
        assert_eq!(plot.matches("<circle").count(), 4 + 5 * (4 * 4 - 1));
        assert!(!well_formed(&plot.replacen("</text>", "", 1)) && !well_formed(&plot.replace("</svg>", "")));
        assert!(well_formed(&svg(&Report::default())));
    }

    #[test]
    fn hostile_names_stay_text_and_odd_values_find_a_place() {
        let mut report = report();
        report.rows.iter_mut().for_each(|row| row.gateway = row.gateway.replace("edge-native", "<b> & \"c\""));
        assert!(well_formed(&svg(&report).replace("&lt;b&gt; &amp; \"c\"", "b")));
        assert_eq!(
            (decades(&[]), decades(&[-1.0]), decades(&[3.0]), decades(&[0.5, 2000.0])),
            (None, None, Some((0, 1)), Some((-1, 4)))
        );
    }
}
