//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use peak_oci::{Digest, ManifestError, RepositoryName};

/// Why the store did not do what was asked.
///
/// Callers branch on the variant; `Display` says what happened at this layer, and the cause, where
/// there is one, is the error's source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another [`Store`](crate::Store) of this process, has the directory open.
    #[error(
        "the registry directory {} is in use by another process; stop that one or use another directory",
        .directory.display()
    )]
    InUse {
        /// The directory that was to be opened.
        directory: PathBuf,
    },

    /// The directory holds something else than a registry store, or a store of a later version.
    #[error(
        "{} is not a registry directory that this version can use: {reason}; give an empty or a new directory",
        .directory.display()
    )]
    NotAStore {
        /// The directory that was to be opened.
        directory: PathBuf,
        /// What was found.
        reason: String,
    },

    /// The file system refused: no permission, no space, a broken disk.
    #[error("could not {action} {}", .path.display())]
    Io {
        /// What was being done, as a verb phrase that the path completes.
        action: &'static str,
        /// The file or directory that it was done to.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// A file of the store is not what the store wrote there.
    #[error("the registry's file {} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Nothing was ever pushed to this repository.
    #[error("the registry has no repository {repository}")]
    RepositoryUnknown {
        /// The repository that was asked for.
        repository: RepositoryName,
    },

    /// The repository does not have this blob. Other repositories may.
    #[error("repository {repository} has no blob {digest}")]
    BlobUnknown {
        /// The repository that was asked.
        repository: RepositoryName,
        /// The blob that was asked for.
        digest: Digest,
    },

    /// The repository does not have this tag or manifest.
    #[error("repository {repository} has no manifest {reference}")]
    ManifestUnknown {
        /// The repository that was asked.
        repository: RepositoryName,
        /// The tag or digest that was asked for.
        reference: String,
    },

    /// A manifest points to blobs or manifests that its repository does not have.
    #[error(
        "the manifest points to content that repository {repository} does not have: {}; push that first",
        list(.missing)
    )]
    ManifestBlobUnknown {
        /// The repository that the manifest was to go to.
        repository: RepositoryName,
        /// Everything that is missing, in the order of the manifest.
        missing: Vec<Digest>,
    },

    /// A manifest says another size of a blob or manifest than that which the repository has.
    #[error("the manifest says that {digest} has {described} bytes, but it has {actual}")]
    ManifestSizeMismatch {
        /// The content that is described wrongly.
        digest: Digest,
        /// The size in the manifest's descriptor, in bytes.
        described: u64,
        /// The size of the content, in bytes.
        actual: u64,
    },

    /// The bytes are not a manifest that the registry takes.
    #[error("the manifest is not valid")]
    ManifestInvalid {
        /// What is wrong, and where.
        #[source]
        source: ManifestError,
    },

    /// The content does not have the digest that was given for it.
    #[error("the content has the digest {actual}, not {expected} as was said")]
    DigestMismatch {
        /// The digest that was given.
        expected: Digest,
        /// The digest of what arrived.
        actual: Digest,
    },

    /// Another collection of garbage runs on this store.
    #[error("garbage is being collected already; wait for the end of that")]
    CollectionUnderWay,

    /// A long piece of work was stopped by who had asked for it.
    #[error("stopped before the end")]
    Stopped,

    /// An earlier write to this upload failed, so what it holds is not known any more.
    #[error("an earlier write to this upload failed; start a new one")]
    UploadBroken,
}

/// An error with all its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl StoreError {
    /// Builds the adapter for `map_err` that keeps what was done to which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What happened and why, in one line, for reports that outlive the error.
    pub(crate) fn with_causes(&self) -> String {
        with_causes(self)
    }

    /// Whether the cause is that the disk, or the share of it that this user may fill, is full.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// At most this many digests are named in the text of an error; the rest are counted.
const NAMED_IN_TEXT: usize = 5;

fn list(digests: &[Digest]) -> String {
    let mut text = digests
        .iter()
        .take(NAMED_IN_TEXT)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more @ 1..) = digests.len().checked_sub(NAMED_IN_TEXT) {
        text.push_str(" and ");
        text.push_str(&more.to_string());
        text.push_str(" more");
    }
    text
}
