//! The client against the embedded registry, and against servers written to misbehave.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests may fail them, too"
)]

mod authentication;
mod authentication_peers;
mod changes;
mod downloads;
mod embedded;
mod keychain;
mod lists;
mod lost_answers;
mod manifests;
mod referrers;
mod script;
mod security;
