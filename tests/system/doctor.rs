//! `peak doctor`, and `peak` alone: what a person reads who does not know why something does not work.

use std::fmt::Write as _;
use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Finished, Sandbox, Server, finish, signal};

/// A token as the embedded platform is started with.
const TOKEN: &str = "s3cret-token-of-the-platform";

/// An Engine as far as `doctor` asks one: at a socket, for the life of the test.
#[cfg(unix)]
fn fake_engine(sandbox: &Sandbox) {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    let listener = UnixListener::bind(sandbox.path("no-engine.socket")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else {
                continue;
            };
            for line in lines.by_ref() {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let body = if first.contains("_ping") {
                "OK"
            } else {
                r#"{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux","Arch":"amd64","Components":[{"Name":"Engine","Version":"20.10.24"}]}"#
            };
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\napi-version: 1.41\r\nostype: linux\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

/// What is found with the embedded platform and a working Engine.
fn doctor(sandbox: &Sandbox, server: &Server, arguments: &[&str], token: Option<&str>) -> Finished {
    let mut command = sandbox.command(["doctor"].iter().chain(arguments));
    command.env("PEAK_ENDPOINT_URL", &server.url);
    if let Some(token) = token {
        command.env("PEAK_AUTH_TOKEN", token);
    }
    finish(command.spawn().unwrap())
}

/// The text without what differs from run to run.
fn redacted(sandbox: &Sandbox, server: Option<&Server>, text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(server) = server {
        text = text.replace(server.host(), "127.0.0.1:PORT");
    }
    text.replace(&sandbox.path("").display().to_string(), "/sandbox/")
}

#[track_caller]
fn checks(finished: &Finished) -> Vec<Value> {
    let mut result: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    serde_json::from_value(result["checks"].take()).unwrap()
}

#[track_caller]
fn check<'a>(checks: &'a [Value], group: &str, name: &str) -> &'a Value {
    let found = checks
        .iter()
        .find(|check| check["group"] == group && check["name"] == name);
    found.unwrap_or_else(|| panic!("no {group} {name} in {checks:#?}"))
}

/// All findings, as a table with the widths of its lines checked. Paths of the sandbox are longer than any person's.
#[track_caller]
fn table(sandbox: &Sandbox, server: Option<&Server>, finished: &Finished) -> String {
    let text = redacted(sandbox, server, &finished.stdout);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // A path is as long as the sandbox makes it, so that lines break at other places in each run.
    text
}

#[test]
fn peak_alone_shows_where_to_begin() {
    let sandbox = Sandbox::new();
    let none: [&str; 0] = [];
    let finished = sandbox.peak(none);
    finished.assert_code(0);
    assert!(finished.stderr.is_empty(), "{}", finished.stderr);
    assert!(finished.stdout.lines().all(|line| line.len() <= 80));
    insta::assert_snapshot!("peak_alone", finished.stdout);
    // Options alone are a command line that lacks something.
    sandbox.peak(["--quiet"]).assert_code(2);
    let help = sandbox.peak(["--help"]);
    help.assert_code(0);
    assert!(help.stdout.contains("Global options"));
    assert_eq!(sandbox.peak(["help"]).stdout, help.stdout);
}

#[test]
fn the_commands_that_peak_alone_shows_work_as_written() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let none: [&str; 0] = [];
    let shown = sandbox.peak(none).stdout;
    let ship = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("peak ship "))
        .unwrap();
    let mut command = sandbox.command(["ship"].into_iter().chain(ship.split(' ')));
    command.current_dir(sandbox.path("project"));
    finish(command.spawn().unwrap()).assert_code(0);
    assert!(sandbox.path("project/image/oci-layout").exists());
    assert!(shown.contains("  peak local serve\n"));
    let copy = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("peak registry copy "));
    let copy = copy.unwrap().split(' ').chain(["--help"]);
    let copy = sandbox.peak(["registry", "copy"].into_iter().chain(copy));
    copy.assert_code(0);
}

#[cfg(unix)]
#[test]
fn a_machine_where_all_is_well() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let finished = doctor(&sandbox, &server, &["-o", "json"], Some(TOKEN));
    finished.assert_code(0);
    assert!(!finished.stdout.contains(TOKEN) && !finished.stderr.contains(TOKEN));
    let checks = checks(&finished);
    assert_eq!(check(&checks, "platform", "api")["status"], "ok");
    assert_eq!(
        check(&checks, "engine", "engine")["details"]["version"],
        "20.10.24"
    );
    assert_eq!(
        check(&checks, "credentials", "platform")["details"]["source"],
        "PEAK_AUTH_TOKEN"
    );
    assert_eq!(check(&checks, "platform", "clock")["status"], "ok");
}

#[cfg(unix)]
#[test]
fn a_registry_with_an_image_as_a_person_reads_it() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    sandbox.project();
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let mut command = sandbox.command(["ship", "project"]);
    command
        .env("PEAK_ENDPOINT_URL", &server.url)
        .env("PEAK_AUTH_TOKEN", TOKEN);
    finish(command.spawn().unwrap()).assert_code(0);
    let place = format!("{}/project", server.host());
    let arguments = [
        place.as_str(),
        "--write-to",
        "scratch/one",
        "--write-to",
        "scratch/two",
    ];
    let finished = doctor(
        &sandbox,
        &server,
        &[&arguments[..], &["-o", "table"]].concat(),
        Some(TOKEN),
    );
    finished.assert_code(0);
    finished.assert_stderr("stores a blob of some bytes");
    let text = table(&sandbox, Some(&server), &finished);
    // What stands in the sandbox breaks lines as its path is long; all else is the same in each run.
    let registry = text.split_once("\nRegistry\n").unwrap().1;
    insta::assert_snapshot!("doctor_registry", registry);

    let finished = doctor(
        &sandbox,
        &server,
        &[&arguments[..], &["-o", "json"]].concat(),
        Some(TOKEN),
    );
    finished.assert_code(0);
    assert!(!finished.stdout.contains(TOKEN));
    let result: Value = serde_json::from_str(&finished.stdout).unwrap();
    insta::assert_snapshot!("doctor_json", shape(&result));
    let checks = checks(&finished);
    assert_eq!(
        check(&checks, "registry", "mount")["details"]["mounts"],
        "yes"
    );
    assert_eq!(
        check(&checks, "registry", "ranges")["details"]["ranges"],
        "honoured"
    );
    assert!(!checks.iter().any(|check| check["name"] == "left-behind"));
}

/// The keys of the result, and the names and statuses of the checks.
fn shape(result: &Value) -> String {
    let mut text = String::new();
    let keys = |value: &Value| -> String {
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.join(", ")
    };
    writeln!(text, "keys: {}", keys(result)).unwrap();
    writeln!(text, "summary: {}", keys(&result["summary"])).unwrap();
    for check in result["checks"].as_array().unwrap() {
        assert_eq!(keys(check), "details, finding, group, hint, name, status");
        writeln!(
            text,
            "{} {} {}: {}",
            check["group"].as_str().unwrap(),
            check["name"].as_str().unwrap(),
            check["status"].as_str().unwrap(),
            keys(&check["details"]),
        )
        .unwrap();
    }
    text
}

#[cfg(unix)]
#[test]
fn without_a_token_the_platform_and_its_registry_say_what_they_want() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let finished = doctor(&sandbox, &server, &[server.host(), "-o", "json"], None);
    finished.assert_code(1);
    let checks = checks(&finished);
    let api = check(&checks, "platform", "api");
    assert_eq!(
        (&api["status"], &api["details"]["status"]),
        (&"failed".into(), &401.into())
    );
    assert!(api["hint"].as_str().unwrap().contains("PEAK_AUTH_TOKEN"));
    let access = check(&checks, "registry", "access");
    assert_eq!(access["status"], "failed");
    let login = format!("log in with `peak registry login {}`", server.host());
    assert_eq!(access["hint"], login);
    // That is one failure, however much else is refused for it.
    for name in ["token-lifetime", "catalog"] {
        assert_eq!(
            check(&checks, "registry", name)["status"],
            "skipped",
            "{name}"
        );
    }
    assert_ne!(
        check(&checks, "registry", "authentication")["details"]["flow"],
        "none"
    );
    let error: Value = serde_json::from_str(finished.error()).unwrap();
    assert_eq!(error["error"]["kind"], "other");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("checks failed")
    );
}

#[test]
fn a_closed_port_a_dead_engine_and_a_bad_name_are_told_apart() {
    let sandbox = Sandbox::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = free.local_addr().unwrap().to_string();
    drop(free);
    let finished = sandbox.peak(["doctor", &host, "-o", "json"]);
    finished.assert_code(1);
    let found = checks(&finished);
    let connect = check(&found, "registry", "connect");
    assert_eq!(connect["status"], "failed");
    assert!(
        connect["finding"].as_str().unwrap().contains("refused"),
        "{connect}"
    );
    assert_eq!(
        check(&found, "registry", "capabilities")["status"],
        "skipped"
    );
    // No token and no endpoint: the real platform is not asked.
    assert_eq!(check(&found, "platform", "api")["status"], "skipped");
    let engine = check(&found, "engine", "engine");
    assert_eq!(engine["status"], "failed");
    assert_eq!(engine["details"]["tried"][0]["origin"], "DOCKER_HOST");

    let finished = sandbox.peak(["doctor", "registry.invalid", "-o", "json"]);
    finished.assert_code(1);
    let found = checks(&finished);
    assert_eq!(check(&found, "registry", "name")["status"], "failed");
}

#[test]
fn a_server_that_nobody_vouches_for_is_told_from_one_that_is_trusted() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    let ca = sandbox.path("state/peak/tls/ca.pem");
    let ca = ca.to_str().unwrap();
    for (more, status) in [
        (&[][..], "failed"),
        (&["--ca-file", ca], "ok"),
        (&["--insecure", server.host()], "warning"),
    ] {
        let arguments = [&["doctor", server.host(), "-o", "json"], more].concat();
        let found = checks(&sandbox.peak(arguments));
        let tls = check(&found, "registry", "tls");
        assert_eq!(tls["status"], status, "{tls}");
        if status == "failed" {
            assert_eq!(tls["details"]["kind"], "tls");
            assert!(tls["hint"].as_str().unwrap().contains("--ca-file"), "{tls}");
        } else {
            assert_eq!(check(&found, "registry", "access")["status"], "ok");
        }
    }
}

#[test]
fn who_names_a_ca_hears_of_that_file_and_not_of_one_that_is_not_read() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    let _other = other.serve_with(&["--tls-self-signed"]);
    let ca = other.path("state/peak/tls/ca.pem");
    for (more, named) in [
        (
            &["--ca-file", ca.to_str().unwrap()][..],
            "the file of --ca-file",
        ),
        (&[], "PEAK_CA_FILE cannot be used"),
    ] {
        let arguments = [&["doctor", server.host(), "-o", "json"], more].concat();
        let mut command = sandbox.command(arguments);
        command.env("PEAK_CA_FILE", sandbox.path("absent.pem"));
        let found = checks(&finish(command.spawn().unwrap()));
        let tls = check(&found, "registry", "tls");
        assert_eq!(tls["status"], "failed", "{tls}");
        assert!(tls["hint"].as_str().unwrap().contains(named), "{tls}");
    }
}

/// The names of the checks that failed.
fn failures(checks: &[Value]) -> Vec<&str> {
    let failed = checks.iter().filter(|check| check["status"] == "failed");
    failed
        .map(|check| check["name"].as_str().unwrap())
        .collect()
}

/// Answers each request with this, as long as the test goes on.
fn always(answer: &'static str) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    host
}

#[cfg(unix)]
#[test]
fn whatever_a_registry_refuses_for_one_reason_is_one_failure() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    for (answer, failed) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Negotiate\r\ncontent-length: 0\r\n\r\n",
            "authentication",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://127.0.0.1:1/token\"\r\ncontent-length: 0\r\n\r\n",
            "access",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            "authentication",
        ),
    ] {
        let host = always(answer);
        let image = format!("{host}/app:1");
        let more = ["--write-to", "one", "--write-to", "two", "-o", "json"];
        let mut command = sandbox.command([&["doctor", &image], &more[..]].concat());
        command.env("RUST_BACKTRACE", "0");
        let finished = finish(command.spawn().unwrap());
        finished.assert_code(1);
        let found = checks(&finished);
        assert_eq!(failures(&found), [failed], "{answer}: {}", finished.stdout);
        assert!(
            !found.iter().any(|check| check["name"] == "left-behind"),
            "{answer}{}",
            finished.stdout
        );
        assert!(
            !finished.stdout.contains("name an image"),
            "{}",
            finished.stdout
        );
    }
}

#[test]
fn what_to_do_about_too_many_requests_is_something_that_the_command_knows() {
    let sandbox = Sandbox::new();
    let host = always(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
    let image = format!("{host}/app:1");
    let pull = ["registry", "pull", &image, "oci:app"];
    let pulled = finish(sandbox.command(pull).spawn().unwrap());
    pulled.assert_code(6);
    let error = &pulled.stderr;
    assert!(
        error.contains("limits how often it may be asked"),
        "{error}"
    );
    assert!(error.contains("--requests-per-second N"), "{error}");

    let looked = finish(sandbox.command(["doctor", &image]).spawn().unwrap());
    looked.assert_code(1);
    let found = &looked.stdout;
    assert!(
        found.contains("limits how often it may be asked"),
        "{found}"
    );
    assert!(found.contains("try again then"), "{found}");
    assert!(!found.contains("--requests-per-second"), "{found}");
    assert!(!found.contains("looks closer"), "{found}");
}

#[cfg(unix)]
#[test]
fn who_may_not_read_or_write_is_told_once_and_by_name() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    sandbox.files(
        "",
        [
            (
                "users",
                b"alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu\n".as_slice(),
            ),
            (
                "rules",
                b"rules: [{repositories: open, users: alice, actions: pull}]".as_slice(),
            ),
        ],
    );
    let users = sandbox.path("users").display().to_string();
    let rules = sandbox.path("rules").display().to_string();
    let server = sandbox.serve_with(&["--users", &users, "--rules", &rules]);
    let logged_in = format!(
        r#"{{"auths":{{"{}":{{"auth":"YWxpY2U6d29uZGVybGFuZA=="}}}}}}"#,
        server.host()
    );
    sandbox.files("home/.docker", [("config.json", logged_in.as_bytes())]);
    let image = format!("{}/app:1", server.host());
    let more = ["--write-to", "app", "--write-to", "other", "-o", "json"];
    let finished = sandbox.peak([&["doctor", &image], &more[..]].concat());
    let found = checks(&finished);
    assert_eq!(check(&found, "registry", "access")["status"], "ok");
    assert_eq!(
        failures(&found),
        ["tags", "chunked-upload"],
        "{}",
        finished.stdout
    );
    for name in ["tags", "chunked-upload"] {
        let failed = check(&found, "registry", name);
        assert!(
            failed["finding"].as_str().unwrap().contains("`alice`"),
            "{failed}"
        );
    }
    assert_eq!(check(&found, "registry", "delete")["status"], "skipped");
}

#[cfg(unix)]
#[test]
fn a_setting_that_is_broken_is_one_failure() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let host = server.host().to_owned();
    let look = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(["doctor", &host, "-o", "json"]);
        command
            .env("PEAK_ENDPOINT_URL", &server.url)
            .envs(variables.iter().copied());
        finish(command.spawn().unwrap())
    };
    let finished = look(&[("PEAK_AUTH_TOKEN", TOKEN)]);
    assert_eq!(
        failures(&checks(&finished)),
        Vec::<&str>::new(),
        "{}",
        finished.stdout
    );
    let finished = look(&[("PEAK_AUTH_TOKEN", "two\nlines")]);
    let found = checks(&finished);
    assert_eq!(
        failures(&found),
        ["platform", "access"],
        "{}",
        finished.stdout
    );
    let finished = look(&[
        ("PEAK_AUTH_TOKEN", TOKEN),
        ("http_proxy", "ftp://proxy.example"),
    ]);
    let found = checks(&finished);
    assert_eq!(failures(&found), ["proxy"], "{}", finished.stdout);

    sandbox.files(
        "home/.docker",
        [("config.json", b"{\"auths\": oops".as_slice())],
    );
    let mut command = sandbox.command(["doctor", &host, "-o", "json"]);
    command.env_remove("DOCKER_HOST");
    let finished = finish(command.spawn().unwrap());
    let found = checks(&finished);
    assert_eq!(
        failures(&found),
        ["docker-config", "access"],
        "{}",
        finished.stdout
    );
    assert_eq!(
        check(&found, "credentials", "registry")["status"],
        "warning"
    );

    let helper = br#"{"credsStore": "nowhere"}"#.as_slice();
    sandbox.files("home/.docker", [("config.json", helper)]);
    let found = sandbox.peak(["doctor", "-o", "json"]);
    let found = checks(&found);
    assert_eq!(failures(&found), ["helper"]);
    let hint = check(&found, "credentials", "helper")["hint"]
        .as_str()
        .unwrap();
    assert!(
        hint.starts_with("install docker-credential-nowhere"),
        "{hint}"
    );

    let entry = format!(r#"{{"auths": {{"{host}": {{"auth": "!!!"}}}}}}"#);
    sandbox.files("home/.docker", [("config.json", entry.as_bytes())]);
    let found = checks(&look(&[]));
    let registry = check(&found, "credentials", "registry");
    assert_eq!(registry["status"], "warning", "{registry}");
}

#[cfg(unix)]
#[test]
fn what_speaks_no_tls_is_said_to_and_a_mark_for_another_host_is_refused() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve();
    let host = server.host();
    let mut command = sandbox.command(["doctor", "-o", "json"]);
    command.env("PEAK_ENDPOINT_URL", format!("https://{host}"));
    let finished = finish(command.spawn().unwrap());
    let found = checks(&finished);
    let tls = check(&found, "platform", "tls");
    assert_eq!(tls["finding"], "it does not speak TLS on this port");
    assert!(tls["hint"].as_str().unwrap().contains("http://"), "{tls}");
    sandbox
        .peak(["doctor", host, "--insecure", "127.0.0.1"])
        .assert_code(2)
        .assert_stderr(&format!("--insecure {host}"));
    for nowhere in ["", "a b", "host:99999", "http://"] {
        sandbox
            .peak(["doctor", nowhere])
            .assert_code(2)
            .assert_stderr("is not the name of a registry");
    }
}

#[cfg(unix)]
#[test]
fn an_image_that_is_not_there_is_one_failure() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve();
    sandbox.files("app", [("Dockerfile", b"FROM scratch\nENV A=b".as_slice())]);
    let ship = [
        "ship",
        "app",
        "--name",
        "app",
        "--endpoint-url",
        &server.url,
    ];
    sandbox.peak(ship).assert_code(0);
    let image = format!("{}/app:never", server.host());
    let finished = doctor(&sandbox, &server, &[&image, "-o", "json"], None);
    finished.assert_code(1);
    let found = checks(&finished);
    assert_eq!(failures(&found), ["image"], "{}", finished.stdout);
    assert_eq!(
        check(&found, "registry", "digest-header")["status"],
        "skipped"
    );
}

#[cfg(unix)]
#[test]
fn certificates_that_cannot_be_read_are_one_failure() {
    let sandbox = Sandbox::new();
    fake_engine(&sandbox);
    let server = sandbox.serve_with(&["--token", TOKEN]);
    for named in [&[][..], &["--endpoint-url", &server.url]] {
        let mut command =
            sandbox.command([&["doctor", server.host(), "-o", "json"], named].concat());
        command
            .env("PEAK_CA_FILE", sandbox.path("absent.pem"))
            .env("PEAK_ENDPOINT_URL", &server.url)
            .env("PEAK_AUTH_TOKEN", TOKEN);
        let finished = finish(command.spawn().unwrap());
        finished.assert_code(1);
        let found = checks(&finished);
        assert_eq!(failures(&found), ["certificates"], "{}", finished.stdout);
        assert_eq!(check(&found, "platform", "api")["status"], "ok");
        assert_eq!(check(&found, "registry", "access")["status"], "ok");
    }
}

#[test]
fn settings_that_cannot_be_followed_are_named_and_their_secrets_are_not() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "home/.docker",
        [("config.json", b"{\"auths\": s3cret".as_slice())],
    );
    let mut command = sandbox.command(["doctor", "127.0.0.1:1", "-o", "json"]);
    command
        .env("HTTPS_PROXY", "socks5://user:s3cret@proxy.example")
        .env("SSL_CERT_FILE", sandbox.path("absent.pem"))
        .env("DOCKER_HOST", "ssh://user:s3cret@engine.example")
        .env("APOLO_CLUSTERS", "{s3cret")
        .env("PEAK_ENDPOINT_URL", "ftp://user:s3cret@host");
    let finished = finish(command.spawn().unwrap());
    finished.assert_code(1);
    assert!(!finished.stdout.contains("s3cret"), "{}", finished.stdout);
    assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
    let found = checks(&finished);
    for (group, name, part) in [
        ("configuration", "docker-config", "line 1"),
        ("configuration", "endpoint", "endpoint"),
        ("configuration", "apolo", "APOLO_CLUSTERS"),
        ("engine", "engine", "DOCKER_HOST"),
        ("network", "proxy", "HTTPS_PROXY"),
        ("network", "certificates", "absent.pem"),
    ] {
        let check = check(&found, group, name);
        assert_eq!(check["status"], "failed", "{check}");
        assert!(check["finding"].as_str().unwrap().contains(part), "{check}");
    }
}

#[cfg(unix)]
#[test]
fn a_credential_helper_that_fails_or_is_missing_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let sandbox = Sandbox::new();
    let config = br#"{"credHelpers":{"127.0.0.1:1":"broken"},"credsStore":"gone"}"#;
    sandbox.files("home/.docker", [("config.json", config.as_slice())]);
    let script = b"#!/bin/sh\nprintf 'the vault is \\033[31mlocked'\nexit 1\n";
    let bin = sandbox.files("bin", [("docker-credential-broken", script.as_slice())]);
    let program = bin.join("docker-credential-broken");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut command = sandbox.command(["doctor", "127.0.0.1:1", "-o", "json"]);
    command.env("PATH", path);
    let finished = finish(command.spawn().unwrap());
    finished.assert_code(1);
    let found = checks(&finished);
    let helpers: Vec<_> = found
        .iter()
        .filter(|check| check["name"] == "helper")
        .collect();
    assert_eq!(helpers.len(), 2, "{helpers:#?}");
    let finding = |check: &Value| check["finding"].as_str().unwrap().to_owned();
    assert!(finding(helpers[0]).contains("the vault is"), "{helpers:#?}");
    assert!(!finding(helpers[0]).contains('\u{1b}'));
    assert!(finding(helpers[1]).contains("not in PATH"), "{helpers:#?}");
    let registry = check(&found, "credentials", "registry");
    assert_eq!(registry["status"], "warning");
}

#[test]
fn what_is_no_registry_and_no_name_is_a_mistake_on_the_command_line() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["doctor", "HOST/Not A Name"][..],
        &["doctor", "--write-to", "scratch"],
        &["doctor", "127.0.0.1:1", "--write-to", "Scratch!"],
        &[
            "doctor",
            "127.0.0.1:1",
            "--write-to",
            "a",
            "--write-to",
            "a",
        ],
        &["doctor", "127.0.0.1:1", "--ca-file", "absent.pem"],
    ] {
        sandbox.peak(arguments).assert_code(2);
    }
}

#[cfg(unix)]
#[test]
fn doctor_can_be_interrupted() {
    let sandbox = Sandbox::new();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let mut command = sandbox.command(["doctor", "-o", "json"]);
    command.env("PEAK_ENDPOINT_URL", format!("http://{host}"));
    let child = command.spawn().unwrap();
    // It is there once it has connected.
    let _connection = silent.accept().unwrap();
    signal(&child, "INT");
    let finished = finish(child);
    finished.assert_code(130);
    assert!(finished.stdout.is_empty());
}

/// Debian's `docker-registry`, which is distribution 2.8.
#[test]
fn debians_docker_registry_is_found_to_be_what_it_is() {
    use crate::peers::peer;
    use peak_test_peers::DockerRegistry;

    if !peer("docker-registry") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.project();
    let registry = DockerRegistry::start();
    let image = format!("{}/team/app:v1", registry.address());
    let shipped = sandbox.peak(["ship", "project", "--local", "--to", &image]);
    shipped.assert_code(0);
    let second = format!("{}/team/app:v2", registry.address());
    sandbox
        .peak(["registry", "copy", &image, &second])
        .assert_code(0);
    let place = format!("{}/team/app", registry.address());
    let finished = sandbox.peak([
        "doctor",
        &place,
        "--write-to",
        "scratch/one",
        "--write-to",
        "scratch/two",
        "-o",
        "table",
    ]);
    // The Engine of the sandbox is not there.
    finished.assert_code(1);
    let text = finished
        .stdout
        .replace(&registry.address().to_string(), "127.0.0.1:PORT");
    let text = text.split_once("\nRegistry\n").unwrap().1;
    insta::assert_snapshot!("doctor_docker_registry", text);
}
