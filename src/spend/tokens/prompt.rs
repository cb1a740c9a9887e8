//! Tokens of `messages` (token_counter.py `_count_messages`, `_count_content_list`).
use super::Encoding;
use crate::{
    json::{Kind, Object, Raw},
    spend::Meter,
};

/// Counts the messages of a request.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    pub meter: Meter,
    pub encoding: Encoding,
}

/// LiteLLM's counter refuses the messages; the call is then billed without a prompt.
struct Refused;

const EACH_MESSAGE: u64 = 3;
const EACH_NAME: u64 = 1;
/// what every reply is primed with
const REPLY: u64 = 3;
/// an image in low detail; LiteLLM does not look at any other but in high detail
const IMAGE: u64 = 85;

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
    /// Tokens of the JSON text of `messages`; 0 where LiteLLM's counter refuses them.
    pub fn count(&self, messages: &[u8]) -> u64 {
        let Some(messages) = Raw::parse(messages).ok().and_then(Raw::array) else { return 0 };
        let count: Result<u64, Refused> =
            messages.into_iter().try_fold(0, |sum, message| Ok(sum + self.message(message)?));
        count.map_or(0, |count| count + REPLY)
    }

    fn text(&self, text: &str) -> u64 {
        self.meter.count(self.encoding, text)
    }

    fn message(&self, message: Raw<'_>) -> Result<u64, Refused> {
        let mut count = EACH_MESSAGE;
        for (name, value) in message.object().ok_or(Refused)?.iter() {
            count += match (&*name, value.kind()) {
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
                    "image_url" => image(part.get("image_url").ok_or(Refused)?)?,
                    "thinking" | "redacted_thinking" => {
                        part.get("thinking").map_or(0, |text| self.text(&python_text(text)))
                    }
                    _ => return Err(Refused),
                })
        })
    }
}

/// `str(value)` of a text; of anything else its JSON, which is the same for integers.
fn python_text(value: Raw<'_>) -> String {
    value.as_str().map_or_else(|| value.text().to_owned(), |text| text.into_owned())
}

fn image(url: Raw<'_>) -> Result<u64, Refused> {
    let (url, detail) = match url.object() {
        Some(object) => (object.get("url"), object.get("detail").map(|detail| detail.as_str().ok_or(Refused))),
        None => (Some(url), None),
    };
    let url = url.and_then(Raw::as_str).filter(|url| !url.trim().is_empty()).ok_or(Refused)?;
    let known = match detail {
        None => true,
        Some(detail) => matches!(&*detail?, "low" | "auto"),
    };
    (known && !url.is_empty()).then_some(IMAGE).ok_or(Refused)
}
