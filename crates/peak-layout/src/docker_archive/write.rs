//! An image into a Docker archive.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use peak_oci::{
    Algorithm, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, ImageConfig, ImageManifest,
    MAX_CONFIG_SIZE, Manifest, Placement, Raw, Reference, Sink, Tag, Verifier, VerifyError,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::decode::{DecodeError, Decoder};
use super::{Listed, MANIFEST};
use crate::blob::{self, Receiver};
use crate::replacement::{Making, Place, Replacement};
use crate::tar::{self, BLOCK};
use crate::{LayoutError, blocking, positioned};

/// A layer may become this large whatever it was, in bytes.
const ALWAYS_ALLOWED: u64 = 1024 * 1024 * 1024;

/// A layer may grow this many times. Gzip cannot do more than about 1030.
const DEFAULT_RATIO: u64 = 250;

/// How an archive is written.
#[derive(Clone, Debug)]
#[must_use]
pub struct DockerArchiveOptions {
    pub(super) name: Option<Reference>,
    always_allowed: u64,
    ratio: u64,
}

impl DockerArchiveOptions {
    /// An image without a name; layers that grow to more than 1 GiB may grow by 250 times.
    pub fn new() -> Self {
        Self {
            name: None,
            always_allowed: ALWAYS_ALLOWED,
            ratio: DEFAULT_RATIO,
        }
    }

    /// What the image is called when it is loaded; without a tag, `latest` is added.
    pub fn name(mut self, name: Reference) -> Self {
        self.name = Some(name);
        self
    }

    /// How many times its compressed size a layer may have. One that becomes larger, and larger than
    /// [is always allowed](Self::always_allowed), is taken for an attack on the disk.
    pub fn maximum_ratio(mut self, ratio: u64) -> Self {
        self.ratio = ratio;
        self
    }

    /// How large a layer may become, in bytes, however small it was when it was compressed.
    pub fn always_allowed(mut self, bytes: u64) -> Self {
        self.always_allowed = bytes;
        self
    }

    /// An image in an archive has a name with a tag, or none.
    pub(super) fn check(&self) -> Result<(), LayoutError> {
        match self.name.as_ref().and_then(Reference::digest) {
            None => Ok(()),
            Some(digest) => Err(LayoutError::NamedByDigest {
                digest: digest.clone(),
            }),
        }
    }

    /// How large a layer of this size may become, in bytes.
    pub(super) fn limit(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).max(self.always_allowed)
    }
}

impl Default for DockerArchiveOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The archive that `docker load` reads, being written: a [`Sink`] of one image.
///
/// It takes images, not indexes or artifacts: pick a platform first. The config stays as it is, and with it the id that
/// Docker shows; layers are decompressed while they come and compared with what the config says they are. The manifest,
/// and with it the digest, cannot be kept.
///
/// Everything goes into a file beside the one that is named, which takes its place when the image is complete. An existing
/// archive is replaced, not added to, and what an interrupted run has written is not used by the next one.
///
/// How large a layer is when it is decompressed, which stands before it in the archive, is known only at its end. So one
/// layer is written at a time, straight to its place, in the order in which they are asked for; [`Sink::blob_writer`] waits
/// until the one before is done, before its source is even opened. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerArchiveWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    options: DockerArchiveOptions,
    state: Mutex<State>,
    /// The right to write a layer.
    turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    file: Making,
    /// Where the next entry begins, in bytes.
    end: u64,
    /// What is known to be a config.
    config: Option<Digest>,
    configs: HashMap<Digest, Bytes>,
    /// By the digest of each blob that has arrived, that of the uncompressed layer.
    layers: HashMap<Digest, Digest>,
}

impl DockerArchiveWriter {
    /// Prepares to write an archive at `path`; parents are created. The file there, if any, stays for now.
    ///
    /// # Errors
    /// [`LayoutError::NotAFile`] where something else than a file is there, [`LayoutError::NotWritable`],
    /// [`LayoutError::NamedByDigest`]. Blocks on a few small file operations.
    pub fn create(
        path: impl AsRef<Path>,
        options: DockerArchiveOptions,
    ) -> Result<Self, LayoutError> {
        options.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                place: Place::new(path.as_ref())?,
                options,
                state: Mutex::default(),
                turn: Arc::new(Semaphore::new(1)),
            }),
        })
    }

    /// Where the archive will be, as an absolute path.
    pub fn path(&self) -> PathBuf {
        self.inner.place.path()
    }
}

/// The image that a manifest is, if it is one that Docker can run.
pub(super) fn runnable(manifest: &Raw<Manifest>) -> Result<&ImageManifest, LayoutError> {
    let what = match manifest.value() {
        Manifest::Image(image) if image.config.media_type.is_image_config() => return Ok(image),
        Manifest::Index(_) => "an index of several platforms; pick one of them",
        Manifest::Schema1(_) => "an image of Docker's schema 1",
        _ => "an artifact and not an image",
    };
    Err(LayoutError::NotHeld {
        digest: manifest.digest().clone(),
        what,
    })
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unfinished file, begun when it is first needed.
    fn begin(&self, state: &mut State) -> Result<Arc<File>, LayoutError> {
        Ok(state.file.file(&self.place)?.0)
    }

    fn is_config(&self, descriptor: &Descriptor) -> bool {
        descriptor.media_type.is_image_config()
            || self.state().config.as_ref() == Some(&descriptor.digest)
    }

    fn has(&self, descriptor: &Descriptor) -> bool {
        let state = self.state();
        state.layers.contains_key(&descriptor.digest)
            || state.configs.contains_key(&descriptor.digest)
    }

    fn open_config(
        self: &Arc<Self>,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn Receiver>, LayoutError> {
        if descriptor.size > MAX_CONFIG_SIZE {
            return Err(LayoutError::TooLarge {
                path: self.place.path().join(descriptor.digest.hex()),
                limit: MAX_CONFIG_SIZE,
            });
        }
        Ok(Box::new(Config {
            inner: Arc::clone(self),
            digest: descriptor.digest.clone(),
            verifier: Verifier::for_descriptor(descriptor),
            content: Vec::new(),
        }))
    }

    fn open_layer(
        self: &Arc<Self>,
        descriptor: &Descriptor,
        turn: OwnedSemaphorePermit,
    ) -> Result<Box<dyn Receiver>, LayoutError> {
        let mut state = self.state();
        let file = self.begin(&mut state)?;
        let begin = state.end;
        drop(state);
        let limit = self.options.limit(descriptor.size);
        Ok(Box::new(Layer {
            inner: Arc::clone(self),
            decoder: Some(Decoder::new(
                Arc::clone(&file),
                begin + BLOCK,
                limit,
                descriptor.digest.algorithm() == Algorithm::Sha256,
            )),
            file,
            begin,
            limit,
            digest: descriptor.digest.clone(),
            verifier: Verifier::for_descriptor(descriptor),
            has_arrived: false,
            _turn: turn,
        }))
    }

    fn prepare(&self, root: &Raw<Manifest>) -> Result<(), LayoutError> {
        let image = runnable(root)?;
        let mut state = self.state();
        self.begin(&mut state)?;
        state.config = Some(image.config.digest.clone());
        Ok(())
    }

    /// Compares what has arrived with what the config says, and puts the archive in its place.
    fn finish(&self, manifest: &Raw<Manifest>, tag: Option<&Tag>) -> Result<(), LayoutError> {
        let image = runnable(manifest)?;
        let path = self.place.path();
        let mut state = self.state();
        let file = self.begin(&mut state)?;
        if self.turn.available_permits() == 0 {
            return Err(LayoutError::Incomplete { path });
        }
        let digest = &image.config.digest;
        let config =
            state
                .configs
                .get(digest)
                .cloned()
                .ok_or_else(|| LayoutError::MissingBlob {
                    digest: digest.clone(),
                })?;
        let layers = compare(image, &config, &state.layers)?;
        let listed = [Listed {
            config: format!("{}.json", Digest::sha256_of(&config).hex()),
            names: Some(
                image_name(self.options.name.as_ref(), tag)
                    .map(|(name, _)| name)
                    .into_iter()
                    .collect(),
            ),
            layers: Some(layers.iter().map(layer_name).collect()),
        }];
        let text = serde_json::to_vec(&listed).map_err(|source| LayoutError::InvalidJson {
            path: path.join(MANIFEST),
            source,
        })?;
        let [Listed { config: name, .. }] = &listed;
        for (name, content) in [
            (name.as_str(), config.as_ref()),
            (MANIFEST, text.as_slice()),
        ] {
            let header = tar::reserve(name, content.len() as u64);
            let at = state.end.saturating_add(header.len() as u64);
            positioned::write(&file, &header, state.end)
                .and_then(|()| positioned::write(&file, content, at))
                .map_err(LayoutError::writing(&path))?;
            state.end = self.end_of(at, content.len() as u64)?;
        }
        file.set_len(state.end.saturating_add(tar::END_SIZE))
            .map_err(LayoutError::writing(&path))?;
        let complete = state.file.finish();
        // The disk may take its time, and others look at the state.
        drop(state);
        complete.map_or(Ok(()), Replacement::publish)
    }

    fn end_of(&self, content: u64, size: u64) -> Result<u64, LayoutError> {
        tar::padded(size)
            .and_then(|size| content.checked_add(size))
            .ok_or_else(|| LayoutError::TooLarge {
                path: self.place.path(),
                limit: u64::MAX,
            })
    }
}

/// The name that is written down, and its tag: the full one, because tools differ in what they make of a short one.
pub(super) fn image_name(name: Option<&Reference>, tag: Option<&Tag>) -> Option<(String, Tag)> {
    let name = name?;
    let tag = tag.or_else(|| name.tag()).cloned();
    let tag = tag.unwrap_or_else(Tag::latest);
    Some((name.with_tag(tag.clone()).canonical(), tag))
}

pub(super) fn layer_name(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

/// The uncompressed layers of the image, as they have arrived and as the config says they are.
fn compare(
    image: &ImageManifest,
    config: &Bytes,
    arrived: &HashMap<Digest, Digest>,
) -> Result<Vec<Digest>, LayoutError> {
    let digest = &image.config.digest;
    let config =
        ImageConfig::parse(config.clone()).map_err(|source| LayoutError::InvalidManifest {
            digest: digest.clone(),
            source,
        })?;
    let diff_ids = &config.value().rootfs.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Err(LayoutError::Layers {
            digest: digest.clone(),
            said: diff_ids.len(),
            found: image.layers.len(),
        });
    }
    let mut layers = Vec::new();
    for (layer, expected) in image.layers.iter().zip(diff_ids) {
        let actual = arrived
            .get(&layer.digest)
            .ok_or_else(|| LayoutError::MissingBlob {
                digest: layer.digest.clone(),
            })?;
        if expected.algorithm() != actual.algorithm() {
            return Err(LayoutError::NotHeld {
                digest: digest.clone(),
                what: "a config that names its layers by other digests than SHA-256",
            });
        }
        if actual != expected {
            return Err(LayoutError::integrity(&layer.digest)(VerifyError::Digest {
                expected: expected.clone(),
                actual: actual.clone(),
            }));
        }
        layers.push(actual.clone());
    }
    Ok(layers)
}

/// A config on its way: small, and written when everything else is there.
#[derive(Debug)]
struct Config {
    inner: Arc<Inner>,
    digest: Digest,
    verifier: Verifier,
    content: Vec<u8>,
}

impl Receiver for Config {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        for frame in frames {
            self.verifier
                .update(frame)
                .map_err(LayoutError::integrity(&self.digest))?;
            self.content.extend_from_slice(frame);
        }
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<(), LayoutError> {
        self.verifier
            .finish()
            .map_err(LayoutError::integrity(&self.digest))?;
        let mut state = self.inner.state();
        state.configs.insert(self.digest, self.content.into());
        Ok(())
    }
}

/// A layer on its way, at the end of the file.
#[derive(Debug)]
struct Layer {
    inner: Arc<Inner>,
    file: Arc<File>,
    begin: u64,
    limit: u64,
    digest: Digest,
    verifier: Verifier,
    decoder: Option<Decoder>,
    has_arrived: bool,
    /// Given back when the file is as it should be for the next one.
    _turn: OwnedSemaphorePermit,
}

impl Layer {
    fn failed(&self, error: DecodeError) -> LayoutError {
        decoding_failed(error, &self.digest, self.limit, &self.inner.place.path())
    }
}

/// What it means that the layer `digest` cannot be decompressed into `path`.
pub(super) fn decoding_failed(
    error: DecodeError,
    digest: &Digest,
    limit: u64,
    path: &Path,
) -> LayoutError {
    let digest = digest.clone();
    match error {
        DecodeError::Corrupt(source) => LayoutError::Compression { digest, source },
        DecodeError::TooLarge => LayoutError::Expansion { digest, limit },
        DecodeError::Write(source) => LayoutError::writing(path)(source),
    }
}

impl Receiver for Layer {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        for frame in frames {
            self.verifier
                .update(frame)
                .map_err(LayoutError::integrity(&self.digest))?;
            let Some(decoder) = &mut self.decoder else {
                return Err(LayoutError::Broken {
                    digest: self.digest.clone(),
                });
            };
            decoder.write(frame).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), LayoutError> {
        let verified = self.verifier.clone().finish();
        verified.map_err(LayoutError::integrity(&self.digest))?;
        let Some(decoder) = self.decoder.take() else {
            return Err(LayoutError::Broken {
                digest: self.digest.clone(),
            });
        };
        let (decoded, size) = decoder.finish().map_err(|error| self.failed(error))?;
        // What came uncompressed has just been verified by the same digest.
        let diff_id = decoded.unwrap_or_else(|| self.digest.clone());
        let inner = Arc::clone(&self.inner);
        let mut state = inner.state();
        // The same layer may come compressed in several ways; once is enough.
        if !state.layers.values().any(|known| *known == diff_id) {
            let header = tar::reserve(&layer_name(&diff_id), size);
            positioned::write(&self.file, &header, self.begin)
                .map_err(LayoutError::writing(&inner.place.path()))?;
            state.end = inner.end_of(self.begin + BLOCK, size)?;
            self.has_arrived = true;
        }
        state.layers.insert(self.digest.clone(), diff_id);
        Ok(())
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        if !self.has_arrived {
            // What is behind the end must be empty: it fills the last block of the next entry.
            let _ = self.file.set_len(self.begin);
        }
    }
}

impl Sink for DockerArchiveWriter {
    /// It holds one image.
    fn holds_referrers(&self) -> bool {
        false
    }

    /// Docker unpacks every layer from the archive.
    fn holds_images_without_foreign_layers(&self) -> bool {
        false
    }

    /// Refuses what such an archive cannot hold.
    fn prepare<'a>(
        &'a self,
        root: &'a Raw<Manifest>,
        _blobs: &'a [Descriptor],
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        let inner = Arc::clone(&self.inner);
        let root = root.clone();
        Box::pin(async move { Ok(blocking(move || inner.prepare(&root)).await?) })
    }

    /// An image for one platform and nothing else.
    fn holds(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        runnable(manifest)?;
        Ok(())
    }

    /// A blob is present when it has arrived in this archive. What an archive in the same place has does not count.
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        let has = self.inner.has(descriptor);
        Box::pin(async move { Ok(has) })
    }

    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let descriptor = descriptor.clone();
        Box::pin(async move {
            let begun = descriptor.clone();
            let receiver = if inner.is_config(&descriptor) {
                inner.open_config(&descriptor)?
            } else {
                let turn = Arc::clone(&inner.turn).acquire_owned().await;
                let turn = turn.map_err(|_| LayoutError::Shutdown)?;
                blocking(move || inner.open_layer(&begun, turn)).await?
            };
            let writer = blob::Writer::new(receiver, &descriptor, 0);
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        let inner = Arc::clone(&self.inner);
        let (manifest, placement) = (manifest.clone(), placement.clone());
        let work = move || match placement {
            Placement::Root { tag } => inner.finish(&manifest, tag.as_ref()),
            Placement::Child => Err(LayoutError::NotHeld {
                digest: manifest.digest().clone(),
                what: "part of an index; pick one image of it",
            }),
        };
        Box::pin(async move { Ok(blocking(work).await?) })
    }
}
