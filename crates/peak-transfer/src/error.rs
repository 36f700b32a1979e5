//! What can stop a transfer, by which end is to blame.

use peak_oci::{
    ContentError, ContentErrorKind, Digest, ManifestError, NoMatchingPlatform, Platform, Tag,
};

/// Why a transfer did not finish. The destination shows what it showed before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The source failed.
    #[error("cannot read {what} from the source")]
    Source {
        /// Blob, manifest or image, as people call it.
        what: String,
        /// What the source said.
        #[source]
        source: ContentError,
    },
    /// The destination failed.
    #[error("cannot write {what} to the destination")]
    Destination {
        /// Blob or manifest, as people call it.
        what: String,
        /// What the destination said.
        #[source]
        source: ContentError,
    },
    /// A tag could not be deleted.
    #[error("cannot delete the tag `{tag}` at the destination")]
    Deletion {
        /// The tag.
        tag: Tag,
        /// What the destination said.
        #[source]
        source: ContentError,
    },
    /// Tags would be deleted for want of others to keep.
    #[error(
        "the source has none of the tags that the plan means, so nothing is deleted at the destination"
    )]
    NothingToKeep,
    /// More tags than any repository has.
    #[error("the repository has more than {limit} tags")]
    TooManyTags {
        /// The limit.
        limit: usize,
    },
    /// The source has no such tag.
    #[error("the source has no tag `{tag}`")]
    NoTag {
        /// The tag.
        tag: Tag,
    },
    /// Content is not what its digest or size says. What was written of it is removed.
    #[error("the content of {what} is not what its digest or size says")]
    Integrity {
        /// Blob or manifest, with its digest.
        what: String,
        /// What differs.
        #[source]
        source: ContentError,
    },
    /// A manifest has another size than the index that points to it says.
    #[error(
        "manifest {digest} has {actual} bytes, but the index that points to it says {expected}"
    )]
    ManifestSize {
        /// The manifest.
        digest: Digest,
        /// The size in the index.
        expected: u64,
        /// The size it has.
        actual: u64,
    },
    /// Two descriptors of one blob contradict each other.
    #[error("blob {digest} is said to have {first} bytes in one place and {second} in another")]
    ConflictingSizes {
        /// The blob.
        digest: Digest,
        /// One size.
        first: u64,
        /// The other.
        second: u64,
    },
    /// Indexes that point to indexes that point to indexes.
    #[error("the index is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Referrers of referrers of referrers.
    #[error("the referrers of the image have referrers more than {limit} levels deep")]
    ReferrersTooDeep {
        /// The limit.
        limit: usize,
    },
    /// More referrers than any image has.
    #[error("the image has more than {limit} referrers")]
    TooManyReferrers {
        /// The limit.
        limit: usize,
    },
    /// The index has nothing for a platform that was asked for.
    #[error("index {digest} cannot be cut down to the platforms asked for")]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// What it has.
        #[source]
        source: NoMatchingPlatform,
    },
    /// The image is for one platform, and that is another one.
    #[error("image {digest} is for {actual}, not for {wanted}")]
    OtherPlatform {
        /// The image.
        digest: Digest,
        /// The platforms asked for.
        wanted: String,
        /// The platform of its config.
        actual: Box<Platform>,
    },
    /// What is left of an index cannot be written as one.
    #[error("what is left of index {digest} cannot be written")]
    Index {
        /// The index.
        digest: Digest,
        /// Why not.
        #[source]
        source: ManifestError,
    },
    /// More manifests than any image has.
    #[error("the image has more than {limit_bytes} bytes of manifests")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
}

impl TransferError {
    /// Whether content was not what its digest or size says.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::Integrity { .. } | Self::ManifestSize { .. } | Self::ConflictingSizes { .. }
        )
    }

    /// Whether the destination is at fault: full, not writable, refused.
    pub fn is_destination(&self) -> bool {
        matches!(self, Self::Destination { .. } | Self::Deletion { .. })
    }

    /// The outcome, where one of the ends reported it. A platform that the image is not for counts as not found.
    pub fn kind(&self) -> Option<ContentErrorKind> {
        match self {
            Self::Source { source, .. }
            | Self::Destination { source, .. }
            | Self::Deletion { source, .. }
            | Self::Integrity { source, .. } => Some(source.kind()),
            Self::NoPlatform { .. } | Self::OtherPlatform { .. } | Self::NoTag { .. } => {
                Some(ContentErrorKind::NotFound)
            }
            _ => None,
        }
    }

    pub(crate) fn reading(what: String, source: ContentError) -> Self {
        if source.kind() == ContentErrorKind::Integrity {
            Self::Integrity { what, source }
        } else {
            Self::Source { what, source }
        }
    }

    pub(crate) fn writing(what: String, source: ContentError) -> Self {
        if source.kind() == ContentErrorKind::Integrity {
            Self::Integrity { what, source }
        } else {
            Self::Destination { what, source }
        }
    }
}
