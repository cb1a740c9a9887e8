//! Which words in the metadata of a key and its owners only its owners can have meant: none that LiteLLM looks up
//! anywhere (`metadata_words.txt`, made and held to LiteLLM's sources by `parity-tests/tools/metadata_words.py`). Pure. It
//! must never let a word pass on suspicion that it is harmless: the list alone decides.
use serde_json::{Map, Value};

/// In lower case, sorted, one a line.
const WORDS: &str = include_str!("metadata_words.txt");
/// No longer name is in the list.
const LONGEST: usize = 64;

/// Whether nothing of LiteLLM's is set there, but for what `also` knows.
pub(super) fn is_plain(metadata: &Map<String, Value>, also: fn(&str) -> bool) -> bool {
    metadata.keys().all(|name| also(name) || is_owners(name))
}

fn is_owners(name: &str) -> bool {
    // what could not be in the list is not known to be absent from LiteLLM
    let listable = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(listable) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let (mut low, mut high) = (0, WORDS.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = WORDS.get(..middle).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = WORDS.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        match line.cmp(&name) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Less => low = start + line.len() + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_list_is_found_and_no_other() {
        assert!(WORDS.lines().is_sorted() && WORDS.ends_with('\n') && WORDS.is_ascii());
        for word in WORDS.lines() {
            assert!(!is_owners(word) && !is_owners(&word.to_ascii_uppercase()), "{word}");
            let (longer, shorter) = (format!("{word}0"), &word[..word.len() - 1]);
            for other in [longer.as_str(), shorter] {
                let listed = WORDS.lines().any(|line| line == other) || other.is_empty() || other.len() > LONGEST;
                assert_eq!(is_owners(other), !listed, "{other}");
            }
        }
    }

    #[test]
    fn what_litellm_acts_upon_is_in_it() {
        for word in [
            "tags",
            "guardrails",
            "logging",
            "cache",
            "priority",
            "spend_logs_metadata",
            "enforced_params",
            "prompts",
            "model_rpm_limit",
            "temp_budget_increase",
            "temp_budget_expiry",
            "disable_global_guardrails",
            "policies",
            "service_account_id",
            "litellm_disabled_callbacks",
            "throttle_on_budget_exceeded",
            "max_iterations",
            "password_reset_required",
            "callback_vars",
            "callback_settings",
            "max_budget_alert_emails",
            "tag_rpm_limit",
            "allowed_passthrough_routes",
            "opted_out_global_guardrails",
            "mcp_rpm_limit",
            "team_member_budget_id",
            "secret_manager_settings",
            "soft_budget_alerting_emails",
        ] {
            assert!(!is_owners(word), "{word}");
        }
        assert!(!is_owners("") && !is_owners("a b") && !is_owners("é") && !is_owners(&"x".repeat(65)));
    }
}
