//! Upkeep of the embedded platform's state, while it runs and while it does not.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::http::Connection;
use crate::support::{Sandbox, digest, eventually, files_under};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(layer), "size": layer.len()}],
    }))
    .unwrap()
}

/// An image with a tag, an image without, and a blob that nothing names.
fn fill(connection: &mut Connection) {
    for blob in [&b"{}"[..], b"tagged", b"untagged", b"garbage"] {
        connection.push_blob("app", blob);
    }
    for (reference, layer) in [("kept", &b"tagged"[..]), ("gone", b"untagged")] {
        let put = connection.send(
            "PUT",
            &format!("/v2/app/manifests/{reference}"),
            MANIFEST,
            &manifest(b"{}", layer),
        );
        assert_eq!(put.status, 201);
    }
    let deleted = connection.send("DELETE", "/v2/app/manifests/gone", "text/plain", b"");
    assert_eq!(deleted.status, 202);
}

fn status_of(connection: &mut Connection, blob: &[u8]) -> u16 {
    let target = format!("/v2/app/blobs/{}", digest(blob));
    connection.send("HEAD", &target, "text/plain", b"").status
}

fn removed(report: &Value) -> [u64; 3] {
    ["manifests", "blobs", "contents"].map(|kind| report[kind]["removed"].as_u64().unwrap())
}

#[test]
fn garbage_goes_while_the_platform_runs_and_what_is_needed_stays() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    fill(&mut connection);

    // Everything is too young unless it is said to be old enough.
    let report = sandbox.peak_json(["local", "gc"]);
    assert_eq!(removed(&report), [0, 0, 0]);
    assert_eq!(report["blobs"]["spared"], 1);

    let planned = sandbox.peak_json(["local", "gc", "--grace", "0", "--dry-run"]);
    assert_eq!(removed(&planned), [0, 1, 1]);
    assert_eq!(status_of(&mut connection, b"garbage"), 200);
    let report = sandbox.peak_json(["local", "gc", "--grace", "0"]);
    assert_eq!(removed(&report), [0, 1, 1]);
    assert_eq!(report["removedBytes"], 7);
    assert_eq!(status_of(&mut connection, b"garbage"), 404);
    assert_eq!(status_of(&mut connection, b"untagged"), 200);

    let report = sandbox.peak_json(["local", "gc", "--grace", "0", "--untagged"]);
    assert_eq!(removed(&report), [1, 1, 2]);
    assert_eq!(status_of(&mut connection, b"untagged"), 404);
    assert_eq!(status_of(&mut connection, b"tagged"), 200);
    let kept = connection.send("GET", "/v2/app/manifests/kept", "text/plain", b"");
    assert_eq!((kept.status, kept.body), (200, manifest(b"{}", b"tagged")));

    let report = sandbox.peak_json(["local", "check", "--contents"]);
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(report["contents"], 3);
}

#[test]
fn the_same_goes_while_it_does_not_run() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve();
    fill(&mut Connection::open(server.host()));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(!sandbox.path("state/peak/control.json").exists());

    let report = sandbox.peak_json(["local", "gc", "--grace", "0s", "--untagged", "--yes"]);
    assert_eq!(removed(&report), [1, 2, 3]);
    let report = sandbox.peak_json(["local", "check"]);
    assert_eq!(report["damaged"], 0);
    assert_eq!(report["blobs"], 2);

    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    assert_eq!(status_of(&mut connection, b"tagged"), 200);
    assert_eq!(status_of(&mut connection, b"garbage"), 404);
}

#[test]
fn more_than_one_manifest_is_not_deleted_unasked() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    fill(&mut connection);
    let layer = connection.push_blob("app", b"another");
    let another = manifest(b"{}", b"another");
    let target = format!("/v2/app/manifests/{}", digest(&another));
    assert_eq!(
        connection.send("PUT", &target, MANIFEST, &another).status,
        201
    );

    let finished = sandbox.peak(["local", "gc", "--grace", "0", "--untagged"]);
    finished
        .assert_code(2)
        .assert_stderr("this would delete 2 manifests that no tag reaches")
        .assert_stderr("--yes");
    assert_eq!(status_of(&mut connection, b"another"), 200);
    let report = sandbox.peak_json(["local", "gc", "--grace", "0", "--untagged", "-y"]);
    assert_eq!(removed(&report)[0], 2);
    let target = format!("/v2/app/blobs/{layer}");
    let gone = connection.send("HEAD", &target, "text/plain", b"");
    assert_eq!(gone.status, 404);
}

#[test]
fn a_person_reads_what_was_freed() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    fill(&mut Connection::open(server.host()));
    let finished = sandbox.peak(["local", "gc", "--grace", "0", "-o", "table"]);
    finished.assert_code(0);
    insta::assert_snapshot!("local_gc", finished.stdout);
    let finished = sandbox.peak(["local", "check", "-o", "table"]);
    finished.assert_code(0);
    insta::assert_snapshot!("local_check", finished.stdout);
}

#[test]
fn damage_is_an_exit_code_of_its_own() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    fill(&mut Connection::open(server.host()));
    let layer = digest(b"tagged");
    let hex = layer.strip_prefix("sha256:").unwrap();
    let file = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    let path = sandbox.path("state/peak/registry").join(&file);
    // As many bytes, but not the same.
    std::fs::write(path, "taGGed").unwrap();
    sandbox.peak(["local", "check"]).assert_code(0);
    let finished = sandbox.peak(["local", "check", "--contents"]);
    finished.assert_code(7).assert_stderr("1 thing");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["findings"][0]["kind"], "damaged");
    assert_eq!(report["findings"][0]["path"], file.as_str());
}

#[test]
fn the_way_in_is_for_those_who_can_read_the_state() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", "open-sesame"]);
    let file = sandbox.path("state/peak/control.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
    }
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let address = written["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let body = br#"{"graceSeconds":0,"dryRun":false,"untagged":true}"#;
    let mut connection = Connection::open(address);
    let refused = connection.send("POST", "/.peak/control/gc", "application/json", body);
    assert_eq!(refused.status, 401);
    // Nor is it at the platform's own address.
    let mut connection = Connection::open(server.host());
    let unknown = connection.send("POST", "/.peak/control/gc", "application/json", body);
    assert_eq!(unknown.status, 404);

    // Who can read the state needs no token, and no output has the secret.
    let finished = sandbox.peak(["local", "gc", "-vv"]);
    finished.assert_code(0);
    let secret = written["secret"].as_str().unwrap();
    assert!(!finished.stderr.contains(secret), "{}", finished.stderr);
    assert!(!finished.stdout.contains(secret));
}

#[test]
fn what_a_killed_platform_left_is_no_obstacle() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    fill(&mut Connection::open(server.host()));
    server.kill();
    assert!(sandbox.path("state/peak/control.json").exists());
    let report = sandbox.peak_json(["local", "gc", "--grace", "0"]);
    assert_eq!(removed(&report), [0, 1, 1]);
    assert!(!sandbox.path("state/peak/control.json").exists());
}

#[test]
fn kill_9_in_the_middle_of_collections_damages_nothing() {
    let sandbox = Sandbox::new();
    let blobs: Vec<Vec<u8>> = (0..60_u8).map(|n| vec![n; 1000]).collect();
    for round in 0..4_u64 {
        let server = sandbox.serve();
        let mut connection = Connection::open(server.host());
        fill(&mut connection);
        for blob in &blobs {
            connection.push_blob("app", blob);
        }
        let mut collection = sandbox
            .command(["local", "gc", "--grace", "0", "--untagged", "--yes"])
            .spawn()
            .unwrap();
        // Another moment in each round; which one does not matter.
        std::thread::sleep(std::time::Duration::from_millis(10 + 12 * round));
        server.kill();
        collection.kill().unwrap();
        collection.wait().unwrap();

        let server = sandbox.serve();
        let report = sandbox.peak_json(["local", "check", "--contents"]);
        assert_eq!(report["damaged"], 0, "{report}");
        let mut connection = Connection::open(server.host());
        assert_eq!(status_of(&mut connection, b"tagged"), 200);
        let kept = connection.send("GET", "/v2/app/manifests/kept", "text/plain", b"");
        assert_eq!(kept.status, 200);
    }
}

#[test]
fn reset_removes_everything_once_nobody_uses_it() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve();
    fill(&mut Connection::open(server.host()));
    let state = sandbox.path("state/peak");
    sandbox
        .peak(["local", "reset", "--yes"])
        .assert_code(1)
        .assert_stderr("an embedded platform runs on")
        .assert_stderr(&server.url);
    assert!(!files_under(&state.join("registry/blobs")).is_empty());
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    sandbox
        .peak(["local", "reset"])
        .assert_code(2)
        .assert_stderr("this would delete everything in");
    assert!(!files_under(&state.join("registry/blobs")).is_empty());
    sandbox.peak(["local", "reset", "--yes"]).assert_code(0);
    assert_eq!(files_under(&state), Vec::<String>::new());

    // Somebody else's directory is not touched.
    let foreign = sandbox.files("foreign", [("thesis.txt", b"years of work".as_slice())]);
    let finished = sandbox.peak(["local", "reset", "--yes", "--state-dir", "foreign"]);
    finished.assert_code(2);
    assert_eq!(files_under(&foreign), ["thesis.txt"]);
    for command in ["gc", "check"] {
        sandbox
            .peak(["local", command, "--state-dir", "nowhere"])
            .assert_code(4);
    }
    assert!(!sandbox.path("nowhere").exists());
}

#[test]
fn a_server_says_what_it_could_not_use_without_being_asked() {
    const USERS: &[u8] = b"alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu\n";
    let sandbox = Sandbox::new();
    let rules = |text: &str| sandbox.files("", [("users", USERS), ("rules", text.as_bytes())]);
    rules("rules: [{repositories: demo, users: alice, actions: pull}]");
    let mut server = sandbox.serve_with(&["--users", "users", "--rules", "rules"]);
    let said = BufReader::new(server.child.stderr.take().unwrap());
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || said.lines().try_for_each(|line| send.send(line.unwrap())));
    rules("rules: [{repositories: demo, users: alice, actions: write}]");
    let mut connection = Connection::open(server.host());
    let line = eventually("a word about the file", || {
        // The file is looked at when somebody asks.
        let asked = connection.send("GET", "/v2/", "text/plain", b"");
        assert_eq!(asked.status, 401);
        receive.try_iter().find(|line| line.starts_with("error: "))
    });
    assert!(line.contains("rules cannot be used"), "{line}");
    assert!(line.contains("pull, push and delete"), "{line}");
}
