//! README.md's two commands are the ones that CI runs.

use crate::support::workspace;

#[test]
fn the_two_commands_of_the_readme_are_what_ci_runs() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let checks = std::fs::read_to_string(workspace().join("xtask/src/ci.rs")).unwrap();
    for command in [
        "cargo run -p peak-cli -- ship examples/hello-web --local --to oci:target/hello-web",
        "cargo test --workspace",
    ] {
        assert!(
            readme.lines().any(|line| line.trim() == command),
            "README.md does not show `{command}`"
        );
    }
    // The second as a check of its own: it also stands at the head of longer commands.
    for line in [
        "\"run -p peak-cli -- ship examples/hello-web --local --to oci:target/hello-web\";",
        "what: Cargo(\"test --workspace\", &[]),",
    ] {
        assert!(
            checks.lines().any(|one| one.trim() == line),
            "xtask/src/ci.rs has no line `{line}`"
        );
    }
    let gate = std::fs::read_to_string(workspace().join(".ci/run")).unwrap();
    assert!(gate.lines().any(|line| line == "exec cargo xtask ci"));
}
