//! The connection under a WebSocket handshake to Python.
//!
//! Pingora 0.9.1 tears a WebSocket down when it reads Python's 101 before it has taken note of the (empty) end of the
//! handshake's body (cloudflare/pingora#946): both are ready at once where Python answers at once, and a `select!`
//! picks either. The socket here removes the race: the first read after a write yields once, and in that turn the
//! waiting end of the body is taken note of. An ordinary request does not need it and does not get it.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    connectors::l4::Connect as L4Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::python::Resolved;

/// Opens such connections.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) to: Resolved,
    pub(super) timeout: Duration,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, _: &SocketAddr) -> pingora::Result<Stream> {
        let socket: Box<dyn Socket> = match open(&self.to, self.timeout).await? {
            Opened::Tcp(stream) => Box::new(stream),
            Opened::Unix(stream) => Box::new(stream),
        };
        Ok(Stream::from(VirtualSocketStream::new(Box::new(YieldingSocket { socket, written: false }))))
    }
}

/// A new connection to Python, outside Pingora's pool.
pub(super) enum Opened {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects, with Pingora's words for what can go wrong.
pub(super) async fn open(to: &Resolved, timeout: Duration) -> pingora::Result<Opened> {
    let connect = async {
        match to {
            Resolved::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(Opened::Tcp(stream))
            }
            Resolved::Unix(path) => Ok(Opened::Unix(UnixStream::connect(path).await?)),
        }
    };
    match tokio::time::timeout(timeout, connect).await {
        Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "connection to python"),
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            Error::e_because(kind, "connection to python", error)
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}

#[derive(Debug)]
struct YieldingSocket {
    socket: Box<dyn Socket>,
    /// something was written since the last read
    written: bool,
}

impl VirtualSocket for YieldingSocket {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(()) // no-delay is set at connecting
    }
}

impl AsyncRead for YieldingSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut *self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for YieldingSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut *self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}
