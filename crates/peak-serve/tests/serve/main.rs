//! Peers of every kind against a server with short limits, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this whole binary is a test: a panic is how it fails"
)]

mod ending;
mod peers;
mod support;
#[cfg(feature = "tls")]
mod tls;
