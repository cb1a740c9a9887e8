//! A route's list of reasons is what the README tells operators: it must hold every reason the route can return.
use std::collections::BTreeSet;

use super::*;
use crate::routes::Decline;

/// What can say no on behalf of a model call, by source: whoever is calling, and the configuration.
const SHARED: &[&str] = &[
    include_str!("../auth/mod.rs"),
    include_str!("../config/keys.rs"),
    include_str!("../config/deployment.rs"),
    include_str!("../config/assemble.rs"),
    include_str!("../config/snapshot.rs"),
    include_str!("../edge/phases.rs"),
];
const CHAT: &[&str] = &[
    include_str!("chat_completions.rs"),
    include_str!("chat_completions/headers.rs"),
    include_str!("../providers/openai/request.rs"),
    include_str!("../providers/openai/messages.rs"),
    include_str!("../providers/openai/params.rs"),
];
const MESSAGES: &[&str] = &[
    include_str!("messages.rs"),
    include_str!("../providers/anthropic/request.rs"),
    include_str!("../providers/anthropic/history.rs"),
    include_str!("../providers/anthropic/thinking.rs"),
];

/// Reasons of the edge itself, for every route: they stand with the routes' own in no list.
const OF_THE_EDGE: &[Decline] = &[Decline::Cors, Decline::BodyTooLarge, Decline::Fault];

/// Every `Decline::X` of the program part of the sources, without the routes' own lists.
fn named(sources: &[&str]) -> BTreeSet<Decline> {
    let mut found = BTreeSet::new();
    for source in sources {
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        let list = program.find("declines: &[").map(|at| at..at + program[at..].find(']').unwrap());
        for variant in Decline::ALL {
            let name = format!("{variant:?}");
            let is_word = |at: usize| {
                let bytes = program.as_bytes();
                let word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
                !word(at.checked_sub(1).and_then(|at| bytes.get(at))) && !word(bytes.get(at + name.len()))
            };
            let outside = |at: usize| list.as_ref().is_none_or(|list| !list.contains(&at));
            let (used, listed) = (format!("Decline::{name}"), format!("Declines({name},"));
            let uses = program.match_indices(&used).map(|(at, _)| at + "Decline::".len());
            // keys.rs names them bare: `Declines(Setting, Truthy)`
            let bare = program.match_indices(&listed).map(|(at, _)| at + "Declines(".len());
            if uses.chain(bare).any(|at| is_word(at) && outside(at)) {
                found.insert(*variant);
            }
        }
    }
    found
}

#[test]
fn the_lists_of_reasons_are_complete() {
    let edge: BTreeSet<_> = OF_THE_EDGE.iter().copied().collect();
    for (id, own) in [("chat_completions", CHAT), ("messages", MESSAGES)] {
        let listed: BTreeSet<_> = native_route(id).unwrap().declines.iter().copied().collect();
        let returned: BTreeSet<_> = named(own).union(&named(SHARED)).copied().collect();
        let missing: Vec<_> = returned.difference(&listed).filter(|reason| !edge.contains(reason)).collect();
        assert_eq!(missing, Vec::<&Decline>::new(), "{id} returns reasons that its list does not have");
        assert!(returned.contains(&Decline::Callbacks) && returned.contains(&Decline::MessageShape), "{id}");
    }
}
