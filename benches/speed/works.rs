//! What is asked for: the table of works, their requests (the same bytes in every run), and what a right answer is.
use serde_json::Value;

/// Words of a streamed answer; one event each.
pub(crate) const EVENTS: usize = 100;

/// The text of every JSON answer.
pub(crate) fn text() -> String {
    "lorem ipsum dolor sit amet ".repeat(26)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Dialect {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/messages`
    Messages,
}

/// One kind of request.
#[derive(Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) stream: bool,
    /// The provider sends an event a millisecond instead of all at once.
    pub(crate) paced: bool,
    /// Bytes of the prompt, about.
    pub(crate) size: usize,
    /// Part of a whole run; the others must be asked for by their whole name.
    pub(crate) standard: bool,
}

const fn work(name: &'static str, dialect: Dialect, size: usize) -> Work {
    Work { name, dialect, size, stream: false, paced: false, standard: true }
}

pub(crate) const WORKS: &[Work] = &[
    work("chat-json", Dialect::Chat, 1_000),
    work("messages-json", Dialect::Messages, 1_000),
    Work { stream: true, ..work("chat-stream", Dialect::Chat, 1_000) },
    Work { stream: true, ..work("messages-stream", Dialect::Messages, 1_000) },
    work("chat-100k", Dialect::Chat, 100_000),
    Work { stream: true, paced: true, ..work("chat-stream-paced", Dialect::Chat, 1_000) },
    Work { stream: true, paced: true, ..work("messages-stream-paced", Dialect::Messages, 1_000) },
    Work { standard: false, ..work("messages-100k", Dialect::Messages, 100_000) },
];

/// Where requests go, and by which names.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    /// Before `/v1/...`, without a slash at its end; empty for most.
    pub(crate) prefix: String,
    pub(crate) key: String,
    /// None: this dialect is not served.
    pub(crate) chat_model: Option<String>,
    pub(crate) messages_model: Option<String>,
}

impl Work {
    /// The whole request; None where the target does not serve this dialect.
    pub(crate) fn request(&self, target: &Target) -> Option<Vec<u8>> {
        let (path, model, paced) = match self.dialect {
            Dialect::Chat => ("/v1/chat/completions", target.chat_model.as_ref()?, r#","user":"paced""#),
            Dialect::Messages => {
                ("/v1/messages", target.messages_model.as_ref()?, r#","metadata":{"user_id":"paced"}"#)
            }
        };
        let stream = if self.stream { r#","stream":true"# } else { "" };
        let paced = if self.paced { paced } else { "" };
        let turns = turns(self.size);
        let body = format!(r#"{{"model":"{model}"{stream}{paced},"max_tokens":500,"messages":[{turns}]}}"#);
        let Target { port, prefix, key, .. } = target;
        Some(
            format!(
                "POST {prefix}{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\naccept: application/json\r\nuser-agent: speed/1.0\r\n\
                 anthropic-version: 2023-06-01\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }

    /// Whether the body of an answer is the one the provider gave. Gateways rename ids, add fields and space JSON
    /// differently; text, reason and usage must be there.
    pub(crate) fn verify(&self, body: &[u8], text: &str) -> Result<(), String> {
        let right = if self.stream { self.whole_stream(body) } else { self.whole_json(body, text) };
        right.ok_or_else(|| format!("not the expected answer to {}: {}", self.name, crate::answer::excerpt(body)))
    }

    fn whole_json(&self, body: &[u8], text: &str) -> Option<()> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let expected = match self.dialect {
            Dialect::Chat => [
                ("/choices/0/message/content", Value::from(text)),
                ("/choices/0/finish_reason", "stop".into()),
                ("/usage/total_tokens", 350.into()),
            ],
            Dialect::Messages => [
                ("/content/0/text", Value::from(text)),
                ("/stop_reason", "end_turn".into()),
                ("/usage/output_tokens", 150.into()),
            ],
        };
        expected.iter().all(|(pointer, value)| answer.pointer(pointer) == Some(value)).then_some(())
    }

    /// Every word, in order, then the end of the stream.
    fn whole_stream(&self, body: &[u8]) -> Option<()> {
        let mut at = 0;
        let mut after = |needle: &[u8]| {
            at += memchr::memmem::find(&body[at..], needle)? + needle.len();
            Some(())
        };
        for n in 0..EVENTS {
            after(format!("\" word{n}\"").as_bytes())?;
        }
        match self.dialect {
            Dialect::Chat => ["\"stop\"", "data: [DONE]"],
            Dialect::Messages => ["\"end_turn\"", "\"message_stop\""],
        }
        .iter()
        .try_for_each(|end| after(end.as_bytes()))
    }
}

/// Turns of about 300 bytes, with the escapes that code has; their number is odd, so that the user has the last word.
fn turns(size: usize) -> String {
    let text =
        "fn main() {\\n    println!(\\\"{}\\\", 1 + 2);\\n} // and some plain words between, as prompts have them. "
            .repeat(3);
    let turn = |n: usize| {
        format!(r#"{{"role":"{}","content":"{text}"}}"#, if n.is_multiple_of(2) { "user" } else { "assistant" })
    };
    let count = (size / turn(0).len()).max(1) / 2 * 2 + 1;
    (0..count).map(turn).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Answers;

    fn target() -> Target {
        let model = Some("m".to_owned());
        Target { port: 1, prefix: String::new(), key: "k".into(), chat_model: model.clone(), messages_model: model }
    }

    #[test]
    fn requests_are_json_of_about_the_size_they_say() {
        for work in WORKS {
            let request = work.request(&target()).unwrap();
            let body = &request[memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4..];
            let parsed: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(parsed["messages"].as_array().unwrap().last().unwrap()["role"], "user");
            assert_eq!(parsed["stream"] == true, work.stream);
            assert!(body.len() > work.size && body.len() < work.size * 13 / 10, "{}: {}", work.name, body.len());
        }
        let chat_only = Target { messages_model: None, ..target() };
        assert_eq!(WORKS.iter().filter(|work| work.request(&chat_only).is_none()).count(), 4);
    }

    #[test]
    fn only_the_whole_answer_is_right() {
        let answers = Answers::new();
        let text = text();
        for work in WORKS {
            let mut answer = crate::answer::Answer::default();
            *answer.input() = answers.pieces(work.dialect, work.stream).concat();
            assert_eq!(answer.advance(), Ok(true));
            let body = answer.body();
            assert_eq!(work.verify(body, &text), Ok(()), "{}", work.name);
            assert!(work.verify(&body[..body.len() - 40], &text).is_err(), "{} cut", work.name);
            assert!(work.verify(b"{\"error\":{}}", &text).is_err());
            let other = String::from_utf8(body.to_vec()).unwrap().replace("dolor", "color").replace("word7\"", "w\"");
            assert!(work.verify(other.as_bytes(), &text).is_err(), "{} changed", work.name);
        }
    }
}
