//! The platform over real loopback connections, spoken to by hand: no client of ours stands between
//! the tests and the server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers stand outside of the test functions, and a broken answer is a failed test"
)]

mod artifacts;
mod building;
mod deletion;
mod engine;
mod lifetime;
mod logs;
mod refusals;
mod support;
