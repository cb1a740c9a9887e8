//! Canary secrets: texts that must never stand in a log or a report. Pure.
use serde_json::Value;

use super::{
    case::{Case, Key},
    client::WRONG_KEY,
};
use crate::secret::Secret;

/// Shorter texts of a prompt stand everywhere by chance.
const MIN_PROMPT: usize = 12;

/// Names and secrets; only names are ever shown.
#[derive(Debug, Clone)]
pub struct Canaries {
    secrets: Vec<(&'static str, Secret)>,
}

impl Canaries {
    pub fn new(secrets: impl IntoIterator<Item = (&'static str, Secret)>) -> Self {
        let secrets = secrets.into_iter().filter(|(_, secret)| !secret.expose().is_empty()).collect();
        Self { secrets }
    }

    /// With the case's prompts and keys.
    pub fn of_case(&self, case: &Case) -> Self {
        let mut secrets = self.secrets.clone();
        for request in &case.requests {
            match &request.key.0 {
                Key::Wrong => secrets.push(("the caller's key", Secret::new(WRONG_KEY))),
                Key::Raw(text) if text.len() >= MIN_PROMPT => secrets.push(("the caller's key", Secret::new(text))),
                Key::Env(name) => {
                    secrets.push(("the caller's key", Secret::new(std::env::var(name).unwrap_or_default())))
                }
                _ => {}
            }
            prompts(|key| request.json.as_ref().and_then(|json| json.get(key)), &mut secrets);
        }
        if let Some(call) = &case.client {
            prompts(|key| call.args.get(key), &mut secrets);
        }
        Self::new(secrets)
    }

    /// The names of those that stand in the text.
    pub fn seen_in(&self, text: &str) -> Vec<String> {
        let mut seen: Vec<String> = self
            .secrets
            .iter()
            .filter(|(_, secret)| text.contains(secret.expose()))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        seen.dedup();
        seen
    }

    /// The text without them.
    pub fn redact(&self, mut text: String) -> String {
        for (name, secret) in &self.secrets {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), &format!("<{name}>"));
            }
        }
        text
    }
}

fn prompts<'a>(get: impl Fn(&str) -> Option<&'a Value>, out: &mut Vec<(&'static str, Secret)>) {
    for key in ["messages", "system", "prompt", "input", "instructions"] {
        texts(get(key), out);
    }
}

/// Prompt texts: values of `content`, `text` and the like; words of the format (`role`, `type`) are none.
fn texts(value: Option<&Value>, out: &mut Vec<(&'static str, Secret)>) {
    match value {
        Some(Value::String(text)) if text.len() >= MIN_PROMPT => out.push(("a prompt", Secret::new(text))),
        Some(Value::Array(items)) => items.iter().for_each(|item| texts(Some(item), out)),
        Some(Value::Object(map)) => {
            for key in ["content", "text", "input", "arguments", "thinking"] {
                texts(map.get(key), out);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_keys_are_found_and_redacted() {
        let text = "{route: r, why: w, expect: native, request: {method: POST, path: /, key: wrong, json: \
                    {model: gpt-4o-mini-long, messages: [{role: assistant_long, content: [{type: text_text_text, text: 'tell me a secret'}]}]}}}";
        let case = crate::parity::case::parse(std::path::Path::new("r/x.yaml"), text).unwrap();
        let canaries = Canaries::new([("master key", Secret::new("sk-m")), ("none", Secret::new(""))]).of_case(&case);
        assert!(canaries.seen_in("gpt-4o-mini-long assistant_long text_text_text").is_empty());
        assert_eq!(canaries.seen_in("x sk-m y tell me a secret"), ["master key", "a prompt"]);
        assert_eq!(canaries.seen_in(WRONG_KEY), ["the caller's key"]);
        assert_eq!(canaries.redact("a sk-m b tell me a secret".into()), "a <master key> b <a prompt>");
    }
}
