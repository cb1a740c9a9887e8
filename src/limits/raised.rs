//! Temporary increases: a key's, in its metadata (user_api_key_auth.py `_get_temp_budget_increase`), and a team member's, in
//! the row of its budget (models/budget.py `active_temp_budget_increase`). Other rows' are only stored. Pure.
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::auth::{Identity, record::Budget, refusal::read_timestamp};

/// The feature's name where Python must judge it.
const ODD: &str = "a temporary budget increase of an unusual form";

/// Those in force, US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Raised {
    pub key: f64,
    pub member: f64,
}

/// At `now`, since the epoch. `Err`: Python must judge it.
pub fn of(identity: &Identity, now: Duration) -> Result<Raised, &'static str> {
    let has_budget =
        identity.key.max_budget.is_some() || identity.budget.as_ref().is_some_and(|b| b.max_budget.is_some());
    let key = if has_budget { of_metadata(&identity.key.metadata, now)? } else { 0.0 };
    let member = identity.member_budget.as_ref().map_or(Ok(0.0), |budget| of_row(budget, now))?;
    Ok(Raised { key, member })
}

fn of_metadata(metadata: &Map<String, Value>, now: Duration) -> Result<f64, &'static str> {
    let (increase, expiry) = (metadata.get("temp_budget_increase"), metadata.get("temp_budget_expiry"));
    let Some((increase, expiry)) = increase.zip(expiry) else { return Ok(0.0) };
    let expiry = expiry.as_str().and_then(instant).ok_or(ODD)?;
    match increase {
        _ if expiry <= now => Ok(0.0),
        Value::Null => Ok(0.0),
        Value::Number(number) => number.as_f64().ok_or(ODD),
        _ => Err(ODD),
    }
}

fn of_row(budget: &Budget, now: Duration) -> Result<f64, &'static str> {
    let (Some(increase), Some(expiry)) = (budget.temp_budget_increase, &budget.temp_budget_expiry) else {
        return Ok(0.0);
    };
    Ok(if instant(expiry).ok_or(ODD)? <= now { 0.0 } else { increase })
}

/// The common forms of ISO 8601, since the epoch; without a zone it is UTC.
pub(super) fn instant(text: &str) -> Option<Duration> {
    let (time, ahead) = match text.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => zone(text).unwrap_or((text, 0)),
    };
    let whole = if time.len() == "2030-01-01".len() { format!("{time}T00:00:00") } else { time.replacen(' ', "T", 1) };
    let at = read_timestamp(&whole).filter(|_| !whole.ends_with('.'))?;
    let at = i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    Some(Duration::from_micros(u64::try_from(at.checked_sub(ahead * 1_000_000)?).ok()?))
}

/// `..+02:00`: what stands before, and seconds ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    let (time, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, clock) = zone.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (hours, minutes) = (number(hours).filter(|h| *h < 24)?, number(minutes).filter(|m| *m < 60)?);
    time.contains(['T', ' ']).then_some((time, sign * (hours * 3600 + minutes * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expiries_are_read_as_python_reads_them() {
        // datetime.fromisoformat, UTC without a zone
        for (text, micros) in [
            ("2030-01-15", 1_894_665_600_000_000),
            ("2030-01-15T00:00:00", 1_894_665_600_000_000),
            ("2030-01-15 00:00:00.5", 1_894_665_600_500_000),
            ("2030-01-15T00:00:00Z", 1_894_665_600_000_000),
            ("2030-01-15T00:00:00+02:30", 1_894_656_600_000_000),
            ("2030-01-15T00:00:00.000001-01:00", 1_894_669_200_000_001),
        ] {
            assert_eq!(instant(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "20300115", "2030-01-15T00", "2030-01-15T00:00:00.", "tomorrow", "2030-01-15+01:00"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn increases_hold_until_they_expire() {
        let now = Duration::from_secs(1_894_665_600);
        let raised = |rows: Value| of(&serde_json::from_value(rows).unwrap(), now);
        let key = |increase: Value, expiry: &str| {
            json!({"key": {"token": "t", "max_budget": 1.0,
                           "metadata": {"temp_budget_increase": increase, "temp_budget_expiry": expiry}}})
        };
        let later = "2030-01-15T00:00:00.000001";
        assert_eq!(raised(key(json!(2.5), later)), Ok(Raised { key: 2.5, member: 0.0 }));
        assert_eq!(raised(key(json!(2.5), "2030-01-15")), Ok(Raised::default()), "at the instant it is over");
        assert_eq!(raised(key(json!("5"), "2029-01-15")), Ok(Raised::default()));
        assert_eq!(raised(key(json!("5"), later)), Err(ODD));
        assert_eq!(raised(key(json!(2.5), "soon")), Err(ODD));
        let without =
            json!({"key": {"token": "t", "metadata": {"temp_budget_increase": 1, "temp_budget_expiry": "x"}}});
        assert_eq!(raised(without), Ok(Raised::default()), "no budget, nothing to raise");
        let row = |expiry: &str| {
            json!({"key": {"token": "t"},
                   "member_budget": {"budget_id": "b", "temp_budget_increase": 3.0, "temp_budget_expiry": expiry}})
        };
        assert_eq!(raised(row("2030-01-15T00:00:00.001")), Ok(Raised { key: 0.0, member: 3.0 }));
        assert_eq!(raised(row("2030-01-15T00:00:00")), Ok(Raised::default()));
    }
}
