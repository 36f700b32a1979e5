//! Other people's tools read what we wrote, and read from the registry that we serve.

use std::process::Command;

use peak_test_peers::DockerRegistry;
use serde_json::Value;

use super::{layout_digest, peer, run, ship_into_layout};
use crate::support::{Sandbox, digest, workspace};

/// Lets skopeo push the layout `layout`.
#[track_caller]
fn push_layout(sandbox: &Sandbox, reference: &str) {
    run(Command::new("skopeo")
        .args(["copy", "--dest-tls-verify=false"])
        .arg(format!("oci:{}", sandbox.path("layout").display()))
        .arg(format!("docker://{reference}")));
}

#[test]
fn skopeo_reads_the_layouts_that_ship_wrote() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    let example = workspace().join("examples/hello-web");
    let shipped = sandbox.peak_json([
        "ship",
        example.to_str().unwrap(),
        "--local",
        "--to",
        "oci:hello-web,oci:tagged:v1,oci:tagged:v2",
        "-o",
        "json",
    ]);
    for layout in ["hello-web", "tagged:v1", "tagged:v2"] {
        let name = format!("oci:{}", sandbox.path(layout).display());
        let inspected = run(Command::new("skopeo").arg("inspect").arg(name));
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(inspected["Digest"], shipped["digest"], "{layout}");
        assert_eq!(inspected["Os"], "linux");
        assert_eq!(
            inspected["Labels"]["org.opencontainers.image.title"],
            "hello-web"
        );
        assert!(!inspected["Layers"].as_array().unwrap().is_empty());
    }
}

#[test]
fn skopeo_pulls_the_same_digest_from_the_embedded_registry() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve();
    let shipped = sandbox.peak_json([
        "ship",
        "project",
        "--endpoint-url",
        &server.url,
        "--to",
        "oci:ours",
        "-o",
        "json",
    ]);
    let source = format!("docker://{}", shipped["pullUrl"].as_str().unwrap());
    let theirs = format!("oci:{}", sandbox.path("theirs").display());
    run(Command::new("skopeo").args(["copy", "--src-tls-verify=false", &source, &theirs]));
    assert_eq!(layout_digest(&sandbox, "theirs"), shipped["digest"]);
    assert_eq!(layout_digest(&sandbox, "ours"), shipped["digest"]);
}

#[test]
fn what_skopeo_pushes_into_the_embedded_registry_we_pull_and_build_upon() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    let shipped = ship_into_layout(&sandbox);
    let server = sandbox.serve();
    let reference = format!("{}/pushed/by-skopeo:v1", server.host());
    push_layout(&sandbox, &reference);
    let digest = sandbox.peak(["registry", "digest", &reference]);
    assert_eq!(
        digest.assert_code(0).stdout.trim(),
        shipped["digest"].as_str().unwrap()
    );
    sandbox
        .peak(["registry", "pull", &reference, "oci:pulled"])
        .assert_code(0);
    let pulled = std::fs::read_to_string(sandbox.path("pulled/index.json")).unwrap();
    assert!(
        pulled.contains(shipped["digest"].as_str().unwrap()),
        "{pulled}"
    );

    sandbox.files(
        "app",
        [(
            "Dockerfile",
            b"FROM pushed/by-skopeo:v1\nCOPY Dockerfile /\n".as_slice(),
        )],
    );
    sandbox
        .peak(["ship", "app", "--endpoint-url", &server.url])
        .assert_code(0);
}

#[test]
fn skopeo_copies_lists_and_deletes_in_the_embedded_registry() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    let shipped = ship_into_layout(&sandbox);
    let server = sandbox.serve();
    let name = |name: &str| format!("docker://{}/{name}", server.host());
    let skopeo = |arguments: &[&str]| run(Command::new("skopeo").args(arguments));
    let raw = |image: &str| skopeo(&["inspect", "--raw", "--tls-verify=false", &name(image)]);

    push_layout(&sandbox, &format!("{}/team/app:v1", server.host()));
    // From one repository into another, and on the way into Docker's format.
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let (from, to) = (name("team/app:v1"), name("team/copy:v1"));
    skopeo(&["copy", both[0], both[1], &from, &to]);
    assert_eq!(digest(raw("team/copy:v1").as_bytes()), shipped["digest"]);
    let to = name("team/app:docker");
    skopeo(&["copy", "--format=v2s2", both[0], both[1], &from, &to]);
    let docker = raw("team/app:docker");
    assert!(docker.contains("application/vnd.docker.distribution.manifest.v2+json"));

    // And out of the registry again.
    let theirs = format!("dir:{}", sandbox.path("theirs").display());
    skopeo(&["copy", both[0], &name("team/app:docker"), &theirs]);
    let pulled = std::fs::read_to_string(sandbox.path("theirs/manifest.json")).unwrap();
    assert_eq!(pulled, docker);
    let pulled = sandbox.peak_json([
        "registry",
        "pull",
        &format!("{}/team/app:docker", server.host()),
        "oci:pulled",
        "-o",
        "json",
    ]);
    assert_eq!(pulled["digest"], digest(docker.as_bytes()));

    let listed = skopeo(&["list-tags", "--tls-verify=false", &name("team/app")]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["Tags"], serde_json::json!(["docker", "v1"]));
    // It deletes the manifest that the tag points to, by its digest.
    skopeo(&["delete", "--tls-verify=false", &name("team/app:docker")]);
    let listed = skopeo(&["list-tags", "--tls-verify=false", &name("team/app")]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["Tags"], serde_json::json!(["v1"]));
    assert_eq!(digest(raw("team/app:v1").as_bytes()), shipped["digest"]);
}

/// Users `alice` and `bob`, whose passwords are `wonderland` and `secret`, and what they may do.
fn users_and_rules(sandbox: &Sandbox) -> [String; 4] {
    sandbox.files(
        "",
        [
            (
                "users",
                b"alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu
bob:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
"
                .as_slice(),
            ),
            (
                "rules",
                b"rules:
  - {repositories: team, users: alice, actions: [pull, push, delete]}
  - {repositories: team, users: bob, actions: pull}
  - {repositories: team/public, users: anonymous, actions: pull}
",
            ),
        ],
    );
    let path = |name: &str| sandbox.path(name).display().to_string();
    [
        "--users".into(),
        path("users"),
        "--rules".into(),
        path("rules"),
    ]
}

#[test]
fn skopeo_and_we_log_into_the_embedded_registry_as_users_in_both_ways() {
    if !peer("skopeo") {
        return;
    }
    for way in ["basic", "bearer"] {
        let sandbox = Sandbox::new();
        let shipped = ship_into_layout(&sandbox);
        let files = users_and_rules(&sandbox);
        let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
        arguments.extend(["--registry-auth", way]);
        let server = sandbox.serve_with(&arguments);
        let layout = format!("oci:{}", sandbox.path("layout").display());
        let name = |repository: &str| format!("docker://{}/{repository}:v1", server.host());
        let skopeo = |arguments: &[&str]| {
            let mut command = Command::new("skopeo");
            command.env("REGISTRY_AUTH_FILE", sandbox.path("no-such-file"));
            command.args(arguments).output().unwrap()
        };
        let push = |credentials: &str, repository: &str| {
            let destination = name(repository);
            let credentials = format!("--dest-creds={credentials}");
            skopeo(&[
                "copy",
                "--dest-tls-verify=false",
                &credentials,
                &layout,
                &destination,
            ])
        };
        let pull = |credentials: Option<&str>, repository: &str| {
            let source = name(repository);
            let credentials = credentials.map(|one| format!("--creds={one}"));
            let mut arguments = vec!["inspect", "--tls-verify=false"];
            arguments.extend(credentials.as_deref());
            arguments.push(&source);
            skopeo(&arguments)
        };
        for repository in ["team/app", "team/public/app"] {
            let pushed = push("alice:wonderland", repository);
            assert!(pushed.status.success(), "{way}: {pushed:?}");
        }
        for credentials in ["alice:wrong", "mallory:wonderland", "bob:secret"] {
            let refused = push(credentials, "team/app");
            assert!(!refused.status.success(), "{way} {credentials}");
        }
        assert!(
            !push("alice:wonderland", "other/app").status.success(),
            "{way}"
        );
        for (credentials, repository, allowed) in [
            (Some("bob:secret"), "team/app", true),
            (Some("bob:wrong"), "team/app", false),
            (None, "team/app", false),
            (None, "team/public/app", true),
        ] {
            let pulled = pull(credentials, repository);
            assert_eq!(
                pulled.status.success(),
                allowed,
                "{way} {repository}: {pulled:?}"
            );
            if allowed {
                let inspected: Value = serde_json::from_slice(&pulled.stdout).unwrap();
                assert_eq!(inspected["Digest"], shipped["digest"]);
            }
        }

        let app = format!("{}/team/app:v1", server.host());
        sandbox.peak(["registry", "digest", &app]).assert_code(3);
        let config = serde_json::json!({"auths": {server.host(): {"auth": "Ym9iOnNlY3JldA=="}}});
        sandbox.files(
            "home/.docker",
            [("config.json", config.to_string().as_bytes())],
        );
        let digest = sandbox.peak(["registry", "digest", &app]);
        assert_eq!(
            digest.assert_code(0).stdout.trim(),
            shipped["digest"].as_str().unwrap()
        );
        sandbox.peak(["registry", "delete", &app]).assert_code(3);
    }
}

#[test]
fn skopeo_gives_the_platforms_token_as_the_password_of_anybody() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    ship_into_layout(&sandbox);
    let server = sandbox.serve_with(&["--token", "open-sesame"]);
    let layout = format!("oci:{}", sandbox.path("layout").display());
    let destination = format!("docker://{}/any/thing:v1", server.host());
    let push = |credentials: &str| {
        let credentials = format!("--dest-creds={credentials}");
        let mut command = Command::new("skopeo");
        command.args([
            "copy",
            "--dest-tls-verify=false",
            &credentials,
            &layout,
            &destination,
        ]);
        command.output().unwrap().status.success()
    };
    assert!(push("anybody:open-sesame"));
    assert!(!push("anybody:sesame"));
}

#[test]
fn we_pull_from_debians_docker_registry_what_skopeo_put_there() {
    if !peer("skopeo") || !peer("docker-registry") {
        return;
    }
    let sandbox = Sandbox::new();
    let shipped = ship_into_layout(&sandbox);
    let registry = DockerRegistry::start();
    let reference = format!("{}/team/app:v1", registry.address());
    push_layout(&sandbox, &reference);
    let pulled = sandbox.peak_json(["registry", "pull", &reference, "oci:pulled", "-o", "json"]);
    assert_eq!(pulled["digest"], shipped["digest"]);
    let manifest = sandbox.peak(["registry", "manifest", "get", "--raw", &reference]);
    manifest.assert_code(0);
    let stored = shipped["digest"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    let stored = std::fs::read_to_string(sandbox.path("layout/blobs/sha256").join(stored)).unwrap();
    assert_eq!(manifest.stdout, stored, "the manifest's bytes are kept");
    sandbox
        .peak([
            "registry",
            "digest",
            &format!("{}/team/app:absent", registry.address()),
        ])
        .assert_code(4);
}

#[test]
fn the_registry_commands_work_with_debians_docker_registry() {
    if !peer("skopeo") || !peer("docker-registry") {
        return;
    }
    let sandbox = Sandbox::new();
    let shipped = ship_into_layout(&sandbox);
    let registry = DockerRegistry::start();
    let name = |tag: &str| format!("{}/team/app:{tag}", registry.address());
    push_layout(&sandbox, &name("v1"));
    let json = |arguments: &[&str]| {
        sandbox.peak_json([&["registry"], arguments, &["-o", "json"]].concat())
    };
    let index = json(&["index", "create", &name("all"), &name("v1")]);
    let inspected = json(&["inspect", &name("all")]);
    assert_eq!(inspected["manifest"]["digest"], index["digest"]);
    assert_eq!(
        inspected["manifest"]["manifests"][0]["digest"],
        shipped["digest"]
    );
    // Another client sees the same.
    let raw = run(Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}", name("all"))));
    assert_eq!(digest(raw.as_bytes()), index["digest"]);
    let repository = format!("{}/team/app", registry.address());
    let mut tags: Vec<String> = serde_json::from_value(json(&["tags", &repository])).unwrap();
    tags.sort();
    assert_eq!(tags, ["all", "v1"]);
    assert_eq!(
        json(&["catalog", &registry.address().to_string()]),
        serde_json::json!(["team/app"])
    );
    // This one cannot delete just a tag, and the error names the ways out.
    let refused = sandbox.peak(["registry", "delete", &name("all")]);
    refused.assert_code(5).assert_stderr("--replace");
    json(&["delete", &name("all"), "--replace"]);
    sandbox
        .peak(["registry", "digest", &name("all")])
        .assert_code(4);
    let by_digest = format!("{repository}@{}", shipped["digest"].as_str().unwrap());
    json(&["manifest", "delete", &by_digest, "--yes"]);
    sandbox
        .peak(["registry", "digest", &name("v1")])
        .assert_code(4);
}
