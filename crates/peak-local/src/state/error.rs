//! What can go wrong with the state.

use std::error::Error;

use peak_oci::{RepositoryName, Tag};
use peak_registry_server::StoreError;
use uuid::Uuid;

use super::records::Deletion;

/// Why a question to the state or a change of it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("there is no image {0}")]
    ImageUnknown(u64),

    #[error("image {image} has no version with the id {version}")]
    VersionUnknown { image: u64, version: u64 },

    #[error("image {image} has no build {build}")]
    BuildUnknown { image: u64, build: u64 },

    #[error("there is no artifact {0}")]
    ArtifactUnknown(Uuid),

    #[error("artifact {artifact} has no version {version}")]
    ArtifactVersionUnknown { artifact: Uuid, version: u64 },

    #[error("artifact {0} has no versions any more")]
    ArtifactEmpty(Uuid),

    #[error(
        "an image with the name {name} exists already (id {id}); create a version of it, or choose another name"
    )]
    NameTaken { name: RepositoryName, id: u64 },

    #[error(
        "image {image} has a version {version} already (id {id}); update it, or choose another version"
    )]
    VersionTaken { image: u64, version: Tag, id: u64 },

    #[error("version {version} is being built (build {build}); wait until that build has ended")]
    VersionBusy { version: Tag, build: u64 },

    #[error("{0} is being deleted")]
    BeingDeleted(String),

    #[error("{0} was to be deleted, which failed; delete it again")]
    DeletionFailed(String),

    #[error(
        "there is no next patch version of {0}; give the version, with `peak` as `--version 1.0.0`"
    )]
    NoNextVersion(Tag),

    #[error("the state holds a record that this version cannot read: {what}")]
    Damaged {
        what: String,
        #[source]
        source: Option<serde_json::Error>,
    },

    #[error(
        "the state was written by a later version of this program (format {found}, this one reads {known})"
    )]
    LaterFormat { found: u64, known: u64 },

    #[error("an archive could not be kept or removed")]
    Archive(#[from] std::io::Error),

    #[error("a tag could not be removed from the registry")]
    Tag(#[source] Box<StoreError>),

    #[error("the state could not be read or written")]
    Database(#[source] Box<dyn Error + Send + Sync>),
}

impl StateError {
    /// What is asked of something that is being deleted.
    pub(crate) fn deleted(what: String, deletion: Deletion) -> Self {
        match deletion {
            Deletion::Running => Self::BeingDeleted(what),
            Deletion::Failed => Self::DeletionFailed(what),
        }
    }

    /// A reference from one record to another that is not there.
    pub(crate) fn missing(what: String) -> Self {
        Self::Damaged { what, source: None }
    }
}

/// Every error of the database means the same here: the state is not readable or writable.
macro_rules! from_database_error {
    ($($kind:ty),+) => {
        $(impl From<$kind> for StateError {
            fn from(error: $kind) -> Self {
                Self::Database(Box::new(error))
            }
        })+
    };
}

from_database_error!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
