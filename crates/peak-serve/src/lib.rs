//! Accepting connections and speaking HTTP/1.1 on them, for the embedded servers.
//!
//! What stands behind a port that anybody can reach has to bound everything that a peer decides: how
//! many connections there are, how long it takes over a header, a body or reading an answer, and how
//! large a header is. [`Server`] does that for any `axum` router, with [TLS](Tls) or without, and
//! owns every task it starts: [shutting it down](Server::shutdown) lets running requests end and
//! waits for them, dropping it cuts them all.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use peak_serve::{Limits, Listener, Server};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await?;
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! let server = Server::start(listener, router, &Limits::new());
//!
//! let mut client = tokio::net::TcpStream::connect(server.address()).await?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"));
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to whom
//!
//! | peer | what happens |
//! |---|---|
//! | one connection more than [there may be](Limits::max_connections) | waits until another one ends |
//! | handshake or header not whole after [the time for it](Limits::header_time), however it drips | connection closed |
//! | header [too large](Limits::max_header_bytes) or with [too many fields](Limits::max_headers) | 431, connection closed |
//! | body of a request stands still for the [idle time](Limits::idle) | the handler reads an error, and its answer ends the connection |
//! | answer is not read for the idle time | connection cut, handler dropped |
//! | no further request for the [keep-alive time](Limits::keep_alive) | connection closed |
//! | shuts down its sending side, or resets | the handler reads an error from the body, or is dropped where the body had come |
//!
//! HTTP/2 is not offered: one large body over TLS on loopback is faster over HTTP/1.1, and every
//! limit here would need a second form for streams.
//!
//! The feature `tls` (on) needs one of the crypto providers `aws-lc-rs` (on) and `ring`.

mod body;
mod connection;
mod error;
mod limits;
mod linger;
pub mod origin;
mod server;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod watch;

pub use connection::Connection;
pub use error::ServeError;
pub use limits::Limits;
pub use server::{Listener, Server};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
