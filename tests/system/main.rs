//! Whole-system tests: the `peak` binary as a person, a script or another tool meets it.
//!
//! One binary, one module per subject. Nothing here needs Docker, root or the network; what needs a real
//! peer says on standard error that it was skipped and why, unless `PEAK_PEERS=required` (as in CI).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this whole binary is a test: a panic is how it fails"
)]

mod apolo;
mod archives;
mod bad_input;
mod commands;
mod completions;
mod crash;
mod doctor;
mod drop_in;
mod help;
mod http;
mod interrupt;
mod invariants;
mod kill;
mod load;
mod local;
mod man;
#[cfg(target_os = "linux")]
mod memory;
mod messages;
#[cfg(unix)]
mod messages_platform;
mod mirror;
mod peers;
mod readme;
mod registry;
mod resume;
mod ship;
mod support;
#[cfg(unix)]
mod terminal;
mod tls;
mod transfers;
mod verbose;
