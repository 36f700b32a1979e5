//! Validation of everything that a manifest reaches.

use std::collections::HashMap;

use super::read::{read_verified, stream_verified};
use super::{ContentError, ContentErrorKind, Source};
use crate::config::{ImageConfig, MAX_CONFIG_SIZE};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::manifest::{ImageManifest, MAX_MANIFEST_SIZE, Manifest, Schema1Manifest};
use crate::media_type::MediaType;
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
/// uncompressed layer that it is the digest of the layer; that the history of a schema 1 manifest can be read. A `diff_id`
/// of a compressed layer is not computed, signatures are not verified, `subject` is not followed. The layers of a schema 1
/// manifest are read by the size that [`Source::blob_size`] says. Content that is reached on several ways is read once, but for configs, which are read with each image.
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
        seen: HashMap::new(),
        pending: Vec::new(),
        report: ValidationReport {
            root: root.descriptor(),
            manifests: 0,
            blobs: 0,
            bytes: 0,
            missing_foreign_layers: Vec::new(),
        },
    };
    walk.seen.insert((root.digest().clone(), true), root.size());
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
    /// The size of content seen, by digest and whether as a manifest.
    seen: HashMap<(Digest, bool), u64>,
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
                    if !child.media_type.is_manifest() {
                        self.blob(child).await?;
                    } else if self.is_new(child, true)? {
                        self.pending.push((child.clone(), depth + 1));
                    }
                }
                Ok(())
            }
            Manifest::Artifact(artifact) => {
                for blob in &artifact.blobs {
                    self.blob(blob).await?;
                }
                Ok(())
            }
            Manifest::Schema1(manifest) => self.schema1(manifest).await,
        }
    }

    /// Reads every layer, once each, by the size that the source says.
    async fn schema1(&mut self, manifest: &Schema1Manifest) -> Result<(), ContentError> {
        manifest.history()?;
        for layer in &manifest.layers {
            let mut descriptor =
                Descriptor::new(MediaType::DOCKER_LAYER_GZIP, layer.digest.clone(), 0);
            let known = self.seen.get(&(layer.digest.clone(), false)).copied();
            descriptor.size = match known {
                Some(size) => size,
                None => self
                    .source
                    .blob_size(&layer.digest)
                    .await
                    .map_err(|error| within(&descriptor, error))?,
            };
            self.blob(&descriptor).await?;
        }
        Ok(())
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
        match stream_verified(self.source, descriptor, |_| Ok(())).await {
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
        let key = (descriptor.digest.clone(), as_manifest);
        match self.seen.insert(key, descriptor.size) {
            None => Ok(true),
            Some(size) if size == descriptor.size => Ok(false),
            Some(size) => Err(ContentError::new(
                ContentErrorKind::Integrity,
                format!(
                    "{} has {size} bytes in one descriptor and {} in another",
                    descriptor.digest, descriptor.size
                ),
            )),
        }
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
            "cannot validate {} ({})",
            descriptor.digest, descriptor.media_type
        ),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use futures_util::stream;

    use super::*;
    use crate::content::{BlobRead, BoxFuture};
    use crate::digest::Algorithm;
    use crate::manifest::{ArtifactManifest, Index};
    use crate::platform::Platform;

    /// A source in memory; blobs come in pieces of three bytes.
    #[derive(Default)]
    struct Memory {
        manifests: HashMap<Digest, Raw<Manifest>>,
        blobs: HashMap<Digest, Bytes>,
        root: Option<Digest>,
        opens_at: u64,
    }

    impl Memory {
        fn add_blob(&mut self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
            let descriptor = Descriptor::of(media_type, bytes);
            self.blobs
                .insert(descriptor.digest.clone(), Bytes::copy_from_slice(bytes));
            descriptor
        }

        fn put(&mut self, manifest: Raw<Manifest>) -> Descriptor {
            let descriptor = manifest.descriptor();
            self.root = Some(descriptor.digest.clone());
            self.manifests.insert(descriptor.digest.clone(), manifest);
            descriptor
        }

        fn image(&mut self, layers: &[&[u8]], diff_ids: Vec<Digest>) -> Descriptor {
            let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids)
                .to_raw()
                .unwrap();
            let config = self.add_blob(MediaType::OCI_CONFIG, config.bytes());
            let layers = layers
                .iter()
                .map(|layer| self.add_blob(MediaType::OCI_LAYER, layer))
                .collect();
            self.put(ImageManifest::new(config, layers).to_raw().unwrap())
        }

        fn good_image(&mut self, layers: &[&[u8]]) -> Descriptor {
            self.image(
                layers,
                layers
                    .iter()
                    .map(|layer| Digest::sha256_of(layer))
                    .collect(),
            )
        }

        fn index(&mut self, manifests: Vec<Descriptor>) -> Descriptor {
            self.put(Index::new(manifests).to_raw().unwrap())
        }

        fn validate(&self) -> Result<ValidationReport, ContentError> {
            validate(self, None)
                .now_or_never()
                .expect("memory is always ready")
        }

        fn complaint(&self) -> (ContentErrorKind, String) {
            let error = self.validate().expect_err("it is valid");
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            (error.kind(), text)
        }
    }

    fn missing() -> ContentError {
        ContentError::new(ContentErrorKind::NotFound, "not here")
    }

    impl Source for Memory {
        fn manifest<'a>(
            &'a self,
            selector: Option<&'a Selector>,
        ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
            let digest = match selector {
                Some(Selector::Digest(digest)) => Some(digest),
                _ => self.root.as_ref(),
            };
            let found = digest
                .and_then(|digest| self.manifests.get(digest))
                .cloned()
                .ok_or_else(missing);
            Box::pin(async move { found })
        }

        fn blob<'a>(
            &'a self,
            descriptor: &'a Descriptor,
            _offset: u64,
        ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
            let found = self
                .blobs
                .get(&descriptor.digest)
                .cloned()
                .ok_or_else(missing);
            Box::pin(async move {
                let bytes = found?;
                let size = bytes.len() as u64;
                let pieces: Vec<_> = bytes
                    .chunks(3)
                    .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                    .collect();
                Ok(BlobRead::new(
                    self.opens_at,
                    Some(size),
                    Box::pin(stream::iter(pieces)),
                ))
            })
        }

        fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
            let found = self.blobs.get(digest).map(|bytes| bytes.len() as u64);
            Box::pin(async move { found.ok_or_else(missing) })
        }
    }

    #[test]
    fn a_whole_index_is_walked_once() {
        let mut memory = Memory::default();
        let first = memory.good_image(&[b"base layer", b"one"]);
        let second = memory.good_image(&[b"base layer", b"two"]);
        let inner = memory.index(vec![first.clone(), second.clone()]);
        let extra = memory.add_blob(MediaType::OCI_LAYER_GZIP, b"not a manifest");
        let root = memory.index(vec![inner, first, extra]);
        let report = memory.validate().unwrap();
        assert_eq!(report.root, root);
        assert_eq!(report.manifests, 4);
        assert_eq!(report.blobs, 2 + 3 + 1);
        let expected: u64 = memory.manifests.values().map(Raw::size).sum::<u64>()
            + memory
                .blobs
                .values()
                .map(|blob| blob.len() as u64)
                .sum::<u64>();
        assert_eq!(report.bytes, expected);
    }

    /// Schema 1 of these layers, the top first, with this `v1Compatibility` for each.
    fn schema1(layers: &[&[u8]], v1_compatibility: &str) -> Raw<Manifest> {
        let list = |entry: &dyn Fn(&[u8]) -> String| {
            let entries: Vec<_> = layers.iter().map(|layer| entry(layer)).collect();
            entries.join(",")
        };
        let text = format!(
            "{{\"schemaVersion\":1,\"fsLayers\":[{}],\"history\":[{}]}}",
            list(&|layer| format!("{{\"blobSum\":\"{}\"}}", Digest::sha256_of(layer))),
            list(&|_| format!("{{\"v1Compatibility\":\"{v1_compatibility}\"}}")),
        );
        Manifest::parse(text.into(), None).unwrap()
    }

    #[test]
    fn schema_1_images_are_read_by_the_sizes_of_the_source() {
        let mut memory = Memory::default();
        memory.add_blob(MediaType::DOCKER_LAYER_GZIP, b"top");
        memory.add_blob(MediaType::DOCKER_LAYER_GZIP, b"empty");
        memory.put(schema1(&[b"top", b"empty", b"base", b"empty"], "{}"));
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::NotFound);
        assert!(text.contains(Digest::sha256_of(b"base").as_str()), "{text}");
        memory.add_blob(MediaType::DOCKER_LAYER_GZIP, b"base");
        let report = memory.validate().unwrap();
        assert_eq!((report.manifests, report.blobs), (1, 3));
        assert_eq!(report.bytes, report.root.size + 3 + 5 + 4);
        memory
            .blobs
            .insert(Digest::sha256_of(b"base"), Bytes::from_static(b"Base"));
        assert_eq!(memory.complaint().0, ContentErrorKind::Integrity);
        memory.put(schema1(&[b"top"], "["));
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Invalid);
        assert!(text.contains("$.history[0].v1Compatibility"), "{text}");
    }

    #[test]
    fn artifact_manifests_are_followed_from_indexes() {
        let mut memory = Memory::default();
        let blob = memory.add_blob("text/plain".parse().unwrap(), b"a bill of materials");
        let artifact_type: MediaType = "application/x.y".parse().unwrap();
        let artifact = ArtifactManifest::new(artifact_type, vec![blob.clone()]);
        let artifact = memory.put(artifact.to_raw().unwrap());
        memory.index(vec![artifact]);
        let report = memory.validate().unwrap();
        assert_eq!((report.manifests, report.blobs), (2, 1));
        memory.blobs.remove(&blob.digest);
        assert_eq!(memory.complaint().0, ContentErrorKind::NotFound);
    }

    #[test]
    fn content_has_one_size_wherever_it_is_named() {
        let mut memory = Memory::default();
        let image = memory.good_image(&[b"layer"]);
        let mut other = image.clone();
        other.size += 1;
        memory.index(vec![image, other]);
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Integrity);
        assert!(text.contains("in one descriptor and"), "{text}");
    }

    #[test]
    fn changed_and_cut_blobs_are_found() {
        let mut memory = Memory::default();
        memory.good_image(&[b"the layer"]);
        let digest = Digest::sha256_of(b"the layer");
        for (content, expected) in [
            (&b"the Layer"[..], "has the digest"),
            (b"the lay", "has 7 bytes at the source but 9"),
            (b"the layer and more", "has 18 bytes at the source but 9"),
        ] {
            memory
                .blobs
                .insert(digest.clone(), Bytes::from_static(content));
            let (kind, text) = memory.complaint();
            assert_eq!(kind, ContentErrorKind::Integrity);
            assert!(
                text.contains(expected) && text.contains(digest.hex()),
                "{text}"
            );
        }
        memory.blobs.remove(&digest);
        assert_eq!(memory.complaint().0, ContentErrorKind::NotFound);
    }

    #[test]
    fn a_source_that_starts_elsewhere_is_not_believed() {
        let mut memory = Memory {
            opens_at: 1,
            ..Memory::default()
        };
        memory.good_image(&[b"the layer"]);
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Invalid);
        assert!(text.contains("at byte 1"), "{text}");
    }

    #[test]
    fn config_and_layers_have_to_agree() {
        let mut memory = Memory::default();
        memory.image(&[b"one", b"two"], vec![Digest::sha256_of(b"one")]);
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Invalid);
        assert!(text.contains("1 diff_ids for 2 layers"), "{text}");
        memory.image(&[b"one"], vec![Digest::sha256_of(b"two")]);
        assert!(memory.complaint().1.contains("uncompressed layer"));
    }

    #[test]
    fn a_config_that_is_none_is_found() {
        let mut memory = Memory::default();
        let config = memory.add_blob(MediaType::OCI_CONFIG, b"{\"architecture\":1}");
        memory.put(ImageManifest::new(config, vec![]).to_raw().unwrap());
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Invalid);
        assert!(text.contains("$.architecture: expected a string"), "{text}");
        // The same bytes under the type of an artifact are nobody's business.
        let config = memory.add_blob(
            "application/x.y+json".parse().unwrap(),
            b"{\"architecture\":1}",
        );
        memory.put(ImageManifest::new(config, vec![]).to_raw().unwrap());
        assert_eq!(memory.validate().unwrap().blobs, 1);
    }

    #[test]
    fn indexes_are_followed_to_a_depth() {
        let mut memory = Memory::default();
        let mut descriptor = memory.good_image(&[b"layer"]);
        for _ in 0..MAX_INDEX_DEPTH {
            descriptor = memory.index(vec![descriptor]);
        }
        assert_eq!(
            memory.validate().unwrap().manifests,
            1 + MAX_INDEX_DEPTH as u64
        );
        memory.index(vec![descriptor]);
        let (kind, text) = memory.complaint();
        assert_eq!(kind, ContentErrorKind::Invalid);
        assert!(text.contains("nested deeper than 4"), "{text}");
    }

    #[test]
    fn descriptors_of_manifests_are_held_to_their_word() {
        let mut memory = Memory::default();
        let image = memory.good_image(&[b"layer"]);
        let mut wrong = image.clone();
        wrong.size += 1;
        memory.index(vec![wrong]);
        assert_eq!(memory.complaint().0, ContentErrorKind::Integrity);
        let mut wrong = image.clone();
        wrong.media_type = MediaType::DOCKER_MANIFEST;
        memory.index(vec![wrong]);
        assert!(memory.complaint().1.contains("but its descriptor says"));
        let mut other = image;
        other.digest = Digest::of(Algorithm::Sha512, memory.manifests[&other.digest].bytes());
        let same = memory
            .manifests
            .values()
            .find(|manifest| manifest.value().as_image().is_some())
            .cloned()
            .unwrap();
        memory.manifests.insert(other.digest.clone(), same);
        memory.index(vec![other]);
        assert_eq!(memory.validate().unwrap().manifests, 2);
    }

    #[test]
    fn a_manifest_asked_for_by_digest_has_that_digest() {
        let mut memory = Memory::default();
        let image = memory.good_image(&[b"layer"]);
        let asked = Digest::sha256_of(b"another");
        let manifest = memory.manifests[&image.digest].clone();
        memory.manifests.insert(asked.clone(), manifest);
        let answer = validate(&memory, Some(&Selector::Digest(asked)))
            .now_or_never()
            .unwrap();
        assert_eq!(answer.unwrap_err().kind(), ContentErrorKind::Integrity);
    }

    #[test]
    fn foreign_layers_may_be_missing() {
        let mut memory = Memory::default();
        let foreign: MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            .parse()
            .unwrap();
        let layer = Descriptor::of(foreign, b"windows");
        let config = memory.add_blob(MediaType::OCI_EMPTY, b"{}");
        memory.put(
            ImageManifest::new(config, vec![layer.clone()])
                .to_raw()
                .unwrap(),
        );
        assert_eq!(
            memory.validate().unwrap().missing_foreign_layers,
            [layer.digest]
        );
    }

    #[test]
    fn small_blobs_are_read_within_a_limit() {
        let mut memory = Memory::default();
        let descriptor = memory.add_blob(MediaType::OCI_EMPTY, b"some bytes");
        let read = |limit| {
            read_verified(&memory, &descriptor, limit)
                .now_or_never()
                .unwrap()
        };
        assert_eq!(read(10).unwrap().as_ref(), b"some bytes");
        assert_eq!(read(9).unwrap_err().kind(), ContentErrorKind::Invalid);
        let mut embedded = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        embedded.data = Some(Bytes::from_static(b"{}"));
        let read = read_verified(&memory, &embedded, 10)
            .now_or_never()
            .unwrap();
        assert_eq!(read.unwrap().as_ref(), b"{}");
    }

    #[test]
    fn pieces_are_handed_out_and_the_whole_verified() {
        let mut memory = Memory::default();
        let mut descriptor = memory.add_blob(MediaType::OCI_LAYER, b"some bytes");
        let stream = |descriptor: &Descriptor, fails: bool| {
            let mut all = Vec::new();
            let outcome = stream_verified(&memory, descriptor, |piece| {
                all.extend_from_slice(piece);
                if fails {
                    Err(ContentError::new(ContentErrorKind::Storage, "full"))
                } else {
                    Ok(())
                }
            })
            .now_or_never()
            .unwrap();
            (outcome.map_err(|error| error.kind()), all)
        };
        assert_eq!(stream(&descriptor, false), (Ok(()), b"some bytes".to_vec()));
        let (outcome, _) = stream(&descriptor, true);
        assert_eq!(outcome, Err(ContentErrorKind::Storage));
        descriptor.size -= 1;
        let (outcome, all) = stream(&descriptor, false);
        assert_eq!(outcome, Err(ContentErrorKind::Integrity));
        assert!(all.len() < 10, "{all:?}");
    }
}
