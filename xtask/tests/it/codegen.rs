//! `cargo xtask codegen` as a process: exit codes, standard output and standard error.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on fails the test"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const PETS: &str = r#"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/pets.json",
    "description": "Pets.",
    "$defs": {
        "Pet": {
            "type": "object",
            "description": "A pet.",
            "properties": {"name": {"type": "string", "description": "Its name."}},
            "examples": [{"name": "Rex"}]
        }
    }
}"#;

fn workspace() -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("schemas")).unwrap();
    fs::write(root.path().join("schemas/pets.json"), PETS).unwrap();
    root
}

/// Runs the command as Cargo would within the workspace.
fn xtask(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .env("CARGO_MANIFEST_DIR", root.join("xtask"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_fails_with_a_diff_until_the_output_is_written() {
    let root = workspace();

    let output = xtask(root.path(), &["codegen", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("+pub struct Pet {"));
    assert!(text(&output.stderr).contains("run `cargo xtask codegen` and commit"));
    assert!(!root.path().join("crates").exists());

    let output = xtask(root.path(), &["codegen"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("pets.rs"));

    let output = xtask(root.path(), &["codegen", "--check"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn an_error_in_a_schema_has_its_own_exit_code_and_names_the_place() {
    let root = workspace();
    let schema = PETS.replace(
        "\"type\": \"string\"",
        "\"type\": \"string\", \"pattern\": \".\"",
    );
    fs::write(root.path().join("schemas/pets.json"), schema).unwrap();

    for arguments in [&["codegen"][..], &["codegen", "--check"]] {
        let output = xtask(root.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let error = text(&output.stderr);
        assert!(
            error.contains("pets.json#/$defs/Pet/properties/name/pattern: unknown keyword"),
            "{error}"
        );
    }
}

#[test]
fn help_lists_the_commands() {
    let root = workspace();
    let output = xtask(root.path(), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Usage: cargo xtask <COMMAND>"));
    assert!(text(&output.stdout).contains("codegen  Generate the types"));
}
