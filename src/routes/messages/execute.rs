//! One admitted call: send, read, answer.
use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use super::{
    Admitted,
    headers::{self, Clock},
    relay::{First, Relay},
};
use crate::{
    config::Deployment,
    error::{Dialect, Failure},
    faults::fault,
    limits::Reservation,
    providers::anthropic::{
        error,
        response::{self, Answer, Unreadable},
    },
    routes::{
        Call, CallLog, Reply, ReplyBody, litellm_headers,
        refused::over,
        settle::{Account, Ending, Failing, Kind, Outcome},
    },
    spend::{self, Cost, Shape, Usage},
    upstream::{self, Failed, Request, Response},
};

/// Most bytes of a JSON answer or an error text.
const MOST_BODY: usize = 256 << 20;

pub(super) async fn execute(call: Call, mut admitted: Admitted) -> Reply {
    let counted = match admitted.limited.reserve().await {
        Ok(counted) => counted,
        Err(refusal) => {
            return over(&call, (&admitted.call_id, &admitted.group), &admitted.key, &refusal, Dialect::Anthropic);
        }
    };
    admitted.key.rates = counted.as_ref().map(Reservation::headers).unwrap_or_default();
    let kind = Kind {
        call_type: "anthropic_messages",
        named: std::mem::take(&mut admitted.named),
        stream: admitted.outgoing.stream,
    };
    admitted.account = Account::open(&call, &admitted.call_id, (&admitted.deployment, &admitted.group), kind, counted);
    let sent = Instant::now();
    if fault!(SecondAttempt) {
        let _ = send(&call, &admitted, admitted.outgoing.body.clone()).await;
    }
    let first = send(&call, &admitted, admitted.outgoing.body.clone()).await;
    let answer = match again_without_thinking(&call, &admitted, first).await {
        Ok(answer) => answer,
        Err(failure) => return refuse(&call, &mut admitted, failure, &sent),
    };
    let clock = Clock { started: call.started, provider_ms: millis(&sent) };
    if admitted.outgoing.stream {
        return stream(&call, admitted, answer, clock).await;
    }
    let framing = Framing::of(&answer.headers);
    let mut incoming = answer.body;
    let body = match incoming.read(MOST_BODY).await {
        Ok(body) => body,
        Err(failed) => {
            let failure = broken(&admitted, &failed, &framing.cut(incoming.received()), &sent);
            return refuse(&call, &mut admitted, failure, &sent);
        }
    };
    json(&call, &mut admitted, &body, &sent)
}

/// One call, and a second where the provider reset the first before it answered: LiteLLM's HTTP client does so
/// (llms/custom_httpx/http_handler.py, `AsyncHTTPHandler.post`), once for each call.
async fn send(call: &Call, admitted: &Admitted, body: Bytes) -> Result<Response, Failed> {
    let request = || Request {
        method: Method::POST,
        uri: admitted.outgoing.uri.clone(),
        headers: admitted.outgoing.headers.iter().cloned().collect(),
        body: body.clone(),
        timeout: admitted.timeout,
    };
    match call.services.upstream.send(request()).await {
        Err(Failed::Reset) => call.services.upstream.send(request()).await,
        answer => answer,
    }
}

/// A 2xx answer, or what the caller is told. LiteLLM tries once more where Anthropic refused a thinking block.
async fn again_without_thinking(
    call: &Call,
    admitted: &Admitted,
    first: Result<Response, Failed>,
) -> Result<Response, Failure> {
    let (status, text) = match judge(admitted, first).await? {
        Ok(answer) => return Ok(answer),
        Err((status, text)) => (status, text),
    };
    if !error::is_thinking_refused(status, &text, admitted.outgoing.wants_binding_error) {
        return Err(error::refused(status, &text, &admitted.group));
    }
    let Some(body) = response::without_thinking(&admitted.outgoing.body) else {
        return Err(error::refused(status, &text, &admitted.group));
    };
    let second = send(call, admitted, body.into()).await;
    match judge(admitted, second).await? {
        Ok(answer) => Ok(answer),
        Err((status, text)) => Err(error::refused(status, &text, &admitted.group)),
    }
}

/// A 2xx answer, or a refusal: status and text.
type Judged = Result<Response, (u16, String)>;

async fn judge(admitted: &Admitted, answer: Result<Response, Failed>) -> Result<Judged, Failure> {
    let sent = Instant::now();
    let answer = answer.map_err(|failed| broken(admitted, &failed, "", &sent))?;
    if answer.status.is_success() {
        return Ok(Ok(answer));
    }
    let status = answer.status.as_u16();
    if let Some(id) = litellm_headers::provider_request_id(&answer.headers) {
        // of two attempts the first
        let _ = admitted.provider_request_id.set(id);
    }
    let framing = Framing::of(&answer.headers);
    let mut incoming = answer.body;
    match incoming.read(MOST_BODY).await {
        Ok(body) => Ok(Err((status, String::from_utf8_lossy(&body).into_owned()))),
        Err(failed) => Err(broken(admitted, &failed, &framing.cut(incoming.received()), &sent)),
    }
}

/// How the provider's body was delimited: Python names it when the body is cut.
pub(super) enum Framing {
    Length(u64),
    Chunked,
    Unknown,
}

impl Framing {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        match length {
            Some(length) => Framing::Length(length),
            None if headers.contains_key(header::TRANSFER_ENCODING) => Framing::Chunked,
            None => Framing::Unknown,
        }
    }

    /// aiohttp's words for a body that was cut after `received` bytes.
    pub(super) fn cut(&self, received: u64) -> String {
        let what = match self {
            Framing::Length(length) => format!(
                "<ContentLengthError: 400, message='Not enough data to satisfy content length header (received {received} of {length} bytes).'>"
            ),
            _ => "<TransferEncodingError: 400, message='Not enough data to satisfy transfer length header.'>".into(),
        };
        format!("Response payload is not completed: {what}")
    }
}

/// `cut`: what is said of a body that ended too early.
fn broken(admitted: &Admitted, failed: &Failed, cut: &str, since: &Instant) -> Failure {
    let group = &admitted.group;
    match failed {
        Failed::Timeout(_) => {
            let passed = if admitted.default_timeout {
                "Timeout(connect=5.0, read=600.0, write=600.0, pool=600.0)".to_owned()
            } else {
                spend::cost::python_float(admitted.timeout.as_secs_f64())
            };
            let taken = (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
            let taken = spend::cost::python_float(taken);
            let text =
                format!("litellm.Timeout: Connection timed out. Timeout passed={passed}, time taken={taken} seconds");
            error::refused(StatusCode::REQUEST_TIMEOUT.as_u16(), &text, group)
        }
        Failed::Connect => {
            let uri = &admitted.outgoing.uri;
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            // the address of Python's TLS context stands here; any will do
            let context = "<ssl.SSLContext object at 0x000000000000>";
            let text =
                format!("Cannot connect to host {host}:{port} ssl:{context} [Connect call failed ('{host}', {port})]");
            error::broken(&text, group)
        }
        Failed::Disconnected => error::broken("Server disconnected", group),
        Failed::Reset => error::broken("[Errno 104] Connection reset by peer", group),
        Failed::Cut => error::broken(cut, group),
        Failed::TooLarge(_) => error::broken("Response payload is too large", group),
    }
}

fn json(call: &Call, admitted: &mut Admitted, body: &[u8], sent: &Instant) -> Reply {
    let answer = match response::answer(body, &admitted.group) {
        Ok(answer) => answer,
        Err(Unreadable::NotJson) => {
            let failure = error::refused(200, &String::from_utf8_lossy(body), &admitted.group);
            return refuse(call, admitted, failure, sent);
        }
        Err(Unreadable::NotAnObject(kind)) => return refuse(call, admitted, error::not_an_object(kind), sent),
    };
    let account = admitted.account.take();
    let admitted = &*admitted;
    let cost = answer.usage.as_ref().map(|usage| priced(admitted, &answer, usage));
    let clock = Clock { started: call.started, provider_ms: millis(sent) };
    let log = log(admitted, answer.usage.as_ref(), cost.as_ref(), clock.provider_ms);
    let headers = headers::json(admitted, cost.as_ref(), &clock);
    // of an answer that says nothing of its usage LiteLLM writes nothing
    let account = account.filter(|_| !answer.usage_text.is_empty());
    if let (Some(account), Some(usage), Some(id)) = (account, answer.usage, answer.id.clone()) {
        let plain = Usage { cache_read: 0, cache_creation: 0, cache_creation_1h: 0, ..usage };
        account.settle(Outcome {
            ending: Ending::Whole,
            shape: None,
            id,
            api_base: admitted.outgoing.uri.to_string(),
            counts: (usage.prompt, usage.completion, usage.prompt + usage.completion),
            tokens: usage,
            usage: answer.usage_text.clone(),
            cost: cost.unwrap_or_default(),
            uncached_input: priced(admitted, &answer, &plain).input,
            service_tier: None,
            overhead_ms: Some(headers::overhead_ms(&clock)),
            first_token: None,
        });
    }
    let Answer { body, .. } = answer;
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Full(body.into()), log }
}

/// US dollars of a JSON answer: by the model it names (unless the configuration sets a price), with surcharges
/// (llms/anthropic/cost_calculation.py).
fn priced(admitted: &Admitted, answer: &Answer, usage: &Usage) -> Cost {
    let deployment = &admitted.deployment;
    let pricing = deployment.pricing_for(answer.model.as_deref());
    let mut cost = pricing.map(|pricing| spend::cost(&pricing, usage)).unwrap_or_default();
    let entry = deployment.model_info.get("provider_specific_entry");
    for word in answer.surcharges.iter().flatten() {
        let factor = entry.and_then(|entry| entry.get(word)).and_then(serde_json::Value::as_f64).unwrap_or(1.0);
        for part in [&mut cost.input, &mut cost.output, &mut cost.cache_read, &mut cost.cache_creation, &mut cost.total]
        {
            *part *= factor;
        }
    }
    // llms/anthropic/cost_calculation.py `get_cost_for_anthropic_web_search`
    let per_search = deployment
        .model_info
        .get("search_context_cost_per_query")
        .and_then(|prices| prices.get("search_context_size_medium")?.as_f64());
    cost.tools = answer.web_searches as f64 * per_search.unwrap_or(0.0);
    cost.total += cost.tools;
    cost
}

/// US dollars; a model without a price costs nothing.
pub(super) fn price(deployment: &Deployment, usage: &Usage) -> Cost {
    deployment.pricing.as_ref().map(|pricing| spend::cost(pricing, usage)).unwrap_or_default()
}

pub(super) fn log(admitted: &Admitted, usage: Option<&Usage>, cost: Option<&Cost>, provider_ms: f64) -> CallLog {
    CallLog {
        model_group: Some(admitted.group.clone()),
        deployment_id: Some(admitted.deployment.id.clone()),
        provider: Some("anthropic"),
        prompt_tokens: usage.map(|usage| usage.prompt),
        completion_tokens: usage.map(|usage| usage.completion),
        cost: cost.map(|cost| cost.total),
        provider_ms: Some(provider_ms),
    }
}

async fn stream(call: &Call, admitted: Admitted, answer: upstream::Response, clock: Clock) -> Reply {
    let Admitted { call_id, deployment, group, key, .. } = &admitted;
    let mut headers = headers::stream(call_id, deployment, group, &answer.headers, &clock, key);
    let provider_ms = clock.provider_ms;
    let mut relay = Relay::new(admitted, answer, provider_ms);
    match relay.first(&call.body).await {
        First::Stream => {
            headers::push_event_stream(&mut headers);
            let log = relay.known();
            Reply { status: StatusCode::OK, headers, body: ReplyBody::Stream(Box::new(relay)), log }
        }
        First::Failed(failure) => {
            headers.push("content-type", "application/json");
            let body = ReplyBody::Full(failure.body(Dialect::Anthropic));
            Reply { status: failure.status, headers, body, log: relay.known() }
        }
        First::Answer(status, body) => {
            headers.push("content-type", "application/json");
            Reply { status, headers, body: ReplyBody::Full(body.into()), log: relay.known() }
        }
    }
}

fn refuse(call: &Call, admitted: &mut Admitted, mut failure: Failure, sent: &Instant) -> Reply {
    if let Some(account) = admitted.account.take() {
        let status = failure.status.as_u16();
        let mut failed = spend::Failed::litellm("anthropic", status, &failure.message);
        failed.provider_request_id = admitted.provider_request_id.get().cloned();
        account.fail(Failing {
            failed,
            shape: Shape::MessagesFailed,
            timed_out: error::is_timeout(&failure),
            request: call.body.clone(),
            deployment: Arc::clone(&admitted.deployment),
            api_base: admitted.outgoing.uri.to_string(),
        });
    }
    let admitted = &*admitted;
    let headers = headers::error(admitted);
    if call.snapshot.settings.call_id_in_error_body {
        let id = headers.get("x-litellm-call-id").map(str::to_owned);
        failure.extra.insert("litellm_call_id".into(), id.into());
    }
    if let Some(id) = call.head.header("x-request-id").filter(|id| !id.is_empty()) {
        failure.extra.insert("request_id".into(), id.into());
    }
    failure.kind = failure.kind.filter(|_| !fault!(ErrorTypeAnthropic));
    let log = log(admitted, None, None, millis(sent));
    Reply { status: failure.status, headers, body: ReplyBody::Full(failure.body(Dialect::Anthropic)), log }
}

fn millis(since: &Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
