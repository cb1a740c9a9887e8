//! The HTTP client to providers: pooled connections, TLS, timeouts, decompression. Knows nothing of LiteLLM or of any
//! provider's format, and never sends a request twice by itself once bytes of it went out.
mod client;
pub mod decode;
pub mod sse;

pub use client::{Body, Client, Failed, Request, Response};
