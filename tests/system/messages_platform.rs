//! What a person reads when a command of the platform, of the embedded platform or of Apolo cannot do what it was asked
//! for, and what its lists look like on narrow and wide terminals.

use std::fmt::Write as _;

use crate::support::{Finished, Sandbox, Server, finish};
#[cfg(unix)]
use crate::terminal::Terminal;

/// An open platform with an image and an artifact, one that wants a token, and files that are not as they should be.
struct Site {
    sandbox: Sandbox,
    open: Server,
    closed: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.project();
        sandbox.files("bare", [("page.html", b"page".as_slice())]);
        sandbox.files(
            "nested",
            [("docker/Dockerfile", b"FROM scratch\n".as_slice())],
        );
        sandbox.files(
            "ignoring",
            [
                ("Dockerfile", b"FROM scratch\nRUN true\n".as_slice()),
                (".dockerignore", b"Dockerfile\n"),
                ("none.txt", b""),
            ],
        );
        sandbox.files("My Site", [("Dockerfile", b"FROM scratch\n".as_slice())]);
        sandbox.files(
            "",
            [
                ("broken.yaml", b"body: [1,\n".as_slice()),
                ("broken.json", b"{\"body\": {\"name\": }"),
                ("broken.j2", b"body:\n  name: {{ name\n"),
                ("undefined.yaml", b"body:\n  name: {{ a.b }}\n"),
                ("include.yaml", b"body:\n  {% include \"gone.yaml\" %}\n"),
                ("list.yaml", b"- 1\n"),
                ("empty.yaml", b""),
                ("binary.yaml", b"\xff\xfe"),
                ("image.yaml", b"body:\n  name: web\n  type: webapp\n"),
                (
                    "artifact.yaml",
                    b"name: model\nartifact:\n  path: project\n",
                ),
                ("nameless.yaml", b"artifact:\n  path: project\n"),
                ("pathless.yaml", b"name: model\nartifact: {}\n"),
                ("config.yaml", b"sage: prod\n"),
            ],
        );
        let open = sandbox.serve_with(&["--state-dir", "open"]);
        let closed = sandbox.serve_with(&["--state-dir", "closed", "--token", "open-sesame"]);
        let at = ["--endpoint-url", &open.url];
        sandbox
            .peak(
                [
                    &["ship", "project", "--name", "acme/team/hello-web"][..],
                    &at,
                ]
                .concat(),
            )
            .assert_code(0);
        sandbox
            .peak([&["artifacts", "create", "artifact.yaml"][..], &at].concat())
            .assert_code(0);
        Self {
            sandbox,
            open,
            closed,
        }
    }

    /// Runs `peak` on the open platform, with `OPEN` and `CLOSED` for the URLs of the two.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        let filled = |text: &str| {
            text.replace("OPEN", &self.open.url)
                .replace("CLOSED", &self.closed.url)
        };
        let mut command = self
            .sandbox
            .command(arguments.iter().map(|text| filled(text)));
        for (name, value) in variables {
            command.env(name, filled(value));
        }
        finish(command.spawn().unwrap())
    }

    /// Without what is different in each run.
    fn steady(&self, text: &str) -> String {
        let text = text
            .replace(self.open.host(), "OPEN")
            .replace(self.closed.host(), "CLOSED")
            .replace(&self.sandbox.path("").display().to_string(), "[SANDBOX]/");
        let mut steady = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("127.0.0.1:") {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            // Ports that are written on the command line are below ten thousand.
            let port = if digits > 4 { "PORT" } else { &after[..digits] };
            steady.push_str(before);
            steady.push_str("127.0.0.1:");
            steady.push_str(port);
            rest = &after[digits..];
        }
        steady + rest
    }

    /// What each of these says on standard error, one below the other.
    fn messages(&self, commands: &[&[&str]], variables: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for arguments in commands {
            let finished = self.run(arguments, variables);
            let shown: Vec<_> = arguments
                .iter()
                .map(|argument| match *argument {
                    "" => "''".to_owned(),
                    argument if argument.contains(' ') => format!("'{argument}'"),
                    argument => argument.escape_debug().to_string(),
                })
                .collect();
            write!(
                text,
                "$ peak {}\n{}exit code {}\n\n",
                shown.join(" "),
                self.steady(&finished.stderr),
                finished.code.unwrap()
            )
            .unwrap();
        }
        text
    }
}

const OPEN: (&str, &str) = ("PEAK_ENDPOINT_URL", "OPEN");

#[test]
fn shipping_what_cannot_be_shipped() {
    let site = Site::new();
    let text = site.messages(
        &[
            &["ship"],
            &["ship", "nowhere", "--local"],
            &["ship", "list.yaml", "--local"],
            &["ship", "/dev/null", "--local"],
            &["ship", "", "--local"],
            &["ship", "https://x.example", "--local"],
            &["ship", "bare", "--local"],
            &["ship", "nested", "--local"],
            &["ship", "My Site", "--local"],
            &["ship", "ignoring", "--local"],
            &[
                "ship",
                "ignoring",
                "--local",
                "--ignore-file",
                "none.txt",
                "--docker",
                "never",
            ],
            &["ship", "project"],
            &["ship", "My Site"],
            &["ship", "project", "--local", "--name", ""],
            &["ship", "project", "--local", "--name", "Team/Site"],
            &["ship", "project", "--local", "--name", "💥"],
            &["ship", "project", "--local", "--version", ""],
            &["ship", "project", "--local", "--version", "1 2"],
            &["ship", "project", "--local", "--type", "wepapp"],
            &[
                "ship",
                "project",
                "--local",
                "--dockerfile-path",
                "Dokerfile",
            ],
            &[
                "ship",
                "project",
                "--local",
                "--dockerfile-path",
                "../Dockerfile",
            ],
            &["ship", "project", "--local", "--context", "asets"],
            &["ship", "project", "--local", "--context", "page.html"],
            &["ship", "project", "--local", "--context", "./page.html"],
            &["ship", "project", "--local", "--context", "../.."],
            &["ship", "project", "--local", "--build-arguments", "x"],
            &["ship", "project", "--local", "--ignore-file", "nowhere"],
            &["ship", "project", "--local", "--ignore-file", "../x"],
            &["ship", "project", "--local", "--to", "ftp:x"],
            &["ship", "project", "--local", "--timeout", "-1"],
            &[
                "ship",
                "project",
                "--local",
                "--timeout",
                "99999999999999999999",
            ],
            &["ship", "project", "--local", "--no-wait"],
            &["ship", "project", "--local", "--stage", "prod"],
            &["ship", "project", "--stage", "pord"],
            &["ship", "project", "--endpoint-url", "x"],
            &["ship", "project", "--endpoint-url", "ftp://x"],
            &["ship", "project", "--endpoint-url", "http://127.0.0.1:9"],
            &["ship", "project", "--endpoint-url", "CLOSED"],
            &["ship", "project", "--local", "--state-dir", "list.yaml"],
            &["ship", "project", "--local", "--state-dir", "project"],
            &["ship", "project", "--local", "--state-dir", "open"],
            &["ship", "project", "--local", "--docker", "sometimes"],
            &["ship", "project", "--config", "nowhere.yaml"],
            &["ship", "project", "--config", "project"],
            &["ship", "project", "--config", "config.yaml"],
        ],
        &[],
    );
    insta::assert_snapshot!("ship", text);
}

#[test]
fn shipping_says_what_becomes_of_a_version_and_of_the_embedded_platform() {
    let site = Site::new();
    let ship = &["ship", "project", "--local", "--version", "1.0.0"][..];
    let text = site.messages(
        &[
            ship,
            &[ship, &["--state-dir", "a state"]].concat(),
            ship,
            &[
                "ship",
                "project",
                "--local",
                "--name",
                "other",
                "--version",
                "stable",
            ],
            &["ship", "project", "--local", "--name", "other"],
            &[ship, &["--to", "oci:layout"]].concat(),
            &[ship, &["--quiet"]].concat(),
        ],
        &[],
    );
    insta::assert_snapshot!("shipped", text);
}

#[test]
fn a_dry_run_of_ship_shows_requests_and_files() {
    let site = Site::new();
    let mut text = String::new();
    for (more, output) in [
        (&["--local"][..], "table"),
        (&["--endpoint-url", "OPEN", "--version", "2.0"], "yaml"),
    ] {
        let ship = [
            "ship",
            "project",
            "--dry-run",
            "--to",
            "oci:layout",
            "-o",
            output,
        ];
        let options = [
            "--build-arguments",
            "A=b",
            "--secrets",
            "one,two",
            "--no-use-cache",
        ];
        let finished = site.run(&[&ship[..], &options, more].concat(), &[]);
        finished.assert_code(0);
        assert_eq!(finished.stderr, "");
        writeln!(text, "{}", site.steady(&finished.stdout)).unwrap();
    }
    assert!(
        !site.sandbox.path("state").exists(),
        "it started a platform"
    );
    assert!(!site.sandbox.path("layout").exists(), "it made a layout");
    insta::assert_snapshot!("ship_dry_run", text);
}

#[test]
fn packing_what_cannot_be_packed() {
    let site = Site::new();
    std::fs::create_dir(site.sandbox.path("nothing")).unwrap();
    let text = site.messages(
        &[
            &["pack"],
            &["pack", "nowhere"],
            &["pack", "list.yaml"],
            &["pack", "nothing"],
            &["pack", "project", "--output", ""],
            &["pack", "project", "--output", "project"],
            &["pack", "project", "--output", "no/such/directory.zip"],
            &["pack", "project", "--output", "list.yaml/x.zip"],
            &["pack", "project", "--ignore-file", "nowhere"],
        ],
        &[],
    );
    insta::assert_snapshot!("pack", text);
}

#[test]
fn the_embedded_platform_with_wrong_arguments() {
    let site = Site::new();
    let text = site.messages(
        &[
            &["local", "sevre"],
            &["local", "serve", "--listen", ""],
            &["local", "serve", "--listen", "localhost:7325"],
            &["local", "serve", "--listen", "8080"],
            &["local", "serve", "--listen", "0.0.0.0:1"],
            &["local", "serve", "--token", ""],
            &["local", "serve", "--tls-cert", "x.pem"],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--tls-cert",
                "x.pem",
                "--tls-key",
                "x.pem",
            ],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--users",
                "nowhere",
            ],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--users",
                "list.yaml",
            ],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
                "list.yaml",
            ],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
                "project",
            ],
            &[
                "local",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
                "open",
            ],
            &["local", "gc", "--grace", "-1"],
            &["local", "gc", "--grace", "1w"],
            &["local", "gc", "--state-dir", "nowhere"],
            &["local", "check", "--state-dir", "project"],
            &["local", "reset"],
            &["local", "reset", "--state-dir", "nowhere"],
            &["local", "reset", "--state-dir", "open"],
            &["local", "reset", "--yes", "--state-dir", "open"],
            &["local", "reset", "--yes", "--state-dir", "/"],
        ],
        &[],
    );
    insta::assert_snapshot!("local", text);
}

#[test]
fn lists_and_ids_that_are_wrong() {
    let site = Site::new();
    let logs = &["images", "get-build-logs", "--image-id", "1"][..];
    let text = site.messages(
        &[
            &["images", "lst"],
            &["images", "list", "--page-size", "0"],
            &["images", "list", "--page-number", "x"],
            &["images", "list", "--page-number", "99", "-o", "table"],
            &["images", "list", "--all", "--page-number", "1"],
            &["images", "list", "--status", "redy"],
            &["images", "list", "--scope", "globl"],
            &["images", "list", "--last-build-status", "bild"],
            &["images", "list-versions"],
            &["images", "list-versions", ""],
            &["images", "list-versions", "99"],
            &["images", "list-versions", "hello-web"],
            &["images", "list-versions", "1", "--status", "in use"],
            &["images", "describe", "../.."],
            &["images", "describe", "💥"],
            &["images", "describe-version", "--image-id", "1"],
            &[
                "images",
                "describe-version",
                "--image-id",
                "1",
                "--version-id",
                "99",
            ],
            &[
                "images",
                "describe-version",
                "--image-id",
                "web",
                "--version-id",
                "1",
            ],
            &["images", "list-builds", "1", "--count", "-2"],
            &["images", "list-builds", "1", "--date-from", "yesterday"],
            &["images", "list-builds", "1", "--date-to", "2026-13-45"],
            &[
                "images",
                "list-builds",
                "1",
                "--date-from",
                "2026-01-02",
                "--date-to",
                "2026-01-01",
            ],
            &["images", "list-builds", "1", "--build-status", "succes"],
            &[logs, &["--build-id", "99"]].concat(),
            &[logs, &["--build-id", "1", "--next-token", "x"]].concat(),
            &[
                logs,
                &["--build-id", "1", "--save", "--file-name", "project"],
            ]
            .concat(),
            &[
                logs,
                &[
                    "--build-id",
                    "1",
                    "--save",
                    "--file-name",
                    "no/such/directory",
                ],
            ]
            .concat(),
            &["images", "wait", "--image-id", "1", "--build-id", "99"],
            &[
                "images",
                "wait",
                "--image-id",
                "1",
                "--build-id",
                "1",
                "--timeout",
                "0",
            ],
            &["artifacts", "describe", "x"],
            &["artifacts", "download", "x"],
            &["artifacts", "download", "x", "project"],
            &["artifacts", "download", "x", "no/such/directory"],
            &["artifacts", "download", "x", "y.zip", "--version", "0"],
            &["artifacts", "download", "x", "y.zip"],
            &["artifacts", "delete-version", "x", "-1"],
        ],
        &[OPEN],
    );
    insta::assert_snapshot!("lists_and_ids", text);
}

#[test]
fn files_and_options_that_make_no_image() {
    let site = Site::new();
    let create = &["images", "create", "--name", "new", "--type", "webapp"][..];
    let text = site.messages(
        &[
            &["images", "create"],
            &["images", "create", "nowhere.yaml"],
            &["images", "create", "project"],
            &["images", "create", "/dev/null"],
            &["images", "create", "broken.yaml"],
            &["images", "create", "broken.json"],
            &["images", "create", "broken.j2"],
            &["images", "create", "undefined.yaml"],
            &["images", "create", "include.yaml"],
            &["images", "create", "list.yaml"],
            &["images", "create", "empty.yaml"],
            &["images", "create", "binary.yaml"],
            &["images", "create", "image.yaml", "-v", "nowhere.yaml"],
            &["images", "create", "image.yaml", "-v", "broken.yaml"],
            &["images", "create", "image.yaml", "-p", "x"],
            &["images", "create", "image.yaml"],
            &["images", "create", "--name", "new"],
            create,
            &[create, &["--artifact-path", "nowhere"]].concat(),
            &[create, &["--artifact-path", "list.yaml"]].concat(),
            &[create, &["--build-details", "{"]].concat(),
            &[create, &["--build-details", "[1]"]].concat(),
            &[create, &["--source", "gihub"]].concat(),
            &[create, &["--source", "github"]].concat(),
            &["images", "create-version"],
            &[
                "images",
                "create-version",
                "99",
                "--artifact-path",
                "project",
            ],
            &[
                "images",
                "create-version",
                "1",
                "--version",
                "0.0.1",
                "--artifact-path",
                "project",
            ],
            &[
                "images",
                "create-or-update",
                "--name",
                "new",
                "--artifact-path",
                "project",
            ],
            &[
                "images",
                "update-version",
                "--image-id",
                "1",
                "--version-id",
                "99",
                "--artifact-path",
                "project",
            ],
            &["artifacts", "create"],
            &["artifacts", "create", "nameless.yaml"],
            &["artifacts", "create", "pathless.yaml"],
            &["artifacts", "update-metadata", "x", "artifact.yaml"],
        ],
        &[OPEN],
    );
    insta::assert_snapshot!("files_and_options", text);
}

#[test]
fn what_is_deleted_is_said_and_several_things_want_a_yes() {
    let site = Site::new();
    let text = site.messages(
        &[
            &["images", "delete"],
            &["images", "delete", "99"],
            &[
                "images",
                "delete-version",
                "--image-id",
                "1",
                "--version-id",
                "99",
            ],
            &[
                "images",
                "delete-versions",
                "--image-id",
                "1",
                "--version-ids",
                "1,99",
            ],
            &[
                "images",
                "delete-versions",
                "--image-id",
                "1",
                "--version-ids",
                "1,99",
                "--yes",
            ],
            &["images", "delete", "1"],
            &["artifacts", "delete", "x", "--yes"],
        ],
        &[OPEN],
    );
    insta::assert_snapshot!("deletes", text);
}

#[test]
fn tokens_that_are_missing_or_wrong_and_platforms_that_are_not_there() {
    let site = Site::new();
    let list = &["images", "list"][..];
    let closed = ("PEAK_ENDPOINT_URL", "CLOSED");
    let mut text = site.messages(
        &[
            list,
            &["artifacts", "list"],
            &["images", "list", "-o", "json"],
        ],
        &[],
    );
    for variables in [
        &[closed][..],
        &[closed, ("PEAK_AUTH_TOKEN", "wrong")],
        &[closed, ("API_KEY", "wrong")],
        &[closed, ("PEAK_AUTH_TOKEN", "Bearer open-sesame")],
        &[closed, ("PEAK_AUTH_TOKEN", "open\nsesame")],
        &[("PEAK_ENDPOINT_URL", "http://127.0.0.1:9")],
        &[("PEAK_ENDPOINT_URL", "OPEN/elsewhere")],
        &[("PEAK_ENDPOINT_URL", "")],
        &[("PEAK_ENDPOINT_URL", "http://user:open-sesame@127.0.0.1:9")],
        &[
            ("PEAK_ENDPOINT_URL", "http://peak.example"),
            ("PEAK_AUTH_TOKEN", "x"),
        ],
        &[("STAGE", "moon")],
    ] {
        for (name, value) in variables {
            writeln!(text, "{name}={}", value.escape_debug()).unwrap();
        }
        text.push_str(&site.messages(&[list], variables));
    }
    assert!(
        !text
            .replace("Bearer open-sesame", "")
            .replace("user:open-sesame", "")
            .contains("open-sesame")
    );
    insta::assert_snapshot!("tokens", text);
}

#[test]
fn images_of_apolo_that_are_not_there() {
    let site = Site::new();
    let mut text = site.messages(
        &[
            &["apolo", "ls"],
            &["apolo", "parse", "image:hello-web"],
            &["apolo", "parse", "https://x"],
        ],
        &[],
    );
    let elsewhere = site.run(&["apolo", "parse", "registry.example:5000/a/b:1"], &[]);
    elsewhere.assert_code(0);
    assert!(
        elsewhere.stdout.contains("\"registry.example:5000\""),
        "{}",
        elsewhere.stdout
    );
    let settings = [
        ("APOLO_REGISTRY_URL", "OPEN"),
        ("APOLO_CLUSTER", "main"),
        ("APOLO_ORG", "acme"),
        ("APOLO_PROJECT", "team"),
    ];
    text.push_str(&site.messages(
        &[
            &["apolo", "ls", "--cluster", "man"],
            &["apolo", "ls", "--cluster", ""],
            &["apolo", "digest", "image://mian/acme/team/hello-web:0.0.1"],
            &["apolo", "digest", "image:hello-web:0.0.2"],
            &["apolo", "digest", "image:hello-web"],
            &["apolo", "digest", "image:hello-wbe:0.0.1"],
            &["apolo", "digest", "image:/tema/hello-web:0.0.1"],
            &["apolo", "tags", "image:nothing-like-it"],
            &["apolo", "tags", "image:hello-web:0.0.1"],
            &["apolo", "tags", "hello-web"],
            &["apolo", "size", "image:hello-web:0.0.1", "--platform", "x"],
            &["apolo", "rm", "image:hello-web"],
            &["apolo", "rm", "image:hello-web", "sha256:1"],
            &["apolo", "push", "hello-web"],
            &["apolo", "push", "image:hello-web"],
            &["apolo", "push", "oci:layout", "image:hello-web"],
            &[
                "apolo",
                "push",
                "--no-docker",
                "oci:nowhere",
                "image:hello-web:1",
            ],
            &["apolo", "push", "--no-docker", "oci:nowhere"],
            &[
                "apolo",
                "pull",
                "--no-docker",
                "image:hello-web:7",
                "oci:layout",
            ],
            &[
                "apolo",
                "pull",
                "--no-docker",
                "image:hello-web:0.0.1",
                "oci:list.yaml",
            ],
            &["apolo", "parse", ""],
            &["apolo", "parse", "image:Hello"],
            &["apolo", "parse", "image:a:b:c"],
            &["apolo", "parse", "image:a\u{1}b"],
        ],
        &settings,
    ));
    let closed_port = [("APOLO_REGISTRY_URL", "http://127.0.0.1:9")];
    text.push_str(&site.messages(&[&["apolo", "ls"]], &closed_port));
    let no_token = [("APOLO_REGISTRY_URL", "CLOSED")];
    text.push_str(&site.messages(&[&["apolo", "ls"]], &no_token));
    insta::assert_snapshot!("apolo", text);
}

/// What is printed on a terminal of so many columns.
#[cfg(unix)]
fn on_terminal(site: &Site, columns: usize, arguments: &[&str]) -> String {
    let terminal = Terminal::open();
    let child = site
        .sandbox
        .command(arguments)
        .env("COLUMNS", columns.to_string())
        .env("PEAK_ENDPOINT_URL", &site.open.url)
        .stdout(terminal.stdio())
        .spawn()
        .unwrap();
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(0), "{text}");
    text.replace("\r\n", "\n")
}

/// The digits and letters of ids, ports and times, each as the same character, so that columns keep their width.
#[cfg(unix)]
fn without_values(text: &str) -> String {
    let is_value =
        |word: &str| word.len() >= 8 && word.chars().filter(char::is_ascii_digit).count() > 3;
    text.split_inclusive([' ', '\n'])
        .map(|word| {
            if !is_value(word) {
                return word.to_owned();
            }
            let is_uuid = word.trim_end().len() == 36;
            word.chars()
                .map(|c| match c {
                    '0'..='9' => '0',
                    'a'..='f' if is_uuid => '0',
                    other => other,
                })
                .collect()
        })
        .collect()
}

#[test]
#[cfg(unix)]
fn lists_at_80_and_200_columns() {
    let site = Site::new();
    let details = r#"{"source": "dockerfile", "dockerfile": "FROM scratch\nENV A=b"}"#;
    for name in [
        "web",
        "a-name-that-somebody-has-made-rather-long/and-that-goes-on-for-a-while",
    ] {
        let create = [
            "images",
            "create",
            "--name",
            name,
            "--type",
            "workspace-python",
        ];
        let created = site.run(
            &[&create[..], &["--build-details", details]].concat(),
            &[OPEN],
        );
        created.assert_code(0);
        let ids: serde_json::Value = serde_json::from_str(&created.stdout).unwrap();
        let (image, build) = (ids["imageId"].to_string(), ids["buildId"].to_string());
        let wait = ["images", "wait", "--image-id", &image, "--build-id", &build];
        site.run(&wait, &[OPEN]).assert_code(0);
    }
    let mut text = String::new();
    for arguments in [
        &["images", "list"][..],
        &["images", "list", "--all"],
        &["images", "list", "--page-size", "1"],
        &["images", "list", "--name", "nothing-like-it"],
        &["images", "list-versions", "1"],
        &["images", "list-builds", "1"],
        &["images", "describe", "1"],
        &["artifacts", "list"],
    ] {
        for columns in [80, 200] {
            let shown = on_terminal(&site, columns, arguments);
            for line in shown.lines().filter(|_| arguments[1] != "describe") {
                assert!(line.chars().count() <= columns, "{line}");
            }
            write!(
                text,
                "$ peak {}    ({columns} columns)\n{}\n",
                arguments.join(" "),
                without_values(&shown)
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!("tables", text);
}
