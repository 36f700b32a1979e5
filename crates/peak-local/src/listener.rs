//! Accepting connections, and ending every one of them when the platform ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many connections may be open at once; more of them wait to be accepted.
const CONNECTIONS: usize = 512;

/// A connection on which no byte goes either way for so long is closed.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// A listener whose connections all end when `abort` is cancelled.
///
/// axum runs each connection in a task of its own that nobody can join or abort. What can be ended is
/// the stream under it: a task whose stream fails ends at its next step.
pub(crate) struct GuardedListener {
    listener: TcpListener,
    abort: CancellationToken,
    connections: Arc<Semaphore>,
}

impl GuardedListener {
    pub(crate) fn new(listener: TcpListener, abort: CancellationToken) -> Self {
        Self {
            listener,
            abort,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

impl Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        // The semaphore is never closed, so there is always a permit in the end.
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Answers are small and wanted at once; where the option cannot be set they are only later.
        let _ = stream.set_nodelay(true);
        let end = self.abort.child_token();
        let stream = GuardedStream {
            stream,
            #[cfg(feature = "faults")]
            end: end.clone(),
            abort: Box::pin(end.cancelled_owned()),
            idle: Box::pin(tokio::time::sleep(IDLE)),
            _permit: permit,
        };
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once the platform has ended or nothing has moved for too long.
pub(crate) struct GuardedStream {
    stream: TcpStream,
    abort: Pin<Box<WaitForCancellationFutureOwned>>,
    #[cfg(feature = "faults")]
    end: CancellationToken,
    idle: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl GuardedStream {
    /// Cancelling this ends the connection.
    #[cfg(feature = "faults")]
    pub(crate) fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Runs one step on the stream unless the connection has to end.
    fn guarded<T>(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.abort.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let result = step(Pin::new(&mut self.stream), context);
        if result.is_ready() {
            if let Some(deadline) = Instant::now().checked_add(IDLE) {
                self.idle.as_mut().reset(deadline);
            }
            return result;
        }
        if self.idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.guarded(context, |stream, context| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.guarded(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.guarded(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guarded(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
