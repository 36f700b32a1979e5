//! The commands beside `ship`, against the embedded platform.

use serde_json::{Value, json};

use crate::support::{Sandbox, Server, finish};

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn shipped(sandbox: &Sandbox) -> (Server, Value) {
    sandbox.project();
    let server = sandbox.serve();
    let result = sandbox.peak_json([
        "ship",
        "project",
        "--endpoint-url",
        &server.url,
        "-o",
        "json",
    ]);
    (server, result)
}

#[test]
fn images_are_described_as_the_api_names_things() {
    let sandbox = Sandbox::new();
    let (server, shipped) = shipped(&sandbox);
    let (image, version) = (text(&shipped["imageId"]), text(&shipped["versionId"]));
    let at = ["--endpoint-url", &server.url, "-o", "json"];

    let described = sandbox.peak_json(["images", "describe", &image].into_iter().chain(at));
    assert_eq!(described["name"], "project");
    assert_eq!(described["latestVersion"]["lastBuildStatus"], "success");
    let described = sandbox.peak_json(
        [
            "images",
            "describe-version",
            "--image-id",
            &image,
            "--version-id",
            &version,
        ]
        .into_iter()
        .chain(at),
    );
    assert_eq!(described["imageName"], "project");
    assert_eq!(described["status"], "ready");
    assert!(described["size"].as_u64().unwrap() > 0);
    let versions = sandbox.peak_json(["images", "list-versions", &image].into_iter().chain(at));
    assert_eq!(versions["versionCount"], 1);
    assert_eq!(versions["versions"][0]["version"], "0.0.1");

    let table = sandbox.peak([
        "images",
        "list-versions",
        &image,
        "--endpoint-url",
        &server.url,
        "-o",
        "table",
    ]);
    table.assert_code(0);
    assert!(
        table.stdout.contains("VERSION") && table.stdout.contains("0.0.1"),
        "{}",
        table.stdout
    );
}

#[test]
fn build_logs_come_in_pages_and_can_be_followed() {
    let sandbox = Sandbox::new();
    let (server, shipped) = shipped(&sandbox);
    let (image, build) = (text(&shipped["imageId"]), text(&shipped["buildId"]));
    let logs = [
        "images",
        "get-build-logs",
        "--image-id",
        &image,
        "--build-id",
        &build,
        "--endpoint-url",
        &server.url,
    ];

    let page = sandbox.peak_json(logs.into_iter().chain(["-o", "json"]));
    assert_eq!(page["buildStatus"], "success");
    let lines: Vec<_> = page["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| text(&line["message"]))
        .collect();
    assert!(
        lines.iter().any(|line| line.contains("COPY page.html")),
        "{lines:?}"
    );

    let followed = sandbox.peak(logs.into_iter().chain(["--follow"]));
    followed.assert_code(0);
    assert_eq!(
        followed
            .stdout
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
        lines
    );
}

#[test]
fn a_failed_build_ends_a_follow_with_8() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "broken",
        [("Dockerfile", b"FROM scratch\nCOPY absent /\n".as_slice())],
    );
    let server = sandbox.serve();
    let shipped = sandbox.peak_json([
        "ship",
        "broken",
        "--no-wait",
        "--endpoint-url",
        &server.url,
        "-o",
        "json",
    ]);
    let followed = sandbox.peak([
        "images",
        "get-build-logs",
        "--follow",
        "--image-id",
        &text(&shipped["imageId"]),
        "--build-id",
        &text(&shipped["buildId"]),
        "--endpoint-url",
        &server.url,
    ]);
    followed.assert_code(8);
    assert!(followed.stdout.contains("absent"), "{}", followed.stdout);
}

#[test]
fn registry_commands_read_the_embedded_registry() {
    let sandbox = Sandbox::new();
    let (_server, shipped) = shipped(&sandbox);
    let reference = text(&shipped["pullUrl"]);
    let digest = text(&shipped["digest"]);

    let found = sandbox.peak(["registry", "digest", &reference, &reference]);
    found.assert_code(0);
    assert_eq!(found.stdout, format!("{digest}\n{digest}\n"));

    let raw = sandbox.peak(["registry", "manifest", "get", "--raw", &reference]);
    raw.assert_code(0);
    let by_digest = format!("{}@{digest}", reference.rsplit_once(':').unwrap().0);
    assert_eq!(
        sandbox
            .peak(["registry", "manifest", "get", "--raw", &by_digest])
            .stdout,
        raw.stdout
    );
    let manifest = sandbox.peak_json(["registry", "manifest", "get", &reference, "-o", "json"]);
    assert_eq!(
        manifest,
        serde_json::from_str::<Value>(&raw.stdout).unwrap()
    );
    let wrong = sandbox.peak([
        "registry",
        "manifest",
        "get",
        "--media-type",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        &reference,
    ]);
    assert_ne!(
        wrong.code,
        Some(0),
        "an OCI manifest was passed off as a Docker list"
    );
    wrong.assert_stderr("application/vnd.oci.image.manifest.v1+json");

    let pulled = sandbox.peak_json(["registry", "pull", &reference, "layout", "-o", "json"]);
    assert_eq!(pulled["digest"], shipped["digest"]);
    assert!(sandbox.path("layout/index.json").exists());
}

#[test]
fn parse_gives_the_parts_of_a_reference() {
    let sandbox = Sandbox::new();
    let parts = sandbox.peak_json(["registry", "parse", "ubuntu:24.04", "-o", "json"]);
    assert_eq!(
        parts,
        json!({
            "registry": "docker.io", "repository": "library/ubuntu", "tag": "24.04", "digest": null,
            "familiar": "ubuntu:24.04", "canonical": "docker.io/library/ubuntu:24.04",
        })
    );
    sandbox
        .peak(["registry", "parse", "example.com/UPPER"])
        .assert_code(2);
}

#[test]
fn a_dry_run_of_pack_lists_what_would_go_in_and_writes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let list = sandbox.peak_json(["pack", "project", "--dry-run", "-o", "json"]);
    assert_eq!(
        list,
        json!({
            "files": [
                {"path": "Dockerfile", "size": 72},
                {"path": "assets/style.css", "size": 8},
                {"path": "page.html", "size": 11},
            ],
            "total": 91,
        })
    );
    let tree = sandbox.peak(["pack", "project", "--dry-run", "-o", "table"]);
    tree.assert_code(0);
    insta::assert_snapshot!("pack_tree", tree.stdout);
    assert!(!sandbox.path("project.zip").exists());
}

#[test]
fn pack_writes_the_same_archive_every_time() {
    let sandbox = Sandbox::new();
    sandbox.project();
    for name in ["one.zip", "two.zip"] {
        sandbox
            .peak(["pack", "project", "--output", name])
            .assert_code(0);
    }
    let one = std::fs::read(sandbox.path("one.zip")).unwrap();
    assert_eq!(one, std::fs::read(sandbox.path("two.zip")).unwrap());
    let archive = zip::ZipArchive::new(std::io::Cursor::new(one)).unwrap();
    let mut names: Vec<_> = archive
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["Dockerfile", "assets/", "assets/style.css", "page.html"]
    );
}

#[test]
fn a_dry_run_of_ship_sends_nothing() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let finished = sandbox.peak([
        "ship",
        "project",
        "--local",
        "--dry-run",
        "--to",
        "oci:layout",
    ]);
    finished.assert_code(0);
    assert!(finished.stdout.contains("page.html"), "{}", finished.stdout);
    assert!(!sandbox.path("state").exists(), "a dry run left state");
    assert!(!sandbox.path("layout").exists(), "a dry run left a layout");
}

#[test]
fn progress_as_json_is_one_object_a_line() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let finished = sandbox.peak([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:layout",
        "--progress",
        "json",
    ]);
    finished.assert_code(0);
    let events: Vec<Value> = finished
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        events.iter().any(|event| event["event"] == "log"),
        "{events:?}"
    );
    assert!(
        events.iter().any(|event| event["event"] == "finished"),
        "{events:?}"
    );
    let quiet = sandbox.peak(["ship", "project", "--local", "--quiet"]);
    quiet.assert_code(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_walk_over_nothing_is_an_empty_list_and_a_failed_one_prints_nothing() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let walk = |url: &str, form| {
        sandbox.peak(["images", "list", "--all", "--endpoint-url", url, "-o", form])
    };
    assert_eq!(
        walk(&server.url, "yaml").stdout,
        "images: []\nimageCount: 0\n"
    );
    let json: Value = serde_json::from_str(&walk(&server.url, "json").stdout).unwrap();
    assert_eq!(json, json!({"images": [], "imageCount": 0}));
    for form in ["json", "yaml"] {
        let refused = walk(&format!("{}/nothing", server.url), form);
        refused.assert_code(4);
        assert_eq!(refused.stdout, "");
    }
}

#[test]
fn a_walk_ends_when_nobody_reads_it_any_more() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let at = ["--endpoint-url", &server.url];
    let details = r#"{"source": "dockerfile", "dockerfile": "FROM scratch\nENV A=b"}"#;
    for name in ["a", "b", "c"] {
        let create = [
            "images",
            "create",
            "--type=api",
            "--build-details",
            details,
            "--name",
            name,
        ];
        sandbox.peak(create.into_iter().chain(at)).assert_code(0);
    }
    let list = ["images", "list", "--all", "--page-size=1", "-v"];
    let mut child = sandbox.command(list.into_iter().chain(at)).spawn().unwrap();
    drop(child.stdout.take());
    let finished = finish(child);
    finished.assert_code(0);
    assert!(!finished.stderr.contains("error"), "{}", finished.stderr);
    assert_eq!(
        finished.stderr.matches("GET ").count(),
        1,
        "{}",
        finished.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_template_may_come_from_a_pipe() {
    let sandbox = Sandbox::new();
    sandbox.files("", [("part.yaml", b"{source: dockerfile}".as_slice())]);
    let create = ["images", "create", "/dev/stdin", "--dry-run", "-o", "json"];
    let mut child = sandbox
        .command(create)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"body:\n  name: web\n  type: api\n  buildDetails: {% include 'part.yaml' %}\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text).unwrap();
    let finished = finish(child);
    finished.assert_code(0);
    let shown: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(
        shown["requests"][0]["body"]["buildDetails"]["source"],
        "dockerfile"
    );
}
