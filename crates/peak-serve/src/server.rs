//! Accepting connections, and ending every one of them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Connection, OpenConnections, Shared};
use crate::error::ServeError;
use crate::limits::Limits;
use crate::linger;

/// How long nothing is accepted after the operating system could not, for example for want of
/// descriptors: long enough not to spin, short beside what a client waits.
const PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on and not served yet: its port is known, connections wait.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Tls>,
}

impl Listener {
    /// Listens on an address; with port 0 on a port that is free.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::AddressInUse { address },
            _ => ServeError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// Where it listens, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Speaks TLS on every connection.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: crate::tls::Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

/// A running server. [`shutdown`](Self::shutdown) ends it and waits; dropping it cuts everything.
pub struct Server {
    address: SocketAddr,
    open: Arc<OpenConnections>,
    stop: CancellationToken,
    /// Owns the tasks of all connections.
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `router` on the current tokio runtime, whose timer has to be on.
    ///
    /// Each request has a [`Connection`] among its extensions. What a handler leaves of a request's
    /// body is read for a while before the answer is sent, so that the answer arrives.
    pub fn start(listener: Listener, router: Router, limits: &Limits) -> Self {
        let open = Arc::new(OpenConnections::new(limits.max_connections));
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            router: router.layer(from_fn(linger::read_the_rest)),
            limits: limits.clone(),
            open: Arc::clone(&open),
            #[cfg(feature = "tls")]
            tls: listener.tls,
        });
        let accepting = tokio::spawn(accept(listener.listener, shared, stop.clone()));
        Self {
            address: listener.address,
            open,
            stop,
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.open.count()
    }

    /// Accepts no more connections, closes those without a request, lets requests end for the
    /// [drain time](Limits::drain) and cuts the rest.
    ///
    /// When this returns, no task of the server runs any more. Dropping it on the way cuts everything.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        log_panic(
            "the task that accepts connections",
            (&mut self.accepting).await,
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        // Its set of tasks goes with it, and each of them is ended by that.
        self.accepting.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(shared.limits.max_connections));
    let mut tasks = JoinSet::new();
    let mut id = 0_u64;
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                log_panic("a connection", ended);
                continue;
            }
            // The place comes first: without one, connections wait in the operating system's queue.
            accepted = accept_with_place(&listener, &permits) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            // This one is gone before we got it; the next one is not.
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "no connection can be accepted; trying again until it goes");
                }
                failing = true;
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        failing = false;
        id = id.wrapping_add(1);
        let connection = Connection {
            id,
            peer,
            #[cfg(feature = "tls")]
            secure: shared.tls.is_some(),
            #[cfg(not(feature = "tls"))]
            secure: false,
            end: CancellationToken::new(),
            stop: stop.clone(),
            open: Arc::clone(&shared.open),
        };
        let place = (shared.open.enter(), permit);
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            connection::serve(shared, connection, stream).await;
            drop(place);
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(shared.limits.drain, join_all(&mut tasks)).await;
    if drained.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "some requests did not end in time; their connections are cut"
        );
        tasks.abort_all();
        join_all(&mut tasks).await;
    }
}

async fn accept_with_place(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Answers are wanted at once; where the option cannot be set they are only later.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, permit))
}

/// Errors that `accept` passes on from the connection that it would have given.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        log_panic("a connection", ended);
    }
}

fn log_panic(task: &'static str, result: Result<(), JoinError>) {
    if let Err(error) = result
        && error.is_panic()
    {
        tracing::error!(%error, "{task} ended with a panic");
    }
}
