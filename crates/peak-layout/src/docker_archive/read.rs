//! Images out of a Docker archive.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use peak_oci::{
    Algorithm, BlobRead, BoxFuture, ContentError, Descriptor, Digest, Hasher, ImageConfig,
    ImageManifest, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH, MAX_MANIFEST_SIZE, Manifest, MediaType, Raw,
    Reference, Selector, Source, Tag, VerifyError,
};
use tokio::sync::OnceCell;

use super::decode::Compression;
use super::{Listed, MANIFEST};
use crate::archive::{blob_extent, read_manifest};
use crate::archive_error::ArchiveError;
use crate::document::{self, INDEX};
use crate::tar::{Extent, TarIndex};
use crate::{LayoutError, blob, blocking, positioned};

/// How many manifests of an index are looked at in search of the one that an image came with.
const MAX_SEARCHED: usize = 1000;

/// How much of a compressed layer is hashed at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// One image in the archive that `docker save` writes: a [`Source`].
///
/// The archive does not hold the manifest by which the image was known in a registry, so one is made: of Docker's schema
/// 2, with the layers as they stand in the archive, uncompressed, under the digests that the config says they have.
/// Whoever takes a layer in finds out whether that is so. Made again from the same archive it is the same.
///
/// Archives of Docker 25 and later are image layouts at the same time; where the layout has the manifest of the image,
/// that is the one given. Archives with compressed layers, which other tools write, can be read, too: such layers are
/// hashed before the manifest is known. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerArchive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tar: TarIndex,
    image: Listed,
    content: OnceCell<Content>,
}

/// The image, as the rest of the program knows images.
#[derive(Debug)]
struct Content {
    manifest: Raw<Manifest>,
    blobs: HashMap<Digest, Extent>,
}

/// An archive, and the images that it says it has.
fn listed(path: &Path) -> Result<(TarIndex, Vec<Listed>), LayoutError> {
    let tar = TarIndex::open(path)?;
    let Some(extent) = tar.resolve(MANIFEST)? else {
        return Err(tar.error(ArchiveError::Missing {
            name: MANIFEST.to_owned(),
        }));
    };
    let bytes = tar.content(MANIFEST, extent, MAX_MANIFEST_SIZE)?;
    let images = serde_json::from_slice(&bytes).map_err(|source| LayoutError::InvalidJson {
        path: tar.within(MANIFEST),
        source,
    })?;
    Ok((tar, images))
}

impl DockerArchive {
    /// Opens the image of that name in the archive at `path`; without a name, its only image.
    ///
    /// A name without a tag means `latest`. Blocks while all headers are read: one small read for each entry, of which
    /// there are at most 100,000.
    ///
    /// # Errors
    /// [`LayoutError::NoArchive`], [`LayoutError::NotAFile`], [`LayoutError::Archive`] for what is no tar, not whole or
    /// not written by Docker or a tool like it, [`LayoutError::UnknownImage`], and [`LayoutError::Ambiguous`] where there
    /// are several images and none was named.
    pub fn open(
        path: impl AsRef<Path>,
        reference: Option<&Reference>,
    ) -> Result<Self, LayoutError> {
        let (tar, images) = listed(path.as_ref())?;
        let image = choose(&images, reference)?;
        Ok(Self {
            inner: Arc::new(Inner {
                tar,
                image,
                content: OnceCell::new(),
            }),
        })
    }

    /// The names of all images in the archive at `path`, as they stand there. Blocks as [`open`](Self::open) does.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) about the archive itself.
    pub fn all_names(path: impl AsRef<Path>) -> Result<Vec<String>, LayoutError> {
        let (_, images) = listed(path.as_ref())?;
        Ok(images
            .into_iter()
            .flat_map(|image| image.names.unwrap_or_default())
            .collect())
    }

    /// The names of the image, as they stand in the archive.
    pub fn names(&self) -> &[String] {
        self.inner.image.names.as_deref().unwrap_or_default()
    }

    async fn content(&self) -> Result<&Content, LayoutError> {
        let read = || async {
            let inner = Arc::clone(&self.inner);
            let guard = StopOnDrop(Arc::default());
            let stopped = Arc::clone(&guard.0);
            let content = blocking(move || inner.read(&stopped)).await;
            drop(guard);
            content
        };
        self.inner.content.get_or_try_init(read).await
    }

    async fn manifest_of(&self, selector: Option<&Selector>) -> Result<Raw<Manifest>, LayoutError> {
        let manifest = &self.content().await?.manifest;
        let is_meant = match selector {
            None => true,
            Some(Selector::Digest(digest)) => manifest.digest() == digest,
            Some(Selector::Tag(tag)) => self.names().iter().any(|name| {
                Reference::parse(name).is_ok_and(|reference| reference.tag() == Some(tag))
            }),
        };
        match selector {
            Some(selector) if !is_meant => Err(LayoutError::UnknownImage {
                name: selector.to_string(),
                available: self.names().to_vec(),
            }),
            _ => Ok(manifest.clone()),
        }
    }
}

/// Tells long work on another thread that nobody waits for it any longer.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The name with its tag, in a form that is the same for all ways of writing it.
fn full_name(reference: &Reference) -> String {
    match reference.selector() {
        None => reference.with_tag(Tag::latest()).canonical(),
        Some(_) => reference.canonical(),
    }
}

fn choose(images: &[Listed], reference: Option<&Reference>) -> Result<Listed, LayoutError> {
    let names = |images: &[Listed]| -> Vec<String> {
        let of = |image: &Listed| match image.names.as_deref() {
            None | Some([]) => vec![image.config.clone()],
            Some(names) => names.to_vec(),
        };
        images.iter().flat_map(of).collect()
    };
    let wanted = reference.map(full_name);
    let is_wanted = |image: &&Listed| match &wanted {
        None => true,
        Some(wanted) => image.names.iter().flatten().any(|name| {
            Reference::parse(name).is_ok_and(|reference| full_name(&reference) == *wanted)
        }),
    };
    let mut found = images.iter().filter(is_wanted);
    match (found.next(), found.next()) {
        (Some(image), None) => Ok(image.clone()),
        (None, _) => Err(LayoutError::UnknownImage {
            name: reference.map_or_else(|| "of any name".to_owned(), Reference::familiar),
            available: names(images),
        }),
        (Some(_), Some(_)) => Err(LayoutError::Ambiguous {
            available: names(images),
        }),
    }
}

impl Inner {
    fn read(&self, stopped: &AtomicBool) -> Result<Content, LayoutError> {
        let config = self.config()?;
        match self.original(config.digest())? {
            Some(content) => Ok(content),
            None => self.made(&config, stopped),
        }
    }

    fn config(&self) -> Result<Raw<ImageConfig>, LayoutError> {
        let name = &self.image.config;
        let extent = self.entry(name)?;
        let bytes = self.tar.content(name, extent, MAX_CONFIG_SIZE)?;
        let actual = Digest::sha256_of(&bytes);
        // The name says what the content is: `<hex>.json`, or that of a blob in a layout.
        let last = name.rsplit('/').next().unwrap_or(name);
        let hex = last.strip_suffix(".json").unwrap_or(last);
        if let Ok(expected) = format!("sha256:{hex}").parse::<Digest>()
            && expected != actual
        {
            return Err(LayoutError::integrity(&expected.clone())(
                VerifyError::Digest { expected, actual },
            ));
        }
        ImageConfig::parse(Bytes::from(bytes)).map_err(|source| LayoutError::InvalidManifest {
            digest: actual,
            source,
        })
    }

    fn entry(&self, name: &str) -> Result<Extent, LayoutError> {
        self.tar.resolve(name)?.ok_or_else(|| {
            self.tar.error(ArchiveError::Missing {
                name: name.to_owned(),
            })
        })
    }

    /// The manifest that the image came with, where the archive is a layout as well and has it.
    ///
    /// What is wrong or missing in the layout is no error: `manifest.json` says all that is needed.
    fn original(&self, config: &Digest) -> Result<Option<Content>, LayoutError> {
        let Some(extent) = self.tar.resolve(INDEX)? else {
            return Ok(None);
        };
        let bytes = self.tar.content(INDEX, extent, MAX_MANIFEST_SIZE)?;
        let Ok(index) = document::index(bytes, &self.tar.within(INDEX)) else {
            return Ok(None);
        };
        let mut level = index.manifests;
        let mut seen = HashSet::new();
        for _ in 0..=MAX_INDEX_DEPTH {
            let mut below = Vec::new();
            for descriptor in level {
                if !descriptor.media_type.is_manifest() || !seen.insert(descriptor.digest.clone()) {
                    continue;
                }
                if seen.len() > MAX_SEARCHED {
                    return Ok(None);
                }
                let media_type = Some(&descriptor.media_type);
                let Ok(manifest) = read_manifest(&self.tar, descriptor.digest, media_type) else {
                    continue;
                };
                match manifest.value() {
                    Manifest::Image(image) if image.config.digest == *config => {
                        if let Some(blobs) = self.blobs_of(image) {
                            return Ok(Some(Content { manifest, blobs }));
                        }
                    }
                    Manifest::Index(index) => below.extend(index.manifests.iter().cloned()),
                    _ => {}
                }
            }
            level = below;
        }
        Ok(None)
    }

    /// Where the blobs of a layout's image are; `None` where one of them is missing.
    fn blobs_of(&self, image: &ImageManifest) -> Option<HashMap<Digest, Extent>> {
        let all = std::iter::once(&image.config).chain(&image.layers);
        all.map(|blob| {
            let extent = blob_extent(&self.tar, &blob.digest).ok()?;
            (extent.size == blob.size).then(|| (blob.digest.clone(), extent))
        })
        .collect()
    }

    /// A manifest of what the archive has.
    fn made(
        &self,
        config: &Raw<ImageConfig>,
        stopped: &AtomicBool,
    ) -> Result<Content, LayoutError> {
        let names = self.image.layers.as_deref().unwrap_or_default();
        let diff_ids = &config.value().rootfs.diff_ids;
        if names.len() != diff_ids.len() {
            return Err(self.tar.error(ArchiveError::Image {
                why: format!(
                    "its config says {} layers, {MANIFEST} says {}",
                    diff_ids.len(),
                    names.len()
                ),
            }));
        }
        let mut blobs = HashMap::new();
        let mut layers = Vec::new();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let extent = self.entry(name)?;
            let beginning = self.tar.beginning(extent, Compression::TELLING)?;
            let compression = Compression::of(&beginning);
            let digest = match compression {
                None => diff_id.clone(),
                Some(_) => self.hash(extent, stopped)?,
            };
            blobs.insert(digest.clone(), extent);
            layers.push((compression, digest, extent.size));
        }
        let extent = self.entry(&self.image.config)?;
        blobs.insert(config.digest().clone(), extent);
        // Docker has no name for layers under zstd.
        let is_docker = !layers
            .iter()
            .any(|(compression, ..)| *compression == Some(Compression::Zstd));
        let (config_type, plain, gzip) = if is_docker {
            (
                MediaType::DOCKER_CONFIG,
                MediaType::DOCKER_LAYER,
                MediaType::DOCKER_LAYER_GZIP,
            )
        } else {
            (
                MediaType::OCI_CONFIG,
                MediaType::OCI_LAYER,
                MediaType::OCI_LAYER_GZIP,
            )
        };
        let layers = layers.into_iter().map(|(compression, digest, size)| {
            let media_type = match compression {
                None => plain.clone(),
                Some(Compression::Gzip) => gzip.clone(),
                Some(Compression::Zstd) => MediaType::OCI_LAYER_ZSTD,
            };
            Descriptor::new(media_type, digest, size)
        });
        let digest = config.digest();
        let described = Descriptor::new(config_type, digest.clone(), config.size());
        let manifest = ImageManifest::new(described, layers.collect())
            .to_raw()
            .map_err(|source| LayoutError::InvalidManifest {
                digest: digest.clone(),
                source,
            })?;
        Ok(Content { manifest, blobs })
    }

    /// The digest of a file in the archive.
    fn hash(&self, extent: Extent, stopped: &AtomicBool) -> Result<Digest, LayoutError> {
        let file = self.tar.handle();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < extent.size {
            if stopped.load(Ordering::Relaxed) {
                return Err(LayoutError::Shutdown);
            }
            let wanted = usize::try_from(extent.size - done).map_or(CHUNK, |rest| rest.min(CHUNK));
            let piece = chunk.get_mut(..wanted).unwrap_or_default();
            let count = positioned::read(&file, piece, extent.offset + done)
                .map_err(LayoutError::reading(self.tar.path()))?;
            if count < wanted {
                return Err(self.tar.error(ArchiveError::Truncated));
            }
            hasher.update(piece);
            done += count as u64;
        }
        Ok(hasher.finish())
    }
}

impl Source for DockerArchive {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(async move { Ok(self.manifest_of(selector).await?) })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(async move {
            let digest = &descriptor.digest;
            let tar = &self.inner.tar;
            let extent = self.content().await?.extent(digest)?;
            Ok(blob::read(
                tar.handle(),
                tar.path(),
                digest,
                extent,
                offset,
            )?)
        })
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        Box::pin(async move { Ok(self.content().await?.extent(digest)?.size) })
    }
}

impl Content {
    fn extent(&self, digest: &Digest) -> Result<Extent, LayoutError> {
        self.blobs
            .get(digest)
            .copied()
            .ok_or_else(|| LayoutError::MissingBlob {
                digest: digest.clone(),
            })
    }
}
