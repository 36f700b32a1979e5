//! Builds on an Engine that is plugged in. This one is in memory, and does what the test says.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peak_local::{
    EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun, EngineUse, Platform,
    PlatformBuilder,
};
use peak_oci::content::{BlobRead, BoxFuture, ContentError, ContentErrorKind, Source};
use peak_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, Manifest, MediaType, Platform as OciPlatform,
    Raw, Selector,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::*;

const RUN: &str = "FROM scratch\nARG WHO\nRUN echo hello\n";
const ENGINE: &str = "Test Engine 1.0 in memory";

/// What the Engine does with a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Builds,
    /// There is none.
    Absent,
    /// It goes away in the middle.
    Dies,
    /// It works for ever.
    Hangs,
    /// A layer is not what its digest says.
    Lies,
    /// Nothing can be removed.
    Litters,
}

/// What was asked of the Engine.
#[derive(Debug, Default)]
struct Asked {
    connections: usize,
    builds: Vec<Order>,
    clean_ups: usize,
    dropped: usize,
}

/// A build that was ordered, with secrets in the clear.
#[derive(Debug, Clone)]
struct Order {
    files: BTreeMap<String, Vec<u8>>,
    dockerfile: String,
    arguments: Vec<(String, String)>,
    images: Vec<String>,
    other_images: Vec<String>,
    password: Option<String>,
}

impl Order {
    fn text(&self, path: &str) -> &str {
        std::str::from_utf8(&self.files[path]).unwrap()
    }
}

#[derive(Debug, Clone)]
struct TestEngine {
    mode: Mode,
    asked: Arc<Mutex<Asked>>,
}

impl TestEngine {
    fn new(mode: Mode) -> Self {
        let asked = Arc::default();
        Self { mode, asked }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap()
    }

    /// How many builds were dropped before their end, and how often was cleaned up.
    fn ends(&self) -> (usize, usize) {
        let asked = self.asked();
        (asked.dropped, asked.clean_ups)
    }

    fn only_build(&self) -> Order {
        let asked = self.asked();
        assert_eq!(asked.builds.len(), 1);
        asked.builds[0].clone()
    }
}

impl EngineBuilder for TestEngine {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn EngineRun>, EngineFailure>> {
        Box::pin(async move {
            self.asked().connections += 1;
            if self.mode == Mode::Absent {
                return Err(EngineFailure::new("nobody answers at unix:///nowhere.sock")
                    .with_source(io::Error::from(io::ErrorKind::NotFound)));
            }
            Ok(Box::new(self.clone()) as Box<dyn EngineRun>)
        })
    }
}

/// Notes that the build was dropped before its end.
struct Unfinished(Arc<Mutex<Asked>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped += 1;
    }
}

impl EngineRun for TestEngine {
    fn platform(&self) -> OciPlatform {
        OciPlatform::new("linux", "riscv64")
    }

    fn engine(&self) -> &str {
        ENGINE
    }

    fn build(
        &mut self,
        build: EngineBuild,
        log: EngineLog,
    ) -> BoxFuture<'_, Result<Box<dyn Source>, EngineFailure>> {
        Box::pin(async move {
            let tar: Vec<Bytes> = build
                .context
                .try_collect()
                .await
                .map_err(|error| EngineFailure::new("no context").with_source(error))?;
            let mut files = BTreeMap::new();
            let tar = tar.concat();
            for entry in tar::Archive::new(Cursor::new(tar)).entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.insert(path, bytes);
            }
            let order = Order {
                files,
                dockerfile: build.dockerfile,
                arguments: build
                    .arguments
                    .iter()
                    .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
                    .collect(),
                images: build.images,
                other_images: build.other_images,
                password: build
                    .registry_password
                    .map(|password| password.expose_secret().to_owned()),
            };
            let first = order
                .text(&order.dockerfile)
                .lines()
                .next()
                .unwrap()
                .to_owned();
            self.asked().builds.push(order);
            log.write(&format!("Step 1/2 : {first}"));
            log.write("\nhel");
            log.write("lo\n\u{1b}[31mred\n");
            match self.mode {
                Mode::Dies => Err(EngineFailure::new("the connection was closed")),
                Mode::Hangs => {
                    let _unfinished = Unfinished(Arc::clone(&self.asked));
                    log.line("working");
                    std::future::pending().await
                }
                mode => Ok(Box::new(BuiltImage::new(mode == Mode::Lies)) as Box<dyn Source>),
            }
        })
    }

    fn clean_up(&mut self) -> BoxFuture<'_, Result<(), EngineFailure>> {
        Box::pin(async move {
            self.asked().clean_ups += 1;
            if self.mode == Mode::Litters {
                return Err(EngineFailure::new("the image is in use"));
            }
            Ok(())
        })
    }
}

/// An image with one layer.
struct BuiltImage {
    manifest: Raw<Manifest>,
    blobs: Vec<(Digest, Bytes)>,
}

impl BuiltImage {
    fn new(wrong: bool) -> Self {
        let layer = Bytes::from(vec![7; 200_000]);
        let digest = Digest::sha256_of(&layer);
        let platform = OciPlatform::new("linux", "amd64");
        let config = ImageConfig::new(&platform, vec![digest.clone()]);
        let config = config.to_raw().unwrap();
        let manifest = ImageManifest::new(
            Descriptor::new(
                MediaType::OCI_CONFIG,
                config.digest().clone(),
                config.size(),
            ),
            vec![Descriptor::new(
                MediaType::OCI_LAYER,
                digest.clone(),
                layer.len() as u64,
            )],
        );
        let layer = if wrong {
            Bytes::from(vec![8; layer.len()])
        } else {
            layer
        };
        Self {
            manifest: manifest.to_raw().unwrap(),
            blobs: vec![
                (config.digest().clone(), config.bytes().clone()),
                (digest, layer),
            ],
        }
    }
}

impl Source for BuiltImage {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        assert!(selector.is_none());
        Box::pin(async move { Ok(self.manifest.clone()) })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        assert_eq!(offset, 0);
        Box::pin(async move {
            let (_, bytes) = self
                .blobs
                .iter()
                .find(|(digest, _)| *digest == descriptor.digest)
                .ok_or_else(|| ContentError::new(ContentErrorKind::NotFound, "no such blob"))?;
            let pieces: Vec<_> = bytes
                .chunks(30_000)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            Ok(BlobRead::new(
                0,
                Some(bytes.len() as u64),
                stream::iter(pieces).boxed(),
            ))
        })
    }
}

fn with_engine(state: &Path, engine: &TestEngine, when: EngineUse) -> PlatformBuilder {
    Platform::builder()
        .state_dir(state)
        .engine(Arc::new(engine.clone()), when)
}

/// Builds, and gives how it ended and the log.
async fn build(platform: &Platform, form: Form) -> (String, Vec<String>) {
    let made = submit(platform, "POST", "/images/", form).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    let (end, lines) = follow(platform, &made["imageId"], &made["buildId"]).await;
    (end["buildStatus"].as_str().unwrap().to_owned(), lines)
}

#[tokio::test]
async fn an_engine_builds_what_the_embedded_builder_refuses() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Builds);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let zip = archive([
        (
            "sub/Dockerfile",
            b"FROM scratch\nARG WHO\nARG TARGETARCH\nRUN echo\n",
        ),
        ("sub/page.html", b"page"),
        ("outside.txt", b"outside"),
    ]);
    let details = json!({
        "dockerfilePath": "sub/Dockerfile", "context": "sub", "useCache": false,
        "buildArguments": [
            {"name": "WHO", "value": "first"},
            {"name": "WHO", "value": "s3cret-value"},
        ],
    });
    let form = Form::default()
        .text("name", "app")
        .text("type", "webapp")
        .json("buildDetails", &details)
        .artifact(&zip);
    let (status, lines) = build(&platform, form).await;
    assert_eq!(status, "success", "{lines:?}");

    let manifest = BuiltImage::new(false).manifest;
    let pushed = format!("pushed app:0.0.1 {}", manifest.digest());
    let expected = [
        "Dockerfile line 4: RUN: the embedded builder runs no commands; a Docker Engine would run this line",
        &format!("building with {ENGINE}"),
        "Step 1/2 : FROM scratch",
        "hello",
        "\u{fffd}[31mred",
        &format!("taking the image from {ENGINE}"),
    ];
    assert_eq!(lines[1..7], expected);
    assert_eq!(*lines.last().unwrap(), pushed);
    assert!(!lines.concat().contains("s3cret-value"), "{lines:?}");

    let order = engine.only_build();
    assert_eq!(order.dockerfile, "Dockerfile");
    let names: Vec<&str> = order.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["Dockerfile", "page.html"]);
    assert_eq!(order.text("page.html"), "page");
    let argument = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        order.arguments,
        [
            argument("WHO", "s3cret-value"),
            argument("TARGETARCH", "riscv64")
        ]
    );
    assert!(order.images.is_empty() && order.password.is_none());
    assert_eq!(engine.asked().clean_ups, 1);

    // Byte for byte what the Engine gave.
    let address = platform.address();
    let served = send(address, "GET", "/v2/app/manifests/0.0.1", &[], b"").await;
    assert_eq!(served.body, *manifest.bytes());
    let layer = Digest::sha256_of(&vec![7; 200_000]);
    let served = send(address, "GET", &format!("/v2/app/blobs/{layer}"), &[], b"").await;
    assert_eq!(served.body, vec![7; 200_000]);
    platform.shutdown().await;
    assert_eq!(files_in(&state.path().join("builds")), 0);
}

#[tokio::test]
async fn nobody_looks_for_an_engine_where_none_is_needed() {
    let form = || from_text("app", "FROM scratch\nENV A=b\nWORKDIR /srv\n");
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = TestEngine::new(Mode::Builds);
    let with = with_engine(first.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let without = start(second.path()).await;
    let (status, lines) = build(&with, form()).await;
    assert_eq!(status, "success", "{lines:?}");
    assert_eq!(lines[0], "building with the embedded builder");
    assert_eq!(engine.asked().connections, 0);
    let (_, plain) = build(&without, form()).await;
    assert_eq!(lines, plain, "the same steps and digests");
    with.shutdown().await;
    without.shutdown().await;
}

#[tokio::test]
async fn all_builds_go_to_the_engine_where_that_is_wanted() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Builds);
    let platform = with_engine(state.path(), &engine, EngineUse::Always)
        .start()
        .await
        .unwrap();
    let (status, lines) = build(&platform, from_text("app", "FROM scratch\nENV A=b\n")).await;
    assert_eq!(status, "success", "{lines:?}");
    assert_eq!(lines[0], format!("building with {ENGINE}"));
    let order = engine.only_build();
    assert_eq!(order.text(&order.dockerfile), "FROM scratch\nENV A=b\n");
    platform.shutdown().await;
}

#[tokio::test]
async fn what_an_engine_may_do_goes_there_and_mistakes_do_not() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Builds);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let ours = format!("FROM {}/absent:1\n", platform.address());
    for (number, (dockerfile, goes)) in [
        ("FROM scratch\nRUN true\n", true),
        (
            "FROM scratch\nCOPY --chown=www-data:www-data . /srv/\n",
            true,
        ),
        ("FROM scratch\nADD https://example.com/x /x\n", true),
        ("FROM scratch\nADD a.tar.xz /x\n", true),
        ("FROM scratch\nONBUILD RUN true\n", true),
        ("FROM scratch\nCOPY --parents a /x\n", true),
        ("FROM debian:12\n", true),
        ("FROM quay.io/team/app:1\nENV A=b\n", true),
        ("FROM scratch\nCOPY --from=debian:12 /etc/hosts /\n", true),
        // Only a stage that nobody needs has it.
        (
            "FROM scratch AS other\nRUN true\nFROM scratch\nENV A=b\n",
            false,
        ),
        ("FROM scratch\nCOPY absent /x\n", false),
        ("FROM scratch\nCOPY ../x /x\n", false),
        ("FROM scratch\nEXPOSE nothing\n", false),
        ("FROM scratch\nNOTHING\n", false),
        // Nobody else has what this registry does not have.
        (&ours, false),
    ]
    .into_iter()
    .enumerate()
    {
        let zip = archive([
            ("Dockerfile", dockerfile.as_bytes()),
            ("a.tar.xz", b"\xfd7zXZ\0\0\x04"),
            ("a", b"a"),
        ]);
        let form = Form::default()
            .text("name", &format!("app{number}"))
            .text("type", "webapp")
            .json("buildDetails", &json!({}))
            .artifact(&zip);
        let before = engine.asked().connections;
        let (_, lines) = build(&platform, form).await;
        assert_eq!(
            engine.asked().connections - before,
            usize::from(goes),
            "{dockerfile}: {lines:?}"
        );
    }
    platform.shutdown().await;
}

#[tokio::test]
async fn without_an_engine_the_log_says_what_was_tried() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Absent);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let (status, lines) = build(&platform, from_text("app", RUN)).await;
    assert_eq!(status, "failed");
    let last = lines.last().unwrap();
    for words in [
        "the build failed: Dockerfile line 3: RUN: ",
        "no Docker Engine can be used: nobody answers at unix:///nowhere.sock: ",
    ] {
        assert!(last.contains(words), "{last}");
    }
    assert_eq!(engine.asked().clean_ups, 0);
    platform.shutdown().await;
}

#[tokio::test]
async fn a_failure_of_the_engine_fails_the_build_and_nothing_is_visible() {
    for (mode, words) in [
        (
            Mode::Dies,
            "Test Engine 1.0 in memory did not build the image: the connection was closed",
        ),
        (
            Mode::Lies,
            "could not write a layer to the embedded registry",
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let engine = TestEngine::new(mode);
        let platform = with_engine(state.path(), &engine, EngineUse::Auto)
            .start()
            .await
            .unwrap();
        let (status, lines) = build(&platform, from_text("app", RUN)).await;
        assert_eq!(status, "failed");
        assert!(lines.last().unwrap().contains(words), "{lines:?}");
        assert!(lines.contains(&"hello".to_owned()), "{lines:?}");
        assert_eq!(engine.asked().clean_ups, 1);
        assert_eq!(manifest_status(&platform, "app", "0.0.1").await, 404);
        platform.shutdown().await;
    }
}

#[tokio::test]
async fn what_stays_in_the_engine_is_said_and_fails_no_build() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Litters);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let (status, lines) = build(&platform, from_text("app", RUN)).await;
    assert_eq!(status, "success");
    let warning = format!(
        "warning: what the build left in {ENGINE} could not be removed: the image is in use"
    );
    assert!(lines.contains(&warning), "{lines:?}");
    platform.shutdown().await;
}

#[tokio::test]
async fn an_engine_has_only_so_much_time() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Hangs);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .engine_time_limit(Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    let (status, lines) = build(&platform, from_text("app", RUN)).await;
    assert_eq!(status, "failed");
    assert!(
        lines.last().unwrap().contains("all the time it had"),
        "{lines:?}"
    );
    assert_eq!(engine.ends(), (1, 1));
    platform.shutdown().await;
}

#[tokio::test]
async fn the_end_of_the_platform_stops_the_engine_and_cleans_up() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Hangs);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .start()
        .await
        .unwrap();
    let made = submit(&platform, "POST", "/images/", from_text("app", RUN)).await;
    let made = made.json();
    let logs = format!(
        "/images/{}/builds/{}/logs",
        made["imageId"], made["buildId"]
    );
    eventually(async || {
        let page = get(&platform, &logs).await.json();
        page.to_string().contains("working").then_some(())
    })
    .await;
    platform.shutdown().await;
    assert_eq!(engine.ends(), (1, 1));

    let platform = start(state.path()).await;
    let page = get(&platform, &logs).await.json();
    assert_eq!(page["buildStatus"], "failed");
    assert!(
        page.to_string().contains("the platform was shut down"),
        "{page}"
    );
    platform.shutdown().await;
}

#[tokio::test]
async fn images_of_the_embedded_registry_are_named_so_that_an_engine_finds_them() {
    let state = tempfile::tempdir().unwrap();
    let engine = TestEngine::new(Mode::Builds);
    let platform = with_engine(state.path(), &engine, EngineUse::Auto)
        .token(Some("open-sesame".into()))
        .start()
        .await
        .unwrap();
    let address = platform.address();
    let build = async |form: Form| {
        let body = form.finish();
        let length = body.len().to_string();
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let token = ("Authorization", "open-sesame");
        let headers = [
            ("Content-Type", kind.as_str()),
            ("Content-Length", &length),
            token,
        ];
        let target = format!("{API}/images/");
        let made = send(address, "POST", &target, &headers, &body).await.json();
        let target = format!(
            "{API}/images/{}/builds/{}/logs",
            made["imageId"], made["buildId"]
        );
        eventually(async || {
            let page = send(address, "GET", &target, &[token], b"").await.json();
            (page["buildStatus"] != "building").then_some(page)
        })
        .await
    };
    let base = build(from_text("team/base", "FROM scratch\nENV A=b\n")).await;
    let log = base["logs"].as_array().unwrap();
    let pushed = log.last().unwrap()["message"].as_str().unwrap().to_owned();
    let digest = pushed.strip_prefix("pushed team/base:0.0.1 ").unwrap();

    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS one\nFROM debian:12\nCOPY --from={address}/team/base:0.0.1 /x /y\nCOPY --from=one /x /z\nRUN true\n"
    );
    let zip = archive([
        ("Dockerfile", dockerfile.as_bytes()),
        (".dockerignore", b"*.log"),
    ]);
    let details = json!({"buildArguments": [{"name": "BASE", "value": "team/base:0.0.1"}]});
    let form = Form::default()
        .text("name", "app")
        .text("type", "webapp")
        .json("buildDetails", &details)
        .artifact(&zip);
    let page = build(form).await;
    assert_eq!(page["buildStatus"], "success", "{page}");

    let order = engine.only_build();
    let reference = format!("{address}/team/base@{digest}");
    assert_eq!(order.images, [reference.as_str()]);
    assert_eq!(order.other_images, ["debian:12"]);
    assert_eq!(order.password.as_deref(), Some("open-sesame"));
    assert_eq!(
        order.text(&order.dockerfile),
        format!(
            "ARG BASE\nFROM {reference} AS one\nFROM debian:12\nCOPY --from={reference} /x /y\nCOPY --from=one /x /z\nRUN true\n"
        )
    );
    // What was added is not for `COPY`, and what was there is as it was.
    assert_eq!(order.text("Dockerfile"), dockerfile);
    assert_eq!(
        order.text(".dockerignore"),
        format!("*.log\n{}\n", order.dockerfile)
    );
    assert_eq!(order.files.len(), 3);
    platform.shutdown().await;
}
