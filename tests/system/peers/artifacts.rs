//! `oras` with the registry that we serve: artifacts, and what refers to them.

use std::process::Command;

use serde_json::Value;

use super::{go_program, run};
use crate::support::Sandbox;

#[test]
fn oras_pushes_attaches_discovers_pulls_and_deletes_in_the_embedded_registry() {
    let Some(oras) = go_program("oras") else {
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.files(
        "files",
        [
            ("data.txt", b"the data\n".as_slice()),
            ("bill.json", b"{\"materials\":[]}\n"),
            ("signature.txt", b"signed\n"),
        ],
    );
    let server = sandbox.serve();
    let name = |name: &str| format!("{}/{name}", server.host());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&oras);
        command
            .args(arguments)
            .env("HOME", sandbox.path("home"))
            .env("DOCKER_CONFIG", sandbox.path("home"))
            .current_dir(sandbox.path("files"));
        command
    };
    let text = |arguments: &[&str]| run(&mut command(arguments));
    let json = |arguments: &[&str]| -> Value {
        let said = text(&[arguments, &["--plain-http", "--format", "json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
    };

    let subject = name("oras/app:v1");
    let kind = "application/vnd.example.data";
    let pushed = json(&[
        "push",
        "--artifact-type",
        kind,
        &subject,
        "data.txt:text/plain",
    ]);
    let pushed = pushed["digest"].as_str().unwrap();
    let ours = sandbox.peak(["registry", "digest", &subject]);
    assert_eq!(ours.assert_code(0).stdout.trim(), pushed);

    let bill = "application/vnd.example.bill";
    let attached = json(&["attach", "--artifact-type", bill, &subject, "bill.json"]);
    let sign = "application/vnd.example.signature";
    json(&["attach", "--artifact-type", sign, &subject, "signature.txt"]);
    let found = json(&["discover", &subject]);
    assert_eq!(found["manifests"].as_array().unwrap().len(), 2, "{found}");
    let found = json(&["discover", "--artifact-type", bill, &subject]);
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["manifests"][0]["digest"], attached["digest"]);
    assert_eq!(found["manifests"][0]["artifactType"], bill);
    // The API knows of them, so that no tag has to.
    assert_eq!(
        text(&["repo", "tags", "--plain-http", &name("oras/app")]),
        "v1\n"
    );

    let copy = name("oras/copy:v1");
    let plain = ["--from-plain-http", "--to-plain-http"];
    text(&["copy", "--recursive", plain[0], plain[1], &subject, &copy]);
    let copied = json(&["discover", &copy]);
    assert_eq!(copied["manifests"].as_array().unwrap().len(), 2, "{copied}");

    let pulled = json(&["pull", "--output", "pulled", &copy]);
    let reference = pulled["reference"].as_str().unwrap();
    assert!(reference.ends_with(pushed), "{reference}");
    let data = std::fs::read(sandbox.path("files/pulled/data.txt")).unwrap();
    assert_eq!(data, b"the data\n");

    let bill_manifest = format!("oras/app@{}", attached["digest"].as_str().unwrap());
    let delete = ["manifest", "delete", "--force", "--plain-http"];
    text(&[&delete[..], &[&name(&bill_manifest)]].concat());
    let found = json(&["discover", &subject]);
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["manifests"][0]["artifactType"], sign);
    text(&[&delete[..], &[&subject]].concat());
    sandbox
        .peak(["registry", "digest", &subject])
        .assert_code(4);
    let ours = sandbox.peak(["registry", "digest", &copy]);
    assert_eq!(ours.assert_code(0).stdout.trim(), pushed);
}
