//! Images and their versions: creating, changing, describing.

use peak_oci::{Digest, RepositoryName, Tag};
use redb::{ReadableTable, WriteTransaction};

use super::records::{ArtifactVersionRecord, BuildRecord, ImageRecord, VersionRecord, decode};
use super::tables::{
    self, ARTIFACT_VERSIONS, BUILD_COUNTER, BUILDS, COUNTERS, IMAGE_COUNTER, IMAGE_NAMES, IMAGES,
    UNFINISHED, VERSION_COUNTER, VERSION_NAMES, VERSIONS,
};
use super::version_number::{self, next_patch};
use super::{State, StateError};
use crate::model::{BuildDetails, BuildStatus, ImageType};
use crate::timestamp::Timestamp;

/// What an image is created with.
pub(crate) struct NewImage {
    pub(crate) name: RepositoryName,
    pub(crate) kind: ImageType,
    pub(crate) first: NewVersion,
}

/// What a version is created with, and its first build.
pub(crate) struct NewVersion {
    /// `None`: the next patch version of the latest, or `0.0.1` for a new image.
    pub(crate) version: Option<Tag>,
    pub(crate) description: Option<String>,
    pub(crate) details: BuildDetails,
    pub(crate) artifact: Option<Digest>,
}

/// What changes on a version.
pub(crate) struct VersionChange {
    /// `None`: as it was.
    pub(crate) description: Option<String>,
    /// `None`: nothing is built.
    pub(crate) build: Option<(BuildDetails, Option<Digest>)>,
}

/// What a change made.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) image: u64,
    pub(crate) image_name: RepositoryName,
    pub(crate) version: u64,
    pub(crate) version_name: Tag,
    /// The build that now waits to be run.
    pub(crate) build: Option<u64>,
}

/// An image with its latest version.
pub(crate) struct ImageView {
    pub(crate) id: u64,
    pub(crate) record: ImageRecord,
    /// `None` where all versions were deleted.
    pub(crate) latest: Option<VersionView>,
}

/// A version with its latest build and its image.
pub(crate) struct VersionView {
    pub(crate) id: u64,
    pub(crate) record: VersionRecord,
    pub(crate) latest_build: BuildRecord,
    pub(crate) image: ImageRecord,
    pub(crate) is_latest: bool,
}

impl State {
    /// Creates an image with its first version and a build of it that has yet to run.
    pub(crate) fn create_image(&self, new: &NewImage) -> Result<Changed, StateError> {
        self.write(|transaction| {
            let now = Timestamp::now();
            let mut names = transaction.open_table(IMAGE_NAMES)?;
            if let Some(taken) = names.get(new.name.as_str())? {
                return Err(StateError::NameTaken {
                    name: new.name.clone(),
                    id: taken.value(),
                });
            }
            let id = tables::next_id(&mut transaction.open_table(COUNTERS)?, IMAGE_COUNTER)?;
            names.insert(new.name.as_str(), id)?;
            let record = ImageRecord {
                name: new.name.clone(),
                kind: new.kind,
                created_at: now,
                updated_at: now,
                deletion: None,
            };
            let version = match &new.first.version {
                Some(version) => version.clone(),
                None => version_number::first()?,
            };
            add_version(transaction, id, record, version, &new.first, now)
        })
    }

    /// Creates a version of an image and a build of it that has yet to run.
    pub(crate) fn create_version(
        &self,
        image: u64,
        new: &NewVersion,
    ) -> Result<Changed, StateError> {
        self.write(|transaction| {
            let record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            if let Some(deletion) = record.deletion {
                return Err(StateError::deleted(format!("image {image}"), deletion));
            }
            let version = match &new.version {
                Some(version) => version.clone(),
                None => next_version(transaction, image)?,
            };
            add_version(transaction, image, record, version, new, Timestamp::now())
        })
    }

    /// Changes a version, and makes a new build of it that has yet to run where the change has one.
    pub(crate) fn update_version(
        &self,
        image: u64,
        version: u64,
        change: &VersionChange,
    ) -> Result<Changed, StateError> {
        self.write(|transaction| {
            let now = Timestamp::now();
            let mut image_record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            let mut record = tables::version(&transaction.open_table(VERSIONS)?, image, version)?;
            if let Some(deletion) = record.deletion {
                let what = format!("version {} of image {image}", record.version);
                return Err(StateError::deleted(what, deletion));
            }
            let build = match &change.build {
                None => None,
                Some((details, artifact)) => {
                    let latest = tables::build(
                        &transaction.open_table(BUILDS)?,
                        image,
                        record.latest_build,
                    )?;
                    if latest.status == BuildStatus::Building {
                        let busy = StateError::VersionBusy {
                            version: record.version,
                            build: record.latest_build,
                        };
                        return Err(busy);
                    }
                    let waiting =
                        waiting_build(version, &record.version, details, artifact.clone(), now);
                    let build = add_build(transaction, image, &waiting)?;
                    record.details = details.clone();
                    record.latest_build = build;
                    Some(build)
                }
            };
            if change.description.is_some() {
                record.description.clone_from(&change.description);
            }
            record.updated_at = now;
            image_record.updated_at = now;
            tables::put_version(
                &mut transaction.open_table(VERSIONS)?,
                image,
                version,
                &record,
            )?;
            tables::put_image(&mut transaction.open_table(IMAGES)?, image, &image_record)?;
            Ok(Changed {
                image,
                image_name: image_record.name,
                version,
                version_name: record.version,
                build,
            })
        })
    }

    /// The image with this id.
    pub(crate) fn image(&self, id: u64) -> Result<ImageView, StateError> {
        self.read(|transaction| {
            let record = tables::image(&transaction.open_table(IMAGES)?, id)?;
            view_image(
                &transaction.open_table(VERSIONS)?,
                &transaction.open_table(BUILDS)?,
                id,
                record,
            )
        })
    }

    /// The version of an image with this id.
    pub(crate) fn version(&self, image: u64, id: u64) -> Result<VersionView, StateError> {
        self.read(|transaction| {
            let image_record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            let versions = transaction.open_table(VERSIONS)?;
            let record = tables::version(&versions, image, id)?;
            let latest = tables::latest_version(&versions, image)?.map(|(id, _)| id);
            view_version(
                &transaction.open_table(BUILDS)?,
                image,
                &image_record,
                id,
                record,
                latest,
            )
        })
    }

    /// The archives that the latest build of each version was made from, and those of artifacts.
    pub(crate) fn artifacts_in_use(&self) -> Result<Vec<Digest>, StateError> {
        self.read(|transaction| {
            let versions = transaction.open_table(VERSIONS)?;
            let builds = transaction.open_table(BUILDS)?;
            let mut used = Vec::new();
            for entry in versions.iter()? {
                let (key, _) = entry?;
                let (image, version) = key.value();
                let latest = tables::version(&versions, image, version)?.latest_build;
                used.extend(tables::build(&builds, image, latest)?.artifact);
            }
            for entry in transaction.open_table(ARTIFACT_VERSIONS)?.iter()? {
                let (key, value) = entry?;
                let (artifact, number) = key.value();
                let record: ArtifactVersionRecord = decode(value.value(), || {
                    format!("version {number} of artifact {artifact}")
                })?;
                used.push(record.digest);
            }
            Ok(used)
        })
    }
}

pub(super) fn view_image(
    versions: &impl ReadableTable<(u64, u64), &'static [u8]>,
    builds: &impl ReadableTable<(u64, u64), &'static [u8]>,
    id: u64,
    record: ImageRecord,
) -> Result<ImageView, StateError> {
    let latest = tables::latest_version(versions, id)?
        .map(|(latest, version)| view_version(builds, id, &record, latest, version, Some(latest)))
        .transpose()?;
    Ok(ImageView { id, record, latest })
}

pub(super) fn view_version(
    builds: &impl ReadableTable<(u64, u64), &'static [u8]>,
    image: u64,
    image_record: &ImageRecord,
    id: u64,
    record: VersionRecord,
    latest: Option<u64>,
) -> Result<VersionView, StateError> {
    let latest_build = tables::build(builds, image, record.latest_build)?;
    Ok(VersionView {
        id,
        record,
        latest_build,
        image: image_record.clone(),
        is_latest: latest == Some(id),
    })
}

/// The next patch version of the latest one that is not taken, or the first where there is none.
fn next_version(transaction: &WriteTransaction, image: u64) -> Result<Tag, StateError> {
    let latest = tables::latest_version(&transaction.open_table(VERSIONS)?, image)?;
    let Some((_, latest)) = latest else {
        return version_number::first();
    };
    let names = transaction.open_table(VERSION_NAMES)?;
    let mut next = latest.version;
    loop {
        next = next_patch(&next).ok_or_else(|| StateError::NoNextVersion(next.clone()))?;
        if names.get((image, next.as_str()))?.is_none() {
            return Ok(next);
        }
    }
}

/// Writes a new version with its first build, and the image that has it.
fn add_version(
    transaction: &WriteTransaction,
    image: u64,
    mut image_record: ImageRecord,
    version: Tag,
    new: &NewVersion,
    now: Timestamp,
) -> Result<Changed, StateError> {
    let mut names = transaction.open_table(VERSION_NAMES)?;
    if let Some(taken) = names.get((image, version.as_str()))? {
        let id = taken.value();
        return Err(StateError::VersionTaken { image, version, id });
    }
    let id = tables::next_id(&mut transaction.open_table(COUNTERS)?, VERSION_COUNTER)?;
    names.insert((image, version.as_str()), id)?;
    let build = add_build(
        transaction,
        image,
        &waiting_build(id, &version, &new.details, new.artifact.clone(), now),
    )?;
    let record = VersionRecord {
        version: version.clone(),
        description: new.description.clone(),
        details: new.details.clone(),
        latest_build: build,
        built: None,
        created_at: now,
        updated_at: now,
        deletion: None,
    };
    tables::put_version(&mut transaction.open_table(VERSIONS)?, image, id, &record)?;
    image_record.updated_at = now;
    tables::put_image(&mut transaction.open_table(IMAGES)?, image, &image_record)?;
    Ok(Changed {
        image,
        image_name: image_record.name,
        version: id,
        version_name: version,
        build: Some(build),
    })
}

fn waiting_build(
    version_id: u64,
    version: &Tag,
    details: &BuildDetails,
    artifact: Option<Digest>,
    now: Timestamp,
) -> BuildRecord {
    BuildRecord {
        version_id,
        version: version.clone(),
        status: BuildStatus::Building,
        use_cache: details.use_cache.unwrap_or(true),
        artifact,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

fn add_build(
    transaction: &WriteTransaction,
    image: u64,
    record: &BuildRecord,
) -> Result<u64, StateError> {
    let id = tables::next_id(&mut transaction.open_table(COUNTERS)?, BUILD_COUNTER)?;
    tables::put_build(&mut transaction.open_table(BUILDS)?, image, id, record)?;
    transaction
        .open_table(UNFINISHED)?
        .insert((image, id), ())?;
    Ok(id)
}
