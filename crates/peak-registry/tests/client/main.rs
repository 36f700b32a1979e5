//! The client against the embedded registry, and against servers written to misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests may fail them, too"
)]

mod authentication;
mod authentication_peers;
mod changes;
mod documentation;
mod downloads;
mod embedded;
mod embedded_auth;
mod fault_proxy;
mod hostile;
mod keychain;
mod lists;
mod lost_answers;
mod manifests;
mod names;
mod pace;
mod parallel_ranges;
mod peers;
mod probe;
mod referrers;
mod schemes;
mod script;
mod secrets;
mod security;
mod upload_peers;
mod uploads;
