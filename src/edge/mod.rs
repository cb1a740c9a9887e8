//! Pingora: listener, phases, pass-through, header and Host hygiene, body peeking, drain. The only module that sees a
//! Pingora type; native routes are given a [`crate::routes::Call`] and give back a [`crate::routes::Reply`].
//!
//! It must never change what goes to Python or comes back (`passthrough` lists what HTTP itself makes us change), never
//! read the body of a request that is not a native candidate, and never replay a request whose execution has begun.
pub mod admin;
mod bind;
mod body;
mod ctx;
pub mod decide;
pub mod drain;
mod front;
mod guard;
mod head;
pub mod health;
pub(crate) mod hygiene;
mod listener;
mod native;
mod page;
mod passthrough;
#[cfg(test)]
mod path_table_tests;
mod phases;
mod python;
mod record;
mod replay;
mod reply;
mod request_line;
mod state;
mod status;
mod tunnel;
mod upgrade;
mod version;

pub use bind::manifest_pages;
pub use decide::{Decider, Decision};
pub use listener::{Signals, StartError, run};
pub use python::{PythonAddress, PythonTarget};
pub use state::{Edge, EdgeConfig, ForwardedHeaders, Hooks, Task, TlsFiles};
pub use status::{ConfigRefused, status_pages};
pub use upgrade::UpgradeError;
