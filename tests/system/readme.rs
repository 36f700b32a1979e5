//! README.md's two commands are the ones that CI runs.

use crate::support::workspace;

#[test]
fn the_two_commands_of_the_readme_are_what_ci_runs() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let gate = std::fs::read_to_string(workspace().join(".ci/run")).unwrap();
    for command in [
        "cargo run --release -p peak-cli -- ship examples/hello-web --local --to oci:target/hello-web",
        "cargo test --workspace",
    ] {
        assert!(
            readme.lines().any(|line| line.trim() == command),
            "README.md does not show `{command}`"
        );
    }
    // Each as a step of its own: the second also stands at the head of longer commands.
    for line in [
        "local ship=(cargo run --release -p peak-cli -- ship examples/hello-web --local --to oci:target/hello-web)",
        "step test cargo test --workspace",
    ] {
        assert!(
            gate.lines().any(|one| one.trim() == line),
            ".ci/run has no line `{line}`"
        );
    }
}
