//! What a person reads: help texts and errors, as snapshots.

use std::fmt::Write as _;

use crate::support::Sandbox;

fn help(arguments: &[&str]) -> String {
    let sandbox = Sandbox::new();
    let finished = sandbox.peak(arguments.iter().copied().chain(["--help"]));
    finished.assert_code(0);
    finished.stdout
}

#[test]
fn help_of_the_commands() {
    for command in [
        &[][..],
        &["ship"],
        &["local", "serve"],
        &["local", "gc"],
        &["local", "check"],
        &["local", "reset"],
        &["images"],
        &["images", "list"],
        &["images", "list-versions"],
        &["images", "create"],
        &["images", "create-version"],
        &["images", "create-or-update"],
        &["images", "update-version"],
        &["images", "describe"],
        &["images", "describe-version"],
        &["images", "delete"],
        &["images", "delete-version"],
        &["images", "delete-versions"],
        &["images", "list-builds"],
        &["images", "get-build-logs"],
        &["images", "wait"],
        &["artifacts"],
        &["artifacts", "list"],
        &["artifacts", "describe"],
        &["artifacts", "create"],
        &["artifacts", "create-version"],
        &["artifacts", "update-metadata"],
        &["artifacts", "download"],
        &["artifacts", "delete"],
        &["artifacts", "delete-version"],
        &["registry"],
        &["registry", "manifest"],
        &["registry", "manifest", "get"],
        &["registry", "manifest", "put"],
        &["registry", "manifest", "delete"],
        &["registry", "login"],
        &["registry", "logout"],
        &["registry", "auth", "explain"],
        &["registry", "inspect"],
        &["registry", "index", "create"],
        &["registry", "index", "merge"],
        &["registry", "index", "remove"],
        &["registry", "blob", "get"],
        &["registry", "blob", "put"],
        &["registry", "config"],
        &["registry", "tags"],
        &["registry", "catalog"],
        &["registry", "referrers"],
        &["registry", "delete"],
        &["registry", "digest"],
        &["registry", "parse"],
        &["registry", "pull"],
        &["registry", "push"],
        &["registry", "copy"],
        &["registry", "mirror"],
        &["apolo"],
        &["apolo", "push"],
        &["apolo", "pull"],
        &["apolo", "ls"],
        &["apolo", "tags"],
        &["apolo", "digest"],
        &["apolo", "size"],
        &["apolo", "rm"],
        &["apolo", "parse"],
        &["pack"],
        &["doctor"],
        &["completions"],
        &["man"],
    ] {
        let name = if command.is_empty() {
            "peak".to_owned()
        } else {
            command.join("_")
        };
        let text = help(command);
        assert!(
            text.contains("Example"),
            "`peak {}` shows no example",
            command.join(" ")
        );
        insta::assert_snapshot!(format!("help_{name}"), text);
    }
}

#[test]
fn errors_a_person_reads() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.files("bare", [("page.html", b"page".as_slice())]);
    let mut text = String::new();
    for arguments in [
        &["ship", "nowhere", "--local"][..],
        &["ship", "bare", "--local"],
        &["ship", "project", "--local", "--to", "ftp:x"],
        &["ship", "project", "--stage", "moon"],
        &["ship", "project"],
        &["registry", "parse", "Not A Reference"],
        &["registry", "digest", "busybox@sha256:123"],
        &["local", "serve", "--listen", "0.0.0.0:1"],
        &["pack", "nowhere", "--dry-run"],
        &["shop"],
    ] {
        let finished = sandbox.peak(arguments);
        let stderr = finished
            .stderr
            .replace(&sandbox.path("").display().to_string(), "[SANDBOX]/");
        let code = finished.code.unwrap();
        write!(
            text,
            "$ peak {}\n{stderr}exit code {code}\n\n",
            arguments.join(" ")
        )
        .unwrap();
    }
    insta::assert_snapshot!("errors", text);
}
