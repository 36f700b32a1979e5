//! Images in archives, as the command line writes and reads them.

use crate::support::Sandbox;

#[test]
fn what_is_shipped_to_archives_comes_back_out_of_them() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let shipped = sandbox.peak([
        "ship",
        "project",
        "--local",
        "--to",
        "oci-archive:a.tar:v1,docker-archive:project/d.tar:app:v1",
        "-o",
        "json",
    ]);
    shipped.assert_code(0);
    shipped.assert_stderr("keeps its id there, but not its digest");
    let result: serde_json::Value = serde_json::from_str(&shipped.stdout).unwrap();
    let pull =
        |from: &str, to: &str| sandbox.peak_json(["registry", "pull", from, to, "-o", "json"]);
    let back = pull("oci-archive:a.tar:v1", "oci:back");
    assert_eq!(back["digest"], result["digest"]);
    // The same image makes the same archive.
    pull("oci:back", "oci-archive:b.tar:v1");
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert!(bytes("a.tar") == bytes("b.tar"));

    let made = pull(
        "docker-archive:project/d.tar:app:v1",
        "docker-archive:e.tar:app:v1",
    );
    assert_ne!(made["digest"], result["digest"]);
    let again = pull("docker-archive:e.tar", "oci:from-docker");
    assert_eq!(made["digest"], again["digest"]);

    // What is written does not go into what is packed, and what is there is replaced.
    let second = sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "docker-archive:project/d.tar:app:v1",
        "-o",
        "json",
    ]);
    assert_eq!(second["digest"], result["digest"]);
}

#[test]
fn archives_that_cannot_be_used_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.project();
    std::fs::write(sandbox.path("text"), "no archive").unwrap();
    let pull = |from: &str, to: &str| sandbox.peak(["registry", "pull", from, to]);
    let absent = pull("oci-archive:absent.tar", "oci:x");
    absent
        .assert_code(4)
        .assert_stderr("there is no archive at");
    let text = pull("docker-archive:text", "oci:x");
    text.assert_code(1).assert_stderr("it is not a tar archive");
    let twice = "oci-archive:a.tar:one,oci-archive:a.tar:two";
    let twice = sandbox.peak(["ship", "project", "--local", "--to", twice]);
    twice.assert_code(2).assert_stderr("name each archive once");
    assert!(!sandbox.path("a.tar").exists() && !sandbox.path("x").exists());
}
