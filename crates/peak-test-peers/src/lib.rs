//! Programs of others that tests run against: whether they are there, Debian's `docker-registry`, and a token server for it.
//!
//! What is missing skips its test with a line on standard error; `PEAK_PEERS=required`, as in CI, makes that a failure.
//!
//! ```
//! use peak_test_peers::{DockerRegistry, has};
//!
//! if has("docker-registry") {
//!     let registry = DockerRegistry::with_users(&[("robot", "secret")]);
//!     let image = format!("{}/team/app:v1", registry.address());
//!     assert!(image.starts_with("127.0.0.1:"));
//! }
//! ```
//!
//! It is for tests only, fails them by panicking, and knows nothing of our own crates, so that clients and servers may both
//! be tested with it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "what goes wrong in here has to fail the test"
)]

mod docker_registry;
mod token_server;

use std::io::Write as _;
use std::process::Command;

pub use docker_registry::DockerRegistry;
pub use token_server::TokenServer;

/// Whether a program is installed. Says so where it is not, and fails where it must be.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
        || missing(&format!("{program} is not installed"))
}

/// Says that something is missing, and fails where it must not be (with `PEAK_PEERS=required`). Always false.
pub fn missing(what: &str) -> bool {
    let required = std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
    assert!(!required, "{what}, and is required here");
    // Past the harness, which keeps what tests print to itself.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {what}; `cargo xtask peers up` makes this test run"
    );
    false
}
