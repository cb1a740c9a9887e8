//! Native routes made for these tests: the edge is told which table to use.
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use litellm_rust::{
    error::Dialect,
    routes::{Admission, Call, CallLog, Decline, EventStream, HeaderList, NativeRoute, Reply, ReplyBody},
};

pub(crate) static TABLE: &[NativeRoute] = &[
    route("echo", &["/echo"], true, echo),
    route("slow", &["/slow"], true, slow),
    route("events", &["/events"], true, events),
    route("endless", &["/endless"], true, endless),
    route("panic", &["/panic", "/v1/messages/panic"], true, panic),
    NativeRoute { methods: &[Method::GET], ..route("plain", &["/plain"], false, plain) },
];

const fn route(
    id: &'static str,
    paths: &'static [&'static str],
    needs_body: bool,
    admit: fn(Call) -> Admission,
) -> NativeRoute {
    NativeRoute {
        id,
        methods: &[Method::POST],
        paths,
        needs_body,
        needs_caller: false,
        fetch: None,
        dialect: Dialect::OpenAi,
        serves: "tests",
        declines: &[Decline::Field, Decline::VirtualKey],
        admit_head: |head, snapshot| litellm_rust::auth::identify(head, snapshot).map(|_| ()),
        admit,
    }
}

fn reply(body: impl Into<Bytes>) -> Reply {
    Reply {
        status: StatusCode::OK,
        headers: {
            let mut headers = HeaderList::from([("content-type", "application/json")]);
            headers.push_made("llm_provider-", "x-request-id", "req_1");
            headers
        },
        body: ReplyBody::Full(body.into()),
        log: CallLog {
            model_group: Some("group".to_owned()),
            provider: Some("openai"),
            prompt_tokens: Some(3),
            ..CallLog::default()
        },
    }
}

/// Gives the body back; a body with `decline` in its first bytes is not for this route.
fn echo(call: Call) -> Admission {
    if call.body.starts_with(b"decline") {
        return Err(Decline::Field.into());
    }
    Ok(Box::pin(async move { reply(call.body) }))
}

fn plain(_: Call) -> Admission {
    Ok(Box::pin(async { reply("plain") }))
}

/// Executions of `slow` that ran to their end.
pub(crate) static SLOW_FINISHED: AtomicUsize = AtomicUsize::new(0);

/// Answers after as many milliseconds as the body says.
fn slow(call: Call) -> Admission {
    let wait = String::from_utf8_lossy(&call.body).trim().parse().map_err(|_| Decline::Field)?;
    Ok(Box::pin(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        SLOW_FINISHED.fetch_add(1, Ordering::SeqCst);
        reply("slow")
    }))
}

/// Streams of `endless` that were dropped.
pub(crate) static STREAMS_DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Ticks {
    left: usize,
    every: Duration,
    counts: bool,
}

#[async_trait::async_trait]
impl EventStream for Ticks {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::time::sleep(self.every).await;
        self.left = self.left.checked_sub(1)?;
        Some(Bytes::from(format!("data: {}\n\n", self.left)))
    }

    fn log(&self) -> CallLog {
        CallLog { completion_tokens: Some(self.left as u64), ..CallLog::default() }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        if self.counts {
            STREAMS_DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn stream(left: usize, every: Duration, counts: bool) -> Admission {
    Ok(Box::pin(async move {
        Reply {
            status: StatusCode::OK,
            headers: [("content-type", "text/event-stream; charset=utf-8")].into(),
            body: ReplyBody::Stream(Box::new(Ticks { left, every, counts })),
            log: CallLog::default(),
        }
    }))
}

/// `<count> <milliseconds between>` events.
fn events(call: Call) -> Admission {
    let text = String::from_utf8_lossy(&call.body).into_owned();
    let (count, every) = text.split_once(' ').ok_or(Decline::Field)?;
    let (count, every) = (count.parse().map_err(|_| Decline::Field)?, every.parse().map_err(|_| Decline::Field)?);
    stream(count, Duration::from_millis(every), false)
}

/// The first event at once, then silence for an hour: only watching the client shows that it has left.
fn endless(_: Call) -> Admission {
    struct Silence(Ticks);
    #[async_trait::async_trait]
    impl EventStream for Silence {
        async fn next(&mut self) -> Option<Bytes> {
            if self.0.left == 0 {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            self.0.next().await
        }
        fn log(&self) -> CallLog {
            self.0.log()
        }
    }
    Ok(Box::pin(async {
        Reply {
            status: StatusCode::OK,
            headers: HeaderList::default(),
            body: ReplyBody::Stream(Box::new(Silence(Ticks { left: 1, every: Duration::ZERO, counts: true }))),
            log: CallLog::default(),
        }
    }))
}

/// Panics where the body's first word says, with the whole body in the message.
fn panic(call: Call) -> Admission {
    struct Faulty {
        events: usize,
        text: String,
    }
    #[async_trait::async_trait]
    impl EventStream for Faulty {
        async fn next(&mut self) -> Option<Bytes> {
            if self.events == 0 {
                panic!("stream of {}", self.text);
            }
            self.events -= 1;
            Some(Bytes::from_static(b"data: 1\n\n"))
        }
        fn log(&self) -> CallLog {
            panic!("log of {}", self.text)
        }
    }
    let text = String::from_utf8_lossy(&call.body).into_owned();
    assert!(!text.starts_with("admission"), "admission of {text}");
    Ok(Box::pin(async move {
        if text.starts_with("later") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(text.starts_with("stream"), "execution of {text}");
        let body = ReplyBody::Stream(Box::new(Faulty { events: 2, text }));
        Reply { status: StatusCode::OK, headers: HeaderList::default(), body, log: CallLog::default() }
    }))
}
