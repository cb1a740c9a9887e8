//! What a client is told when limits or budgets say no, and the limit headers of admitted calls. Pure. Bodies are made by
//! [`Failure`] alone.
use http::StatusCode;
use time::{OffsetDateTime, macros::format_description};

use super::descriptors::Descriptor;
use crate::{
    error::{Dialect, Failure, anthropic_type},
    spend::Spent,
};

/// Why a request is refused; every kind has LiteLLM's own status and words.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 422 `budget_exceeded`; on every route in OpenAI's shape, as authentication errors are
    Budget {
        message: String,
        spent: Spent,
        /// by the checks that LiteLLM makes last
        late: bool,
    },
    Rate(Rate),
    /// `fail_closed_rate_limit_enforcement` or `fail_closed_budget_enforcement`, and nothing to verify against
    Unverifiable {
        message: &'static str,
    },
}

/// 429.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// `requests`, `tokens`, `max_parallel_requests`
    pub kind: &'static str,
    pub descriptor: &'static str,
    pub value: String,
    pub limit: i64,
    pub remaining: i64,
    /// seconds of a window
    pub window: i64,
    /// epoch seconds when it was refused
    pub now: i64,
}

/// parallel_request_limiter_v3 `RATE_LIMIT_UNVERIFIABLE_MESSAGE`
pub const RATE_UNVERIFIABLE: &str = "Rate limit enforcement unavailable: request counters could not be verified against \
    Redis, and fail_closed_rate_limit_enforcement is enabled, so the request was rejected to avoid exceeding the \
    configured rate limit. Retry shortly.";
/// proxy_server.py `_raise_budget_unverifiable`
pub const BUDGET_UNVERIFIABLE: &str = "Budget enforcement unavailable: current spend could not be verified against \
    Redis or the database, and fail_closed_budget_enforcement is enabled, so the request was rejected to avoid exceeding \
    the configured budget. Retry shortly.";

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Budget { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Rate(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unverifiable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The shape its body has on a route of `dialect`: budgets are judged where LiteLLM authenticates.
    pub fn dialect(&self, dialect: Dialect) -> Dialect {
        match self {
            Refusal::Budget { .. } => Dialect::OpenAi,
            _ => dialect,
        }
    }

    /// To be written in [`Refusal::dialect`].
    pub fn failure(&self, dialect: Dialect) -> Failure {
        let status = self.status();
        match self {
            Refusal::Budget { message, .. } => {
                Failure { kind: Some("budget_exceeded".into()), ..Failure::new(status, message.clone()) }
            }
            Refusal::Rate(rate) => {
                let kind = match dialect {
                    Dialect::OpenAi => "throttling_error",
                    Dialect::Anthropic => anthropic_type(status),
                };
                Failure { kind: Some(kind.to_owned()), ..Failure::new(status, rate.message()) }
            }
            // HTTPException(dict): LiteLLM writes the dict as Python prints it
            Refusal::Unverifiable { message } => Failure::new(status, format!("{{'error': '{message}'}}")),
        }
    }

    /// Headers of the refusal: none on Anthropic's routes.
    pub fn headers(&self, dialect: Dialect) -> Vec<(&'static str, String)> {
        match (self, dialect) {
            (Refusal::Rate(rate), Dialect::OpenAi) => vec![
                ("retry-after", rate.window.to_string()),
                ("rate_limit_type", rate.kind.to_owned()),
                ("reset_at", rate.reset_at()),
            ],
            _ => Vec::new(),
        }
    }
}

impl Rate {
    /// A whole window from now, whenever the window really ends.
    fn reset_at(&self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
        let at = OffsetDateTime::from_unix_timestamp(self.now.saturating_add(self.window));
        at.ok().and_then(|at| at.format(format).ok()).unwrap_or_default()
    }

    /// LiteLLM's words.
    pub fn message(&self) -> String {
        format!(
            "Rate limit exceeded for {}: {}. Limit type: {}. Current limit: {}, Remaining: {}. Limit resets at: {}",
            self.descriptor,
            self.value,
            self.kind,
            self.limit,
            self.remaining.max(0),
            self.reset_at()
        )
    }
}

/// One `x-ratelimit-<descriptor>-{remaining,limit}-<kind>` pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub descriptor: &'static str,
    pub kind: &'static str,
    pub limit: i64,
    pub remaining: i64,
}

/// The headers of an admitted call: of two descriptors with one name the later one's values, at the place of the first.
pub fn headers(statuses: &[Status]) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for status in statuses {
        for (word, value) in [("remaining", status.remaining), ("limit", status.limit)] {
            let name = format!("x-ratelimit-{}-{word}-{}", status.descriptor, status.kind);
            match headers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value.to_string(),
                None => headers.push((name, value.to_string())),
            }
        }
    }
    headers
}

/// The descriptors that limit one kind, beside their limit.
pub fn limited<'a>(
    descriptors: &'a [Descriptor],
    limit: impl Fn(&Descriptor) -> Option<i64> + 'a,
) -> impl Iterator<Item = (&'a Descriptor, i64)> {
    descriptors.iter().filter_map(move |descriptor| Some((descriptor, limit(descriptor)?)))
}
