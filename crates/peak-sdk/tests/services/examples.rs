//! The programs in `examples/` of the repository, run as their users run them: with nothing set, where they bring a
//! platform or registry of their own, and against those of the test.
//!
//! `cargo test` builds them beside this test.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use peak_sdk::images::Existing;
use peak_sdk::layout::Directory;
use peak_sdk::oci::{Digest, Index, Mixing, Selector, validate};
use peak_sdk::registry::{Credentials, Registry, Repository};
use peak_sdk::registry_server::RegistryServer;
use peak_sdk::registry_server::auth::Auth;

use crate::support::{Bench, TOKEN};

/// Every example, and what it has to say with no arguments and an empty environment.
const EXAMPLES: [(&str, &[&str]); 8] = [
    (
        "credential_source",
        &[
            "1 tags\n",
            ": credentials from the mounted secret\n",
            "  1. the mounted secret answers as robot\n",
            "the password is another one now\n1 tags\n",
        ],
    ),
    (
        "follow_build",
        &[
            "| [1/3] FROM scratch",
            "| pushed hello:1.0.0 sha256:",
            "\nsuccess\n",
        ],
    ),
    (
        "progress",
        &["100 %  1048727 of 1048727 bytes\n", "\ncopied sha256:"],
    ),
    (
        "promote",
        &[
            "2 blobs copied, 0 mounted, 0 were there\n",
            "/production/app:1.0 is sha256:",
            " bytes verified\n",
        ],
    ),
    (
        "registry_in_a_test",
        &[
            "an image that is not there is not found\n",
            "an image has the bytes of its layers\n",
            "a password is needed, and taken\n",
        ],
    ),
    (
        "tower_layer",
        &[
            "1: GET /image-management/api/v2/images/ 200 OK after ",
            "\n0 images\n",
        ],
    ),
    (
        "upload_and_build",
        &[
            "packed 5 files into ",
            "\nuploaded as image 1, version 1\n",
            "\nbuilt: pull it from 127.0.0.1:",
            "/hello-web:0.0.1\n",
        ],
    ),
    (
        "watch_tags",
        &[
            "new    1.0 is sha256:",
            "new    latest is sha256:",
            "new    1.1 is sha256:",
            "moved  latest is sha256:",
        ],
    ),
];

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// An example, where cargo has put it: two directories up from this test, then `examples`. It is not older than its text.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(file);
    let changed = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let source = workspace().join("examples").join(format!("{name}.rs"));
    assert!(
        changed(&program).is_some_and(|built| Some(built) >= changed(&source)),
        "{} is not there, or old; `cargo test -p peak-sdk` builds it, `--test services` alone does not",
        program.display()
    );
    program
}

/// The command that starts an example where the repository is, with no environment but where temporary files go.
fn command(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(workspace()).args(arguments).env_clear();
    if let Some(directory) = std::env::var_os("TMPDIR") {
        command.env("TMPDIR", directory);
    }
    command.envs(variables.iter().copied());
    command
}

/// What an example prints; it must end well.
async fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = command(name, arguments, variables);
    // The servers of the test answer meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{printed}{errors}",
        output.status
    );
    printed
}

fn assert_says(name: &str, printed: &str, expected: &[&str]) {
    for text in expected {
        assert!(
            printed.contains(text),
            "{name} does not say {text:?}:\n{printed}"
        );
    }
}

#[test]
fn every_program_in_the_directory_is_tried_here() {
    let files = std::fs::read_dir(workspace().join("examples")).unwrap();
    let programs: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".rs").map(str::to_owned))
        .collect();
    let tried: BTreeSet<_> = EXAMPLES.map(|(name, _)| name.to_owned()).into();
    assert_eq!(programs, tried);
    let page = std::fs::read_to_string(workspace().join("docs/library.md")).unwrap();
    for name in &programs {
        let link = format!("/examples/{name}.rs)");
        assert!(page.contains(&link), "docs/library.md has no link {link}");
    }
}

#[tokio::test]
async fn every_program_runs_with_nothing_set() {
    for (name, expected) in EXAMPLES {
        let printed = run(name, &[], &[]).await;
        assert_says(name, &printed, expected);
    }
}

#[tokio::test]
async fn the_programs_for_the_platform_take_the_one_that_the_environment_names() {
    let bench = Bench::start().await;
    let endpoint = bench.platform.url();
    let platform = [
        ("PEAK_ENDPOINT_URL", endpoint.as_str()),
        ("PEAK_AUTH_TOKEN", TOKEN),
    ];
    let arguments = ["examples/hello-web", "team/site", "2.0.0"];
    let printed = run("upload_and_build", &arguments, &platform).await;
    let pull_url = format!("{}/team/site:2.0.0", bench.platform.address());
    assert_says(
        "upload_and_build",
        &printed,
        &[&format!("pull it from {pull_url}\n")],
    );
    let there = bench.images.look_up("team/site", Some("2.0.0")).await;
    assert!(matches!(there.unwrap(), Existing::Version(..)));

    let registry = Registry::builder()
        .credentials(
            &bench.platform.address().to_string(),
            Credentials::new("anybody", TOKEN.into()),
        )
        .build()
        .unwrap();
    let repository = registry.repository(&pull_url.parse().unwrap());
    let report = validate(&repository, None).await.unwrap();
    assert_eq!(report.manifests, 1);

    let printed = run("follow_build", &["team/site"], &platform).await;
    let pushed = report.root.digest.to_string();
    assert_says(
        "follow_build",
        &printed,
        &["FROM scratch", &pushed, "\nsuccess\n"],
    );
    let printed = run("tower_layer", &[], &platform).await;
    assert_says("tower_layer", &printed, &["1: GET ", "\n1 images\n"]);
    assert!(!printed.contains(TOKEN));
}

#[tokio::test]
async fn the_programs_for_registries_take_the_ones_that_they_are_told() {
    let (from, to) = (
        RegistryServer::in_memory().await.unwrap(),
        RegistryServer::in_memory().await.unwrap(),
    );
    let registry = Registry::builder().build().unwrap();
    let source = format!("{}/staging/app:rc", from.host());
    let digest = push(&registry.repository(&source.parse().unwrap()), "one", "rc").await;

    let promoted = format!("{}/production/app:1.0", to.host());
    let printed = run("promote", &[&source, &promoted], &[]).await;
    assert_says("promote", &printed, &[&format!("{promoted} is {digest}, ")]);
    let repository = registry.repository(&promoted.parse().unwrap());
    let tag = Selector::Tag("1.0".parse().unwrap());
    assert_eq!(repository.get_manifest_digest(&tag).await.unwrap(), digest);

    let scratch = tempfile::tempdir().unwrap();
    let layout = scratch.path().join("app");
    let place = format!("oci:{}", layout.display());
    let printed = run("progress", &[&promoted, &place], &[]).await;
    assert_says("progress", &printed, &[&format!("copied {digest}\n")]);
    let layout = Directory::open(&layout).unwrap();
    assert_eq!(validate(&layout, None).await.unwrap().root.digest, digest);

    let closed = RegistryServer::builder()
        .storage(to.store().clone())
        .auth(Auth::shared_secret("of this test"))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let file = scratch.path().join("password");
    std::fs::write(&file, "of this test\n").unwrap();
    let image = format!("{}/production/app", closed.host());
    let arguments = [&image, "robot", file.to_str().unwrap()];
    let printed = run("credential_source", &arguments, &[]).await;
    assert_says("credential_source", &printed, &["1 tags\n"]);
}

#[tokio::test]
async fn the_watcher_tells_of_each_tag_when_it_comes() {
    let server = RegistryServer::in_memory().await.unwrap();
    let image = format!("{}/team/app", server.host());
    let registry = Registry::builder().build().unwrap();
    let repository = registry.repository(&image.parse().unwrap());
    let mut digest = push(&repository, "one", "latest").await;

    let mut command = command("watch_tags", &[&image, "0.01"], &[]);
    let mut watcher = Watcher(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watcher.0.stdout.take().unwrap()).lines();
    for (expected, content, tag) in [
        ("new    latest is ", "two", "1.0"),
        ("new    1.0 is ", "three", "latest"),
        ("moved  latest is ", "three", "1.1"),
        ("new    1.1 is ", "", ""),
    ] {
        let line = tokio::task::spawn_blocking(move || (lines.next(), lines)).await;
        let (line, rest) = line.unwrap();
        lines = rest;
        let line = line.unwrap().unwrap();
        assert!(line.starts_with(&format!("{expected}{digest}")), "{line}");
        if !tag.is_empty() {
            digest = push(&repository, content, tag).await;
        }
    }
}

/// A program that goes on until it is ended.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts an index of no images, with something to tell it by, under a tag.
async fn push(to: &Repository, content: &str, tag: &str) -> Digest {
    let mut index = Index::create(Vec::new(), Mixing::Refuse).unwrap();
    index
        .annotations
        .insert("content".to_owned(), content.to_owned());
    let index = index.to_raw().unwrap();
    let tags = [tag.parse().unwrap()];
    to.upload_manifest(&index, &tags).await.unwrap();
    index.digest().clone()
}
