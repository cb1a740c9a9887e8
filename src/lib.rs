//! `litellm-rust`: an edge in front of the LiteLLM proxy. It serves migrated routes natively and passes every other
//! request to the Python gateway unchanged. `ARCHITECTURE.md` has the map; each module's head says what it owns.
//!
//! Arrows are one-way: cli -> edge -> routes -> {auth, router, spend} -> {providers, upstream} -> {config, store} ->
//! {json, telemetry, error}. `parity` uses the binary's public face, not its inside.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod auth;
pub mod base64;
pub mod capture;
pub mod cli;
pub mod config;
pub mod edge;
pub mod error;
pub mod faults;
#[cfg(any(test, fuzzing))] // cargo-fuzz sets it; nothing of it is in the gateway
pub mod fuzzing;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod parity;
pub mod percent;
pub mod providers;
pub mod router;
pub mod routes;
pub mod secret;
pub mod spend;
pub mod store;
pub mod telemetry;
pub mod upstream;
