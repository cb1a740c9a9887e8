//! WebSockets (RFC 6455) as the suite plays them, at both ends: texts, said in turns. What the other end says is kept as
//! one JSON array, its messages and, where it came, `{"close": code, "reason": text}`. No extensions, no subprotocols.
use std::{io, time::Duration};

use serde_json::{Value, json};

use super::http1::{Conn, End, Head};
use crate::base64;

/// The suite's client always asks with the same key (the RFC's own), so the answer to it is always the same.
pub const CLIENT_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// A whole conversation takes no longer.
const DEADLINE: Duration = Duration::from_secs(20);
const MAX_MESSAGE: usize = 1 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const NORMAL: u16 = 1000;

/// Who speaks: a client masks what it sends and says its first text when it has heard one, a provider begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Provider,
}

/// `Sec-WebSocket-Accept` for the key of a handshake; `None`: the head asks for no WebSocket.
pub fn accept(head: &Head) -> Option<String> {
    let key = head.get("sec-websocket-key")?;
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes());
    head.get("upgrade")?.eq_ignore_ascii_case("websocket").then(|| base64::encode(digest.as_ref()))
}

/// Says one text for each one heard (the provider one before that). A provider closes behind its last and, as servers
/// must, ends the connection once that is answered; a client waits for the close. `close` is false for a provider that
/// ends without one. `heard` gets all that was heard so far, each time, before it is answered.
pub async fn talk(conn: &mut Conn, side: Side, texts: &[String], close: bool, mut heard: impl FnMut(Vec<u8>)) -> End {
    let talk = async {
        let (mut texts, mut all) = (texts.iter(), Vec::new());
        if side == Side::Provider {
            say(conn, side, &mut texts).await?;
        }
        while side == Side::Client || texts.len() > 0 {
            let (message, over) = hear(conn).await?;
            all.push(message);
            heard(Value::from(all.clone()).to_string().into_bytes());
            if over {
                return send(conn, side, CLOSE, &NORMAL.to_be_bytes()).await;
            }
            say(conn, side, &mut texts).await?;
        }
        if close {
            send(conn, side, CLOSE, &NORMAL.to_be_bytes()).await?;
            while !hear(conn).await?.1 {}
        }
        Ok(())
    };
    match tokio::time::timeout(DEADLINE, talk).await {
        Ok(Ok(())) => End::Complete,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
        Ok(Err(_)) => End::Cut,
        Err(_) => End::Timeout,
    }
}

async fn say<'t>(conn: &mut Conn, side: Side, texts: &mut impl Iterator<Item = &'t String>) -> io::Result<()> {
    match texts.next() {
        Some(text) => send(conn, side, TEXT, text.as_bytes()).await,
        None => Ok(()),
    }
}

async fn send(conn: &mut Conn, side: Side, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mask = if side == Side::Client { MASKED } else { 0 };
    let mut frame = vec![FIN | kind];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(mask | length as u8),
        Ok(length) => {
            frame.push(mask | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(mask | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if side == Side::Client {
        frame.extend([0; 4]); // a mask that changes nothing
    }
    frame.extend_from_slice(payload);
    conn.write(&frame).await
}

/// The next message, a tree where it is JSON, or (`true`) the close. Pings are no messages.
async fn hear(conn: &mut Conn) -> io::Result<(Value, bool)> {
    let mut message = Vec::new();
    loop {
        let head = conn.read_bytes(2).await?;
        let [first, second] = head.as_slice() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let length = match second & 127 {
            126 => number(&conn.read_bytes(2).await?),
            127 => number(&conn.read_bytes(8).await?),
            length => length.into(),
        };
        if length.saturating_add(message.len()) > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mask = if second & MASKED != 0 { conn.read_bytes(4).await? } else { vec![0] };
        let mut payload = conn.read_bytes(length).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match first & 15 {
            CLOSE => {
                let (code, reason) = payload.split_at_checked(2).unwrap_or_default();
                return Ok((json!({"close": number(code), "reason": String::from_utf8_lossy(reason)}), true));
            }
            kind if kind < CLOSE => message.extend(payload),
            _ => continue,
        }
        if first & FIN != 0 {
            let text = || String::from_utf8_lossy(&message).into_owned().into();
            return Ok((serde_json::from_slice(&message).unwrap_or_else(|_| text()), false));
        }
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number: usize, byte| number.saturating_mul(256).saturating_add((*byte).into()))
}
