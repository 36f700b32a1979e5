//! The main job: a directory becomes a verified image.

use std::path::Path;

use serde_json::Value;

use crate::support::{Sandbox, files_under, workspace};

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Reads a blob of a layout and checks that it is what its name says, without any code of ours.
fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    let hash = digest.strip_prefix("sha256:").unwrap();
    let bytes = std::fs::read(layout.join("blobs/sha256").join(hash)).unwrap();
    assert_eq!(crate::support::digest(&bytes), digest);
    bytes
}

fn manifest(layout: &Path) -> (String, Value) {
    let index = read_json(&layout.join("index.json"));
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{index}");
    let digest = entries[0]["digest"].as_str().unwrap().to_owned();
    (
        digest.clone(),
        serde_json::from_slice(&blob(layout, &digest)).unwrap(),
    )
}

fn layers(manifest: &Value) -> Vec<String> {
    manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Names and contents of the files of a gzip layer.
fn layer_files(layout: &Path, digest: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = blob(layout, digest);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.push((
                entry.path().unwrap().to_string_lossy().into_owned(),
                content,
            ));
        }
    }
    files
}

#[test]
fn the_example_becomes_a_layout_whose_every_byte_is_checked() {
    let sandbox = Sandbox::new();
    let example = workspace().join("examples/hello-web");
    let result = sandbox.peak_json([
        "ship",
        example.to_str().unwrap(),
        "--local",
        "--to",
        "oci:layout",
        "--output",
        "json",
    ]);

    assert_eq!(result["name"], "hello-web");
    assert_eq!(result["version"], "0.0.1");
    assert!(
        result["pullUrl"]
            .as_str()
            .unwrap()
            .ends_with("/hello-web:0.0.1"),
        "{result}"
    );
    assert!(
        !result["imageId"].is_null() && !result["versionId"].is_null(),
        "{result}"
    );
    assert!(result["size"].as_u64().unwrap() > 0);

    let layout = sandbox.path("layout");
    assert_eq!(
        read_json(&layout.join("oci-layout"))["imageLayoutVersion"],
        "1.0.0"
    );
    let (digest, manifest) = manifest(&layout);
    assert_eq!(result["digest"], digest.as_str());

    let config: Value = serde_json::from_slice(&blob(
        &layout,
        manifest["config"]["digest"].as_str().unwrap(),
    ))
    .unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["WorkingDir"], "/srv/www");
    assert_eq!(config["config"]["Cmd"][0], "serve");
    assert_eq!(
        config["config"]["Labels"]["org.opencontainers.image.title"],
        "hello-web"
    );
    assert!(config["config"]["ExposedPorts"]["8080/tcp"].is_object());
    assert!(
        config["config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&"SITE_ROOT=/srv/www".into())
    );

    let mut shipped = Vec::new();
    for layer in layers(&manifest) {
        shipped.extend(layer_files(&layout, &layer));
    }
    for name in ["index.html", "about.html", "assets/style.css"] {
        let content = std::fs::read(example.join("site").join(name)).unwrap();
        assert!(
            shipped.contains(&(format!("srv/www/{name}"), content)),
            "{name} is not in the image"
        );
    }
}

#[test]
fn the_same_directory_gives_the_same_digests_and_one_changed_file_changes_one_layer() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    let ship = |layout: &str| {
        sandbox.peak_json([
            "ship",
            "project",
            "--local",
            "--to",
            &format!("oci:{layout}"),
            "-o",
            "json",
        ])
    };

    let first = ship("first");
    let second = ship("second");
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(
        (&first["version"], &second["version"]),
        (&"0.0.1".into(), &"0.0.2".into())
    );
    let (_, first_manifest) = manifest(&sandbox.path("first"));
    let (_, second_manifest) = manifest(&sandbox.path("second"));
    assert_eq!(first_manifest, second_manifest);

    std::fs::write(project.join("page.html"), "<p>two</p>\n").unwrap();
    let third = ship("third");
    assert_ne!(first["digest"], third["digest"]);
    let (_, third_manifest) = manifest(&sandbox.path("third"));
    let (before, after) = (layers(&first_manifest), layers(&third_manifest));
    assert_eq!(before.len(), after.len());
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1, "{before:?} {after:?}");
}

#[test]
fn another_state_directory_gives_the_same_digest() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    one.project();
    two.project();
    let ship = |sandbox: &Sandbox| {
        sandbox.peak_json(["ship", "project", "--local", "-o", "json"])["digest"].clone()
    };
    assert_eq!(ship(&one), ship(&two));
}

#[test]
fn shipping_into_the_same_layout_again_replaces_the_image_and_stays_readable() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    let ship = || {
        sandbox.peak_json([
            "ship",
            "project",
            "--local",
            "--to",
            "oci:layout",
            "-o",
            "json",
        ])
    };
    ship();
    std::fs::write(project.join("page.html"), "<p>two</p>\n").unwrap();
    let result = ship();
    let (digest, _) = manifest(&sandbox.path("layout"));
    assert_eq!(result["digest"], digest.as_str());
}

#[test]
fn several_destinations_and_tags_stand_side_by_side() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let result = sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--to",
        "oci:one:stable,oci:one:latest",
        "--to",
        "oci:two",
        "-o",
        "json",
    ]);
    let index = read_json(&sandbox.path("one/index.json"));
    let mut names: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            entry["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
        })
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["latest", "stable"]);
    assert_eq!(
        manifest(&sandbox.path("two")).0,
        result["digest"].as_str().unwrap()
    );
}

#[test]
fn a_platform_that_runs_builds_what_is_shipped_to_it_and_keeps_it_across_restarts() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve();
    let shipped = sandbox.peak_json([
        "ship",
        "project",
        "--endpoint-url",
        &server.url,
        "--name",
        "team/site",
        "--version",
        "1.2.3",
        "-o",
        "json",
    ]);
    let image_id = shipped["imageId"].to_string().trim_matches('"').to_owned();
    assert_eq!(shipped["version"], "1.2.3");
    server.kill();

    let server = sandbox.serve();
    let described = sandbox.peak_json([
        "images",
        "describe",
        &image_id,
        "--endpoint-url",
        &server.url,
        "-o",
        "json",
    ]);
    assert_eq!(described["name"], "team/site");
    assert_eq!(described["latestVersion"]["version"], "1.2.3");
    let pull_url = described["latestVersion"]["pullUrl"].as_str().unwrap();
    assert_eq!(pull_url, format!("{}/team/site:1.2.3", server.host()));
    let digest = sandbox.peak(["registry", "digest", pull_url]);
    digest.assert_code(0);
    assert_eq!(digest.stdout.trim(), shipped["digest"].as_str().unwrap());
}

#[test]
fn an_image_can_start_from_one_shipped_before() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let base = sandbox.peak_json([
        "ship", "project", "--local", "--name", "base", "--to", "oci:base", "-o", "json",
    ]);
    sandbox.files(
        "app",
        [
            (
                "Dockerfile",
                b"FROM base:0.0.1\nARG WHO=nobody\nENV WHO=$WHO\nCOPY app.txt /app/\n".as_slice(),
            ),
            ("app.txt", b"app\n"),
        ],
    );
    let app = sandbox.peak_json([
        "ship",
        "app",
        "--local",
        "--build-arguments",
        "WHO=world",
        "--to",
        "oci:app-layout",
        "-o",
        "json",
    ]);
    assert_ne!(base["digest"], app["digest"]);
    let (_, base_manifest) = manifest(&sandbox.path("base"));
    let (_, app_manifest) = manifest(&sandbox.path("app-layout"));
    let (base_layers, app_layers) = (layers(&base_manifest), layers(&app_manifest));
    assert_eq!(app_layers[..base_layers.len()], base_layers[..]);
    assert_eq!(app_layers.len(), base_layers.len() + 1);
    let config: Value = serde_json::from_slice(&blob(
        &sandbox.path("app-layout"),
        app_manifest["config"]["digest"].as_str().unwrap(),
    ))
    .unwrap();
    assert!(
        config["config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&"WHO=world".into())
    );
    assert_eq!(
        config["config"]["Cmd"][0], "serve",
        "what the base says stays"
    );
}

#[test]
fn dockerfile_path_and_context_are_honoured() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "project",
        [
            (
                "build/site.Dockerfile",
                b"FROM scratch\nCOPY page.html /\n".as_slice(),
            ),
            ("web/page.html", b"in the context\n"),
            ("page.html", b"outside of it\n"),
        ],
    );
    sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--dockerfile-path",
        "build/site.Dockerfile",
        "--context",
        "web",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ]);
    let layout = sandbox.path("layout");
    let (_, manifest) = manifest(&layout);
    assert_eq!(
        layer_files(&layout, &layers(&manifest)[0]),
        [("page.html".to_owned(), b"in the context\n".to_vec())]
    );
}

#[test]
fn an_ignore_file_of_ones_own_takes_the_place_of_the_default() {
    let sandbox = Sandbox::new();
    sandbox.files(
        "project",
        [
            ("Dockerfile", b"FROM scratch\nCOPY . /srv/\n".as_slice()),
            (".dockerignore", b"kept.txt\n"),
            (".shipignore", b"*.log\n.*ignore\nDockerfile.*\n"),
            ("kept.txt", b"kept\n"),
            ("noise.log", b"noise\n"),
        ],
    );
    sandbox.peak_json([
        "ship",
        "project",
        "--local",
        "--ignore-file",
        ".shipignore",
        "--to",
        "oci:layout",
        "-o",
        "json",
    ]);
    let layout = sandbox.path("layout");
    let (_, manifest) = manifest(&layout);
    let names: Vec<_> = layer_files(&layout, &layers(&manifest)[0])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["srv/Dockerfile", "srv/kept.txt"]);
}

#[test]
fn nothing_but_the_layout_is_left_beside_it() {
    let sandbox = Sandbox::new();
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
    let layout = sandbox.path("layout");
    let (_, manifest) = manifest(&layout);
    // oci-layout, index.json, the manifest, the config and one file a layer.
    let expected = 4 + layers(&manifest).len();
    let found = files_under(&layout);
    assert_eq!(found.len(), expected, "{found:?}");
    assert!(!layout.join(".peak-layout").exists());
}

#[test]
fn what_ship_writes_into_the_directory_does_not_become_part_of_it() {
    let sandbox = Sandbox::new();
    let project = sandbox.files(
        "project",
        [("Dockerfile", b"FROM scratch\nCOPY . /srv/\n".as_slice())],
    );
    let ship = || {
        let mut command = sandbox.command([
            "ship",
            ".",
            "--local",
            "--state-dir",
            ".state",
            "--to",
            "oci:out",
            "-o",
            "json",
        ]);
        let finished = crate::support::finish(command.current_dir(&project).spawn().unwrap());
        finished.assert_code(0);
        serde_json::from_str::<Value>(&finished.stdout).unwrap()["digest"].clone()
    };
    let first = ship();
    assert_eq!(first, ship());
    assert_eq!(first, ship());
    let (_, manifest) = manifest(&project.join("out"));
    let files = layer_files(&project.join("out"), &layers(&manifest)[0]);
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn local_means_the_embedded_platform_whatever_the_environment_says() {
    let sandbox = Sandbox::new();
    sandbox.project();
    for (name, value) in [
        ("PEAK_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("PEAK_ENDPOINT_URL", ""),
        ("PEAK__STAGE", "moon"),
        ("PEAK_AUTH_TOKEN", "secret"),
    ] {
        let child = sandbox
            .command(["ship", "project", "--local"])
            .env(name, value)
            .spawn()
            .unwrap();
        crate::support::finish(child).assert_code(0);
    }
    for settings in [
        "endpoint-url: http://127.0.0.1:9\n",
        "stage: test\n",
        "stage: moon\n",
        "endpoint-url: nonsense\n",
    ] {
        sandbox.files("", [("peak.yaml", settings.as_bytes())]);
        let with_file = ["--config", "peak.yaml", "ship", "project"];
        sandbox
            .peak(with_file.into_iter().chain(["--local"]))
            .assert_code(0);
        // Without the option it is the file that says where, and that is told where it is wrong.
        let elsewhere = sandbox.peak(with_file);
        assert_ne!(elsewhere.code, Some(0), "{settings}");
        if settings.contains("moon") || settings.contains("nonsense") {
            elsewhere.assert_code(2).assert_stderr("`peak.yaml`: ");
        }
    }
    sandbox
        .peak(["ship", "project", "--local", "--stage", "prod"])
        .assert_code(2)
        .assert_stderr("--local");
}

#[test]
fn the_options_of_a_build_reach_the_platform() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve();
    let shipped = sandbox.peak_json([
        "ship",
        "project",
        "--endpoint-url",
        &server.url,
        "--type",
        "webapp",
        "--no-use-cache",
        "--build-arguments",
        "A=1,2",
        "--build-arguments",
        "B=x=y",
        "--timeout",
        "100",
        "-o",
        "json",
    ]);
    let version = sandbox.peak_json([
        "images",
        "describe-version",
        "--image-id",
        &shipped["imageId"].to_string(),
        "--version-id",
        &shipped["versionId"].to_string(),
        "--endpoint-url",
        &server.url,
        "-o",
        "json",
    ]);
    assert_eq!(version["imageType"], "webapp");
    assert_eq!(version["buildDetails"]["useCache"], false);
    assert_eq!(
        version["buildDetails"]["buildArguments"],
        serde_json::json!([{"name": "A", "value": "1,2"}, {"name": "B", "value": "x=y"}])
    );
}

/// What stands between backquotes in an error and begins so.
fn command_in<'a>(error: &'a str, beginning: &str) -> Vec<&'a str> {
    let commands = error.split('`').filter(|part| part.starts_with(beginning));
    let [command] = commands.collect::<Vec<_>>()[..] else {
        panic!("not one command in {error}");
    };
    command.split(' ').skip(1).collect()
}

#[test]
fn a_copy_that_fails_ends_no_other_and_what_is_built_is_told() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--state-dir", "open"]);
    let closed = sandbox.serve_with(&["--state-dir", "closed", "--token", "open-sesame"]);
    let refused = format!("{}/site:1", closed.host());
    let with_copies = |more: &[&str]| {
        let arguments = ["ship", "project", "--endpoint-url", &server.url];
        sandbox.peak(arguments.iter().chain(more).copied())
    };

    let failed = with_copies(&["--to", &refused, "--to", "oci:layout"]);
    failed
        .assert_code(3)
        .assert_stderr("and copied to oci:layout")
        .assert_stderr(&format!("the copy to docker://{refused}: "));
    assert!(failed.stdout.is_empty(), "{}", failed.stdout);
    let (digest, _) = manifest(&sandbox.path("layout"));
    failed.assert_stderr(&format!(
        "`{}/project:0.0.1@{digest}` is built",
        server.host()
    ));

    // What it says is what brings the image there.
    let mut copy = sandbox.command(command_in(&failed.stderr, "peak registry copy"));
    copy.env("PEAK_ENDPOINT_URL", &closed.url)
        .env("PEAK_AUTH_TOKEN", "open-sesame");
    crate::support::finish(copy.spawn().unwrap()).assert_code(0);

    // The first failure is that of the command, and each is told.
    let both = with_copies(&["-o", "json", "--to", &refused, "--to", "127.0.0.1:9/site:1"]);
    both.assert_code(3);
    let error: Value = serde_json::from_str(both.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["kind"], "authentication");
    let hint = error["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("/project:0.0.2@sha256:"), "{hint}");
    assert!(
        hint.contains("the copy to docker://127.0.0.1:9/site:1 failed as well: "),
        "{hint}"
    );
}

#[test]
fn what_the_embedded_platform_has_built_is_copied_from_there_once_it_serves() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let failed = sandbox.peak(["ship", "project", "--local", "--to", "127.0.0.1:9/site:1"]);
    failed
        .assert_code(6)
        .assert_stderr("`project:0.0.1@sha256:")
        .assert_stderr("while `peak local serve` runs, ");
    let copy = command_in(&failed.stderr, "peak registry copy").join(" ");
    assert!(
        copy.contains(" 127.0.0.1:7325/project:0.0.1@sha256:"),
        "{copy}"
    );
    // Another port here, since that one may be taken.
    let server = sandbox.serve();
    let copy = copy
        .replace("127.0.0.1:7325", server.host())
        .replace("docker://127.0.0.1:9/site:1", "oci:layout");
    sandbox.peak(copy.split(' ')).assert_code(0);
    assert_eq!(manifest(&sandbox.path("layout")).1["schemaVersion"], 2);
}
