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
    /// draining, because a new process has the listeners
    handed_over: AtomicBool,
    /// idle connections are still open, for requests that are on their way
    lingering: AtomicBool,
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
        self.lingering.store(true, Ordering::Release);
        self.draining.store(true, Ordering::Release);
    }

    /// As [`Drain::begin`], but somebody else serves from now on: there is nothing to be un-ready about.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
        self.begin();
    }

    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// After the listeners: gives idle connections `limit` to bring the request that may be on its way. It is answered
    /// with `connection: close`, so nobody who sends meets a closed connection. Ends early when no connection is left.
    pub async fn linger(&self, limit: Duration) {
        let gone = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if self.connections() == 0 {
                    return;
                }
            }
        };
        if self.is_draining() {
            let _ = tokio::time::timeout(limit, gone).await;
        }
    }

    /// Idle connections were closed.
    pub fn lingered(&self) {
        self.lingering.store(false, Ordering::Release);
        self.idle.notify_waiters();
    }

    fn busy(&self) -> bool {
        self.in_flight() > 0 || self.lingering.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// In a word: `up`, `draining` or `handed_over`.
    pub fn state(&self) -> &'static str {
        match (self.is_draining(), self.is_handed_over()) {
            (false, _) => "up",
            (true, false) => "draining",
            (true, true) => "handed_over",
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until idle connections are closed and nothing has been in flight for `settle`, at most for `limit`.
    /// False: the limit was reached.
    pub async fn idle(&self, settle: Duration, limit: Duration) -> bool {
        let quiet = async {
            loop {
                while self.busy() {
                    // the timer covers a wake-up between the check and the wait
                    let _ = tokio::time::timeout(Duration::from_millis(50), self.idle.notified()).await;
                }
                // a request read just before the listeners closed may not have been counted yet
                tokio::time::sleep(settle).await;
                if !self.busy() {
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
    async fn a_drain_is_not_over_before_idle_connections_had_their_time() {
        let drain = Arc::new(Drain::default());
        let connection = drain.connect();
        drain.hand_over();
        assert_eq!(drain.state(), "handed_over");
        assert!(!drain.idle(Duration::ZERO, Duration::from_millis(30)).await, "lingering");
        let lingering = tokio::spawn({
            let drain = drain.clone();
            async move { drain.linger(Duration::from_secs(5)).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!lingering.is_finished());
        drop(connection);
        assert!(tokio::time::timeout(Duration::from_secs(1), lingering).await.is_ok(), "nobody is left to wait for");
        drain.lingered();
        assert!(drain.idle(Duration::ZERO, Duration::from_secs(1)).await);
    }

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
