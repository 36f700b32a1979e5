//! A registry of its own, and a client for it without any network.

use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use peak_oci::Digest;
use peak_registry_server::{RouterOptions, Store, router_with};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where a registry keeps its content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Disk,
    Memory,
}

pub(crate) struct Registry {
    router: axum::Router,
    directory: Option<TempDir>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The codes of the errors in the body.
    pub(crate) fn codes(&self) -> Vec<String> {
        let document = self.json();
        let errors = document["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|error| error["code"].as_str().unwrap().to_owned())
            .collect()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(
            self.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        self
    }

    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.codes(), [code]);
        answer
    }
}

impl Registry {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with(kind, &RouterOptions::new())
    }

    pub(crate) fn with(kind: Kind, options: &RouterOptions) -> Self {
        let directory = match kind {
            Kind::Disk => Some(tempfile::tempdir().unwrap()),
            Kind::Memory => None,
        };
        let store = directory
            .as_ref()
            .map_or_else(Store::in_memory, |directory| {
                Store::open(directory.path()).unwrap()
            });
        let router = router_with(store, options);
        Self { router, directory }
    }

    /// Where the registry's files are; only one on disk has any.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    /// Checks how many unfinished files there are, where they can be seen.
    #[track_caller]
    pub(crate) fn assert_unfinished(&self, count: usize) {
        if let Some(directory) = &self.directory {
            assert_eq!(unfinished(directory.path()), count);
        }
    }

    pub(crate) fn of(router: axum::Router) -> Self {
        Self {
            router,
            directory: None,
        }
    }

    /// The registry as it would come back if the process died now: a copy of the files, taken
    /// while it is at work, is what it would leave.
    pub(crate) fn after_crash(&self) -> Self {
        self.after_crash_with(&RouterOptions::new())
    }

    pub(crate) fn after_crash_with(&self, options: &RouterOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(self.directory(), directory.path());
        let router = router_with(Store::open(directory.path()).unwrap(), options);
        Self {
            router,
            directory: Some(directory),
        }
    }

    pub(crate) fn router(&self) -> axum::Router {
        self.router.clone()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(body.into()).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        // A server that says another length than it sends confuses every later answer.
        if let Some(length) = head.headers.get("content-length")
            && method != "HEAD"
        {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            assert_eq!(length, body.len(), "{method} {path}: {}", head.status);
        }
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Body::empty()).await
    }

    /// Starts an upload and returns its address.
    pub(crate) async fn start(&self, name: &str) -> String {
        let answer = self
            .send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], "")
            .await;
        let answer = answer.expect(202);
        assert_eq!(answer.header("range"), "0-0");
        answer.header("location").to_owned()
    }

    /// Pushes a blob in two requests.
    pub(crate) async fn push_blob(&self, name: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256_of(content);
        let location = self.start(name).await;
        let answer = self
            .send(
                "PUT",
                &format!("{location}?digest={digest}"),
                &[],
                content.to_vec(),
            )
            .await;
        let answer = answer.expect(201);
        assert_eq!(
            answer.header("location"),
            format!("/v2/{name}/blobs/{digest}")
        );
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> Answer {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.send(
            "PUT",
            &path,
            &[("content-type", media_type)],
            manifest.to_vec(),
        )
        .await
    }

    /// Pushes an image of one layer, and returns its manifest's bytes and digest.
    pub(crate) async fn push_image(
        &self,
        name: &str,
        tag: &str,
        layer: &[u8],
    ) -> (Vec<u8>, Digest) {
        self.push_blob(name, b"{}").await;
        self.push_blob(name, layer).await;
        let manifest = image(b"{}", &[layer]).to_string().into_bytes();
        let digest = Digest::sha256_of(&manifest);
        let answer = self
            .put_manifest(name, tag, MANIFEST, &manifest)
            .await
            .expect(201);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        (manifest, digest)
    }
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::sha256_of(content).to_string(),
        "size": content.len(),
    })
}

pub(crate) fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor(LAYER, layer))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers,
    })
}

/// How many unfinished files the store has.
pub(crate) fn unfinished(directory: &Path) -> usize {
    unfinished_files(directory).len()
}

/// The unfinished files of the store, uploads and others.
pub(crate) fn unfinished_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = entries(&directory.join("temporary"));
    for repository in entries(&directory.join("uploads")) {
        files.extend(entries(&repository));
    }
    files
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Copies a directory with all that is in it, and when its files were last written to.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            let copied = std::fs::File::options().write(true).open(target).unwrap();
            copied.set_modified(modified).unwrap();
        }
    }
}
