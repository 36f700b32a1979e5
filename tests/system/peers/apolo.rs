//! `peak apolo` through a real Docker Engine, with registries that ask who comes, each in its own way.

use peak_test_peers::DockerRegistry;
use serde_json::Value;

use super::engine::{Engine, file_system};
use super::peer;
use crate::support::{Finished, Sandbox, finish};

fn printable() -> String {
    (b' '..=b'~').map(char::from).collect()
}

/// `peak apolo …` with the Engine and a registry.
fn apolo(
    sandbox: &Sandbox,
    engine: &Engine,
    host: &str,
    token: &str,
    arguments: &[&str],
) -> Finished {
    let mut command = sandbox.command(["apolo"].iter().chain(arguments));
    command
        .env("DOCKER_HOST", format!("unix://{}", engine.socket.display()))
        .env("APOLO_REGISTRY_URL", format!("http://{host}"))
        .env("APOLO_ORG", "acme")
        .env("APOLO_PROJECT", "proj")
        .env("APOLO_USER", "token")
        .env("APOLO_TOKEN", token);
    finish(command.spawn().unwrap())
}

/// The steps that `--progress json` tells, in order.
fn steps(finished: &Finished) -> Vec<Value> {
    finished
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Pushes an image of the Engine, takes it away there, pulls it again, and looks at what was told.
#[track_caller]
fn there_and_back(sandbox: &Sandbox, engine: &Engine, host: &str, token: &str) {
    let archive = sandbox.path("file-system.tar").display().to_string();
    let id = engine.docker(&["import", &archive, "app:v1"]);
    let run = |arguments: &[&str]| apolo(sandbox, engine, host, token, arguments);
    let remote = format!("{host}/acme/proj/app:v1");
    let exists = |name: &str| {
        let found = engine.command(&["image", "inspect", name]).output();
        found.unwrap().status.success()
    };

    let pushed = run(&["push", "app:v1", "--progress", "json", "-o", "json"]);
    pushed.assert_code(0);
    let object: Value = serde_json::from_str(&pushed.stdout).unwrap();
    assert_eq!(object["image"], "image://default/acme/proj/app:v1");
    assert_eq!(object["docker_url"], remote);
    let told = steps(&pushed);
    assert_eq!(told[0]["event"], "step", "{told:?}");
    assert_eq!(
        told[0]["message"],
        "app:v1 to image://default/acme/proj/app:v1"
    );
    let layers = &told[1..];
    assert!(
        layers.iter().all(|step| step["event"] == "layer"),
        "{told:?}"
    );
    assert_eq!(layers[0]["status"], "Preparing", "{told:?}");
    assert_eq!(layers.last().unwrap()["status"], "Pushed", "{told:?}");
    // There is one layer, and every message begins with it.
    let layer = layers[0]["layer"].as_str().unwrap();
    for step in layers {
        assert_eq!(step["layer"], layer);
        let message = step["message"].as_str().unwrap();
        let status = step["status"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{layer}: {status}")),
            "{message}"
        );
    }

    let digest = run(&["digest", "image:app:v1", "-o", "json"]);
    digest.assert_code(0);
    engine.docker(&["rmi", "--force", "app:v1", &remote]);
    assert!(!exists("app:v1") && !exists(&remote));
    let pulled = run(&["pull", "image:app:v1", "--progress", "json"]);
    pulled.assert_code(0);
    let told = steps(&pulled);
    assert_eq!(
        told[0]["message"],
        "image://default/acme/proj/app:v1 to app:v1"
    );
    assert_eq!(told[1]["status"], "Pulling fs layer", "{told:?}");
    assert_eq!(told.last().unwrap()["status"], "Pull complete", "{told:?}");
    assert!(
        told[1..].iter().all(|step| step["layer"] != "v1"),
        "{told:?}"
    );
    assert_eq!(engine.id("app:v1"), id);
    assert!(!exists(&remote), "the temporary name stays");

    run(&["pull", "image:app:v2"]).assert_code(4);
    run(&["push", "absent:v1"])
        .assert_code(4)
        .assert_stderr("not found in the local Docker Engine");
    let wrong = apolo(
        sandbox,
        engine,
        host,
        "wrong",
        &["pull", "image:app:v1", "again:v1"],
    );
    wrong.assert_code(3);
    let wrong = apolo(
        sandbox,
        engine,
        host,
        "wrong",
        &["push", "app:v1", "image:wrong:v1"],
    );
    wrong.assert_code(3);
    assert!(
        !exists(&format!("{host}/acme/proj/wrong:v1")),
        "the name of a failed push stays"
    );
    engine.docker(&["rmi", "--force", "app:v1"]);
}

fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.files("", [("file-system.tar", file_system().as_slice())]);
    sandbox
}

#[test]
fn an_image_of_the_engine_goes_to_a_registry_with_tokens_and_back() {
    let sandbox = prepared();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    // It asks for a token of its own token server, which wants ours as the password. It may have no space.
    let all = printable();
    let token = all.trim_start();
    let server = sandbox.serve_with(&["--token", token]);
    there_and_back(&sandbox, &engine, server.host(), token);
}

#[test]
fn an_image_of_the_engine_goes_to_a_registry_with_passwords_and_back() {
    if !peer("docker-registry") {
        return;
    }
    let sandbox = prepared();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let all = printable();
    let (first, second) = all.split_at(48);
    // bcrypt looks at 72 bytes at most.
    for token in [first, second] {
        let registry = DockerRegistry::with_users(&[("token", token)]);
        let host = registry.address().to_string();
        there_and_back(&sandbox, &engine, &host, token);
    }
}
