//! Budgets of single models (`model_max_budget` of a key or its budget row, of its team, of its user): which entry a model
//! falls under, its counter in Redis, and the words of a refusal. Pure. Source: proxy/hooks/model_max_budget_limiter.py.
//! What is not known to the letter is named and declines. It must never guess an entry.
use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::auth::Identity;

/// The feature's name where Python must judge it.
const ODD: &str = "a model budget of an unusual form";

/// A spend that is compared before the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// where it is counted: `virtual_key_spend:<hash>:<entry>:<duration>`
    pub counter: String,
    /// the same under the name that was asked for: where a LiteLLM before this one counted
    pub legacy: Option<String>,
    /// US dollars; at it no call is let through
    pub max: f64,
    /// `key`, `user`, `team`
    pub entity: &'static str,
    pub id: String,
    /// LiteLLM's message
    pub words: String,
}

/// A counter that a finished call is added to, compared or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meter {
    pub spend: String,
    /// when its window began, epoch seconds
    pub start: String,
    /// seconds of a window
    pub window: i64,
}

/// Those of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelBudgets {
    pub key: Option<Gate>,
    pub user: Option<Gate>,
    pub team: Option<Gate>,
    /// in LiteLLM's order
    pub meters: Vec<Meter>,
}

/// Whose entries, and the stems of their keys in Redis.
struct Scope {
    entity: &'static str,
    spend: &'static str,
    start: &'static str,
}

const KEY: Scope = Scope { entity: "key", spend: "virtual_key_spend", start: "virtual_key_budget_start_time" };
const USER: Scope = Scope { entity: "user", spend: "user_model_spend", start: "user_model_budget_start_time" };
const TEAM: Scope = Scope { entity: "team", spend: "team_model_spend", start: "team_model_budget_start_time" };

/// The entry that governs a model.
struct Entry<'a> {
    /// as the operator wrote it
    name: &'a str,
    max: Option<f64>,
    duration: &'a str,
    /// seconds
    window: i64,
}

impl Entry<'_> {
    fn gate(&self) -> Option<f64> {
        self.max.filter(|max| *max >= 0.0)
    }
}

static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// Notes when this process began; counts by another name are looked at for one window from then on.
pub fn started() {
    LazyLock::force(&STARTED);
}

/// Of a call of this key to `model`, as it was asked for; `now` since the epoch. `Err`: Python must judge it.
pub fn of(identity: &Identity, model: &str, now: Duration) -> Result<ModelBudgets, &'static str> {
    let (key, team, user) = (&identity.key, identity.team.as_ref(), identity.user.as_ref());
    let own = match (&key.model_max_budget, &identity.budget) {
        (own, Some(budget)) if own.is_empty() => &budget.model_max_budget,
        (own, _) => own,
    };
    let mut found = ModelBudgets::default();
    let mut add = |scope: &Scope, id: &str, entry: &Entry<'_>, whose: String| {
        let key = |stem: &str, name: &str| format!("{stem}:{id}:{name}:{}", entry.duration);
        found.meters.push(Meter {
            spend: key(scope.spend, entry.name),
            start: key(scope.start, entry.name),
            window: entry.window,
        });
        let young = uptime(now) < Duration::from_secs(entry.window.unsigned_abs());
        let renamed = scope.entity == KEY.entity && entry.name != model && young;
        entry.gate().map(|max| Gate {
            counter: key(scope.spend, entry.name),
            legacy: renamed.then(|| key(scope.spend, model)),
            max,
            entity: scope.entity,
            id: id.to_owned(),
            words: format!("LiteLLM {whose}, exceeded budget for model={model}"),
        })
    };
    let of_key = governing(own, model, now)?;
    // what the key's own entry bounds is not the team's
    let bounded = of_key.as_ref().is_some_and(|entry| entry.gate().is_some());
    let of_key = of_key.and_then(|entry| {
        let alias = key.key_alias.as_deref().unwrap_or("None");
        add(&KEY, &key.token, &entry, format!("Virtual Key: {}, key_alias: {alias}", key.token))
    });
    let of_team = match team.filter(|_| !bounded) {
        Some(team) => governing(&team.model_max_budget, model, now)?
            .and_then(|entry| add(&TEAM, &team.team_id, &entry, format!("Team: {}", team.team_id))),
        None => None,
    };
    let of_user = match user {
        Some(user) => governing(&user.model_max_budget, model, now)?
            .and_then(|entry| add(&USER, &user.user_id, &entry, format!("User: {}", user.user_id))),
        None => None,
    };
    (found.key, found.team, found.user) = (of_key, of_team, of_user);
    Ok(found)
}

fn uptime(now: Duration) -> Duration {
    now.saturating_sub(STARTED.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// `resolve_model_budget`: under the model's name, else without its provider. An entry that cannot be used is none.
fn governing<'a>(map: &'a Map<String, Value>, model: &str, now: Duration) -> Result<Option<Entry<'a>>, &'static str> {
    if map.is_empty() {
        return Ok(None);
    }
    let bare = model.rsplit('/').next().filter(|bare| *bare != model);
    for candidate in [Some(model), bare].into_iter().flatten() {
        let Some((name, value)) = map.get_key_value(candidate) else { continue };
        if let Some(entry) = entry(name, value, now)? {
            return Ok(Some(entry));
        }
    }
    // Bedrock's models have names of other kinds too
    if may_be_bedrocks(model) { Err(ODD) } else { Ok(None) }
}

/// `BudgetConfig`, with a duration that can be read. What is no object is none.
fn entry<'a>(name: &'a str, value: &'a Value, now: Duration) -> Result<Option<Entry<'a>>, &'static str> {
    let Some(map) = value.as_object() else { return Ok(None) };
    // the other name wins, though its value be null
    let of = |other: &str, name: &str| map.get(other).or_else(|| map.get(name));
    let (max, duration) = (of("budget_limit", "max_budget"), of("time_period", "budget_duration"));
    let number = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || value.is_number());
    let whole = |name| map.get(name).is_none_or(|value| value.is_null() || value.is_i64());
    if !number(max) || !whole("rpm_limit") || !whole("tpm_limit") {
        return Err(ODD);
    }
    let Some(duration) = duration.and_then(Value::as_str) else { return Ok(None) };
    let max = max.and_then(Value::as_f64);
    Ok(seconds(duration, now)?.map(|window| Entry { name, max, duration, window }))
}

/// `duration_in_seconds`; `None`: LiteLLM cannot read it. Months are counted in UTC.
pub fn seconds(duration: &str, now: Duration) -> Result<Option<i64>, &'static str> {
    const WORDS: &[(&str, &str)] = &[("hourly", "1h"), ("daily", "24h"), ("weekly", "7d"), ("monthly", "30d")];
    if !duration.is_ascii() {
        return Err(ODD);
    }
    let word = duration.trim().to_ascii_lowercase();
    let duration = WORDS.iter().find(|(name, _)| *name == word).map_or(duration, |(_, text)| text);
    let digits = duration.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = duration.split_at_checked(digits).ok_or(ODD)?;
    if number.is_empty() {
        return Ok(None);
    }
    // beyond what a clock can say, or Redis takes
    let number: i64 = number.parse().ok().filter(|number| (1..1_000_000_000).contains(number)).ok_or(ODD)?;
    let each = match unit.as_bytes() {
        [b'm', b'o', ..] => return months(number, now).map(Some),
        [b's', ..] => 1,
        [b'm', ..] => 60,
        [b'h', ..] => 3600,
        [b'd', ..] => 86400,
        [b'w', ..] => 604_800,
        _ => return Ok(None),
    };
    Ok(Some(number * each))
}

/// To the same day and hour so many months later, or the last day of that month.
fn months(number: i64, now: Duration) -> Result<i64, &'static str> {
    let today =
        OffsetDateTime::from_unix_timestamp(now.as_secs().try_into().map_err(|_| ODD)?).map_err(|_| ODD)?.date();
    let total = i64::from(u8::from(today.month())) - 1 + number;
    let year = i32::try_from(i64::from(today.year()) + total / 12).map_err(|_| ODD)?;
    let month = u8::try_from(total % 12 + 1).ok().and_then(|month| time::Month::try_from(month).ok()).ok_or(ODD)?;
    let day = today.day().min(month.length(year));
    let then = time::Date::from_calendar_date(year, month, day).map_err(|_| ODD)?;
    Ok((then - today).whole_seconds())
}

/// Whether LiteLLM may know it as one of Bedrock's (`anthropic.claude-..`, `us.meta.llama..:0`): a dot that stands in no
/// version number, or a colon.
fn may_be_bedrocks(model: &str) -> bool {
    let bytes = model.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let dotted = |at: usize| !(digit(at.checked_sub(1)) && digit(Some(at + 1)));
    bytes.iter().enumerate().any(|(at, byte)| *byte == b':' || (*byte == b'.' && dotted(at)))
        || ["bedrock", "converse", "nova"].iter().any(|stem| model.starts_with(stem))
}
