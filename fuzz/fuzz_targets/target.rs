//! Feeds the target that the environment variable `TARGET` names: one binary for all, it is slow to link.
#![no_main]
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use litellm_rust::fuzzing::TARGETS;

fuzz_target!(|data: &[u8]| {
    static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = CHOSEN.get_or_init(|| {
        // libFuzzer's hook ends the process at once: a panic that is caught (libyaml's scanner) is no finding
        drop(std::panic::take_hook());
        let name = std::env::var("TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(found, _)| *found == name);
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        found.unwrap_or_else(|| panic!("TARGET must be one of {names:?}")).1
    });
    target(data);
});
