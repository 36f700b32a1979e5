//! A real Docker Engine, and Debian's `docker-registry`.
//!
//! What is missing skips its test with a line on standard error; `PEAK_PEERS=required` makes that a failure.

mod archive;
mod dockerd;
mod killed;
mod passwords;
mod registry;
mod round_trip;
mod slow;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use self::dockerd::Dockerd;
use self::registry::DockerRegistry;

/// Whether there is a Docker Engine to start, and a registry.
fn peers() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    has("dockerd") && has("docker-registry") && (root || missing("dockerd starts as root only"))
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
        || missing(&format!("{program} is not installed"))
}

/// Says what is missing, and fails where it must not be.
fn missing(what: &str) -> bool {
    let required = std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
    assert!(!required, "{what}, and is required here");
    // Not by `eprintln!`, which the harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {what}; `cargo xtask peers up` makes this test run"
    );
    false
}
