//! Differences of many cases put together by where they are: `response[*].body/choices/*/index`. Pure.
use std::collections::BTreeMap;

use super::super::{
    diff::{Difference, Kind},
    verdict::{CaseResult, Judged},
};

/// What is found at one place, in one way.
pub(super) struct Group<'a> {
    /// positions in lists are `*`
    pub place: String,
    pub kind: Kind,
    pub count: usize,
    /// names of the cases, in order, each once
    pub cases: Vec<&'a str>,
    /// the first of them
    pub first: &'a Difference,
}

/// The groups of the differences that `wanted` picks, most frequent first.
pub(super) fn group<'a>(cases: &'a [CaseResult], wanted: impl Fn(&Judged) -> bool) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(String, Kind), Group<'a>> = BTreeMap::new();
    for case in cases {
        for judged in case.differences.iter().filter(|judged| wanted(judged)) {
            let difference = &judged.difference;
            let place = place(&difference.path);
            let key = (place.clone(), difference.kind);
            let group = groups.entry(key).or_insert_with(|| Group {
                place,
                kind: difference.kind,
                count: 0,
                cases: Vec::new(),
                first: difference,
            });
            group.count += 1;
            if group.cases.last() != Some(&case.name.as_str()) {
                group.cases.push(&case.name);
            }
        }
    }
    let mut groups: Vec<Group<'a>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count)); // stable: places stay sorted
    groups
}

/// The path with its positions taken out.
fn place(path: &str) -> String {
    let (dotted, pointer) = match path.split_once('/') {
        Some((dotted, pointer)) => (dotted, Some(pointer)),
        None => (path, None),
    };
    let mut out = String::with_capacity(path.len());
    let mut rest = dotted;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        match after.split_once(']') {
            Some((index, tail)) if is_index(index) => {
                out.push_str("[*]");
                rest = tail;
            }
            _ => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    for token in pointer.iter().flat_map(|pointer| pointer.split('/')) {
        out.push('/');
        out.push_str(if is_index(token) { "*" } else { token });
    }
    out
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #[test]
    fn positions_are_taken_out_and_names_stay() {
        for (path, place) in [
            ("response[0].body/choices/12/index", "response[*].body/choices/*/index"),
            ("response[1].events[3].data/x", "response[*].events[*].data/x"),
            ("redis.a[b]", "redis.a[b]"),
            ("expect.served_by", "expect.served_by"),
        ] {
            assert_eq!(super::place(path), place);
        }
    }
}
