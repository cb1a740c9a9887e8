//! What became of each key of config.yaml, for `config check` and the start-up log. It names keys, places and shapes,
//! never values.
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::keys::{Rule, Section, When, rule};
use super::yaml::Node;
use crate::routes::Decline;

/// What the edge does about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// honoured natively
    Native,
    /// no bearing on what is served natively
    NoBearing,
    /// requests go to Python because of it
    Declines(Decline),
    /// LiteLLM reads no such key
    Unknown,
    /// LiteLLM skips this deployment
    Skipped,
}

impl Verdict {
    /// The word in the table and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Native => "native",
            Verdict::NoBearing => "no bearing",
            Verdict::Declines(_) => "declines",
            Verdict::Unknown => "unknown",
            Verdict::Skipped => "skipped",
        }
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// dotted path: `litellm_settings.callbacks`, `model_list[0].litellm_params.rpm`
    pub key: String,
    /// index into [`Report::files`]; `None`: the environment, or a key that is missing
    pub place: Option<(u16, u32)>,
    pub verdict: Verdict,
    /// what it means and what would be right; may be empty
    pub note: String,
}

/// All keys of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub files: Vec<PathBuf>,
    pub rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        key: impl Into<String>,
        node: Option<&Node>,
        verdict: Verdict,
        note: impl Into<String>,
    ) {
        let place = node.map(|node| (node.file, node.line));
        self.rows.push(Row { key: key.into(), place, verdict, note: note.into() });
    }

    /// Applies the table to one key; what declines is also returned.
    pub(crate) fn classify(&mut self, section: Section, at: &str, name: &str, node: &Node) -> Option<Decline> {
        let key = format!("{at}{}{name}", if at.is_empty() || at.ends_with('.') { section.path() } else { "" });
        let (verdict, note) = match rule(section, name) {
            Rule::Native if name == "model_group_alias" => {
                (Verdict::Native, "requests by an alias go to Python".into())
            }
            Rule::Native => (Verdict::Native, String::new()),
            Rule::NoBearing => (Verdict::NoBearing, String::new()),
            Rule::Unknown if section == Section::RouterSettings => {
                (Verdict::Unknown, "not an argument of the router: ignored by LiteLLM".into())
            }
            Rule::Unknown => (Verdict::Unknown, "read nowhere in LiteLLM 1.106.2".into()),
            Rule::Declines(decline, when) if when.holds(&node.value) => {
                (Verdict::Declines(decline), why(decline, when))
            }
            Rule::Declines(..) => (Verdict::Native, "as the edge assumes".into()),
        };
        self.add(key, Some(node), verdict, note);
        match verdict {
            Verdict::Declines(decline) => Some(decline),
            _ => None,
        }
    }

    /// The routes that a decline touches.
    pub fn routes(decline: Decline) -> &'static str {
        match decline {
            Decline::ModelsInDatabase => "models, chat_completions, messages",
            _ => "chat_completions, messages",
        }
    }

    /// The file name and line of a row: `config.yaml:12`.
    pub fn place(&self, row: &Row) -> String {
        let Some((file, line)) = row.place else { return String::new() };
        let name = self.files.get(usize::from(file)).and_then(|path| path.file_name());
        format!("{}:{line}", name.map_or_else(String::new, |name| name.to_string_lossy().into_owned()))
    }

    /// For machines.
    pub fn to_json(&self) -> Json {
        let rows = self.rows.iter().map(|row| {
            let (decline, routes) = match row.verdict {
                Verdict::Declines(decline) => (Some(decline.as_str()), Some(Self::routes(decline))),
                _ => (None, None),
            };
            json!({
                "key": row.key, "place": self.place(row), "verdict": row.verdict.as_str(),
                "decline": decline, "routes": routes, "note": row.note,
            })
        });
        json!({ "keys": rows.collect::<Vec<_>>() })
    }

    /// For people: one line a key, declines last in full.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let places: Vec<String> = self.rows.iter().map(|row| self.place(row)).collect();
        let wide = |texts: &mut dyn Iterator<Item = usize>, most: usize| texts.max().unwrap_or(0).min(most);
        let key_width = wide(&mut self.rows.iter().map(|row| row.key.len()), 60);
        let place_width = wide(&mut places.iter().map(String::len), 30);
        for (row, place) in self.rows.iter().zip(&places) {
            let verdict = match row.verdict {
                Verdict::Declines(decline) => format!("declines: {decline} [{}]", Self::routes(decline)),
                verdict => verdict.as_str().to_owned(),
            };
            let note = if row.note.is_empty() { String::new() } else { format!(" - {}", row.note) };
            out += &format!("{place:place_width$}  {:key_width$}  {verdict}{note}\n", row.key);
        }
        out
    }
}

fn why(decline: Decline, when: When) -> String {
    format!("{}; served natively where it is {}", decline.why(), when.accepts())
}
