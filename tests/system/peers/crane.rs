//! `crane` with the registry that we serve.

use std::process::Command;

use serde_json::Value;

use super::{go_program, layout_digest, run, ship_into_layout};
use crate::support::{Sandbox, digest};

#[test]
fn crane_pushes_copies_validates_pulls_and_deletes_in_the_embedded_registry() {
    let Some(crane) = go_program("crane") else {
        return;
    };
    let sandbox = Sandbox::new();
    let shipped = ship_into_layout(&sandbox);
    let shipped = shipped["digest"].as_str().unwrap();
    let server = sandbox.serve();
    let name = |name: &str| format!("{}/{name}", server.host());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&crane);
        command
            .args(arguments)
            .env("HOME", sandbox.path("home"))
            .env("DOCKER_CONFIG", sandbox.path("home"));
        command
    };
    let crane = |arguments: &[&str]| run(&mut command(arguments)).trim().to_owned();

    let layout = sandbox.path("layout").display().to_string();
    let pushed = crane(&["push", &layout, &name("crane/app:v1")]);
    assert_eq!(pushed, name(&format!("crane/app@{shipped}")));
    assert_eq!(crane(&["digest", &name("crane/app:v1")]), shipped);
    // Our client sees the same.
    let ours = sandbox.peak(["registry", "digest", &name("crane/app:v1")]);
    assert_eq!(ours.assert_code(0).stdout.trim(), shipped);

    crane(&["copy", &name("crane/app:v1"), &name("crane/copy:v2")]);
    assert_eq!(crane(&["digest", &name("crane/copy:v2")]), shipped);
    crane(&["tag", &name("crane/app:v1"), "latest"]);
    assert_eq!(crane(&["ls", &name("crane/app")]), "latest\nv1");
    // The third is what the layout came from.
    let catalog = "crane/app\ncrane/copy\nproject";
    assert_eq!(crane(&["catalog", server.host()]), catalog);
    crane(&["validate", "--remote", &name("crane/app:latest")]);
    let whole = crane(&["export", &name("crane/app:v1"), "-"]);
    assert!(whole.contains("<p>one</p>"), "the layers are not in it");

    let (member, all) = (name("crane/app:v1"), name("crane/app:all"));
    crane(&["index", "append", "--manifest", &member, "--tag", &all]);
    let mut manifest = command(&["manifest", &all]);
    let manifest = manifest.output().unwrap().stdout;
    assert_eq!(crane(&["digest", &all]), digest(&manifest));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["manifests"][0]["digest"], shipped);
    crane(&["validate", "--remote", &all]);

    let pulled = sandbox.path("pulled").display().to_string();
    crane(&["pull", "--format=oci", &name("crane/copy:v2"), &pulled]);
    assert_eq!(layout_digest(&sandbox, "pulled"), shipped);

    crane(&["delete", &name("crane/app:latest")]);
    assert_eq!(crane(&["ls", &name("crane/app")]), "all\nv1");
    crane(&["delete", &name(&format!("crane/copy@{shipped}"))]);
    let absent = command(&["digest", &name("crane/copy:v2")])
        .output()
        .unwrap();
    assert!(!absent.status.success());
    let said = String::from_utf8_lossy(&absent.stderr);
    assert!(
        said.contains("MANIFEST_UNKNOWN") || said.contains("404"),
        "{said}"
    );
    assert_eq!(crane(&["digest", &name("crane/app:v1")]), shipped);
}
