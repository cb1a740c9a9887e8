//! What a stream costs that ended in any way (litellm_core_utils/streaming_handler.py, `stream_chunk_builder`, proxy/
//! common_request_processing.py `_bill_partial_streamed_spend_on_disconnect`): by the usage the provider told, else by
//! counting. Runs in the io runtime where it counts.
use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::price;
use crate::{
    config::Deployment,
    providers::openai::{error::Told, stream::Ended, usage::Usage},
    routes::settle::{Ending, Failing, Outcome},
    spend::{
        Failed, Meter, Shape,
        tokens::{Encoding, Prompt},
    },
};

/// A stream that is over.
pub(super) struct Bill {
    pub said: Ended,
    pub deployment: Arc<Deployment>,
    /// the request's body: the prompt is in it
    pub request: Bytes,
    pub first_token: Option<SystemTime>,
    pub ending: Ending,
    /// it broke off because the provider fell silent
    pub timed_out: bool,
}

impl Bill {
    /// Bytes of texts that have to be counted.
    pub(super) fn bytes(&self) -> usize {
        match &self.said.usage {
            None => self.request.len() + self.said.heard.size(),
            Some(_) if self.said.text_only => 0,
            Some(_) => self.said.heard.reasoning_size(),
        }
    }

    /// `None`: LiteLLM writes nothing either.
    pub(super) fn outcome(mut self, meter: Meter) -> Option<Outcome> {
        if self.said.empty {
            let failed = match self.ending {
                Ending::Failed(failed) => failed,
                _ => return None,
            };
            let failing = Failing {
                failed: *failed,
                shape: Shape::FailedStream,
                timed_out: self.timed_out,
                request: self.request,
                api_base: self.deployment.api_base.clone().unwrap_or_default(),
                deployment: self.deployment,
            };
            return failing.outcome(meter);
        }
        let usage = self.usage(meter)?;
        let (model, tier) = (self.said.model.as_deref(), self.said.service_tier.as_deref());
        let (usage, shape) = usage;
        let tokens = usage.tokens();
        let cost = price::cost(&self.deployment, model, tier, &tokens);
        let mut text = Vec::with_capacity(256);
        // what costs nothing is not stamped (main.py `_stamp_streaming_usage_cost`)
        usage.write(&mut text, cost.map(|cost| cost.total).filter(|cost| *cost > 0.0));
        Some(Outcome {
            shape: Some(shape),
            id: self.said.id?,
            api_base: self.deployment.api_base.clone().unwrap_or_default(),
            counts: (usage.prompt, usage.completion, usage.total),
            tokens,
            usage: String::from_utf8(text).unwrap_or_default(),
            cost: cost.unwrap_or_default(),
            uncached_input: price::uncached_input(&self.deployment, model, tier, &tokens),
            service_tier: self.said.service_tier,
            overhead_ms: None,
            first_token: self.first_token,
            ending: self.ending,
        })
    }

    fn usage(&mut self, meter: Meter) -> Option<(Usage<'static>, Shape)> {
        let reasoning = if self.said.text_only { Some(0) } else { self.said.heard.reasoning_tokens(meter) };
        let mut usage = match self.said.usage.take() {
            Some(usage) => usage,
            None => {
                let encoding = Encoding::of(&self.deployment.model)?;
                let prompt = Prompt::of_request(meter, encoding, &self.request);
                let completion = self.said.heard.tokens(meter, encoding) + reasoning.unwrap_or(0);
                Usage { prompt, completion, ..Usage::default() }
            }
        };
        usage.complete(reasoning);
        let bare = self.ending != Ending::Whole && usage.backfill();
        let left = bare && self.ending == Ending::Left;
        Some((usage, if left { Shape::StreamLeft } else { Shape::Stream }))
    }
}

/// A provider's failure as LiteLLM's row tells it.
pub(super) fn failed(told: &Told) -> Failed {
    let mut failed = Failed::litellm("openai", told.status, &told.message);
    if let Some(code) = &told.code {
        failed.code.clone_from(code);
    }
    failed
}
