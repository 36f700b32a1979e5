//! What refers to an image, copied by us between registries of two kinds, as other tools see it.

use std::process::Command;

use peak_test_peers::DockerRegistry;
use serde_json::{Value, json};

use super::{go_program, peer, run, ship_into_layout};
use crate::support::{Sandbox, digest};

const BILL: &str = "application/vnd.example.bill";
const SIGNATURE: &str = "application/vnd.example.signature";

#[test]
fn others_find_the_referrers_that_we_copied_in_registries_with_a_list_of_them_and_without() {
    let (Some(oras), Some(crane)) = (go_program("oras"), go_program("crane")) else {
        return;
    };
    if !peer("skopeo") || !peer("docker-registry") {
        return;
    }
    let sandbox = Sandbox::new();
    let image = ship_into_layout(&sandbox);
    let image = image["digest"].as_str().unwrap();
    let (ours, theirs) = (sandbox.serve(), DockerRegistry::start());
    sandbox.files(
        "files",
        [
            ("bill.json", b"{}\n".as_slice()),
            ("signature.txt", b"signed\n"),
        ],
    );
    let tool = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        let home = sandbox.path("home");
        command
            .args(arguments)
            .env("HOME", &home)
            .env("DOCKER_CONFIG", &home);
        run(command.current_dir(sandbox.path("files")))
    };
    let oras = |arguments: &[&str]| -> Value {
        let all = [arguments, &["--plain-http", "--format", "json"]].concat();
        serde_json::from_str(&tool(&oras, &all)).unwrap()
    };

    // A bill of materials of the image, and a signature of that.
    let first = format!("{}/referrers/app", ours.host());
    let tagged = |repository: &str| format!("{repository}:v1");
    sandbox
        .peak(["registry", "push", "oci:layout", &tagged(&first)])
        .assert_code(0);
    let attach = |kind, subject: &str, file| {
        let attached = oras(&["attach", "--artifact-type", kind, subject, file]);
        attached["digest"].as_str().unwrap().to_owned()
    };
    let bill = attach(BILL, &tagged(&first), "bill.json");
    let signature = attach(SIGNATURE, &format!("{first}@{bill}"), "signature.txt");

    // To a registry without a list of referrers, and from there to one with it.
    let second = format!("{}/referrers/app", theirs.address());
    let third = format!("{}/referrers/back", ours.host());
    for (from, to) in [(&first, &second), (&second, &third)] {
        let (from, to) = (tagged(from), tagged(to));
        let report =
            sandbox.peak_json(["registry", "copy", &from, &to, "--referrers", "-o", "json"]);
        assert_eq!(report["referrers"], 2, "{to}");
    }
    for repository in [&second, &third] {
        let listed = |subject: &str| {
            let found = oras(&["discover", &format!("{repository}@{subject}")]);
            let all = found["manifests"].as_array().cloned().unwrap_or_default();
            let all = all
                .into_iter()
                .map(|one| (one["digest"].clone(), one["artifactType"].clone()));
            all.collect::<Vec<_>>()
        };
        assert_eq!(listed(image), [(json!(bill), json!(BILL))], "{repository}");
        assert_eq!(
            listed(&bill),
            [(json!(signature), json!(SIGNATURE))],
            "{repository}"
        );
        // Byte by byte what they were.
        for referrer in [&bill, &signature] {
            let name = format!("{repository}@{referrer}");
            let seen = run(Command::new("skopeo")
                .args(["inspect", "--raw", "--tls-verify=false"])
                .arg(format!("docker://{name}")));
            assert_eq!(digest(seen.as_bytes()), **referrer);
            assert_eq!(
                tool(&crane, &["manifest", &name]).trim_end(),
                seen.trim_end()
            );
        }
        tool(&crane, &["validate", "--remote", &tagged(repository)]);
    }
    // The one without a list has it under a tag.
    let tags = tool(&crane, &["ls", &second]);
    assert!(tags.contains(&image.replace(':', "-")), "{tags}");
    assert!(!tool(&crane, &["ls", &third]).contains("sha256-"));
}

#[test]
fn a_mirror_that_deletes_says_that_debians_docker_registry_cannot_delete_just_a_tag() {
    if !peer("docker-registry") {
        return;
    }
    let sandbox = Sandbox::new();
    ship_into_layout(&sandbox);
    let (ours, theirs) = (sandbox.serve(), DockerRegistry::start());
    let name = |tag: &str| format!("{}/mirror/app:{tag}", ours.host());
    for tag in ["v1", "v2"] {
        sandbox
            .peak(["registry", "push", "oci:layout", &name(tag)])
            .assert_code(0);
    }
    let plan = format!(
        "destinations:\n  - to: {}/copy\n    delete: true\nrepositories:\n  - from: {}/mirror/app\n",
        theirs.address(),
        ours.host()
    );
    sandbox.files("", [("plan.yaml", plan.as_bytes())]);
    let mirror = ["registry", "mirror", "plan.yaml", "-o", "json", "--yes"];
    let tags = || {
        let repository = format!("{}/copy/mirror/app", theirs.address());
        let tags = sandbox.peak_json(["registry", "tags", &repository, "-o", "json"]);
        let mut tags: Vec<String> = serde_json::from_value(tags).unwrap();
        tags.sort();
        tags
    };
    assert_eq!(sandbox.peak_json(mirror)["copied"], 2);
    assert_eq!(tags(), ["v1", "v2"]);

    sandbox
        .peak(["registry", "delete", &name("v2"), "--yes"])
        .assert_code(0);
    let would = sandbox.peak_json([&mirror[..], &["--dry-run"]].concat());
    assert_eq!(
        would["repositories"][0]["destinations"][0]["deleted"],
        json!(["v2"])
    );
    let done = sandbox.peak(mirror);
    done.assert_code(5);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&report["unchanged"], &report["deleted"], &report["failed"]),
        (&json!(1), &json!(0), &json!(1))
    );
    let message = report["repositories"][0]["failures"][0]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("v2"), "{message}");
    assert_eq!(tags(), ["v1", "v2"]);
}
