//! The answer to a caller who is not let in. The one place where a refusal becomes an execution: what LiteLLM writes of
//! refused calls belongs here.
use http::StatusCode;

use super::{
    Admission, Call, CallLog, Decline, HeaderList, Reply, ReplyBody,
    litellm_headers::{KeyHeaders, LITELLM_VERSION, push},
    refusal_row, settle,
};
use crate::{
    auth::{Refusal, Stop},
    error::Dialect,
    limits,
};

/// What an admission returns whose caller was stopped.
pub(super) fn stopped(call: Call, stop: Stop) -> Admission {
    match stop {
        Stop::Refused(refusal) => refused(call, *refusal),
        Stop::Declined(reason) => Err(reason.into()),
    }
}

/// Answers with LiteLLM's status and body; such an answer has no header of LiteLLM's own.
fn refused(call: Call, refusal: Refusal) -> Admission {
    match refusal_row::of_authentication(&call, &refusal) {
        Ok(Some(record)) => call.services.control.ledger.submit(record),
        // a route without a body is no call: nobody asks for its row
        Err(_) if !call.body.is_empty() && settle::rows_wanted(&call) => return Err(Decline::SpendInDatabase.into()),
        Ok(None) | Err(_) => {}
    }
    let status: StatusCode = refusal.failure.status;
    let headers = [("content-type", "application/json")].into();
    let body = ReplyBody::Full(refusal.body());
    Ok(Box::pin(std::future::ready(Reply { status, headers, body, log: CallLog::default() })))
}

/// The answer to a call that a limit or a budget stopped. Budgets are judged where LiteLLM authenticates: such an answer is
/// like any other refusal there. `group`: the model asked for.
pub(super) fn over(
    call: &Call,
    (call_id, group): (&str, &str),
    key: &KeyHeaders,
    refusal: &limits::Refusal,
    route: Dialect,
) -> Reply {
    if let Some(record) = refusal_row::of_limits(call, call_id, group, refusal) {
        call.services.control.ledger.submit(record);
    }
    let dialect = refusal.dialect(route);
    let mut failure = refusal.failure(dialect);
    let mut headers = HeaderList::with_capacity(12);
    if !matches!(refusal, limits::Refusal::Budget { .. }) {
        refusal.headers(dialect).iter().for_each(|(name, value)| push(&mut headers, name, value));
        push(&mut headers, "x-litellm-call-id", call_id);
        if dialect == Dialect::Anthropic {
            push(&mut headers, "x-litellm-version", LITELLM_VERSION);
        }
        push(&mut headers, "x-litellm-response-cost", "0");
        key.push(&mut headers, 0.0);
        if call.snapshot.settings.call_id_in_error_body {
            failure.extra.insert("litellm_call_id".into(), call_id.into());
        }
        if let Some(id) = call.head.header("x-request-id").filter(|id| dialect == Dialect::Anthropic && !id.is_empty())
        {
            failure.extra.insert("request_id".into(), id.into());
        }
    }
    push(&mut headers, "content-type", "application/json");
    let log = CallLog { model_group: Some(group.to_owned()), ..CallLog::default() };
    Reply { status: failure.status, headers, body: ReplyBody::Full(failure.body(dialect)), log }
}
