//! Runs an admitted request and writes its answer, watching whether the client is still there.
//!
//! A client that leaves before the answer begins does not stop the call: LiteLLM does not either, and the call is
//! billed. A client that leaves during a stream does: dropping the stream aborts the provider's answer and settles.
use std::{pin::Pin, task::Poll, time::Instant};

use bytes::{Bytes, BytesMut};
use pingora::{Error, ErrorType, proxy::Session};

use super::{
    ctx::Ctx,
    guard::{self, Guarded, Panicked, guarded},
    reply::{self, Framing},
    state::Edge,
};
use crate::{
    capture,
    error::{EdgeError, Failure},
    faults::{self, fault},
    routes::{
        Call, CallLog, Decline, EventStream, Execution, Fetched, Halt, NativeRoute, Reply, ReplyBody, named_rows,
    },
    telemetry::{access_log::Side, metrics::AbortedBy},
};

/// Asks the route, and once more where it had to know what was not in memory.
pub(super) async fn admit(route: &NativeRoute, call: Call) -> Result<Execution, Decline> {
    let call = match route.fetch {
        Some(fetch) => fetch(call).await?,
        None => call,
    };
    let ask = |call| guard::call(|| (route.admit)(call)).unwrap_or(Err(Decline::Fault.into()));
    let admitted = match ask(call) {
        Err(Halt::Unread { mut call, names }) => {
            call.fetched = Some(Fetched::Named(named_rows::read(&call, names).await));
            ask(*call)
        }
        admitted => admitted,
    };
    admitted.map_err(|halt| halt.decline())
}

/// Drives `execution` and answers. `Err` is for the client's connection only; it is never an occasion for Python.
pub(super) async fn run(
    edge: &Edge,
    session: &mut Session,
    ctx: &mut Ctx,
    execution: Execution,
) -> pingora::Result<()> {
    ctx.record.side = Side::Native;
    let execution: Execution = match ctx.tap.clone() {
        Some(tap) => {
            tap.edge_calls();
            Box::pin(capture::scope(tap, execution))
        }
        None => execution,
    };
    let mut execution = guarded(execution);
    let mut watch = Watch::default();
    let reply = tokio::select! {
        biased;
        reply = &mut execution => reply,
        gone = watch.left(session) => {
            if !fault!(CallAborted) {
                finish_alone(edge, ctx, execution);
            }
            return Err(gone);
        }
    };
    let reply = reply.unwrap_or_else(|Panicked| {
        tracing::error!(route = &*ctx.record.route, "a native route panicked, the caller gets a 500");
        reply::failure(&Failure::from(EdgeError::Internal), reply::dialect(&ctx.record.path))
    });
    write(session, ctx, watch, reply, Side::Native).await
}

/// Writes a reply, whole or streamed.
pub(super) async fn write(
    session: &mut Session,
    ctx: &mut Ctx,
    watch: Watch,
    reply: Reply,
    side: Side,
) -> pingora::Result<()> {
    ctx.record.call = reply.log;
    if let Some(tap) = &ctx.tap {
        let headers = reply.headers.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        tap.answer_head(reply.status, headers.collect());
        if let ReplyBody::Full(body) = &reply.body {
            tap.answer(body);
        }
    }
    ctx.record.first_byte = Some(Instant::now());
    match reply.body {
        ReplyBody::Full(body) => reply::full(session, reply.status, reply.headers, body, side).await,
        ReplyBody::Stream(stream) => {
            let mut stream = faults::stream(stream);
            let head = reply::head(reply.status, reply.headers, Framing::Chunked, "Origin", false, side)?;
            let written = match session.downstream_session.write_response_header(head).await {
                Ok(()) => forward(session, watch, &mut *stream, ctx.tap.as_ref()).await,
                Err(error) => Err(error.into_down()),
            };
            // read before the drop, whatever happened: what is known so far is what the log line says
            ctx.record.call = known(&*stream);
            faults::after(stream);
            written
        }
    }
}

async fn forward(
    session: &mut Session,
    mut watch: Watch,
    stream: &mut dyn EventStream,
    tap: Option<&capture::Tap>,
) -> pingora::Result<()> {
    loop {
        let events = tokio::select! {
            biased;
            events = guarded(stream.next()) => events,
            gone = watch.left(session) => return Err(gone),
        };
        let Ok(events) = events else { return Err(panicked()) };
        let (events, rest) = match events {
            Some(events) => gather(events, stream).await,
            None => (Bytes::new(), Rest::End),
        };
        if let Some(tap) = tap {
            tap.answer(&events);
        }
        let downstream = &mut session.downstream_session;
        if !events.is_empty() {
            downstream.write_response_body(events, false).await.map_err(|error| error.into_down())?;
        }
        match rest {
            Rest::Later => {}
            Rest::End => {
                return downstream.write_response_body(Bytes::new(), true).await.map_err(|error| error.into_down());
            }
            Rest::Panicked => return Err(panicked()),
        }
    }
}

fn panicked() -> Box<Error> {
    tracing::error!("the stream of a native route panicked, the answer is cut");
    Error::explain(ErrorType::InternalError, "stream").into_in()
}

/// Most bytes of events that go out by one write.
const GATHER: usize = 16 << 10;

/// What follows the gathered events.
enum Rest {
    Later,
    End,
    Panicked,
}

/// Adds the events that have already arrived: a burst then costs one system call, not one an event. Nothing is waited
/// for.
async fn gather(first: Bytes, stream: &mut dyn EventStream) -> (Bytes, Rest) {
    let mut more = Vec::new();
    let mut length = first.len();
    let rest = loop {
        if length >= GATHER {
            break Rest::Later;
        }
        // the task that reads from the provider has its turn, if it has something
        tokio::task::yield_now().await;
        let mut next = guarded(stream.next());
        match std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut next).poll(context))).await {
            Poll::Pending => break Rest::Later,
            Poll::Ready(Err(Panicked)) => break Rest::Panicked,
            Poll::Ready(Ok(None)) => break Rest::End,
            Poll::Ready(Ok(Some(events))) => {
                length += events.len();
                more.push(events);
            }
        }
    };
    if more.is_empty() {
        return (first, rest);
    }
    let mut all = BytesMut::with_capacity(length);
    all.extend_from_slice(&first);
    more.iter().for_each(|events| all.extend_from_slice(events));
    (all.freeze(), rest)
}

/// The stream's part of the log line, also of one that panicked.
fn known(stream: &dyn EventStream) -> CallLog {
    guard::call(|| stream.log()).unwrap_or_default()
}

/// The client left before the answer began: the call goes on by itself, counted as in flight, and is logged at its end.
fn finish_alone(edge: &Edge, ctx: &mut Ctx, execution: Guarded<Execution>) {
    let services = edge.services.clone();
    let (mut record, in_flight, held) = ctx.detach();
    tokio::spawn(async move {
        record.call = match execution.await {
            Ok(Reply { body: ReplyBody::Stream(stream), .. }) => known(&*stream), // and dropped: nobody listens
            Ok(reply) => reply.log,
            Err(Panicked) => {
                tracing::error!(route = &*record.route, "a native route panicked after its client had left");
                CallLog::default()
            }
        };
        record.client_gone = true;
        record.aborted = Some(AbortedBy::Client);
        record.finish(super::phases::CLIENT_GONE, &services.metrics);
        drop((in_flight, held));
    });
}

/// Waits for the client to leave.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// the client already sent its next request: it is there, but can no longer be watched
    blind: bool,
}

impl Watch {
    /// Resolves when the client has gone; pending for ever otherwise. Cancel-safe.
    pub(super) async fn left(&mut self, session: &mut Session) -> Box<Error> {
        if !self.blind {
            match session.downstream_session.read_body_or_idle(true).await {
                Err(error) if error.etype() == &ErrorType::ConnectError => {
                    // bytes after the body: a pipelined request. They are lost, so the connection must not be reused
                    session.set_keepalive(None);
                    self.blind = true;
                }
                Err(error) => return error.into_down(),
                Ok(_) => self.blind = true,
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// `None`: nothing has arrived yet.
    struct Script(VecDeque<Option<&'static str>>);

    #[async_trait::async_trait]
    impl EventStream for Script {
        async fn next(&mut self) -> Option<Bytes> {
            match self.0.pop_front() {
                Some(Some("panic")) => panic!("on purpose"),
                Some(Some(event)) => Some(Bytes::from_static(event.as_bytes())),
                Some(None) => std::future::pending().await,
                None => None,
            }
        }

        fn log(&self) -> CallLog {
            CallLog::default()
        }
    }

    async fn gathered(script: &[Option<&'static str>]) -> (Bytes, Rest) {
        gather(Bytes::from_static(b"1"), &mut Script(script.iter().copied().collect())).await
    }

    #[tokio::test]
    async fn what_is_there_goes_out_together_and_nothing_is_waited_for() {
        let (events, rest) = gathered(&[Some("2"), Some("3"), None, Some("4")]).await;
        assert!(events == "123" && matches!(rest, Rest::Later));
        let (events, rest) = gathered(&[None]).await;
        assert!(events == "1" && matches!(rest, Rest::Later));
        let (events, rest) = gathered(&[Some("2")]).await;
        assert!(events == "12" && matches!(rest, Rest::End));
        let (events, rest) = gathered(&[Some("2"), Some("panic")]).await;
        assert!(events == "12" && matches!(rest, Rest::Panicked));
    }
}
