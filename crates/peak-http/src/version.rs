//! Which versions of HTTP are spoken, and how HTTP/2 is set up.

use std::time::Duration;

use hyper_util::client::legacy::Builder;
use hyper_util::rt::TokioTimer;

/// Bytes of one response body that may be on their way or wait in memory to be read. What is sent in one round trip:
/// 80 MiB/s at 50 ms.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same of all bodies of a connection: some that nobody reads must not stop the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Bytes of a frame. With the 16 KiB that are usual a large body comes a quarter slower.
const FRAME: u32 = 256 * 1024;
/// Bytes that are read from an HTTP/1.1 connection at a time, always into a piece of memory of this size. Left to itself hyper
/// takes pieces of all sizes up to 400 KiB, and what is free between them is of no use: four large blobs at once took
/// 4 MiB more.
const PIECE: usize = 256 * 1024;
/// Most bytes of the headers of a response.
const HEADERS: u32 = 64 * 1024;
/// How often a silent connection is asked whether it still lives, and for how long its answer is awaited.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// The versions of HTTP that a client offers on https connections. On plain http it is always HTTP/1.1.
///
/// By HTTP/2 all exchanges with a server share one connection, so one task and one core: `examples/large_bodies.rs`
/// read a body of 512 MiB over TLS on loopback at 1050 MiB/s where HTTP/1.1 came to 1670 MiB/s, in 15 and 11 MB of memory.
/// One lost packet also stops all of them, and what is more than the server allows at once (often 100) waits in line
/// while its time runs. So images and artifacts are better off with HTTP/1.1, which is the default. HTTP/2 is for very
/// many small requests at once, which need no connection each, and for servers that speak nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/1.1 only: each exchange that is under way has a connection of its own.
    #[default]
    Http1,
    /// HTTP/2 where the server takes it (ALPN), else HTTP/1.1. Requests that start at the same time while there is no
    /// connection yet still open one each, of which one is kept: send one ahead.
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
        .http1_read_buf_exact_size(PIECE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_frame_size(FRAME)
        .http2_max_header_list_size(HEADERS)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        // hyper 1.12 also takes a connection for idle whose client was dropped while a body is still being read.
        .http2_keep_alive_while_idle(true);
}
