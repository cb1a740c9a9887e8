//! One finished call, as LiteLLM's spend tracking sees it (proxy/spend_tracking/spend_tracking_utils.py
//! `get_logging_payload`): everything a `LiteLLM_SpendLogs` row, the daily tables and the spend columns are made of.
//! It must never hold a key, a prompt or an answer.
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    Cost, Trouble,
    metadata::{Facts, Shape},
};

/// Who is billed. Empty strings where LiteLLM writes empty strings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payer {
    /// the key's hash; `litellm_proxy_master_key`; empty: no key was sent
    pub api_key: String,
    pub key_alias: Option<String>,
    pub user_id: Option<String>,
    pub team_id: Option<String>,
    pub team_alias: Option<String>,
    pub org_id: Option<String>,
    pub project_id: Option<String>,
    pub project_alias: Option<String>,
    pub end_user: Option<String>,
}

/// A budget window that a call's cost belongs to, where a row keeps its sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// `key`, `team`
    pub entity: &'static str,
    pub id: String,
    pub duration: String,
    /// when it began
    pub start: Duration,
}

/// One call, settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// the answer's id, else the call id; the table's primary key
    pub request_id: String,
    pub call_id: String,
    /// LiteLLM's name of the call: `acompletion`, `anthropic_messages`
    pub call_type: &'static str,
    pub payer: Payer,
    /// US dollars
    pub spend: f64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// as the answer reports it
    pub total_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_creation_tokens: u64,
    /// of the completion
    pub reasoning_tokens: u64,
    pub started: SystemTime,
    pub ended: SystemTime,
    /// first token of a stream
    pub first_token: Option<SystemTime>,
    /// `openai/gpt-4o`
    pub model: String,
    pub model_id: String,
    pub model_group: String,
    pub provider: String,
    pub api_base: String,
    /// Python's text of the flag: `None` where nobody asked the cache, `False` on streams and failures
    pub cache_hit: &'static str,
    pub tags: Vec<String>,
    pub requester_ip: Option<String>,
    pub session_id: String,
    pub succeeded: bool,
    pub windows: Vec<Window>,
    /// what LiteLLM calls `prompt_caching_savings_spend`, US dollars
    pub caching_savings: f64,
    /// what else the `metadata` column is made of
    pub facts: Facts,
}

/// Where calls of a type are counted in the daily tables (`ROUTE_ENDPOINT_MAPPING`); messages have none.
const ENDPOINTS: &[(&str, &str)] = &[("acompletion", "/chat/completions")];

impl Record {
    /// A call of which no more is known than that it began: one that was refused. Its id is the call's. `model_map`: JSON
    /// text, see [`super::model_map`].
    pub fn refused(
        call_id: String,
        call_type: &'static str,
        payer: Payer,
        started: SystemTime,
        model_map: Arc<str>,
    ) -> Self {
        Self {
            request_id: call_id.clone(),
            call_id,
            call_type,
            payer,
            spend: 0.0,
            prompt_tokens: 0,
            completion_tokens: 0,
            total_tokens: 0,
            cache_read_tokens: 0,
            cache_creation_tokens: 0,
            reasoning_tokens: 0,
            started,
            ended: started,
            first_token: None,
            model: String::new(),
            model_id: String::new(),
            model_group: String::new(),
            provider: String::new(),
            api_base: String::new(),
            cache_hit: "False",
            tags: Vec::new(),
            requester_ip: None,
            session_id: String::new(),
            succeeded: false,
            windows: Vec::new(),
            caching_savings: 0.0,
            facts: Facts {
                user_agent: None,
                usage: String::new(),
                shape: Shape::Refused,
                cost: Cost::default(),
                service_tier: None,
                overhead_ms: None,
                model_map,
                trouble: Trouble::None,
            },
        }
    }

    /// `endpoint` of the daily tables; empty where LiteLLM has none.
    pub fn endpoint(&self) -> &'static str {
        ENDPOINTS.iter().find(|(name, _)| *name == self.call_type).map_or("", |(_, endpoint)| endpoint)
    }

    /// The UTC day the call began on: `2026-11-22`.
    pub fn date(&self) -> String {
        let full = timestamp(self.started);
        full.get(..10).unwrap_or_default().to_owned()
    }

    /// Whole milliseconds, as `request_duration_ms` has them.
    pub fn duration_ms(&self) -> i64 {
        i64::try_from(self.ended.duration_since(self.started).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(i64::MAX)
    }
}

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]");

const FINE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

/// UTC without a zone, microseconds: Postgres rounds it as it does LiteLLM's.
pub fn fine_timestamp(since_epoch: Duration) -> String {
    let at = UNIX_EPOCH.checked_add(since_epoch).map(OffsetDateTime::from);
    at.and_then(|at| at.format(FINE).ok()).unwrap_or_else(|| "1970-01-01T00:00:00.000000".to_owned())
}

/// UTC without a zone, milliseconds: what Postgres' `timestamp(3)` columns hold.
pub fn timestamp(at: SystemTime) -> String {
    let nanos = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
    i128::try_from(nanos)
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .and_then(|at| at.format(TIMESTAMP).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00.000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_milliseconds() {
        let at = UNIX_EPOCH + Duration::from_micros(1_795_324_336_907_999);
        assert_eq!(timestamp(at), "2026-11-22T05:12:16.907");
    }
}
