//! Tokens of `messages` (token_counter.py `_count_messages`, `_count_content_list`).
use super::Encoding;
use crate::{
    json::{Kind, Object, Raw},
    providers::openai::python,
    spend::Meter,
};

/// Counts the messages of a request.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    pub meter: Meter,
    pub encoding: Encoding,
    /// of a call that failed: LiteLLM opens no picture and no document, and knows Anthropic's blocks
    pub roughly: bool,
}

/// LiteLLM's counter refuses the messages; the call is then billed without a prompt.
struct Refused;

const EACH_MESSAGE: u64 = 3;
const EACH_NAME: u64 = 1;
/// what every reply is primed with
const REPLY: u64 = 3;
/// an image in low detail; LiteLLM does not look at any other but in high detail
const IMAGE: u64 = 85;
/// any picture or document that is not opened (`DEFAULT_IMAGE_TOKEN_COUNT`)
const UNOPENED: u64 = 250;

/// Whether these messages are counted here: not where LiteLLM looks into a picture or a document.
pub fn is_countable(messages: Option<&[u8]>) -> bool {
    let Some(messages) = messages.and_then(|json| Raw::parse(json).ok()).and_then(Raw::array) else { return true };
    messages.into_iter().filter_map(Raw::object).all(|message| {
        let content = message.some("content").and_then(Raw::array);
        content.into_iter().flatten().filter_map(Raw::object).all(|part| {
            match part.some("type").and_then(Raw::as_str) {
                Some(kind) => match &*kind {
                    "text" | "thinking" | "redacted_thinking" | "input_audio" => true,
                    "image_url" => {
                        let url = part.some("image_url");
                        let detail = url.and_then(Raw::object).and_then(|url| url.get("detail"));
                        detail.is_none_or(|detail| detail.as_str().is_none_or(|detail| detail != "high"))
                    }
                    // of Anthropic's making, files, and what comes next
                    _ => false,
                },
                None => true,
            }
        })
    })
}

impl Prompt {
    /// Tokens of the messages of a request's body.
    pub fn of_request(meter: Meter, encoding: Encoding, request: &[u8]) -> u64 {
        let body = Object::parse(request).unwrap_or_default();
        let messages = body.some("messages");
        messages.and_then(|list| Self { meter, encoding, roughly: false }.counted(list)).unwrap_or(0)
    }

    /// Tokens of the JSON text of `messages`; 0 where LiteLLM's counter refuses them.
    pub fn count(&self, messages: &[u8]) -> u64 {
        Raw::parse(messages).ok().and_then(|messages| self.counted(messages)).unwrap_or(0)
    }

    fn counted(&self, messages: Raw<'_>) -> Option<u64> {
        let count: Result<u64, Refused> =
            messages.array()?.into_iter().try_fold(0, |sum, message| Ok(sum + self.message(message)?));
        Some(count.ok()? + REPLY)
    }

    fn text(&self, text: &str) -> u64 {
        self.meter.count(self.encoding, text)
    }

    fn message(&self, message: Raw<'_>) -> Result<u64, Refused> {
        let mut count = EACH_MESSAGE;
        for (name, value) in message.object().ok_or(Refused)?.iter() {
            count += match (name, value.kind()) {
                (_, Kind::Null) => 0,
                ("tool_calls", _) => self.calls(value)?,
                ("function_call", _) => self.arguments(&value.object().ok_or(Refused)?)?,
                ("content", Kind::Array) => self.content(value)?,
                (name, Kind::String) => {
                    let text = value.as_str().ok_or(Refused)?;
                    self.text(&text) + if name == "name" { EACH_NAME } else { 0 }
                }
                _ => 0,
            };
        }
        Ok(count)
    }

    fn calls(&self, calls: Raw<'_>) -> Result<u64, Refused> {
        calls.array().ok_or(Refused)?.into_iter().try_fold(0, |sum, call| {
            let function = call.object().ok_or(Refused)?.get("function").and_then(Raw::object).ok_or(Refused)?;
            Ok(sum + self.arguments(&function)?)
        })
    }

    fn arguments(&self, function: &Object<'_>) -> Result<u64, Refused> {
        Ok(match function.get("arguments") {
            None => 0,
            Some(arguments) => self.text(&arguments.as_str().ok_or(Refused)?),
        })
    }

    fn content(&self, parts: Raw<'_>) -> Result<u64, Refused> {
        parts.array().ok_or(Refused)?.into_iter().try_fold(0, |sum, part| {
            if let Some(text) = part.as_str() {
                return Ok(sum + self.text(&text));
            }
            let part = part.object().ok_or(Refused)?;
            let kind = part.get("type").and_then(Raw::as_str).ok_or(Refused)?;
            Ok(sum
                + match &*kind {
                    "text" => part.get("text").map_or(0, |text| self.text(&python_text(text))),
                    "image_url" => image(part.get("image_url").ok_or(Refused)?, self.roughly)?,
                    "thinking" | "redacted_thinking" => {
                        part.get("thinking").map_or(0, |text| self.text(&python_text(text)))
                    }
                    "image" | "document" | "file" | "tool_use" | "tool_result" | "tool_reference" if self.roughly => {
                        self.block(&kind, &part)?
                    }
                    _ => return Err(Refused),
                })
        })
    }

    /// `_count_anthropic_content`, `_count_document_tokens`, `_count_file_tokens`.
    fn block(&self, kind: &str, part: &Object<'_>) -> Result<u64, Refused> {
        let text = |object: &Object<'_>, name: &str| {
            let text = object.some(name).and_then(Raw::as_str);
            text.filter(|text| !text.is_empty()).map_or(0, |text| self.text(&text))
        };
        let inner = |name: &str| part.some(name).and_then(Raw::object);
        Ok(match kind {
            "image" => UNOPENED,
            "file" => {
                let file = inner("file").unwrap_or_default();
                let data = file.some("file_data").and_then(Raw::as_str).is_some_and(|data| !data.is_empty());
                text(&file, "filename") + if data { UNOPENED } else { 0 }
            }
            "document" => {
                let source = inner("source").ok_or(Refused)?;
                let of_source = match source.some("type").and_then(Raw::as_str).as_deref() {
                    Some("text") => text(&source, "data"),
                    Some("content") => self.value(source.some("content").ok_or(Refused)?)?,
                    Some(_) => UNOPENED,
                    None => return Err(Refused),
                };
                text(part, "title") + text(part, "context") + of_source
            }
            "tool_use" => text(part, "name") + part.some("input").map_or(Ok(0), |input| self.value(input))?,
            "tool_result" => {
                part.some("tool_use_id").ok_or(Refused)?;
                part.some("content").map_or(Ok(0), |content| self.value(content))?
            }
            _ => text(part, "tool_name"),
        })
    }

    /// A text, blocks, or an object as Python prints it.
    fn value(&self, value: Raw<'_>) -> Result<u64, Refused> {
        match value.kind() {
            Kind::String => Ok(self.text(&value.as_str().ok_or(Refused)?)),
            Kind::Array => self.content(value),
            Kind::Object => {
                let tree: serde_json::Value = serde_json::from_str(value.text()).map_err(|_| Refused)?;
                Ok(self.text(&python::str_of(&tree)))
            }
            _ => Ok(0),
        }
    }
}

/// Tokens of what a call that failed had sent (proxy/utils.py `_count_request_input_tokens`). `request`: its body.
pub fn sent(meter: Meter, encoding: Encoding, request: &[u8]) -> u64 {
    let Ok(body) = Object::parse(request) else { return 0 };
    let system = body.some("system").or_else(|| body.some("instructions"));
    let system = match system {
        Some(system) if system.kind() == Kind::Array => {
            let texts = system.array().unwrap_or_default().into_iter().filter_map(|block| match block.object() {
                Some(block) => Some(block.some("text")?.as_str()?.into_owned()),
                None => Some(block.as_str()?.into_owned()),
            });
            texts.collect()
        }
        Some(system) => system.as_str().unwrap_or_default().into_owned(),
        None => String::new(),
    };
    let prompt = Prompt { meter, encoding, roughly: true };
    let messages = body.some("messages").filter(|list| list.array().is_some_and(|list| !list.is_empty()));
    let Some(counted) = messages.map_or(Some(0), |list| prompt.counted(list)) else { return 0 };
    counted + if system.is_empty() { 0 } else { meter.count(encoding, &system) }
}

/// `str(value)` of a text; of anything else its JSON, which is the same for integers.
fn python_text(value: Raw<'_>) -> String {
    value.as_str().map_or_else(|| value.text().to_owned(), |text| text.into_owned())
}

fn image(url: Raw<'_>, roughly: bool) -> Result<u64, Refused> {
    let (url, detail) = match url.object() {
        Some(object) => (object.get("url"), object.get("detail").map(|detail| detail.as_str().ok_or(Refused))),
        None => (Some(url), None),
    };
    let url = url.and_then(Raw::as_str).filter(|url| !url.trim().is_empty()).ok_or(Refused)?;
    let known = match detail {
        None => true,
        Some(detail) => matches!((&*detail?, roughly), ("low" | "auto", _) | ("high", true)),
    };
    let tokens = if roughly { UNOPENED } else { IMAGE };
    (known && !url.is_empty()).then_some(tokens).ok_or(Refused)
}
