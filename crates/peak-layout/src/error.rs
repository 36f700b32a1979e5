//! What can go wrong with a layout on disk, by outcome.

use std::io;
use std::path::{Path, PathBuf};

use peak_oci::{ContentError, ContentErrorKind, Digest, ManifestError, VerifyError};

/// An error of a layout on disk.
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
        source: serde_json::Error,
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
    /// A manifest of the layout cannot be understood.
    #[error("manifest {digest} of the layout is not valid")]
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
    /// The layout has no image of that name.
    #[error("the layout has no image `{name}`; it has: {}", names_or_none(.available))]
    UnknownImage {
        /// The tag or digest asked for.
        name: String,
        /// The names the layout has.
        available: Vec<String>,
    },
    /// The layout has several images and none was asked for by name, or several have the name.
    #[error("the layout has several images, say which one: {}", names_or_none(.available))]
    Ambiguous {
        /// The names the layout has; digests stand for images without a name.
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
    /// The blob is not in the layout.
    #[error("the layout has no blob {digest}")]
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

    fn kind(&self) -> ContentErrorKind {
        match self {
            Self::NotFound { .. }
            | Self::Unfinished { .. }
            | Self::UnknownImage { .. }
            | Self::MissingBlob { .. } => ContentErrorKind::NotFound,
            Self::Integrity { .. } => ContentErrorKind::Integrity,
            Self::Version { .. } | Self::Signed { .. } => ContentErrorKind::Unsupported,
            Self::NotWritable { .. }
            | Self::NotReadable { .. }
            | Self::Broken { .. }
            | Self::Busy { .. } => ContentErrorKind::Storage,
            Self::Shutdown => ContentErrorKind::Other,
            Self::NotADirectory { .. }
            | Self::NotALayout { .. }
            | Self::InvalidJson { .. }
            | Self::InvalidIndex { .. }
            | Self::NotAnIndex { .. }
            | Self::InvalidManifest { .. }
            | Self::TooLarge { .. }
            | Self::Ambiguous { .. }
            | Self::SeveralUntagged { .. }
            | Self::Escapes { .. }
            | Self::Offset { .. } => ContentErrorKind::Invalid,
        }
    }
}

impl From<LayoutError> for ContentError {
    fn from(error: LayoutError) -> Self {
        let kind = error.kind();
        let message = match kind {
            ContentErrorKind::Storage => "the image layout on disk failed",
            ContentErrorKind::Integrity => "content of the image layout does not match its digest",
            _ => "the image layout cannot do this",
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
