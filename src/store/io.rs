//! The way from the request path to the io runtime. Database and Redis connections live in one background service's
//! runtime: a socket belongs to the reactor that opened it, and a busy request thread must not stall them all. It must
//! never block a request thread.
use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch};

/// A handle to the io runtime; clones share it. Usable before the runtime is there: calls wait for it.
#[derive(Debug, Clone)]
pub struct Io {
    runtime: Arc<watch::Sender<Option<Handle>>>,
    /// tasks that the process waits for before it ends
    owed: Arc<watch::Sender<usize>>,
}

/// The io runtime is gone: the process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the io runtime has stopped")]
pub struct Stopped;

impl Default for Io {
    fn default() -> Self {
        Self { runtime: Arc::new(watch::Sender::new(None)), owed: Arc::default() }
    }
}

impl Io {
    /// Says which runtime it is; called once, from inside it.
    pub fn attach(&self, handle: Handle) {
        self.runtime.send_replace(Some(handle));
    }

    /// Runs `task` in the io runtime and waits for it. Dropping the returned future does not stop the task: a look-up
    /// that others wait for too goes on when its first asker leaves.
    pub async fn run<F, T>(&self, task: F) -> Result<T, Stopped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let mut attached = self.runtime.subscribe();
        let handle = attached.wait_for(Option::is_some).await.map_err(|_| Stopped)?.clone().ok_or(Stopped)?;
        handle.spawn(task).await.map_err(|_| Stopped)
    }

    /// Whether there is an io runtime already.
    pub fn is_there(&self) -> bool {
        self.runtime.borrow().is_some()
    }

    /// Starts `task` in the io runtime without waiting. False: there is no io runtime yet, the task was dropped.
    pub fn start<F>(&self, task: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match &*self.runtime.borrow() {
            Some(handle) => {
                handle.spawn(task);
                true
            }
            None => false,
        }
    }

    /// The same for what others would miss if it were not done: [`Io::idle`] waits for it.
    pub fn owe<F>(&self, task: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let debt = Debt::new(&self.owed);
        self.start(async move {
            let _debt = debt;
            task.await;
        })
    }

    /// Waits until every task of [`Io::owe`] has ended. For the drain.
    pub async fn idle(&self) {
        // never closed: this handle has a sender
        let _ = self.owed.subscribe().wait_for(|owed| *owed == 0).await;
    }
}

/// One owed task; it is paid however the task ends.
struct Debt(Arc<watch::Sender<usize>>);

impl Debt {
    fn new(owed: &Arc<watch::Sender<usize>>) -> Self {
        owed.send_modify(|owed| *owed += 1);
        Self(owed.clone())
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.0.send_modify(|owed| *owed = owed.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_call_waits_for_the_runtime_and_runs_in_it() {
        let io = Io::default();
        assert!(!io.start(async {}));
        let called = tokio::spawn({
            let io = io.clone();
            async move { io.run(async { std::thread::current().name().map(str::to_owned) }).await }
        });
        tokio::task::yield_now().await;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("io-test").build().unwrap();
        io.attach(runtime.handle().clone());
        assert_eq!(called.await.unwrap(), Ok(Some("io-test".to_owned())));
        runtime.shutdown_background();
        assert_eq!(io.run(async {}).await, Err(Stopped));
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_owed_alone() {
        let io = Io::default();
        assert!(!io.owe(async {}), "without a runtime nothing is owed");
        io.idle().await;
        io.attach(Handle::current());
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        assert!(io.start(std::future::pending()));
        assert!(io.owe(async move { _ = finished.await }));
        assert!(tokio::time::timeout(Duration::from_millis(20), io.idle()).await.is_err());
        finish.send(()).unwrap();
        io.idle().await;
        // what panics owes nothing any more
        assert!(io.owe(async { panic!("a settlement that panics") }));
        io.idle().await;
    }
}
