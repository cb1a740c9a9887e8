//! Reading the body of a native candidate into memory, bounded twice: for one request and for all together.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use pingora::proxy::Session;

/// Bytes that may still be read into memory by all requests together.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// What is left of it.
    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// What one request has taken from the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: budget.clone(), bytes: 0 }
    }

    /// False: the budget is used up.
    pub(super) fn more(&mut self, bytes: usize) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// The outcome of reading.
#[derive(Debug)]
pub(super) enum Read {
    Whole(Bytes),
    /// the bound was passed: what was read so far, the rest is still to come from the client
    Over(Bytes),
}

/// Reads the whole body, or up to the bound. `declared`: Content-Length, already within the bound and in `held`.
pub(super) async fn read(
    session: &mut Session,
    declared: Option<usize>,
    bound: usize,
    held: &mut Held,
) -> pingora::Result<Read> {
    let downstream = &mut session.downstream_session;
    let Some(first) = downstream.read_request_body().await? else { return Ok(Read::Whole(Bytes::new())) };
    if declared == Some(first.len()) {
        return Ok(Read::Whole(first)); // the usual case: one read, no copy
    }
    // what a client declares is not allocated before it has sent a good part of it
    let mut all = BytesMut::with_capacity(declared.unwrap_or(0).clamp(first.len(), 1 << 20));
    let mut next = Some(first);
    while let Some(piece) = next {
        let fits = declared.is_some() || (all.len() + piece.len() <= bound && held.more(piece.len()));
        all.extend_from_slice(&piece);
        if !fits {
            return Ok(Read::Over(all.freeze()));
        }
        next = downstream.read_request_body().await?;
    }
    Ok(Read::Whole(all.freeze()))
}

/// The length the head declares.
pub(super) fn declared(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_given_back() {
        let budget = Arc::new(Budget::new(10));
        let mut first = Held::new(&budget);
        assert!(first.more(6));
        let mut second = Held::new(&budget);
        assert!(!second.more(5));
        assert!(second.more(4));
        drop(first);
        assert!(second.more(6));
        assert!(!second.more(1));
    }
}
