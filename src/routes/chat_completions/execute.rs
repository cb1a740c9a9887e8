//! The call itself: one request to the provider, then a whole answer, a stream or an error. Nothing here declines,
//! and nothing is sent twice.
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{
    Admitted,
    bill::failed,
    events::ChatEvents,
    headers::{self, Clock, Priced},
    price,
};
use crate::{
    error::{Dialect, Failure},
    faults::fault,
    limits::Reservation,
    providers::openai::{
        error::{Answered, Fault, RouterView, Told},
        response,
    },
    routes::{
        Call, CallLog, Reply, ReplyBody, litellm_headers,
        refused::over,
        settle::{Account, Ending, Failing, Kind, Outcome},
    },
    spend::{
        Shape,
        cost::python_float,
        tokens::{Encoding, Prompt},
    },
    upstream::{Failed, Request},
};

/// Most bytes of a provider's whole answer.
const MAX_ANSWER: usize = 256 << 20;

/// What all parts of an answer need.
pub(super) struct Context {
    pub call: Call,
    pub admitted: Admitted,
    pub call_id: String,
    /// taken by the settlement
    pub account: Option<Account>,
}

pub(super) async fn execute(call: Call, mut admitted: Admitted) -> Reply {
    let call_id = litellm_headers::call_id(call.head.header("x-litellm-call-id"));
    let kind =
        Kind { call_type: "acompletion", named: std::mem::take(&mut admitted.named), stream: admitted.prepared.stream };
    let counted = match admitted.limited.reserve().await {
        Ok(counted) => counted,
        Err(refusal) => return over(&call, (&call_id, &admitted.group), &admitted.key, &refusal, Dialect::OpenAi),
    };
    admitted.key.rates = counted.as_ref().map(Reservation::headers).unwrap_or_default();
    let account = Account::open(&call, &call_id, (&admitted.deployment, &admitted.group), kind, counted);
    let mut context = Context { call, admitted, call_id, account };
    let body = std::mem::take(&mut context.admitted.prepared.body);
    let request = Request {
        method: Method::POST,
        uri: context.admitted.uri.clone(),
        headers: std::mem::take(&mut context.admitted.headers),
        body: Bytes::from(body),
        timeout: context.admitted.timeout.duration,
    };
    let sent = Instant::now();
    let stream = context.admitted.prepared.stream;
    let answer = match context.call.services.upstream.send(request).await {
        Ok(answer) => answer,
        Err(failed) => {
            let fault = no_answer(&context, failed, sent, stream);
            return failed_reply(&mut context, &fault, None);
        }
    };
    let provider_ms = sent.elapsed().as_secs_f64() * 1e3;
    let status = answer.status;
    if stream && status.is_success() {
        let clock = Clock { started: context.call.started, provider_ms };
        return ChatEvents::start(context, answer, &clock).await;
    }
    let headers = answer.headers;
    let collected = answer.body.collect(MAX_ANSWER).await;
    let clock = Clock { started: context.call.started, provider_ms: sent.elapsed().as_secs_f64() * 1e3 };
    let body = match collected {
        Ok(body) => body,
        Err(failed) => {
            let fault = no_answer(&context, failed, sent, stream);
            return failed_reply(&mut context, &fault, None);
        }
    };
    if !status.is_success() {
        let fault = Fault::status(status.as_u16(), &body);
        if fault.is_output_limit() && !stream {
            let body = output_limit(&context).await;
            return whole(&mut context, &body, &headers, &clock);
        }
        return failed_reply(&mut context, &fault, Some(&headers));
    }
    whole(&mut context, &body, &headers, &clock)
}

/// LiteLLM adds the measured time only where it waited for a whole answer.
fn no_answer(context: &Context, failed: Failed, sent: Instant, stream: bool) -> Fault {
    match failed {
        Failed::Timeout(_) => {
            let measured = (context.admitted.timeout.float.as_str(), sent.elapsed().as_secs_f64());
            Fault::timeout((!stream).then_some(measured))
        }
        _ => Fault::connection(),
    }
}

/// LiteLLM answers a completion that ran out of its budget with an empty one, and counts its prompt.
async fn output_limit(context: &Context) -> Bytes {
    let message = json!({"role": "assistant", "content": ""});
    let model = &context.admitted.deployment.model;
    let mut body = json!({
        "model": model, "choices": [{"index": 0, "finish_reason": "length", "message": message}],
    });
    if let Some(encoding) = Encoding::of(model) {
        let request = context.call.body.clone();
        let count = move |meter| Prompt::of_request(meter, encoding, &request);
        let counting = &context.call.services.control.counting;
        let prompt = counting.answer(context.call.body.len(), count).await.unwrap_or(0);
        let usage = json!({"completion_tokens": 0, "prompt_tokens": prompt, "total_tokens": prompt});
        body.as_object_mut().map(|body| body.insert("usage".into(), usage));
    }
    Bytes::from(body.to_string())
}

fn whole(context: &mut Context, body: &[u8], headers: &HeaderMap, clock: &Clock) -> Reply {
    let admitted = &context.admitted;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let done = match response::transform(body, content_type, admitted.requested.as_deref(), context.call.now) {
        Ok(done) => done,
        Err(fault) => return failed_reply(context, &fault, None),
    };
    let account = context.account.take();
    let context = &*context;
    let admitted = &context.admitted;
    let cost = price::cost(&admitted.deployment, done.model.as_deref(), done.service_tier.as_deref(), &done.usage);
    let priced = Priced { cost: cost.as_ref(), usage: &done.usage };
    let mut list = headers::success(admitted, &context.call_id, headers, Some(&priced), clock);
    let kind = if fault!(ContentType) { "application/json; charset=utf-8" } else { "application/json" };
    list.push_first("content-type", kind);
    let log = CallLog {
        prompt_tokens: Some(done.usage.prompt),
        completion_tokens: Some(done.usage.completion),
        cost: cost.map(|cost| cost.total),
        provider_ms: Some(clock.provider_ms),
        ..log(admitted)
    };
    if let Some(account) = account {
        let (model, tier) = (done.model.as_deref(), done.service_tier.as_deref());
        account.settle(Outcome {
            ending: Ending::Whole,
            shape: None,
            api_base: json_base(admitted),
            uncached_input: price::uncached_input(&admitted.deployment, model, tier, &done.usage),
            id: done.id,
            counts: done.counts,
            tokens: done.usage,
            usage: done.usage_text,
            cost: cost.unwrap_or_default(),
            service_tier: done.service_tier,
            overhead_ms: Some(headers::overhead_ms(clock)),
            first_token: None,
        });
    }
    Reply { status: StatusCode::OK, headers: list, body: ReplyBody::Full(Bytes::from(done.body)), log }
}

/// `api_base` of the spend log: the SDK's base url, which ends in a slash.
fn json_base(admitted: &Admitted) -> String {
    format!("{}/", admitted.uri.to_string().trim_end_matches("/chat/completions"))
}

/// The access log's part that is known from the start.
pub(super) fn log(admitted: &Admitted) -> CallLog {
    CallLog {
        model_group: Some(admitted.group.clone()),
        deployment_id: Some(admitted.deployment.id.clone()),
        provider: Some("openai"),
        ..CallLog::default()
    }
}

/// An error while the router still had the call. `provider`: the headers of an answer with an error status.
fn failed_reply(context: &mut Context, fault: &Fault, provider: Option<&HeaderMap>) -> Reply {
    let account = context.account.take();
    let admitted = &context.admitted;
    let deployment_timeout = admitted.deployment.timeout.map(|timeout| python_float(timeout.as_secs_f64()));
    let told = fault
        .tell(Some(RouterView { model_group: &admitted.group, deployment_timeout: deployment_timeout.as_deref() }));
    if let Some(account) = account {
        let mut failed = failed(&told);
        failed.provider_request_id = provider.and_then(litellm_headers::provider_request_id);
        account.fail(Failing {
            failed,
            shape: Shape::Failed,
            timed_out: fault.is_timeout(),
            request: context.call.body.clone(),
            deployment: admitted.deployment.clone(),
            api_base: admitted.deployment.api_base.clone().unwrap_or_default(),
        });
    }
    let shown = told.shows_timeout.then_some(admitted.timeout.shown.as_str());
    let provider = provider.filter(|_| fault.answered == Answered::Status);
    let headers = match told.bare {
        true => [("content-type", "application/json")].into(),
        false => headers::error(&context.call_id, &admitted.key, provider, shown),
    };
    let body = error_body(&told, context.call.snapshot.settings.call_id_in_error_body.then_some(&context.call_id));
    let status = if fault!(ErrorStatus) { 500 } else { told.status };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Reply { status, headers, body: ReplyBody::Full(body), log: log(admitted) }
}

/// `{"error":{...}}` as LiteLLM's JSON responses have it.
pub(super) fn error_body(told: &Told, call_id: Option<&String>) -> Bytes {
    if told.bare {
        return Bytes::from(json!({"error": {"message": told.message, "type": told.kind}}).to_string());
    }
    let mut extra = Map::new();
    if let Some(id) = call_id {
        extra.insert("litellm_call_id".into(), Value::String(id.clone()));
    }
    let failure = Failure {
        status: StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        message: told.message.clone(),
        kind: told.kind.clone().filter(|_| !fault!(ErrorType)),
        param: if fault!(ErrorParam) { Some("model".into()) } else { told.param.clone() },
        code: Some(told.status.to_string()).filter(|_| !fault!(ErrorCode)),
        extra,
        retry_after: None,
    };
    failure.body(Dialect::OpenAi)
}
