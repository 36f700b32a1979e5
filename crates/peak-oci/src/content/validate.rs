//! Validation of everything that a manifest reaches.

use std::collections::HashSet;

use super::read::{read_verified, stream_verified};
use super::{ContentError, ContentErrorKind, Source};
use crate::config::{ImageConfig, MAX_CONFIG_SIZE};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::manifest::{ImageManifest, MAX_MANIFEST_SIZE, Manifest};
use crate::raw::Raw;
use crate::reference::Selector;

/// How many indexes may stand one in the other; the outermost counts.
pub const MAX_INDEX_DEPTH: usize = 4;

/// How many different manifests and blobs one validation looks at; bounds what a hostile source can ask for.
const MAX_CONTENTS: usize = 100_000;

/// What [`validate`] has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidationReport {
    /// The manifest that was asked for.
    pub root: Descriptor,
    /// How many different manifests there are, indexes and the root included.
    pub manifests: u64,
    /// How many different blobs were read, configs included.
    pub blobs: u64,
    /// How many bytes manifests and blobs have together.
    pub bytes: u64,
    /// Layers that the source may lack for their licence, and does lack.
    pub missing_foreign_layers: Vec<Digest>,
}

/// Reads everything that a manifest reaches and checks it.
///
/// Checked are: digest and size of every manifest and blob (streamed, nothing but manifests and configs is held in
/// memory); that the type of a manifest is the one its descriptor says; that indexes are not nested deeper than
/// [`MAX_INDEX_DEPTH`]; that the config of an image can be read and has one `diff_id` for each layer, and for an
/// uncompressed layer that it is the digest of the layer. A `diff_id` of a compressed layer is not computed. `subject` is
/// not followed. Content that is reached on several ways is read once.
///
/// # Errors
/// The first thing that is wrong, as [`ContentErrorKind::Integrity`] or [`ContentErrorKind::Invalid`], or what the source
/// says.
pub async fn validate(
    source: &dyn Source,
    selector: Option<&Selector>,
) -> Result<ValidationReport, ContentError> {
    let mut root = source.manifest(selector).await?;
    if let Some(Selector::Digest(digest)) = selector {
        root = root.verify(digest)?;
    }
    let mut walk = Walk {
        source,
        seen: HashSet::new(),
        pending: Vec::new(),
        report: ValidationReport {
            root: root.descriptor(),
            manifests: 0,
            blobs: 0,
            bytes: 0,
            missing_foreign_layers: Vec::new(),
        },
    };
    walk.seen.insert((root.digest().clone(), true));
    walk.manifest(&root, 0).await?;
    while let Some((descriptor, depth)) = walk.pending.pop() {
        let manifest = walk.fetch(&descriptor).await?;
        walk.manifest(&manifest, depth)
            .await
            .map_err(|error| within(&descriptor, error))?;
    }
    Ok(walk.report)
}

struct Walk<'a> {
    source: &'a dyn Source,
    /// Content seen, by digest and whether as a manifest.
    seen: HashSet<(Digest, bool)>,
    /// Manifests still to look at, with the number of indexes round each.
    pending: Vec<(Descriptor, usize)>,
    report: ValidationReport,
}

impl Walk<'_> {
    async fn manifest(
        &mut self,
        manifest: &Raw<Manifest>,
        depth: usize,
    ) -> Result<(), ContentError> {
        self.report.manifests += 1;
        self.report.bytes = self.report.bytes.saturating_add(manifest.size());
        match manifest.value() {
            Manifest::Image(image) => self.image(image).await,
            Manifest::Index(index) => {
                if depth >= MAX_INDEX_DEPTH {
                    return Err(invalid(format!(
                        "the index {} is nested deeper than {MAX_INDEX_DEPTH} levels",
                        manifest.digest()
                    )));
                }
                // Backwards, because the last one pushed is looked at first.
                for child in index.manifests.iter().rev() {
                    let is_manifest =
                        child.media_type.is_index() || child.media_type.is_image_manifest();
                    if !is_manifest {
                        self.blob(child).await?;
                    } else if self.is_new(child, true)? {
                        self.pending.push((child.clone(), depth + 1));
                    }
                }
                Ok(())
            }
        }
    }

    async fn fetch(&mut self, descriptor: &Descriptor) -> Result<Raw<Manifest>, ContentError> {
        if descriptor.size > MAX_MANIFEST_SIZE {
            return Err(invalid(format!(
                "the manifest {} has {} bytes",
                descriptor.digest, descriptor.size
            )));
        }
        let selector = Selector::Digest(descriptor.digest.clone());
        let manifest = self
            .source
            .manifest(Some(&selector))
            .await
            .map_err(|error| within(descriptor, error))?
            .verify(&descriptor.digest)?;
        if manifest.size() != descriptor.size {
            return Err(ContentError::new(
                ContentErrorKind::Integrity,
                format!(
                    "the manifest {} has {} bytes but {} in its descriptor",
                    descriptor.digest,
                    manifest.size(),
                    descriptor.size
                ),
            ));
        }
        if *manifest.media_type() != descriptor.media_type {
            return Err(invalid(format!(
                "the manifest {} is of the type {} but its descriptor says {}",
                descriptor.digest,
                manifest.media_type(),
                descriptor.media_type
            )));
        }
        Ok(manifest)
    }

    async fn image(&mut self, image: &ImageManifest) -> Result<(), ContentError> {
        if image.config.media_type.is_image_config() {
            let bytes = read_verified(self.source, &image.config, MAX_CONFIG_SIZE)
                .await
                .map_err(|error| within(&image.config, error))?;
            let config =
                ImageConfig::parse(bytes).map_err(|error| within(&image.config, error.into()))?;
            check_layers(image, config.value())?;
            if self.is_new(&image.config, false)? {
                self.count_blob(&image.config);
            }
        } else {
            self.blob(&image.config).await?;
        }
        for layer in &image.layers {
            self.blob(layer).await?;
        }
        Ok(())
    }

    async fn blob(&mut self, descriptor: &Descriptor) -> Result<(), ContentError> {
        if !self.is_new(descriptor, false)? {
            return Ok(());
        }
        descriptor
            .embedded()
            .map_err(|error| within(descriptor, error.into()))?;
        match stream_verified(self.source, descriptor, |_| ()).await {
            Ok(()) => self.count_blob(descriptor),
            Err(error)
                if error.kind() == ContentErrorKind::NotFound
                    && descriptor.media_type.is_foreign_layer() =>
            {
                self.report
                    .missing_foreign_layers
                    .push(descriptor.digest.clone());
            }
            Err(error) => return Err(within(descriptor, error)),
        }
        Ok(())
    }

    fn count_blob(&mut self, descriptor: &Descriptor) {
        self.report.blobs += 1;
        self.report.bytes = self.report.bytes.saturating_add(descriptor.size);
    }

    fn is_new(&mut self, descriptor: &Descriptor, as_manifest: bool) -> Result<bool, ContentError> {
        if self.seen.len() >= MAX_CONTENTS {
            return Err(invalid(format!(
                "more than {MAX_CONTENTS} manifests and blobs are reached"
            )));
        }
        Ok(self.seen.insert((descriptor.digest.clone(), as_manifest)))
    }
}

/// One `diff_id` for each layer, and the same digest where the layer is not compressed.
fn check_layers(image: &ImageManifest, config: &ImageConfig) -> Result<(), ContentError> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Err(invalid(format!(
            "the config {} has {} diff_ids for {} layers",
            image.config.digest,
            diff_ids.len(),
            image.layers.len()
        )));
    }
    let differing = image.layers.iter().zip(diff_ids).find(|(layer, diff_id)| {
        layer.media_type.is_uncompressed_layer()
            && layer.digest.algorithm() == diff_id.algorithm()
            && layer.digest != **diff_id
    });
    match differing {
        Some((layer, diff_id)) => Err(invalid(format!(
            "the uncompressed layer {} has the diff_id {diff_id}",
            layer.digest
        ))),
        None => Ok(()),
    }
}

fn invalid(message: String) -> ContentError {
    ContentError::new(ContentErrorKind::Invalid, message)
}

/// Says which content an error is about.
fn within(descriptor: &Descriptor, error: ContentError) -> ContentError {
    ContentError::new(
        error.kind(),
        format!(
            "{} ({}) is not valid",
            descriptor.digest, descriptor.media_type
        ),
    )
    .with_source(error)
}
