//! Connections: how many there are at once, and for how long one may keep the server waiting.
//!
//! Whoever reaches the port can open connections, with a token or without. So one that stalls holds a socket, a file and two
//! pieces of it, but no thread; and it holds them only until its deadline.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

/// Most connections at once, where the system allows as many files as they may need.
const MOST_CONNECTIONS: usize = 1024;

/// Of the files that this process may have open, connections may take two thirds: each has a socket, and a file while it
/// downloads.
const FILES_FOR_EACH_CONNECTION: usize = 3;

/// How long to wait after the system refused a connection, as when this process has too many files open.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Most bytes that wait in a connection for its socket. A piece of a file counts whole, so it is one of them.
const WAITING_BYTES: usize = 64 << 10;

/// What clients may take of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    /// Connections at once. Others wait until one of them ends.
    pub(super) connections: usize,
    /// For the head of a request, from when the connection is free for it.
    pub(super) head: Duration,
    /// For a client to take at least one more byte of what is sent to it.
    pub(super) write: Duration,
}

impl Default for ClientLimits {
    /// A page that fills buffers of a slow device may well take nothing for some seconds.
    fn default() -> Self {
        let connections = open_files_limit() / FILES_FOR_EACH_CONNECTION;
        Self {
            connections: connections.clamp(1, MOST_CONNECTIONS),
            head: Duration::from_secs(30),
            write: Duration::from_secs(60),
        }
    }
}

/// How many files this process may have open.
#[cfg(unix)]
fn open_files_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn open_files_limit() -> usize {
    usize::MAX
}

/// Serves `router` on `listener` until it is dropped; its connections end with it, but not the WebSockets that came of them.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: ClientLimits) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes it");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // It ended before it was looked at.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        // Small messages must not wait for larger ones.
        let _ = stream.set_nodelay(true);
        let socket = TokioIo::new(Socket::new(stream, limits.write, slot));
        let service = TowerToHyperService::new(router.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(WAITING_BYTES);
        let connection = http.serve_connection(socket, service).with_upgrades();
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A client's socket, which fails when the client takes nothing of what is sent to it until a deadline.
struct Socket {
    stream: TcpStream,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether the client has not yet taken what was offered last.
    stalled: bool,
    /// Given back when the socket is closed.
    _slot: OwnedSemaphorePermit,
}

impl Socket {
    fn new(stream: TcpStream, limit: Duration, slot: OwnedSemaphorePermit) -> Self {
        Self { stream, limit, deadline: Box::pin(tokio::time::sleep(limit)), stalled: false, _slot: slot }
    }

    /// What became of a write: an error where the client has taken nothing for too long.
    fn within_deadline(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.stalled = false;
            return written;
        }
        if !self.stalled {
            self.stalled = true;
            self.deadline.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.deadline.as_mut().poll(context));
        let message = format!("the client took nothing for {} s", self.limit.as_secs_f64());
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, message)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within_deadline(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.within_deadline(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_something_gets_another_deadline() {
        let limit = Duration::from_millis(50);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, _) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut socket = Socket::new(client.unwrap(), limit, slot);
        let mut after = async |written: fn() -> Poll<Result<usize>>| {
            poll_fn(|context| Poll::Ready(socket.within_deadline(context, written()))).await
        };
        assert!(after(|| Poll::Pending).await.is_pending());
        tokio::time::sleep(limit).await;
        assert!(matches!(after(|| Poll::Ready(Ok(1))).await, Poll::Ready(Ok(1))));
        assert!(after(|| Poll::Pending).await.is_pending(), "the first deadline is over, this is the second");
        tokio::time::sleep(limit).await;
        let late = after(|| Poll::Pending).await;
        assert!(matches!(late, Poll::Ready(Err(error)) if error.kind() == ErrorKind::TimedOut));
    }
}
