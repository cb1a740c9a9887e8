//! The control plane on a real Postgres and Redis: faults in mid-traffic, the ledger, the schema, invalidation by a real
//! Python gateway, keys and secrets. The edge is the real binary; Postgres and Redis stand behind wires that can be cut,
//! slowed or made silent. `REFERENCE_VENV` names the environment that has them; `make` sets it. Without it these tests
//! fail, unless `WITHOUT_REFERENCE=1` leaves them out. A target of its own: its parts keep times, and must not share the processor with
//! two hundred other tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backing;
mod canary;
mod end_users;
mod faults;
#[path = "../edge/gateway.rs"]
#[allow(dead_code)]
mod gateway;
mod judge;
mod ledger;
mod models;
mod redis_faults;
#[path = "../edge/routes.rs"]
#[allow(dead_code)]
mod routes;
mod schema;
mod stack;
#[path = "../edge/support.rs"]
#[allow(dead_code)]
mod support;
mod tags;
mod traffic;
mod windows;
mod wire;
