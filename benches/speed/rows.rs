//! From single measurements to the rows of result.json: quantiles, differences within a round, medians of the rounds.
use serde::{Deserialize, Serialize};

use crate::load::Timing;

/// What one gateway did at one cell in one round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) gateway: String,
    pub(crate) work: &'static str,
    pub(crate) connections: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) round: u32,
    /// the error of the first request that failed, which fails all of it
    pub(crate) measured: Result<Measured, String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) requests: usize,
    pub(crate) rps: f64,
    /// of the whole answer, in ms
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    /// streams only
    pub(crate) first_event: Option<f64>,
    pub(crate) longest_gap: Option<f64>,
    pub(crate) cpu_us: f64,
    pub(crate) provider_cpu_us: f64,
    pub(crate) peak_rss: f64,
    /// cores that other programs used meanwhile
    pub(crate) other_cores: f64,
}

/// One row of result.json: medians of the rounds. Latencies in milliseconds, from before the write to the last byte.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) gateway: String,
    pub(crate) work: String,
    pub(crate) connections: usize,
    /// requests a second that were asked for; null: as fast as they were answered
    pub(crate) rate: Option<f64>,
    pub(crate) rounds: usize,
    /// of all rounds
    pub(crate) requests: usize,
    pub(crate) rps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    /// less the bare provider's of the same round; null where that was not measured
    pub(crate) added_p50_ms: Option<f64>,
    pub(crate) added_p99_ms: Option<f64>,
    /// streams only: median time to the first event, median of the longest silence after it
    pub(crate) first_event_p50_ms: Option<f64>,
    pub(crate) longest_gap_p50_ms: Option<f64>,
    /// user and system time of the gateway's whole process tree
    pub(crate) cpu_us_per_request: f64,
    /// the scripted provider's own, for the same requests
    pub(crate) provider_cpu_us_per_request: f64,
    /// sum over the process tree, highest during the row
    pub(crate) peak_rss_mb: f64,
    /// cores that other programs used meanwhile
    pub(crate) other_cores: f64,
    /// why there are no figures
    pub(crate) error: Option<String>,
}

impl Row {
    pub(crate) fn is(&self, gateway: &str, work: &str, connections: usize, rate: Option<f64>) -> bool {
        self.gateway == gateway && self.at(work, connections, rate)
    }

    pub(crate) fn at(&self, work: &str, connections: usize, rate: Option<f64>) -> bool {
        self.work == work && self.connections == connections && self.rate == rate
    }

    /// Linux counts hundredths of a second of CPU: less than ten of them in a round are no measurement.
    pub(crate) fn cpu_is_coarse(&self) -> bool {
        self.cpu_us_per_request * (self.requests as f64) < 1e5 * self.rounds as f64
    }

    /// A fixed rate that was not held: its latencies are those of a smaller one.
    pub(crate) fn fell_behind(&self) -> bool {
        self.rate.is_some_and(|rate| self.error.is_none() && self.rps < rate * 0.95)
    }
}

/// Quantiles of one run's answers.
pub(crate) fn latencies(timings: &[Timing], stream: bool) -> (f64, f64, f64, Option<f64>, Option<f64>) {
    let sorted = |of: fn(&Timing) -> f64| {
        let mut values: Vec<f64> = timings.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let whole = sorted(|timing| timing.whole);
    let first = stream.then(|| quantile(&sorted(|timing| timing.first_event), 0.5));
    let gap = stream.then(|| quantile(&sorted(|timing| timing.longest_gap), 0.5));
    (quantile(&whole, 0.5), quantile(&whole, 0.9), quantile(&whole, 0.99), first, gap)
}

/// The smallest of the sorted values that at least this share of them does not exceed; 0 of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).copied().unwrap_or(0.0)
}

/// 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(half), values.len() % 2) {
        (None, _) => 0.0,
        (Some(middle), 1) => *middle,
        (Some(middle), _) => (values[half - 1] + middle) / 2.0,
    }
}

/// One row for each gateway and cell, in the order of the samples.
pub(crate) fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        if !rows.iter().any(|row| row.is(&sample.gateway, sample.work, sample.connections, sample.rate)) {
            rows.push(row(sample, samples));
        }
    }
    rows
}

fn row(like: &Sample, samples: &[Sample]) -> Row {
    let here =
        |sample: &&Sample| (sample.work, sample.connections, sample.rate) == (like.work, like.connections, like.rate);
    let mine: Vec<&Sample> = samples.iter().filter(here).filter(|sample| sample.gateway == like.gateway).collect();
    let error = mine.iter().find_map(|sample| sample.measured.as_ref().err().cloned());
    let mut row = Row {
        gateway: like.gateway.clone(),
        work: like.work.into(),
        connections: like.connections,
        rate: like.rate,
        rounds: mine.len(),
        ..Row::default()
    };
    if error.is_some() {
        return Row { error, ..row }; // one failed request: no figures at all
    }
    let rounds: Vec<(u32, Measured)> =
        mine.iter().filter_map(|sample| Some((sample.round, *sample.measured.as_ref().ok()?))).collect();
    let middle = |of: fn(&Measured) -> f64| median(rounds.iter().map(|(_, measured)| of(measured)).collect());
    let optional = |of: fn(&Measured) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(|(_, measured)| of(measured)).collect();
        (!values.is_empty()).then(|| median(values))
    };
    let added = |of: fn(&Measured) -> f64| {
        let differences: Vec<f64> = rounds
            .iter()
            .filter_map(|(round, measured)| {
                let bare = samples.iter().filter(here).find(|s| s.gateway == "provider" && s.round == *round)?;
                Some(of(measured) - of(bare.measured.as_ref().ok()?))
            })
            .collect();
        (!differences.is_empty()).then(|| median(differences))
    };
    row.requests = rounds.iter().map(|(_, measured)| measured.requests).sum();
    (row.rps, row.p50_ms, row.p90_ms, row.p99_ms) =
        (middle(|m| m.rps), middle(|m| m.p50), middle(|m| m.p90), middle(|m| m.p99));
    (row.added_p50_ms, row.added_p99_ms) = (added(|m| m.p50), added(|m| m.p99));
    (row.first_event_p50_ms, row.longest_gap_p50_ms) = (optional(|m| m.first_event), optional(|m| m.longest_gap));
    (row.cpu_us_per_request, row.provider_cpu_us_per_request) = (middle(|m| m.cpu_us), middle(|m| m.provider_cpu_us));
    (row.peak_rss_mb, row.other_cores) = (middle(|m| m.peak_rss), middle(|m| m.other_cores));
    row
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(gateway: &str, work: &'static str, round: u32, p50: f64, cpu_us: f64) -> Sample {
        let measured = Measured {
            requests: 10,
            rps: 1e3 / p50,
            p50,
            p90: p50 * 2.0,
            p99: p50 * 3.0,
            first_event: None,
            longest_gap: None,
            cpu_us,
            provider_cpu_us: 20.0,
            peak_rss: 30.0,
            other_cores: 0.0,
        };
        Sample { gateway: gateway.into(), work, connections: 50, rate: None, round, measured: Ok(measured) }
    }

    #[test]
    fn quantiles_and_medians() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |share| quantile(&hundred, share);
        assert_eq!((at(0.5), at(0.9), at(0.99), at(1.0), at(0.0)), (50.0, 90.0, 99.0, 100.0, 1.0));
        assert_eq!((quantile(&[], 0.5), quantile(&[7.0], 0.99)), (0.0, 7.0));
        assert_eq!((median(vec![]), median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])), (0.0, 2.0, 2.5));
    }

    #[test]
    fn what_is_added_is_taken_within_the_round() {
        // the machine is twice as slow in round 1; the gateway adds 1 ms in rounds 0 and 2, and 2 ms in round 1
        let mut samples = Vec::new();
        for (round, bare, through) in [(0, 1.0, 2.0), (1, 2.0, 4.0), (2, 1.0, 2.0)] {
            samples.push(sample("provider", "chat-json", round, bare, 20.0));
            samples.push(sample("edge-native", "chat-json", round, through, 100.0));
        }
        let rows = rows(&samples);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].added_p50_ms, rows[1].added_p50_ms, rows[1].added_p99_ms),
            (Some(0.0), Some(1.0), Some(3.0))
        );
        assert_eq!((rows[1].p50_ms, rows[1].rounds, rows[1].requests), (2.0, 3, 30));
        assert!(rows[1].cpu_is_coarse() && !Row { requests: 3_000, ..rows[1].clone() }.cpu_is_coarse());
    }

    #[test]
    fn one_failed_request_fails_the_row() {
        let mut samples = vec![sample("a", "chat-json", 0, 1.0, 1.0), sample("a", "chat-json", 1, 1.0, 1.0)];
        samples[1].measured = Err("HTTP/1.1 500".into());
        let rows = rows(&samples);
        assert_eq!((rows[0].error.as_deref(), rows[0].rps, rows[0].added_p50_ms), (Some("HTTP/1.1 500"), 0.0, None));
    }
}
