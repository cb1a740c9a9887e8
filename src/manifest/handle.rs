//! The live manifest: loaded, watched, swapped whole, with the last good one kept; the kill switch; what is known of
//! the Python gateway's version. Reading it takes no lock.
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use super::{
    decide::{self, Ask, Caller, Decision},
    digest,
    load::{self, ManifestError, Places},
    matcher::Manifest,
    version::PythonVersion,
};
use crate::{routes::NativeRoute, telemetry::Metrics};

/// The environment variable that sends everything to Python.
pub const ALL_PYTHON_ENV: &str = "LITELLM_EDGE_ALL_PYTHON";

/// Who holds the kill switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchState {
    /// [`ALL_PYTHON_ENV`], for the life of the process
    pub env: bool,
    /// the file named in routes.toml
    pub file: bool,
    /// `POST /edge/switch`
    pub admin: bool,
}

impl SwitchState {
    const ENV: u8 = 1;
    const FILE: u8 = 2;
    const ADMIN: u8 = 4;

    fn from_bits(bits: u8) -> Self {
        Self { env: bits & Self::ENV != 0, file: bits & Self::FILE != 0, admin: bits & Self::ADMIN != 0 }
    }

    /// Whether everything is Python's.
    pub fn on(self) -> bool {
        self.env || self.file || self.admin
    }
}

/// Whether a value of [`ALL_PYTHON_ENV`] means on.
pub fn env_says_on(value: Option<&str>) -> bool {
    let value = value.map(|value| value.trim().to_ascii_lowercase());
    value.is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false" | "off" | "no"))
}

/// A reload that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub message: String,
    pub at: SystemTime,
}

/// The handle's state for the status page.
#[derive(Debug, Clone)]
pub struct HandleStatus {
    pub places: Places,
    /// when the manifest in force was loaded
    pub loaded: SystemTime,
    /// why the file as it is now is not in force
    pub refused: Option<Refused>,
    pub switch: SwitchState,
    /// as the Python gateway says it
    pub python_version: Option<String>,
}

struct State {
    places: Places,
    fingerprint: u64,
    loaded: SystemTime,
    refused: Option<Refused>,
    python_text: Option<String>,
    /// what was last logged about a route
    announced: HashMap<String, &'static str>,
}

struct Shared {
    native: &'static [NativeRoute],
    source_digest: String,
    manifest: ArcSwap<Manifest>,
    python: ArcSwap<PythonVersion>,
    switch: AtomicU8,
    ungated: AtomicBool,
    metrics: Option<Metrics>,
    state: Mutex<State>,
}

/// The live manifest; cheap to clone.
#[derive(Clone)]
pub struct ManifestHandle(Arc<Shared>);

impl ManifestHandle {
    /// Loads the file; one that is not valid is an error here, later the last good one stays.
    /// `env` is the value of [`ALL_PYTHON_ENV`].
    pub fn open(
        routes: &Path,
        native: &'static [NativeRoute],
        env: Option<&str>,
        metrics: Option<Metrics>,
    ) -> Result<Self, ManifestError> {
        Self::open_as(routes, native, env, metrics, digest::SOURCE_DIGEST)
    }

    pub(super) fn open_as(
        routes: &Path,
        native: &'static [NativeRoute],
        env: Option<&str>,
        metrics: Option<Metrics>,
        source_digest: &str,
    ) -> Result<Self, ManifestError> {
        let (manifest, places, fingerprint) = load::load_marked(routes, native, source_digest)?;
        let state = State {
            places,
            fingerprint,
            loaded: SystemTime::now(),
            refused: None,
            python_text: None,
            announced: HashMap::new(),
        };
        let handle = Self(Arc::new(Shared {
            native,
            source_digest: source_digest.to_owned(),
            manifest: ArcSwap::from_pointee(manifest),
            python: ArcSwap::from_pointee(PythonVersion::Unknown),
            switch: AtomicU8::new(if env_says_on(env) { SwitchState::ENV } else { 0 }),
            ungated: AtomicBool::new(false),
            metrics,
            state: Mutex::new(state),
        }));
        handle.look_at_switch_file();
        handle.announce(SystemTime::now());
        handle.show_switch();
        if let Some(metrics) = &handle.0.metrics {
            metrics.file_state("routes", true);
            let shared = Arc::downgrade(&handle.0);
            metrics.before_reading(move |metrics| {
                if let Some(shared) = shared.upgrade() {
                    Self(shared).measure(metrics, SystemTime::now());
                }
            });
        }
        Ok(handle)
    }

    /// The manifest in force.
    pub fn load(&self) -> Arc<Manifest> {
        self.0.manifest.load_full()
    }

    /// Decides with the manifest, the switch and the Python version of this moment.
    pub fn decide(&self, method: &http::Method, path: &str, caller: Caller<'_>, now: SystemTime) -> Decision {
        let ask = Ask { method, path, caller, now, all_python: self.all_python(), python: **self.0.python.load() };
        decide::decide(&self.0.manifest.load(), &ask)
    }

    /// Whether the kill switch is on.
    pub fn all_python(&self) -> bool {
        self.0.switch.load(Ordering::Acquire) != 0
    }

    /// From now on evidence is not asked for. Only for the parity suite, which makes the evidence.
    pub fn ungate(&self) -> Result<(), ManifestError> {
        self.0.ungated.store(true, Ordering::Release);
        self.reload()
    }

    /// The admin's kill switch; effective for the next decision. Environment and file stay as they are.
    pub fn switch(&self, all_python: bool) -> SwitchState {
        self.set_switch(SwitchState::ADMIN, all_python)
    }

    /// What the Python gateway says its version is; `None`: it is not known.
    pub fn set_python_version(&self, text: Option<&str>) {
        self.lock().python_text = text.map(str::to_owned);
        self.0.python.store(Arc::new(PythonVersion::from_text(text)));
        self.announce(SystemTime::now());
    }

    /// The Python gateway's version as decisions see it.
    pub fn python_version(&self) -> PythonVersion {
        **self.0.python.load()
    }

    /// Loads the file now (SIGHUP), changed or not.
    pub fn reload(&self) -> Result<(), ManifestError> {
        let (places, manifest) = (self.lock().places.clone(), self.load());
        let fingerprint = load::fingerprint(&places, &manifest.file, self.0.native);
        self.reload_as(&places, fingerprint)
    }

    /// Looks for changes every `every`, for ever; to be dropped with the io runtime.
    pub async fn watch(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let handle = self.clone();
            // file reads may block on a slow volume
            if let Err(error) = tokio::task::spawn_blocking(move || handle.poll()).await {
                tracing::error!(%error, "watching routes.toml failed");
            }
        }
    }

    /// One look at the files.
    pub fn poll(&self) {
        self.look_at_switch_file();
        let (places, known) = {
            let state = self.lock();
            (state.places.clone(), state.fingerprint)
        };
        // before loading: a change while we load is found by the next look
        let fingerprint = load::fingerprint(&places, &self.load().file, self.0.native);
        if fingerprint != known {
            // logged and remembered there
            let _ = self.reload_as(&places, fingerprint);
        }
        self.announce(SystemTime::now());
    }

    /// For the status page.
    pub fn status(&self) -> HandleStatus {
        let state = self.lock();
        HandleStatus {
            places: state.places.clone(),
            loaded: state.loaded,
            refused: state.refused.clone(),
            switch: SwitchState::from_bits(self.0.switch.load(Ordering::Acquire)),
            python_version: state.python_text.clone(),
        }
    }

    fn reload_as(&self, places: &Places, fingerprint: u64) -> Result<(), ManifestError> {
        let loaded = load::load_marked(&places.routes, self.0.native, &self.0.source_digest);
        if let Some(metrics) = &self.0.metrics {
            metrics.reloaded("routes", loaded.is_ok());
        }
        let mut state = self.lock();
        state.fingerprint = fingerprint;
        match loaded {
            Ok((mut manifest, places, fingerprint)) => {
                manifest.ungated = self.0.ungated.load(Ordering::Acquire);
                tracing::info!(routes = manifest.entries.len(), digest = %manifest.digest, "routes.toml loaded");
                state.places = places;
                state.fingerprint = fingerprint;
                state.loaded = SystemTime::now();
                state.refused = None;
                self.0.manifest.store(Arc::new(manifest));
                drop(state);
                self.look_at_switch_file();
                self.announce(SystemTime::now());
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "routes.toml refused, the last good one stays in force");
                state.refused = Some(Refused { message: error.to_string(), at: SystemTime::now() });
                Err(error)
            }
        }
    }

    fn look_at_switch_file(&self) {
        let path = self.lock().places.switch_file.clone();
        self.set_switch(SwitchState::FILE, load::switch_file_on(path.as_deref()));
    }

    fn set_switch(&self, bit: u8, on: bool) -> SwitchState {
        let before = if on {
            self.0.switch.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.0.switch.fetch_and(!bit, Ordering::AcqRel)
        };
        let after = if on { before | bit } else { before & !bit };
        let state = SwitchState::from_bits(after);
        if before != after {
            tracing::warn!(
                all_python = state.on(),
                env = state.env,
                file = state.file,
                admin = state.admin,
                "kill switch"
            );
            self.show_switch();
        }
        state
    }

    fn show_switch(&self) {
        if let Some(metrics) = &self.0.metrics {
            metrics.all_python.set(i64::from(self.all_python()));
        }
    }

    /// Logs once whenever a route that should be native stops or starts being so.
    fn announce(&self, now: SystemTime) {
        let manifest = self.load();
        let python = self.python_version();
        let mut state = self.lock();
        let mut announced = HashMap::new();
        for entry in manifest.entries.iter().filter(|entry| entry.route.mode != super::schema::Mode::Python) {
            let reason = decide::blocked(entry, now, false, python, &manifest);
            let word = reason.map_or("native", decide::PythonReason::as_str);
            if state.announced.get(&*entry.id).copied() != Some(word) {
                match reason {
                    Some(reason) => tracing::warn!(
                        route = &*entry.id,
                        reason = word,
                        evidence = entry.evidence.verdict(now).as_str(),
                        why = reason.why(),
                        "route runs in python although its mode is {}",
                        entry.route.mode.as_str(),
                    ),
                    None => {
                        tracing::info!(route = &*entry.id, mode = entry.route.mode.as_str(), "route is served natively")
                    }
                }
            }
            announced.insert(entry.id.to_string(), word);
        }
        state.announced = announced;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no code panics while it holds the lock; if one did, the state is still whole
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
