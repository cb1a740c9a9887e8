//! Keeps a panic in a native route within its request: it becomes a value, and its payload is dropped unread, because a
//! message like `byte index 7 is not a char boundary; it is inside ...` quotes the request.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

/// What is left of a panic. Where it happened has been logged by the panic hook ([`crate::telemetry::hush_panics`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// A future whose panic is its result. It must not be polled again after that.
pub(super) struct Guarded<F>(F);

/// Guards a future.
pub(super) fn guarded<F: Future + Unpin>(future: F) -> Guarded<F> {
    Guarded(future)
}

impl<F: Future + Unpin> Future for Guarded<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

/// Guards a call.
pub(super) fn call<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}
