//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::body::{EndingBody, TimedBody};
use crate::limits::Limits;
use crate::stream::WatchedStream;
use crate::watch::{Expired, Watch};

/// How many bytes of a connection wait in memory in each direction at most.
const BUFFER: usize = 128 * 1024;

/// The connection that a request came on: an extension of each request that [`Server`](crate::Server)
/// hands to the router.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) secure: bool,
    pub(crate) end: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) open: Arc<OpenConnections>,
}

impl Connection {
    /// A number that no other connection of this server has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether this is TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Ends the connection at once: no byte more leaves, and its request is dropped.
    pub fn cut(&self) {
        self.end.cancel();
    }

    /// Whether the server is shutting down and waits for its requests.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// How many connections the server has open.
    pub fn open_connections(&self) -> usize {
        self.open.count()
    }
}

/// Counts the connections of a server.
#[derive(Debug)]
pub(crate) struct OpenConnections {
    count: AtomicUsize,
    limit: usize,
}

impl OpenConnections {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            limit,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(self: &Arc<Self>) -> OpenConnection {
        self.count.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Whether others wait, or may wait, for a connection to end.
    fn is_full(&self) -> bool {
        self.count() >= self.limit
    }
}

/// One that is counted until it is dropped.
pub(crate) struct OpenConnection(Arc<OpenConnections>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all connections of a server have in common.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) open: Arc<OpenConnections>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Tls>,
}

/// Serves a connection until one of its ends has had enough of it.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection, stream: TcpStream) {
    let Limits {
        header_time,
        keep_alive,
        idle,
        ..
    } = shared.limits;
    let watch = Arc::new(Watch::new(header_time, keep_alive, idle));
    let stream = WatchedStream::new(stream, Arc::clone(&watch), connection.end.clone());
    #[cfg(feature = "tls")]
    if let Some(tls) = &shared.tls {
        let (end, stop) = (connection.end.clone(), connection.stop.clone());
        let handshake = tokio::time::timeout(header_time, tls.accept(stream));
        let stream = tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = stop.cancelled() => return,
            result = handshake => match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(connection = connection.id, peer = %connection.peer, %error, "TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!(connection = connection.id, peer = %connection.peer, "TLS handshake took too long");
                    return;
                }
            },
        };
        watch.handshake_done();
        return Box::pin(serve_http(&shared, connection, &watch, stream)).await;
    }
    Box::pin(serve_http(&shared, connection, &watch, stream)).await;
}

/// What ended a connection.
enum End {
    Cut,
    Expired(Expired),
    Closed(hyper::Result<()>),
}

async fn serve_http(
    shared: &Shared,
    connection: Connection,
    watch: &Arc<Watch>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let service = service_fn(|request| answer(shared, &connection, watch, request));
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        // Its time would run while a connection waits for a further request; ours does not.
        .header_read_timeout(None)
        .max_headers(shared.limits.max_headers)
        .max_header_size(shared.limits.max_header_bytes)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    let mut cut = pin!(connection.end.cancelled());
    let mut stop = pin!(connection.stop.cancelled());
    let mut sleep = pin!(tokio::time::sleep(shared.limits.header_time));
    let mut stopping = false;
    let end = poll_fn(|context| {
        if cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Cut);
        }
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = http.as_mut().poll(context) {
            return Poll::Ready(End::Closed(result));
        }
        while let Some((deadline, what)) = watch.deadline() {
            // The alarm may ring too early, never too late; so most deadlines need no new alarm.
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(context).is_pending() {
                break;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(End::Expired(what));
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await;
    let (id, peer) = (connection.id, connection.peer);
    match end {
        End::Closed(Ok(())) | End::Expired(Expired::KeepAlive) => {
            tracing::trace!(connection = id, "connection closed");
        }
        End::Closed(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(connection = id, %peer, %error, cause, "connection ended");
        }
        End::Expired(Expired::Header) => {
            tracing::debug!(connection = id, %peer, "the header of a request took too long; connection closed");
        }
        End::Expired(Expired::Writing) => {
            tracing::debug!(connection = id, %peer, "the answer was not read for too long; connection cut");
        }
        End::Cut => tracing::debug!(connection = id, %peer, "connection cut"),
    }
}

async fn answer(
    shared: &Shared,
    connection: &Connection,
    watch: &Arc<Watch>,
    request: Request<Incoming>,
) -> Result<Response<EndingBody>, Infallible> {
    watch.request_begins();
    let mut request = request.map(|body| Body::new(TimedBody::new(body, shared.limits.idle)));
    request.extensions_mut().insert(connection.clone());
    let Ok(mut response) = shared.router.clone().oneshot(request).await;
    if shared.open.is_full() {
        // Somebody else may be waiting to be let in.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| EndingBody::new(body, Arc::clone(watch))))
}
