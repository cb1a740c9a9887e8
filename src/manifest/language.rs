//! Whether two path patterns have paths in common, and whether one has all of the other's: exactly, by walking both
//! as automata. Only the lint uses it. Paths with `//` are left out, they are never matched natively.
use std::collections::HashSet;

use super::pattern::{Pattern, Piece};

/// One step of a pattern read as an automaton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// one byte that is not `/`
    OneOfSegment,
    /// any number of bytes that are not `/`
    ManyOfSegment,
    /// any number of bytes
    Many,
    /// the end, or a `/` and what follows
    Family,
}

/// How the paths of pattern `a` relate to those of pattern `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation {
    /// some path is matched by both
    pub(super) overlaps: bool,
    /// `a` matches every path that `b` matches
    pub(super) covers: bool,
}

/// States beyond this are not explored; no pattern of LiteLLM comes near it.
const MAX_STATES: usize = 50_000;
/// Stands for every byte that no pattern names.
const OTHER: u8 = 1;

pub(super) fn relation(a: &Pattern, b: &Pattern) -> Relation {
    if let (Some(a), Some(b)) = (a.exact(), b.exact()) {
        return Relation { overlaps: a == b, covers: a == b };
    }
    let (a, b) = (steps(a), steps(b));
    let mut relation = Relation { overlaps: false, covers: true };
    let mut seen = HashSet::new();
    let mut open = vec![(closed(&a, vec![0]), closed(&b, vec![0]), false)];
    while let Some(state) = open.pop() {
        if seen.len() > MAX_STATES || !seen.insert(state.clone()) {
            continue;
        }
        let (in_a, in_b, after_slash) = state;
        if in_b.contains(&b.len()) {
            relation.overlaps |= in_a.contains(&a.len());
            relation.covers &= in_a.contains(&a.len());
        }
        for byte in alphabet(&a, &in_a, &b, &in_b) {
            if byte == b'/' && after_slash {
                continue;
            }
            let next_b = advance(&b, &in_b, byte);
            if next_b.is_empty() {
                continue;
            }
            let next_a = advance(&a, &in_a, byte);
            if next_a.is_empty() {
                // every state of a pattern can still reach its end, so `b` has a path here that `a` has not
                relation.covers = false;
                continue;
            }
            open.push((next_a, next_b, byte == b'/'));
        }
    }
    relation
}

fn steps(pattern: &Pattern) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in &pattern.pieces {
        match piece {
            Piece::Literal(text) => steps.extend(text.bytes().map(Step::Byte)),
            Piece::Segment(_) => steps.extend([Step::OneOfSegment, Step::ManyOfSegment]),
            Piece::Path(_) => steps.push(Step::Many),
            Piece::Family => steps.extend([Step::Family, Step::Many]),
        }
    }
    steps
}

/// Adds the states that are reached without a byte; sorted.
fn closed(steps: &[Step], mut states: Vec<usize>) -> Vec<usize> {
    let mut index = 0;
    while let Some(state) = states.get(index).copied() {
        let free = match steps.get(state) {
            Some(Step::ManyOfSegment | Step::Many) => Some(state + 1),
            Some(Step::Family) => Some(steps.len()),
            _ => None,
        };
        if let Some(next) = free.filter(|next| !states.contains(next)) {
            states.push(next);
        }
        index += 1;
    }
    states.sort_unstable();
    states
}

fn advance(steps: &[Step], states: &[usize], byte: u8) -> Vec<usize> {
    let mut next = Vec::new();
    for state in states {
        let reached = match steps.get(*state) {
            Some(Step::Byte(wanted)) if *wanted == byte => state + 1,
            Some(Step::OneOfSegment) if byte != b'/' => state + 1,
            Some(Step::ManyOfSegment) if byte != b'/' => *state,
            Some(Step::Many) => *state,
            Some(Step::Family) if byte == b'/' => state + 1,
            _ => continue,
        };
        if !next.contains(&reached) {
            next.push(reached);
        }
    }
    closed(steps, next)
}

/// The bytes that make a difference in this state.
fn alphabet(a: &[Step], in_a: &[usize], b: &[Step], in_b: &[usize]) -> Vec<u8> {
    let named = |steps: &[Step], states: &[usize]| {
        let bytes = states.iter().filter_map(|state| match steps.get(*state) {
            Some(Step::Byte(byte)) => Some(*byte),
            _ => None,
        });
        bytes.collect::<Vec<u8>>()
    };
    let mut bytes = named(a, in_a);
    bytes.extend(named(b, in_b));
    bytes.extend([b'/', OTHER]);
    bytes.sort_unstable();
    bytes.dedup();
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relations() {
        let cases = [
            ("/v1/models", "/v1/models", true, true),
            ("/v1/models", "/v1/model", false, false),
            ("/models/{id}", "/models/a", true, true),
            ("/models/a", "/models/{id}", true, false),
            ("/models/{id:path}", "/models/{id}", true, true),
            ("/models/{id}", "/models/{id:path}", true, false),
            ("/key/*", "/key/{key:path}/regenerate", true, true),
            ("/key/*", "/key", true, true),
            ("/key/*", "/keys", false, false),
            ("/{provider}/v1/files", "/openai/{endpoint:path}", true, false),
            ("/openai/{endpoint:path}", "/openai/deployments/{model:path}/chat/completions", true, true),
            ("/engines/{model:path}/chat/completions", "/engines/*", true, false),
            ("/{name}/mcp", "/v1/models", false, false),
            ("/{a}/b", "/a/{b}", true, false),
        ];
        for (a, b, overlaps, covers) in cases {
            let found = relation(&Pattern::parse(a).unwrap(), &Pattern::parse(b).unwrap());
            assert_eq!(found, Relation { overlaps, covers }, "{a} {b}");
        }
    }

    proptest! {
        /// What the automaton says holds for every path that matching itself accepts.
        #[test]
        fn agrees_with_matching(a in "(/(a|b|[{]x[}])){1,3}(/[*])?", b in "(/(a|b|[{]x[}]|[{]y:path[}])){1,3}(/[*])?", path in "(/(a|b|c)){1,5}") {
            if let (Ok(a), Ok(b)) = (Pattern::parse(&a), Pattern::parse(&b)) {
                let relation = relation(&a, &b);
                if a.matches(&path) && b.matches(&path) {
                    prop_assert!(relation.overlaps);
                }
                if b.matches(&path) && relation.covers {
                    prop_assert!(a.matches(&path), "{a} {b} {path}");
                }
            }
        }
    }
}
