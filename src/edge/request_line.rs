//! Sees the request line as it came. Pingora mends one that is none: a space or control byte within the target is escaped,
//! and what was sent is gone before anybody can look. uvicorn refuses such a line, and RFC 9112 section 3.2 forbids to mend it, because it
//! may be made to be read in two ways. It must never change or hold back a byte.
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The line of one request, byte by byte.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Line {
    /// something else than an empty line has come
    begun: bool,
    ended: bool,
    spaces: u8,
    /// a control byte, or one that follows a CR that is not the line's end
    odd: bool,
    cr: bool,
}

impl Line {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.begun => {
                    self.ended = true;
                    return;
                }
                b'\r' | b'\n' if !self.begun => continue,
                _ if self.cr => self.odd = true,
                b'\r' => self.cr = true,
                b' ' => self.spaces = self.spaces.saturating_add(1),
                0..0x20 | 0x7f => self.odd = true,
                _ => {}
            }
            self.begun = true;
        }
    }

    /// Three words and nothing that is not seen.
    fn is_plain(self) -> bool {
        self.spaces == 2 && !self.odd
    }
}

/// What a connection's task knows of the head it reads.
#[derive(Debug, Default)]
pub(super) struct Reading {
    head_read: AtomicBool,
    line_read: AtomicBool,
    line: Mutex<Line>,
}

tokio::task_local! {
    static READING: Arc<Reading>;
}

impl Reading {
    /// Runs a request from its first byte on; the stream's reads inside it are looked at.
    pub(super) fn scope<F: Future>(self: &Arc<Self>, request: F) -> impl Future<Output = F::Output> {
        READING.scope(self.clone(), request)
    }

    /// Whether [`head_is_read`] was called.
    pub(super) fn head_is_read(&self) -> bool {
        self.head_read.load(Ordering::Relaxed)
    }

    fn feed(&self, bytes: &[u8]) {
        if self.line_read.load(Ordering::Relaxed) {
            return;
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.feed(bytes);
        self.line_read.store(line.ended, Ordering::Relaxed);
    }
}

/// To be called when a request's head has been read, by the task that read it. False: its line was none. (HTTP/2 has no line.)
pub(super) fn head_is_read() -> bool {
    // not there for a request that did not come through `Front`: there is nobody to tell
    let told = READING.try_with(|reading| {
        reading.head_read.store(true, Ordering::Relaxed);
        let line = *reading.line.lock().unwrap_or_else(PoisonError::into_inner);
        !line.begun || line.is_plain()
    });
    told.unwrap_or(true)
}

/// A client's connection whose reads are seen.
#[derive(Debug)]
pub(super) struct Seen(pub(super) Stream);

impl AsyncRead for Seen {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        if let (Poll::Ready(Ok(())), Some(new)) = (&read, buf.filled().get(before..)) {
            let _ = READING.try_with(|reading| reading.feed(new));
        }
        read
    }
}

impl AsyncWrite for Seen {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Seen {
    async fn shutdown(&mut self) {
        self.0.shutdown().await;
    }
}

impl UniqueID for Seen {
    fn id(&self) -> UniqueIDType {
        self.0.id()
    }
}

impl Ssl for Seen {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.0.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.0.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.0.selected_alpn_proto()
    }
}

impl GetTimingDigest for Seen {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.0.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.0.get_write_pending_time()
    }
}

impl GetProxyDigest for Seen {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.0.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Seen {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.0.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Seen {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.0.try_peek(buf).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(parts: &[&str]) -> Line {
        let mut line = Line::default();
        parts.iter().for_each(|part| line.feed(part.as_bytes()));
        line
    }

    #[test]
    fn a_line_of_three_words_is_plain_however_it_comes() {
        for parts in [
            &["GET /a HTTP/1.1\r\nx: a b c\r\n\r\n"][..],
            &["G", "ET /\u{e9}?\"<> HT", "TP/1.1\r", "\n"],
            &["\r\n", "\r\nGET / HTTP/1.0\n"],
        ] {
            assert!(line(parts).ended && line(parts).is_plain(), "{parts:?}");
        }
        assert!(!line(&["GET / HTTP/1.1\r"]).ended && !line(&["\r\n\r\n"]).begun);
    }

    #[test]
    fn what_would_be_mended_is_not() {
        for bad in [
            "GET /a b HTTP/1.1\r\n",
            "GET  /a HTTP/1.1\r\n",
            "GET /a HTTP/1.1 \r\n",
            " GET /a HTTP/1.1\r\n",
            "GET /a?b c HTTP/1.1\r\n",
            "GET /a\t HTTP/1.1\r\n",
            "GET /\x7f HTTP/1.1\r\n",
            "GET /\0 HTTP/1.1\r\n",
            "GET /\r HTTP/1.1\r\n",
            "GET /a HTTP/1.1\r\r\n",
            "GET /a\r\n",
        ] {
            assert!(line(&[bad]).ended && !line(&[bad]).is_plain(), "{bad:?}");
        }
    }
}
