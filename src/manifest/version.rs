//! Versions of LiteLLM and ranges of them, as routes.toml's `[python] versions` writes them. Only plain releases
//! (`1.106.2`) can be in a range: of a pre-release or a local build nobody knows what it answers.
use std::fmt;

/// A plain release: up to four numbers, missing ones are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 4]);

impl Version {
    /// `None` for anything but numbers joined by dots.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = [0; 4];
        let mut slots = parts.iter_mut();
        for part in text.trim().split('.') {
            // `+1` and `` parse as numbers or not at all elsewhere; here only digits count
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *slots.next()? = part.parse().ok()?;
        }
        Some(Self(parts))
    }
}

/// What is known about the Python gateway that runs behind the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PythonVersion {
    /// not asked yet, or it does not say: it does not stop a native route
    #[default]
    Unknown,
    Known(Version),
    /// it says something that is no plain release: never in range
    Odd,
}

impl PythonVersion {
    /// From the `litellm_version` of `/health/readiness/details`.
    pub fn from_text(text: Option<&str>) -> Self {
        match text {
            None => Self::Unknown,
            Some(text) => Version::parse(text).map_or(Self::Odd, Self::Known),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// Comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    all: Vec<(Comparison, Version)>,
}

impl VersionRange {
    /// What a range must look like, for error messages.
    pub const SHAPE: &'static str = "a version range such as \"=1.106.2\" or \">=1.106.2, <1.107\"";

    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (comparison, version) = [
                (">=", Comparison::AtLeast),
                ("<=", Comparison::AtMost),
                ("==", Comparison::Equal),
                ("=", Comparison::Equal),
                (">", Comparison::Above),
                ("<", Comparison::Below),
            ]
            .into_iter()
            .find_map(|(sign, comparison)| part.strip_prefix(sign).map(|rest| (comparison, rest)))?;
            all.push((comparison, Version::parse(version)?));
        }
        Some(Self { text: text.to_owned(), all })
    }

    pub fn contains(&self, version: Version) -> bool {
        self.all.iter().all(|(comparison, bound)| match comparison {
            Comparison::Equal => version == *bound,
            Comparison::AtLeast => version >= *bound,
            Comparison::Above => version > *bound,
            Comparison::AtMost => version <= *bound,
            Comparison::Below => version < *bound,
        })
    }

    /// Whether a Python gateway of that version may stand beside native routes.
    pub fn admits(&self, version: PythonVersion) -> bool {
        match version {
            PythonVersion::Unknown => true,
            PythonVersion::Known(version) => self.contains(version),
            PythonVersion::Odd => false,
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = VersionRange::parse(">=1.106.2, <1.107").unwrap();
        for (version, inside) in
            [("1.106.2", true), ("1.106.10", true), ("1.106.1", false), ("1.107", false), ("1.107.0", false)]
        {
            assert_eq!(range.contains(Version::parse(version).unwrap()), inside, "{version}");
        }
        let exact = VersionRange::parse("=1.106.2").unwrap();
        assert!(exact.admits(PythonVersion::from_text(Some("1.106.2"))));
        assert!(!exact.admits(PythonVersion::from_text(Some("1.106.20"))));
        assert!(exact.admits(PythonVersion::from_text(None)), "unknown stops nothing");
        for odd in ["1.106.2rc1", "1.106.2.post1", "v1.106.2", "", "1..2", "1.2.3.4.5", "99999999999", "+1"] {
            assert_eq!(PythonVersion::from_text(Some(odd)), PythonVersion::Odd, "{odd}");
            assert!(!exact.admits(PythonVersion::from_text(Some(odd))));
        }
        for bad in ["", "1.106.2", "~1.1", ">=1.1,", "=", "=1.x"] {
            assert!(VersionRange::parse(bad).is_none(), "{bad}");
        }
    }
}
