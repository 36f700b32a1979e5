//! An image into a Docker archive that is sent while it is written.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{self, StreamExt as _};
use peak_oci::annotations::{CONTAINERD_IMAGE_NAME, REF_NAME};
use peak_oci::{
    Algorithm, BlobStream, BlobWriter, BoxFuture, ContentError, ContentErrorKind, Descriptor,
    Digest, Index, Manifest, MediaType, Placement, Raw, Sink, Tag, Verifier,
};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use super::arrived::{Arrived, ArrivedLayer, runnable, tag_of_root};
use super::decode::{Compression, DecodeError, Decoder};
use super::options::{DockerArchiveOptions, layer_name};
use super::{Listed, MANIFEST};
use crate::document::{self, INDEX, MARKER, MARKER_CONTENT};
use crate::tar::{self, BEGINNING, BLOCK};
use crate::{LayoutError, blocking, positioned};

/// Pieces that wait to be sent.
const WAITING: usize = 2;
/// How much of a layer that was decompressed is read at a time, in bytes.
const FRAME: usize = 256 * 1024;

/// Sends an archive, and says when whoever gets it is done with it.
type SendArchive = dyn FnOnce(BlobStream) -> BoxFuture<'static, Result<(), ContentError>> + Send;

/// The archive that `docker load` reads, sent while it is written: a [`Sink`] of one image.
///
/// It takes images, not indexes or artifacts, as [`DockerArchiveWriter`] does. Layers go out one after the other, as they
/// are where all who load such archives can read them: uncompressed, and compressed with gzip. Others (zstd) are
/// decompressed into a file without a name first, since the size stands before the content.
///
/// Everything is verified on its way. The stream ends well only when the image is complete: whoever receives it gets an
/// error in the place of an end where anything is wrong, or where the sink is dropped. What says that there is an image at
/// all, and under which name, comes last. Where the manifest is one of OCI's and no layer was changed, the archive is an
/// image layout at the same time, as those of Docker 25 and later are, so that Engines which keep manifests keep it.
///
/// Cheap to clone.
///
/// [`DockerArchiveWriter`]: crate::DockerArchiveWriter
#[derive(Clone)]
pub struct DockerArchiveSender {
    inner: Arc<Inner>,
}

struct Inner {
    /// What the archive is called in errors.
    path: PathBuf,
    options: DockerArchiveOptions,
    arrived: Arrived<Sent>,
    /// Whoever holds it writes.
    archive: Arc<Mutex<Archive>>,
}

/// A layer that was sent.
#[derive(Clone, Debug)]
struct Sent {
    name: String,
    /// The digest of it uncompressed, where it is known.
    diff_id: Option<Digest>,
    is_changed: bool,
}

impl ArrivedLayer for Sent {
    fn diff_id(&self) -> Option<&Digest> {
        self.diff_id.as_ref()
    }
}

/// The archive on its way.
enum Archive {
    NotBegun(Box<SendArchive>),
    Sending(Sending),
    /// Its end was sent.
    Finished,
    /// Something failed and was reported.
    Broken,
}

struct Sending {
    pieces: mpsc::Sender<Piece>,
    /// Whoever gets the archive. Polled while pieces wait.
    receiver: BoxFuture<'static, Result<(), ContentError>>,
}

enum Piece {
    Bytes(Bytes),
    /// The archive is whole. Without it the stream ends in an error.
    End,
}

impl DockerArchiveSender {
    /// Prepares to send an archive. `send` is called when the first layer comes, or at the end if there is none; what it
    /// gives back is polled only while this sink is used. `name` is what the archive is called in errors.
    ///
    /// # Errors
    /// [`LayoutError::NamedByDigest`].
    pub fn new(
        name: impl Into<PathBuf>,
        options: DockerArchiveOptions,
        send: impl FnOnce(BlobStream) -> BoxFuture<'static, Result<(), ContentError>> + Send + 'static,
    ) -> Result<Self, LayoutError> {
        options.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: name.into(),
                options,
                arrived: Arrived::default(),
                archive: Arc::new(Mutex::new(Archive::NotBegun(Box::new(send)))),
            }),
        })
    }

    /// A config that has come, as it is: Docker calls an image by its SHA-256.
    pub fn config(&self, digest: &Digest) -> Option<Bytes> {
        self.inner.arrived.config(digest)
    }
}

/// What is sent: an error in the place of the end, unless the end was said.
fn pieces_of(pieces: mpsc::Receiver<Piece>) -> BlobStream {
    let stream = stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(pieces))),
            Some(Piece::End) => None,
            None => {
                let error = ContentError::new(
                    ContentErrorKind::Interrupted,
                    "the image was given up before it was whole",
                );
                Some((Err(error), None))
            }
        }
    });
    Box::pin(stream.fuse())
}

impl Archive {
    /// The archive that is being sent, begun now where it was not.
    fn sending(&mut self, inner: &Inner) -> Result<&mut Sending, ContentError> {
        if matches!(self, Self::NotBegun(_))
            && let Self::NotBegun(send) = std::mem::replace(self, Self::Broken)
        {
            let (pieces, receiver) = mpsc::channel(WAITING);
            let receiver = send(pieces_of(receiver));
            *self = Self::Sending(Sending { pieces, receiver });
        }
        match self {
            Self::Sending(sending) => Ok(sending),
            Self::Finished => Err(LayoutError::Finished {
                path: inner.path.clone(),
            }
            .into()),
            Self::NotBegun(_) | Self::Broken => Err(LayoutError::Incomplete {
                path: inner.path.clone(),
            }
            .into()),
        }
    }

    async fn send(&mut self, inner: &Inner, bytes: Bytes) -> Result<(), ContentError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let sending = self.sending(inner)?;
        let sent = sending.send(Piece::Bytes(bytes)).await;
        if sent.is_err() {
            *self = Self::Broken;
        }
        sent
    }

    /// Sends a small file.
    async fn add(
        &mut self,
        inner: &Inner,
        name: &str,
        content: &Bytes,
    ) -> Result<(), ContentError> {
        let size = content.len() as u64;
        self.send(inner, tar::reserve(name, size).into()).await?;
        self.send(inner, content.clone()).await?;
        self.send(inner, filling(size)).await
    }

    /// Sends the end, and waits until the archive is taken in.
    async fn finish(&mut self, inner: &Inner) -> Result<(), ContentError> {
        let end = usize::try_from(tar::END_SIZE).unwrap_or(0);
        self.send(inner, vec![0; end].into()).await?;
        let sending = self.sending(inner)?;
        let done = match sending.send(Piece::End).await {
            Ok(()) => sending.receiver.as_mut().await,
            Err(error) => Err(error),
        };
        *self = if done.is_ok() {
            Self::Finished
        } else {
            Self::Broken
        };
        done
    }
}

impl Sending {
    async fn send(&mut self, piece: Piece) -> Result<(), ContentError> {
        // Whoever gets the archive is asked first, and goes on with what it has while this piece waits.
        let sent = pin!(self.pieces.send(piece));
        let ended = match select(self.receiver.as_mut(), sent).await {
            Either::Left((ended, _)) => ended,
            Either::Right((Ok(()), _)) => return Ok(()),
            // It takes no more, so it is about to say why.
            Either::Right((Err(_), receiver)) => receiver.await,
        };
        Err(ended.err().unwrap_or_else(|| {
            ContentError::new(
                ContentErrorKind::Network,
                "the archive was taken for whole before its end was sent",
            )
        }))
    }
}

/// What fills the last block of a file.
fn filling(size: u64) -> Bytes {
    static ZEROS: [u8; tar::BLOCK_SIZE] = [0; tar::BLOCK_SIZE];
    let count = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
    Bytes::from_static(ZEROS.get(..count).unwrap_or_default())
}

impl Inner {
    /// Sends what says that there is an image, and waits until it is taken in.
    async fn finish(
        &self,
        manifest: &Raw<Manifest>,
        tag: Option<&Tag>,
    ) -> Result<(), ContentError> {
        let image = runnable(manifest)?;
        let Ok(mut archive) = self.archive.try_lock() else {
            return Err(LayoutError::Incomplete {
                path: self.path.clone(),
            }
            .into());
        };
        let (config, layers) = self.arrived.image(image)?;
        let is_layout = *manifest.media_type() == MediaType::OCI_MANIFEST
            && manifest.payload() == manifest.bytes()
            && layers.iter().all(|layer| !layer.is_changed);
        let config_name = if is_layout {
            document::blob_name(&image.config.digest)
        } else {
            format!("{}.json", Digest::sha256_of(&config).hex())
        };
        // Dropped in the middle of this, the archive breaks off there and then.
        let mut last = std::mem::replace(&mut *archive, Archive::Broken);
        last.add(self, &config_name, &config).await?;
        let name = self.options.image_name(tag);
        if is_layout {
            let blob = document::blob_name(manifest.digest());
            last.add(self, &blob, manifest.bytes()).await?;
            let mut listed = manifest.descriptor();
            if let Some((reference, tag)) = &name {
                listed = listed
                    .with_annotation(CONTAINERD_IMAGE_NAME, reference)
                    .with_annotation(REF_NAME, tag.as_str());
            }
            let path = self.path.join(INDEX);
            let index = document::index_bytes(&Index::new(vec![listed]), &path)?;
            last.add(self, INDEX, &index).await?;
            let marker = Bytes::from_static(MARKER_CONTENT.as_bytes());
            last.add(self, MARKER, &marker).await?;
        }
        let listed = [Listed {
            config: config_name,
            names: Some(name.into_iter().map(|(reference, _)| reference).collect()),
            layers: Some(layers.into_iter().map(|layer| layer.name).collect()),
        }];
        let listed =
            serde_json::to_vec(&listed).map_err(LayoutError::json(self.path.join(MANIFEST)))?;
        last.add(self, MANIFEST, &listed.into()).await?;
        last.finish(self).await?;
        *archive = last;
        Ok(())
    }
}

/// A layer on its way.
struct LayerWriter {
    inner: Arc<Inner>,
    archive: OwnedMutexGuard<Archive>,
    descriptor: Descriptor,
    verifier: Verifier,
    form: Form,
    has_arrived: bool,
}

/// What a layer is, and what became of it.
enum Form {
    /// Not enough has come to tell.
    Unknown(Vec<u8>),
    /// It goes out as it is.
    AsItIs { is_compressed: bool },
    /// It is decompressed first.
    Decoded(Decoder, Arc<File>),
    /// Something failed and was reported.
    Broken,
}

impl LayerWriter {
    async fn append(&mut self, bytes: Bytes) -> Result<(), ContentError> {
        let digest = &self.descriptor.digest;
        self.verifier
            .update(&bytes)
            .map_err(LayoutError::integrity(digest))?;
        if let Form::Unknown(beginning) = &mut self.form {
            if beginning.is_empty() && bytes.len() >= BEGINNING {
                self.tell(&bytes).await?;
            } else {
                beginning.extend_from_slice(&bytes);
                if beginning.len() < BEGINNING {
                    return Ok(());
                }
                return self.tell_late().await;
            }
        }
        self.pass_on(bytes).await
    }

    /// Begins with what came in small pieces.
    async fn tell_late(&mut self) -> Result<(), ContentError> {
        if let Form::Unknown(beginning) = &mut self.form {
            let beginning = Bytes::from(std::mem::take(beginning));
            self.tell(&beginning).await?;
            self.pass_on(beginning).await?;
        }
        Ok(())
    }

    /// Finds out what the layer is by how it begins.
    async fn tell(&mut self, beginning: &[u8]) -> Result<(), ContentError> {
        let compression = Compression::of(beginning);
        if compression == Some(Compression::Zstd) {
            let limit = self.inner.options.limit(self.descriptor.size);
            let path = self.inner.path.clone();
            let file = blocking(move || tempfile::tempfile().map_err(LayoutError::writing(&path)));
            let file = Arc::new(file.await?);
            self.form = Form::Decoded(Decoder::new(Arc::clone(&file), 0, limit, false), file);
            return Ok(());
        }
        let is_compressed = compression.is_some();
        self.form = Form::AsItIs { is_compressed };
        let name = document::blob_name(&self.descriptor.digest);
        let header = tar::reserve(&name, self.descriptor.size);
        self.archive.send(&self.inner, header.into()).await
    }

    async fn pass_on(&mut self, bytes: Bytes) -> Result<(), ContentError> {
        match std::mem::replace(&mut self.form, Form::Broken) {
            form @ Form::AsItIs { .. } => {
                self.archive.send(&self.inner, bytes).await?;
                self.form = form;
            }
            Form::Decoded(mut decoder, file) => {
                let (path, digest) = (self.inner.path.clone(), self.descriptor.digest.clone());
                let limit = self.inner.options.limit(self.descriptor.size);
                let decoder = blocking(move || match decoder.write(&bytes) {
                    Ok(()) => Ok(decoder),
                    Err(error) => Err(error.of_layer(&digest, limit, &path)),
                });
                self.form = Form::Decoded(decoder.await?, file);
            }
            Form::Unknown(_) | Form::Broken => return Err(self.broken().into()),
        }
        Ok(())
    }

    fn broken(&self) -> LayoutError {
        LayoutError::Broken {
            digest: self.descriptor.digest.clone(),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<(), ContentError> {
        // What is shorter than what tells.
        self.tell_late().await?;
        let digest = self.descriptor.digest.clone();
        let verified = self.verifier.clone().finish();
        verified.map_err(LayoutError::integrity(&digest))?;
        let sent = match std::mem::replace(&mut self.form, Form::Broken) {
            Form::AsItIs { is_compressed } => {
                let rest = filling(self.descriptor.size);
                self.archive.send(&self.inner, rest).await?;
                let is_diff_id = !is_compressed && digest.algorithm() == Algorithm::Sha256;
                Sent {
                    name: document::blob_name(&digest),
                    diff_id: is_diff_id.then(|| digest.clone()),
                    is_changed: false,
                }
            }
            Form::Decoded(decoder, file) => self.send_decoded(decoder, file).await?,
            Form::Unknown(_) | Form::Broken => return Err(self.broken().into()),
        };
        self.inner.arrived.add_layer(digest, sent);
        self.has_arrived = true;
        Ok(())
    }

    /// Sends a layer that was decompressed.
    async fn send_decoded(
        &mut self,
        decoder: Decoder,
        file: Arc<File>,
    ) -> Result<Sent, ContentError> {
        let path = self.inner.path.clone();
        let digest = self.descriptor.digest.clone();
        let limit = self.inner.options.limit(self.descriptor.size);
        let failed = {
            let (path, digest) = (path.clone(), digest.clone());
            move |error: DecodeError| error.of_layer(&digest, limit, &path)
        };
        let (decoded, size) = blocking(move || decoder.finish().map_err(failed)).await?;
        let diff_id = decoded.unwrap_or(digest);
        let name = layer_name(&diff_id);
        let sent = Sent {
            name: name.clone(),
            diff_id: Some(diff_id),
            is_changed: true,
        };
        // The same layer may come compressed in several ways; once is enough.
        let is_there = self.inner.arrived.has_layer(|known| known.name == name);
        if is_there {
            return Ok(sent);
        }
        let header = tar::reserve(&name, size);
        self.archive.send(&self.inner, header.into()).await?;
        let mut offset = 0;
        while offset < size {
            let (from, path) = (Arc::clone(&file), path.clone());
            let count = usize::try_from(size - offset).map_or(FRAME, |rest| rest.min(FRAME));
            let frame = blocking(move || {
                positioned::frame(&from, count, offset).map_err(LayoutError::reading(&path))
            });
            let frame = frame.await?;
            if frame.len() < count {
                return Err(self.broken().into());
            }
            offset += frame.len() as u64;
            self.archive.send(&self.inner, frame.into()).await?;
        }
        self.archive.send(&self.inner, filling(size)).await?;
        Ok(sent)
    }
}

impl BlobWriter for LayerWriter {
    fn offset(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        Box::pin(self.append(bytes))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        Box::pin(self.finish())
    }
}

impl Drop for LayerWriter {
    fn drop(&mut self) {
        // What has gone out cannot be taken back.
        if !self.has_arrived && !matches!(*self.archive, Archive::NotBegun(_)) {
            *self.archive = Archive::Broken;
        }
    }
}

impl Sink for DockerArchiveSender {
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
        Box::pin(async move {
            self.inner.arrived.expect(runnable(root)?);
            Ok(())
        })
    }

    /// An image for one platform and nothing else.
    fn holds(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        runnable(manifest)?;
        Ok(())
    }

    /// A blob is present when it was sent.
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        let has = self.inner.arrived.has(descriptor);
        Box::pin(async move { Ok(has) })
    }

    /// Waits until the layer before is done, before its source is even opened.
    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let descriptor = descriptor.clone();
        Box::pin(async move {
            if inner.arrived.is_config(&descriptor) {
                return Ok(inner.arrived.config_writer(&descriptor, &inner.path)?);
            }
            let archive = Arc::clone(&inner.archive).lock_owned().await;
            Ok(Box::new(LayerWriter {
                verifier: Verifier::for_descriptor(&descriptor),
                inner,
                archive,
                descriptor,
                form: Form::Unknown(Vec::new()),
                has_arrived: false,
            }) as Box<dyn BlobWriter>)
        })
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(async move {
            let tag = tag_of_root(manifest, placement)?;
            self.inner.finish(manifest, tag).await
        })
    }
}

impl fmt::Debug for DockerArchiveSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DockerArchiveSender")
            .field("name", &self.inner.path)
            .finish_non_exhaustive()
    }
}
