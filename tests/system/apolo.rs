//! `peak apolo` with no Docker Engine, on the embedded registry.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Finished, Sandbox, finish};

/// Every character that `local serve` takes in a token.
fn token() -> String {
    (b'!'..=b'~').map(char::from).collect()
}

/// `peak apolo …` for this registry.
fn command(sandbox: &Sandbox, url: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(["apolo"].iter().chain(arguments));
    command
        .env("APOLO_REGISTRY_URL", url)
        .env("APOLO_CLUSTER", "main")
        .env("APOLO_ORG", "acme")
        .env("APOLO_PROJECT", "proj")
        .env("APOLO_USER", "me")
        .env("APOLO_TOKEN", token());
    command
}

fn apolo(sandbox: &Sandbox, url: &str, arguments: &[&str]) -> Finished {
    finish(command(sandbox, url, arguments).spawn().unwrap())
}

#[track_caller]
fn json_of(sandbox: &Sandbox, url: &str, arguments: &[&str]) -> Value {
    let finished = apolo(sandbox, url, arguments);
    finished.assert_code(0);
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn an_image_goes_to_the_platform_and_back_without_an_engine() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let shipped = sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ]);
    let server = sandbox.serve_with(&["--token", &token()]);
    let (sandbox, url) = (&sandbox, server.url.as_str());

    let pushed = json_of(
        sandbox,
        url,
        &["push", "--no-docker", "oci:layout", "image:app:v1"],
    );
    assert_eq!(pushed["image"], "image://main/acme/proj/app:v1");
    assert_eq!(
        pushed["docker_url"],
        format!("{}/acme/proj/app:v1", server.host())
    );
    assert_eq!(pushed["digest"], shipped["digest"]);
    json_of(
        sandbox,
        url,
        &["push", "--no-docker", "layout", "image:/team/other:v2"],
    );

    let listed = json_of(sandbox, url, &["ls"]);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["docker_url"])
        .collect();
    let host = server.host();
    assert_eq!(
        names,
        [
            &json!(format!("{host}/acme/proj/app")),
            &json!(format!("{host}/acme/team/other"))
        ]
    );
    let table = apolo(sandbox, url, &["ls", "-o", "table", "--cluster", "main"]);
    assert_eq!(
        table.assert_code(0).stdout,
        "image://main/acme/proj/app\nimage://main/acme/team/other\n"
    );
    let tags = json_of(sandbox, url, &["tags", "image:app"]);
    assert_eq!(tags[0]["tag"], "v1");
    assert_eq!(tags.as_array().unwrap().len(), 1);

    let digest = json_of(sandbox, url, &["digest", "image:app:v1"]);
    assert_eq!(
        digest,
        json!({"image": "image://main/acme/proj/app:v1", "digest": shipped["digest"]})
    );
    let size = json_of(sandbox, url, &["size", "image:app:v1"]);
    assert!(size["size"].as_u64().unwrap() > 100, "{size}");

    for place in [
        "oci:pulled:v1",
        "oci-archive:pulled.tar",
        "docker-archive:docker.tar:app:v1",
    ] {
        let pulled = json_of(
            sandbox,
            url,
            &["pull", "--no-docker", "image:app:v1", place],
        );
        assert_eq!(pulled["local"], place);
        if place.starts_with("oci") {
            assert_eq!(pulled["digest"], shipped["digest"], "{place}");
        }
    }

    let removed = json_of(sandbox, url, &["rm", "image:app:v1", "--yes"]);
    let digest = shipped["digest"].as_str().unwrap();
    assert_eq!(
        removed,
        json!({"deleted": format!("image://main/acme/proj/app@{digest}")})
    );
    apolo(sandbox, url, &["digest", "image:app:v1"]).assert_code(4);
    json_of(sandbox, url, &["rm", "image:/team/other", digest, "-y"]);
    apolo(sandbox, url, &["rm", "image:/team/other", digest, "-y"]).assert_code(4);
    sandbox.assert_no_leftovers();
}

#[test]
fn the_token_is_needed_and_shown_to_nobody() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", &token()]);
    let arguments = ["ls", "-vvv"];
    let listed = apolo(&sandbox, &server.url, &arguments);
    listed.assert_code(0);
    for text in [&listed.stdout, &listed.stderr] {
        assert!(!text.contains("ABCDEFGH"), "{text}");
    }
    let wrong = command(&sandbox, &server.url, &["ls", "-o", "json"])
        .env("APOLO_TOKEN", "wrong")
        .spawn();
    let wrong = finish(wrong.unwrap());
    wrong.assert_code(3);
    let error: Value = serde_json::from_str(&wrong.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "authentication");
    assert!(
        error["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("APOLO_TOKEN"),
        "{error}"
    );
}

#[test]
fn names_and_errors_a_person_reads() {
    let sandbox = Sandbox::new();
    let mut text = String::new();
    let mut note = |arguments: &[&str], finished: &Finished| {
        let (stdout, stderr) = (&finished.stdout, &finished.stderr);
        let code = finished.code.unwrap();
        writeln!(
            text,
            "$ peak apolo {}\n{stdout}{stderr}({code})\n",
            arguments.join(" ")
        )
        .unwrap();
    };
    let url = "https://registry.apolo.example";
    for arguments in [
        &["parse", "image:app", "-o", "table"][..],
        &["parse", "image:app:v1"],
        &["parse", "quay.io/team/app:v1"],
        &[
            "parse",
            "registry.apolo.example/acme/team/app:v1",
            "-o",
            "yaml",
        ],
        &["parse", "image:latest"],
        &["parse", "image://second/team/app"],
        &["parse", "image:App"],
        &["tags", "image:app:v1"],
        &["tags", "quay.io/app"],
        &["digest", "quay.io/app:v1"],
        &["ls", "--cluster", "second"],
        &["rm", "image:app"],
        &["rm", "image:app", "sha256:12"],
        &["push", "image:app"],
        &["push", "--no-docker", "oci:layout"],
        &["push", "--no-docker", "oci:absent", "image:app:v1"],
        &["pull", "--no-docker", "image:app", "docker://quay.io/app"],
        &["pull", "image:app", "oci:layout"],
        &["pull", "image:app", "--platform", "linux/amd64"],
    ] {
        let run = command(&sandbox, url, arguments)
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .spawn();
        note(arguments, &finish(run.unwrap()));
    }
    for arguments in [&["push", "app:v1"][..], &["pull", "image:app"]] {
        let run = command(&sandbox, url, arguments)
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .spawn();
        note(arguments, &finish(run.unwrap()));
    }
    note(&["ls"], &sandbox.peak(["apolo", "ls"]));
    insta::assert_snapshot!(text);
}
