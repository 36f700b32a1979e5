//! Against Debian's `docker-registry` and with `skopeo`: what others serve, put and read.
//!
//! What is not installed skips its test, see [`peak_test_peers`].

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use peak_oci::{
    Descriptor, Digest, ImageManifest, Index, Manifest, MediaType, Platform, Raw, RepositoryName,
    Selector, Tag, validate,
};
use peak_registry::{Credentials, Registry, RegistryError, Repository};
use peak_registry_server::{Store, router};
use peak_test_peers::{DockerRegistry, TokenServer, has};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::script::tag;

/// A registry of others' or ours, on a port of its own, stopped when dropped.
pub(crate) struct Site {
    pub(crate) host: String,
    folder: TempDir,
    peer: Option<DockerRegistry>,
    _server: JoinSet<()>,
}

impl Site {
    /// `docker-registry`, open to everybody.
    pub(crate) fn docker() -> Self {
        Self::of(DockerRegistry::start())
    }

    fn of(peer: DockerRegistry) -> Self {
        Self {
            host: peer.address().to_string(),
            folder: tempfile::tempdir().unwrap(),
            peer: Some(peer),
            _server: JoinSet::new(),
        }
    }

    /// Kills a `docker-registry` and starts it again.
    pub(crate) fn restart(&mut self) {
        self.peer.as_mut().unwrap().restart();
    }

    /// The embedded registry.
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router(store)).await.unwrap() });
        Self {
            host,
            folder,
            peer: None,
            _server: server,
        }
    }

    pub(crate) fn repository(&self, name: &str) -> Repository {
        let registry = Registry::builder().build().unwrap();
        registry.repository(&format!("{}/{name}", self.host).parse().unwrap())
    }

    /// As `skopeo` names an image here.
    fn docker_name(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    /// As `skopeo` names an image in a layout of this site's own.
    fn layout_name(&self, name: &str) -> String {
        format!("oci:{}:v1", self.path(name).display())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

async fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo")
        .args(arguments)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

async fn copy(from: &str, to: &str, format: Option<&str>) {
    let mut arguments = vec!["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    arguments.extend(format.iter().flat_map(|format| ["--format", format]));
    arguments.extend([from, to]);
    skopeo(&arguments).await;
}

/// What `skopeo` sees under a name: the manifest's bytes, and the digest that it computes.
async fn inspected(name: &str) -> (Vec<u8>, String) {
    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", name]).await;
    let digest = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        name,
    ])
    .await;
    (raw, String::from_utf8(digest).unwrap().trim().to_owned())
}

/// A layer with one file: the tar under gzip, and the digest of the tar.
fn layer() -> (Bytes, Digest) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    tar.append_data(&mut header, "greeting", &b"hello\n"[..])
        .unwrap();
    let tar = tar.into_inner().unwrap();
    let digest = Digest::sha256_of(&tar);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar).unwrap();
    (gzip.finish().unwrap().into(), digest)
}

/// Puts an image's blobs and gives its manifest, of OCI or of Docker.
async fn image(
    repository: &Repository,
    architecture: &str,
    docker: bool,
) -> (Raw<Manifest>, Platform) {
    let (layer, diff_id) = layer();
    let platform = Platform::new("linux", architecture);
    // With a history, without which nothing becomes schema 1.
    let config = serde_json::json!({
        "created": "2026-11-21T00:00:00Z", "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "2026-11-21T00:00:00Z", "created_by": "COPY greeting /"}],
    });
    let config = Bytes::from(serde_json::to_vec(&config).unwrap());
    let (config_type, layer_type, manifest_type) = if docker {
        (
            MediaType::DOCKER_CONFIG,
            MediaType::DOCKER_LAYER_GZIP,
            MediaType::DOCKER_MANIFEST,
        )
    } else {
        (
            MediaType::OCI_CONFIG,
            MediaType::OCI_LAYER_GZIP,
            MediaType::OCI_MANIFEST,
        )
    };
    let layers = vec![Descriptor::of(layer_type, &layer)];
    let mut manifest = ImageManifest::new(Descriptor::of(config_type, &config), layers);
    manifest.media_type = manifest_type;
    repository.put_blob(layer).await.unwrap();
    repository.put_blob(config).await.unwrap();
    (manifest.to_raw().unwrap(), platform)
}

fn index_of(entries: &[(Raw<Manifest>, Platform)], docker: bool) -> Raw<Manifest> {
    let describe = |(manifest, platform): &(Raw<Manifest>, Platform)| {
        manifest.descriptor().with_platform(platform.clone())
    };
    let mut index = Index::new(entries.iter().map(describe).collect());
    if docker {
        index.media_type = MediaType::DOCKER_MANIFEST_LIST;
    }
    index.to_raw().unwrap()
}

/// The same digest of the same bytes. Of schema 1 those that are signed: `docker-registry` keeps only them, and signs
/// anew whenever it is asked.
#[track_caller]
fn assert_same(found: &Raw<Manifest>, expected: &Raw<Manifest>) {
    assert_eq!(found.digest(), expected.digest());
    assert_eq!(found.payload(), expected.payload());
    if found.value().as_schema1().is_none() {
        assert_eq!(found.bytes(), expected.bytes());
    }
}

fn parsed(raw: Vec<u8>) -> Raw<Manifest> {
    Manifest::parse(raw.into(), None).unwrap()
}

/// Puts a manifest under a tag, and has it back by tag and digest, with the bytes and the digest that it had.
async fn goes_round(repository: &Repository, manifest: &Raw<Manifest>, name: &str) {
    let tags: [Tag; 1] = [name.parse().unwrap()];
    repository.upload_manifest(manifest, &tags).await.unwrap();
    let by_digest = Selector::Digest(manifest.digest().clone());
    for selector in [tag(name), by_digest] {
        let found = repository.fetch_manifest(&selector).await.unwrap();
        assert_same(&found.manifest, manifest);
        assert_eq!(
            found.headers["content-type"],
            manifest.media_type().as_str()
        );
        let digest = repository.get_manifest_digest(&selector).await.unwrap();
        assert_eq!(digest, *manifest.digest());
        let one = repository
            .get_manifest_as(&selector, manifest.media_type())
            .await;
        assert_same(&one.unwrap(), manifest);
        assert!(repository.has_manifest(&selector).await.unwrap());
    }
}

async fn every_type_goes_round(site: &Site) {
    let repository = site.repository("team/app:v1");
    for docker in [false, true] {
        let mut images = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let (manifest, platform) = image(&repository, architecture, docker).await;
            goes_round(&repository, &manifest, architecture).await;
            images.push((manifest, platform));
        }
        goes_round(&repository, &index_of(&images, docker), "v1").await;
    }
    validate(&repository, None).await.unwrap();
}

#[tokio::test]
async fn every_type_of_manifest_comes_back_from_docker_registry_as_it_was() {
    if has("docker-registry") {
        every_type_goes_round(&Site::docker()).await;
    }
}

#[tokio::test]
async fn every_type_of_manifest_comes_back_from_the_embedded_registry_as_it_was() {
    every_type_goes_round(&Site::embedded().await).await;
}

/// What `skopeo` wrote in all formats that it has, we read as it does; and what we write again it reads again.
async fn skopeo_agrees(site: &Site, formats: &[&str]) {
    let repository = site.repository("team/app:v1");
    let (manifest, _) = image(&repository, "amd64", false).await;
    repository
        .upload_manifest(&manifest, &["v1".parse().unwrap()])
        .await
        .unwrap();
    let (from, layout) = (site.docker_name("team/app:v1"), site.layout_name("layout"));
    copy(&from, &layout, None).await;
    assert_eq!(inspected(&layout).await.1, manifest.digest().to_string());
    for format in formats {
        copy(
            &layout,
            &site.docker_name(&format!("team/app:{format}")),
            Some(format),
        )
        .await;
        let (raw, digest) = inspected(&site.docker_name(&format!("team/app:{format}"))).await;
        let found = repository.get_manifest(&tag(format)).await.unwrap();
        assert_same(&found, &parsed(raw));
        assert_eq!(found.digest().to_string(), digest, "{format}");
        assert_eq!(
            repository.get_manifest_digest(&tag(format)).await.unwrap(),
            *found.digest()
        );
        let expected = match *format {
            "v2s1" => MediaType::DOCKER_MANIFEST_V1_SIGNED,
            "v2s2" => MediaType::DOCKER_MANIFEST,
            _ => MediaType::OCI_MANIFEST,
        };
        assert_eq!(*found.media_type(), expected);
        if *format == "oci" {
            assert_eq!(found.bytes(), manifest.bytes());
        }
        // Gone and put again by us it is the same, and whole.
        repository.delete_manifest(found.digest()).await.unwrap();
        assert!(!repository.has_manifest(&tag(format)).await.unwrap());
        goes_round(&repository, &found, format).await;
        let (raw, again) = inspected(&site.docker_name(&format!("team/app:{format}"))).await;
        assert_same(&found, &parsed(raw));
        assert_eq!(again, digest);
        let of_format = site.repository(&format!("team/app:{format}"));
        validate(&of_format, None).await.unwrap();
        let back = site.layout_name(&format!("back-{format}"));
        copy(
            &site.docker_name(&format!("team/app:{format}")),
            &back,
            None,
        )
        .await;
        assert!(
            Path::new(&site.path(&format!("back-{format}")))
                .join("index.json")
                .exists()
        );
    }
}

#[tokio::test]
async fn skopeo_agrees_on_every_digest_in_docker_registry() {
    if has("skopeo") && has("docker-registry") {
        skopeo_agrees(&Site::docker(), &["v2s1", "v2s2", "oci"]).await;
    }
}

#[tokio::test]
async fn skopeo_agrees_on_every_digest_in_the_embedded_registry() {
    if has("skopeo") {
        skopeo_agrees(&Site::embedded().await, &["v2s1", "v2s2", "oci"]).await;
    }
}

#[tokio::test]
async fn an_index_that_we_put_is_copied_whole_by_skopeo_into_the_other_registry() {
    if !has("skopeo") || !has("docker-registry") {
        return;
    }
    let (docker, embedded) = (Site::docker(), Site::embedded().await);
    for (from, to) in [(&docker, &embedded), (&embedded, &docker)] {
        let repository = from.repository("here/app");
        let images = [
            image(&repository, "amd64", false).await,
            image(&repository, "arm64", false).await,
        ];
        for (manifest, _) in &images {
            repository.upload_manifest(manifest, &[]).await.unwrap();
        }
        let index = index_of(&images, false);
        repository
            .upload_manifest(&index, &["v1".parse().unwrap()])
            .await
            .unwrap();
        let (source, target) = (
            from.docker_name("here/app:v1"),
            to.docker_name("there/app:v1"),
        );
        skopeo(&[
            "copy",
            "--all",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &source,
            &target,
        ])
        .await;
        let copied = to.repository("there/app:v1");
        assert_eq!(
            copied.get_manifest(&tag("v1")).await.unwrap().bytes(),
            index.bytes()
        );
        validate(&copied, None).await.unwrap();
    }
}

#[tokio::test]
async fn unsigned_schema_1_is_refused_by_docker_registry_with_its_reason() {
    if !has("docker-registry") {
        return;
    }
    let site = Site::docker();
    let repository = site.repository("app");
    let (layer, _) = layer();
    let digest = repository.put_blob(layer).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 1, "name": "app", "tag": "v1", "architecture": "amd64",
        "fsLayers": [{"blobSum": digest}],
        "history": [{"v1Compatibility": "{\"id\":\"1\",\"architecture\":\"amd64\",\"os\":\"linux\"}"}],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let manifest = Manifest::parse(manifest.into(), None).unwrap();
    assert_eq!(*manifest.media_type(), MediaType::DOCKER_MANIFEST_V1);
    let error = repository
        .upload_manifest(&manifest, &["v1".parse().unwrap()])
        .await
        .unwrap_err();
    assert_eq!(error.codes(), ["MANIFEST_INVALID"], "{error}");
}

/// Lists, referrers and deletes, which both registries have.
async fn everything_else_works(site: &Site) -> Repository {
    let repository = site.repository("team/app");
    let (manifest, _) = image(&repository, "amd64", false).await;
    let tags: Vec<Tag> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
    repository.upload_manifest(&manifest, &tags).await.unwrap();
    let found: Vec<Tag> = repository
        .get_repository_tags()
        .try_collect()
        .await
        .unwrap();
    // Before version 3 `docker-registry` has them in no order.
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), tags.iter().collect());
    let registry = Registry::builder().build().unwrap();
    registry.ping(&site.host).await.unwrap();
    let names: Vec<RepositoryName> = registry.catalog(&site.host).try_collect().await.unwrap();
    assert_eq!(
        names.iter().map(RepositoryName::as_str).collect::<Vec<_>>(),
        ["team/app"]
    );

    let subject = manifest.digest();
    let signature = signature_of(&manifest, "one");
    let another = signature_of(&manifest, "another");
    repository
        .put_blob(Bytes::from_static(b"{}"))
        .await
        .unwrap();
    for referrer in [&signature, &another] {
        repository.upload_manifest(referrer, &[]).await.unwrap();
    }
    let wanted = "application/vnd.test.signature".parse().unwrap();
    let referrers = async |artifact_type: Option<&MediaType>| -> Vec<Digest> {
        let found: Vec<Descriptor> = repository
            .referrers(subject, artifact_type)
            .try_collect()
            .await
            .unwrap();
        let mut digests: Vec<_> = found.into_iter().map(|entry| entry.digest).collect();
        digests.sort();
        digests
    };
    let mut both = vec![signature.digest().clone(), another.digest().clone()];
    both.sort();
    assert_eq!(referrers(Some(&wanted)).await, both);
    assert_eq!(referrers(Some(&MediaType::OCI_LAYER)).await, []);
    repository
        .delete_manifest(signature.digest())
        .await
        .unwrap();
    assert_eq!(referrers(None).await, [another.digest().clone()]);
    repository.delete_manifest(another.digest()).await.unwrap();
    assert_eq!(referrers(None).await, []);

    repository.replace_tag(&tags[2]).await.unwrap();
    assert!(repository.has_manifest(&tag("a")).await.unwrap());
    assert!(!repository.has_manifest(&tag("c")).await.unwrap());
    repository.delete_manifest(manifest.digest()).await.unwrap();
    for name in ["a", "b"] {
        let error = repository.get_manifest(&tag(name)).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
    let blob = Digest::sha256_of(b"{}");
    assert_eq!(repository.get_blob(&blob, 2).await.unwrap(), "{}");
    repository
}

fn signature_of(subject: &Raw<Manifest>, by: &str) -> Raw<Manifest> {
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    let mut manifest = ImageManifest::new(config, Vec::new());
    manifest.artifact_type = Some("application/vnd.test.signature".parse().unwrap());
    manifest.subject = Some(subject.descriptor());
    manifest.annotations.insert("by".to_owned(), by.to_owned());
    manifest.to_raw().unwrap()
}

#[tokio::test]
async fn lists_referrers_and_deletes_work_with_docker_registry() {
    if !has("docker-registry") {
        return;
    }
    let site = Site::docker();
    let repository = everything_else_works(&site).await;
    let (manifest, _) = image(&repository, "amd64", false).await;
    let tags = ["x".parse().unwrap()];
    repository.upload_manifest(&manifest, &tags).await.unwrap();
    // Before version 3 it cannot, and its words for that are odd.
    let error = repository.delete_tag(&tags[0]).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::DeleteUnsupported { .. }),
        "{error}"
    );
    repository
        .delete_blob(&Digest::sha256_of(b"{}"))
        .await
        .unwrap();
    assert_eq!(
        repository
            .get_blob_size(&Digest::sha256_of(b"{}"))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn lists_referrers_and_deletes_work_with_the_embedded_registry() {
    let site = Site::embedded().await;
    let repository = everything_else_works(&site).await;
    let (manifest, _) = image(&repository, "amd64", false).await;
    let tags = ["x".parse().unwrap()];
    repository.upload_manifest(&manifest, &tags).await.unwrap();
    repository.delete_tag(&tags[0]).await.unwrap();
    assert!(!repository.has_manifest(&tag("x")).await.unwrap());
    assert!(
        repository
            .has_manifest(&manifest.digest().clone().into())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn docker_registry_with_basic_authentication_lets_in_whom_it_knows() {
    if !has("docker-registry") {
        return;
    }
    let site = Site::of(DockerRegistry::with_users(&[("robot", "secret")]));
    let registry = |secret: Option<&str>| {
        let mut builder = Registry::builder();
        if let Some(secret) = secret {
            builder = builder.credentials(&site.host, Credentials::new("robot", secret.into()));
        }
        builder.build().unwrap()
    };
    for secret in [None, Some("wrong")] {
        let registry = registry(secret);
        let error = registry.ping(&site.host).await.unwrap_err();
        assert!(error.is_authentication(), "{error}");
        let repository = registry.repository(&format!("{}/team/app", site.host).parse().unwrap());
        let error = repository
            .put_blob(Bytes::from_static(b"x"))
            .await
            .unwrap_err();
        assert!(error.is_authentication(), "{error}");
    }
    let registry = registry(Some("secret"));
    registry.ping(&site.host).await.unwrap();
    let repository = registry.repository(&format!("{}/team/app", site.host).parse().unwrap());
    let (manifest, _) = image(&repository, "amd64", false).await;
    goes_round(&repository, &manifest, "v1").await;
    let tags: Vec<Tag> = repository
        .get_repository_tags()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(tags.len(), 1);
    repository.delete_manifest(manifest.digest()).await.unwrap();
    assert!(!repository.has_manifest(&tag("v1")).await.unwrap());
}

#[tokio::test]
async fn docker_registry_behind_a_token_server_lets_in_whom_that_knows() {
    if !has("docker-registry") || !has("openssl") {
        return;
    }
    let tokens = TokenServer::start_with_anonymous_pulls("robot", "secret");
    let site = Site::of(DockerRegistry::with_tokens(&tokens));
    let repository = |secret: Option<&str>| {
        let mut builder = Registry::builder();
        if let Some(secret) = secret {
            builder = builder.credentials(&site.host, Credentials::new("robot", secret.into()));
        }
        let registry = builder.build().unwrap();
        registry.repository(&format!("{}/team/app", site.host).parse().unwrap())
    };
    let robot = repository(Some("secret"));
    let (manifest, _) = image(&robot, "amd64", false).await;
    goes_round(&robot, &manifest, "v1").await;

    // Nobody may read and not write; somebody else may do nothing.
    let nobody = repository(None);
    let found = nobody.get_manifest(&tag("v1")).await.unwrap();
    assert_same(&found, &manifest);
    let error = nobody.put_blob(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(error.is_authentication(), "{error}");
    let error = repository(Some("wrong"))
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(error.is_authentication(), "{error}");

    robot.delete_manifest(manifest.digest()).await.unwrap();
    assert!(!robot.has_manifest(&tag("v1")).await.unwrap());
    // One token for a scope, not one for a request.
    let asked = tokens.asked().len();
    for _ in 0..5 {
        assert!(!robot.has_manifest(&tag("v1")).await.unwrap());
    }
    assert_eq!(tokens.asked().len(), asked);
}
