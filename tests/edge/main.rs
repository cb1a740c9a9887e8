//! The edge as its clients and the Python gateway see it, over real sockets: each trap of the proxy library and each
//! promise has a test. One target, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser;
mod browser_works;
mod child;
mod corpus;
mod failures;
mod gateway;
mod h2cases;
mod h2floods;
mod h2raw;
mod h2spec;
mod hostile;
mod http2;
mod memory;
mod monitoring;
mod native;
mod outage;
mod panics;
mod parity_record;
mod parity_report;
mod passthrough;
mod process;
mod recorder;
mod reload;
mod replay;
mod responses;
mod routes;
mod slow_clients;
mod status;
mod support;
mod tls;
mod traces;
mod upgrade;
mod websocket;
