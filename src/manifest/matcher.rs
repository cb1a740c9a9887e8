//! The compiled manifest: from method and raw path to an entry. The first entry in file order wins; for paths written
//! out in the file that is worked out when it is loaded. Nothing here does I/O.
use std::{collections::HashMap, sync::Arc};

use http::Method;

use super::{
    gate::Evidence,
    keys::METHODS,
    pattern::{self, Pattern},
    schema::{RouteEntry, RoutesFile},
};
use crate::routes::{NativeRoute, PathParams, RoutePolicy};

/// A set of HTTP methods; bit 7 stands for every method that has no bit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodSet(u8);

impl MethodSet {
    pub(super) const ALL: Self = Self(u8::MAX);

    pub(super) fn of<'m>(methods: impl IntoIterator<Item = &'m Method>) -> Self {
        Self(methods.into_iter().fold(0, |set, method| set | Self::bit(method)))
    }

    fn bit(method: &Method) -> u8 {
        METHODS.iter().position(|known| *known == method.as_str()).map_or(1 << 7, |index| 1 << index)
    }

    pub(super) fn contains(self, method: &Method) -> bool {
        self.0 & Self::bit(method) != 0
    }
}

/// The native side of an entry: its row in the table, with the row's own patterns compiled.
pub(super) struct NativeRow {
    pub(super) row: &'static NativeRoute,
    methods: MethodSet,
    patterns: Vec<(Pattern, Vec<&'static str>)>,
}

impl NativeRow {
    fn new(row: &'static NativeRoute) -> Self {
        let patterns = row.paths.iter().filter_map(|text| {
            // a row that does not parse serves nothing; a test over the table rules it out
            Some((Pattern::parse(text).ok()?, variables(text)))
        });
        Self { row, methods: MethodSet::of(row.methods), patterns: patterns.collect() }
    }

    /// The path's variables where the row serves this method and path; `known`: they were worked out before.
    pub(super) fn params(
        &self,
        method: &Method,
        path: &str,
        known: Option<&Option<Arc<PathParams>>>,
    ) -> Option<Arc<PathParams>> {
        if !self.methods.contains(method) {
            return None;
        }
        match known {
            Some(params) => params.clone(),
            None => self.capture(path),
        }
    }

    fn capture(&self, path: &str) -> Option<Arc<PathParams>> {
        self.patterns.iter().find_map(|(pattern, names)| {
            let values = pattern.captures(path)?;
            let params = names.iter().zip(values).map(|(name, (_, value))| (*name, value.to_owned()));
            Some(Arc::new(params.collect()))
        })
    }
}

/// The names of a row's variables: they live as long as the table.
fn variables(text: &'static str) -> Vec<&'static str> {
    let inner = |part: &'static str| part.split_once('}').map(|(name, _)| name.trim_end_matches(":path"));
    text.split('{').skip(1).filter_map(inner).collect()
}

/// One compiled `[[route]]`.
pub struct Entry {
    pub id: Arc<str>,
    pub route: RouteEntry,
    pub evidence: Evidence,
    /// what native routes are told of the entry
    pub policy: Arc<RoutePolicy>,
    pub(super) native: Option<NativeRow>,
    pub(super) methods: MethodSet,
}

impl Entry {
    /// The table's row where the id is a native route's.
    pub fn native_route(&self) -> Option<&'static NativeRoute> {
        self.native.as_ref().map(|native| native.row)
    }
}

/// A path of the file that stands for itself, and an entry that matches it.
struct Exact {
    entry: usize,
    /// the native row's variables for it; `None`: the row does not serve it
    params: Option<Arc<PathParams>>,
}

/// One immutable routes.toml, ready to be asked.
pub struct Manifest {
    /// sha256 of the file's text; empty for the built-in one
    pub digest: String,
    pub file: RoutesFile,
    pub entries: Vec<Arc<Entry>>,
    /// evidence is not asked for: how the parity suite makes evidence
    pub(super) ungated: bool,
    pub(super) other: Arc<str>,
    exact: HashMap<Box<str>, Vec<Exact>>,
    /// patterns by first literal segment, in file order, those without one included
    buckets: HashMap<Box<str>, Vec<(usize, Pattern)>>,
    /// patterns without a literal first segment
    anywhere: Vec<(usize, Pattern)>,
}

/// What matching found.
pub(super) struct Hit<'m> {
    pub(super) entry: Option<&'m Arc<Entry>>,
    pub(super) wrong_method: bool,
    pub(super) plain: bool,
    /// `Some`: worked out when the file was loaded
    pub(super) params: Option<&'m Option<Arc<PathParams>>>,
}

impl Manifest {
    /// Compiles a valid file. `native` is the table of native routes, `evidence` the judged evidence by route id.
    pub fn compile(
        file: RoutesFile,
        digest: String,
        native: &'static [NativeRoute],
        evidence: &dyn Fn(&str) -> Evidence,
    ) -> Self {
        let entries: Vec<Arc<Entry>> = file
            .routes
            .iter()
            .map(|route| {
                Arc::new(Entry {
                    id: route.id.as_str().into(),
                    evidence: evidence(&route.id),
                    native: native.iter().find(|row| row.id == route.id).map(NativeRow::new),
                    methods: route.methods.as_ref().map_or(MethodSet::ALL, MethodSet::of),
                    policy: Arc::new(RoutePolicy {
                        accept_no_spend_rows: route.accept.iter().any(|word| word == "no_spend_rows"),
                        providers: route.providers.clone(),
                    }),
                    route: route.clone(),
                })
            })
            .collect();
        let patterns = || {
            let of = |(index, entry): (usize, &'_ RouteEntry)| {
                entry.paths.iter().map(|path| (index, path.pattern.clone())).collect::<Vec<_>>()
            };
            file.routes.iter().enumerate().flat_map(of)
        };
        let mut exact = HashMap::new();
        for (_, pattern) in patterns() {
            let Some(path) = pattern.exact() else { continue };
            let mut hits: Vec<Exact> = Vec::new();
            for (entry, other) in patterns() {
                if other.matches(path) && hits.last().is_none_or(|last| last.entry != entry) {
                    let native = entries.get(entry).and_then(|entry| entry.native.as_ref());
                    hits.push(Exact { entry, params: native.and_then(|native| native.capture(path)) });
                }
            }
            exact.insert(path.into(), hits);
        }
        let mut buckets: HashMap<Box<str>, Vec<(usize, Pattern)>> = HashMap::new();
        for (_, pattern) in patterns().filter(|(_, pattern)| pattern.exact().is_none()) {
            if let Some(segment) = pattern.first_segment() {
                buckets.entry(segment.into()).or_default();
            }
        }
        let mut anywhere = Vec::new();
        for (entry, pattern) in patterns().filter(|(_, pattern)| pattern.exact().is_none()) {
            match pattern.first_segment() {
                Some(segment) => buckets.entry(segment.into()).or_default().push((entry, pattern)),
                None => {
                    buckets.values_mut().for_each(|bucket| bucket.push((entry, pattern.clone())));
                    anywhere.push((entry, pattern));
                }
            }
        }
        Self { digest, file, entries, ungated: false, other: super::decide::OTHER.into(), exact, buckets, anywhere }
    }

    /// The first entry for a request; where none takes the method, the first that matches the path.
    pub(super) fn find(&self, method: &Method, path: &str) -> Hit<'_> {
        let mut refused = None;
        if let Some(hits) = self.exact.get(path) {
            for hit in hits {
                let Some(entry) = self.entries.get(hit.entry) else { continue };
                let found = Hit { entry: Some(entry), wrong_method: false, plain: true, params: Some(&hit.params) };
                if entry.methods.contains(method) {
                    return found;
                }
                refused.get_or_insert(Hit { wrong_method: true, ..found });
            }
        } else {
            let plain = pattern::is_plain(path);
            let segment = path.strip_prefix('/').map_or(path, |rest| rest.split('/').next().unwrap_or(rest));
            for (index, pattern) in self.buckets.get(segment).unwrap_or(&self.anywhere) {
                let Some(entry) = self.entries.get(*index) else { continue };
                if !pattern.matches(path) {
                    continue;
                }
                let found = Hit { entry: Some(entry), wrong_method: false, plain, params: None };
                if entry.methods.contains(method) {
                    return found;
                }
                refused.get_or_insert(Hit { wrong_method: true, ..found });
            }
        }
        refused.unwrap_or(Hit { entry: None, wrong_method: false, plain: false, params: None })
    }
}
