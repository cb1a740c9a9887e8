//! What a stream of messages costs that ended in any way (proxy/pass_through_endpoints/llm_provider_handlers/
//! anthropic_passthrough_logging_handler.py): by the usage it told; of one that broke off the output is counted. Runs in
//! the io runtime where it counts.
use std::{sync::Arc, time::SystemTime};

use super::execute::price;
use crate::{
    config::Deployment,
    providers::anthropic::transcript::Transcript,
    routes::settle::{Ending, Outcome},
    spend::{Cost, Failed, Meter, Shape, Usage, tokens::Encoding},
    upstream,
};

/// A stream that is over.
pub(super) struct Bill {
    pub id: String,
    pub deployment: Arc<Deployment>,
    pub api_base: String,
    /// as the stream told it
    pub tokens: Usage,
    pub has_cache_details: bool,
    pub transcript: Transcript,
    pub first_token: Option<SystemTime>,
    pub ending: Ending,
}

impl Bill {
    /// Bytes that have to be read and counted.
    pub(super) fn bytes(&self) -> usize {
        if self.transcript.is_plain() { 0 } else { self.transcript.size() }
    }

    pub(super) fn outcome(self, meter: Meter) -> Outcome {
        let (tokens, mut shape) = match self.transcript.is_plain() {
            true => (self.tokens, Shape::MessagesStream),
            false => counted(self.transcript, self.tokens, &self.deployment.model, meter),
        };
        if matches!(self.ending, Ending::Failed(_)) {
            shape = Shape::MessagesBroken;
        }
        let cost = price(&self.deployment, &tokens);
        let plain = Usage { cache_read: 0, cache_creation: 0, cache_creation_1h: 0, ..tokens };
        let written = tokens.cache_creation.saturating_sub(tokens.cache_creation_1h);
        let usage = match self.has_cache_details {
            false => String::new(),
            true => format!(
                r#"{{"cache_creation":{{"ephemeral_1h_input_tokens":{},"ephemeral_5m_input_tokens":{written}}}}}"#,
                tokens.cache_creation_1h
            ),
        };
        Outcome {
            // LiteLLM's row of a stream that was left does not say so
            ending: if self.ending == Ending::Left { Ending::Whole } else { self.ending },
            shape: Some(shape),
            id: self.id,
            api_base: self.api_base,
            counts: (tokens.prompt, tokens.completion, tokens.prompt + tokens.completion),
            tokens,
            usage,
            cost,
            uncached_input: price(&self.deployment, &plain).input,
            service_tier: None,
            overhead_ms: None,
            first_token: self.first_token,
        }
    }
}

/// A whole stream that never began and said nothing: it has a row of its own, by the call's id. `None`: it said something.
pub(super) fn silent(
    transcript: Transcript,
    call_id: String,
    api_base: String,
    first_token: Option<SystemTime>,
) -> Option<Outcome> {
    const USAGE: &str = r#"{"completion_tokens":0,"prompt_tokens":0,"total_tokens":0,
        "completion_tokens_details":{"text_tokens":0,"reasoning_tokens":0}}"#;
    let said = transcript.finish();
    (!said.unread && said.heard.is_empty()).then(|| Outcome {
        ending: Ending::Whole,
        shape: Some(Shape::StreamLeft),
        id: call_id,
        api_base,
        counts: (0, 0, 0),
        tokens: Usage::default(),
        usage: USAGE.to_owned(),
        cost: Cost::default(),
        uncached_input: 0.0,
        service_tier: None,
        overhead_ms: None,
        first_token,
    })
}

/// The tokens after what was said was read.
fn counted(transcript: Transcript, mut tokens: Usage, model: &str, meter: Meter) -> (Usage, Shape) {
    let said = transcript.finish();
    if said.unread {
        return (tokens, Shape::MessagesUnread);
    }
    if !said.interrupted {
        let reasoning = said.thinking.or_else(|| said.heard.reasoning_tokens(meter));
        tokens.reasoning = reasoning.unwrap_or(0).min(tokens.completion);
        return (tokens, Shape::MessagesStream);
    }
    let encoding = Encoding::of(model).filter(|_| !said.heard.is_empty());
    match encoding.map(|encoding| said.heard.tokens(meter, encoding)).filter(|counted| *counted > tokens.completion) {
        Some(counted) => (Usage { completion: counted, ..tokens }, Shape::MessagesCounted),
        None => (tokens, Shape::MessagesStream),
    }
}

/// A broken stream as LiteLLM's row tells it: httpx' exceptions have no status.
pub(super) fn broken(failed: &upstream::Failed, text: &str) -> Failed {
    let class = if matches!(failed, upstream::Failed::Timeout(_)) { "ReadTimeout" } else { "ReadError" };
    Failed::new(class, "", "", text)
}
