//! Usage -> cost. Pure. It must never do I/O: rows and counters are written elsewhere.
pub mod cost;

pub use cost::{Cost, Pricing, Usage, cost};
