//! The way from the request path to the io runtime. Database and Redis connections live in one background service's
//! runtime: a socket belongs to the reactor that opened it, and a busy request thread must not stall them all. It must
//! never block a request thread.
use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch};

/// A handle to the io runtime; clones share it. Usable before the runtime is there: calls wait for it.
#[derive(Debug, Clone)]
pub struct Io(Arc<watch::Sender<Option<Handle>>>);

/// The io runtime is gone: the process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the io runtime has stopped")]
pub struct Stopped;

impl Default for Io {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Io {
    /// Says which runtime it is; called once, from inside it.
    pub fn attach(&self, handle: Handle) {
        self.0.send_replace(Some(handle));
    }

    /// Runs `task` in the io runtime and waits for it. Dropping the returned future does not stop the task: a look-up
    /// that others wait for too goes on when its first asker leaves.
    pub async fn run<F, T>(&self, task: F) -> Result<T, Stopped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let mut attached = self.0.subscribe();
        let handle = attached.wait_for(Option::is_some).await.map_err(|_| Stopped)?.clone().ok_or(Stopped)?;
        handle.spawn(task).await.map_err(|_| Stopped)
    }

    /// Whether there is an io runtime already.
    pub fn is_there(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Starts `task` in the io runtime without waiting. False: there is no io runtime yet, the task was dropped.
    pub fn start<F>(&self, task: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match &*self.0.borrow() {
            Some(handle) => {
                handle.spawn(task);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
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
}
