//! What can go wrong with a layout on disk, by outcome.

use std::io;
use std::path::{Path, PathBuf};

use peak_oci::{ContentError, ContentErrorKind, Digest, ManifestError, VerifyError};

use crate::archive_error::ArchiveError;

/// An error of images on disk: of a layout directory or an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// There is nothing at the path.
    #[error("there is no image layout at {}", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path, or something above it, is a file.
    #[error("{} is not a directory; name a directory for the image layout", .path.display())]
    NotADirectory {
        /// The path asked for.
        path: PathBuf,
    },
    /// A directory with other things in it. Nothing in it was changed.
    #[error(
        "{} is not empty and is not an OCI image layout; name a new or an empty directory",
        .path.display()
    )]
    NotALayout {
        /// The path asked for.
        path: PathBuf,
    },
    /// A directory that an interrupted run has begun to fill: it holds no image yet.
    #[error(
        "{} holds no image yet: writing to it was begun and not finished; run that again",
        .path.display()
    )]
    Unfinished {
        /// The path asked for.
        path: PathBuf,
    },
    /// The layout says a version that this crate does not know.
    #[error("{} has the image layout version `{version}`; only 1.0.0 is known", .path.display())]
    Version {
        /// The layout.
        path: PathBuf,
        /// What its `oci-layout` file says (cut to a readable length).
        version: String,
    },
    /// A manifest whose digest is not that of its bytes, which the name of a blob has to be.
    #[error(
        "the signed schema 1 manifest {digest} cannot be kept in an image layout; convert the image to OCI's format first"
    )]
    Signed {
        /// The digest of the manifest.
        digest: Digest,
    },
    /// `oci-layout` or `index.json` cannot be understood.
    #[error("{} is not valid", .path.display())]
    InvalidJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `index.json` is not an image index.
    #[error("{} is not a valid image index", .path.display())]
    InvalidIndex {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: ManifestError,
    },
    /// `index.json` is some other kind of manifest.
    #[error("{} is a manifest, but not an image index", .path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// A manifest or config cannot be understood.
    #[error("manifest or config {digest} is not valid")]
    InvalidManifest {
        /// The digest of the manifest.
        digest: Digest,
        /// Where and why.
        #[source]
        source: ManifestError,
    },
    /// A file that should be small is not.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no image of that name.
    #[error("there is no image `{name}`; there are: {}", names_or_none(.available))]
    UnknownImage {
        /// The tag or digest asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// There are several images and none was asked for by name, or several have the name.
    #[error("there are several images, say which one: {}", names_or_none(.available))]
    Ambiguous {
        /// The names there are; digests stand for images without a name.
        available: Vec<String>,
    },
    /// Writing an image without a name would have to guess which of several nameless ones it replaces.
    #[error(
        "the layout has {count} images without a name, so it is not clear which one to replace; give the new image a name (`oci:DIR:TAG`)"
    )]
    SeveralUntagged {
        /// How many nameless images there are.
        count: usize,
    },
    /// More referrers than any image has.
    #[error("{subject} has more than {limit} referrers")]
    TooManyReferrers {
        /// What they refer to.
        subject: Digest,
        /// The limit.
        limit: usize,
    },
    /// The blob is not there.
    #[error("there is no blob {digest}")]
    MissingBlob {
        /// The blob asked for.
        digest: Digest,
    },
    /// The file of a blob is a link out of the layout, or not a file at all. It was not opened.
    #[error("blob {digest} is not a regular file inside the layout; it was not opened")]
    Escapes {
        /// The blob asked for.
        digest: Digest,
    },
    /// A blob was asked for from a position behind its end.
    #[error("blob {digest} has {size} bytes, so it cannot be read from byte {offset}")]
    Offset {
        /// The blob asked for.
        digest: Digest,
        /// Where reading should have begun.
        offset: u64,
        /// Its size on disk.
        size: u64,
    },
    /// Bytes are not what their digest says.
    #[error("the content of {digest} is not what its digest or size says")]
    Integrity {
        /// The blob or manifest.
        digest: Digest,
        /// What differs.
        #[source]
        source: VerifyError,
    },
    /// The destination cannot be written.
    #[error("cannot write to {}", .path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Something on disk cannot be read.
    #[error("cannot read {}", .path.display())]
    NotReadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write of this blob failed, so it cannot be finished.
    #[error("an earlier write of blob {digest} failed, so it was thrown away")]
    Broken {
        /// The blob.
        digest: Digest,
    },
    /// Another process has held the lock of the layout for longer than we wait.
    #[error("another process is writing the index of {}; wait for it and run this again", .path.display())]
    Busy {
        /// The layout.
        path: PathBuf,
    },
    /// There is no archive at the path.
    #[error("there is no archive at {}", .path.display())]
    NoArchive {
        /// The path asked for.
        path: PathBuf,
    },
    /// An archive is a file, and there is something else.
    #[error("{} is not a regular file, which an archive has to be", .path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The archive cannot be read.
    #[error("the archive {} cannot be used", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// The archive that is being written has its image, and there is place for one only.
    #[error("the archive {} is complete; it takes one image", .path.display())]
    Finished {
        /// The archive.
        path: PathBuf,
    },
    /// An archive was to be completed while some of it was missing.
    #[error("some blobs of the archive {} have not arrived", .path.display())]
    Incomplete {
        /// The archive.
        path: PathBuf,
    },
    /// Two writers of one blob of one archive.
    #[error("blob {digest} is being written, or is there already")]
    InUse {
        /// The blob.
        digest: Digest,
    },
    /// A blob was announced with one size and comes with another.
    #[error("blob {digest} was said to have another size")]
    OtherSize {
        /// The blob.
        digest: Digest,
    },
    /// Something that this kind of archive has no place for. Nothing was written.
    #[error("a Docker archive or Engine cannot hold {digest}: it is {what}")]
    NotHeld {
        /// The manifest.
        digest: Digest,
        /// What it is.
        what: &'static str,
    },
    /// A Docker archive, or an Engine, holds images one by one, and an index lists several. Nothing was written.
    #[error(
        "a Docker archive or Engine cannot hold {digest}: it is an index of several platforms; pick one of them"
    )]
    IndexNotHeld {
        /// The index.
        digest: Digest,
    },
    /// An image in a Docker archive has a name with a tag.
    #[error("an image in an archive cannot be named by the digest {digest}; give a tag or nothing")]
    NamedByDigest {
        /// The digest.
        digest: Digest,
    },
    /// The config of an image has not one digest for each layer.
    #[error("the config {digest} says {said} layers, the manifest {found}")]
    Layers {
        /// The config.
        digest: Digest,
        /// How many the config says.
        said: usize,
        /// How many the manifest has.
        found: usize,
    },
    /// A compressed layer cannot be decompressed.
    #[error("the layer {digest} cannot be decompressed")]
    Compression {
        /// The layer.
        digest: Digest,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// A compressed layer becomes far larger than any that serves a purpose.
    #[error(
        "the layer {digest} becomes larger than {limit} bytes when it is decompressed, which is taken for an attack"
    )]
    Expansion {
        /// The layer.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// The runtime is shutting down.
    #[error("the work on the layout was cut off by the end of the program")]
    Shutdown,
}

impl LayoutError {
    /// Whether some content was not what its digest says.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::Integrity { .. })
    }

    /// Whether it may come from looking while the last writer took away what it had made, so that another look helps.
    pub(crate) fn may_be_of_the_moment(&self) -> bool {
        match self {
            Self::NotALayout { .. } | Self::NotADirectory { .. } => true,
            Self::NotReadable { source, .. } | Self::NotWritable { source, .. } => {
                source.kind() == io::ErrorKind::NotFound
            }
            _ => false,
        }
    }

    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::NotWritable { path, source }
    }

    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::NotReadable { path, source }
    }

    pub(crate) fn json(path: impl Into<PathBuf>) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.into();
        move |source| Self::InvalidJson {
            path,
            source: source.into(),
        }
    }

    pub(crate) fn integrity(digest: &Digest) -> impl FnOnce(VerifyError) -> Self {
        let digest = digest.clone();
        move |source| Self::Integrity { digest, source }
    }

    fn kind(&self) -> ContentErrorKind {
        match self {
            Self::NotFound { .. }
            | Self::NoArchive { .. }
            | Self::Unfinished { .. }
            | Self::UnknownImage { .. }
            | Self::MissingBlob { .. } => ContentErrorKind::NotFound,
            Self::Integrity { .. } | Self::OtherSize { .. } => ContentErrorKind::Integrity,
            Self::Version { .. }
            | Self::Signed { .. }
            | Self::NotHeld { .. }
            | Self::IndexNotHeld { .. }
            | Self::Archive {
                source: ArchiveError::Compressed { .. },
                ..
            } => ContentErrorKind::Unsupported,
            Self::NotWritable { .. }
            | Self::NotReadable { .. }
            | Self::Broken { .. }
            | Self::InUse { .. }
            | Self::Busy { .. } => ContentErrorKind::Storage,
            Self::Shutdown => ContentErrorKind::Other,
            Self::TooManyReferrers { .. }
            | Self::NotADirectory { .. }
            | Self::NotALayout { .. }
            | Self::InvalidJson { .. }
            | Self::InvalidIndex { .. }
            | Self::NotAnIndex { .. }
            | Self::InvalidManifest { .. }
            | Self::TooLarge { .. }
            | Self::Ambiguous { .. }
            | Self::SeveralUntagged { .. }
            | Self::Escapes { .. }
            | Self::NotAFile { .. }
            | Self::Archive { .. }
            | Self::Finished { .. }
            | Self::Incomplete { .. }
            | Self::NamedByDigest { .. }
            | Self::Layers { .. }
            | Self::Compression { .. }
            | Self::Expansion { .. }
            | Self::Offset { .. } => ContentErrorKind::Invalid,
        }
    }
}

impl From<LayoutError> for ContentError {
    fn from(error: LayoutError) -> Self {
        let kind = error.kind();
        let message = match kind {
            _ if matches!(
                error,
                LayoutError::NotHeld { .. } | LayoutError::IndexNotHeld { .. }
            ) =>
            {
                "the image cannot be kept there"
            }
            ContentErrorKind::Storage => "the images on disk cannot be read or written",
            ContentErrorKind::Integrity => "content on disk does not match its digest",
            _ => "the layout or archive cannot be used like this",
        };
        ContentError::new(kind, message).with_source(error)
    }
}

fn names_or_none(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
