//! An image into a Docker archive.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use peak_oci::{
    Algorithm, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, Manifest, Placement, Raw,
    Sink, Tag, Verifier,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrived::{Arrived, ArrivedLayer, runnable, tag_of_root};
use super::decode::{DecodeError, Decoder};
use super::options::{DockerArchiveOptions, layer_name};
use super::{Listed, MANIFEST};
use crate::blob::{self, Receiver};
use crate::replacement::{Making, Place, Replacement};
use crate::tar::{self, BLOCK};
use crate::{LayoutError, blocking, positioned};

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
    /// By the digest of each layer that has arrived, that of the uncompressed layer.
    arrived: Arrived<Digest>,
    /// The right to write a layer.
    turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    file: Making,
    /// Where the next entry begins, in bytes.
    end: u64,
}

/// The layer's own digest, uncompressed as it is in the archive.
impl ArrivedLayer for Digest {
    fn diff_id(&self) -> Option<&Digest> {
        Some(self)
    }
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
                arrived: Arrived::default(),
                turn: Arc::new(Semaphore::new(1)),
            }),
        })
    }

    /// Where the archive will be, as an absolute path.
    pub fn path(&self) -> PathBuf {
        self.inner.place.path()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unfinished file, begun when it is first needed.
    fn begin(&self, state: &mut State) -> Result<Arc<File>, LayoutError> {
        Ok(state.file.file(&self.place)?.0)
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
        self.begin(&mut self.state())?;
        self.arrived.expect(image);
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
        let (config, layers) = self.arrived.image(image)?;
        let listed = [Listed {
            config: format!("{}.json", Digest::sha256_of(&config).hex()),
            names: Some(
                self.options
                    .image_name(tag)
                    .map(|(name, _)| name)
                    .into_iter()
                    .collect(),
            ),
            layers: Some(layers.iter().map(layer_name).collect()),
        }];
        let text = serde_json::to_vec(&listed).map_err(LayoutError::json(path.join(MANIFEST)))?;
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
        error.of_layer(&self.digest, self.limit, &self.inner.place.path())
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
        if !inner.arrived.has_layer(|known| *known == diff_id) {
            let header = tar::reserve(&layer_name(&diff_id), size);
            positioned::write(&self.file, &header, self.begin)
                .map_err(LayoutError::writing(&inner.place.path()))?;
            state.end = inner.end_of(self.begin + BLOCK, size)?;
            self.has_arrived = true;
        }
        inner.arrived.add_layer(self.digest.clone(), diff_id);
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
        let has = self.inner.arrived.has(descriptor);
        Box::pin(async move { Ok(has) })
    }

    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let descriptor = descriptor.clone();
        Box::pin(async move {
            if inner.arrived.is_config(&descriptor) {
                let path = inner.place.path();
                return Ok(inner.arrived.config_writer(&descriptor, &path)?);
            }
            let turn = Arc::clone(&inner.turn).acquire_owned().await;
            let turn = turn.map_err(|_| LayoutError::Shutdown)?;
            let begun = descriptor.clone();
            let receiver = blocking(move || inner.open_layer(&begun, turn)).await?;
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
        let work = move || inner.finish(&manifest, tag_of_root(&manifest, &placement)?);
        Box::pin(async move { Ok(blocking(work).await?) })
    }
}
