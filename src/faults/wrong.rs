//! Faults that need more than a line: in the order, number and time of a stream's events, in a replayed body.
use std::collections::VecDeque;

use bytes::Bytes;

use super::fault;
use crate::routes::{CallLog, EventStream};

/// Puts the fault of this process between a route and its client.
pub fn stream(inner: Box<dyn EventStream>) -> Box<dyn EventStream> {
    Box::new(Faulty { inner, seen: 0, held: VecDeque::new(), ready: VecDeque::new(), over: false })
}

struct Faulty {
    inner: Box<dyn EventStream>,
    seen: usize,
    held: VecDeque<Bytes>,
    ready: VecDeque<Bytes>,
    over: bool,
}

impl Faulty {
    fn event(&mut self, event: Bytes) {
        self.seen += 1;
        let starts = |with: &str| event.starts_with(with.as_bytes());
        let dropped = (fault!(DoneDropped) && starts("data: [DONE]"))
            || (fault!(MessageStopDropped) && starts("event: message_stop"))
            || (fault!(ErrorEventSwallowed) && starts("data: {\"error\""))
            || (fault!(ErrorEventSwallowedAnthropic) && starts("event: error"));
        if dropped {
            return;
        }
        let late = fault!(LateFlush) || fault!(LateFlushAnthropic);
        if late || fault!(EventWaitsForNext) || (fault!(EventsReordered) && self.seen == 2) {
            self.held.push_back(event);
        } else {
            self.ready.push_back(event);
        }
        if (fault!(EventWaitsForNext) && self.held.len() > 1) || (fault!(EventsReordered) && self.seen == 3) {
            self.ready.extend(self.held.pop_front());
        }
    }
}

#[async_trait::async_trait]
impl EventStream for Faulty {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            match self.inner.next().await {
                Some(mut bytes) => {
                    while !bytes.is_empty() {
                        let end = memchr::memmem::find(&bytes, b"\n\n").map_or(bytes.len(), |at| at + 2);
                        self.event(bytes.split_to(end));
                    }
                }
                None => {
                    self.over = true;
                    self.ready.append(&mut self.held);
                }
            }
        }
    }

    fn log(&self) -> CallLog {
        self.inner.log()
    }
}

/// The client has gone, or all is sent.
pub fn after(mut stream: Box<dyn EventStream>) {
    if fault!(StreamGoesOn) {
        tokio::spawn(async move { while stream.next().await.is_some() {} });
    }
}

/// A declined body on its way to Python: the first letter of the last message in the other case.
pub fn replayed(body: Bytes) -> Bytes {
    const BEFORE: &[u8] = b"\"content\":\"";
    let mut body = body.to_vec();
    if let Some(at) = memchr::memmem::rfind(&body, BEFORE).filter(|_| fault!(ReplayChanged))
        && let Some(letter) = body.get_mut(at + BEFORE.len())
    {
        *letter ^= 0x20;
    }
    body.into()
}
