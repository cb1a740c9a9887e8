//! One folder a provider: request, response, stream and error transforms. Pure: bytes in, bytes out, no I/O, the
//! clock is an argument.
pub mod anthropic;
pub mod openai;
