//! What a peer may take.

use std::time::Duration;

/// Descriptors that are left to everything that is not a connection or its file.
#[cfg(unix)]
const OTHER_DESCRIPTORS: u64 = 64;

/// The limits of a server, all of them with a default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    pub(crate) max_connections: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) header_time: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) idle: Duration,
    pub(crate) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: fitted_to_descriptors(1024),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            header_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections may be open at once, at least 1; more of them wait to be accepted.
    /// Default 1024, or fewer if this process may not have two descriptors open for each.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// The largest header of a request with its first line, bytes, from 1024 to 64 KiB. Default 32 KiB.
    #[must_use]
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.max_header_bytes = bytes.clamp(1024, 64 * 1024);
        self
    }

    /// How many fields the header of a request may have. Default 100.
    #[must_use]
    pub fn max_headers(mut self, count: usize) -> Self {
        self.max_headers = count;
        self
    }

    /// How long a TLS handshake may take, and how long the header of a request from its first byte, of
    /// the first request from the beginning of the connection. Default 10 seconds.
    #[must_use]
    pub fn header_time(mut self, time: Duration) -> Self {
        self.header_time = time;
        self
    }

    /// How long a connection is kept after an answer for another request to come. Default 75 seconds.
    #[must_use]
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// How long a body may stand still in either direction because of the peer. Default 75 seconds:
    /// longer than the minute that handlers give a body, so that they can answer 408 themselves.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// How long [`Server::shutdown`](crate::Server::shutdown) waits for requests to end before it cuts
    /// them. Default 10 seconds.
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }
}

/// As many connections as the descriptors of this process suffice for: each may have a file open too.
#[cfg(unix)]
fn fitted_to_descriptors(wanted: usize) -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    descriptors.map_or(wanted, |descriptors| {
        let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
        usize::try_from(possible).map_or(wanted, |possible| wanted.min(possible).max(1))
    })
}

#[cfg(not(unix))]
fn fitted_to_descriptors(wanted: usize) -> usize {
    wanted
}
