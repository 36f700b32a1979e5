//! The client of Apolo's images with the embedded registry and with an Engine that answers as it is told.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests may fail them, too"
)]

mod engine;
mod registry;
mod support;
mod without_engine;
