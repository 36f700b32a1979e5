//! Ctrl-C and SIGTERM: nothing half-made stays, and the next run works.

use std::io::{BufRead, BufReader};

use crate::support::{Sandbox, Server, digest, eventually, files_under, finish, signal};

/// A project whose build takes a while: a large file that packs into little.
fn slow_project(sandbox: &Sandbox) {
    let zeros = vec![0; 192 * 1024 * 1024];
    sandbox.files(
        "slow",
        [
            (
                "Dockerfile",
                b"FROM scratch\nCOPY zeros /one/\nCOPY zeros /two/\n".as_slice(),
            ),
            ("zeros", &zeros),
        ],
    );
}

#[test]
fn ctrl_c_during_the_build_ends_at_once_and_the_next_run_works() {
    let sandbox = Sandbox::new();
    slow_project(&sandbox);
    let mut child = sandbox
        .command(["ship", "slow", "--local", "--to", "oci:layout"])
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("build |") {
        assert_ne!(
            stderr.read_line(&mut seen).unwrap(),
            0,
            "no build began: {seen}"
        );
    }
    signal(&child, "INT");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    let finished = finish(child);
    assert_eq!(finished.code, Some(130), "{seen}{rest}");
    assert!(rest.contains("interrupted"), "{seen}{rest}");
    assert!(finished.stdout.is_empty());
    assert!(files_under(&sandbox.path("layout")).is_empty());

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
fn sigterm_drains_the_server_and_ends_it_well() {
    let sandbox = Sandbox::new();
    let mut server: Server = sandbox.serve();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    // The state is free again.
    let server = eventually("the state directory is free", || Some(sandbox.serve()));
    server.kill();
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
