//! A registry of the platform, and who listens to a push or pull.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use peak_apolo::{
    Clusters, Config, ImageProgress, ImageProgressPull, ImageProgressPush, ImageProgressStep,
    Images, ImagesBuilder,
};
use peak_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, Index, Manifest, MediaType, Platform, Raw,
    Selector,
};
use peak_registry_server::auth::Auth;
use peak_registry_server::{RouterOptions, Store, router_with};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Every printable character of ASCII.
pub(crate) fn token() -> String {
    (b' '..=b'~').map(char::from).collect()
}

/// A server on a port of its own, until it is dropped.
pub(crate) struct Served {
    pub(crate) host: String,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, task }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A registry that wants the token, and what it was asked.
pub(crate) struct Site {
    pub(crate) server: Served,
    pub(crate) store: Store,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::changing(|response| response).await
    }

    /// One whose answers are changed on the way.
    pub(crate) async fn changing(change: fn(Response) -> Response) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let options = RouterOptions::new().auth(Auth::shared_secret(&token()));
        let requests: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let noted = middleware::from_fn(move |request: Request, next: Next| {
            let line = format!("{} {}", request.method(), request.uri());
            let accept = request.headers().get("accept");
            let accept = accept.map_or("", |value| value.to_str().unwrap());
            seen.lock().unwrap().push((line, accept.to_owned()));
            async move { change(next.run(request).await) }
        });
        let server = Served::start(router_with(store.clone(), &options).layer(noted)).await;
        Self {
            server,
            store,
            requests,
            folder,
        }
    }

    pub(crate) fn clusters(&self) -> Clusters {
        Clusters::builder("main")
            .cluster("main", format!("http://{}", self.server.host))
            .default_org("acme")
            .default_project("proj")
            .build()
            .unwrap()
    }

    pub(crate) fn builder_with(&self, token: &str) -> ImagesBuilder {
        Images::builder(Config::new(self.clusters()).credentials("me", token.into()))
    }

    pub(crate) fn images(&self) -> Images {
        self.builder_with(&token()).build().unwrap()
    }

    /// What was asked, method and path, with what in `Accept`.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Puts an image with layers of these sizes into the registry.
    pub(crate) fn put_image(
        &self,
        repository: &str,
        tag: &str,
        platform: &Platform,
        layers: &[usize],
    ) -> Raw<Manifest> {
        let held = self.store.repository(&repository.parse().unwrap());
        let put = |content: &[u8]| {
            let mut upload = held.new_upload().unwrap();
            upload.write(content).unwrap();
            upload.finish(&Digest::sha256_of(content)).unwrap();
        };
        let layers: Vec<Descriptor> = layers
            .iter()
            .enumerate()
            .map(|(at, size)| {
                let content = tar_of(&vec![u8::try_from(at).unwrap(); *size]);
                put(&content);
                Descriptor::of(MediaType::OCI_LAYER, &content)
            })
            .collect();
        let diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
        let config = ImageConfig::new(platform, diff_ids).to_raw().unwrap();
        put(config.bytes());
        let config = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
        let manifest = ImageManifest::new(config, layers).to_raw().unwrap();
        let selector = Selector::Tag(tag.parse().unwrap());
        held.put_manifest(&selector, None, manifest.bytes().clone())
            .unwrap();
        manifest
    }

    /// Puts an index of images for these platforms into the registry.
    pub(crate) fn put_index(&self, repository: &str, tag: &str, images: &[(Platform, usize)]) {
        let manifests = images
            .iter()
            .map(|(platform, size)| {
                let image = self.put_image(repository, "part", platform, &[*size]);
                let mut descriptor = image.descriptor();
                descriptor.platform = Some(platform.clone());
                descriptor
            })
            .collect();
        let index = Index::new(manifests).to_raw().unwrap();
        let selector = Selector::Tag(tag.parse().unwrap());
        let held = self.store.repository(&repository.parse().unwrap());
        held.put_manifest(&selector, None, index.bytes().clone())
            .unwrap();
    }
}

/// A layer with one file.
fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "file", content).unwrap();
    archive.into_inner().unwrap()
}

/// Writes down what it is told.
#[derive(Default)]
pub(crate) struct Listener(Mutex<Vec<String>>);

impl Listener {
    pub(crate) fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl ImageProgress for Listener {
    fn pull(&self, data: &ImageProgressPull) {
        self.note(format!("pull {} to {}", data.src, data.dst));
    }

    fn push(&self, data: &ImageProgressPush) {
        self.note(format!("push {} to {}", data.src, data.dst));
    }

    fn step(&self, data: &ImageProgressStep) {
        self.note(data.message.clone());
    }
}
