//! routes.toml: schema, matching, the decision (pure), the evidence gate and the watcher. The decision does no I/O.
pub mod digest;
#[cfg(test)]
pub(crate) mod testing;
