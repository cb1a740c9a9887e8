//! config.yaml -> one immutable [`Snapshot`] behind arc-swap. Owns: reading YAML as PyYAML does, includes,
//! `os.environ/`, the classification of every key (native, declines to Python, no bearing). It must never fail where
//! LiteLLM accepts a file, never talk to a provider, and never print a value.
mod assemble;
mod books;
mod database;
mod deployment;
mod env;
mod groups;
mod handle;
mod include;
mod key_names;
pub mod keys;
mod listing;
mod load;
mod outgoing;
mod prices;
mod provider;
mod provider_table;
mod redis;
mod registered;
pub mod report;
pub mod snapshot;
pub mod yaml;

pub use database::Stored;
pub use env::Env;
pub use handle::ConfigHandle;
pub use listing::Listing;
pub use load::{ConfigError, Loaded, load, load_with};
#[cfg(test)]
pub(crate) use prices::list_pricing;
pub(crate) use provider::name_provider;
pub use redis::Coordination;
pub use report::Report;
pub use snapshot::{ConfigDecline, Deployment, ModelGroup, Provider, Settings, Slot, Snapshot};

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
