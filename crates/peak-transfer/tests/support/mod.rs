//! An end in memory that counts what it is asked for and refuses what comes in the wrong order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use peak_oci::{
    BlobRead, BlobWriter, BoxFuture, ContentError, ContentErrorKind, Descriptor, Digest,
    ImageConfig, ImageManifest, Index, Manifest, MediaType, Placement, Platform, Raw, Selector,
    Sink, Source, Tag, TagStream,
};

/// How many bytes a piece of a blob has.
const PIECE: usize = 1024;

/// A repository in memory: a source and a sink. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) manifests: HashMap<Digest, Raw<Manifest>>,
    pub(crate) blobs: HashMap<Digest, Bytes>,
    pub(crate) tags: BTreeMap<Tag, Digest>,
    /// What was put and deleted, in order: `child DIGEST`, `tag TAG`, `delete TAG`.
    pub(crate) log: Vec<String>,
    /// How often each blob was opened.
    pub(crate) opened: HashMap<Digest, usize>,
    /// Most blobs that were read at the same time.
    pub(crate) most_open: usize,
    open: usize,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// How often it was asked what a tag stands for, and for a manifest.
    pub(crate) digests_asked: usize,
    pub(crate) manifests_asked: usize,
    /// Most manifests that were asked for at the same time.
    pub(crate) most_asked: usize,
    asked: usize,
    pub(crate) tags_listed: usize,
    pub(crate) takes_schema1: bool,
    /// Says of what is not there that it may not be read.
    pub(crate) denies: bool,
    /// Blobs that cannot be read, manifests that cannot be put, tags that cannot be deleted.
    pub(crate) broken: HashSet<String>,
    /// Takes complete images only.
    pub(crate) wants_foreign_layers: bool,
    /// Listed as a referrer of everything, though it is not there.
    pub(crate) dangling: Option<Descriptor>,
}

impl Memory {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Puts an image for a platform with these layers, by digest alone.
    pub(crate) fn image(&self, platform: &str, layers: &[&[u8]]) -> Raw<Manifest> {
        let platform: Platform = platform.parse().unwrap();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| self.blob(MediaType::OCI_LAYER, layer))
            .collect();
        let diff_ids = descriptors.iter().map(|layer| layer.digest.clone());
        let config = ImageConfig::new(&platform, diff_ids.collect())
            .to_raw()
            .unwrap();
        let config = self.blob(MediaType::OCI_CONFIG, config.bytes());
        self.keep(ImageManifest::new(config, descriptors).to_raw().unwrap())
    }

    /// Puts something that says something about a manifest.
    pub(crate) fn statement(&self, subject: Option<&Raw<Manifest>>, text: &str) -> Raw<Manifest> {
        let config = self.blob(MediaType::OCI_EMPTY, b"{}");
        let content = self.blob("text/plain".parse().unwrap(), text.as_bytes());
        let mut manifest = ImageManifest::new(config, vec![content]);
        manifest.artifact_type = Some("application/vnd.test.statement".parse().unwrap());
        manifest.subject = subject.map(Raw::descriptor);
        self.keep(manifest.to_raw().unwrap())
    }

    pub(crate) fn index(&self, entries: Vec<Descriptor>) -> Raw<Manifest> {
        self.keep(Index::new(entries).to_raw().unwrap())
    }

    pub(crate) fn keep(&self, manifest: Raw<Manifest>) -> Raw<Manifest> {
        self.state()
            .manifests
            .insert(manifest.digest().clone(), manifest.clone());
        manifest
    }

    pub(crate) fn blob(&self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.state()
            .blobs
            .insert(descriptor.digest.clone(), Bytes::copy_from_slice(bytes));
        descriptor
    }

    pub(crate) fn tag(&self, name: &str, manifest: &Raw<Manifest>) {
        self.state()
            .tags
            .insert(name.parse().unwrap(), manifest.digest().clone());
    }

    pub(crate) fn tagged(&self, name: &str) -> Option<Digest> {
        let tag: Tag = name.parse().unwrap();
        self.state().tags.get(&tag).cloned()
    }

    pub(crate) fn tag_names(&self) -> Vec<String> {
        self.state().tags.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Forgets what was counted.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.log.clear();
        state.opened.clear();
        state.most_open = 0;
        state.bytes_read = 0;
        state.bytes_written = 0;
        state.digests_asked = 0;
        state.manifests_asked = 0;
        state.tags_listed = 0;
    }

    pub(crate) fn delete(&self, tag: &Tag) -> Result<(), ContentError> {
        let mut state = self.state();
        state.check(tag.as_str())?;
        state.log.push(format!("delete {tag}"));
        match state.tags.remove(tag) {
            Some(_) => Ok(()),
            None => Err(missing("no such tag")),
        }
    }
}

impl State {
    fn check(&self, what: &str) -> Result<(), ContentError> {
        if self.broken.contains(what) {
            let error = ContentError::new(ContentErrorKind::Network, format!("{what} is broken"));
            return Err(error);
        }
        Ok(())
    }

    fn resolve(&self, selector: Option<&Selector>) -> Option<Digest> {
        match selector {
            Some(Selector::Digest(digest)) => Some(digest.clone()),
            Some(Selector::Tag(tag)) => self.tags.get(tag).cloned(),
            None => self.tags.values().next().cloned(),
        }
    }

    /// What a manifest points to is there already, and what it refers to.
    fn check_order(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        let is_index = manifest.value().as_index().is_some();
        for child in manifest.value().children() {
            let is_there = if is_index && child.media_type.is_manifest() {
                self.manifests.contains_key(&child.digest)
            } else {
                self.blobs.contains_key(&child.digest) || !child.urls.is_empty()
            };
            if !is_there {
                return Err(missing("a manifest came before what it points to"));
            }
        }
        match manifest.value().subject() {
            Some(subject) if !self.manifests.contains_key(&subject.digest) => {
                Err(missing("a referrer came before its subject"))
            }
            _ => Ok(()),
        }
    }
}

fn missing(message: &str) -> ContentError {
    ContentError::new(ContentErrorKind::NotFound, message)
}

/// Counts a blob as open until it is dropped.
struct Open(Memory);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

impl Source for Memory {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(async move {
            {
                let mut state = self.state();
                state.asked += 1;
                state.most_asked = state.most_asked.max(state.asked);
            }
            tokio::task::yield_now().await;
            let mut state = self.state();
            state.asked -= 1;
            state.manifests_asked += 1;
            let digest = state
                .resolve(selector)
                .ok_or_else(|| missing("no such tag"))?;
            state.check(digest.as_ref())?;
            let found = state.manifests.get(&digest).cloned();
            found.ok_or_else(|| missing("no such manifest"))
        })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.check(descriptor.digest.as_ref())?;
            let bytes = state
                .blobs
                .get(&descriptor.digest)
                .cloned()
                .ok_or_else(|| missing("no such blob"))?;
            *state.opened.entry(descriptor.digest.clone()).or_default() += 1;
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
            let open = Open(self.clone());
            let size = bytes.len() as u64;
            let rest = bytes.slice(usize::try_from(offset).unwrap()..);
            let pieces: Vec<Bytes> = rest.chunks(PIECE).map(Bytes::copy_from_slice).collect();
            let stream = stream::iter(pieces).then(move |piece| {
                open.0.state().bytes_read += piece.len() as u64;
                async move {
                    tokio::task::yield_now().await;
                    Ok(piece)
                }
            });
            Ok(BlobRead::new(offset, Some(size), stream.boxed()))
        })
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        let found = self.state().blobs.get(digest).map(|blob| blob.len() as u64);
        Box::pin(async move { found.ok_or_else(|| missing("no such blob")) })
    }

    fn manifest_digest<'a>(
        &'a self,
        selector: &'a Selector,
    ) -> BoxFuture<'a, Result<Option<Digest>, ContentError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = self.state();
            state.digests_asked += 1;
            let Some(digest) = state.resolve(Some(selector)) else {
                if state.denies {
                    return Err(ContentError::new(ContentErrorKind::Denied, "not allowed"));
                }
                return Ok(None);
            };
            state.check(digest.as_ref())?;
            Ok(state.manifests.contains_key(&digest).then_some(digest))
        })
    }

    fn tags(&self) -> TagStream<'_> {
        let mut state = self.state();
        state.tags_listed += 1;
        let failure = state.check("tags").err();
        let tags: Vec<_> = state.tags.keys().cloned().map(Ok).collect();
        match failure {
            Some(error) => stream::iter([Err(error)]).boxed(),
            None => stream::iter(tags).boxed(),
        }
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, ContentError>> {
        Box::pin(async move {
            let state = self.state();
            let refers = |manifest: &&Raw<Manifest>| {
                let about = manifest.value().subject();
                about.is_some_and(|about| about.digest == *subject)
            };
            let found = state.manifests.values().filter(refers);
            let mut found: Vec<_> = found.map(Raw::descriptor).collect();
            found.extend(state.dangling.clone());
            Ok(found)
        })
    }
}

impl Sink for Memory {
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        Box::pin(async move { Ok(self.state().blobs.contains_key(&descriptor.digest)) })
    }

    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        let writer = Writer {
            end: self.clone(),
            descriptor: descriptor.clone(),
            bytes: BytesMut::new(),
        };
        Box::pin(async move { Ok(Box::new(writer) as Box<dyn BlobWriter>) })
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = self.state();
            state.check(manifest.digest().as_ref())?;
            state.check_order(manifest)?;
            let line = match placement {
                Placement::Root { tag: Some(tag) } => {
                    state.tags.insert(tag.clone(), manifest.digest().clone());
                    format!("tag {tag}")
                }
                _ => format!("child {}", manifest.digest()),
            };
            state.log.push(line);
            state
                .manifests
                .insert(manifest.digest().clone(), manifest.clone());
            Ok(())
        })
    }

    fn holds_images_without_foreign_layers(&self) -> bool {
        !self.state().wants_foreign_layers
    }

    fn holds(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        if manifest.media_type().is_schema1() && !self.state().takes_schema1 {
            let error = ContentError::new(ContentErrorKind::Unsupported, "no schema 1 here");
            return Err(error);
        }
        Ok(())
    }
}

struct Writer {
    end: Memory,
    descriptor: Descriptor,
    bytes: BytesMut,
}

impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        self.bytes.extend_from_slice(&bytes);
        self.end.state().bytes_written += bytes.len() as u64;
        Box::pin(std::future::ready(Ok(())))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        Box::pin(async move {
            let written = Descriptor::of(self.descriptor.media_type.clone(), &self.bytes);
            if written.digest != self.descriptor.digest || written.size != self.descriptor.size {
                let error = ContentError::new(ContentErrorKind::Integrity, "these are other bytes");
                return Err(error);
            }
            let mut state = self.end.state();
            state.blobs.insert(written.digest, self.bytes.freeze());
            Ok(())
        })
    }
}
