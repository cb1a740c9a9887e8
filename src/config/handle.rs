//! The current [`Snapshot`] behind arc-swap, and its reload. LiteLLM reads config.yaml only when it starts: after a
//! reload here, the Python gateway keeps its old settings until it is restarted, so a change takes effect on both sides
//! only then. The last good snapshot stays in place when a new file is wrong.
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use super::{ConfigError, Env, Loaded, Snapshot, Stored, load, load_with};

/// What the edge holds. Cheap to read, one lock for reloads.
pub struct ConfigHandle {
    path: PathBuf,
    env: Env,
    current: Arc<ArcSwap<Snapshot>>,
    state: Mutex<State>,
}

struct State {
    files: Vec<(PathBuf, [u8; 32])>,
    error: Option<ConfigError>,
    /// what was last read of the database
    stored: Option<Arc<Stored>>,
}

impl ConfigHandle {
    /// Loads the file; an error here means the edge does not start.
    pub fn open(path: &Path, env: Env) -> Result<Self, ConfigError> {
        let Loaded { snapshot, files, .. } = load(path, &env)?;
        Ok(Self {
            path: path.to_owned(),
            env,
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
            state: Mutex::new(State { files, error: None, stored: None }),
        })
    }

    /// A handle over a snapshot made elsewhere; it never reloads.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self {
            path: PathBuf::new(),
            env: Env::new(),
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
            state: Mutex::new(State { files: Vec::new(), error: None, stored: None }),
        }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The cell itself, for who reads it for every request.
    pub fn shared(&self) -> Arc<ArcSwap<Snapshot>> {
        self.current.clone()
    }

    /// Why the last reload was refused; `None` after a good one.
    pub fn last_error(&self) -> Option<ConfigError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// Whether a file that was read has other bytes now, or is gone.
    pub fn changed(&self) -> bool {
        let files = self.state.lock().unwrap_or_else(PoisonError::into_inner).files.clone();
        files.iter().any(|(path, digest)| match std::fs::read(path) {
            Ok(bytes) => Sha256::digest(&bytes).as_slice() != digest,
            // gone since: a change, unless a failed reload has seen that
            Err(_) => *digest != [0; 32],
        })
    }

    /// What LiteLLM keeps in its database is this from now on; reads the files again and swaps.
    pub fn store(&self, stored: Arc<Stored>) -> Result<Arc<Snapshot>, ConfigError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stored = Some(stored);
        self.reload()
    }

    /// Reads the files again and swaps. On an error the old snapshot stays and the error is kept.
    pub fn reload(&self) -> Result<Arc<Snapshot>, ConfigError> {
        if self.path.as_os_str().is_empty() {
            return Ok(self.snapshot());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match load_with(&self.path, &self.env, state.stored.as_deref()) {
            Ok(Loaded { snapshot, files, .. }) => {
                self.current.store(Arc::new(snapshot));
                (state.files, state.error) = (files, None);
                Ok(self.snapshot())
            }
            Err(error) => {
                // remember the wrong bytes, so that polling does not try the same file again and again
                for (path, digest) in &mut state.files {
                    *digest = std::fs::read(&*path).map_or([0; 32], |bytes| Sha256::digest(&bytes).into());
                }
                state.error = Some(error.clone());
                Err(error)
            }
        }
    }
}
