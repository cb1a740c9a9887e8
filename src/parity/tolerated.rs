//! `parity-tests/tolerated.toml`: the one list of differences that are allowed, each with a reason and an end date.
//! Strict both ways: an entry that no longer matches anything fails the run, and so does an expired one. Pure.
use std::cell::Cell;

use serde::Deserialize;
use time::{Date, macros::format_description};

use super::diff::{Difference, Kind};

#[derive(Debug, thiserror::Error)]
pub enum ToleratedError {
    #[error("tolerated.toml: {0}")]
    Toml(#[from] toml::de::Error),
    #[error("tolerated.toml: entry {0}: {1}")]
    Entry(usize, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tolerated: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    route: String,
    #[serde(default = "any")]
    case: String,
    #[serde(default = "any")]
    expect: String,
    #[serde(default)]
    except: Vec<String>,
    r#where: String,
    kind: Option<Kind>,
    why: String,
    until: String,
}

fn any() -> String {
    "*".into()
}

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// glob over route ids
    pub route: String,
    /// glob over file names of cases
    pub case: String,
    /// glob over `expect` of cases: `native` leaves those alone that Python serves on both sides
    pub expect: String,
    /// globs over file names of cases that it leaves alone
    pub except: Vec<String>,
    /// glob over paths of differences; also what is below a path
    pub location: String,
    /// only this kind of difference: `missing`, `row_count`, ...
    pub kind: Option<Kind>,
    pub why: String,
    pub until: Date,
    used: Cell<u64>,
}

/// The list.
#[derive(Debug, Default)]
pub struct Tolerated {
    pub entries: Vec<Entry>,
}

/// What a difference was found in.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub route: &'a str,
    /// file name of the case without `.yaml`
    pub file: &'a str,
    /// `native`, `passed` or `declined:<reason>`
    pub expect: &'a str,
}

/// The subject of differences in what a whole phase wrote.
pub const RUN: Subject<'static> = Subject { route: "run", file: "", expect: "" };

/// Nothing may excuse these.
const NEVER: &[&str] = &["expect.", "log."];

impl Tolerated {
    pub fn parse(text: &str) -> Result<Self, ToleratedError> {
        let file: File = toml::from_str(text)?;
        let mut entries = Vec::new();
        for (i, written) in file.tolerated.into_iter().enumerate() {
            let wrong = |message: &str| ToleratedError::Entry(i + 1, message.to_owned());
            let until = Date::parse(&written.until, format_description!("[year]-[month]-[day]"))
                .map_err(|_| wrong("until: must be a date, 2026-12-31"))?;
            if written.why.trim().len() < 10 {
                return Err(wrong("why: gives no reason"));
            }
            if NEVER.iter().any(|never| written.r#where.starts_with(never)) || written.r#where == "*" {
                return Err(wrong("where: this can not be tolerated"));
            }
            // `response.` is `response[*].`
            let mut location = written.r#where;
            for list in ["response", "provider", "recorded"] {
                if let Some(rest) = location.strip_prefix(&format!("{list}.")) {
                    location = format!("{list}[*].{rest}");
                }
            }
            entries.push(Entry {
                route: written.route,
                case: written.case,
                expect: written.expect,
                except: written.except,
                location,
                kind: written.kind,
                why: written.why,
                until,
                used: Cell::new(0),
            });
        }
        Ok(Self { entries })
    }

    /// Whether an entry allows this difference; notes that the entry was needed.
    pub fn allows(&self, case: &Subject<'_>, difference: &Difference) -> bool {
        let path = &difference.path;
        if NEVER.iter().any(|never| path.starts_with(never)) {
            return false;
        }
        let mut allowed = false;
        // every entry that matches is in use, not only the first
        for entry in &self.entries {
            let about =
                glob(&entry.route, case.route) && glob(&entry.case, case.file) && glob(&entry.expect, case.expect);
            let about = about && !entry.except.iter().any(|except| glob(except, case.file));
            let of_kind = entry.kind.is_none_or(|kind| kind == difference.kind);
            if about && of_kind && covers(&entry.location, path) {
                entry.used.set(entry.used.get() + 1);
                allowed = true;
            }
        }
        allowed
    }

    /// Entries that were needed, with how often.
    pub fn used(&self) -> impl Iterator<Item = (&Entry, u64)> {
        self.entries.iter().map(|entry| (entry, entry.used.get())).filter(|(_, used)| *used > 0)
    }

    /// Entries that fail the run: expired, or about whole routes that were run (`ran`) and never needed.
    pub fn complaints(&self, today: Date, ran: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for entry in self.entries.iter().filter(|entry| ran(&entry.route)) {
            if entry.until < today {
                let what = format!("tolerated until {} and expired: {} {}", entry.until, entry.route, entry.location);
                out.push((entry.route.clone(), what));
            } else if entry.used.get() == 0 {
                let what = format!("tolerated but does not occur: {} {} {}", entry.route, entry.case, entry.location);
                out.push((entry.route.clone(), what));
            }
        }
        out
    }
}

/// The path itself or anything below it.
pub fn covers(pattern: &str, path: &str) -> bool {
    glob(pattern, path)
        || path
            .char_indices()
            .any(|(at, c)| matches!(c, '.' | '/' | '[') && path.get(..at).is_some_and(|above| glob(pattern, above)))
}

/// `*` is any text, also none; everything else is itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::diff::Kind;
    use time::macros::date;

    const LIST: &str = r#"
        [[tolerated]]
        route = "chat_completions"
        case = "tool*"
        where = "response.header.x-foo"
        why = "a reason that says something"
        until = "2027-01-01"
        [[tolerated]]
        route = "*"
        expect = "native"
        except = ["key_rpm*", "key_tpm*"]
        where = "rows.LiteLLM_SpendLogs"
        why = "a reason that says something"
        until = "2020-01-01"
    "#;

    fn difference(path: &str) -> Difference {
        Difference { path: path.into(), kind: Kind::Value, python: None, other: None }
    }

    #[test]
    fn entries_match_route_case_and_path() {
        let list = Tolerated::parse(LIST).unwrap();
        let allows = |route, file, expect, path: &str| list.allows(&Subject { route, file, expect }, &difference(path));
        assert!(allows("chat_completions", "tool_calls", "passed", "response[1].header.x-foo"));
        assert!(!allows("chat_completions", "tool_calls", "native", "response[1].header.x-foobar"));
        assert!(!allows("chat_completions", "other", "native", "response[0].header.x-foo"));
        assert!(!allows("messages", "tool_calls", "native", "response[0].header.x-foo"));
        assert!(allows("messages", "x", "native", "rows.LiteLLM_SpendLogs[0].spend"));
        assert!(!allows("messages", "key_tpm_at", "native", "rows.LiteLLM_SpendLogs[0].spend"));
        assert!(!allows("messages", "x", "declined:model", "rows.LiteLLM_SpendLogs[0].spend"));
        assert!(!allows("messages", "x", "native", "rows.LiteLLM_SpendLogsX"));
        assert!(!allows("messages", "x", "native", "expect.served_by"));
    }

    #[test]
    fn an_entry_may_be_for_one_kind_alone() {
        let of_kind = LIST.replace("where = \"rows.LiteLLM_SpendLogs\"", "where = \"rows.*\"\nkind = \"row_count\"");
        let list = Tolerated::parse(&of_kind).unwrap();
        let subject = Subject { route: "messages", file: "x", expect: "native" };
        let of = |kind| Difference { kind, ..difference("rows.LiteLLM_SpendLogs") };
        assert!(list.allows(&subject, &of(Kind::RowCount)) && !list.allows(&subject, &of(Kind::Value)));
        assert!(Tolerated::parse(&of_kind.replace("row_count", "row_counts")).is_err());
    }

    #[test]
    fn unused_and_expired_entries_complain() {
        let list = Tolerated::parse(LIST).unwrap();
        let complaints = list.complaints(date!(2026 - 11 - 22), |_| true);
        assert!(complaints[0].1.contains("does not occur") && complaints[1].1.contains("expired"), "{complaints:?}");
        let subject = Subject { route: "chat_completions", file: "tool", expect: "native" };
        list.allows(&subject, &difference("response[0].header.x-foo"));
        assert_eq!(list.complaints(date!(2026 - 11 - 22), |_| true).len(), 1);
        assert!(list.complaints(date!(2026 - 11 - 22), |_| false).is_empty());
    }

    #[test]
    fn entries_need_reason_date_and_place() {
        for (from, to) in [
            ("2027-01-01", "soon"),
            ("a reason that says something", "x"),
            ("response.header.x-foo", "*"),
            ("rows.LiteLLM_SpendLogs", "expect.served_by"),
            ("case =", "cases ="),
        ] {
            assert!(Tolerated::parse(&LIST.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn globs() {
        assert!(glob("a*c", "abc") && glob("*", "") && glob("a", "a") && glob("*b*", "abc"));
        assert!(!glob("a*c", "abd") && !glob("a", "ab") && !glob("ab*b", "ab"));
    }
}
