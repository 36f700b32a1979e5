//! `--verbose`: what is shown of the requests at each level, and what never is.

use crate::support::{Finished, Sandbox, Server, finish};

const TOKEN: &str = "open-sesame-of-the-platform";
const GITHUB_TOKEN: &str = "open-sesame-of-the-repository";

fn peak(sandbox: &Sandbox, server: &Server, arguments: &[&str]) -> Finished {
    let mut command = sandbox.command(arguments);
    command
        .env("PEAK_ENDPOINT_URL", &server.url)
        .env("PEAK_AUTH_TOKEN", TOKEN);
    let finished = finish(command.spawn().unwrap());
    for token in [TOKEN, GITHUB_TOKEN] {
        assert!(!finished.stderr.contains(token), "{}", finished.stderr);
    }
    finished
}

/// Standard error without what is different in each run: how long it took, when it was, and where.
fn steady(finished: &Finished, server: &Server) -> Vec<String> {
    let lines = finished.assert_code(0).stderr.lines();
    let lines = lines.map(|line| {
        let line = line
            .replace(&server.url, "URL")
            .replace(server.host(), "HOST");
        match line.split_once(" in ") {
            Some((what, rest)) => {
                let (_, attempt) = rest.split_once(", ").unwrap();
                format!("{what} in TIME, {attempt}")
            }
            None => line,
        }
    });
    lines
        .filter(|line| !line.starts_with("< date: ") && !line.starts_with("> user-agent: "))
        .collect()
}

#[test]
fn each_level_shows_more_of_a_request_and_no_secret() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let list = |more: &[&str]| {
        let arguments = [more, &["artifacts", "list", "--page-size", "7"]].concat();
        let finished = peak(&sandbox, &server, &arguments);
        (steady(&finished, &server), finished.stdout)
    };
    let (nothing, quiet) = list(&[]);
    assert!(nothing.is_empty(), "{nothing:?}");
    let exchange = "GET URL/artifacts/api/v1/artifacts/?pageSize=7 200 in TIME, attempt 1";
    let (lines, stdout) = list(&["-v"]);
    assert_eq!(lines, [exchange]);
    assert_eq!(stdout, quiet);

    let (headers, stdout) = list(&["-vv"]);
    assert_eq!(stdout, quiet);
    insta::assert_snapshot!(headers.join("\n"), @r"
    > GET URL/artifacts/api/v1/artifacts/?pageSize=7
    > accept: application/json
    > authorization: REDACTED
    GET URL/artifacts/api/v1/artifacts/?pageSize=7 200 in TIME, attempt 1
    < HTTP/1.1 200 OK
    < content-type: application/json
    < content-length: 76
    ");

    let (bodies, stdout) = list(&["-vvv"]);
    assert_eq!(stdout, quiet);
    let (last, before) = bodies.split_last().unwrap();
    assert_eq!(before, headers);
    let body: serde_json::Value = serde_json::from_str(last.strip_prefix("< ").unwrap()).unwrap();
    let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(body, result);
}

#[test]
fn the_tokens_of_builds_are_not_shown_either_way() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let create = |more: &[&str]| {
        let arguments = "-vvv images create --name web --version 1.0.0 --type workflow";
        let arguments: Vec<_> = arguments.split(' ').chain(more.iter().copied()).collect();
        peak(&sandbox, &server, &arguments)
    };
    let repository = format!("https://user:{GITHUB_TOKEN}@github.com/example/hello");
    let github = [
        "--source",
        "github",
        "--branch",
        "main",
        "--token",
        GITHUB_TOKEN,
    ];
    // The embedded platform reaches no other server, but has to be asked for that.
    create(&[&github[..], &["--repository", &repository]].concat())
        .assert_code(5)
        .assert_stderr("POST ");

    let argument = format!("NPM_TOKEN={GITHUB_TOKEN}");
    let dockerfile = ["--source", "dockerfile", "--dockerfile", "FROM scratch"];
    let created = create(&[&dockerfile[..], &["--build-arguments", &argument]].concat());
    created.assert_code(0).assert_stderr("\"imageId\":");
    let ids: serde_json::Value = serde_json::from_str(&created.stdout).unwrap();
    let (image, build) = (ids["imageId"].to_string(), ids["buildId"].to_string());
    let described = peak(&sandbox, &server, &["-vvv", "images", "describe", &image]);
    described
        .assert_code(0)
        .assert_stderr("{\"name\":\"NPM_TOKEN\",\"value\":\"REDACTED\"}");
    let build = ["--image-id", &image, "--build-id", &build];
    peak(
        &sandbox,
        &server,
        &[&["images", "wait"], &build[..]].concat(),
    )
    .assert_code(0);
    let save = [
        "-vvv",
        "images",
        "get-build-logs",
        "--save",
        "--file-name",
        "log",
    ];
    peak(&sandbox, &server, &[&save[..], &build].concat())
        .assert_code(0)
        .assert_stderr("=REDACTED\"");
}

#[test]
fn what_is_sent_as_json_is_shown_without_secrets() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", TOKEN]);
    sandbox.files(
        ".",
        [
            ("app/main.py", b"pass\n".as_slice()),
            ("create.yaml", b"name: one\nartifact:\n  path: app\n"),
            (
                "update.yaml",
                b"body:\n  name: two\n  description: TOKEN=open-sesame-of-the-repository\n",
            ),
        ],
    );
    let created = peak(&sandbox, &server, &["artifacts", "create", "create.yaml"]);
    let id: serde_json::Value = serde_json::from_str(&created.assert_code(0).stdout).unwrap();
    let id = id["id"].as_str().unwrap();
    let updated = peak(
        &sandbox,
        &server,
        &["-vvv", "artifacts", "update-metadata", id, "update.yaml"],
    );
    updated
        .assert_code(0)
        .assert_stderr("> {\"description\":\"TOKEN=REDACTED\",\"name\":\"two\"}\nPATCH ");
}

#[test]
fn what_is_refused_and_what_does_not_answer_is_shown_too() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", TOKEN]);
    let refused = peak(&sandbox, &server, &["-v", "artifacts", "describe", "none"]);
    refused
        .assert_code(4)
        .assert_stderr("/artifacts/none 404 in ");
    let (url, host) = (server.url.clone(), server.host().to_owned());
    drop(server);
    let mut command = sandbox.command(["-v", "artifacts", "describe", "none"]);
    command.env("PEAK_ENDPOINT_URL", &url);
    let gone = finish(command.spawn().unwrap());
    gone.assert_code(6);
    for attempt in 1..=4 {
        let line = gone
            .stderr
            .lines()
            .find(|line| line.ends_with(&format!("attempt {attempt}")));
        let expected =
            format!("GET http://{host}/artifacts/api/v1/artifacts/none failed (connect) in ");
        assert!(line.unwrap().starts_with(&expected), "{}", gone.stderr);
    }
}
