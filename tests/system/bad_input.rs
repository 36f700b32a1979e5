//! Bad input gets a clear error with its own exit code, nothing is lost, and the next run works.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Finished, Sandbox, files_under, finish};

/// After whatever went wrong, the same sandbox ships a good project.
fn assert_next_run_works(sandbox: &Sandbox) {
    sandbox.files(
        "good",
        [
            ("Dockerfile", b"FROM scratch\nCOPY a /\n".as_slice()),
            ("a", b"a"),
        ],
    );
    let result = sandbox.peak_json([
        "ship",
        "good",
        "--local",
        "--to",
        "oci:good-layout",
        "-o",
        "json",
    ]);
    assert!(result["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(sandbox.path("good-layout/index.json").exists());
}

fn ship(sandbox: &Sandbox, directory: &str) -> Finished {
    let finished = sandbox.peak(["ship", directory, "--local", "--to", "oci:layout"]);
    assert!(
        !sandbox.path("layout").exists(),
        "something is left: {:?}",
        files_under(&sandbox.path("layout"))
    );
    sandbox.assert_no_leftovers();
    assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    finished
}

#[test]
fn a_missing_directory_is_not_found() {
    let sandbox = Sandbox::new();
    ship(&sandbox, "nowhere")
        .assert_code(4)
        .assert_stderr("nowhere")
        .assert_stderr("directory");
    assert_next_run_works(&sandbox);
}

#[test]
fn a_file_in_place_of_a_directory_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.files("", [("plain.txt", b"text".as_slice())]);
    ship(&sandbox, "plain.txt")
        .assert_code(2)
        .assert_stderr("plain.txt")
        .assert_stderr("directory");
}

#[test]
fn a_directory_without_a_dockerfile_says_where_it_was_looked_for() {
    let sandbox = Sandbox::new();
    sandbox.files("project", [("page.html", b"page".as_slice())]);
    ship(&sandbox, "project")
        .assert_code(4)
        .assert_stderr("Dockerfile")
        .assert_stderr("--dockerfile-path");
    assert_next_run_works(&sandbox);
}

#[test]
fn an_unknown_instruction_fails_the_build_and_names_its_line() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "project",
        [("Dockerfile", b"FROM scratch\n\nFETCH things\n".as_slice())],
    );
    ship(&sandbox, "project")
        .assert_code(8)
        .assert_stderr("line 3")
        .assert_stderr("FETCH");
    assert_next_run_works(&sandbox);
}

#[test]
fn a_copy_of_what_is_not_there_fails_the_build_and_names_it() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "project",
        [(
            "Dockerfile",
            b"FROM scratch\nCOPY absent.txt /\n".as_slice(),
        )],
    );
    ship(&sandbox, "project")
        .assert_code(8)
        .assert_stderr("line 2")
        .assert_stderr("absent.txt");
    assert_next_run_works(&sandbox);
}

#[test]
fn run_without_an_engine_fails_the_build_and_says_what_would_run_it() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "project",
        [(
            "Dockerfile",
            b"FROM scratch\nCOPY Dockerfile /\nRUN make\n".as_slice(),
        )],
    );
    ship(&sandbox, "project")
        .assert_code(8)
        .assert_stderr("line 3")
        .assert_stderr(&format!(
            "no Docker Engine answers: tried {} (DOCKER_HOST)",
            sandbox.no_engine()
        ))
        .assert_stderr("start one, or say where it is");
    let mut never = sandbox.command(["ship", "project", "--local", "--docker", "never"]);
    let never = finish(never.spawn().unwrap());
    never
        .assert_code(8)
        .assert_stderr("a Docker Engine would run this line");
    assert!(
        !never.stderr.contains("no Docker Engine answers"),
        "{}",
        never.stderr
    );
    assert_next_run_works(&sandbox);
}

#[test]
fn an_artifact_over_the_limit_names_the_limit_and_the_largest_files() {
    let sandbox = Sandbox::new();
    // Bytes that do not compress: a xorshift generator, the same on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(12 * 1024 * 1024 / 8)
    .flatten()
    .collect();
    sandbox.files(
        "project",
        [
            ("Dockerfile", b"FROM scratch\nCOPY . /\n".as_slice()),
            ("big/noise.bin", &noise),
            ("small.txt", b"s"),
        ],
    );
    ship(&sandbox, "project")
        .assert_code(5)
        .assert_stderr("10.4 MB (10485760 bytes")
        .assert_stderr("big/noise.bin")
        .assert_stderr("dry-run");
    assert_next_run_works(&sandbox);
}

#[test]
fn a_destination_that_cannot_be_written_is_refused_before_anything_is_built() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.files("", [("occupied", b"a file".as_slice())]);
    sandbox.files("foreign", [("letter.txt", b"not a layout".as_slice())]);
    for destination in ["oci:occupied", "oci:occupied/layout", "oci:foreign"] {
        let finished = sandbox.peak(["ship", "project", "--local", "--to", destination]);
        finished
            .assert_code(2)
            .assert_stderr(destination.strip_prefix("oci:").unwrap());
        assert!(
            !finished.stderr.contains("build |"),
            "{destination}: it was built all the same"
        );
    }
    assert_eq!(std::fs::read(sandbox.path("occupied")).unwrap(), b"a file");
    assert_eq!(files_under(&sandbox.path("foreign")), ["letter.txt"]);
    assert_next_run_works(&sandbox);
}

#[test]
fn a_directory_whose_name_no_image_can_have_asks_for_another() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "My App",
        [(
            "Dockerfile",
            b"FROM scratch\nCOPY Dockerfile /\n".as_slice(),
        )],
    );
    ship(&sandbox, "My App")
        .assert_code(2)
        .assert_stderr("My App")
        .assert_stderr("--name");
    sandbox
        .peak(["ship", "My App", "--local", "--name", "my-app"])
        .assert_code(0);
}

#[test]
fn a_dockerfile_outside_of_the_directory_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.project();
    for path in ["../Dockerfile", "/etc/passwd"] {
        let finished = sandbox.peak(["ship", "project", "--local", "--dockerfile-path", path]);
        finished.assert_code(2).assert_stderr("--dockerfile-path");
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_is_an_error_like_any_other() {
    let sandbox = Sandbox::new();
    let person = sandbox.peak(["ship", "x", "--bogus"]);
    person.assert_code(2);
    assert_eq!(person.stderr.lines().count(), 1, "{}", person.stderr);
    let program = sandbox.peak(["ship", "-o", "json", "x", "--bogus"]);
    program.assert_code(2);
    let error: Value = serde_json::from_str(&program.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    // Nobody asked for JSON here.
    assert!(
        sandbox
            .peak(["ship", "x", "-o", "out"])
            .error()
            .starts_with("error: ")
    );
    sandbox.project();
    // A format is no file's name.
    let packed = sandbox.peak(["pack", "project", "-o", "yaml"]);
    packed.assert_code(0);
    assert!(packed.stdout.contains("path: project.zip\n"));
    assert!(!sandbox.path("yaml").exists());
}

#[test]
fn a_destination_of_an_unknown_kind_is_a_usage_error() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let finished = sandbox.peak(["ship", "project", "--local", "--to", "ftp:somewhere"]);
    finished.assert_code(2).assert_stderr("ftp");
}

#[test]
fn a_port_in_use_is_named() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = sandbox.peak(["local", "serve", "--listen", &address]);
    finished
        .assert_code(1)
        .assert_stderr(&address)
        .assert_stderr("in use");
    assert_next_run_works(&sandbox);
}

#[test]
fn a_state_directory_in_use_is_named() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve();
    let finished = sandbox.peak(["ship", "project", "--local"]);
    finished
        .assert_code(1)
        .assert_stderr("an embedded platform runs on")
        .assert_stderr(&format!("peak ship project --endpoint-url {}", server.url))
        .assert_stderr("--state-dir");
    server.kill();
    assert_next_run_works(&sandbox);
}

#[test]
fn listening_beyond_loopback_is_refused() {
    let sandbox = Sandbox::new();
    let finished = sandbox.peak(["local", "serve", "--listen", "0.0.0.0:0"]);
    finished.assert_code(2).assert_stderr("loopback");
}

#[test]
fn errors_are_one_line_for_a_person_and_an_object_for_a_program() {
    let sandbox = Sandbox::new();
    let person = sandbox.peak(["ship", "nowhere", "--local", "--output", "table"]);
    assert!(person.error().starts_with("error: "), "{}", person.stderr);

    let program = sandbox.peak(["ship", "nowhere", "--local", "--output", "json"]);
    program.assert_code(4);
    let error: Value = serde_json::from_str(program.error()).unwrap();
    let error = error["error"].as_object().unwrap();
    let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["hint", "kind", "message", "status", "url"]);
    assert_eq!(error["kind"], "not_found");
    assert!(error["message"].as_str().unwrap().contains("nowhere"));
}

#[test]
fn a_platform_that_does_not_answer_is_a_network_error() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let finished = sandbox.peak([
        "images",
        "describe",
        "1",
        "--endpoint-url",
        &format!("http://{closed}"),
    ]);
    finished.assert_code(6).assert_stderr(&closed.to_string());
    // The doctor has to look there, too.
    finished.assert_stderr(&format!(
        "`peak doctor --endpoint-url http://{closed}` looks closer"
    ));
    let secret = sandbox.peak([
        "images",
        "describe",
        "1",
        "--endpoint-url",
        &format!("http://user:sekret@{closed}"),
    ]);
    assert!(!secret.stderr.contains("sekret"), "{}", secret.stderr);
    sandbox.files(
        "",
        [(
            "peak.yaml",
            format!("endpoint-url: http://{closed}\n").as_bytes(),
        )],
    );
    sandbox
        .peak(["--config", "peak.yaml", "images", "describe", "1"])
        .assert_code(6)
        .assert_stderr("`peak doctor --config peak.yaml` looks closer");
}

#[test]
fn a_password_before_a_host_is_in_no_error() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let digest = format!("sha256:{}", "a".repeat(64));
    for line in [
        "registry login user:sekret@127.0.0.1:9",
        "registry logout user:sekret@127.0.0.1:9",
        "registry catalog user:sekret@127.0.0.1:9",
        "registry tags user:sekret@127.0.0.1:9",
        "registry tags user:sekret@127.0.0.1:9/app",
        "registry tags sekret@127.0.0.1:9/app",
        "registry tags docker://user:sekret@127.0.0.1:9/app",
        "registry tags https://user:sekret@127.0.0.1:9/app",
        "registry digest user:sekret@127.0.0.1:9/app@DIGEST",
        "registry digest --insecure user:sekret@127.0.0.1:9 a.example/app",
        "registry copy a.example/app user:sekret@127.0.0.1:9/app",
        "registry pull a.example/app user:sekret@127.0.0.1:9/app",
        "registry pull a.example/app docker-daemon:user:sekret@127.0.0.1:9/app:1",
        "registry pull a.example/app docker-archive:x.tar:user:sekret@127.0.0.1:9/app:1",
        "registry auth explain user:sekret@127.0.0.1:9/app",
        "registry user:sekret@127.0.0.1:9",
        "ship project --local --to user:sekret@127.0.0.1:9/app:1",
        "doctor http://user:sekret@127.0.0.1:9",
        "doctor user:sekret@127.0.0.1:9/app",
    ] {
        let line = line.replace("DIGEST", &digest);
        let finished = sandbox.peak(line.split(' '));
        assert!(matches!(finished.code, Some(1 | 2)), "{line}");
        let told = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!told.contains("sekret"), "{line}: {told}");
        assert!(told.contains("…@127.0.0.1:9"), "{line}: {told}");
        if line.starts_with("registry tags") || line.starts_with("registry log") {
            finished.assert_stderr("`peak registry login 127.0.0.1:9 -u USER`");
        }
    }
    // A digest is no user, and is shown.
    sandbox
        .peak(["registry", "digest", "127.0.0.1:9/app@sha256:12"])
        .assert_code(2)
        .assert_stderr("`127.0.0.1:9/app@sha256:12`");
}

#[test]
fn no_token_for_the_real_platform_names_the_variable() {
    let sandbox = Sandbox::new();
    let finished = sandbox.peak(["images", "describe", "1"]);
    finished.assert_code(3).assert_stderr("PEAK_AUTH_TOKEN");
}

#[test]
fn an_unknown_stage_lists_the_known_ones() {
    let sandbox = Sandbox::new();
    let finished = sandbox.peak(["images", "describe", "1", "--stage", "moon"]);
    finished
        .assert_code(2)
        .assert_stderr("moon")
        .assert_stderr("parvati");
}

#[test]
fn what_the_platform_does_not_have_is_not_found() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    for arguments in [
        vec!["images", "describe", "4711"],
        vec![
            "images",
            "describe-version",
            "--image-id",
            "4711",
            "--version-id",
            "1",
        ],
        vec!["images", "list-versions", "4711"],
        vec![
            "images",
            "get-build-logs",
            "--image-id",
            "4711",
            "--build-id",
            "1",
        ],
    ] {
        let finished = sandbox
            .command(&arguments)
            .env("PEAK_ENDPOINT_URL", &server.url)
            .spawn()
            .unwrap();
        let finished = crate::support::finish(finished);
        finished.assert_code(4);
        assert!(
            finished.error().starts_with("error: ") || finished.error().contains("\"status\":404"),
            "{arguments:?}: {}",
            finished.stderr
        );
    }
    for reference in [
        "absent:latest",
        "absent@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let reference = format!("{}/{reference}", server.host());
        sandbox
            .peak(["registry", "manifest", "get", &reference])
            .assert_code(4);
        sandbox
            .peak(["registry", "digest", &reference])
            .assert_code(4);
        sandbox
            .peak(["registry", "pull", &reference, "oci:layout"])
            .assert_code(4);
        assert!(!sandbox.path("layout").exists());
    }
}

#[test]
fn a_token_is_wanted_where_one_was_set_and_never_shown() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--token", "open-sesame"]);
    let ship = |token: Option<&str>| {
        let mut command = sandbox.command([
            "ship",
            "project",
            "--endpoint-url",
            &server.url,
            "--to",
            "oci:layout",
            "-vv",
        ]);
        if let Some(token) = token {
            command.env("PEAK_AUTH_TOKEN", token);
        }
        crate::support::finish(command.spawn().unwrap())
    };
    ship(None).assert_code(3);
    let wrong = ship(Some("wrong-secret-value"));
    wrong.assert_code(3);
    assert!(
        !wrong.stderr.contains("wrong-secret-value"),
        "{}",
        wrong.stderr
    );
    let right = ship(Some("open-sesame"));
    right.assert_code(0);
    assert!(!right.stderr.contains("open-sesame"), "{}", right.stderr);
    assert!(sandbox.path("layout/index.json").exists());

    // The registry beside the platform takes the platform's token, and no other registry gets it.
    let reference = format!("{}/project:0.0.1", server.host());
    let digest = |endpoint: &str| {
        let mut command = sandbox.command(["registry", "digest", &reference]);
        command
            .env("PEAK_AUTH_TOKEN", "open-sesame")
            .env("PEAK_ENDPOINT_URL", endpoint);
        crate::support::finish(command.spawn().unwrap())
    };
    digest(&server.url).assert_code(0);
    digest("http://127.0.0.1:9").assert_code(3);
}

#[test]
fn an_empty_id_is_a_usage_error_and_not_another_request() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    for command in [
        &["artifacts", "describe", ""][..],
        &["artifacts", "download", "", "x.zip"],
        &["artifacts", "delete", "", "--yes"],
        &["artifacts", "create-version", "", "file.yaml"],
        &["images", "describe", ""],
        &["images", "delete", "", "--yes"],
        &["images", "list-versions", ""],
        &[
            "images",
            "describe-version",
            "--image-id=1",
            "--version-id=",
        ],
        &[
            "images",
            "delete-versions",
            "--image-id=1",
            "--version-ids=1,,2",
            "--yes",
        ],
        &["images", "get-build-logs", "--image-id=1", "--build-id="],
    ] {
        let at = ["--endpoint-url", &server.url];
        let finished = sandbox.peak(command.iter().copied().chain(at));
        finished.assert_code(2).assert_stderr("a value is required");
        assert!(finished.stdout.is_empty(), "{command:?}");
    }
}

#[test]
fn no_error_repeats_build_details_that_may_hold_a_token() {
    let sandbox = Sandbox::new();
    for details in [r#"{"token": "s3cret",}"#, r#"["s3cret"]"#, "s3cret"] {
        let command = ["images", "create", "--name=web", "--type=api"];
        let finished = sandbox.peak(command.into_iter().chain(["--build-details", details]));
        finished
            .assert_code(2)
            .assert_stderr("--build-details is not a JSON object");
        assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
    }
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_said_to_be_so() {
    let sandbox = Sandbox::new();
    let large = "é".repeat(2_500_000);
    sandbox.files("", [("large", large.as_bytes()), ("odd", b"\xff\xfe")]);
    for (file, what) in [("large", "is larger than"), ("odd", "is not text in UTF-8")] {
        let finished = sandbox.peak(["artifacts", "create", file, "--dry-run"]);
        finished.assert_code(2).assert_stderr(what);
    }
}

#[test]
fn a_place_on_this_machine_is_not_taken_for_an_image_of_docker_hub() {
    let sandbox = Sandbox::new();
    for place in [
        "oci:app",
        "oci-archive:app",
        "docker-archive:app",
        "docker-daemon:app",
    ] {
        for arguments in [
            &["push", "oci:layout", place][..],
            &["delete", "--yes", place],
            &["referrers", place],
            &["manifest", "delete", "--yes", place],
            &["parse", place],
        ] {
            sandbox
                .peak([&["registry"], arguments].concat())
                .assert_code(2)
                .assert_stderr(&format!("`{place}` is a place on this machine"));
        }
    }
    // Whoever does mean Docker Hub can say so.
    let parsed = sandbox.peak(["registry", "parse", "docker.io/library/oci:app"]);
    let parsed = &parsed.assert_code(0).stdout;
    assert!(parsed.contains("docker.io/library/oci:app"), "{parsed}");
    sandbox
        .peak(["registry", "tags", "docker-daemon:app"])
        .assert_code(2)
        .assert_stderr("docker image ls");
}
