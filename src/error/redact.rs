//! Credentials in texts of others: what LiteLLM replaces by `REDACTED` before a provider's words reach a client
//! (litellm_core_utils/secret_redaction.py `redact_string`). Errs on the side of hiding.
use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// What stands in place of a secret.
pub const REDACTED: &str = "REDACTED";

/// One alternative each, tried in this order at each position. What is captured stays.
const PATTERNS: [&str; 22] = [
    r"-----BEGIN[A-Z \-]*PRIVATE KEY-----[\s\S]*?-----END[A-Z \-]*PRIVATE KEY-----",
    r"\bya29\.[A-Za-z0-9_.~+/-]+",
    r#"(?:client_secret|azure_password|azure_username)\s+[^\s,'"})\]{}>]+"#,
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"Bearer\s+[A-Za-z0-9\-._~+/]{10,}=*",
    r"Basic\s+[A-Za-z0-9+/]{10,}={0,2}",
    r"sk-[A-Za-z0-9\-_]{13,}",
    r#"([?&])(?:api[_-]?key|\w*(?:token|password|passwd|client_secret|secret_key|_secret))=[^\s&'"]+"#,
    r#"(?:api[_-]?key)['"]?\s*[:=]\s*['"]?[^\s,'"})\]{}>]{8,}"#,
    r#"(?:x-api-key|api-key)['"]?\s*[:=]\s*['"]?[^\s,'"})\]{}>]+"#,
    r"x-ak-[A-Za-z0-9\-_]{20,}",
    r"AIza[0-9A-Za-z\-_]{35}",
    r#"([?&])key=[^\s&'"]{8,}"#,
    r#"(^|\W)\w*(?:password|passwd|client_secret|secret_key|_secret)['"]?\s*[:=]\s*['"]?[^\s,'"})\]{}>]+"#,
    r#"(://)[^\s'":]*:[^\s'"]+(@)"#,
    r"dapi[0-9a-f]{32}",
    r#"litellm\.[A-Za-z0-9_]*_key['"]?\s*[:=]\s*['"]?[^\s,'"})\]{}>]+"#,
    r#"private_key['"]?\s*[:=]\s*['"]?(?:-----BEGIN[A-Z \-]*PRIVATE KEY-----[\s\S]*?-----END[A-Z \-]*PRIVATE KEY-----|[^\s,'"})\]{}>]+)"#,
    r#"(?:master_key|xai_key|database_url|db_url|connection_string|aws_secret_access_key|aws_session_token|aws_access_key_id|s3_secret_access_key|s3_access_key_id|signing_key|encryption_key|auth_token|access_token|refresh_token|slack_webhook_url|webhook_url|database_connection_string|huggingface_token|jwt_secret)['"]?\s*[:=]\s*['"]?[^\s,'"})\]{}>]+"#,
    r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
    r"([?&])sig=[A-Za-z0-9%+/=]+",
    r#"\{[^{}]*"type"\s*:\s*"service_account"[^{}]*(?:\{[^{}]*\}[^{}]*)*\}"#,
];

/// `None` only if a pattern above is malformed, which a test rules out; then everything is hidden.
static SECRETS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?i){}", PATTERNS.join("|"))).ok());

/// The text without credentials.
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some(secrets) = SECRETS.as_ref() else { return Cow::Borrowed(REDACTED) };
    secrets.replace_all(text, |found: &Captures<'_>| {
        let mut kept = found.iter().skip(1).flatten();
        let before = kept.next().map_or("", |group| group.as_str());
        let after = kept.next().map_or("", |group| group.as_str());
        format!("{before}{REDACTED}{after}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden() {
        for (text, wanted) in [
            (
                "your key sk-ant-api03-abcdefghijkl is bad, Bearer abcdefghijklmnop.",
                "your key REDACTED is bad, REDACTED",
            ),
            ("https://h/p?api_key=abc&x=1", "https://h/p?REDACTED&x=1"),
            ("postgres://user:pw@host/db", "postgres://REDACTED@host/db"),
            ("x password: hunter2, y", "x REDACTED, y"),
            (r#"{"api_key": "12345678"}"#, r#"{"REDACTED"}"#),
            ("AKIAABCDEFGHIJKLMNOP", "REDACTED"),
            ("sk-short, nothing here: messages.0 max_tokens", "sk-short, nothing here: messages.0 max_tokens"),
        ] {
            assert_eq!(redact(text), wanted, "{text}");
        }
    }
}
