//! routes.toml: schema, matching, the decision (pure), the evidence gate and the watcher. The decision does no I/O.
pub mod decide;
pub mod digest;
pub mod gate;
pub mod handle;
pub mod keys;
pub mod load;
pub mod matcher;
pub mod pattern;
pub mod schema;
#[cfg(test)]
pub(crate) mod testing;
pub mod values;
pub mod version;

pub use decide::{Ask, Caller, Decision, PythonReason, Side, decide};
pub use gate::{Evidence, EvidenceRecord, Verdict};
pub use handle::{HandleStatus, ManifestHandle, SwitchState};
pub use load::ManifestError;
pub use matcher::{Entry, Manifest};
pub use schema::{Mode, RoutesFile, SchemaErrors};
pub use version::PythonVersion;
