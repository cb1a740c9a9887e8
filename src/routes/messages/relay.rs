//! A streamed answer on its way to the caller: bytes as they come, pings into silence, one error event when the
//! provider breaks off. Dropping it aborts the provider's answer.
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    Admitted,
    bill::{self, Bill},
    execute::{Framing, log, price},
};
use crate::{
    error::{Dialect, Failure},
    providers::anthropic::{
        error,
        stream::{PING, Restamper, Tail, UsageNote, first_chunk_error},
        transcript::Transcript,
    },
    routes::{
        CallLog, EventStream,
        settle::{Ending, Failing},
    },
    spend::Shape,
    upstream::{Body, Failed, Response},
};

/// `litellm.anthropic_sse_ping_interval_seconds`.
const PING_EVERY: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(15) };

/// How a stream begins. LiteLLM waits for the first chunk before it answers.
pub(super) enum First {
    Stream,
    /// broken before anything came: an ordinary error answer
    Failed(Failure),
    /// the provider's first chunk was an error with a status of its own
    Answer(StatusCode, Vec<u8>),
}

pub(super) struct Relay {
    admitted: Admitted,
    body: Body,
    framing: Framing,
    restamper: Restamper,
    usage: UsageNote,
    /// for a bill
    transcript: Transcript,
    tail: Tail,
    /// ready for the caller, in order
    ready: VecDeque<Bytes>,
    ended: bool,
    /// the provider's silence is measured over pings
    last_bytes: Instant,
    provider_ms: f64,
    first_token: Option<SystemTime>,
}

enum Piece {
    Bytes(Bytes),
    Ping,
    End,
    Failed(Failed),
}

impl Relay {
    pub(super) fn new(admitted: Admitted, answer: Response, provider_ms: f64) -> Self {
        let restamper = Restamper::new(admitted.group.clone());
        Self {
            framing: Framing::of(&answer.headers),
            admitted,
            body: answer.body,
            restamper,
            usage: UsageNote::default(),
            transcript: Transcript::default(),
            tail: Tail::default(),
            ready: VecDeque::new(),
            ended: false,
            last_bytes: Instant::now(),
            provider_ms,
            first_token: None,
        }
    }

    /// Waits for the first chunk (or the first ping).
    pub(super) async fn first(&mut self, request: &Bytes) -> First {
        match self.piece().await {
            Piece::Failed(failed) => {
                self.ended = true;
                let text = self.broken(&failed);
                if let Some(account) = self.admitted.account.take() {
                    account.fail(Failing {
                        failed: bill::broken(&failed, &text),
                        shape: Shape::MessagesUnbegun,
                        timed_out: false,
                        request: request.clone(),
                        deployment: Arc::clone(&self.admitted.deployment),
                        api_base: String::new(),
                    });
                }
                return First::Failed(error::stream_broken(&text));
            }
            Piece::Bytes(bytes) => {
                let out = self.take(bytes);
                if let Some((code, body)) = first_chunk_error(&out) {
                    self.ended = true;
                    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return First::Answer(status, body);
                }
                self.give(out);
            }
            Piece::Ping => self.ready.push_back(PING),
            Piece::End => self.end(),
        }
        First::Stream
    }

    /// What is known of the call so far.
    pub(super) fn known(&self) -> CallLog {
        let usage = &self.usage.usage;
        log(&self.admitted, Some(usage), Some(&price(&self.admitted.deployment, usage)), self.provider_ms)
    }

    async fn piece(&mut self) -> Piece {
        let silence_ends = self.last_bytes + self.admitted.timeout;
        let ping_at = Instant::now() + PING_EVERY;
        tokio::select! {
            biased;
            chunk = self.body.chunk() => match chunk {
                Some(Ok(bytes)) => {
                    self.last_bytes = Instant::now();
                    Piece::Bytes(bytes)
                }
                Some(Err(failed)) => Piece::Failed(failed),
                None => Piece::End,
            },
            () = tokio::time::sleep_until(silence_ends.min(ping_at)) => {
                if silence_ends <= ping_at { Piece::Failed(Failed::Timeout(self.admitted.timeout)) } else { Piece::Ping }
            }
        }
    }

    /// Received bytes become the caller's.
    fn take(&mut self, bytes: Bytes) -> Bytes {
        self.first_token.get_or_insert_with(SystemTime::now);
        self.usage.push(&bytes);
        if self.admitted.account.is_some() {
            self.transcript.push(&bytes);
        }
        self.restamper.push(bytes)
    }

    fn give(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.tail.push(&bytes);
            self.ready.push_back(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        let rest = self.restamper.finish();
        self.give(rest);
        self.settle(Ending::Whole);
    }

    /// Bills the stream as it ended.
    fn settle(&mut self, ending: Ending) {
        let Some(account) = self.admitted.account.take() else { return };
        let Some(id) = self.usage.id.clone() else {
            if ending == Ending::Whole && self.first_token.is_some() {
                let (transcript, call_id) = (std::mem::take(&mut self.transcript), self.admitted.call_id.clone());
                let (api_base, first_token) = (self.admitted.outgoing.uri.to_string(), self.first_token);
                account.settle_counted(0, move |_| bill::silent(transcript, call_id, api_base, first_token));
            }
            return;
        };
        let bill = Bill {
            id,
            deployment: Arc::clone(&self.admitted.deployment),
            api_base: self.admitted.outgoing.uri.to_string(),
            tokens: self.usage.usage,
            has_cache_details: self.usage.has_cache_details,
            transcript: std::mem::take(&mut self.transcript),
            first_token: self.first_token,
            ending,
        };
        account.settle_counted(bill.bytes(), move |meter| Some(bill.outcome(meter)));
    }

    /// The event a broken stream ends with (`AnthropicErrorSseFrame`).
    fn break_off(&mut self, failed: &Failed) {
        self.ended = true;
        let text = self.broken(failed);
        self.settle(Ending::Failed(Box::new(bill::broken(failed, &text))));
        let body = error::stream_broken(&text).body(Dialect::Anthropic);
        let mut frame = self.tail.seal();
        frame.extend_from_slice(b"event: error\ndata: ");
        frame.extend_from_slice(&body);
        frame.extend_from_slice(b"\n\n");
        self.ready.push_back(frame.into());
    }

    fn broken(&self, failed: &Failed) -> String {
        match failed {
            Failed::Timeout(_) => "Timeout on reading data from socket".into(),
            _ => self.framing.cut(self.body.received()),
        }
    }
}

impl Drop for Relay {
    /// The client left, or the edge stops.
    fn drop(&mut self) {
        self.settle(Ending::Left);
    }
}

#[async_trait::async_trait]
impl EventStream for Relay {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            match self.piece().await {
                Piece::Bytes(bytes) => {
                    let out = self.take(bytes);
                    self.give(out);
                }
                // LiteLLM's timer does not look at frames: neither the tail nor the restamper hears of its own pings
                Piece::Ping => return Some(PING),
                Piece::End => self.end(),
                Piece::Failed(failed) => self.break_off(&failed),
            }
        }
    }

    fn log(&self) -> CallLog {
        self.known()
    }
}
