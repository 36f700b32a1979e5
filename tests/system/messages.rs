//! What a person reads when a registry command cannot do what it was asked for: missing, wrong and absurd arguments, and
//! tables on narrow and wide terminals.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Finished, Sandbox, Server, finish};
#[cfg(unix)]
use crate::terminal::Terminal;

/// An open platform and one that wants a token, with an image each.
struct Site {
    sandbox: Sandbox,
    open: Server,
    closed: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.project();
        let open = sandbox.serve_with(&["--state-dir", "open"]);
        let closed = sandbox.serve_with(&["--state-dir", "closed", "--token", "open-sesame"]);
        sandbox
            .peak(["ship", "project", "--endpoint-url", &open.url])
            .assert_code(0);
        sandbox.files(
            "",
            [
                ("not-a-manifest.json", b"{\"a\": 1}".as_slice()),
                ("plan.yaml", b"destinations: 7\n"),
            ],
        );
        Self {
            sandbox,
            open,
            closed,
        }
    }

    /// Runs `peak registry`, with `OPEN` and `CLOSED` for the two servers.
    fn run(&self, arguments: &[&str], input: Option<&str>) -> Finished {
        let arguments = arguments.iter().map(|argument| {
            argument
                .replace("OPEN", self.open.host())
                .replace("CLOSED", self.closed.host())
        });
        let mut command = self
            .sandbox
            .command(["registry".to_owned()].into_iter().chain(arguments));
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        finish(child)
    }

    /// Without what is different in each run.
    fn steady(&self, text: &str) -> String {
        text.replace(self.open.host(), "OPEN")
            .replace(self.closed.host(), "CLOSED")
            .replace(&self.sandbox.path("").display().to_string(), "[SANDBOX]/")
    }

    /// What each of these says, one below the other.
    fn messages(&self, commands: &[&[&str]]) -> String {
        let mut text = String::new();
        for arguments in commands {
            let finished = self.run(arguments, None);
            let shown: Vec<_> = arguments
                .iter()
                .map(|argument| match *argument {
                    "" => "''".to_owned(),
                    argument if argument.contains(' ') => format!("'{argument}'"),
                    argument => argument.escape_debug().to_string(),
                })
                .collect();
            let code = finished.code.unwrap();
            let stderr = self.steady(&finished.stderr);
            write!(
                text,
                "$ peak registry {}\n{stderr}exit code {code}\n\n",
                shown.join(" ")
            )
            .unwrap();
        }
        text
    }
}

const ABSENT: &str =
    "OPEN/project@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn names_that_are_not_there_and_what_is_there() {
    let site = Site::new();
    let text = site.messages(&[
        &["digest", "OPEN/project:0.0.2"],
        &["digest", "OPEN/project:latest"],
        &["digest", "OPEN/project"],
        &["digest", "OPEN/projcet:0.0.1"],
        &["digest", "OPEN/nothing-like-it:1"],
        &["digest", ABSENT],
        &["tags", "OPEN/projcet"],
        &["inspect", "OPEN/project:0.0.2"],
        &["config", "OPEN/project:0.0.2"],
        &["config", "OPEN/project:0.0.1", "--platform", "plan9/mips"],
        &[
            "manifest",
            "get",
            "OPEN/project:0.0.1",
            "--platform",
            "plan9/mips",
        ],
        &[
            "manifest",
            "get",
            "OPEN/project:0.0.1",
            "--media-type",
            "text/html",
        ],
        &["manifest", "delete", ABSENT, "--yes"],
        &["blob", "get", ABSENT],
        &["referrers", "OPEN/projcet:0.0.1"],
        &["delete", "OPEN/project:0.0.2", "--yes"],
        &["copy", "OPEN/project:0.0.2", "OPEN/copy:1"],
        &["copy", "OPEN/projcet:0.0.1", "oci:layout"],
        &[
            "copy",
            "OPEN/project:0.0.1",
            "oci:layout",
            "--platform",
            "linux/amd46",
        ],
        &["pull", "OPEN/project:0.0.2", "oci:layout"],
        &["index", "create", "OPEN/index:1", "OPEN/project:0.0.2"],
        &[
            "index",
            "remove",
            "OPEN/project:0.0.1",
            "--platform",
            "linux/amd64",
        ],
        &["catalog", "OPEN", "-o", "table"],
        &["bogus"],
        &["digets", "x"],
        &["manifest", "got", "x"],
        &["digest", "x", "--quite"],
        &["digest", "x", "--color", "alwys"],
    ]);
    insta::assert_snapshot!("registry_not_there", text);
}

#[test]
fn arguments_that_are_missing_or_wrong() {
    let site = Site::new();
    let text = site.messages(&[
        &["digest"],
        &["digest", ""],
        &["digest", " "],
        &["digest", "https://registry.example/team/app:1"],
        &["digest", "Registry.example/Team/App:1"],
        &["digest", "OPEN"],
        &["digest", "/dev/null"],
        &["digest", "./layout"],
        &["digest", "oci:"],
        &["digest", "oci:nowhere"],
        &["digest", "oci:/dev/null"],
        &["digest", "oci-archive:nowhere.tar"],
        &["digest", "docker-archive:."],
        &["digest", "docker-archive:not-a-manifest.json"],
        &["digest", "docker-daemon:app:1"],
        &["tags", "docker-archive:nowhere.tar"],
        &["tags", "docker-daemon:app"],
        &["catalog", ""],
        &["catalog", "https://registry.example"],
        &["catalog", "OPEN/project"],
        &["manifest", "put", "OPEN/project", "not-a-manifest.json"],
        &["manifest", "put", "OPEN/project:x", "nowhere.json"],
        &["manifest", "put", "OPEN/project:x", "."],
        &["manifest", "put", "OPEN/project:x", "/dev/null"],
        &["manifest", "put", "OPEN/project:x", "not-a-manifest.json"],
        &["manifest", "delete", "OPEN/project:0.0.1", "--yes"],
        &["manifest", "delete", ABSENT],
        &["delete", "OPEN/project"],
        &["delete", ABSENT],
        &["blob", "get", "OPEN/project:0.0.1"],
        &["blob", "put", "OPEN/project", "nowhere"],
        &["blob", "put", "OPEN/project", "."],
        &["blob", "put", "OPEN/project", "/dev/zero"],
        &["config", "OPEN/project:0.0.1", "--platform", ""],
        &["copy", "OPEN/project:0.0.1", "app"],
        &[
            "copy",
            "OPEN/project:0.0.1",
            "OPEN/project:x",
            "--concurrency",
            "-1",
        ],
        &[
            "copy",
            "OPEN/project:0.0.1",
            "OPEN/project:x",
            "--concurrency",
            "99999999999999999999",
        ],
        &[
            "copy",
            "OPEN/project:0.0.1",
            "OPEN/project:x",
            "--platform",
            "🐟",
        ],
        &["copy", "OPEN/project:0.0.1", "oci:layout", "--all-tags"],
        &["copy", "OPEN/project", "oci-archive:all.tar", "--all-tags"],
        &[
            "copy",
            "OPEN/project:0.0.1",
            "docker-daemon:app:1",
            "--dry-run",
        ],
        &["pull", "OPEN/project:0.0.1", "project.tar"],
        &["pull", "OPEN/project:0.0.1", ""],
        &["pull", "OPEN/project:0.0.1", "registry.example:5000/x"],
        &["push", "project.tar", "OPEN/project:x"],
        &["push", "nowhere", "OPEN/project:x"],
        &["index", "create", "OPEN/index", "OPEN/project:0.0.1"],
        &["index", "merge", "OPEN/project:0.0.1", "OPEN/project:0.0.1"],
        &["mirror", "nowhere.yaml"],
        &["mirror", "."],
        &["mirror", "plan.yaml"],
        &["mirror", "plan.yaml", "--shard", "9/4"],
        &["login", "OPEN"],
        &["login", "", "-u", "me", "--password-stdin"],
        &["login", "OPEN", "--password-stdin"],
        &["logout", ""],
        &["auth", "explain", ""],
        &["digest", "OPEN/project:0.0.1", "--ca-file", "nowhere.pem"],
        &[
            "digest",
            "OPEN/project:0.0.1",
            "--ca-file",
            "not-a-manifest.json",
        ],
        &["digest", "OPEN/project:0.0.1", "--cert", "x.pem"],
        &["digest", "OPEN/project:0.0.1", "--requests-per-second", "0"],
        &["digest", "OPEN/project:0.0.1", "-o", "xml"],
        &["digest", "OPEN/project:0.0.1", "--endpoint-url", "nonsense"],
        &["digest", "OPEN/project:0.0.1", "--config", "nowhere.yaml"],
    ]);
    insta::assert_snapshot!("registry_wrong_arguments", text);
}

#[test]
fn machines_that_are_not_there_and_ones_that_want_to_know_who_asks() {
    let site = Site::new();
    let mut text = site.messages(&[
        &["digest", "127.0.0.1:9/app:1"],
        &["tags", "127.0.0.1:9/app"],
        &["copy", "127.0.0.1:9/app:1", "oci:layout"],
        &["copy", "OPEN/project:0.0.1", "127.0.0.1:9/app:1"],
        &["digest", "CLOSED/app:1"],
        &["catalog", "CLOSED"],
        &["copy", "OPEN/project:0.0.1", "CLOSED/app:1"],
        &["-o", "json", "digest", "CLOSED/app:1"],
        &["-o", "json", "digest", "OPEN/project:0.0.2"],
        &["-o", "json", "digest", "127.0.0.1:9/app:1"],
    ]);
    let refused = site.run(
        &["login", "CLOSED", "-u", "me", "--password-stdin"],
        Some("wrong"),
    );
    write!(
        text,
        "$ echo wrong | peak registry login CLOSED -u me --password-stdin\n{}exit code {}\n",
        site.steady(&refused.stderr),
        refused.code.unwrap()
    )
    .unwrap();
    insta::assert_snapshot!("registry_not_reached", text);
}

#[test]
fn a_bad_proxy_variable_is_an_error_of_usage() {
    let site = Site::new();
    let mut command = site
        .sandbox
        .command(["registry", "digest", "registry.example/app:1"]);
    command.env("HTTPS_PROXY", "http://proxy:port");
    let finished = finish(command.spawn().unwrap());
    finished.assert_code(2).assert_stderr("proxy");
}

#[test]
fn what_refers_to_nothing_is_said_on_standard_error() {
    let site = Site::new();
    let finished = site.run(&["referrers", "OPEN/project:0.0.1", "-o", "table"], None);
    finished
        .assert_code(0)
        .assert_stderr("nothing refers to sha256:");
    assert_eq!(finished.stdout, "");
}

#[test]
fn error_answers_are_shown_at_the_third_level() {
    let site = Site::new();
    let finished = site.run(&["-vvv", "digest", ABSENT], None);
    // HEAD has no body; the manifest itself has.
    let got = site.run(&["-vvv", "manifest", "get", ABSENT], None);
    assert!(!finished.stderr.is_empty());
    got.assert_code(4)
        .assert_stderr("< {\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"");
}

#[test]
#[cfg(unix)]
fn no_file_takes_the_place_of_a_device() {
    let site = Site::new();
    let got = site.run(&["manifest", "get", "OPEN/project:0.0.1"], None);
    let manifest: serde_json::Value = serde_json::from_str(&got.stdout).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    // A link, so that no failure of this test is the end of the device itself.
    let device = site.sandbox.path("device");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    site.run(
        &[
            "blob",
            "get",
            &format!("OPEN/project@{config}"),
            "-o",
            "device",
        ],
        None,
    )
    .assert_code(0);
    assert!(device.is_symlink());
    let packed = site.sandbox.peak(["pack", "project", "--output", "device"]);
    packed.assert_stderr("not a regular file");
    assert!(device.is_symlink());
}

/// What is printed on a terminal of so many columns.
#[cfg(unix)]
fn on_terminal(site: &Site, columns: usize, arguments: &[&str]) -> String {
    let terminal = Terminal::open();
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("OPEN", site.open.host()));
    let child = site
        .sandbox
        .command(arguments)
        .env("COLUMNS", columns.to_string())
        .stdout(terminal.stdio())
        .spawn()
        .unwrap();
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(0), "{text}");
    text.replace("\r\n", "\n")
}

#[test]
#[cfg(unix)]
fn tables_fit_80_columns_and_show_all_at_200() {
    let site = Site::new();
    let at = site.open.url.clone();
    for tag in [
        "stable",
        "a-tag-with-a-name-that-somebody-has-made-rather-long",
    ] {
        site.run(
            &[
                "copy",
                "OPEN/project:0.0.1",
                &format!("OPEN/team/project:{tag}"),
            ],
            None,
        )
        .assert_code(0);
    }
    let listed = site.run(&["digest", "OPEN/project:0.0.1"], None).stdout;
    let image = listed.trim();
    let plan = format!(
        "destinations:\n  - to: {0}/a-prefix/of-some/length\nrepositories:\n  - from: {0}/team/project\n    tags: {{all: true}}\n",
        site.open.host()
    );
    site.sandbox.files("", [("mirror.yaml", plan.as_bytes())]);
    for arguments in [
        &[
            "registry",
            "copy",
            "OPEN/team/project",
            "OPEN/other/project",
            "--all-tags",
            "--dry-run",
        ][..],
        &["registry", "inspect", "OPEN/project:0.0.1"],
        &["images", "list", "--endpoint-url", &at],
        &["images", "list-versions", "1", "--endpoint-url", &at],
        &["images", "list-builds", "1", "--endpoint-url", &at],
    ] {
        let narrow = on_terminal(&site, 80, arguments);
        let wide = on_terminal(&site, 200, arguments);
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(!wide.contains('…'), "{wide}");
        if arguments.contains(&"--all-tags") {
            assert!(wide.contains(image), "{wide}");
            assert!(!narrow.contains(image), "{narrow}");
            assert!(
                narrow.contains(image.get(.."sha256:".len() + 12).unwrap()),
                "{narrow}"
            );
        }
        // The same in a pipe as at any width.
        let mut piped = site.sandbox.command(
            arguments
                .iter()
                .map(|argument| argument.replace("OPEN", site.open.host()))
                .chain(["-o".to_owned(), "table".to_owned()]),
        );
        piped.env("COLUMNS", "40");
        let piped = finish(piped.spawn().unwrap());
        assert_eq!(piped.stdout, wide);
    }
}

#[test]
#[cfg(unix)]
fn colours_come_on_a_terminal_and_go_where_nobody_wants_them() {
    let site = Site::new();
    let shown = |variables: &[(&str, &str)], more: &[&str]| {
        let terminal = Terminal::open();
        let child = site
            .sandbox
            .command([&["registry", "digest", "oci:nowhere"][..], more].concat())
            .envs(variables.iter().copied())
            .stderr(terminal.stdio())
            .spawn()
            .unwrap();
        let (code, text) = terminal.finish(child);
        assert_eq!(code, Some(4), "{text}");
        text
    };
    let red = "\u{1b}[1;31merror:\u{1b}[0m there is no image layout";
    let plain = "error: there is no image layout";
    assert!(shown(&[("TERM", "xterm")], &[]).starts_with(red));
    for text in [
        shown(&[("TERM", "dumb")], &[]),
        shown(&[("TERM", "xterm"), ("NO_COLOR", "1")], &[]),
        shown(&[("TERM", "xterm")], &["--color", "never"]),
    ] {
        assert!(text.starts_with(plain), "{text}");
    }
    let always = shown(
        &[("TERM", "dumb"), ("NO_COLOR", "1")],
        &["--color", "always"],
    );
    assert!(always.starts_with(red), "{always}");
}

/// The commands below this one that do something, each with the usage line of its help.
fn leaves(sandbox: &Sandbox, path: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let arguments = path.iter().map(String::as_str).chain(["--help"]);
    let help = sandbox.peak(arguments);
    help.assert_code(0);
    let mut below = Vec::new();
    let commands = help.stdout.lines().skip_while(|line| *line != "Commands:");
    for line in commands.skip(1).take_while(|line| !line.is_empty()) {
        // Names stand two columns in; what is further in goes on with a description.
        let name = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '));
        if let Some(name) = name.and_then(|rest| rest.split(' ').next()) {
            below.push(name.to_owned());
        }
    }
    if below.is_empty() {
        let usage = help.stdout.lines().find(|line| line.starts_with("Usage:"));
        found.push((path.to_vec(), usage.unwrap().to_owned()));
    }
    for name in below.into_iter().filter(|name| name != "help") {
        let path: Vec<_> = path.iter().cloned().chain([name]).collect();
        leaves(sandbox, &path, found);
    }
}

/// The arguments that a usage line asks for, each replaced by this value; one too many where it asks for none.
fn filled(usage: &str, path: &[String], value: &str) -> Vec<String> {
    let mut arguments = path.to_vec();
    let words: Vec<_> = usage.split(' ').collect();
    for (number, word) in words.iter().enumerate() {
        if word.starts_with("--") {
            arguments.push((*word).to_owned());
        } else if word.starts_with('<') {
            let follows_option = words
                .get(number - 1)
                .is_some_and(|word| word.starts_with("--"));
            // Absurd values may begin with a dash.
            if follows_option {
                let option = arguments.pop().unwrap();
                arguments.push(format!("{option}={value}"));
            } else {
                arguments.push(value.to_owned());
            }
        }
    }
    if arguments.len() == path.len() {
        arguments.push(value.to_owned());
    }
    arguments
}

#[test]
fn absurd_arguments_end_every_command_with_one_error_and_a_known_code() {
    let site = Site::new();
    let mut all = Vec::new();
    leaves(&site.sandbox, &[], &mut all);
    assert!(all.len() > 40, "{all:?}");
    let long = "a".repeat(5000);
    let host = site.open.host();
    let values = [
        String::new(),
        " ".to_owned(),
        "-1".to_owned(),
        "/dev/null".to_owned(),
        "../nowhere/at all".to_owned(),
        "https://127.0.0.1:9/UPPER:x".to_owned(),
        format!("{host}/🐟\u{1b}[2J\u{7}\r\nerror: forged\u{9b}31m"),
        format!("{host}/app@sha256:99999999999999999999"),
        format!("{host}/{long}"),
        format!("{host}/nothing:18446744073709551616"),
    ];
    let cases: Vec<Vec<String>> = all
        .iter()
        // It is asked about machines, and goes to see them.
        .filter(|(path, _)| path != &["doctor"])
        .flat_map(|(path, usage)| {
            values.iter().map(move |value| filled(usage, path, value))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let check = || {
        while let Some(arguments) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut command = site.sandbox.command(arguments);
            command.env("PEAK_ENDPOINT_URL", &site.open.url);
            let finished = finish(command.spawn().unwrap());
            let stderr = &finished.stderr;
            let shown: Vec<_> = arguments
                .iter()
                .map(|one| one.escape_debug().to_string())
                .collect();
            assert!(!stderr.contains("panicked"), "{shown:?}: {stderr}");
            let known = [0, 1, 2, 3, 4, 5, 6, 7, 8];
            assert!(
                finished.code.is_some_and(|code| known.contains(&code)),
                "{shown:?}: {:?}\n{stderr}",
                finished.code
            );
            let errors = stderr
                .lines()
                .filter(|line| line.starts_with("error: "))
                .count();
            let expected = usize::from(finished.code != Some(0));
            assert_eq!(errors, expected, "{shown:?}: {stderr}");
            let is_clean = stderr.chars().all(|c| c == '\n' || !c.is_control());
            assert!(is_clean, "{shown:?}: {stderr:?}");
            assert!(stderr.len() < 8000, "it goes on and on: {stderr}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(check);
        }
    });
    assert!(next.load(Ordering::Relaxed) > cases.len());
}

#[test]
fn the_ca_file_of_the_environment_counts_for_registries_and_the_platform() {
    let site = Site::new();
    let tls = site
        .sandbox
        .serve_with(&["--state-dir", "tls", "--tls-self-signed"]);
    let ca = site.sandbox.path("tls/tls/ca.pem");
    assert!(ca.exists());
    let run = |arguments: &[&str], ca: Option<&std::path::Path>| {
        let mut command = site.sandbox.command(arguments);
        command.env("PEAK_ENDPOINT_URL", &tls.url);
        if let Some(ca) = ca {
            command.env("PEAK_CA_FILE", ca);
        }
        finish(command.spawn().unwrap())
    };
    for arguments in [
        &["registry", "catalog", tls.host()][..],
        &["images", "list"],
    ] {
        run(arguments, None)
            .assert_code(6)
            .assert_stderr("PEAK_CA_FILE");
        run(arguments, Some(&ca)).assert_code(0);
        let absent = run(arguments, Some("nowhere.pem".as_ref()));
        absent.assert_code(2).assert_stderr("PEAK_CA_FILE");
    }
    let doctor = ["doctor", tls.host(), "-o", "json"];
    let trusted = |finished: &Finished, group: &str| {
        let answer: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        let checks = answer["checks"].as_array().unwrap();
        let way = checks.iter().filter(|one| one["group"] == group);
        let failed = way.filter(|one| one["status"] == "failed").count();
        failed == 0
    };
    let (without, with) = (run(&doctor, None), run(&doctor, Some(&ca)));
    for group in ["platform", "registry"] {
        assert!(!trusted(&without, group), "{group}: {}", without.stdout);
        assert!(trusted(&with, group), "{group}: {}", with.stdout);
    }
    assert!(with.stdout.contains("is trusted beside the system's"));
}

/// Runs a command with variables of its own.
fn run_with(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = site.sandbox.command(arguments.iter().copied());
    command.envs(variables.iter().copied());
    finish(command.spawn().unwrap())
}

#[test]
fn whoever_is_refused_is_told_as_whom_they_asked_and_why() {
    let site = Site::new();
    let app = format!("{}/app", site.closed.host());
    let token = |token| {
        [
            ("PEAK_ENDPOINT_URL", site.closed.url.as_str()),
            ("PEAK_AUTH_TOKEN", token),
        ]
    };

    let explained = run_with(
        &site,
        &["registry", "auth", "explain", &app, "--output", "table"],
        &token("open-sesame"),
    );
    explained.assert_code(0);
    assert!(
        explained
            .stdout
            .contains("credentials from PEAK_AUTH_TOKEN"),
        "{}",
        explained.stdout
    );
    let wrong = run_with(&site, &["registry", "tags", &app], &token("wrong"));
    wrong
        .assert_code(3)
        .assert_stderr("the token from PEAK_AUTH_TOKEN is not accepted");

    let helpers = format!(
        r#"{{"credHelpers":{{"{}":"nowhere"}}}}"#,
        site.closed.host()
    );
    site.sandbox
        .files("docker", [("config.json", helpers.as_bytes())]);
    let directory = site.sandbox.path("docker").display().to_string();
    let missing = run_with(
        &site,
        &["registry", "tags", &app],
        &[("DOCKER_CONFIG", &directory)],
    );
    missing
        .assert_code(3)
        .assert_stderr("docker-credential-nowhere");
    assert!(!missing.stderr.contains("log in"), "{}", missing.stderr);

    let known = format!(
        r#"{{"auths":{{"{}":{{"auth":"bWU6d3Jvbmc="}}}}}}"#,
        site.closed.host()
    );
    site.sandbox
        .files("docker", [("config.json", known.as_bytes())]);
    site.sandbox.files(
        "context",
        [("Dockerfile", b"FROM scratch\nENV A=b".as_slice())],
    );
    let context = site.sandbox.path("context").display().to_string();
    for arguments in [
        &["registry", "tags", &app][..],
        &["ship", &context, "--local", "--to", &format!("{app}:1")],
    ] {
        let shut = run_with(&site, arguments, &[("DOCKER_CONFIG", &directory)]);
        shut.assert_code(3).assert_stderr("`me` is not accepted");
        assert!(!shut.stderr.contains("wrong"), "{}", shut.stderr);
    }
}

#[test]
fn a_tag_where_a_repository_is_wanted_is_refused() {
    let site = Site::new();
    let refused = site.run(&["tags", "OPEN/project:0.0.1"], None);
    refused.assert_code(2).assert_stderr("leave out the tag");
}

#[test]
fn a_config_is_printed_as_it_is_where_that_is_asked() {
    let site = Site::new();
    let image = site.run(&["inspect", "OPEN/project:0.0.1", "--output", "json"], None);
    let image: serde_json::Value = serde_json::from_str(&image.stdout).unwrap();
    let raw = site.run(&["config", "OPEN/project:0.0.1", "--raw"], None);
    raw.assert_code(0);
    let size = image["manifest"]["config"]["size"].as_u64().unwrap();
    assert_eq!(raw.stdout.len() as u64, size);
}

#[test]
fn colour_is_chosen_for_help_and_for_what_cannot_be_understood() {
    let sandbox = Sandbox::new();
    for (arguments, is_colored) in [
        (["--color", "always", "--help"], true),
        (["--color=always", "registry", "--help"], true),
        (["--color", "never", "--help"], false),
    ] {
        let help = sandbox.peak(arguments);
        help.assert_code(0);
        assert_eq!(help.stdout.contains('\u{1b}'), is_colored, "{arguments:?}");
    }
    let wrong = sandbox.peak(["--color", "always", "--bogus"]);
    wrong.assert_code(2).assert_stderr("\u{1b}[1;31merror:");
}

#[test]
fn a_login_without_a_terminal_says_all_that_it_needs() {
    let sandbox = Sandbox::new();
    let login = sandbox.peak(["registry", "login", "registry.example"]);
    login
        .assert_code(2)
        .assert_stderr("--username")
        .assert_stderr("--password-stdin");
}
