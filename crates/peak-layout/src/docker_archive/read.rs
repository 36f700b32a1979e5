//! Images out of a Docker archive.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peak_oci::{
    Algorithm, BlobRead, BoxFuture, ContentError, Descriptor, Digest, Hasher, Manifest, Raw,
    Reference, Selector, Source,
};
use tokio::sync::OnceCell;

use super::Listed;
use super::contents::{self, Content};
use crate::archive_error::ArchiveError;
use crate::tar::{Extent, Files as _, TarIndex};
use crate::{LayoutError, blob, blocking, positioned};

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
    listed: Listed,
    content: OnceCell<Content>,
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
        let tar = TarIndex::open(path.as_ref())?;
        let listed = contents::find(&tar, reference)?;
        Ok(Self {
            inner: Arc::new(Inner {
                tar,
                listed,
                content: OnceCell::new(),
            }),
        })
    }

    /// The names of all images in the archive at `path`, as they stand there. Blocks as [`open`](Self::open) does.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) about the archive itself.
    pub fn all_names(path: impl AsRef<Path>) -> Result<Vec<String>, LayoutError> {
        Ok(contents::listed(&TarIndex::open(path.as_ref())?)?
            .into_iter()
            .flat_map(|image| image.names.unwrap_or_default())
            .collect())
    }

    /// The names of the image, as they stand in the archive.
    pub fn names(&self) -> &[String] {
        self.inner.listed.names.as_deref().unwrap_or_default()
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
        self.content().await?.manifest_of(self.names(), selector)
    }
}

/// Tells long work on another thread that nobody waits for it any longer.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    fn read(&self, stopped: &AtomicBool) -> Result<Content, LayoutError> {
        contents::read(&self.tar, &self.listed, |extent| self.hash(extent, stopped))
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
