//! One look over `messages` for what LiteLLM would rewrite (llms/anthropic/common_utils.py: `strip_empty_content_blocks`,
//! `sanitize_tool_use_ids`, `flatten_unencrypted_web_search_results`, `strip_provider_specific_fields`,
//! `strip_advisor_blocks`, `strip_encrypted_reasoning_blocks`): such requests decline. Otherwise `messages` are sent as
//! they stand.
use crate::{
    json::{Kind, Object, Raw},
    routes::Decline,
};

/// What of the history adds to `anthropic-beta` (`_update_headers_with_anthropic_beta`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// a message carries `output_config`
    pub output_config: bool,
    /// a signed `compaction` block
    pub compaction: bool,
}

/// LiteLLM's mark of another provider's reasoning (prompt_templates/common_utils.py).
const FOREIGN_REASONING: &str = "litellm_encrypted_reasoning";

/// Judges all messages; the error is why LiteLLM's own rewriting is needed.
pub(super) fn look(messages: Raw<'_>) -> Result<Findings, Decline> {
    let mut findings = Findings::default();
    for (_, message) in messages.array_of_objects().ok_or(Decline::FieldType)? {
        let message = message.ok_or(Decline::MessageShape)?;
        if message.has_duplicates() {
            return Err(Decline::DuplicateKey);
        }
        let role = message.get("role").and_then(Raw::as_str);
        findings.output_config |= message.get("output_config").is_some();
        let Some(content) = message.get("content") else { continue };
        let Some(blocks) = content.array_of_objects() else { continue };
        for block in blocks.iter().filter_map(|(_, block)| block.as_ref()) {
            look_at_block(block, role.as_deref(), &mut findings)?;
        }
    }
    Ok(findings)
}

fn look_at_block(block: &Object<'_>, role: Option<&str>, findings: &mut Findings) -> Result<(), Decline> {
    if block.has_duplicates() {
        return Err(Decline::DuplicateKey);
    }
    if block.get("provider_specific_fields").is_some() {
        return Err(Decline::MessageShape);
    }
    let Some(kind) = block.get("type").and_then(Raw::as_str) else { return Ok(()) };
    let keep = match kind.as_ref() {
        "text" => block.get("text").is_some_and(|text| !is_blank(text)),
        "thinking" => thinking_stays(block),
        "redacted_thinking" => !is_foreign(block.get("data")),
        "tool_use" => id_stays(block.get("id")),
        "server_tool_use" => {
            let advisor = block.get("name").and_then(Raw::as_str).is_some_and(|name| name == "advisor");
            id_stays(block.get("id")) && !advisor
        }
        "tool_result" => id_stays(block.get("tool_use_id")),
        "web_search_tool_result" => is_encrypted_search(block),
        "compaction" => {
            findings.compaction |=
                block.get("signature").is_some_and(|s| s.kind() == Kind::String && s.text() != "\"\"");
            true
        }
        "tool_addition" | "tool_removal" => role != Some("system"),
        _ => true,
    };
    if keep { Ok(()) } else { Err(Decline::MessageShape) }
}

/// A block with thinking text or a signature stays; foreign reasoning goes.
fn thinking_stays(block: &Object<'_>) -> bool {
    let signature = block.some("signature");
    if is_foreign(signature) {
        return false;
    }
    let empty = block.get("thinking").is_none_or(is_blank);
    !empty || signature.is_some_and(|s| s.kind() == Kind::String && s.text() != "\"\"")
}

fn is_foreign(value: Option<Raw<'_>>) -> bool {
    value.is_some_and(|value| {
        let text = value.text();
        // an escape near the start could hide the mark: nobody writes base64 that way
        let head = text.get(1..FOREIGN_REASONING.len() + 1).unwrap_or(text);
        head == FOREIGN_REASONING || head.contains('\\')
    })
}

/// Ids Anthropic takes: `^[a-zA-Z0-9_-]+$` and no Gemini suffix; anything but a string is left alone.
fn id_stays(id: Option<Raw<'_>>) -> bool {
    let Some(id) = id.filter(|id| id.kind() == Kind::String) else { return true };
    let inner = id.text().trim_matches('"');
    !inner.is_empty()
        && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && memchr::memmem::find(inner.as_bytes(), b"__thought__").is_none()
}

/// Whether some result carries `encrypted_content`, as Anthropic's own do.
fn is_encrypted_search(block: &Object<'_>) -> bool {
    let results = block.get("content").and_then(Raw::array).unwrap_or_default();
    results.iter().filter_map(|result| result.object()).any(|result| {
        result.get("encrypted_content").is_some_and(|text| text.kind() == Kind::String && text.text() != "\"\"")
    })
}

/// Python's `not isinstance(x, str) or not x.strip()`, on the JSON text, without unescaping all of it.
fn is_blank(text: Raw<'_>) -> bool {
    if text.kind() != Kind::String {
        return true;
    }
    let mut rest = text.text().get(1..).unwrap_or_default().chars();
    while let Some(next) = rest.next() {
        match next {
            '"' => return true,
            '\\' => match rest.next() {
                Some('n' | 'r' | 't' | 'f') => {}
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let unit = u32::from_str_radix(&digits, 16).unwrap_or(u32::from(b'x'));
                    if !char::from_u32(unit).is_some_and(is_python_space) {
                        return false;
                    }
                }
                _ => return false,
            },
            other if is_python_space(other) => {}
            _ => return false,
        }
    }
    true
}

/// `str.isspace`: Unicode white space and the four information separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(messages: &str) -> Result<Findings, Decline> {
        look(Raw::parse(messages.as_bytes()).unwrap())
    }

    fn block(block: &str) -> Result<Findings, Decline> {
        verdict(&format!(r#"[{{"role":"assistant","content":[{block}]}}]"#))
    }

    #[test]
    fn ordinary_history_is_sent_as_it_stands() {
        for good in [
            "[]",
            r#"[{"role":"user","content":""}]"#,
            r#"[{"role":"user"}]"#,
            r#"[{"role":"user","content":["x",5]}]"#,
        ] {
            assert_eq!(verdict(good), Ok(Findings::default()), "{good}");
        }
        for good in [
            r#"{"type":"text","text":" \n x"}"#,
            r#"{"type":"text","text":"\u00e9"}"#,
            r#"{"type":"thinking","thinking":"","signature":"c2ln"}"#,
            r#"{"type":"thinking","thinking":"x"}"#,
            r#"{"type":"redacted_thinking","data":"zz"}"#,
            r#"{"type":"tool_use","id":"toolu_01-A","name":"Bash","input":{}}"#,
            r#"{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":""}]}"#,
            r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","encrypted_content":"e"}]}"#,
            r#"{"type":"image","source":{}}"#,
            r#"{"type":5}"#,
        ] {
            assert_eq!(block(good), Ok(Findings::default()), "{good}");
        }
    }

    #[test]
    fn what_litellm_rewrites_declines() {
        for bad in [
            r#"{"type":"text","text":""}"#,
            r#"{"type":"text","text":" \n\t\u2003　"}"#,
            r#"{"type":"text","text":null}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"thinking","thinking":" "}"#,
            r#"{"type":"thinking","thinking":"","signature":""}"#,
            r#"{"type":"thinking","thinking":"x","signature":"litellm_encrypted_reasoning:x"}"#,
            r#"{"type":"tool_use","id":"functions.Bash:0"}"#,
            r#"{"type":"tool_use","id":""}"#,
            r#"{"type":"tool_use","id":"call_1__thought__x"}"#,
            r#"{"type":"tool_result","tool_use_id":"a\u002e"}"#,
            r#"{"type":"server_tool_use","id":"s","name":"advisor"}"#,
            r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[]}"#,
            r#"{"type":"text","text":"x","provider_specific_fields":null}"#,
        ] {
            assert_eq!(block(bad), Err(Decline::MessageShape), "{bad}");
        }
        assert_eq!(verdict("[5]"), Err(Decline::MessageShape));
        assert_eq!(verdict("{}"), Err(Decline::FieldType));
        assert_eq!(block(r#"{"type":"text","text":"a","text":""}"#), Err(Decline::DuplicateKey));
        assert_eq!(verdict(r#"[{"role":"user","role":"user"}]"#), Err(Decline::DuplicateKey));
    }

    #[test]
    fn betas_are_found() {
        let found = verdict(r#"[{"role":"user","content":"x","output_config":{"effort":"low"}}]"#).unwrap();
        assert_eq!(found, Findings { output_config: true, compaction: false });
        assert!(block(r#"{"type":"compaction","signature":"s"}"#).unwrap().compaction);
        assert!(!block(r#"{"type":"compaction","signature":""}"#).unwrap().compaction);
    }
}
