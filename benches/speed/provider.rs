//! A scripted provider that costs next to nothing: raw sockets, fixed answers. It plays OpenAI, Anthropic and, for
//! `edge-pass`, the Python gateway.
use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    answer::header,
    works::{Dialect, EVENTS, text},
};

/// Answers until the process ends; one thread.
pub(crate) fn run(port: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let answers = Arc::new(Answers::new());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answers = answers.clone();
            tokio::spawn(async move {
                let _ = serve(stream, answers).await; // a client that leaves is no matter
            });
        }
    })
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>) -> std::io::Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(128 << 10);
    loop {
        let (head, length) = loop {
            if let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                let length = header(&buffer[..end], "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
                if buffer.len() >= end + 4 + length {
                    break (end, end + 4 + length);
                }
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        // what decides stands near the start or, once a gateway has rewritten the body, near the end
        let first = &buffer[head..length.min(head + 200)];
        let last = &buffer[head.max(length.saturating_sub(300))..length];
        let has = |what: &[u8]| [first, last].iter().any(|part| memchr::memmem::find(part, what).is_some());
        let dialect = if buffer.starts_with(b"POST /v1/messages") { Dialect::Messages } else { Dialect::Chat };
        let stream_asked = has(b"\"stream\":true") || has(b"\"stream\": true");
        let pieces = answers.pieces(dialect, stream_asked);
        if stream_asked && has(b"\"paced\"") {
            for piece in pieces {
                stream.write_all(piece).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } else {
            stream.write_all(&pieces.concat()).await?;
        }
        buffer.drain(..length);
    }
}

/// The bytes of every answer: head and body, or head, events and end.
pub(crate) struct Answers {
    chat: [Vec<u8>; 1],
    message: [Vec<u8>; 1],
    chat_events: Vec<Vec<u8>>,
    message_events: Vec<Vec<u8>>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let text = text();
        let chat = format!(
            r#"{{"id":"chatcmpl-abc123","object":"chat.completion","created":1700000000,"model":"gpt-4o-2024-08-06","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":200,"completion_tokens":150,"total_tokens":350}},"system_fingerprint":"fp_1"}}"#
        );
        let message = format!(
            r#"{{"id":"msg_01abc","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":200,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":150}}}}"#
        );
        Self {
            chat: [json(&chat)],
            message: [json(&message)],
            chat_events: chat_events(),
            message_events: message_events(),
        }
    }

    pub(crate) fn pieces(&self, dialect: Dialect, stream: bool) -> &[Vec<u8>] {
        match (dialect, stream) {
            (Dialect::Chat, false) => &self.chat,
            (Dialect::Messages, false) => &self.message,
            (Dialect::Chat, true) => &self.chat_events,
            (Dialect::Messages, true) => &self.message_events,
        }
    }
}

fn json(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-type: application/json\r\nx-request-id: req_1\r\nx-ratelimit-remaining-requests: 9999\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The head, then one chunk an event.
fn frames(events: impl Iterator<Item = String>) -> Vec<Vec<u8>> {
    let mut all =
        vec![b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
    all.extend(events.map(|event| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()));
    all.push(b"0\r\n\r\n".to_vec());
    all
}

fn chat_events() -> Vec<Vec<u8>> {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-abc123\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-2024-08-06\",\"system_fingerprint\":\"fp_1\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let first = chunk(r#"{"role":"assistant","content":""}"#, "null");
    let words = (0..EVENTS).map(|n| chunk(&format!(r#"{{"content":" word{n}"}}"#), "null"));
    let last = chunk("{}", "\"stop\"");
    frames(std::iter::once(first).chain(words).chain([last, "data: [DONE]\n\n".to_owned()]))
}

fn message_events() -> Vec<Vec<u8>> {
    let event = |name: &str, data: String| format!("event: {name}\ndata: {data}\n\n");
    let start = event("message_start", r#"{"type":"message_start","message":{"id":"msg_01abc","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":200,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}"#.into());
    let open = event(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.into(),
    );
    let words = (0..EVENTS).map(|n| {
        let data =
            format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":" word{n}"}}}}"#);
        event("content_block_delta", data)
    });
    let close = event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.into());
    let delta = event("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":150}}"#.into());
    let stop = event("message_stop", r#"{"type":"message_stop"}"#.into());
    frames([start, open].into_iter().chain(words).chain([close, delta, stop]))
}
