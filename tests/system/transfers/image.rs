//! Images of every kind, made and put in place by hand: no code of ours has had a part in them.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::http::Connection;
use crate::support::digest;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What an image is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Oci,
    Index,
    DockerSchema2,
    DockerList,
    /// One layer is named by SHA-512.
    Sha512,
    /// An image, and a signature and an SBOM that refer to it.
    WithReferrers,
    /// Something that is no image.
    Artifact,
}

impl Kind {
    /// Whether it is one image for one platform, which is all that a Docker archive holds.
    pub(super) fn is_one_image(self) -> bool {
        matches!(self, Self::Oci | Self::DockerSchema2 | Self::Sha512)
    }
}

#[derive(Clone)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) content: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) digest: String,
    media_type: &'static str,
    content: Vec<u8>,
    config: Option<String>,
}

impl Manifest {
    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.content.len()})
    }
}

/// An image with everything that belongs to it.
#[derive(Default)]
pub(super) struct Image {
    pub(super) blobs: Vec<Blob>,
    /// Each after those that it points to or refers to.
    manifests: Vec<Manifest>,
    root: usize,
}

struct Types {
    manifest: &'static str,
    index: &'static str,
    config: &'static str,
    layer: &'static str,
}

const OCI: Types = Types {
    manifest: OCI_MANIFEST,
    index: OCI_INDEX,
    config: OCI_CONFIG,
    layer: OCI_LAYER,
};
const DOCKER: Types = Types {
    manifest: DOCKER_MANIFEST,
    index: DOCKER_LIST,
    config: DOCKER_CONFIG,
    layer: DOCKER_LAYER,
};

/// A layer with one file.
fn tar(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "file", content).unwrap();
    archive.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, other ones for each seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = Vec::with_capacity(length + 8);
    while content.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_le_bytes());
    }
    content.truncate(length);
    content
}

impl Image {
    pub(super) fn of(kind: Kind) -> Self {
        let mut image = Self::default();
        match kind {
            Kind::Oci => image.platform(&OCI, "amd64", false),
            Kind::DockerSchema2 => image.platform(&DOCKER, "amd64", false),
            Kind::Sha512 => image.platform(&OCI, "amd64", true),
            Kind::Index => image.index(&OCI),
            Kind::DockerList => image.index(&DOCKER),
            Kind::WithReferrers => {
                image.platform(&OCI, "amd64", false);
                for artifact_type in ["application/vnd.test.signature", "application/spdx+json"] {
                    let subject = image.manifests[0].descriptor();
                    image.artifact(artifact_type, Some(subject));
                }
                image.root = 0;
            }
            Kind::Artifact => image.artifact("application/vnd.test.model", None),
        }
        image
    }

    /// An image with a layer of its own, and before that one that is only where its URL points.
    pub(super) fn with_foreign_layer() -> Self {
        let mut image = Self::default();
        let foreign = Blob {
            digest: digest(b"elsewhere"),
            content: b"elsewhere".to_vec(),
        };
        let layer = image.blob(noise(3, 1000));
        let config = json!({
            "architecture": "amd64",
            "os": "windows",
            "rootfs": {"type": "layers", "diff_ids": [foreign.digest, layer.digest]},
        });
        let config = image.blob(config.to_string().into_bytes());
        let mut elsewhere = described(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            &foreign,
        );
        elsewhere["urls"] = json!(["https://layers.example/elsewhere"]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": described(DOCKER_CONFIG, &config),
            "layers": [elsewhere, described(DOCKER_LAYER, &layer)],
        });
        image.manifest(DOCKER_MANIFEST, &manifest, Some(config.digest));
        image
    }

    /// An image with layers of these sizes that are different for each seed. They are not compressed.
    pub(super) fn large(layers: &[(u64, usize)]) -> Self {
        let mut image = Self::default();
        let layers: Vec<_> = layers
            .iter()
            .map(|&(seed, length)| image.blob(noise(seed, length)))
            .collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>()},
        });
        let config = image.blob(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(OCI_CONFIG, &config),
            "layers": layers.iter().map(|layer| described(OCI_PLAIN_LAYER, layer)).collect::<Vec<_>>(),
        });
        image.manifest(OCI_MANIFEST, &manifest, Some(config.digest));
        image
    }

    fn blob(&mut self, content: Vec<u8>) -> Blob {
        let blob = Blob {
            digest: digest(&content),
            content,
        };
        self.blobs.push(blob.clone());
        blob
    }

    fn manifest(&mut self, media_type: &'static str, value: &Value, config: Option<String>) {
        let content = value.to_string().into_bytes();
        self.root = self.manifests.len();
        self.manifests.push(Manifest {
            digest: digest(&content),
            media_type,
            content,
            config,
        });
    }

    fn platform(&mut self, types: &Types, architecture: &str, sha512: bool) {
        let plain = [tar(&noise(1, 100_000)), tar(architecture.as_bytes())];
        let diff_ids: Vec<_> = plain.iter().map(|layer| digest(layer)).collect();
        let mut layers: Vec<_> = plain.iter().map(|layer| self.blob(gzip(layer))).collect();
        if sha512 {
            let hash = Sha512::digest(&layers[1].content);
            let name = hash.iter().fold("sha512:".to_owned(), |text, byte| {
                text + &format!("{byte:02x}")
            });
            layers[1].digest.clone_from(&name);
            self.blobs.last_mut().unwrap().digest = name;
        }
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types.manifest,
            "config": described(types.config, &config),
            "layers": layers.iter().map(|layer| described(types.layer, layer)).collect::<Vec<_>>(),
        });
        self.manifest(types.manifest, &manifest, Some(config.digest));
    }

    fn index(&mut self, types: &Types) {
        let mut children = Vec::new();
        for architecture in ["amd64", "arm64"] {
            self.platform(types, architecture, false);
            let mut child = self.manifests[self.root].descriptor();
            child["platform"] = json!({"os": "linux", "architecture": architecture});
            children.push(child);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": types.index,
            "manifests": children,
        });
        self.manifest(types.index, &index, None);
    }

    fn artifact(&mut self, artifact_type: &str, subject: Option<Value>) {
        let config = self.blob(b"{}".to_vec());
        let content = self.blob(artifact_type.as_bytes().to_vec());
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": described(EMPTY, &config),
            "layers": [described("application/octet-stream", &content)],
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject;
        }
        self.manifest(OCI_MANIFEST, &manifest, None);
    }

    /// The digest that the image has under its tag.
    pub(super) fn digest(&self) -> &str {
        &self.manifests[self.root].digest
    }

    /// The digest of the config, by which Docker names an image.
    pub(super) fn id(&self) -> &str {
        self.manifests[self.root].config.as_deref().unwrap()
    }

    /// The digests of what refers to the image.
    pub(super) fn referrers(&self) -> impl Iterator<Item = &str> {
        let after = self.manifests.iter().skip(self.root + 1);
        after.map(|manifest| manifest.digest.as_str())
    }

    /// Writes it into a layout of its own.
    pub(super) fn write_layout(&self, folder: &Path, tag: &str) {
        let put = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        let path = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
        for blob in &self.blobs {
            put(&path(&blob.digest), &blob.content);
        }
        for manifest in &self.manifests {
            put(&path(&manifest.digest), &manifest.content);
        }
        let mut root = self.manifests[self.root].descriptor();
        root["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let mut manifests = vec![root];
        let referrers = self.manifests.iter().skip(self.root + 1);
        manifests.extend(referrers.map(Manifest::descriptor));
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        put("index.json", index.to_string().as_bytes());
        put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    /// Puts it into a registry.
    pub(super) fn push(&self, host: &str, repository: &str, tag: &str) {
        let mut connection = Connection::open(host);
        for blob in &self.blobs {
            connection.push_blob_as(repository, &blob.content, &blob.digest);
        }
        for (number, manifest) in self.manifests.iter().enumerate() {
            let name = if number == self.root {
                tag
            } else {
                &manifest.digest
            };
            let target = format!("/v2/{repository}/manifests/{name}");
            let done = connection.send("PUT", &target, manifest.media_type, &manifest.content);
            assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        }
    }
}

fn described(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.content.len()})
}
