//! The evidence gate: what a record of the parity suite is worth. Pure: bytes and expectations in, a verdict out.
//! It must never call evidence fresh that was made with another binary, LiteLLM or suite.
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    digest::SuiteDigests,
    version::{Version, VersionRange},
};

/// How far a record's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What a parity run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Green,
    Red,
    Inconclusive,
}

/// How many cases came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseCounts {
    pub total: u64,
    pub passed: u64,
    pub failed: u64,
    /// passed, but for differences on the tolerated list
    pub tolerated: u64,
}

/// `<evidence>/<route>.json`, written by `parity run`. Holds no request and no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRecord {
    pub schema: u32,
    /// route id
    pub route: String,
    pub result: RunResult,
    /// [`super::digest::SOURCE_DIGEST`] of the binary under test
    pub source_digest: String,
    /// of the Python gateway it was compared with
    pub litellm_version: String,
    /// [`super::digest::cases`]
    pub cases_digest: String,
    /// [`super::digest::tolerated`]
    pub tolerated_digest: String,
    /// [`super::digest::reference_config`]
    pub reference_config_digest: String,
    pub cases: CaseCounts,
    /// RFC 3339
    pub started: String,
    /// RFC 3339; the age of the evidence counts from here
    pub finished: String,
}

macro_rules! verdicts {
    ($($variant:ident = $name:literal, $why:literal;)*) => {
        /// What the evidence of a route is worth.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Verdict { $(#[doc = $why] $variant,)* }

        impl Verdict {
            pub const ALL: &'static [Verdict] = &[$(Verdict::$variant,)*];

            /// The name in metrics, logs and reports.
            pub fn as_str(self) -> &'static str {
                match self { $(Verdict::$variant => $name,)* }
            }

            /// One line for people.
            pub fn why(self) -> &'static str {
                match self { $(Verdict::$variant => $why,)* }
            }
        }
    };
}

verdicts! {
    Fresh = "fresh", "green, of this binary, this LiteLLM and this suite";
    Missing = "missing", "there is no evidence for this route: run the parity suite";
    Unreadable = "unreadable", "the evidence file cannot be read or is no evidence record";
    OtherRoute = "other_route", "the record is another route's";
    Red = "red", "the parity suite found differences";
    Inconclusive = "inconclusive", "the parity run could not decide, or it ran no case";
    OtherBinary = "other_binary", "the evidence was made with another build of the edge";
    OtherLiteLlm = "other_litellm", "the evidence was made with a LiteLLM outside of [python] versions";
    CasesChanged = "cases_changed", "the route's cases, or the programs of their clients, have changed since the run";
    ToleratedChanged = "tolerated_changed", "the list of tolerated differences has changed since the run";
    ReferenceChanged = "reference_changed", "the reference configuration has changed since the run";
    FromTheFuture = "from_the_future", "the record is dated in the future";
    TooOld = "too_old", "the evidence is older than [gate] max_age";
}

/// What evidence is measured against.
#[derive(Debug, Clone)]
pub struct Expectations<'a> {
    pub route: &'a str,
    pub source_digest: &'a str,
    pub versions: &'a VersionRange,
    pub max_age: Duration,
    /// `None` where the suite does not stand beside the evidence
    pub suite: Option<&'a SuiteDigests>,
}

/// The judged evidence of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub record: Option<EvidenceRecord>,
    finished: Option<SystemTime>,
    max_age: Duration,
    /// everything but the age
    standing: Verdict,
}

impl Evidence {
    /// Judges the bytes of an evidence file; `Ok(None)`: there is none.
    pub fn judge(file: Result<Option<&[u8]>, ()>, wanted: &Expectations<'_>) -> Self {
        let none = |standing| Self { record: None, finished: None, max_age: wanted.max_age, standing };
        let bytes = match file {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return none(Verdict::Missing),
            Err(()) => return none(Verdict::Unreadable),
        };
        let Ok(record) = serde_json::from_slice::<EvidenceRecord>(bytes) else { return none(Verdict::Unreadable) };
        let finished = OffsetDateTime::parse(&record.finished, &Rfc3339).ok().map(SystemTime::from);
        let standing = standing(&record, finished.is_some(), wanted);
        Self { record: Some(record), finished, max_age: wanted.max_age, standing }
    }

    /// The verdict at a point in time.
    pub fn verdict(&self, now: SystemTime) -> Verdict {
        match (self.standing, self.finished) {
            (Verdict::Fresh, Some(finished)) => match now.duration_since(finished) {
                Ok(age) if age > self.max_age => Verdict::TooOld,
                Ok(_) => Verdict::Fresh,
                Err(ahead) if ahead.duration() > CLOCK_SKEW => Verdict::FromTheFuture,
                Err(_) => Verdict::Fresh,
            },
            (Verdict::Fresh, None) => Verdict::Unreadable,
            (standing, _) => standing,
        }
    }

    /// Time since the run finished; `None` without a record.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        self.finished.map(|finished| now.duration_since(finished).unwrap_or_default())
    }
}

fn standing(record: &EvidenceRecord, dated: bool, wanted: &Expectations<'_>) -> Verdict {
    let counts = record.cases;
    let version = Version::parse(&record.litellm_version);
    let suite = |of: fn(&SuiteDigests) -> &String, found: &String| wanted.suite.is_some_and(|suite| of(suite) != found);
    let checks = [
        (record.schema != 1 || !dated, Verdict::Unreadable),
        (record.route != wanted.route, Verdict::OtherRoute),
        (record.result == RunResult::Red || counts.failed > 0, Verdict::Red),
        (
            record.result != RunResult::Green
                || counts.total == 0
                || counts.passed.checked_add(counts.tolerated).is_none_or(|sum| sum < counts.total),
            Verdict::Inconclusive,
        ),
        (record.source_digest != wanted.source_digest, Verdict::OtherBinary),
        (!version.is_some_and(|version| wanted.versions.contains(version)), Verdict::OtherLiteLlm),
        (suite(|suite| &suite.cases, &record.cases_digest), Verdict::CasesChanged),
        (suite(|suite| &suite.tolerated, &record.tolerated_digest), Verdict::ToleratedChanged),
        (suite(|suite| &suite.reference_config, &record.reference_config_digest), Verdict::ReferenceChanged),
    ];
    checks.into_iter().find(|(failed, _)| *failed).map_or(Verdict::Fresh, |(_, verdict)| verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing::{self, NOW};

    fn suite() -> SuiteDigests {
        SuiteDigests { cases: "c".into(), tolerated: "t".into(), reference_config: "r".into() }
    }

    fn verdict_of(record: &EvidenceRecord, now: SystemTime) -> Verdict {
        let versions = VersionRange::parse("=1.106.2").unwrap();
        let suite = suite();
        let wanted = Expectations {
            route: "messages",
            source_digest: "src",
            versions: &versions,
            max_age: Duration::from_secs(30 * 86_400),
            suite: Some(&suite),
        };
        let bytes = serde_json::to_vec(record).unwrap();
        Evidence::judge(Ok(Some(&bytes)), &wanted).verdict(now)
    }

    /// Every field that ties evidence to its origin makes it stale when it alone changes.
    #[test]
    fn every_changed_field_makes_it_stale() {
        let good = testing::record("messages", "src");
        assert_eq!(verdict_of(&good, NOW()), Verdict::Fresh);
        type Change = fn(&mut EvidenceRecord);
        let changes: &[(Change, Verdict)] = &[
            (|r| r.schema = 2, Verdict::Unreadable),
            (|r| r.finished = "yesterday".into(), Verdict::Unreadable),
            (|r| r.route = "chat_completions".into(), Verdict::OtherRoute),
            (|r| r.result = RunResult::Red, Verdict::Red),
            (|r| r.cases.failed = 1, Verdict::Red),
            (|r| r.result = RunResult::Inconclusive, Verdict::Inconclusive),
            (|r| r.cases.total = 0, Verdict::Inconclusive),
            (|r| r.cases.total = 99, Verdict::Inconclusive),
            (|r| r.source_digest = "other".into(), Verdict::OtherBinary),
            (|r| r.litellm_version = "1.106.3".into(), Verdict::OtherLiteLlm),
            (|r| r.litellm_version = "1.106.2.dev1".into(), Verdict::OtherLiteLlm),
            (|r| r.cases_digest = "x".into(), Verdict::CasesChanged),
            (|r| r.tolerated_digest = "x".into(), Verdict::ToleratedChanged),
            (|r| r.reference_config_digest = "x".into(), Verdict::ReferenceChanged),
        ];
        for (change, verdict) in changes {
            let mut record = good.clone();
            change(&mut record);
            assert_eq!(verdict_of(&record, NOW()), *verdict, "{record:?}");
        }
    }

    #[test]
    fn age_counts_from_the_end_of_the_run() {
        let record = testing::record("messages", "src"); // finished an hour before NOW
        let day = Duration::from_secs(86_400);
        assert_eq!(verdict_of(&record, NOW() + day * 29), Verdict::Fresh);
        assert_eq!(verdict_of(&record, NOW() + day * 30), Verdict::TooOld);
        assert_eq!(verdict_of(&record, NOW() - Duration::from_secs(3700)), Verdict::Fresh, "within the clocks' skew");
        assert_eq!(verdict_of(&record, NOW() - day), Verdict::FromTheFuture);
    }

    #[test]
    fn without_the_suite_only_the_record_counts() {
        let versions = VersionRange::parse(">=1.106").unwrap();
        let wanted = Expectations {
            route: "messages",
            source_digest: "src",
            versions: &versions,
            max_age: Duration::from_secs(86_400),
            suite: None,
        };
        let mut record = testing::record("messages", "src");
        record.cases_digest = "anything".into();
        let bytes = serde_json::to_vec(&record).unwrap();
        assert_eq!(Evidence::judge(Ok(Some(&bytes)), &wanted).verdict(NOW()), Verdict::Fresh);
        assert_eq!(Evidence::judge(Ok(None), &wanted).verdict(NOW()), Verdict::Missing);
        assert_eq!(Evidence::judge(Err(()), &wanted).verdict(NOW()), Verdict::Unreadable);
        for broken in [&b""[..], b"{}", b"[1]", &bytes[..bytes.len() - 1]] {
            assert_eq!(Evidence::judge(Ok(Some(broken)), &wanted).verdict(NOW()), Verdict::Unreadable);
        }
    }
}
