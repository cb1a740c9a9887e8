//! Where tokens are counted: in the io runtime's threads for long work, one count at a time, after the answer. What waits
//! is bounded by its bytes; a text that finds no room is counted by its length.
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::tokens::Encoding;
use crate::store::Io;

/// KiB of texts that may wait.
const ROOM: u32 = 256 << 10;
/// Bytes of a token where nobody may look closer.
const ROUGHLY: usize = 4;

/// How closely a text is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    rough: bool,
}

impl Meter {
    pub const EXACT: Self = Self { rough: false };

    pub fn count(self, encoding: Encoding, text: &str) -> u64 {
        if self.rough { (text.len() / ROUGHLY) as u64 } else { encoding.count(text) }
    }
}

/// The place where counts are made. Clones share it.
#[derive(Debug, Clone)]
pub struct Counting {
    io: Io,
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Counting {
    pub fn new(io: Io) -> Self {
        Self { io, room: Arc::new(Semaphore::new(ROOM as usize)), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Runs `job` later, elsewhere; `bytes`: what it holds. Never waits.
    pub fn run(&self, bytes: usize, job: impl FnOnce(Meter) + Send + 'static) {
        let size = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(size) else {
            tracing::warn!(bytes, "too many streams wait to be counted: this one is counted by its length");
            return job(Meter { rough: true });
        };
        if !self.io.is_there() {
            return job(Meter::EXACT);
        }
        let turn = Arc::clone(&self.turn);
        self.io.start(async move {
            let turn = turn.acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || job(Meter::EXACT)).await;
            if done.is_err() {
                tracing::error!("a call could not be counted: it is not billed");
            }
            drop((turn, room));
        });
    }

    /// The same, waited for: where an answer shows what was counted.
    pub async fn answer<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce(Meter) -> T + Send + 'static,
    ) -> Option<T> {
        let (told, heard) = oneshot::channel();
        self.run(bytes, move |meter| _ = told.send(job(meter)));
        heard.await.ok()
    }

    /// Waits until everything that was asked for is counted. For the drain.
    pub async fn idle(&self) {
        // never closed
        let _ = self.room.acquire_many(ROOM).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_is_counted_roughly_and_the_drain_waits() {
        let io = Io::default();
        io.attach(tokio::runtime::Handle::current());
        let counting = Counting::new(io);
        let (told, heard) = mpsc::channel();
        let (gate, opens) = mpsc::channel::<()>();
        let first = told.clone();
        counting.run((ROOM as usize - 2) << 10, move |meter| {
            let _ = opens.recv();
            let _ = first.send(meter.count(Encoding::Cl100k, "hello world, hello"));
        });
        let second = told.clone();
        counting.run(1 << 20, move |meter| _ = second.send(meter.count(Encoding::Cl100k, "hello world, hello")));
        assert_eq!(heard.recv().unwrap(), 4);
        gate.send(()).unwrap();
        counting.idle().await;
        assert_eq!(heard.try_recv().unwrap(), 4);
    }
}
