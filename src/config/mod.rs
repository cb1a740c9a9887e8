//! config.yaml -> one immutable [`Snapshot`] behind arc-swap. Owns: reading YAML as PyYAML does, includes,
//! `os.environ/`, the classification of every key (native, declines to Python, no bearing). It must never fail where
//! LiteLLM accepts a file, never talk to a provider, and never print a value.
pub mod snapshot;

pub use snapshot::{ConfigDecline, Deployment, ModelGroup, Provider, Settings, Snapshot};
