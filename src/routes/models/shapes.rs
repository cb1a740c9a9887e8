//! The shapes of a list of models: OpenAI's, Anthropic's, and the names Claude Code shows. Pure.
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::{
    config::{Deployment, ModelGroup, Snapshot},
    json::ObjectWriter,
};

/// Which shape a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    OpenAi,
    /// `picker`: with the names Claude Code shows
    Anthropic {
        picker: bool,
    },
}

/// The list, as LiteLLM writes it.
pub(super) fn list(names: &[&str], shape: Shape, snapshot: &Snapshot) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(96 + names.len() * 200);
    let (mut first, mut last) = (None, None);
    let data = out.key("data");
    data.push(b'[');
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            data.push(b',');
        }
        let group = snapshot.groups.get(*name).map(AsRef::as_ref);
        match shape {
            Shape::OpenAi => data.extend_from_slice(&row(name, group)),
            Shape::Anthropic { picker } => {
                let shown = picker.then(|| picker_name(name, most(&infos(group), "max_input_tokens"), snapshot));
                data.extend_from_slice(&entry(name, shown.as_deref(), group));
                let id = shown.unwrap_or_else(|| (*name).to_owned());
                first.get_or_insert_with(|| id.clone());
                last = Some(id);
            }
        }
    }
    data.push(b']');
    match shape {
        Shape::OpenAi => out.string("object", "list"),
        Shape::Anthropic { .. } => {
            out.raw("has_more", "false");
            for (key, id) in [("first_id", first), ("last_id", last)] {
                match id {
                    Some(id) => out.string(key, &id),
                    None => out.raw(key, "null"),
                }
            }
        }
    }
    out.finish()
}

/// One model (llms/anthropic/common_utils.py `_anthropic_model_entry`).
fn entry(name: &str, shown: Option<&str>, group: Option<&ModelGroup>) -> Vec<u8> {
    let mut entry = ObjectWriter::with_capacity(220);
    entry.string("type", "model");
    entry.string("id", shown.unwrap_or(name));
    if shown.is_some() {
        entry.string("source_model", name);
    }
    entry.string("display_name", name);
    entry.string("created_at", "2023-02-28T18:56:42Z");
    let infos = infos(group);
    for (key, fact) in [("max_input_tokens", "max_input_tokens"), ("max_tokens", "max_output_tokens")] {
        entry.raw(key, &most(&infos, fact).map_or_else(|| "null".to_owned(), |most| format!("{most}")));
    }
    entry.finish()
}

const MILLION: &str = "[1m]";

/// What Claude Code lists a model as: it shows only names with `claude` or `anthropic` in them
/// (proxy/common_utils/model_listing_utils.py `claude_code_model_id`).
fn picker_name(name: &str, most_input: Option<f64>, snapshot: &Snapshot) -> String {
    let lower = name.to_ascii_lowercase();
    let shaped = match lower.contains("claude") || lower.contains("anthropic") {
        true => name.to_owned(),
        false => format!("claude-router-{}", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
    };
    let large = most_input.is_some_and(|most| most >= 1_000_000.0);
    let marked = match large && !shaped.to_ascii_lowercase().ends_with(MILLION) {
        true => format!("{shaped}{MILLION}"),
        false => shaped.clone(),
    };
    // a name of this configuration is its own
    let taken = |shown: &str| {
        snapshot.groups.contains_key(shown)
            || snapshot.groups.values().flat_map(|group| &group.deployments).any(|deployment| deployment.id == shown)
    };
    // LiteLLM first takes the mark off, then looks whether that is a model
    let leads_back = |shown: &str| {
        let unmarked = match shown.to_ascii_lowercase().ends_with(MILLION) {
            true => shown.get(..shown.len() - MILLION.len()).unwrap_or(shown),
            false => shown,
        };
        match unmarked != shown && taken(unmarked) {
            true => unmarked == name,
            false => unmarked == shaped && shaped != name,
        }
    };
    let fits = |shown: &String| shown == name || !taken(shown) && leads_back(shown);
    [marked, shaped.clone()].into_iter().find(fits).unwrap_or_else(|| name.to_owned())
}

/// A Claude that LiteLLM's price map does not have (`fallback_generalizations`, rule claude-family-baseline).
static CLAUDE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)claude-[a-z]+-\d+(?:[-.]\d+)?(?:-\d{8})?").ok());
static CLAUDE_BASELINE: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let facts = [("max_input_tokens", 200_000), ("max_output_tokens", 64_000)];
    let mut info: Map<String, Value> = facts.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    info.insert("mode".into(), "chat".into());
    info
});

fn info_of(deployment: &Deployment) -> &Map<String, Value> {
    let is_claude = || CLAUDE.as_ref().is_some_and(|claude| claude.is_match(&deployment.litellm_model));
    match &deployment.base_info {
        Some(base) => base,
        None if deployment.model_info.is_empty() && is_claude() => &CLAUDE_BASELINE,
        None => &deployment.model_info,
    }
}

fn infos(group: Option<&ModelGroup>) -> Vec<&Map<String, Value>> {
    group.map(|group| group.deployments.iter().map(|d| info_of(d)).collect()).unwrap_or_default()
}

/// The largest of its deployments.
fn most(infos: &[&Map<String, Value>], key: &str) -> Option<f64> {
    infos.iter().filter_map(|info| info.get(key)).filter_map(Value::as_f64).reduce(f64::max)
}

/// One model (proxy/utils.py `create_model_info_response`).
fn row(name: &str, group: Option<&ModelGroup>) -> Vec<u8> {
    let mut row = ObjectWriter::with_capacity(160);
    row.string("id", name);
    row.string("object", "model");
    row.raw("created", "1677610602");
    row.string("owned_by", "openai");
    let infos = infos(group);
    if let Some(mode) = infos.first().and_then(|info| info.get("mode")).and_then(Value::as_str) {
        row.string("mode", mode);
    }
    for key in ["max_input_tokens", "max_output_tokens"] {
        if let Some(most) = most(&infos, key) {
            row.raw(key, &format!("{most}"));
        }
    }
    row.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_codes_names_lead_back() {
        let snapshot = Snapshot::default();
        assert_eq!(picker_name("claude-opus", Some(200_000.0), &snapshot), "claude-opus");
        assert_eq!(picker_name("gpt", None, &snapshot), "claude-router-677074");
        assert_eq!(picker_name("gpt", Some(1e6), &snapshot), "claude-router-677074[1m]");
        assert_eq!(picker_name("claude-big[1M]", Some(1e6), &snapshot), "claude-big[1M]");
    }
}
