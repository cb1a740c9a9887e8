//! What a valid routes.toml may still get wrong, measured against LiteLLM's route table and the table of native
//! routes. Pure: today is an argument.
use time::Date;

use super::{
    language::{Relation, relation},
    litellm::{LiteLlmRoute, LiteLlmTable, RouteKind, same_shape},
    pattern::Pattern,
    schema::{Mode, PathLine, RouteEntry, RoutesFile, unknown},
};
use crate::routes::NativeRoute;

macro_rules! codes {
    ($($variant:ident = $name:literal;)*) => {
        /// The kinds of findings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LintCode { $($variant,)* }

        impl LintCode {
            pub const ALL: &'static [LintCode] = &[$(LintCode::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(LintCode::$variant => $name,)* }
            }
        }
    };
}

codes! {
    UnknownId = "unknown_id";
    NotNative = "not_native";
    NoLiteLlmRoute = "no_litellm_route";
    NoLiteLlmMethod = "no_litellm_method";
    NotServed = "not_served";
    ShadowedByLiteLlm = "shadowed_by_litellm";
    Dead = "dead";
    Unlisted = "unlisted";
    ExpiredTolerance = "expired_tolerance";
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: LintCode,
    /// from 1; 0: the file as a whole
    pub line: usize,
    /// route id, or LiteLLM's family where nothing lists it
    pub route: String,
    pub message: String,
}

/// All findings, in order of lines.
pub fn lint(file: &RoutesFile, native: &'static [NativeRoute], litellm: &LiteLlmTable, today: Date) -> Vec<Finding> {
    let mut lint = Lint { native, litellm, findings: Vec::new() };
    for (index, entry) in file.routes.iter().enumerate() {
        lint.id(entry);
        lint.tolerances(entry, today);
        let earlier = file.routes.get(..index).unwrap_or_default();
        for (position, path) in entry.paths.iter().enumerate() {
            lint.dead(entry, path, earlier, position);
            lint.litellm_serves(entry, path);
            if entry.mode != Mode::Python {
                lint.native_path(entry, path);
            }
        }
    }
    lint.unlisted(file);
    let mut findings = lint.findings;
    findings.sort_by_key(|finding| (finding.line == 0, finding.line));
    findings
}

struct Lint<'a> {
    native: &'static [NativeRoute],
    litellm: &'a LiteLlmTable,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn push(&mut self, code: LintCode, line: usize, entry: &RouteEntry, message: String) {
        self.findings.push(Finding { code, line, route: entry.id.clone(), message });
    }

    fn row(&self, id: &str) -> Option<&'static NativeRoute> {
        self.native.iter().find(|row| row.id == id)
    }

    fn id(&mut self, entry: &RouteEntry) {
        if self.row(&entry.id).is_some() {
            return;
        }
        let native: Vec<&str> = self.native.iter().map(|row| row.id).collect();
        let families = self.litellm.family_ids();
        if entry.mode != Mode::Python {
            let message = format!(
                "mode `{}`, but there is no such native route: {}",
                entry.mode.as_str(),
                unknown("id", &entry.id, native.into_iter())
            );
            self.push(LintCode::NotNative, entry.line, entry, message);
        } else if !families.contains(&entry.id) {
            let known = native.into_iter().chain(families.iter().map(String::as_str));
            let known: Vec<&str> = known.collect();
            let message = match super::values::nearest(&entry.id, &known) {
                Some(near) => format!("neither a native route nor a family of LiteLLM; did you mean `{near}`?"),
                None => "neither a native route nor a family of LiteLLM's routes".to_owned(),
            };
            self.push(LintCode::UnknownId, entry.line, entry, message);
        }
    }

    fn tolerances(&mut self, entry: &RouteEntry, today: Date) {
        for tolerate in entry.tolerate.iter().filter(|tolerate| tolerate.until < today) {
            let message = format!("tolerated until {} only: {}", tolerate.until, tolerate.what);
            self.push(LintCode::ExpiredTolerance, tolerate.line, entry, message);
        }
    }

    /// A path that an earlier entry, or an earlier path of the same one, takes whole.
    fn dead(&mut self, entry: &RouteEntry, path: &PathLine, earlier: &[RouteEntry], position: usize) {
        let own = entry.paths.get(..position).unwrap_or_default();
        if let Some(first) = own.iter().find(|first| covers(&first.pattern, &path.pattern)) {
            let message = format!("`{}` is part of `{}` just before it", path.pattern, first.pattern);
            self.push(LintCode::Dead, path.line, entry, message);
            return;
        }
        let methods = |entry: &RouteEntry| entry.methods.clone();
        let taken = earlier.iter().find_map(|other| {
            let all = match (methods(other), methods(entry)) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(theirs), Some(ours)) => ours.iter().all(|method| theirs.contains(method)),
            };
            let first = other.paths.iter().find(|first| all && covers(&first.pattern, &path.pattern))?;
            Some((other.id.clone(), first.line, first.pattern.clone()))
        });
        if let Some((id, line, pattern)) = taken {
            let message =
                format!("no request reaches `{}`: `{pattern}` of `{id}` on line {line} takes it", path.pattern);
            self.push(LintCode::Dead, path.line, entry, message);
        }
    }

    /// Some LiteLLM route must answer the path, and each method that is named.
    fn litellm_serves(&mut self, entry: &RouteEntry, path: &PathLine) {
        let overlapping: Vec<&LiteLlmRoute> =
            self.litellm.routes.iter().filter(|route| overlaps(&route.pattern, &path.pattern)).collect();
        if overlapping.is_empty() {
            let message = format!("LiteLLM {} has no route at `{}`", self.litellm.version, path.pattern);
            self.push(LintCode::NoLiteLlmRoute, path.line, entry, message);
            return;
        }
        for method in entry.methods.iter().flatten() {
            if !overlapping.iter().any(|route| route.serves(method.as_str())) {
                let message = format!("LiteLLM does not serve {method} at `{}`", path.pattern);
                self.push(LintCode::NoLiteLlmMethod, path.line, entry, message);
            }
        }
    }

    /// What the edge is to serve must be exactly one LiteLLM route, and the first that matches there.
    fn native_path(&mut self, entry: &RouteEntry, path: &PathLine) {
        let Some(row) = self.row(&entry.id) else { return };
        let own_patterns = row.paths.iter().filter_map(|own| Pattern::parse(own).ok());
        let Some(own_pattern) = own_patterns.into_iter().find(|own| covers(own, &path.pattern)) else {
            let message = format!("the native route does not serve `{}`: it is always Python's", path.pattern);
            self.push(LintCode::NotServed, path.line, entry, message);
            return;
        };
        let named: Vec<&str> = match &entry.methods {
            Some(methods) => methods.iter().map(http::Method::as_str).collect(),
            None => row.methods.iter().map(http::Method::as_str).collect(),
        };
        for method in named {
            if !row.methods.iter().any(|own| own.as_str() == method) {
                let message = format!("the native route does not serve {method}: it is always Python's");
                self.push(LintCode::NotServed, path.line, entry, message);
                continue;
            }
            let routes = &self.litellm.routes;
            let own = routes.iter().position(|route| route.serves(method) && same_shape(&route.pattern, &own_pattern));
            let Some(own) = own else {
                // a path without any route is reported by `litellm_serves`
                if overlaps_any(routes, &path.pattern) {
                    let message = format!("`{}` is no route of LiteLLM's table for {method}", path.pattern);
                    self.push(LintCode::NoLiteLlmRoute, path.line, entry, message);
                }
                continue;
            };
            let first = routes
                .iter()
                .take(own)
                .find(|route| route.serves(method) && overlaps(&route.pattern, &path.pattern))
                .map(|route| route.pattern.to_string());
            if let Some(first) = first {
                let message = format!("LiteLLM matches `{first}` before `{}` for {method}", path.pattern);
                self.push(LintCode::ShadowedByLiteLlm, path.line, entry, message);
            }
        }
    }

    /// LiteLLM routes that no entry lists, by family.
    fn unlisted(&mut self, file: &RoutesFile) {
        let patterns: Vec<&Pattern> =
            file.routes.iter().flat_map(|entry| &entry.paths).map(|path| &path.pattern).collect();
        let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
        for route in &self.litellm.routes {
            if patterns.iter().any(|pattern| covers(pattern, &route.pattern)) {
                continue;
            }
            let path = route.pattern.as_str();
            match families.iter_mut().find(|(family, _)| *family == route.group) {
                Some((_, paths)) if paths.contains(&path) => {}
                Some((_, paths)) => paths.push(path),
                None => families.push((&route.group, vec![path])),
            }
        }
        for (family, paths) in families {
            let shown: Vec<String> = paths.iter().take(3).map(|path| format!("`{path}`")).collect();
            let more = match paths.len().saturating_sub(3) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.findings.push(Finding {
                code: LintCode::Unlisted,
                line: 0,
                route: family.to_owned(),
                message: format!("no entry lists LiteLLM's {}{more}", shown.join(", ")),
            });
        }
    }
}

fn overlaps_any(routes: &[LiteLlmRoute], pattern: &Pattern) -> bool {
    routes.iter().any(|route| route.kind != RouteKind::WebSocket && overlaps(&route.pattern, pattern))
}

fn overlaps(a: &Pattern, b: &Pattern) -> bool {
    meet(a, b).overlaps
}

fn covers(a: &Pattern, b: &Pattern) -> bool {
    meet(a, b).covers
}

/// [`relation`], with the cheap answer first: most patterns begin with different segments.
fn meet(a: &Pattern, b: &Pattern) -> Relation {
    match (a.first_segment(), b.first_segment()) {
        (Some(a), Some(b)) if a != b => Relation { overlaps: false, covers: false },
        _ => relation(a, b),
    }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
