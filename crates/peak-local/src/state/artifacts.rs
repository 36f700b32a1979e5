//! Artifacts and their versions.

use peak_oci::Digest;
use redb::{ReadableTable, WriteTransaction};
use uuid::Uuid;

use super::listing::{Listing, Page};
use super::records::{ArtifactRecord, ArtifactVersionRecord, decode};
use super::tables::{
    self, ARTIFACT_COUNTER, ARTIFACT_IDS, ARTIFACT_VERSIONS, ARTIFACTS, COUNTERS, under,
};
use super::{State, StateError};
use crate::timestamp::Timestamp;

/// The archive of a version.
pub(crate) struct StoredArchive {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
}

/// What changes on an artifact; `None` stays as it was.
#[derive(Debug, Default)]
pub(crate) struct ArtifactChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
}

/// A version with its number.
pub(crate) struct ArtifactVersionView {
    pub(crate) number: u64,
    pub(crate) record: ArtifactVersionRecord,
}

impl State {
    /// Creates an artifact with its version 1.
    pub(crate) fn create_artifact(
        &self,
        name: String,
        description: Option<String>,
        archive: &StoredArchive,
    ) -> Result<Uuid, StateError> {
        self.write(|transaction| {
            let now = Timestamp::now();
            let id = Uuid::new_v4();
            let key = tables::next_id(&mut transaction.open_table(COUNTERS)?, ARTIFACT_COUNTER)?;
            transaction
                .open_table(ARTIFACT_IDS)?
                .insert(id.as_u128(), key)?;
            let mut record = ArtifactRecord {
                id: id.to_string(),
                name,
                description,
                last_version: 0,
                created_at: now,
                updated_at: now,
                deletion: None,
            };
            add_version(transaction, key, &mut record, archive, now)?;
            Ok(id)
        })
    }

    /// Adds a version to an artifact. Numbers count on, those of deleted versions are not given out again.
    pub(crate) fn create_artifact_version(
        &self,
        id: Uuid,
        archive: &StoredArchive,
    ) -> Result<u64, StateError> {
        self.write(|transaction| {
            let key = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let mut record = tables::artifact(&transaction.open_table(ARTIFACTS)?, key)?;
            refuse_deleted(&record)?;
            add_version(transaction, key, &mut record, archive, Timestamp::now())
        })
    }

    /// Changes what is said about an artifact.
    pub(crate) fn update_artifact(
        &self,
        id: Uuid,
        change: ArtifactChange,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let key = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let mut artifacts = transaction.open_table(ARTIFACTS)?;
            let mut record = tables::artifact(&artifacts, key)?;
            refuse_deleted(&record)?;
            if let Some(name) = change.name {
                record.name = name;
            }
            record.description = change.description.or(record.description);
            record.updated_at = Timestamp::now();
            tables::put_artifact(&mut artifacts, key, &record)
        })
    }

    /// An artifact with a page of its versions, the newest first.
    pub(crate) fn artifact(
        &self,
        id: Uuid,
        page: Page,
    ) -> Result<(ArtifactRecord, Listing<ArtifactVersionView>), StateError> {
        self.read(|transaction| {
            let key = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let record = tables::artifact(&transaction.open_table(ARTIFACTS)?, key)?;
            let mut listing = Listing::new(page);
            let versions = transaction.open_table(ARTIFACT_VERSIONS)?;
            for entry in versions.range(under(key))?.rev() {
                let (key, value) = entry?;
                let (_, number) = key.value();
                let record = decode(value.value(), || {
                    format!("version {number} of artifact {id}")
                })?;
                listing.offer(ArtifactVersionView { number, record });
            }
            Ok((record, listing))
        })
    }

    /// A page of the artifacts, the newest first.
    pub(crate) fn list_artifacts(&self, page: Page) -> Result<Listing<ArtifactRecord>, StateError> {
        self.read(|transaction| {
            let mut listing = Listing::new(page);
            for entry in transaction.open_table(ARTIFACTS)?.iter()?.rev() {
                let (key, value) = entry?;
                let key = key.value();
                listing.offer(decode(value.value(), || format!("artifact {key}"))?);
            }
            Ok(listing)
        })
    }

    /// The archive of a version of an artifact; of the latest that is not being deleted where none is named.
    pub(crate) fn artifact_archive(
        &self,
        id: Uuid,
        number: Option<u64>,
    ) -> Result<StoredArchive, StateError> {
        self.read(|transaction| {
            let key = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let versions = transaction.open_table(ARTIFACT_VERSIONS)?;
            if let Some(version) = number {
                let record = tables::artifact_version(&versions, key, version)?.ok_or(
                    StateError::ArtifactVersionUnknown {
                        artifact: id,
                        version,
                    },
                )?;
                return Ok(StoredArchive::of(record));
            }
            for entry in versions.range(under(key))?.rev() {
                let (found, value) = entry?;
                let (_, number) = found.value();
                let record: ArtifactVersionRecord = decode(value.value(), || {
                    format!("version {number} of artifact {id}")
                })?;
                if record.deletion.is_none() {
                    return Ok(StoredArchive::of(record));
                }
            }
            Err(StateError::ArtifactEmpty(id))
        })
    }
}

impl StoredArchive {
    fn of(record: ArtifactVersionRecord) -> Self {
        Self {
            digest: record.digest,
            size: record.size,
        }
    }
}

fn refuse_deleted(record: &ArtifactRecord) -> Result<(), StateError> {
    match record.deletion {
        Some(deletion) => Err(StateError::deleted(
            format!("artifact {}", record.id),
            deletion,
        )),
        None => Ok(()),
    }
}

fn add_version(
    transaction: &WriteTransaction,
    key: u64,
    record: &mut ArtifactRecord,
    archive: &StoredArchive,
    now: Timestamp,
) -> Result<u64, StateError> {
    let number = record.last_version.saturating_add(1);
    let version = ArtifactVersionRecord {
        digest: archive.digest.clone(),
        size: archive.size,
        created_at: now,
        deletion: None,
    };
    tables::put_artifact_version(
        &mut transaction.open_table(ARTIFACT_VERSIONS)?,
        key,
        number,
        &version,
    )?;
    record.last_version = number;
    record.updated_at = now;
    tables::put_artifact(&mut transaction.open_table(ARTIFACTS)?, key, record)?;
    Ok(number)
}
