//! Everything for container images and Peak artifacts behind one dependency.
//!
//! This facade has no logic of its own: each crate of the family stands here as a module, switched on by a feature. Who
//! needs one part may as well depend on its crate. What a module can do beyond the examples here, its own front page says.
//!
//! | module and feature | what it is for | example |
//! |---|---|---|
//! | [`artifacts`] * | Peak Artifacts: versioned archives of files | [below](#peak-artifacts) |
//! | [`images`] * | Peak Images: images, versions, builds and their logs | [below](#peak-images) |
//! | [`pack`] * | a directory as a zip, the same bytes for the same files | [below](#a-directory-as-an-artifact) |
//! | [`platform`] * | the session with the platform that both clients share | [below](#the-embedded-platform) |
//! | [`models`] * | what the platform's API sends and takes | |
//! | [`registry`] * | any OCI or Docker registry | [below](#a-registry) |
//! | [`transfer`] * | images from anywhere to anywhere, verified; mirrors of repositories | [below](#copies-of-images) |
//! | [`layout`] * | images on disk: OCI layouts, OCI and Docker archives | [below](#images-on-disk) |
//! | [`oci`] * | references, digests, manifests, configs; no input or output | [below](#names-and-manifests) |
//! | [`docker`] * | the Docker Engine, and Podman | [below](#the-docker-engine) |
//! | [`http`] * | the HTTP client below all of them | [below](#the-http-client) |
//! | [`apolo`] | images of the Apolo platform | [below](#apolo-images) |
//! | [`local`] | the embedded Peak platform: API, builder and registry | [below](#the-embedded-platform) |
//! | [`registry_server`], feature `registry-server` | the embedded registry | [below](#the-embedded-registry) |
//!
//! Modules with a star are there by default: the features `artifacts`, `images`, `registry` and `transfer` are on and
//! switch on what they stand on. `full` is all of them. `fast-digests` computes digests by AWS-LC, which needs a C compiler
//! to build; it comes with `http` and `registry-server`, where TLS needs AWS-LC anyway, and has to be asked for only where
//! `oci` or `layout` is wanted alone.
//!
//! ```toml
//! [dependencies]
//! peak-sdk = "0.1"                                                                     # the clients
//! # peak-sdk = { version = "0.1", default-features = false, features = ["registry"] }  # one of them
//!
//! [dev-dependencies]
//! peak-sdk = { version = "0.1", features = ["local"] }                                 # and the platform, for tests
//! ```
//!
//! Each example here runs as a test, on an embedded platform or registry, but for the one that needs a Docker Engine.
//! Whole programs to begin with are in `examples/` of the repository: upload and build, follow a build, promote an image,
//! watch a repository for new tags, a registry in a test, a tower layer, a credential source, and progress.
//!
//! The clients are async, need a Tokio runtime and are cheap to clone. Dropping a future gives the operation up: no
//! half-written file or image is left, but what was sent already may still happen. Each module has its own type of errors,
//! with their causes.
//!
//! # The embedded platform
//!
//! Feature `local`. The Peak platform on a port of this process, for tests and for work without an account. A
//! [`Session`](platform::Session) leads the clients to it; `Session::from_environment()` leads to the real one, by
//! `PEAK_AUTH_TOKEN` and `PEAK__STAGE`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! use peak_sdk::local::Platform;
//! use peak_sdk::platform::Session;
//!
//! let platform = Platform::builder().state_dir(scratch.path().join("platform")).start().await?;
//! let session = Session::builder().endpoint(platform.url()).without_token().build()?;
//!
//! println!("the API and the registry are at {}", platform.address());
//! // … what the examples below do with `session` …
//! platform.shutdown().await;
//! # assert!(session.endpoint().is_loopback());
//! # Ok(())
//! # }
//! ```
//!
//! # Peak Images
//!
//! Feature `images`. Creates the image, or a version of it, or builds the version again, whichever it takes; then waits for
//! the build. `follow_build_logs` gives the log line by line meanwhile.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let state = scratch.path().join("platform");
//! # let platform = peak_sdk::local::Platform::builder().state_dir(state).start().await?;
//! # let session = peak_sdk::platform::Session::builder().endpoint(platform.url()).without_token().build()?;
//! # let project = scratch.path().join("project");
//! # std::fs::create_dir_all(&project)?;
//! # std::fs::write(project.join("Dockerfile"), "FROM scratch\nCOPY index.html /srv/\nCMD [\"/serve\"]\n")?;
//! # std::fs::write(project.join("index.html"), "<h1>hello</h1>\n")?;
//! # std::fs::write(project.join("debug.log"), "noise\n")?;
//! # std::fs::write(project.join(".dockerignore"), "*.log\n")?;
//! # let zip = scratch.path().join("artifact.zip");
//! # peak_sdk::pack::pack_to_file(&project, &peak_sdk::pack::PackOptions::new(), &zip)?;
//! use peak_sdk::images::{Artifact, CreateImage, FollowOptions, Images, Upload, models::ImageType};
//!
//! let images = Images::new(session);
//! // A zip as `pack` makes it.
//! let upload = Upload::new(Artifact::file(&zip)?);
//! let image = CreateImage::new("hello-web", ImageType::Webapp, upload).version("1.0.0");
//! let made = images.create_or_update_image_version(&image).await?;
//! let build = made.build_id.ok_or("no build has begun")?;
//! let ended = images.wait_for_build(&made.image_id, &build, FollowOptions::new()).await?;
//! assert!(ended.is_success());
//! # Ok(())
//! # }
//! ```
//!
//! # Peak Artifacts
//!
//! Feature `artifacts`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let state = scratch.path().join("platform");
//! # let platform = peak_sdk::local::Platform::builder().state_dir(state).start().await?;
//! # let session = peak_sdk::platform::Session::builder().endpoint(platform.url()).without_token().build()?;
//! # let project = scratch.path().join("project");
//! # std::fs::create_dir_all(&project)?;
//! # std::fs::write(project.join("Dockerfile"), "FROM scratch\nCOPY index.html /srv/\nCMD [\"/serve\"]\n")?;
//! # std::fs::write(project.join("index.html"), "<h1>hello</h1>\n")?;
//! # std::fs::write(project.join("debug.log"), "noise\n")?;
//! # std::fs::write(project.join(".dockerignore"), "*.log\n")?;
//! # let zip = scratch.path().join("artifact.zip");
//! # peak_sdk::pack::pack_to_file(&project, &peak_sdk::pack::PackOptions::new(), &zip)?;
//! use peak_sdk::artifacts::{Artifact, Artifacts, CreateArtifact};
//!
//! let artifacts = Artifacts::new(session);
//! let artifact = CreateArtifact::new("hello-web", Artifact::file(&zip)?).description("the page");
//! let made = artifacts.create_artifact(&artifact).await?;
//!
//! let id = made.id.ok_or("the artifact has no id")?;
//! let target = scratch.path().join("latest.zip");
//! let saved = artifacts.download_artifact(&id, None, &target).await?;
//! assert_eq!(std::fs::read(saved.path)?, std::fs::read(&zip)?);
//! # Ok(())
//! # }
//! ```
//!
//! # A directory as an artifact
//!
//! Feature `pack`, on with `images` and `artifacts`. It blocks: in async code it belongs into `spawn_blocking`.
//!
//! ```
//! # let scratch = tempfile::tempdir()?;
//! # let project = scratch.path().join("project");
//! # std::fs::create_dir_all(&project)?;
//! # std::fs::write(project.join("Dockerfile"), "FROM scratch\nCOPY index.html /srv/\nCMD [\"/serve\"]\n")?;
//! # std::fs::write(project.join("index.html"), "<h1>hello</h1>\n")?;
//! # std::fs::write(project.join("debug.log"), "noise\n")?;
//! # std::fs::write(project.join(".dockerignore"), "*.log\n")?;
//! use peak_sdk::pack::{PackOptions, pack_to_file, scan, tree};
//!
//! // What would go in, after `.dockerignore`.
//! let files = scan(&project, &PackOptions::new())?;
//! println!("{}", tree(&files));
//! # assert!(files.files.iter().all(|file| file.path != "debug.log"));
//!
//! let archive = pack_to_file(&project, &PackOptions::new(), &scratch.path().join("artifact.zip"))?;
//! println!("{} files, {} bytes", archive.files.files.len(), archive.size);
//! # assert_eq!(archive.files.files.len(), files.files.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A registry
//!
//! Feature `registry`. Without credentials access is anonymous; `Keychain::from_environment()` has those of `docker login`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = peak_sdk::registry_server::RegistryServer::in_memory().await?;
//! # let index = peak_sdk::oci::Index::create(Vec::new(), peak_sdk::oci::Mixing::Refuse)?;
//! # let image: peak_sdk::oci::Reference = format!("{}/acme/web/app:v1", server.host()).parse()?;
//! # let registry = peak_sdk::registry::Registry::builder().build()?;
//! # registry.repository(&image).upload_manifest(&index.to_raw()?, &["v1".parse()?]).await?;
//! use futures_util::TryStreamExt;
//! use peak_sdk::registry::Registry;
//!
//! let registry = Registry::builder().build()?; // .keychain(Keychain::from_environment())
//! let repository = registry.repository(&image); // "registry.example/team/app:v1".parse()?
//!
//! let digest = repository.get_manifest_digest(&image.selector_or_latest()).await?;
//! let manifest = repository.get_manifest(&digest.into()).await?;
//! println!("{} {}", manifest.media_type(), manifest.digest());
//!
//! let tags: Vec<_> = repository.get_repository_tags().try_collect().await?;
//! assert_eq!(tags, ["v1".parse()?]);
//! # Ok(())
//! # }
//! ```
//!
//! # Copies of images
//!
//! Feature `transfer`. Every blob is hashed where it is written, the digest stays the same, and the image becomes visible
//! last. `Transfer` copies many images in one run, `mirror` keeps repositories the same.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let server = peak_sdk::registry_server::RegistryServer::in_memory().await?;
//! # let index = peak_sdk::oci::Index::create(Vec::new(), peak_sdk::oci::Mixing::Refuse)?;
//! # let image: peak_sdk::oci::Reference = format!("{}/acme/web/app:v1", server.host()).parse()?;
//! # let registry = peak_sdk::registry::Registry::builder().build()?;
//! # registry.repository(&image).upload_manifest(&index.to_raw()?, &["v1".parse()?]).await?;
//! use peak_sdk::transfer::{CopyOptions, Target, copy};
//!
//! let from: Target = format!("docker://{image}").parse()?;
//! let to: Target = format!("oci:{}:v1", scratch.path().join("app").display()).parse()?;
//!
//! let (source, selector) = from.open_source(&registry)?;
//! let (sink, placement) = to.open_sink(&registry)?;
//! let options = CopyOptions::new().progress(|event| println!("{event:?}"));
//! let report = copy(source.as_ref(), selector.as_ref(), sink.as_ref(), placement, &options).await?;
//! println!("copied {}", report.digest);
//! # assert_eq!(report.digest, *index.to_raw()?.digest());
//! # Ok(())
//! # }
//! ```
//!
//! # Images on disk
//!
//! Feature `layout`. A layout, an archive and a repository are all a [`Source`](oci::Source), a [`Sink`](oci::Sink), or both.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! use peak_sdk::layout::Directory;
//! use peak_sdk::oci::{Index, Mixing, Placement, Selector, Sink, Source, validate};
//!
//! let layout = Directory::create(&scratch.path().join("app"))?;
//! let index = Index::create(Vec::new(), Mixing::Refuse)?.to_raw()?;
//! let placement = Placement::Root { tag: Some("v1".parse()?) };
//! layout.put_manifest(&index, &placement).await?;
//!
//! // Reads all of it, and checks every digest.
//! let report = validate(&layout, Some(&Selector::Tag("v1".parse()?))).await?;
//! assert_eq!(report.root.digest, *index.digest());
//! # assert_eq!(layout.manifest(None).await?.digest(), index.digest());
//! # Ok(())
//! # }
//! ```
//!
//! # Names and manifests
//!
//! Feature `oci`. Pure: no input, no output, no runtime.
//!
//! ```
//! use peak_sdk::oci::{Digest, Manifest, Reference};
//!
//! let image: Reference = "ubuntu:24.04".parse()?;
//! assert_eq!(image.registry(), "docker.io");
//! assert_eq!(image.repository().as_str(), "library/ubuntu");
//!
//! // A manifest is its bytes, and so has their digest.
//! let bytes = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
//! let manifest = Manifest::parse(bytes.as_slice().into(), None)?;
//! assert_eq!(*manifest.digest(), Digest::sha256_of(bytes));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The embedded registry
//!
//! Feature `registry-server`. In memory for a test, or on disk with TLS, users and rules for a small site.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! use peak_sdk::registry::Registry;
//! use peak_sdk::registry_server::{RegistryServer, Store};
//!
//! let server = RegistryServer::in_memory().await?;
//! println!("docker push {}/my/image:1", server.host());
//! Registry::builder().build()?.ping(&server.host()).await?;
//! server.shutdown().await;
//!
//! let store = Store::open(&scratch.path().join("registry"))?;
//! let server = RegistryServer::builder().storage(store).bind("127.0.0.1:0").await?;
//! # server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Apolo images
//!
//! Feature `apolo`. Names as the Apolo platform writes them; push and pull through a Docker Engine or without one.
//! `Config::from_environment()` has the clusters and the token of `APOLO_…`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = peak_sdk::registry_server::RegistryServer::in_memory().await?;
//! # let index = peak_sdk::oci::Index::create(Vec::new(), peak_sdk::oci::Mixing::Refuse)?;
//! # let image: peak_sdk::oci::Reference = format!("{}/acme/web/app:v1", server.host()).parse()?;
//! # let registry = peak_sdk::registry::Registry::builder().build()?;
//! # registry.repository(&image).upload_manifest(&index.to_raw()?, &["v1".parse()?]).await?;
//! use peak_sdk::apolo::{Clusters, Config, Images};
//!
//! let clusters = Clusters::builder("main")
//!     .cluster("main", server.url()) // "https://registry.apolo.example"
//!     .default_org("acme")
//!     .default_project("web")
//!     .build()?;
//! let images = Images::builder(Config::new(clusters).credentials("me", "token".into())).build()?;
//!
//! let remote = images.clusters().parse_remote("image:app:v1")?;
//! assert_eq!(remote.to_string(), "image://main/acme/web/app:v1");
//! println!("{remote} is {}", images.digest(&remote).await?);
//! # Ok(())
//! # }
//! ```
//!
//! # The Docker Engine
//!
//! Feature `docker`. This one is not run as a test, since it needs an Engine.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use peak_sdk::docker::{Engine, EngineConfig};
//!
//! // Where the `docker` command would find it.
//! let engine = Engine::new(EngineConfig::from_environment()?);
//! let image = engine.inspect("app:v1").await?;
//! println!("{} has {} layers", image.id, image.root_fs.layers.len());
//!
//! let remote = "registry.example/team/app:v1".parse()?;
//! engine.tag("app:v1", &remote).await?;
//! let pushed = engine.push(&remote, None, |event| println!("{event:?}")).await?;
//! println!("{:?}", pushed.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # The HTTP client
//!
//! Feature `http`. Deadlines, retries, redirects, proxies and TLS, the same for all clients above: give its builder to
//! `SessionBuilder::client_options`. A tower layer takes part in each request, in those to registries too
//! (`RegistryBuilder::layer`), and a tower service can stand in the place of the network (`Client::from_service`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = peak_sdk::registry_server::RegistryServer::in_memory().await?;
//! use std::time::Duration;
//!
//! use http::Request;
//! use peak_sdk::http::{Body, Client, RequestBuilderExt};
//! use tower::util::MapRequestLayer;
//!
//! let client = Client::builder()
//!     .deadline(Duration::from_secs(30))
//!     .layer(MapRequestLayer::new(|mut request: Request<Body>| {
//!         request.headers_mut().insert("x-team", http::HeaderValue::from_static("payments"));
//!         request
//!     }))
//!     .build()?;
//! let health = Request::get(format!("{}/healthz", server.url())).without_body()?;
//! assert_eq!(client.send(health).await?.status(), 200);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "apolo")]
pub use peak_apolo as apolo;
#[cfg(feature = "artifacts")]
pub use peak_artifacts as artifacts;
#[cfg(feature = "docker")]
pub use peak_docker as docker;
#[cfg(feature = "http")]
pub use peak_http as http;
#[cfg(feature = "images")]
pub use peak_images as images;
#[cfg(feature = "layout")]
pub use peak_layout as layout;
#[cfg(feature = "local")]
pub use peak_local as local;
#[cfg(feature = "models")]
pub use peak_models as models;
#[cfg(feature = "oci")]
pub use peak_oci as oci;
#[cfg(feature = "pack")]
pub use peak_pack as pack;
#[cfg(feature = "platform")]
pub use peak_platform as platform;
#[cfg(feature = "registry")]
pub use peak_registry as registry;
#[cfg(feature = "registry-server")]
pub use peak_registry_server as registry_server;
#[cfg(feature = "transfer")]
pub use peak_transfer as transfer;
