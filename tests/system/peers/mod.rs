//! Other people's programs with ours: registry tools, and the public Python client.
//!
//! A peer that is not installed skips its test with a line on standard error; `PEAK_PEERS=required` makes
//! that a failure, which is how CI runs. `cargo xtask peers up` installs them all. `PEAK_PYTHON` may name another
//! Python that has the client.

mod cases;
mod command_line;
mod life;
mod python;
mod recorder;
mod registries;

use std::process::Command;

use crate::support::skipped;

/// Whether a peer can be used. Says why not, and fails where it must not be missing.
pub(crate) fn peer(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
        || missing(&format!("{program} is not installed"))
}

/// Says that a peer is missing, and fails where it must not be.
fn missing(what: &str) -> bool {
    let required = std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
    assert!(!required, "{what}, and is required here");
    skipped(&format!(
        "{what}; `cargo xtask peers up` makes this test run"
    ));
    false
}
