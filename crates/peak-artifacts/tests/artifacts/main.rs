//! The client of the Artifacts service against mocks and against servers on loopback.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test; the exemption in clippy.toml sees only test functions"
)]

mod download;
mod life;
mod mock;
