//! Single values of routes.toml: what each kind accepts, how it is read, and the defaults.
use std::time::Duration;

use time::{Date, Month};
use toml::de::DeValue;

use super::{
    keys::{Key, Kind},
    schema::unknown,
    version::VersionRange,
};

/// The LiteLLM this edge was built against.
pub const VERSIONS: &str = "=1.106.2";
/// Where evidence is looked for, unless `[gate] evidence` says otherwise.
pub const EVIDENCE: &str = "parity-tests/evidence";
/// How old evidence may be, unless `[gate] max_age` says otherwise.
pub const MAX_AGE: &str = "30d";
/// Longest id: it is a metric label and a file name.
const MAX_ID: usize = 64;

/// Checks a single value; the error says what would be right.
pub(super) fn check(value: &DeValue<'_>, kind: Kind) -> Result<(), String> {
    match kind {
        Kind::Exactly(wanted) => match number(value) {
            Some(found) if found == wanted as f64 => Ok(()),
            _ => Err(format!("must be {wanted}, the only version of this format")),
        },
        Kind::Number { min, max } => match number(value) {
            Some(found) if (min..=max).contains(&found) => Ok(()),
            Some(found) => Err(format!("must be between {min} and {max}, is {found}")),
            None => Err(format!("must be a number between {min} and {max}, is {}", name(value))),
        },
        Kind::Date if date(value).is_some() => Ok(()),
        Kind::Date => Err("must be a day such as \"2026-12-31\"".to_owned()),
        _ => {
            let Some(text) = value.as_str() else {
                return Err(format!("must be {}, is {}", shape(kind), name(value)));
            };
            let right = match kind {
                Kind::Choice(words) => return choice(text, words),
                Kind::Id => id(text),
                Kind::Url => url(text),
                Kind::Duration => duration(text).is_some(),
                Kind::Versions => VersionRange::parse(text).is_some(),
                _ => !text.trim().is_empty(),
            };
            if right { Ok(()) } else { Err(format!("must be {}, is \"{}\"", shape(kind), text.escape_debug())) }
        }
    }
}

/// A word out of a list.
pub(super) fn choice(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) { Ok(()) } else { Err(unknown("value", text, words.iter().copied())) }
}

/// What a value of that kind looks like.
pub(super) fn shape(kind: Kind) -> String {
    match kind {
        Kind::Exactly(number) => number.to_string(),
        Kind::Number { min, max } => format!("a number between {min} and {max}"),
        Kind::Text => "a non-empty text".to_owned(),
        Kind::Id => format!("1 to {MAX_ID} letters, digits, `_`, `-` or `.`, not beginning with `.`"),
        Kind::Url => "\"http://host:port\" or \"unix:/path\"".to_owned(),
        Kind::Duration => "a duration such as \"30d\", \"12h\", \"90m\" or \"45s\"".to_owned(),
        Kind::Versions => VersionRange::SHAPE.to_owned(),
        Kind::Date => "a day such as \"2026-12-31\"".to_owned(),
        Kind::Choice(words) => format!("one of {}", enumerate(words)),
        Kind::Choices(words) => format!("a list of {}", enumerate(words)),
        Kind::Methods => "a list of HTTP methods".to_owned(),
        Kind::Paths => "a list of path patterns".to_owned(),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables(_) => "an array of tables".to_owned(),
    }
}

/// The key's example, for messages.
pub(super) fn example(key: &Key) -> &'static str {
    key.example
}

/// `schema`, `python` or `gate`.
pub(super) fn enumerate(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

/// The type of a value, for people.
pub(super) fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A whole or broken number; `None` for infinities and what is no number.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64,
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A day, written as text or as a TOML date.
pub(super) fn date(value: &DeValue<'_>) -> Option<Date> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        _ => return None,
    };
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

/// `30d`, `12h`, `90m`, `45s`; at most ten years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=3650 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn url(text: &str) -> bool {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/') && path.len() > 1;
    }
    let Some(rest) = text.strip_prefix("http://") else { return false };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    // a path, a query or credentials would silently be dropped by the edge
    !authority.is_empty()
        && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
        && authority.parse::<http::uri::Authority>().is_ok()
}

/// The known word that was probably meant: the least edits, at most a third of its letters.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // a word of another length altogether is no slip, and the distance of huge ones would be slow
    if word.len() > 2 * MAX_ID {
        return None;
    }
    known
        .iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, slot) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *slot;
            left = replaced.min(left + 1).min(*slot + 1);
            *slot = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30d"), Some(Duration::from_secs(2_592_000)));
        assert_eq!(duration("90m"), Some(Duration::from_secs(5400)));
        for bad in ["", "d", "0s", "-1d", "1", "1.5h", "1w", "99999999999999999999d", "4000d", "+1d", "1é"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls() {
        for good in ["http://127.0.0.1:4001", "http://litellm.svc:443/", "unix:/run/litellm.sock", "http://[::1]:4001"]
        {
            assert!(url(good), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4001",
            "http://",
            "http://a/b",
            "http://u:p@h",
            "unix:x",
            "ftp://h",
            "https://litellm:443",
            "http://h:x y",
        ] {
            assert!(!url(bad), "{bad}");
        }
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(nearest("chat_completion", &["messages", "chat_completions"]), Some("chat_completions"));
        assert_eq!(nearest("Mode", &["mode"]), Some("mode"));
        assert_eq!(nearest("colour", &["mode", "id"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
