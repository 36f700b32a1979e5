//! What a repository keeps of a manifest beside its bytes.

use std::path::Path;

use peak_oci::{Digest, MediaType, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// The largest record or tag file that is read; what the store writes is far below.
pub(crate) const MAX_SMALL_FILE: u64 = 64 * 1024;

/// The file that makes a manifest part of a repository.
///
/// It says itself what it is about, so that a deletion can be completed from it alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    /// The digest of the bytes, where that is not `digest`: for Docker's signed schema 1, whose digest is of what was
    /// signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Digest>,
    pub(crate) media_type: MediaType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
}

impl Record {
    /// By which digest the store has the bytes.
    pub(crate) fn content(&self) -> &Digest {
        self.content.as_ref().unwrap_or(&self.digest)
    }
}

impl Store {
    /// The record in a file, if there is one.
    pub(crate) fn read_record(&self, path: &Path) -> Result<Option<Record>, StoreError> {
        let Some(bytes) = self.files().read(path, MAX_SMALL_FILE)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StoreError::Damaged {
                path: path.to_path_buf(),
                reason: format!("it is not a record of a manifest: {error}"),
            })
    }
}
