//! The answer to a caller who is not let in. The one place where a refusal becomes an execution: what LiteLLM writes of
//! refused calls belongs here.
use http::StatusCode;

use super::{Call, CallLog, Decline, Execution, Reply, ReplyBody, refusal_row};
use crate::auth::{Refusal, Stop};

/// What an admission returns whose caller was stopped.
pub(super) fn stopped(call: Call, stop: Stop) -> Result<Execution, Decline> {
    match stop {
        Stop::Refused(refusal) => Ok(refused(call, *refusal)),
        Stop::Declined(reason) => Err(reason),
    }
}

/// Answers with LiteLLM's status and body; such an answer has no header of LiteLLM's own.
fn refused(call: Call, refusal: Refusal) -> Execution {
    refusal_row::write(&call, &refusal);
    let status: StatusCode = refusal.failure.status;
    let headers = [("content-type", "application/json")].into();
    let body = ReplyBody::Full(refusal.body());
    Box::pin(std::future::ready(Reply { status, headers, body, log: CallLog::default() }))
}
