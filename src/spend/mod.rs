//! Usage -> cost -> rows. Prices and folding are pure; what is written goes through the one [`Ledger`].
pub mod batch;
pub mod cost;
pub mod counting;
pub mod heard;
pub mod ledger;
pub mod metadata;
pub mod model_map;
pub mod record;
pub mod tokens;
pub mod trouble;

pub use cost::{Cost, Pricing, Usage, cost};
pub use counting::{Counting, Meter};
pub use heard::Heard;
pub use ledger::Ledger;
pub use metadata::{Facts, Shape};
pub use record::{Payer, Record, Window};
pub use trouble::{Failed, Spent, Trouble};

#[cfg(test)]
mod golden_tests;
