//! An OCI image layout in one tar file.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{
    BlobRead, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, Index, MAX_MANIFEST_SIZE,
    Manifest, Placement, Raw, Selector, Sink, Source, Tag, TagStream, Verifier,
};

use crate::archive_error::ArchiveError;
use crate::blob::{self, Receiver};
use crate::document::{self, INDEX, MARKER, MARKER_CONTENT, MAX_MARKER_SIZE};
use crate::replacement::{Making, Place, Replacement};
use crate::tar::{self, Extent, Files, TarIndex};
use crate::{LayoutError, blocking, index, positioned, referrers};

/// An OCI image layout in a tar file: a [`Source`] of images.
///
/// The headers are read once, when it is opened; blobs are read where they are, several at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OciArchive {
    inner: Arc<Contents>,
}

#[derive(Debug)]
struct Contents {
    tar: TarIndex,
    index: Index,
}

impl OciArchive {
    /// Opens the archive at `path`.
    ///
    /// The archive must be a plain tar: a compressed one cannot be read at an offset. Links in it are not followed.
    /// Blocks while all headers are read: one small read for each entry, of which there are at most 100,000.
    ///
    /// # Errors
    /// [`LayoutError::NoArchive`], [`LayoutError::NotAFile`], [`LayoutError::Archive`] for what is no tar or not whole,
    /// or what makes the layout in it unreadable.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let tar = TarIndex::open(path.as_ref())?;
        let marker = required(&tar, MARKER, MAX_MARKER_SIZE)?;
        document::check_marker(&marker, &tar.within(MARKER), tar.path())?;
        let index = required(&tar, INDEX, MAX_MANIFEST_SIZE)?;
        let index = document::index(index, &tar.within(INDEX))?;
        Ok(Self {
            inner: Arc::new(Contents { tar, index }),
        })
    }

    /// The names of the images in the archive, in the order of `index.json`; an image without a name shows its digest.
    pub fn images(&self) -> Vec<String> {
        index::names(&self.inner.index)
    }
}

/// A file that every layout has.
fn required(tar: &TarIndex, name: &str, limit: u64) -> Result<Vec<u8>, LayoutError> {
    match tar.file(name)? {
        Some(extent) => tar.content(name, extent, limit),
        None => Err(tar.error(ArchiveError::Missing {
            name: name.to_owned(),
        })),
    }
}

/// Where a blob of a layout is.
pub(crate) fn blob_extent(tar: &impl Files, digest: &Digest) -> Result<Extent, LayoutError> {
    tar.file(&document::blob_name(digest))?
        .ok_or_else(|| LayoutError::MissingBlob {
            digest: digest.clone(),
        })
}

/// A manifest of a layout.
pub(crate) fn read_manifest(
    tar: &impl Files,
    digest: Digest,
    media_type: Option<&peak_oci::MediaType>,
) -> Result<Raw<Manifest>, LayoutError> {
    let extent = blob_extent(tar, &digest)?;
    let bytes = tar.content(&document::blob_name(&digest), extent, MAX_MANIFEST_SIZE)?;
    document::manifest(bytes, digest, media_type)
}

impl Source for OciArchive {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let selector = selector.cloned();
        Box::pin(async move {
            let manifest = blocking(move || {
                let (digest, media_type) = index::find(&inner.index, selector.as_ref())?;
                read_manifest(&inner.tar, digest, media_type.as_ref())
            });
            Ok(manifest.await?)
        })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        let tar = &self.inner.tar;
        let digest = &descriptor.digest;
        let read = blob_extent(tar, digest)
            .and_then(|extent| blob::read(tar.handle(), tar.path(), digest, extent, offset));
        Box::pin(async move { Ok(read?) })
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        let extent = blob_extent(&self.inner.tar, digest);
        Box::pin(async move { Ok(extent?.size) })
    }

    fn tags(&self) -> TagStream<'_> {
        let tags = index::tags(&self.inner.index);
        Box::pin(stream::iter(tags.into_iter().map(Ok)))
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let subject = subject.clone();
        Box::pin(async move {
            let found = blocking(move || {
                referrers::find(&inner.index, &subject, |entry| {
                    read_manifest(&inner.tar, entry.digest.clone(), Some(&entry.media_type))
                })
            });
            Ok(found.await?)
        })
    }
}

/// An OCI image layout in a tar file that is being written: a [`Sink`] of one image.
///
/// Everything goes into a file beside the one that is named, which takes its place when the image is complete: with its
/// root manifest. Until then, and when it is never completed, what was there before stays. An existing archive is
/// replaced as a whole, not added to. What an interrupted run has written of an archive is not used by the next one.
///
/// Each blob gets its place in the archive before its bytes come, so that several arrive at once, each is written once,
/// and none waits for another or in memory. After [`Sink::prepare`] the places are in the order of the image, whatever
/// arrives first: the same image gives the same bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OciArchiveWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Making,
    /// Where the next entry begins, in bytes.
    end: u64,
    slots: HashMap<Digest, Slot>,
}

/// The place of a blob.
#[derive(Clone, Debug)]
struct Slot {
    header: u64,
    content: Extent,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Reserved,
    Arriving,
    Arrived,
}

impl OciArchiveWriter {
    /// Prepares to write an archive at `path`; parents are created. The file there, if any, stays for now.
    ///
    /// # Errors
    /// [`LayoutError::NotAFile`] where something else than a file is there, [`LayoutError::NotWritable`]. Blocks on a few
    /// small file operations.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, LayoutError> {
        Ok(Self {
            inner: Arc::new(Inner {
                place: Place::new(path.as_ref())?,
                state: Mutex::default(),
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
        let (file, is_new) = state.file.file(&self.place)?;
        if is_new {
            self.add(state, &file, MARKER, MARKER_CONTENT.as_bytes())?;
        }
        Ok(file)
    }

    /// Takes the next place for a file; says where its header goes and where its content.
    fn reserve(
        &self,
        state: &mut State,
        name: &str,
        size: u64,
    ) -> Result<(u64, Extent), LayoutError> {
        let header = state.end;
        let end = header.checked_add(tar::reserve(name, size).len() as u64);
        let place = end.and_then(|offset| Some((offset, offset.checked_add(tar::padded(size)?)?)));
        let Some((offset, end)) = place else {
            return Err(LayoutError::TooLarge {
                path: self.place.path(),
                limit: u64::MAX,
            });
        };
        state.end = end;
        Ok((header, Extent { offset, size }))
    }

    fn add(
        &self,
        state: &mut State,
        file: &File,
        name: &str,
        content: &[u8],
    ) -> Result<(), LayoutError> {
        let size = content.len() as u64;
        let (header, extent) = self.reserve(state, name, size)?;
        positioned::write(file, &tar::reserve(name, size), header)
            .and_then(|()| positioned::write(file, content, extent.offset))
            .map_err(LayoutError::writing(&self.place.path()))
    }

    /// The place of a blob, taken now where it has none yet.
    fn slot<'a>(
        &self,
        state: &'a mut State,
        descriptor: &Descriptor,
    ) -> Result<&'a mut Slot, LayoutError> {
        let digest = &descriptor.digest;
        if !state.slots.contains_key(digest) {
            let name = document::blob_name(digest);
            let (header, content) = self.reserve(state, &name, descriptor.size)?;
            let slot = Slot {
                header,
                content,
                progress: Progress::Reserved,
            };
            state.slots.insert(digest.clone(), slot);
        }
        match state.slots.get_mut(digest) {
            Some(slot) if slot.content.size == descriptor.size => Ok(slot),
            _ => Err(LayoutError::OtherSize {
                digest: digest.clone(),
            }),
        }
    }

    fn prepare(&self, blobs: &[Descriptor]) -> Result<(), LayoutError> {
        let mut state = self.state();
        self.begin(&mut state)?;
        for blob in blobs {
            self.slot(&mut state, blob)?;
        }
        Ok(())
    }

    /// Starts to take a blob in.
    fn open(self: &Arc<Self>, descriptor: &Descriptor) -> Result<Incoming, LayoutError> {
        let mut state = self.state();
        let file = self.begin(&mut state)?;
        let slot = self.slot(&mut state, descriptor)?;
        if slot.progress != Progress::Reserved {
            return Err(LayoutError::InUse {
                digest: descriptor.digest.clone(),
            });
        }
        slot.progress = Progress::Arriving;
        let slot = slot.clone();
        drop(state);
        let incoming = Incoming {
            inner: Arc::clone(self),
            file,
            position: slot.content.offset,
            digest: descriptor.digest.clone(),
            verifier: Verifier::for_descriptor(descriptor),
            has_arrived: false,
        };
        let name = document::blob_name(&descriptor.digest);
        let header = tar::reserve(&name, descriptor.size);
        positioned::write(&incoming.file, &header, slot.header)
            .map_err(LayoutError::writing(&self.place.path()))?;
        Ok(incoming)
    }

    fn put_manifest(
        self: &Arc<Self>,
        manifest: &Raw<Manifest>,
        placement: &Placement,
    ) -> Result<(), LayoutError> {
        document::refuse_signed(manifest)?;
        let descriptor = manifest.descriptor();
        if !self.has(&descriptor) {
            let mut incoming = Box::new(self.open(&descriptor)?);
            incoming.append(std::slice::from_ref(manifest.bytes()))?;
            incoming.publish()?;
        }
        match placement {
            Placement::Child => Ok(()),
            Placement::Root { tag } => self.finish(descriptor, tag.as_ref()),
        }
    }

    /// Writes `index.json` and puts the archive in its place.
    fn finish(&self, root: Descriptor, tag: Option<&Tag>) -> Result<(), LayoutError> {
        let path = self.place.path();
        let mut state = self.state();
        let file = self.begin(&mut state)?;
        let missing = |slot: &&Slot| slot.progress != Progress::Arrived;
        if state.slots.values().any(|slot| missing(&slot)) {
            return Err(LayoutError::Incomplete { path });
        }
        let mut images = Index::new(Vec::new());
        index::place(&mut images, root, tag)?;
        let bytes = document::index_bytes(&images, &path.join(INDEX))?;
        self.add(&mut state, &file, INDEX, &bytes)?;
        file.set_len(state.end.saturating_add(tar::END_SIZE))
            .map_err(LayoutError::writing(&path))?;
        let complete = state.file.finish();
        // The disk may take its time, and others look at the state.
        drop(state);
        complete.map_or(Ok(()), Replacement::publish)
    }

    fn has(&self, descriptor: &Descriptor) -> bool {
        self.state()
            .slots
            .get(&descriptor.digest)
            .is_some_and(|slot| {
                slot.progress == Progress::Arrived && slot.content.size == descriptor.size
            })
    }
}

/// A blob on its way to its place.
#[derive(Debug)]
struct Incoming {
    inner: Arc<Inner>,
    file: Arc<File>,
    position: u64,
    digest: Digest,
    verifier: Verifier,
    has_arrived: bool,
}

impl Receiver for Incoming {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        for frame in frames {
            self.verifier
                .update(frame)
                .map_err(LayoutError::integrity(&self.digest))?;
            positioned::write(&self.file, frame, self.position)
                .map_err(LayoutError::writing(&self.inner.place.path()))?;
            self.position += frame.len() as u64;
        }
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), LayoutError> {
        let verified = self.verifier.clone().finish();
        verified.map_err(LayoutError::integrity(&self.digest))?;
        self.has_arrived = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What did not arrive may come once more, to the same place.
        let progress = if self.has_arrived {
            Progress::Arrived
        } else {
            Progress::Reserved
        };
        if let Some(slot) = self.inner.state().slots.get_mut(&self.digest) {
            slot.progress = progress;
        }
    }
}

impl Sink for OciArchiveWriter {
    /// It holds one image.
    fn holds_referrers(&self) -> bool {
        false
    }

    fn prepare<'a>(
        &'a self,
        _root: &'a Raw<Manifest>,
        blobs: &'a [Descriptor],
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        let inner = Arc::clone(&self.inner);
        let blobs = blobs.to_vec();
        Box::pin(async move { Ok(blocking(move || inner.prepare(&blobs)).await?) })
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
            let incoming = blocking(move || inner.open(&begun)).await?;
            let writer = blob::Writer::new(Box::new(incoming), &descriptor, 0);
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
        Box::pin(
            async move { Ok(blocking(move || inner.put_manifest(&manifest, &placement)).await?) },
        )
    }
}
