//! The parity suite: drives the Python gateway and the edge with the same cases through their public faces and
//! compares what a client, a provider, Postgres and Redis see. It must never use the inside of the edge.
//!
//! Pure: [`case`] (the format), [`observe`], [`normalise`], [`diff`], [`tolerated`], [`verdict`], [`canary`]. I/O:
//! [`client`] and [`provider`] (raw HTTP/1.1, so that framing, header case and cuts are seen and made), [`sdk`] (real clients), [`rows`],
//! [`redis`], [`gateway`] (who answers there), [`managed`] (starting and stopping the parts), [`run`] (the phases),
//! [`suite`] (a whole run), [`evidence`].
pub mod canary;
pub mod case;
pub mod client;
#[cfg(test)]
mod coverage_tests;
pub mod diff;
pub mod evidence;
pub mod fresh;
pub mod gateway;
pub mod http1;
pub mod managed;
#[cfg(feature = "faults")]
pub mod mutants;
pub mod normalise;
pub mod observe;
pub mod provider;
pub mod quiet;
pub mod record;
pub mod recorded;
pub mod redis;
pub mod report;
pub mod rows;
pub mod run;
pub mod sdk;
pub mod suite;
pub mod tolerated;
pub mod verdict;
pub mod websocket;
