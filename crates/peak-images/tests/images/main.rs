//! The client of the Images service against mocks and against a server on loopback.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test; the exemption in clippy.toml sees only test functions"
)]

mod delete;
mod follow;
mod lists;
mod mock;
mod requests;
mod save;
mod upload;
mod upsert;
