//! What an image in a Docker archive consists of, wherever the archive is.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use peak_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH,
    MAX_MANIFEST_SIZE, Manifest, MediaType, Raw, Reference, Selector, Tag, VerifyError,
};

use super::decode::Compression;
use super::{Listed, MANIFEST};
use crate::LayoutError;
use crate::archive::{blob_extent, read_manifest};
use crate::archive_error::ArchiveError;
use crate::document::{self, INDEX};
use crate::tar::{Extent, Files};

/// How many manifests of an index are looked at in search of the one that an image came with.
const MAX_SEARCHED: usize = 1000;

/// The image, as the rest of the program knows images.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) manifest: Raw<Manifest>,
    pub(super) blobs: HashMap<Digest, Extent>,
}

/// The image of that name in the archive; without a name, its only one.
pub(super) fn find(
    files: &impl Files,
    reference: Option<&Reference>,
) -> Result<Listed, LayoutError> {
    choose(&listed(files)?, reference)
}

/// The images that the archive says it has.
pub(super) fn listed(files: &impl Files) -> Result<Vec<Listed>, LayoutError> {
    let Some(extent) = files.resolve(MANIFEST)? else {
        return Err(files.error(ArchiveError::Missing {
            name: MANIFEST.to_owned(),
        }));
    };
    let bytes = files.content(MANIFEST, extent, MAX_MANIFEST_SIZE)?;
    serde_json::from_slice(&bytes).map_err(LayoutError::json(files.within(MANIFEST)))
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

/// Reads the small files of an image. `hash` says the digest of a file.
pub(super) fn read<F: Files>(
    files: &F,
    listed: &Listed,
    hash: impl Fn(Extent) -> Result<Digest, LayoutError>,
) -> Result<Content, LayoutError> {
    let reader = Reader { files, listed };
    let config = reader.config()?;
    match reader.original(config.digest())? {
        Some(content) => Ok(content),
        None => reader.made(&config, hash),
    }
}

/// The digest in the name of a blob of a layout.
pub(super) fn named_digest(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    (document::blob_name(&digest) == name).then_some(digest)
}

struct Reader<'a, F> {
    files: &'a F,
    listed: &'a Listed,
}

impl<F: Files> Reader<'_, F> {
    fn config(&self) -> Result<Raw<ImageConfig>, LayoutError> {
        let name = &self.listed.config;
        let extent = self.entry(name)?;
        let bytes = self.files.content(name, extent, MAX_CONFIG_SIZE)?;
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
        self.files.resolve(name)?.ok_or_else(|| {
            self.files.error(ArchiveError::Missing {
                name: name.to_owned(),
            })
        })
    }

    /// The manifest that the image came with, where the archive is a layout as well and has it.
    ///
    /// What is wrong or missing in the layout is no error: `manifest.json` says all that is needed.
    fn original(&self, config: &Digest) -> Result<Option<Content>, LayoutError> {
        let Some(extent) = self.files.resolve(INDEX)? else {
            return Ok(None);
        };
        let bytes = self.files.content(INDEX, extent, MAX_MANIFEST_SIZE)?;
        let Ok(index) = document::index(bytes, &self.files.within(INDEX)) else {
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
                let Ok(manifest) = read_manifest(self.files, descriptor.digest, media_type) else {
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
            let extent = blob_extent(self.files, &blob.digest).ok()?;
            (extent.size == blob.size).then(|| (blob.digest.clone(), extent))
        })
        .collect()
    }

    /// A manifest of what the archive has.
    fn made(
        &self,
        config: &Raw<ImageConfig>,
        hash: impl Fn(Extent) -> Result<Digest, LayoutError>,
    ) -> Result<Content, LayoutError> {
        let names = self.listed.layers.as_deref().unwrap_or_default();
        let diff_ids = &config.value().rootfs.diff_ids;
        if names.len() != diff_ids.len() {
            return Err(self.files.error(ArchiveError::Image {
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
            let beginning = self.files.beginning(extent)?;
            let compression = Compression::of(&beginning);
            let digest = match compression {
                None => diff_id.clone(),
                // What has another content than its name says is damaged.
                Some(_) => match named_digest(name) {
                    Some(digest) => digest,
                    None => hash(extent)?,
                },
            };
            // The first of several, so that whoever reads from the beginning finds them in order.
            blobs.entry(digest.clone()).or_insert(extent);
            layers.push((compression, digest, extent.size));
        }
        let extent = self.entry(&self.listed.config)?;
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
}

impl Content {
    /// The manifest, where it is the one that is meant.
    pub(super) fn manifest_of(
        &self,
        names: &[String],
        selector: Option<&Selector>,
    ) -> Result<Raw<Manifest>, LayoutError> {
        let manifest = &self.manifest;
        let is_meant = match selector {
            None => true,
            Some(Selector::Digest(digest)) => manifest.digest() == digest,
            Some(Selector::Tag(tag)) => names.iter().any(|name| {
                Reference::parse(name).is_ok_and(|reference| reference.tag() == Some(tag))
            }),
        };
        match selector {
            Some(selector) if !is_meant => Err(LayoutError::UnknownImage {
                name: selector.to_string(),
                available: names.to_vec(),
            }),
            _ => Ok(manifest.clone()),
        }
    }

    pub(super) fn extent(&self, digest: &Digest) -> Result<Extent, LayoutError> {
        self.blobs
            .get(digest)
            .copied()
            .ok_or_else(|| LayoutError::MissingBlob {
                digest: digest.clone(),
            })
    }
}
