//! An OCI image layout in a directory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use peak_oci::{
    Algorithm, BlobRead, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, Index,
    MAX_MANIFEST_SIZE, Manifest, MediaType, Placement, Raw, Selector, Sink, Source, Tag, TagStream,
};

use crate::blob::Receiver;
use crate::document::{self, INDEX, MARKER, MARKER_CONTENT, MAX_MARKER_SIZE};
use crate::partial::{self, Partial};
use crate::staging::{self, Staging};
use crate::tar::Extent;
use crate::{LayoutError, blob, blocking, file, index, referrers};

/// An OCI image layout in a directory: a [`Source`] and a [`Sink`] of images.
///
/// Cheap to clone; clones share one handle. Reading takes no locks and changes nothing on disk. Unfinished files are in
/// `DIR/.peak-layout/`, which is there from the first write until the last clone and the last blob writer are dropped.
///
/// What is written appears so: blobs one by one, each whole and verified; last of all `index.json`, in one step. A
/// directory that was new shows `oci-layout` and `index.json` only then, so one that was merely begun is not a layout.
///
/// A manifest with a subject is found as a referrer of that once the next image becomes visible: `index.json` has an
/// index of referrers for each subject, under the tag [`Tag::of_referrers`].
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Whether the directory was made for this handle.
    is_new: bool,
    staging: Mutex<Option<Arc<Staging>>>,
    /// The folders for blobs that were made, or looked at, for this handle. As long as it holds the staging area nobody
    /// takes them away.
    folders: Mutex<Vec<Algorithm>>,
    /// What refers to which manifest, and is not in `index.json` yet.
    referrers: Mutex<Vec<(Tag, Descriptor)>>,
}

/// What a path holds, as far as layouts go.
enum Contents {
    Nothing,
    Empty,
    Begun,
    Layout,
}

impl Directory {
    /// Opens the layout at `path` to read it (writing is possible, too).
    ///
    /// # Errors
    /// [`LayoutError::NotFound`], [`NotADirectory`](LayoutError::NotADirectory),
    /// [`NotALayout`](LayoutError::NotALayout), [`Unfinished`](LayoutError::Unfinished) where a run was cut off before
    /// its first image was complete, or what makes the layout unreadable. Blocks on a few small file operations.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let path = path.as_ref();
        match look_at(path)? {
            Contents::Layout => Self::at(path, false),
            Contents::Begun => Err(LayoutError::Unfinished {
                path: path.to_path_buf(),
            }),
            Contents::Nothing => Err(LayoutError::NotFound {
                path: path.to_path_buf(),
            }),
            Contents::Empty => Err(LayoutError::NotALayout {
                path: path.to_path_buf(),
            }),
        }
    }

    /// Opens the layout at `path` to write images into it, or begins a new one; parents are created.
    ///
    /// A new layout becomes visible as one with its first image ([`Sink::put_manifest`] with [`Placement::Root`]); a
    /// directory that was made for an image that never came is removed when the last clone is dropped.
    /// What an interrupted run has left is taken up: its finished blobs are used, its partial files removed.
    ///
    /// # Errors
    /// [`LayoutError::NotADirectory`], [`NotALayout`](LayoutError::NotALayout) for a directory with other things in
    /// it, [`NotWritable`](LayoutError::NotWritable), or what makes the layout unreadable: then nothing was changed.
    /// Blocks on a few small file operations.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let path = path.as_ref();
        let mut attempts = 1;
        loop {
            match Self::begin(path) {
                Err(error)
                    if attempts < staging::ENTER_ATTEMPTS && error.may_be_of_the_moment() =>
                {
                    attempts += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn begin(path: &Path) -> Result<Self, LayoutError> {
        let is_new = matches!(look_at(path)?, Contents::Nothing);
        if is_new {
            fs::create_dir_all(path).map_err(|error| not_created(path, error))?;
        }
        let directory = Self::at(path, is_new)?;
        directory.inner.staging()?;
        Ok(directory)
    }

    /// Where the layout is, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.inner.root
    }

    /// The names of the images in the layout, in the order of `index.json`; an image without a name shows its digest.
    ///
    /// # Errors
    /// What makes `index.json` unreadable.
    pub async fn images(&self) -> Result<Vec<String>, LayoutError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || Ok(index::names(&inner.index()?))).await
    }

    fn at(path: &Path, is_new: bool) -> Result<Self, LayoutError> {
        let root = path.canonicalize().map_err(LayoutError::reading(path))?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                is_new,
                staging: Mutex::new(None),
                folders: Mutex::default(),
                referrers: Mutex::default(),
            }),
        })
    }
}

impl Inner {
    /// The staging area, made when it is first needed.
    fn staging(&self) -> Result<Arc<Staging>, LayoutError> {
        let mut held = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staging) = held.as_ref() {
            return Ok(Arc::clone(staging));
        }
        let staging = Arc::new(Staging::enter(&self.root, self.is_new)?);
        *held = Some(Arc::clone(&staging));
        Ok(staging)
    }

    /// The images of the layout; none where `index.json` is not there yet.
    fn index(&self) -> Result<Index, LayoutError> {
        read_index(&self.root).map(|found| found.unwrap_or_else(|| Index::new(Vec::new())))
    }

    /// Where a blob is, or would be. A digest is parsed, so it cannot name anything else.
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(document::blob_name(digest))
    }

    /// Where a blob can be written: its folder exists afterwards, inside the layout.
    fn blob_target(&self, digest: &Digest) -> Result<PathBuf, LayoutError> {
        let algorithm = digest.algorithm();
        let mut folder = self.root.join("blobs");
        let mut known = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&algorithm) {
            folder.push(algorithm.to_string());
        } else {
            self.make_inside(&folder, digest)?;
            folder.push(algorithm.to_string());
            self.make_inside(&folder, digest)?;
            known.push(algorithm);
        }
        Ok(folder.join(digest.hex()))
    }

    /// Makes a folder for blobs; where it is there already it must not be a link that leads out of the layout.
    fn make_inside(&self, folder: &Path, digest: &Digest) -> Result<(), LayoutError> {
        match fs::create_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(LayoutError::writing(folder)(error)),
        }
        let real = folder
            .canonicalize()
            .map_err(LayoutError::reading(folder))?;
        if real.starts_with(&self.root) {
            Ok(())
        } else {
            Err(LayoutError::Escapes {
                digest: digest.clone(),
            })
        }
    }

    /// The file that a blob goes into before it gets its name.
    fn begin_blob(&self, descriptor: &Descriptor) -> Result<Partial, LayoutError> {
        let staging = self.staging()?;
        let target = self.blob_target(&descriptor.digest)?;
        Partial::begin(staging, target, descriptor)
    }

    fn open_blob(&self, digest: &Digest) -> Result<(File, u64, PathBuf), LayoutError> {
        let path = self.blob_path(digest);
        let real = path.canonicalize().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                LayoutError::MissingBlob {
                    digest: digest.clone(),
                }
            } else {
                LayoutError::reading(&path)(error)
            }
        })?;
        let metadata = fs::symlink_metadata(&real).map_err(LayoutError::reading(&path))?;
        // A layout may come from anywhere: a link in it must not make us read what lies elsewhere.
        if !real.starts_with(&self.root) || !metadata.is_file() {
            return Err(LayoutError::Escapes {
                digest: digest.clone(),
            });
        }
        let file = File::open(&real).map_err(LayoutError::reading(&path))?;
        Ok((file, metadata.len(), path))
    }

    fn manifest(&self, selector: Option<&Selector>) -> Result<Raw<Manifest>, LayoutError> {
        let (digest, media_type) = index::find(&self.index()?, selector)?;
        self.read_manifest(digest, media_type.as_ref())
    }

    fn read_manifest(
        &self,
        digest: Digest,
        media_type: Option<&MediaType>,
    ) -> Result<Raw<Manifest>, LayoutError> {
        let (file, _, path) = self.open_blob(&digest)?;
        let bytes = file::read_all(file, &path, MAX_MANIFEST_SIZE)?;
        document::manifest(bytes, digest, media_type)
    }

    fn read_listed(&self, entry: &Descriptor) -> Result<Raw<Manifest>, LayoutError> {
        self.read_manifest(entry.digest.clone(), Some(&entry.media_type))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, LayoutError> {
        referrers::find(&self.index()?, subject, |entry| self.read_listed(entry))
    }

    fn put_manifest(
        &self,
        manifest: &Raw<Manifest>,
        placement: &Placement,
    ) -> Result<(), LayoutError> {
        document::refuse_signed(manifest)?;
        let staging = self.staging()?;
        let target = self.blob_target(manifest.digest())?;
        let hint = manifest.digest().hex();
        staging.write_whole(&target, hint, manifest.bytes())?;
        let subject = manifest.value().subject();
        if let Some(tag) = subject.and_then(|subject| Tag::of_referrers(&subject.digest)) {
            self.waiting().push((tag, referrers::entry(manifest)));
        }
        match placement {
            Placement::Child => Ok(()),
            Placement::Root { tag } => self.publish(&staging, manifest.descriptor(), tag.as_ref()),
        }
    }

    /// Makes an image visible whose every blob is in place.
    fn publish(
        &self,
        staging: &Staging,
        root: Descriptor,
        tag: Option<&Tag>,
    ) -> Result<(), LayoutError> {
        let _lock = staging.lock_index()?;
        let mut images = self.index()?;
        let added = self.add_referrers(staging, &mut images)?;
        self.sync_blob_folders()?;
        index::place(&mut images, root, tag)?;
        let path = self.root.join(INDEX);
        let bytes = document::index_bytes(&images, &path)?;
        let marker = self.root.join(MARKER);
        if !marker.exists() {
            staging.write_whole(&marker, MARKER, MARKER_CONTENT.as_bytes())?;
        }
        staging.write_whole(&path, INDEX, &bytes)?;
        self.waiting().retain(|waiting| !added.contains(waiting));
        file::sync_directory(&self.root).map_err(LayoutError::writing(&self.root))
    }

    /// Puts what waits for it into the lists of referrers, and the lists into the index. Gives back what was put there.
    fn add_referrers(
        &self,
        staging: &Staging,
        images: &mut Index,
    ) -> Result<Vec<(Tag, Descriptor)>, LayoutError> {
        let waiting = self.waiting().clone();
        let mut lists: BTreeMap<&Tag, Index> = BTreeMap::new();
        for (tag, referrer) in &waiting {
            let list = match lists.entry(tag) {
                Entry::Occupied(list) => list.into_mut(),
                Entry::Vacant(place) => place.insert(referrers::list(images, tag, |entry| {
                    self.read_listed(entry)
                })?),
            };
            if !list
                .manifests
                .iter()
                .any(|known| known.digest == referrer.digest)
            {
                list.manifests.push(referrer.clone());
            }
        }
        for (tag, list) in lists {
            let path = self.root.join(INDEX);
            let list = list
                .to_raw()
                .map_err(|source| LayoutError::InvalidIndex { path, source })?;
            let target = self.blob_target(list.digest())?;
            staging.write_whole(&target, list.digest().hex(), list.bytes())?;
            index::place(images, list.descriptor(), Some(tag))?;
        }
        Ok(waiting)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Tag, Descriptor)>> {
        self.referrers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the names of the blobs durable, before `index.json` can point to them.
    fn sync_blob_folders(&self) -> Result<(), LayoutError> {
        let blobs = self.root.join("blobs");
        for entry in fs::read_dir(&blobs).map_err(LayoutError::reading(&blobs))? {
            let folder = entry.map_err(LayoutError::reading(&blobs))?.path();
            if folder.is_dir() {
                file::sync_directory(&folder).map_err(LayoutError::writing(&folder))?;
            }
        }
        file::sync_directory(&blobs).map_err(LayoutError::writing(&blobs))
    }
}

impl Source for Directory {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let selector = selector.cloned();
        Box::pin(async move { Ok(blocking(move || inner.manifest(selector.as_ref())).await?) })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let digest = descriptor.digest.clone();
        Box::pin(async move {
            let opened = digest.clone();
            let (file, size, path) = blocking(move || inner.open_blob(&opened)).await?;
            let extent = Extent { offset: 0, size };
            Ok(blob::read(Arc::new(file), &path, &digest, extent, offset)?)
        })
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let digest = digest.clone();
        Box::pin(async move { Ok(blocking(move || inner.open_blob(&digest)).await?.1) })
    }

    fn tags(&self) -> TagStream<'_> {
        let inner = Arc::clone(&self.inner);
        let listed = async move {
            let tags = blocking(move || Ok(index::tags(&inner.index()?))).await?;
            Ok::<_, ContentError>(stream::iter(tags.into_iter().map(Ok)))
        };
        Box::pin(stream::once(listed).try_flatten())
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let subject = subject.clone();
        Box::pin(async move { Ok(blocking(move || inner.referrers(&subject)).await?) })
    }
}

impl Sink for Directory {
    /// A blob counts as present when a regular file of its name has its size: its content was verified before it got
    /// that name. `validate` reads everything again.
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        Box::pin(async move {
            let found = blocking(move || {
                let path = inner.blob_path(&digest);
                match fs::symlink_metadata(&path) {
                    Ok(metadata) => Ok(metadata.is_file() && metadata.len() == size),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(LayoutError::reading(&path)(error)),
                }
            });
            Ok(found.await?)
        })
    }

    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        let inner = Arc::clone(&self.inner);
        let descriptor = descriptor.clone();
        Box::pin(async move {
            if descriptor.size < partial::WORTH_KEEPING {
                // Nothing to go on with, so the file can wait for the first bytes.
                let small = Small {
                    directory: inner,
                    descriptor: descriptor.clone(),
                    begun: None,
                };
                let writer = blob::Writer::new(Box::new(small), &descriptor, 0);
                return Ok(Box::new(writer) as Box<dyn BlobWriter>);
            }
            let begun = descriptor.clone();
            let mut partial = blocking(move || inner.begin_blob(&begun).map(Box::new)).await?;
            // In steps, so that nothing goes on for long when the future is dropped.
            while !partial.is_read_again() {
                partial = blocking(move || {
                    partial.read_some_again()?;
                    Ok(partial)
                })
                .await?;
            }
            let offset = partial.offset();
            let writer = blob::Writer::new(partial, &descriptor, offset);
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

/// A blob of which no beginning is ever kept. Its file is begun with its first bytes: one turn in the blocking pool then
/// does all of it, where its bytes come in one batch.
#[derive(Debug)]
struct Small {
    directory: Arc<Inner>,
    descriptor: Descriptor,
    begun: Option<Box<Partial>>,
}

impl Small {
    fn take(&mut self) -> Result<Box<Partial>, LayoutError> {
        if let Some(partial) = self.begun.take() {
            return Ok(partial);
        }
        let mut partial = self.directory.begin_blob(&self.descriptor)?;
        partial.clear()?;
        Ok(Box::new(partial))
    }
}

impl Receiver for Small {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        let mut partial = self.take()?;
        partial.append(frames)?;
        self.begun = Some(partial);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), LayoutError> {
        self.take()?.publish()
    }
}

/// Finds out what is at `path` and refuses what is neither a layout nor fit to become one.
fn look_at(path: &Path) -> Result<Contents, LayoutError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(LayoutError::NotADirectory {
                path: path.to_path_buf(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(LayoutError::NotADirectory {
                path: path.to_path_buf(),
            });
        }
        Err(error) => return Err(LayoutError::reading(path)(error)),
    }
    let marker = read_marker(path)?;
    // Without the marker, an `index.json` is somebody else's.
    if marker && read_index(path)?.is_some() {
        return Ok(Contents::Layout);
    }
    if marker || path.join(staging::FOLDER).is_dir() {
        return Ok(Contents::Begun);
    }
    let mut entries = fs::read_dir(path).map_err(LayoutError::reading(path))?;
    if entries.next().is_none() {
        return Ok(Contents::Empty);
    }
    Err(LayoutError::NotALayout {
        path: path.to_path_buf(),
    })
}

/// Whether `oci-layout` is there, with a version that we know.
fn read_marker(root: &Path) -> Result<bool, LayoutError> {
    let path = root.join(MARKER);
    let Some(bytes) = file::read_bounded(&path, MAX_MARKER_SIZE)? else {
        return Ok(false);
    };
    document::check_marker(&bytes, &path, root).map(|()| true)
}

fn read_index(root: &Path) -> Result<Option<Index>, LayoutError> {
    let path = root.join(INDEX);
    match file::read_bounded(&path, MAX_MANIFEST_SIZE)? {
        Some(bytes) => document::index(bytes, &path).map(Some),
        None => Ok(None),
    }
}

fn not_created(path: &Path, error: io::Error) -> LayoutError {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => LayoutError::NotADirectory {
            path: path.to_path_buf(),
        },
        _ => LayoutError::writing(path)(error),
    }
}
