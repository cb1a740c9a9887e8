//! The provider's JSON answer: the caller's model name in, usage out. Everything else is copied as it stands.
use crate::{
    faults::fault,
    json::{Kind, Object, ObjectWriter, Raw, push_string},
    spend::Usage,
};

/// An answer as the caller gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub body: Vec<u8>,
    pub id: Option<String>,
    /// the provider's own `usage`, JSON text
    pub usage_text: String,
    /// `None`: token counts LiteLLM cannot price (no cost headers then)
    pub usage: Option<Usage>,
    /// what the provider says served it
    pub model: Option<String>,
    /// `usage.inference_geo` and `usage.speed`, in lower case: some models cost more there
    pub surcharges: [Option<String>; 2],
    /// `usage.server_tool_use.web_search_requests`: each has a price of its own
    pub web_searches: u64,
}

/// Why a 2xx answer is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    NotJson,
    /// the Python type of what it is instead
    NotAnObject(&'static str),
}

/// Reads an answer and writes the caller's.
pub fn answer(body: &[u8], model: &str) -> Result<Answer, Unreadable> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let Ok(object) = Object::parse(body) else {
        let document = Raw::parse(body).map_err(|_| Unreadable::NotJson)?;
        return Err(Unreadable::NotAnObject(match document.kind() {
            Kind::Array => "list",
            Kind::String => "str",
            Kind::Bool => "bool",
            Kind::Null => "NoneType",
            _ if document.text().contains(['.', 'e', 'E']) => "float",
            _ => "int",
        }));
    };
    let mut out = ObjectWriter::with_capacity(body.len() + model.len());
    for (key, value) in object.iter() {
        if key == "model" && !fault!(ModelName) {
            out.string(key, model);
        } else {
            out.raw(key, value.text());
        }
    }
    let model = object.some("model");
    let served = model.and_then(Raw::as_str).map(|model| model.into_owned());
    let mut usage = Usage::default();
    let given = object.some("usage").filter(|_| !fault!(LostUsageAnthropic));
    let from = given.and_then(Raw::object);
    let count = |name: &str| from.as_ref().and_then(|usage| usage.get(name));
    let priced = match (count("input_tokens"), count("output_tokens")) {
        // LiteLLM fails on a null count, on a usage that is no object and on a model that is no text
        _ if given.is_some() && from.is_none() || model.is_some() && served.is_none() => false,
        (Some(input), Some(output)) => !input.is_null() && !output.is_null() && read_usage(from.as_ref(), &mut usage),
        // without both counts it sees no usage at all
        (input, output) => [input, output].into_iter().flatten().all(|count| count.as_u64().is_some()),
    };
    let tools = from.as_ref().and_then(|usage| usage.get("server_tool_use")).and_then(Raw::object);
    let web_searches = tools.and_then(|tools| tools.get("web_search_requests")?.as_u64()).unwrap_or(0);
    let word = |key: &str| Some(from.as_ref()?.get(key)?.as_str()?.to_lowercase());
    let surcharges = [word("inference_geo"), word("speed")];
    let id = object.some("id").and_then(Raw::as_str).map(|id| id.into_owned());
    let usage_text = given.map(|usage| usage.text().to_owned()).unwrap_or_default();
    Ok(Answer {
        body: out.finish(),
        id,
        usage_text,
        usage: priced.then_some(usage),
        model: served,
        surcharges,
        web_searches,
    })
}

/// Adds what a `usage` object says to what is known (`calculate_usage`); counts in `message_delta` replace those of
/// `message_start`. False where a count is no whole number.
pub(super) fn read_usage(from: Option<&Object<'_>>, usage: &mut Usage) -> bool {
    let Some(from) = from else { return true };
    let mut whole = true;
    let mut read = |object: &Object<'_>, name: &str, to: &mut u64| {
        if let Some(count) = object.some(name) {
            match count.as_u64() {
                Some(count) => *to = count,
                None => whole = false,
            }
        }
    };
    let mut input = usage.prompt.saturating_sub(usage.cache_read).saturating_sub(usage.cache_creation);
    read(from, "input_tokens", &mut input);
    read(from, "output_tokens", &mut usage.completion);
    read(from, "cache_read_input_tokens", &mut usage.cache_read);
    read(from, "cache_creation_input_tokens", &mut usage.cache_creation);
    if let Some(details) = from.some("cache_creation").and_then(Raw::object) {
        read(&details, "ephemeral_1h_input_tokens", &mut usage.cache_creation_1h);
    }
    usage.prompt = input.saturating_add(usage.cache_read).saturating_add(usage.cache_creation);
    whole
}

/// The body of the one further attempt after a refused thinking block
/// (`strip_thinking_blocks_from_anthropic_messages_request_dict`): no `thinking`, no thinking blocks, no message left
/// empty by that. Works on the outgoing body; rare, so it may allocate.
pub fn without_thinking(body: &[u8]) -> Option<Vec<u8>> {
    let request = Object::parse(body).ok()?;
    let mut out = ObjectWriter::with_capacity(body.len());
    for (key, value) in request.iter() {
        match key {
            "thinking" => {}
            "messages" => {
                let list = out.key(key);
                list.push(b'[');
                for message in value.array()? {
                    push_message(list, message);
                }
                if list.last() == Some(&b',') {
                    list.pop();
                }
                list.push(b']');
            }
            _ => out.raw(key, value.text()),
        }
    }
    Some(out.finish())
}

/// Appends one message and a comma, or nothing.
fn push_message(list: &mut Vec<u8>, message: Raw<'_>) {
    let object = message.object();
    let blocks = object.as_ref().and_then(|object| object.get("content")).and_then(Raw::array);
    let (Some(object), Some(blocks)) = (object, blocks) else {
        list.extend_from_slice(message.text().as_bytes());
        list.push(b',');
        return;
    };
    let kept: Vec<&str> = blocks.iter().filter(|block| !is_thinking(**block)).map(|block| block.text()).collect();
    if kept.is_empty() {
        return;
    }
    list.push(b'{');
    for (at, (key, value)) in object.iter().enumerate() {
        if at > 0 {
            list.push(b',');
        }
        push_string(list, key);
        list.push(b':');
        if key == "content" {
            list.push(b'[');
            list.extend_from_slice(kept.join(",").as_bytes());
            list.push(b']');
        } else {
            list.extend_from_slice(value.text().as_bytes());
        }
    }
    list.extend_from_slice(b"},");
}

fn is_thinking(block: Raw<'_>) -> bool {
    let kind = block.object().and_then(|block| block.get("type")).and_then(Raw::as_str);
    kind.is_some_and(|kind| matches!(kind.as_ref(), "thinking" | "redacted_thinking"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_everything_but_the_model() {
        let got = answer(br#"{"id":"m","model":"claude-x","usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":5,"cache_creation_input_tokens":null},"z":1.50}"#, "a\"b").unwrap();
        assert_eq!(
            String::from_utf8(got.body).unwrap(),
            r#"{"id":"m","model":"a\"b","usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":5,"cache_creation_input_tokens":null},"z":1.50}"#
        );
        assert_eq!(got.usage, Some(Usage { prompt: 8, completion: 4, cache_read: 5, ..Usage::default() }));
        assert_eq!(got.model.as_deref(), Some("claude-x"));
    }

    #[test]
    fn odd_answers() {
        assert_eq!(answer(b"{}", "m").unwrap().body, b"{}");
        assert_eq!(answer(b"\xef\xbb\xbf{}", "m").unwrap().body, b"{}");
        assert_eq!(answer(br#"{"usage":{"input_tokens":1.5}}"#, "m").unwrap().usage, None);
        assert_eq!(answer(br#"{"usage":null}"#, "m").unwrap().usage, Some(Usage::default()));
        assert_eq!(answer(br#"{"usage":{}}"#, "m").unwrap().usage, Some(Usage::default()));
        // LiteLLM prices an answer only by both counts
        assert_eq!(answer(br#"{"usage":{"input_tokens":5}}"#, "m").unwrap().usage, Some(Usage::default()));
        for unpriced in [
            r#"{"usage":{"input_tokens":null,"output_tokens":5}}"#,
            r#"{"usage":"text"}"#,
            r#"{"model":5,"usage":{"input_tokens":1,"output_tokens":1}}"#,
        ] {
            assert_eq!(answer(unpriced.as_bytes(), "m").unwrap().usage, None, "{unpriced}");
        }
        let searched = br#"{"usage":{"input_tokens":1,"output_tokens":1,"server_tool_use":{"web_search_requests":2}}}"#;
        assert_eq!(answer(searched, "m").unwrap().web_searches, 2);
        for (body, kind) in
            [("[1]", "list"), ("\"x\"", "str"), ("1", "int"), ("1.0", "float"), ("null", "NoneType"), ("true", "bool")]
        {
            assert_eq!(answer(body.as_bytes(), "m"), Err(Unreadable::NotAnObject(kind)));
        }
        assert_eq!(answer(b"", "m"), Err(Unreadable::NotJson));
        assert_eq!(answer(b"{\"a\":1} x", "m"), Err(Unreadable::NotJson));
    }

    #[test]
    fn thinking_is_taken_out() {
        let body = br#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"a"},{"type":"text","text":"y"}]},{"role":"assistant","content":[{"type":"redacted_thinking","data":"z"}]}],"thinking":{"type":"enabled"},"model":"m"}"#;
        assert_eq!(
            String::from_utf8(without_thinking(body).unwrap()).unwrap(),
            r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"y"}]}],"model":"m"}"#
        );
    }
}
