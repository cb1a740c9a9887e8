//! The end of the process: who is still being answered, and when it is time to go. Pingora itself would sleep through
//! the whole grace period and then drop what is left.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// In-flight requests and whether the edge is going down.
#[derive(Debug, Default)]
pub struct Drain {
    draining: AtomicBool,
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    idle: Notify,
}

impl Drain {
    /// Counts a request (or what it left running) until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// Counts a client's connection until the guard is dropped.
    pub fn connect(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::AcqRel);
        Connected(self.clone())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// From now on readiness is 503 and no connection is kept.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// In a word: `up` or `draining`.
    pub fn state(&self) -> &'static str {
        if self.is_draining() { "draining" } else { "up" }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until nothing has been in flight for `settle`, at most for `limit`. False: the limit was reached.
    pub async fn idle(&self, settle: Duration, limit: Duration) -> bool {
        let quiet = async {
            loop {
                while self.in_flight() > 0 {
                    // the timer covers a wake-up between the check and the wait
                    let _ = tokio::time::timeout(Duration::from_millis(50), self.idle.notified()).await;
                }
                // a request read just before the listeners closed may not have been counted yet
                tokio::time::sleep(settle).await;
                if self.in_flight() == 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct InFlight(Arc<Drain>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connected(Arc<Drain>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_waits_for_the_last_request_and_no_longer() {
        let drain = Arc::new(Drain::default());
        let guard = drain.enter();
        let second = drain.enter();
        assert!(!drain.idle(Duration::ZERO, Duration::from_millis(20)).await);
        drop(guard);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle(Duration::from_millis(5), Duration::from_secs(5)).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(second);
        assert!(tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap());
    }
}
