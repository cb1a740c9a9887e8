//! Anthropic's `POST /v1/messages` for callers of `/v1/messages`: what LiteLLM changes on the way (llms/anthropic/
//! pass_through/messages). Owns the outgoing body and headers, the answer's model and usage, the relay of streams and
//! the texts of failures. Pure: it must never send anything, know an `x-litellm-*` header, or build a tree of a request.
pub mod error;
mod history;
mod request;
pub mod response;
pub mod stream;
mod thinking;
pub mod transcript;

pub use request::{Outgoing, outgoing};
