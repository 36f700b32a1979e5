//! What the tables hold, as JSON, and how it is read and written.

use peak_oci::{Digest, RepositoryName, Tag};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::StateError;
use crate::model::{BuildDetails, BuildStatus, ImageType, VersionStatus};
use crate::timestamp::Timestamp;

/// How the deletion of something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deletion {
    /// It is asked for and will be carried out.
    Running,
    /// It could not be carried out.
    Failed,
}

impl Deletion {
    /// As the API says it.
    pub(crate) fn status(self) -> VersionStatus {
        match self {
            Self::Running => VersionStatus::Deleting,
            Self::Failed => VersionStatus::DeleteFailed,
        }
    }
}

/// An image: a name and a series of versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Also the repository in the registry.
    pub(crate) name: RepositoryName,
    pub(crate) kind: ImageType,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Deletion>,
}

/// A version of an image. How it stands is not kept: it follows from `built` and the latest build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    /// Also the tag in the registry.
    pub(crate) version: Tag,
    pub(crate) description: Option<String>,
    pub(crate) details: BuildDetails,
    pub(crate) latest_build: u64,
    /// The result of the last build that succeeded.
    pub(crate) built: Option<BuiltRecord>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Deletion>,
}

impl VersionRecord {
    /// A version stays usable while, and although, a later build of it runs or failed.
    pub(crate) fn status(&self) -> VersionStatus {
        match (self.deletion, &self.built) {
            (Some(deletion), _) => deletion.status(),
            (None, Some(_)) => VersionStatus::Ready,
            (None, None) => VersionStatus::NotReady,
        }
    }
}

/// The image that a build made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuiltRecord {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// One build of a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuildRecord {
    pub(crate) version_id: u64,
    pub(crate) version: Tag,
    pub(crate) status: BuildStatus,
    pub(crate) use_cache: bool,
    /// The archive that was uploaded for it.
    pub(crate) artifact: Option<Digest>,
    pub(crate) created_at: Timestamp,
    /// When it left the queue.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// An artifact: a name and a series of archives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ArtifactRecord {
    /// The UUID under which callers know it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// The last number that was given out.
    pub(crate) last_version: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Deletion>,
}

/// A version of an artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ArtifactVersionRecord {
    /// Of its archive.
    pub(crate) digest: Digest,
    /// Of its archive, bytes.
    pub(crate) size: u64,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Deletion>,
}

/// Writes a record for its table.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(record).map_err(|source| StateError::Damaged {
        what: "a new record".to_owned(),
        source: Some(source),
    })
}

/// Reads a record of a table; `what` names it where it cannot be read.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|source| StateError::Damaged {
        what: what(),
        source: Some(source),
    })
}
