//! The commands of the public Python tool, against the embedded platform: what a script sees of them.

use serde_json::{Value, json};

use crate::support::{Sandbox, Server};

/// A sandbox with a project, and a platform to talk to.
struct Site {
    sandbox: Sandbox,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.project();
        let server = sandbox.serve();
        Self { sandbox, server }
    }

    /// Runs `peak` with the platform's address in the environment.
    fn peak(&self, arguments: &[&str]) -> crate::support::Finished {
        let url = self.server.url.clone();
        let mut command = self.sandbox.command(arguments);
        command.env("PEAK_ENDPOINT_URL", url);
        crate::support::finish(command.spawn().unwrap())
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let finished = self.peak(arguments);
        finished.assert_code(0);
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
    }

    #[track_caller]
    fn built(&self, version: &Value) {
        let image = version["imageId"].to_string();
        let build = version["buildId"].to_string();
        let build = build.trim_matches('"');
        let waited = self.json(&["images", "wait", "--image-id", &image, "--build-id", build]);
        assert_eq!(waited["buildStatus"], "success");
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a life is one story, told from its beginning to its end"
)]
fn the_life_of_an_image() {
    let site = Site::new();
    let made = site.json(&[
        "images",
        "create",
        "--name",
        "web",
        "--type",
        "webapp",
        "--artifact-path",
        "project",
        "--description",
        "first",
    ]);
    assert_eq!(made["imageId"], 1);
    site.built(&made);
    let described = site.json(&["images", "describe", "1"]);
    assert_eq!(described["name"], "web");
    assert_eq!(described["latestVersion"]["version"], "0.0.1");

    site.sandbox.files("", [(
        "version.yaml",
        "body:\n  description: {{ what }}\n  buildDetails:\n    source: upload\n    useCache: no\nartifact:\n  path: project\n".as_bytes(),
    )]);
    let second = site.json(&[
        "images",
        "create-version",
        "1",
        "version.yaml",
        "-p",
        "what=second",
        "--version",
        "2.0.0",
    ]);
    site.built(&second);
    let version = second["versionId"].to_string();
    let described = site.json(&[
        "images",
        "describe-version",
        "--image-id",
        "1",
        "--version-id",
        &version,
    ]);
    assert_eq!(described["version"], "2.0.0");
    assert_eq!(described["description"], "second");
    assert_eq!(described["buildDetails"]["useCache"], false);

    // The third time there is the version, the fourth time there is not.
    let again = site.json(&[
        "images",
        "create-or-update",
        "--name",
        "web",
        "--type",
        "webapp",
        "--artifact-path",
        "project",
        "--version",
        "3.0.0",
    ]);
    site.built(&again);
    let listed = site.json(&["images", "list-versions", "1", "--all"]);
    assert_eq!(listed["versionCount"], 3);
    let listed = site.json(&["images", "list-versions", "1", "--version", "2.0.0"]);
    assert_eq!(listed["versions"][0]["version"], "2.0.0");
    let builds = site.json(&[
        "images",
        "list-builds",
        "1",
        "--build-status",
        "success",
        "--count",
        "2",
    ]);
    assert_eq!(builds["builds"].as_array().unwrap().len(), 2);

    let saved = site.json(&[
        "images",
        "get-build-logs",
        "--image-id",
        "1",
        "--build-id",
        "1",
        "--save",
    ]);
    assert_eq!(saved["file"], "image_build_logs_1_1.log");
    let log = std::fs::read_to_string(site.sandbox.path("image_build_logs_1_1.log")).unwrap();
    assert!(log.contains("COPY"), "{log}");

    assert_eq!(
        site.json(&[
            "images",
            "delete-version",
            "--image-id",
            "1",
            "--version-id",
            &version
        ]),
        json!({})
    );
    let refused = site.peak(&[
        "images",
        "delete-versions",
        "--image-id",
        "1",
        "--version-ids",
        "1,3",
    ]);
    refused.assert_code(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(
        site.json(&[
            "images",
            "delete-versions",
            "--image-id",
            "1",
            "--version-ids",
            "1,3",
            "--yes"
        ]),
        json!({})
    );
    assert_eq!(site.json(&["images", "delete", "1"]), json!({}));
    site.peak(&["images", "delete", "99"]).assert_code(4);
}

#[test]
fn the_life_of_an_artifact() {
    let site = Site::new();
    site.sandbox.files("", [
        (
            "artifact.yaml",
            b"name: data\ndescription: {{ os_env.HOME and 'from home' }}\nscan: yes\nartifact: {path: project, ignore_files: [skip]}\n".as_slice(),
        ),
        ("project/skip", b"page.html\n"),
        ("metadata.json", b"{\"body\": {\"description\": \"better\"}}"),
    ]);
    let made = site.json(&["artifacts", "create", "artifact.yaml"]);
    assert_eq!(made["version"], 1);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        site.json(&["artifacts", "create-version", id, "artifact.yaml"]),
        json!({"version": 2})
    );
    site.json(&["artifacts", "update-metadata", id, "metadata.json"]);
    let described = site.json(&["artifacts", "describe", id]);
    assert_eq!(described["description"], "better");
    assert_eq!(described["versionCount"], 2);

    site.json(&["artifacts", "download", id, "data.zip", "--version", "1"]);
    let zip = std::fs::File::open(site.sandbox.path("data.zip")).unwrap();
    let zip = zip::ZipArchive::new(zip).unwrap();
    let mut names: Vec<_> = zip.file_names().map(Result::unwrap).collect();
    names.sort_unstable();
    assert_eq!(names, ["Dockerfile", "assets/", "assets/style.css", "skip"]);
    let refused = site.peak(&["artifacts", "download", id, "."]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("director"), "{}", refused.stderr);

    assert_eq!(site.json(&["artifacts", "list"])["artifactCount"], 1);
    assert_eq!(
        site.json(&["artifacts", "delete-version", id, "1"]),
        json!({})
    );
    assert_eq!(site.json(&["artifacts", "delete", id]), json!({}));
}

#[test]
fn a_dry_run_shows_the_request_and_the_files_and_sends_nothing() {
    let sandbox = Sandbox::new();
    sandbox.project();
    // Nothing listens there: whatever is sent fails.
    let shown = sandbox.peak([
        "images",
        "create",
        "--name",
        "web",
        "--type",
        "api",
        "--artifact-path",
        "project",
        "--build-details",
        "{\"source\": \"upload\", \"token\": \"s3cret\", \"useCache\": true}",
        "--no-use-cache",
        "--secrets",
        "A,B",
        "--build-arguments",
        "K=v=w",
        "--dry-run",
        "--endpoint-url",
        "http://127.0.0.1:9",
        "-o",
        "table",
    ]);
    shown.assert_code(0);
    insta::assert_snapshot!("dry_run_create", shown.stdout);
    let shown = sandbox.peak([
        "images",
        "create-or-update",
        "--name",
        "web",
        "--type",
        "api",
        "--version",
        "1.0",
        "--dockerfile",
        "FROM scratch",
        "--source",
        "dockerfile",
        "--dry-run",
        "--endpoint-url",
        "http://127.0.0.1:9",
        "-o",
        "yaml",
    ]);
    shown.assert_code(0);
    insta::assert_snapshot!("dry_run_create_or_update", shown.stdout);
}

#[test]
fn deletes_and_downloads_can_be_seen_before_they_are_done() {
    let sandbox = Sandbox::new();
    // What would be sent can be seen without a token.
    let shown = sandbox.peak([
        "images",
        "delete",
        "7",
        "--stage",
        "test",
        "--dry-run",
        "-o",
        "json",
    ]);
    shown.assert_code(0);
    assert!(
        shown.stdout.contains("https://service.test.peak.ai/"),
        "{}",
        shown.stdout
    );
    for arguments in [
        &["images", "delete", "7"][..],
        &[
            "images",
            "delete-version",
            "--image-id",
            "7",
            "--version-id",
            "8",
        ],
        &[
            "images",
            "delete-versions",
            "--image-id",
            "7",
            "--version-ids",
            "8,9",
        ],
        &["artifacts", "delete", "abc"],
        &["artifacts", "delete-version", "abc", "3"],
        &["artifacts", "download", "abc", "file.zip"],
    ] {
        let all: Vec<_> = arguments
            .iter()
            .chain(&[
                "--dry-run",
                "--endpoint-url",
                "http://127.0.0.1:9",
                "-o",
                "json",
            ])
            .collect();
        let shown = sandbox.peak(&all);
        shown.assert_code(0);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let method = if arguments[1] == "download" {
            "GET"
        } else {
            "DELETE"
        };
        assert_eq!(shown["requests"][0]["method"], method, "{arguments:?}");
    }
}

#[test]
fn each_sample_is_a_file_that_works() {
    let sandbox = Sandbox::new();
    sandbox.project();
    for arguments in [
        &["images", "create"][..],
        &["images", "create-or-update"],
        &["images", "create-version", "1"],
        &[
            "images",
            "update-version",
            "--image-id",
            "1",
            "--version-id",
            "1",
        ],
        &["artifacts", "create"],
        &["artifacts", "create-version", "abc"],
        &["artifacts", "update-metadata", "abc"],
    ] {
        let command = &arguments[..2];
        let sample = sandbox.peak([command, &["--generate"]].concat());
        sample.assert_code(0);
        sandbox.files("", [("sample.yaml", sample.stdout.as_bytes())]);
        let dry = [
            "sample.yaml",
            "--dry-run",
            "--endpoint-url",
            "http://127.0.0.1:9",
        ];
        sandbox.peak([arguments, &dry].concat()).assert_code(0);
    }
}

#[test]
fn tables_and_errors_a_person_reads() {
    let site = Site::new();
    let made = site.json(&[
        "images",
        "create",
        "--name",
        "web",
        "--type",
        "webapp",
        "--artifact-path",
        "project",
    ]);
    site.built(&made);
    site.sandbox.files(
        "",
        [
            ("list.yaml", b"- a\n".as_slice()),
            ("broken.yaml", b"a: [1,\n"),
            ("template.yaml", b"{% include 'gone.yaml' %}\n"),
            ("nameless.yaml", b"artifact: {path: project}\n"),
        ],
    );
    let mut text = String::new();
    for arguments in [
        &["images", "list", "-o", "table"][..],
        &["images", "list", "--name", "nothing", "-o", "table"],
        &[
            "images",
            "create",
            "--name",
            "web",
            "--type",
            "webapp",
            "--artifact-path",
            "project",
        ],
        &["images", "create", "--type", "webapp"],
        &["images", "create", "list.yaml"],
        &["images", "create", "broken.yaml"],
        &["images", "create", "template.yaml"],
        &["images", "create", "gone.yaml"],
        &["images", "create", "--build-details", "[1]"],
        &["images", "create-version"],
        &[
            "images",
            "delete-versions",
            "--image-id",
            "1",
            "--version-ids",
            "1,2",
        ],
        &["images", "describe", "99"],
        &["artifacts", "create", "nameless.yaml"],
        &["artifacts", "describe", "nothing"],
        &["artifacts", "list", "-o", "xml"],
    ] {
        let finished = site.peak(arguments);
        let code = finished.code.unwrap();
        let said =
            format!("{}{}", finished.stdout, finished.stderr).replace(&site.server.url, "[SERVER]");
        text.extend([format!(
            "$ peak {}\n{said}exit code {code}\n\n",
            arguments.join(" ")
        )]);
    }
    insta::assert_snapshot!("images_and_artifacts", text);
}

#[test]
fn a_config_file_stands_in_for_options_and_loses_to_everything_else() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "",
        [
            (
                "peak.yaml",
                b"stage: test\noutput: yaml\nprogress: none\nquiet: yes\n".as_slice(),
            ),
            ("wrong.yaml", b"stage: test\ntoken: s3cret\n"),
            ("mode.yaml", b"color: pink\n"),
        ],
    );
    let delete = ["images", "delete", "7", "--dry-run", "--config"];
    let shown = sandbox.peak(delete.iter().chain(&["peak.yaml"]));
    shown.assert_code(0);
    assert!(
        shown
            .stdout
            .contains("  url: https://service.test.peak.ai/"),
        "{}",
        shown.stdout
    );
    let shown = sandbox.peak(
        delete
            .iter()
            .chain(&["peak.yaml", "--stage", "beta", "-o", "json"]),
    );
    assert!(
        shown
            .stdout
            .contains("\"url\": \"https://service.beta.peak.ai/"),
        "{}",
        shown.stdout
    );
    let mut command = sandbox.command(delete.iter().chain(&["peak.yaml"]));
    command.env("STAGE", "dev");
    let shown = crate::support::finish(command.spawn().unwrap());
    assert!(
        shown.stdout.contains("https://service.dev.peak.ai/"),
        "{}",
        shown.stdout
    );
    for (file, part) in [
        ("wrong.yaml", "token"),
        ("mode.yaml", "pink"),
        ("gone.yaml", "gone.yaml"),
    ] {
        let refused = sandbox.peak(delete.iter().chain(&[file]));
        assert!(matches!(refused.code, Some(2 | 4)), "{file}");
        refused.assert_stderr(part);
        assert!(!refused.stderr.contains("s3cret"));
    }
}
