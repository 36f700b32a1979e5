//! The client against the embedded registry, and against servers written to misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests may fail them, too"
)]

mod authentication;
mod changes;
mod documentation;
mod downloads;
mod embedded;
mod hostile;
mod lists;
mod manifests;
mod names;
mod peers;
mod referrers;
mod script;
mod secrets;
