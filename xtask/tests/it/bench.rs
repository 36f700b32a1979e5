//! How one run of a program is measured, and what `cargo xtask bench` says when it cannot.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on fails the test"
)]

use std::process::{Command, Output};

use serde_json::Value;

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_program_is_measured_with_its_children() {
    // The memory is that of a grandchild, which holds 64 MiB of zeros as one line.
    let script = "head -c 67108864 /dev/zero | tr '\\0' x | sort > /dev/null; sleep 0.05";
    let output = xtask(&["bench-helper", "sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    let sample: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nanos = |name: &str| {
        let time = &sample[name];
        time["secs"].as_u64().unwrap() * 1_000_000_000 + time["nanos"].as_u64().unwrap()
    };
    assert!(nanos("wall") >= 50_000_000, "{sample}");
    assert!(nanos("cpu") > 0, "{sample}");
    assert!(sample["memory"].as_u64().unwrap() > 64 << 20, "{sample}");
}

#[test]
fn a_program_that_fails_is_no_measurement() {
    for arguments in [
        &["bench-helper", "sh", "-c", "echo broken >&2; exit 3"][..],
        &["bench-helper", "/no/such/program"],
    ] {
        let output = xtask(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_unknown_job_is_answered_with_those_that_there_are() {
    let output = xtask(&["bench", "pakc"]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("`pakc`") && said.contains("pack, registry, small-requests, startup"),
        "{said}"
    );
}
