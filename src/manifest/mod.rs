//! routes.toml: schema, matching, the decision (pure), the evidence gate and the watcher. The decision does no I/O.
pub mod decide;
pub mod digest;
pub mod document;
pub mod flip;
pub mod gate;
pub mod handle;
pub mod keys;
mod language;
pub mod lint;
pub mod litellm;
pub mod load;
pub mod matcher;
pub mod pattern;
pub mod schema;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod values;
pub mod version;

pub use decide::{Ask, Caller, Decision, PythonReason, Side, decide};
pub use gate::{Evidence, EvidenceRecord, Verdict};
pub use handle::{ALL_PYTHON_ENV, HandleStatus, ManifestHandle, Refused, SwitchState};
pub use load::ManifestError;
pub use matcher::{Entry, Manifest};
pub use schema::{Mode, RoutesFile, SchemaErrors};
pub use version::PythonVersion;
