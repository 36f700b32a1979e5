//! Images to be moved: as an OCI layout, and as `docker-registry` keeps them.
//!
//! They are written without any of the programs that are measured, so that none of them is favoured.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What the layers begin with: that of gzip, so that nobody tries to compress them.
const MAGIC: [u8; 4] = [0x1f, 0x8b, 0x08, 0x00];

const BLOCK: usize = 1024 * 1024;

const TAG: &str = "v1";

/// An image in a layout of its own.
pub(super) struct Image {
    /// The layout's directory.
    pub(super) layout: PathBuf,
    /// Digests of the layers, in hexadecimal.
    layers: Vec<String>,
    config: String,
    manifest: String,
}

/// What the layers are made of.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// Different in each.
    Noise,
    /// Nothing but zeros, and no room on the disk.
    Hole,
}

/// The numbers and sizes of layers.
#[derive(Clone, Copy)]
pub(super) struct Layers {
    pub(super) count: u64,
    /// Bytes of each.
    pub(super) size: u64,
}

impl Image {
    /// Makes an image in a new layout at `layout`, under the tag `v1`.
    pub(super) fn make(layout: &Path, layers: &[Layers], content: Content) -> anyhow::Result<Self> {
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", blobs.display()))?;
        let mut digests = Vec::new();
        let mut described = Vec::new();
        let mut seed = 0_u64;
        for Layers { count, size } in layers {
            for _ in 0..*count {
                seed += 1;
                let digest = match content {
                    Content::Noise => noise(&blobs, seed, *size)?,
                    Content::Hole => hole(&blobs, *size)?,
                };
                described.push(descriptor(
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                    &digest,
                    *size,
                ));
                digests.push(digest);
            }
        }
        let ids: Vec<String> = digests
            .iter()
            .map(|digest| format!("sha256:{digest}"))
            .collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let (config, config_size) = document(&blobs, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config, config_size),
            "layers": described,
        });
        let (manifest, manifest_size) = document(&blobs, &manifest)?;
        let mut entry = descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            &manifest,
            manifest_size,
        );
        if let Some(members) = entry.as_object_mut() {
            members.insert(
                "annotations".to_owned(),
                json!({"org.opencontainers.image.ref.name": TAG}),
            );
        }
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
        fs::write(
            layout.join("oci-layout"),
            r#"{"imageLayoutVersion": "1.0.0"}"#,
        )?;
        Ok(Self {
            layout: layout.to_owned(),
            layers: digests,
            config,
            manifest,
        })
    }

    /// Puts the image into the storage of a `docker-registry`, which need not run yet. The blobs are the same files.
    pub(super) fn store(&self, storage: &Path, repository: &str) -> anyhow::Result<()> {
        let root = storage.join("docker/registry/v2");
        let home = root.join("repositories").join(repository);
        let blobs = self.layers.iter().chain([&self.config]);
        for digest in blobs.clone().chain([&self.manifest]) {
            let shard = digest.get(..2).unwrap_or_default();
            let place = root.join("blobs/sha256").join(shard).join(digest);
            fs::create_dir_all(&place)?;
            let data = place.join("data");
            if !data.exists() {
                fs::hard_link(self.blob(digest), &data)
                    .with_context(|| format!("cannot link {}", data.display()))?;
            }
        }
        for digest in blobs {
            link(&home.join("_layers/sha256").join(digest), digest)?;
        }
        let revisions = home.join("_manifests/revisions/sha256");
        link(&revisions.join(&self.manifest), &self.manifest)?;
        self.tag(&home, TAG)
    }

    /// Gives the image in a storage further tags.
    pub(super) fn store_tags(
        &self,
        storage: &Path,
        repository: &str,
        tags: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<()> {
        let root = storage.join("docker/registry/v2");
        let home = root.join("repositories").join(repository);
        for tag in tags {
            self.tag(&home, &tag)?;
        }
        Ok(())
    }

    fn tag(&self, home: &Path, tag: &str) -> anyhow::Result<()> {
        let tag = home.join("_manifests/tags").join(tag);
        link(&tag.join("current"), &self.manifest)?;
        link(
            &tag.join("index/sha256").join(&self.manifest),
            &self.manifest,
        )
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.layout.join("blobs/sha256").join(digest)
    }

    /// The files of the layers.
    pub(super) fn layer_files(&self) -> Vec<PathBuf> {
        self.layers.iter().map(|digest| self.blob(digest)).collect()
    }

    /// Digests of the layers, in hexadecimal.
    pub(super) fn layers(&self) -> &[String] {
        &self.layers
    }
}

/// A file of a `docker-registry` that says where the content is.
fn link(directory: &Path, digest: &str) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(fs::write(
        directory.join("link"),
        format!("sha256:{digest}"),
    )?)
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

fn document(blobs: &Path, value: &Value) -> anyhow::Result<(String, u64)> {
    let bytes = serde_json::to_vec(value)?;
    let digest = hexadecimal(&Sha256::digest(&bytes));
    fs::write(blobs.join(&digest), &bytes)?;
    Ok((digest, bytes.len() as u64))
}

/// A blob that no file system makes smaller.
fn noise(blobs: &Path, seed: u64, size: u64) -> anyhow::Result<String> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while block.len() < BLOCK {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    let path = blobs.join("unfinished");
    let mut file = BufWriter::with_capacity(BLOCK, File::create(&path)?);
    let mut hash = Sha256::new();
    let mut rest = size;
    let mut number = 0_u64;
    while rest > 0 {
        // Each block differs from the one before.
        let mark = [MAGIC.as_slice(), &seed.to_le_bytes(), &number.to_le_bytes()].concat();
        for (byte, mark) in block.iter_mut().zip(mark) {
            *byte = mark;
        }
        let count = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
        let part = block.get(..count).unwrap_or_default();
        file.write_all(part)?;
        hash.update(part);
        rest -= part.len() as u64;
        number += 1;
    }
    file.flush()?;
    let digest = hexadecimal(&hash.finalize());
    fs::rename(&path, blobs.join(&digest))?;
    Ok(digest)
}

fn hole(blobs: &Path, size: u64) -> anyhow::Result<String> {
    let path = blobs.join("unfinished");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    file.write_all(&MAGIC)?;
    file.set_len(size)?;
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    let mut block = vec![0; BLOCK];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            break;
        }
        hash.update(block.get(..count).unwrap_or_default());
    }
    let digest = hexadecimal(&hash.finalize());
    fs::rename(&path, blobs.join(&digest))?;
    Ok(digest)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_layers_in_the_layout_and_in_the_storage() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [
            Layers { count: 2, size: 5 },
            Layers {
                count: 1,
                size: BLOCK as u64 + 7,
            },
        ];
        let layout = folder.path().join("layout");
        let image = Image::make(&layout, &layers, Content::Noise).unwrap();
        let sizes: Vec<u64> = image
            .layer_files()
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .collect();
        assert_eq!(sizes, [5, 5, BLOCK as u64 + 7]);
        for (file, digest) in image.layer_files().iter().zip(image.layers()) {
            let bytes = fs::read(file).unwrap();
            assert_eq!(&hexadecimal(&Sha256::digest(bytes)), digest);
        }
        let storage = folder.path().join("storage");
        image.store(&storage, "a/b").unwrap();
        image.store_tags(&storage, "a/b", ["x".to_owned()]).unwrap();
        let root = storage.join("docker/registry/v2");
        for tag in ["v1", "x"] {
            let link = root.join(format!(
                "repositories/a/b/_manifests/tags/{tag}/current/link"
            ));
            let digest = fs::read_to_string(link).unwrap();
            let hex = digest.strip_prefix("sha256:").unwrap();
            let data = root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
            let manifest: Value = serde_json::from_slice(&fs::read(data).unwrap()).unwrap();
            assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
        }
    }

    #[test]
    fn a_hole_has_the_digest_of_its_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [Layers {
            count: 1,
            size: 100_000,
        }];
        let image = Image::make(&folder.path().join("x"), &layers, Content::Hole).unwrap();
        let bytes = fs::read(&image.layer_files()[0]).unwrap();
        assert_eq!(bytes.len(), 100_000);
        assert_eq!(hexadecimal(&Sha256::digest(bytes)), image.layers()[0]);
    }
}
