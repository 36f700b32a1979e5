//! Ctrl-C and SIGTERM: nothing half-made stays, and the next run works.

use std::io::{BufRead, BufReader};

use crate::http::{Connection, with_digest};
use crate::support::{Sandbox, Server, digest, eventually, files_under, finish, signal};

/// A project whose build takes a while: much that packs into little, but not into so little that the platform takes
/// it for an attack.
fn slow_project(sandbox: &Sandbox) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut content = Vec::new();
    for _ in 0..80 {
        content.extend(
            std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .take(1200)
            .flatten(),
        );
        content.resize(content.len() + 1_000_000, 0);
    }
    sandbox.files(
        "slow",
        [
            (
                "Dockerfile",
                b"FROM scratch\nCOPY big /one/\nCOPY big /two/\nCOPY big /three/\n".as_slice(),
            ),
            ("big", &content),
        ],
    );
}

/// Starts `ship` of the slow project, sends a signal when standard error shows `moment`, and expects that nothing is
/// left and that the next run works.
#[track_caller]
fn interrupted_when(moment: &str, name: &str) {
    let sandbox = Sandbox::new();
    slow_project(&sandbox);
    let mut child = sandbox
        .command(["ship", "slow", "--local", "--to", "oci:layout", "-v"])
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains(moment) {
        assert_ne!(
            stderr.read_line(&mut seen).unwrap(),
            0,
            "`{moment}` never came: {seen}"
        );
    }
    signal(&child, name);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    let finished = finish(child);
    assert_eq!(finished.code, Some(130), "{seen}{rest}");
    assert!(rest.contains("interrupted"), "{seen}{rest}");
    assert!(
        !rest.contains("pushed slow"),
        "it was not interrupted: {seen}{rest}"
    );
    assert!(finished.stdout.is_empty());
    assert!(
        !sandbox.path("layout").exists(),
        "{:?}",
        files_under(&sandbox.path("layout"))
    );
    sandbox.assert_no_leftovers();

    sandbox.project();
    sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ]);
    assert!(sandbox.path("layout/index.json").exists());
}

#[test]
fn ctrl_c_during_the_upload_leaves_nothing_and_the_next_run_works() {
    interrupted_when("pack: slow:", "INT");
}

#[test]
fn ctrl_c_during_the_build_leaves_nothing_and_the_next_run_works() {
    interrupted_when("[2/4] COPY big", "INT");
}

#[test]
fn sigterm_during_the_build_is_an_interruption_too() {
    interrupted_when("[2/4] COPY big", "TERM");
}

#[test]
fn ctrl_c_during_packing_leaves_nothing() {
    let sandbox = Sandbox::new();
    slow_project(&sandbox);
    let child = sandbox
        .command(["ship", "slow", "--local", "--to", "oci:layout"])
        .spawn()
        .unwrap();
    eventually("packing has begun", || {
        files_under(&sandbox.path("tmp"))
            .iter()
            .any(|name| name.contains("artifact.zip"))
            .then_some(())
    });
    signal(&child, "INT");
    let finished = finish(child);
    finished.assert_code(130);
    assert!(
        !finished.stderr.contains("pack: slow:"),
        "it was not interrupted: {}",
        finished.stderr
    );
    assert!(!sandbox.path("layout").exists());
    sandbox.assert_no_leftovers();
}

#[test]
fn a_build_that_was_interrupted_is_failed_after_the_restart_and_says_so() {
    let sandbox = Sandbox::new();
    slow_project(&sandbox);
    let server = sandbox.serve();
    let shipped = sandbox.peak_json([
        "ship",
        "slow",
        "--no-wait",
        "--endpoint-url",
        &server.url,
        "-o",
        "json",
    ]);
    let image_id = shipped["imageId"].to_string().trim_matches('"').to_owned();
    let build_id = shipped["buildId"].to_string().trim_matches('"').to_owned();
    server.kill();

    let server = sandbox.serve();
    let logs = [
        "images",
        "get-build-logs",
        "--image-id",
        &image_id,
        "--build-id",
        &build_id,
        "--endpoint-url",
        &server.url,
    ];
    let page = sandbox.peak_json(logs.iter().copied().chain(["-o", "json"]));
    assert_eq!(page["buildStatus"], "failed");
    let lines = page["logs"].to_string();
    assert!(
        lines.contains("the platform ended before this build did"),
        "{lines}"
    );
    sandbox
        .peak(logs.iter().copied().chain(["--follow"]))
        .assert_code(8);
}

#[test]
fn sigterm_lets_a_running_request_finish_and_ends_the_server_well() {
    let sandbox = Sandbox::new();
    let mut server: Server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    // More than the server gathers before it writes to disk.
    let content = vec![7; 3_000_000];
    let begun = connection.send("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
    let location = with_digest(begun.header("location").unwrap(), &digest(&content));
    connection.begin(
        "PUT",
        &location,
        "application/octet-stream",
        content.len(),
        &content[..2_000_000],
    );
    let uploads = sandbox.path("state/peak/registry/uploads");
    eventually("the server has read some of it", || {
        let names = files_under(&uploads).into_iter();
        let mut files = names.filter_map(|name| std::fs::metadata(uploads.join(name)).ok());
        files.any(|file| file.len() > 0).then_some(())
    });
    server.signal("TERM");
    let mut stderr = BufReader::new(server.child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("stopping") {
        assert_ne!(stderr.read_line(&mut seen).unwrap(), 0, "it ended: {seen}");
    }
    connection.go_on(&content[2_000_000..]);
    assert_eq!(connection.answer(true).status, 201);
    assert_eq!(server.wait(), Some(0));

    // The state is free again, and what was acknowledged is there.
    let mut server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    let blob = connection.send(
        "GET",
        &format!("/v2/app/blobs/{}", digest(&content)),
        "",
        b"",
    );
    assert!(blob.status == 200 && blob.body == content);
    server.signal("INT");
    assert_eq!(server.wait(), Some(130));
}

#[test]
fn ctrl_c_during_a_pull_leaves_no_half_written_layout() {
    let sandbox = Sandbox::new();
    // A server that gives the manifest and then a blob that never ends.
    let stalling = stalling_registry();
    let mut child = sandbox
        .command([
            "registry",
            "pull",
            &format!("{stalling}/slow:latest"),
            "oci:layout",
        ])
        .spawn()
        .unwrap();
    eventually("the blob is being written", || {
        files_under(&sandbox.path("layout"))
            .iter()
            .any(|name| name.contains("partial"))
            .then_some(())
            .or_else(|| {
                child
                    .try_wait()
                    .unwrap()
                    .map(|status| panic!("it ended: {status}"))
            })
    });
    signal(&child, "INT");
    let finished = finish(child);
    finished.assert_code(130);
    assert!(
        !sandbox.path("layout/index.json").exists(),
        "{:?}",
        files_under(&sandbox.path("layout"))
    );
    // A blob that was complete stays for the next run; it is what its name says.
    for name in files_under(&sandbox.path("layout/blobs")) {
        let content = std::fs::read(sandbox.path("layout/blobs").join(&name)).unwrap();
        assert_eq!(name.replace('/', ":"), digest(&content));
    }

    sandbox.project();
    sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ]);
}

/// A registry, in so far as one pull needs it, whose layer stalls after its first bytes.
fn stalling_registry() -> String {
    use std::io::Write;

    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}}"#;
    let config_digest = digest(config);
    let layer_digest = digest(b"never sent");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer_digest}","size":1000000}}]}}"#,
        config.len()
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (manifest, config) = (manifest.clone(), config.to_vec());
            let layer_digest = layer_digest.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let request = head.lines().next().unwrap().to_owned();
                    let is_head = request.starts_with("HEAD");
                    let (kind, body, length) = if request.contains("/manifests/") {
                        (
                            "application/vnd.oci.image.manifest.v1+json",
                            manifest.clone().into_bytes(),
                            manifest.len(),
                        )
                    } else if request.contains(&layer_digest) {
                        ("application/octet-stream", vec![7; 300_000], 1_000_000)
                    } else if request.contains("/blobs/") {
                        ("application/octet-stream", config.clone(), config.len())
                    } else {
                        ("application/json", b"{}".to_vec(), 2)
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
                    );
                    if stream.write_all(head.as_bytes()).is_err() {
                        return;
                    }
                    if !is_head && stream.write_all(&body).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_was_started_by_nohup_outlives_the_terminal() {
    let sandbox = Sandbox::new();
    let mut command = std::process::Command::new("nohup");
    command
        .arg(env!("CARGO_BIN_EXE_peak"))
        .args(["local", "serve", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", sandbox.path("home"))
        .env("TMPDIR", sandbox.path("tmp"))
        .env("XDG_STATE_HOME", sandbox.path("state"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut server = crate::support::started(command.spawn().unwrap());
    server.signal("HUP");
    // It still answers, and ends when it is asked to.
    let listed = sandbox.peak(["images", "list", "--endpoint-url", &server.url]);
    listed.assert_code(0);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}
