//! How long the cases of a route took on one side: percentiles, and a strip of all of them as inline SVG. Pure.
//! Positions are percentages, so that the picture stretches and its text does not.
use std::fmt::Write;

/// Milliseconds of all cases of a route on one side.
pub(super) struct Side {
    sorted: Vec<f64>,
}

impl Side {
    pub(super) fn new(micros: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<f64> = micros.map(|micros| micros as f64 / 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// By nearest rank; 0 where nothing was measured.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1) - 1;
        self.sorted.get(rank).copied().unwrap_or_default()
    }

    pub(super) fn max(&self) -> f64 {
        self.sorted.last().copied().unwrap_or_default()
    }
}

/// A logarithmic scale shared by all strips of a page.
pub(super) struct Scale {
    decades: (i32, i32),
}

/// Faster than this is drawn as this: a tenth of a millisecond.
const LEAST: f64 = 0.1;

impl Scale {
    pub(super) fn new(most: f64) -> Self {
        let top = most.max(1.0).log10().ceil().min(9.0) as i32;
        Self { decades: (-1, top.max(1)) }
    }

    /// Percent from the left.
    fn at(&self, ms: f64) -> f64 {
        let (from, to) = (f64::from(self.decades.0), f64::from(self.decades.1));
        2.0 + 96.0 * ((ms.max(LEAST).log10() - from) / (to - from)).clamp(0.0, 1.0)
    }

    /// One line a case, a bar from p10 to p90, a mark at the median.
    pub(super) fn strip(&self, class: &str, label: &str, side: &Side) -> String {
        let mut out = format!("<svg class=\"strip {class}\" role=\"img\" aria-label=\"{label}\" height=\"26\">");
        self.grid(&mut out, 26);
        let (low, high) = (self.at(side.percentile(10)), self.at(side.percentile(90)));
        let _ = write!(
            out,
            "<rect class=\"range\" x=\"{low:.2}%\" y=\"7\" width=\"{:.2}%\" height=\"12\" rx=\"3\"/>",
            (high - low).max(0.4)
        );
        for ms in &side.sorted {
            let x = self.at(*ms);
            let _ = write!(out, "<line class=\"case\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"8\" y2=\"18\"/>");
        }
        let median = self.at(side.percentile(50));
        let _ =
            write!(out, "<line class=\"median\" x1=\"{median:.2}%\" x2=\"{median:.2}%\" y1=\"2\" y2=\"24\"/></svg>");
        out
    }

    /// The axis' words.
    pub(super) fn axis(&self) -> String {
        let mut out = String::from("<svg class=\"axis\" aria-hidden=\"true\" height=\"18\">");
        for decade in self.decades.0..=self.decades.1 {
            let anchor = match decade {
                d if d == self.decades.0 => "start",
                d if d == self.decades.1 => "end",
                _ => "middle",
            };
            let ms = 10f64.powi(decade);
            let _ =
                write!(out, "<text x=\"{:.2}%\" y=\"13\" text-anchor=\"{anchor}\">{}</text>", self.at(ms), shown(ms));
        }
        out.push_str("</svg>");
        out
    }

    fn grid(&self, out: &mut String, height: u32) {
        for decade in self.decades.0..=self.decades.1 {
            let x = self.at(10f64.powi(decade));
            let _ = write!(out, "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{height}\"/>");
        }
    }
}

/// `0.42 ms`, `12 ms`, `1.5 s`
pub(super) fn shown(ms: f64) -> String {
    match ms {
        ms if ms >= 1000.0 => format!("{} s", trimmed(ms / 1000.0)),
        ms => format!("{} ms", trimmed(ms)),
    }
}

fn trimmed(number: f64) -> String {
    let digits = if number >= 100.0 { 0 } else { usize::from(number < 10.0) + 1 };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let side = Side::new((1..=100).rev().map(|ms| ms * 1000));
        assert_eq!((side.percentile(50), side.percentile(90), side.percentile(99)), (50.0, 90.0, 99.0));
        assert_eq!(Side::new([7000].into_iter()).percentile(99), 7.0);
        assert_eq!(Side::new(std::iter::empty()).percentile(50), 0.0);
    }

    #[test]
    fn the_scale_keeps_order_and_bounds() {
        let scale = Scale::new(25_000.0);
        let at: Vec<f64> = [0.0, 0.05, 0.1, 1.0, 30.0, 25_000.0, 1e12].map(|ms| scale.at(ms)).into();
        assert!(at.is_sorted() && at[0] >= 0.0 && at[6] <= 100.0, "{at:?}");
        assert_eq!(
            [0.1, 0.42, 12.34, 1000.0, 10_000.0, 1540.0, 100.0].map(shown).join(","),
            "0.1 ms,0.42 ms,12.3 ms,1 s,10 s,1.54 s,100 ms"
        );
    }
}
