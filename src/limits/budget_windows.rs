//! Budget windows (`budget_limits` of a key and its team): where each is counted, since when, and the words of a refusal.
//! Pure. Sources: auth_checks.py `_virtual_key_multi_budget_check`, `_team_multi_budget_check`, budget_reservation.py
//! `get_budget_window_start`. What is not known to the letter is named and declines.
use std::time::Duration;

use serde_json::Value;

use super::{model_budgets::seconds, raised::instant};
use crate::auth::Identity;

/// The feature's name where Python must judge it.
const ODD: &str = "a budget window of an unusual form";

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetWindow {
    /// where it is counted: `spend:key:<hash>:window:<duration>`
    pub counter: String,
    /// `key`, `team`
    pub entity: &'static str,
    pub id: String,
    /// as the operator wrote it
    pub duration: String,
    /// US dollars
    pub max: f64,
    /// since the epoch
    pub start: Duration,
    /// It ends at a time of its own, so a row keeps its sum. One without moves with the clock.
    pub resets: bool,
}

impl BudgetWindow {
    /// LiteLLM's message for a check that found `spend`.
    pub fn words(&self, spend: f64) -> String {
        let whose = match self.entity {
            "team" => format!("Team={}", self.id),
            _ => "Key".to_owned(),
        };
        format!("ExceededBudget: {whose} over {} budget. Spend=${spend:.4}, Limit=${:.2}", self.duration, self.max)
    }
}

/// Those of the key, and then those of its team, at `now` since the epoch. `Err`: Python must judge them.
pub fn of(identity: &Identity, now: Duration) -> Result<Vec<BudgetWindow>, &'static str> {
    let key = &identity.key;
    let mut found = listed(&key.budget_limits, ("key", &key.token), now)?;
    if let Some(team) = &identity.team {
        found.extend(listed(&team.budget_limits, ("team", &team.team_id), now)?);
    }
    Ok(found)
}

fn listed(limits: &Value, whose: (&'static str, &str), now: Duration) -> Result<Vec<BudgetWindow>, &'static str> {
    let list = match limits {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(ODD),
    };
    let windows: Vec<BudgetWindow> = list.iter().map(|window| one(window, whose, now)).collect::<Result<_, _>>()?;
    let twice =
        |(at, window): (usize, &BudgetWindow)| windows.iter().skip(at + 1).any(|w| w.duration == window.duration);
    if windows.iter().enumerate().any(twice) { Err(ODD) } else { Ok(windows) }
}

fn one(window: &Value, (entity, id): (&'static str, &str), now: Duration) -> Result<BudgetWindow, &'static str> {
    let duration = window.get("budget_duration").and_then(Value::as_str).ok_or(ODD)?;
    let max = window.get("max_budget").filter(|max| max.is_number()).and_then(Value::as_f64).ok_or(ODD)?;
    let length = Duration::from_secs(seconds(duration, now)?.ok_or(ODD)?.unsigned_abs());
    let end = match window.get("reset_at") {
        None | Some(Value::Null) => None,
        Some(at) => Some(at.as_str().and_then(instant).ok_or(ODD)?),
    };
    Ok(BudgetWindow {
        counter: format!("spend:{entity}:{id}:window:{duration}"),
        entity,
        id: id.to_owned(),
        duration: duration.to_owned(),
        max,
        start: end.unwrap_or(now).checked_sub(length).ok_or(ODD)?,
        resets: end.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn windows(key: Value, team: Value) -> Result<Vec<BudgetWindow>, &'static str> {
        let rows =
            json!({"key": {"token": "k", "budget_limits": key}, "team": {"team_id": "t", "budget_limits": team}});
        of(&serde_json::from_value(rows).unwrap(), NOW)
    }

    #[test]
    fn a_window_begins_a_duration_before_its_end() {
        let day = json!({"budget_duration": "1d", "max_budget": 2.5, "reset_at": "2030-01-15T00:00:00+00:00"});
        let sliding = json!({"budget_duration": "2h", "max_budget": 0});
        let found = windows(json!([day, sliding]), json!([day])).unwrap();
        let facts: Vec<_> = found.iter().map(|w| (w.counter.as_str(), w.start.as_secs(), w.resets)).collect();
        assert_eq!(
            facts,
            [
                ("spend:key:k:window:1d", 1_894_665_600 - 86400, true),
                ("spend:key:k:window:2h", 1_800_000_000 - 7200, false),
                ("spend:team:t:window:1d", 1_894_665_600 - 86400, true),
            ]
        );
        assert_eq!(found[0].words(2.50005), "ExceededBudget: Key over 1d budget. Spend=$2.5000, Limit=$2.50");
        assert_eq!(found[2].words(12.0), "ExceededBudget: Team=t over 1d budget. Spend=$12.0000, Limit=$2.50");
        assert_eq!(windows(Value::Null, json!([])), Ok(Vec::new()));
    }

    #[test]
    fn odd_windows_are_pythons() {
        for odd in [
            json!("[]"),
            json!({}),
            json!([{"max_budget": 1}]),
            json!([{"budget_duration": "1d"}]),
            json!([{"budget_duration": "1d", "max_budget": "1"}]),
            json!([{"budget_duration": "soon", "max_budget": 1}]),
            json!([{"budget_duration": "1d", "max_budget": 1, "reset_at": "soon"}]),
            json!([{"budget_duration": "1d", "max_budget": 1}, {"budget_duration": "1d", "max_budget": 2}]),
        ] {
            assert_eq!(windows(odd.clone(), Value::Null), Err(ODD), "{odd}");
        }
    }
}
