//! `messages` on their way to the provider: LiteLLM's `OpenAIGPTConfig._transform_messages` and
//! `validate_and_fix_openai_messages` for the shapes built here; every other shape declines. What needs no change is
//! not copied member by member.
use super::members;
use crate::{
    json::{Kind, Object, Raw, push_string},
    routes::Decline,
};

/// Writes the provider's `messages` array.
pub fn write(out: &mut Vec<u8>, messages: Raw<'_>) -> Result<(), Decline> {
    let messages = messages.array_of_objects().ok_or(Decline::FieldType)?;
    out.push(b'[');
    for (at, (message, object)) in messages.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_message(out, message, &object.ok_or(Decline::MessageShape)?)?;
    }
    out.push(b']');
    Ok(())
}

fn write_message(out: &mut Vec<u8>, message: Raw<'_>, object: &Object<'_>) -> Result<(), Decline> {
    if object.has_duplicates() {
        return Err(Decline::DuplicateKey);
    }
    let mut same = true;
    let mut has_role = false;
    for (name, value) in object.iter() {
        match name {
            "role" => {
                has_role = true;
                // `developer` becomes `system`; null and "" become `assistant`
                let role = value.as_str();
                if value.is_null() || matches!(role.as_deref(), Some("developer" | "")) {
                    same = false;
                } else if role.is_none() {
                    return Err(Decline::MessageShape);
                }
            }
            "content" => check_content(value)?,
            "tool_calls" | "function_call" if !value.is_null() => check_calls(name, value)?,
            _ => {}
        }
        same &= !value.is_null();
    }
    if same && has_role {
        out.extend_from_slice(message.text().as_bytes());
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    let mut member = |out: &mut Vec<u8>, name: &str, json: &str| {
        if !first {
            out.push(b',');
        }
        first = false;
        push_string(out, name);
        out.push(b':');
        out.extend_from_slice(json.as_bytes());
    };
    for (name, value) in members(object) {
        match (name, value.is_null()) {
            ("role", true) => member(out, name, "\"assistant\""),
            ("role", false) if value.as_str().as_deref() == Some("") => member(out, name, "\"assistant\""),
            ("role", false) if value.as_str().as_deref() == Some("developer") => member(out, name, "\"system\""),
            (_, true) => {}
            (_, false) => member(out, name, value.text()),
        }
    }
    if !has_role {
        member(out, "role", "\"assistant\"");
    }
    out.push(b'}');
    Ok(())
}

/// Content that LiteLLM sends on as it is: text, or parts none of which it rewrites, fetches or refuses.
fn check_content(content: Raw<'_>) -> Result<(), Decline> {
    match content.kind() {
        Kind::Null | Kind::String => return Ok(()),
        Kind::Array => {}
        _ => return Err(Decline::MessageShape),
    }
    for part in content.array().ok_or(Decline::MessageShape)? {
        let part = part.object().ok_or(Decline::MessageShape)?;
        if part.has_duplicates() {
            return Err(Decline::DuplicateKey);
        }
        let kind = part.get("type").and_then(Raw::as_str).ok_or(Decline::MessageShape)?;
        match kind.as_ref() {
            "text" | "input_audio" => {}
            // a string instead of an object is wrapped, `format` is LiteLLM's own
            "image_url" => {
                let image = part.get("image_url").and_then(Raw::object).ok_or(Decline::MessageShape)?;
                if image.get("format").is_some() || image.has_duplicates() {
                    return Err(Decline::MessageShape);
                }
            }
            _ => return Err(Decline::MessageShape),
        }
    }
    Ok(())
}

fn check_calls(name: &str, value: Raw<'_>) -> Result<(), Decline> {
    let well = match name {
        "tool_calls" => value.array().is_some_and(|calls| calls.iter().all(|call| call.kind() == Kind::Object)),
        _ => value.kind() == Kind::Object,
    };
    if well { Ok(()) } else { Err(Decline::MessageShape) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(messages: &str) -> Result<String, Decline> {
        let mut out = Vec::new();
        write(&mut out, Raw::parse(messages.as_bytes()).unwrap())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_needs_no_change_is_the_same_bytes() {
        let text =
            r#"[{"role" : "user", "content":[{"type":"text","text":"\u00e9","cache_control":null}], "x":{"y":null}}]"#;
        assert_eq!(rewritten(text).unwrap(), text);
        assert_eq!(rewritten("[]").unwrap(), "[]");
    }

    #[test]
    fn null_members_go_roles_are_filled() {
        for (from, to) in [
            (r#"[{"role":"developer","content":"a"}]"#, r#"[{"role":"system","content":"a"}]"#),
            (r#"[{"role":null,"content":"a"}]"#, r#"[{"role":"assistant","content":"a"}]"#),
            (r#"[{"role":"","content":"a"}]"#, r#"[{"role":"assistant","content":"a"}]"#),
            (r#"[{"content":"a"}]"#, r#"[{"content":"a","role":"assistant"}]"#),
            (r#"[{"role":"user","content":null,"name":null}]"#, r#"[{"role":"user"}]"#),
            (r#"[{"role":"banana","content":"a"}]"#, r#"[{"role":"banana","content":"a"}]"#),
        ] {
            assert_eq!(rewritten(from).unwrap(), to);
        }
    }

    #[test]
    fn shapes_litellm_rewrites_or_refuses_decline() {
        for bad in [
            r#"["x"]"#,
            r#"[{"role":5}]"#,
            r#"[{"role":"user","content":5}]"#,
            r#"[{"role":"user","content":["x"]}]"#,
            r#"[{"role":"user","content":[{"type":"weird"}]}]"#,
            r#"[{"role":"user","content":[{"type":"image_url","image_url":"https://x"}]}]"#,
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x","format":"a"}}]}]"#,
            r#"[{"role":"user","content":[{"type":"file","file":{"file_id":"x"}}]}]"#,
            r#"[{"role":"assistant","tool_calls":["x"]}]"#,
        ] {
            assert_eq!(rewritten(bad), Err(Decline::MessageShape), "{bad}");
        }
        assert_eq!(rewritten(r#"[{"role":"user","role":"user"}]"#), Err(Decline::DuplicateKey));
        assert_eq!(rewritten("{}"), Err(Decline::FieldType));
    }
}
