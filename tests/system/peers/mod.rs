//! Other people's programs with ours: registry tools, and the public Python client.
//!
//! A peer that is not installed skips its test with a line on standard error; `PEAK_PEERS=required` makes
//! that a failure, which is how CI runs. `cargo xtask peers up` installs them all. `PEAK_PYTHON` and
//! `PEAK_APOLO_PYTHON` may name other Pythons that have the clients.

mod apolo;
mod apolo_names;
mod artifacts;
mod builder;
mod cases;
mod command_line;
mod crane;
#[cfg(target_os = "linux")]
mod daemon;
mod engine;
mod life;
mod python;
mod recorder;
mod referrers;
mod registries;

use std::path::PathBuf;
use std::process::Command;

pub(crate) use peak_test_peers::has as peer;
use peak_test_peers::missing;
use serde_json::Value;

use crate::support::{Sandbox, workspace};

/// A program in Go that `cargo xtask peers up` builds. Says if it is not there, and fails where it must not be missing.
fn go_program(name: &str) -> Option<PathBuf> {
    let program = workspace().join("target/peers/go/bin").join(name);
    (program.exists() || missing(&format!("there is no {}", program.display()))).then_some(program)
}

/// Runs a peer to its end, which must be a good one, and gives what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Builds the sandbox's project into the layout `layout`; gives what `ship` said of it.
#[track_caller]
fn ship_into_layout(sandbox: &Sandbox) -> Value {
    sandbox.project();
    sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ])
}

/// The digest of the only image of a layout.
#[track_caller]
fn layout_digest(sandbox: &Sandbox, layout: &str) -> Value {
    let index = std::fs::read(sandbox.path(layout).join("index.json")).unwrap();
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    index["manifests"][0]["digest"].take()
}
