//! A streamed answer: the provider's events through `ChunkTransform`, as they come. The head of the reply is made
//! once the first event for the client is there, so that a failure before it has a status of its own.
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::json;

use super::{
    bill::{Bill, failed},
    execute::{Context, error_body, log},
    headers::{self, Clock},
    price,
};
use crate::{
    faults::fault,
    providers::openai::{error::Fault, python, stream::ChunkTransform},
    routes::{CallLog, EventStream, Reply, ReplyBody, settle::Ending},
    upstream::{Body, Failed, Response, sse::Decoder},
};

/// Most bytes of one event.
const MAX_EVENT: usize = 32 << 20;
/// How long the end of a finished answer is waited for, so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) struct ChatEvents {
    context: Context,
    /// `None`: the provider's answer is over
    body: Option<Body>,
    /// `content-length` of the answer; `None`: chunked
    length: Option<String>,
    events: Decoder,
    chunks: ChunkTransform,
    /// made while the head was waited for
    first: Option<Bytes>,
    provider_ms: f64,
    first_token: Option<SystemTime>,
    /// the provider fell silent
    timed_out: bool,
}

/// What one look at the stream gave.
enum Step {
    Bytes(Bytes),
    Failed(Vec<u8>, Fault),
    End,
}

impl ChatEvents {
    /// Waits for the first event for the client; an error before it is a JSON error.
    pub(super) async fn start(context: Context, answer: Response, clock: &Clock) -> Reply {
        let admitted = &context.admitted;
        let mut list = headers::success(admitted, &context.call_id, &answer.headers, None, clock);
        let model = admitted.requested.as_deref().filter(|model| !model.is_empty()).unwrap_or(&admitted.group);
        let mut events = Self {
            length: answer.headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()).map(str::to_owned),
            events: Decoder::new(MAX_EVENT),
            chunks: ChunkTransform::new(model, admitted.prepared.client_usage && !fault!(LostStreamUsage)),
            body: Some(answer.body),
            first: None,
            provider_ms: clock.provider_ms,
            first_token: None,
            timed_out: false,
            context,
        };
        if events.context.account.is_some() {
            events.chunks.listen();
        }
        match events.step().await {
            Step::Failed(given, fault) if given.is_empty() => {
                list.push("content-type", "application/json");
                let told = fault.tell(None);
                let settings = &events.context.call.snapshot.settings;
                let body = error_body(&told, settings.call_id_in_error_body.then_some(&events.context.call_id));
                let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Reply { status, headers: list, body: ReplyBody::Full(body), log: events.log() };
            }
            step => {
                events.first_token.get_or_insert_with(SystemTime::now);
                events.first = events.bytes(step);
            }
        }
        list.push("cache-control", "no-cache");
        list.push("x-accel-buffering", "no");
        list.push("content-type", "text/event-stream; charset=utf-8");
        let log = events.log();
        Reply { status: StatusCode::OK, headers: list, body: ReplyBody::Stream(Box::new(events)), log }
    }

    fn bytes(&mut self, step: Step) -> Option<Bytes> {
        match step {
            Step::Bytes(bytes) => Some(bytes),
            Step::End => None,
            Step::Failed(mut given, fault) => {
                given.extend_from_slice(&error_frame(&fault));
                Some(Bytes::from(given))
            }
        }
    }

    /// Reads until there is something for the client.
    async fn step(&mut self) -> Step {
        let mut out = Vec::new();
        loop {
            match self.buffered(&mut out) {
                Ok(true) => return self.finish(out),
                Ok(false) if !out.is_empty() => return Step::Bytes(Bytes::from(out)),
                Ok(false) => {}
                Err(fault) => return self.fail(out, fault),
            }
            let Some(body) = &mut self.body else { return Step::End };
            let part = match body.chunk().await {
                None => return self.finish(out),
                Some(Ok(part)) => part,
                Some(Err(Failed::Timeout(_))) => {
                    return self.fail(out, Fault::in_stream("Timeout on reading data from socket"));
                }
                // a provider that cuts the connection after the finish reason has said all it had to
                Some(Err(_)) if self.chunks.is_finished() => return self.finish(out),
                Some(Err(_)) => return self.cut(out),
            };
            self.events.push(&part);
            out.reserve(part.len() + 256); // most events are about as long as they were
        }
    }

    /// Transforms the events that are there. `true`: `[DONE]` came.
    fn buffered(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        while let Some(event) = self.events.next_event() {
            let event = event.map_err(|error| Fault::in_stream(error.to_string()))?;
            let named = || event.name().map(|_| Cow::Borrowed(&b""[..]));
            let Some(data) = event.data().or_else(named) else { continue };
            if data.starts_with(b"[DONE]") {
                return Ok(true);
            }
            self.chunks.event(&data, std::time::SystemTime::now(), out)?;
        }
        Ok(false)
    }

    fn fail(&mut self, given: Vec<u8>, fault: Fault) -> Step {
        self.body = None;
        self.timed_out = fault.is_timeout();
        self.settle(Ending::Failed(Box::new(failed(&fault.tell(None)))));
        Step::Failed(given, fault)
    }

    fn cut(&mut self, given: Vec<u8>) -> Step {
        let text = match &self.length {
            None => "<TransferEncodingError: 400, message='Not enough data to satisfy transfer length header.'>".into(),
            Some(length) => format!(
                "<ContentLengthError: 400, message='Not enough data to satisfy content length header \
                 (received {} of {length} bytes).'>",
                self.body.as_ref().map_or(0, Body::received)
            ),
        };
        self.fail(given, Fault::in_stream(format!("Response payload is not completed: {text}")))
    }

    fn finish(&mut self, mut out: Vec<u8>) -> Step {
        if let Some(mut body) = self.body.take() {
            // the terminating chunk usually follows `[DONE]`: read it, so that the connection goes back to the pool
            tokio::spawn(async move {
                let _ = tokio::time::timeout(DRAIN, async { while let Some(Ok(_)) = body.chunk().await {} }).await;
            });
        }
        let (_, model, tier) = self.chunks.settled();
        let (model, tier) = (model.map(str::to_owned), tier.map(str::to_owned));
        let deployment = &self.context.admitted.deployment;
        let cost = |usage: &crate::providers::openai::usage::Usage<'_>| {
            price::cost(deployment, model.as_deref(), tier.as_deref(), &usage.tokens()).map(|cost| cost.total)
        };
        self.chunks.finish(std::time::SystemTime::now(), cost, &mut out);
        self.settle(Ending::Whole);
        Step::Bytes(Bytes::from(out))
    }
}

impl ChatEvents {
    /// Bills the stream as it ended.
    fn settle(&mut self, ending: Ending) {
        let Some(account) = self.context.account.take() else { return };
        let bill = Bill {
            said: self.chunks.ended(),
            deployment: Arc::clone(&self.context.admitted.deployment),
            request: self.context.call.body.clone(),
            first_token: self.first_token,
            ending,
            timed_out: self.timed_out,
        };
        account.settle_counted(bill.bytes(), move |meter| bill.outcome(meter));
    }
}

impl Drop for ChatEvents {
    /// The client left, or the edge stops.
    fn drop(&mut self) {
        self.settle(Ending::Left);
    }
}

/// LiteLLM's error event; the stream ends after it, without `[DONE]`.
fn error_frame(fault: &Fault) -> Vec<u8> {
    let told = fault.tell(None);
    let error = json!({"error": {
        "message": told.message, "type": told.kind, "param": told.param, "code": told.status.to_string(),
    }});
    format!("data: {}\n\n", python::dumps(&error)).into_bytes()
}

#[async_trait::async_trait]
impl EventStream for ChatEvents {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        self.body.as_ref()?;
        let step = self.step().await;
        self.bytes(step)
    }

    fn log(&self) -> CallLog {
        let (usage, model, tier) = self.chunks.settled();
        let tokens = usage.map(|usage| usage.tokens());
        let cost = tokens.and_then(|tokens| price::cost(&self.context.admitted.deployment, model, tier, &tokens));
        CallLog {
            prompt_tokens: tokens.map(|tokens| tokens.prompt),
            completion_tokens: tokens.map(|tokens| tokens.completion),
            cost: cost.map(|cost| cost.total),
            provider_ms: Some(self.provider_ms),
            ..log(&self.context.admitted)
        }
    }
}
