//! Images out of a Docker archive that comes as a stream, which can be asked for again but not be read at an offset.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{
    Algorithm, BlobRead, BlobStream, BoxFuture, ContentError, ContentErrorKind, Descriptor, Digest,
    Hasher, MAX_CONFIG_SIZE, Manifest, Raw, Reference, Selector, Source,
};
use tokio::sync::OnceCell;

use super::Listed;
use super::contents::{self, Content, named_digest};
use super::decode::Compression;
use crate::LayoutError;
use crate::archive_error::ArchiveError;
use crate::tar::{BEGINNING, Extent, Files, Named, Names, StreamEntry, TarStream, TarStreamError};

/// How many bytes of small files are kept at most, all together: configs, manifests, `manifest.json`.
const MAX_KEPT: u64 = 16 * 1024 * 1024;

/// Opens the archive from its beginning, as often as it is called.
type Open = dyn Fn() -> BoxFuture<'static, Result<BlobStream, ContentError>> + Send + Sync;

/// One image in an archive that comes as a stream, such as what a Docker Engine saves: a [`Source`].
///
/// The stream is read once to know what is in it: the manifest is found, or made, as [`DockerArchive`] does it. Of this
/// pass only small documents are kept. Layers are handed out of a second pass, one after the other as they stand in the
/// archive: [`Source::blob_order`] says in which order. Whoever leaves one out costs nothing but the reading of it; whoever
/// asks for one that has gone by, for one at an offset, or for several at once costs another pass for each.
///
/// The archive has to have the same files each time; a pass that differs is an error. Cheap to clone.
///
/// [`DockerArchive`]: crate::DockerArchive
#[derive(Clone)]
pub struct DockerArchiveStream {
    inner: Arc<Inner>,
}

struct Inner {
    reference: Option<Reference>,
    path: PathBuf,
    open: Box<Open>,
    image: OnceCell<Image>,
    /// A pass that nobody reads, and that can be read on.
    pass: Mutex<Option<Pass>>,
}

/// What the first pass has shown.
#[derive(Debug)]
struct Image {
    listed: Listed,
    content: Content,
    files: StreamedFiles,
}

impl DockerArchiveStream {
    /// The image of that name in the archive that `open` opens; without a name, its only image. `name` is what the
    /// archive is called in errors. Nothing is opened yet.
    pub fn new(
        name: impl Into<PathBuf>,
        reference: Option<Reference>,
        open: impl Fn() -> BoxFuture<'static, Result<BlobStream, ContentError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                reference,
                path: name.into(),
                open: Box::new(open),
                image: OnceCell::new(),
                pass: Mutex::new(None),
            }),
        }
    }
}

impl Inner {
    async fn image(&self) -> Result<&Image, ContentError> {
        self.image
            .get_or_try_init(|| async {
                let mut tar = TarStream::new((self.open)().await?);
                let files = StreamedFiles::read(&self.path, &mut tar)
                    .await
                    .map_err(|error| self.failed(error))?;
                let listed = contents::find(&files, self.reference.as_ref())?;
                let content = contents::read(&files, &listed, |extent| files.digest(extent))?;
                Ok(Image {
                    listed,
                    content,
                    files,
                })
            })
            .await
    }

    fn failed(&self, error: TarStreamError) -> ContentError {
        match error {
            TarStreamError::Input(error) => error,
            TarStreamError::Archive(source) => LayoutError::Archive {
                path: self.path.clone(),
                source,
            }
            .into(),
        }
    }

    fn take_pass(&self) -> Option<Pass> {
        self.pass
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn leave_pass(&self, pass: Pass) {
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = Some(pass);
    }

    /// A pass that stands at the beginning of a file's content.
    async fn pass_at(&self, number: usize, file: &File) -> Result<Pass, ContentError> {
        let mut pass = match self.take_pass() {
            Some(pass) if pass.next <= number => pass,
            _ => Pass {
                tar: TarStream::new((self.open)().await?),
                next: 0,
            },
        };
        loop {
            let entry = pass.tar.next().await.map_err(|error| self.failed(error))?;
            match entry {
                Some(StreamEntry::Link { .. }) => {}
                Some(StreamEntry::File { name, size }) => {
                    pass.next += 1;
                    if pass.next <= number {
                        continue;
                    }
                    if name == file.name && size == file.extent.size {
                        return Ok(pass);
                    }
                    return Err(self.changed(&file.name));
                }
                None => return Err(self.changed(&file.name)),
            }
        }
    }

    fn changed(&self, name: &str) -> ContentError {
        ContentError::new(
            ContentErrorKind::Invalid,
            format!(
                "{} was another archive when it was opened again: {name:?} is not where it was",
                self.path.display()
            ),
        )
    }

    async fn read(self: Arc<Self>, digest: &Digest, offset: u64) -> Result<BlobRead, ContentError> {
        let image = self.image().await?;
        let extent = image.content.extent(digest)?;
        let size = extent.size;
        if offset > size {
            return Err(LayoutError::Offset {
                digest: digest.clone(),
                offset,
                size,
            }
            .into());
        }
        let known = image
            .files
            .at(extent)
            .ok_or_else(|| LayoutError::MissingBlob {
                digest: digest.clone(),
            })?;
        let (number, file) = known;
        if let Some(content) = &file.content {
            let rest = content.slice(usize::try_from(offset).unwrap_or(content.len())..);
            let stream = stream::iter([Ok(rest)]);
            return Ok(BlobRead::new(offset, Some(size), Box::pin(stream)));
        }
        let pass = self.pass_at(number, file).await?;
        let reading = Reading {
            inner: Arc::clone(&self),
            pass: Some(pass),
            skipped: offset,
            rest: size,
        };
        let stream = stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.piece().await?;
            Ok(piece.map(|piece| (piece, reading)))
        });
        Ok(BlobRead::new(offset, Some(size), Box::pin(stream)))
    }
}

/// One way through the archive.
struct Pass {
    tar: TarStream,
    /// The number of the file that comes next.
    next: usize,
}

/// A file that is being read.
struct Reading {
    inner: Arc<Inner>,
    /// None when the file is at its end, and the next one may be read.
    pass: Option<Pass>,
    /// How much is left to be skipped before that which is wanted, in bytes.
    skipped: u64,
    /// How much of the file is left, what is skipped included, in bytes.
    rest: u64,
}

impl Reading {
    async fn piece(&mut self) -> Result<Option<Bytes>, ContentError> {
        loop {
            let Some(pass) = self.pass.as_mut().filter(|_| self.rest > 0) else {
                self.leave();
                return Ok(None);
            };
            let piece = pass.tar.piece().await;
            let Some(mut piece) = piece.map_err(|error| self.inner.failed(error))? else {
                return Ok(None);
            };
            self.rest = self.rest.saturating_sub(piece.len() as u64);
            if self.rest == 0 {
                // Who knows the size does not ask for what comes behind the last byte.
                self.leave();
            }
            let skipped = usize::try_from(self.skipped)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            self.skipped -= skipped as u64;
            let piece = piece.split_off(skipped);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    fn leave(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.inner.leave_pass(pass);
        }
    }
}

/// What the files of an archive are called, and those of them that are small.
#[derive(Debug)]
struct StreamedFiles {
    path: PathBuf,
    names: Names,
    /// In the order in which they came.
    files: Vec<File>,
    /// By where they stand, in bytes, the number of each.
    numbers: HashMap<u64, usize>,
}

#[derive(Debug)]
struct File {
    name: String,
    extent: Extent,
    beginning: Vec<u8>,
    /// Of what may be a document.
    content: Option<Bytes>,
    /// Of what is compressed, unless its name says it.
    digest: Option<Digest>,
}

impl StreamedFiles {
    /// Reads an archive to its end.
    async fn read(path: &Path, tar: &mut TarStream) -> Result<Self, TarStreamError> {
        let mut files = Self {
            path: path.to_path_buf(),
            names: Names::default(),
            files: Vec::new(),
            numbers: HashMap::new(),
        };
        let mut allowed = MAX_KEPT;
        while let Some(entry) = tar.next().await? {
            match entry {
                StreamEntry::File { name, size } => {
                    let offset = tar.position();
                    let extent = Extent { offset, size };
                    let file = File::read(name, extent, tar, allowed).await?;
                    if let Some(content) = &file.content {
                        allowed = allowed.saturating_sub(content.len() as u64);
                    }
                    files.add(file)?;
                }
                StreamEntry::Link { name, target } => {
                    files.name(name, Named::Link(target))?;
                }
            }
        }
        Ok(files)
    }

    fn add(&mut self, file: File) -> Result<(), ArchiveError> {
        self.name(file.name.clone(), Named::File(file.extent))?;
        self.numbers.insert(file.extent.offset, self.files.len());
        self.files.push(file);
        Ok(())
    }

    /// Two entries of one name cannot be compared, so they are refused.
    fn name(&mut self, name: String, entry: Named) -> Result<(), ArchiveError> {
        match self.names.insert(name.clone(), entry) {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Duplicate { name }),
        }
    }

    fn at(&self, extent: Extent) -> Option<(usize, &File)> {
        let number = *self.numbers.get(&extent.offset)?;
        let file = self.files.get(number)?;
        (file.extent == extent).then_some((number, file))
    }

    fn digest(&self, extent: Extent) -> Result<Digest, LayoutError> {
        let file = self.at(extent).map(|(_, file)| file);
        let digest = file.and_then(|file| file.digest.clone().or_else(|| named_digest(&file.name)));
        digest.ok_or_else(|| self.error(ArchiveError::Truncated))
    }
}

impl File {
    /// Reads a file to its end, and keeps its content if that may be a document and is small.
    async fn read(
        name: String,
        extent: Extent,
        tar: &mut TarStream,
        allowed: u64,
    ) -> Result<Self, TarStreamError> {
        let mut head = Vec::new();
        let mut rest = None;
        while head.len() < BEGINNING
            && let Some(piece) = tar.piece().await?
        {
            if head.is_empty() && piece.len() >= BEGINNING {
                head = piece.get(..BEGINNING).unwrap_or_default().to_vec();
                rest = Some(piece.slice(BEGINNING..));
            } else {
                head.extend_from_slice(&piece);
            }
        }
        let is_document = head
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|byte| b"{[".contains(byte));
        let mut content =
            (is_document && extent.size <= MAX_CONFIG_SIZE.min(allowed)).then(|| head.clone());
        let is_hashed = Compression::of(&head).is_some() && named_digest(&name).is_none();
        let mut hasher = is_hashed.then(|| Hasher::new(Algorithm::Sha256));
        if let Some(hasher) = &mut hasher {
            hasher.update(&head);
        }
        loop {
            let piece = match rest.take() {
                Some(piece) => piece,
                None => match tar.piece().await? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            if let Some(content) = &mut content {
                content.extend_from_slice(&piece);
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
        }
        head.truncate(BEGINNING);
        Ok(Self {
            name,
            extent,
            beginning: head,
            content: content.map(Bytes::from),
            digest: hasher.map(Hasher::finish),
        })
    }
}

impl Files for StreamedFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        self.names.file(name).map_err(|error| self.error(error))
    }

    fn resolve(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        self.names.resolve(name).map_err(|error| self.error(error))
    }

    fn content(&self, name: &str, extent: Extent, limit: u64) -> Result<Vec<u8>, LayoutError> {
        match self.at(extent) {
            Some((
                _,
                File {
                    content: Some(content),
                    ..
                },
            )) if extent.size <= limit => Ok(content.to_vec()),
            Some(_) if extent.size <= limit => Err(self.error(ArchiveError::Image {
                why: format!("{name:?} is no document, or there are too many"),
            })),
            _ => Err(LayoutError::TooLarge {
                path: self.within(name),
                limit,
            }),
        }
    }

    fn beginning(&self, extent: Extent) -> Result<Vec<u8>, LayoutError> {
        let found = self.at(extent).map(|(_, file)| file.beginning.clone());
        found.ok_or_else(|| self.error(ArchiveError::Truncated))
    }
}

impl Source for DockerArchiveStream {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(async move {
            let image = self.inner.image().await?;
            let names = image.listed.names.as_deref().unwrap_or_default();
            Ok(image.content.manifest_of(names, selector)?)
        })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(Arc::clone(&self.inner).read(&descriptor.digest, offset))
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        Box::pin(async move { Ok(self.inner.image().await?.content.extent(digest)?.size) })
    }

    fn blob_order(&self) -> Option<Vec<Digest>> {
        let Some(image) = self.inner.image.get() else {
            return Some(Vec::new());
        };
        let is_streamed = |extent: &Extent| {
            let file = image.files.at(*extent);
            file.is_some_and(|(_, file)| file.content.is_none())
        };
        let mut blobs: Vec<_> = image
            .content
            .blobs
            .iter()
            .filter(|(_, extent)| is_streamed(extent))
            .collect();
        blobs.sort_by_key(|(_, extent)| extent.offset);
        Some(
            blobs
                .into_iter()
                .map(|(digest, _)| digest.clone())
                .collect(),
        )
    }
}

impl fmt::Debug for DockerArchiveStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DockerArchiveStream")
            .field("name", &self.inner.path)
            .finish_non_exhaustive()
    }
}
