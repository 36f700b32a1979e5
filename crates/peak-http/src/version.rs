//! Which versions of HTTP are spoken, and how HTTP/2 is set up.

use std::time::Duration;

use hyper_util::client::legacy::Builder;
use hyper_util::rt::TokioTimer;

/// Unread bytes that one response body may have on their way or in memory.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same of all bodies of a connection: a body that nobody reads must not stop the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Most bytes of the headers of a response.
const HEADER_LIST: u32 = 64 * 1024;
/// How often a connection with open exchanges is asked whether it still lives, and for how long its answer is awaited.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// The versions of HTTP that a client offers on https connections. On plain http it is always HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/1.1 only: each exchange that is under way has a connection of its own.
    #[default]
    Http1,
    /// HTTP/2 where the server takes it (ALPN), else HTTP/1.1. All exchanges with one server share a connection.
    Any,
}

impl HttpVersions {
    /// What is offered in the TLS handshake, best first.
    pub(crate) fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

pub(crate) fn set_up(builder: &mut Builder) {
    builder
        .timer(TokioTimer::new())
        .http2_initial_stream_window_size(
            std::env::var("SW").map_or(STREAM_WINDOW, |v| v.parse::<u32>().unwrap() << 10),
        )
        .http2_initial_connection_window_size(
            std::env::var("CW").map_or(CONNECTION_WINDOW, |v| v.parse::<u32>().unwrap() << 10),
        )
        .http2_adaptive_window(std::env::var("AW").is_ok())
        .http2_max_frame_size(std::env::var("FS").ok().map(|v| v.parse::<u32>().unwrap()))
        .http2_max_header_list_size(HEADER_LIST)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT);
}
