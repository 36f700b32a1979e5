//! The clients of the services against the embedded platform, through real HTTP on loopback: every operation, every
//! refusal, and many at once with faults in between; and the programs in `examples/`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail the test; the exemption in clippy.toml sees only test functions"
)]

mod artifacts;
mod builds;
mod concurrent;
mod examples;
mod images;
mod refusals;
mod support;
mod upsert;
