//! The tables of `state.redb` and the small steps on them.

use std::ops::RangeInclusive;

use redb::{ReadableTable, Table, TableDefinition};
use uuid::Uuid;

use super::error::StateError;
use super::records::{
    ArtifactRecord, ArtifactVersionRecord, BuildRecord, ImageRecord, VersionRecord, decode, encode,
};

/// The format of the tables; a state of a later format is refused, not guessed at.
/// 2: an image may be without versions, and there are artifacts. 3: deletions are written down.
pub(super) const FORMAT: u64 = 3;

/// `format`, and the last id that was given out of each kind.
pub(super) const COUNTERS: TableDefinition<'static, &str, u64> = TableDefinition::new("counters");
/// Image id to [`ImageRecord`].
pub(super) const IMAGES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("images");
/// Image name to image id.
pub(super) const IMAGE_NAMES: TableDefinition<'static, &str, u64> =
    TableDefinition::new("image_names");
/// Image id and version id to [`VersionRecord`]. Ids grow, so the last of an image is its latest.
pub(super) const VERSIONS: TableDefinition<'static, (u64, u64), &[u8]> =
    TableDefinition::new("versions");
/// Image id and version text to version id.
pub(super) const VERSION_NAMES: TableDefinition<'static, (u64, &str), u64> =
    TableDefinition::new("version_names");
/// Image id and build id to [`BuildRecord`].
pub(super) const BUILDS: TableDefinition<'static, (u64, u64), &[u8]> =
    TableDefinition::new("builds");
/// The builds, by image id and build id, that have not ended.
pub(super) const UNFINISHED: TableDefinition<'static, (u64, u64), ()> =
    TableDefinition::new("unfinished_builds");
/// Build id and line number, from 0, to the time in milliseconds and the line.
pub(super) const LOG_LINES: TableDefinition<'static, (u64, u64), (i64, &str)> =
    TableDefinition::new("log_lines");

/// Artifact id, as a number, to the key of its records. Keys grow, so the last is the newest.
pub(super) const ARTIFACT_IDS: TableDefinition<'static, u128, u64> =
    TableDefinition::new("artifact_ids");
/// Artifact key to [`ArtifactRecord`].
pub(super) const ARTIFACTS: TableDefinition<'static, u64, &[u8]> =
    TableDefinition::new("artifacts");
/// Artifact key and version number to [`ArtifactVersionRecord`].
pub(super) const ARTIFACT_VERSIONS: TableDefinition<'static, (u64, u64), &[u8]> =
    TableDefinition::new("artifact_versions");

/// Number of a deletion to what it is about, until it is carried out.
pub(super) const DELETIONS: TableDefinition<'static, u64, &[u8]> =
    TableDefinition::new("deletions");

pub(super) const FORMAT_KEY: &str = "format";
pub(super) const IMAGE_COUNTER: &str = "image";
pub(super) const VERSION_COUNTER: &str = "version";
pub(super) const BUILD_COUNTER: &str = "build";
pub(super) const ARTIFACT_COUNTER: &str = "artifact";
pub(super) const DELETION_COUNTER: &str = "deletion";

/// All keys of a table that start with this id.
pub(super) fn under(id: u64) -> RangeInclusive<(u64, u64)> {
    (id, 0)..=(id, u64::MAX)
}

/// Gives out the next id of a kind; ids count from 1 and are never given out twice.
pub(super) fn next_id(
    counters: &mut Table<'_, &'static str, u64>,
    counter: &'static str,
) -> Result<u64, StateError> {
    let last = counters.get(counter)?.map_or(0, |guard| guard.value());
    let next = last
        .checked_add(1)
        .ok_or_else(|| StateError::missing(format!("another {counter} id")))?;
    counters.insert(counter, next)?;
    Ok(next)
}

pub(super) fn image(
    images: &impl ReadableTable<u64, &'static [u8]>,
    id: u64,
) -> Result<ImageRecord, StateError> {
    let guard = images.get(id)?.ok_or(StateError::ImageUnknown(id))?;
    decode(guard.value(), || format!("image {id}"))
}

pub(super) fn put_image(
    images: &mut Table<'_, u64, &'static [u8]>,
    id: u64,
    record: &ImageRecord,
) -> Result<(), StateError> {
    images.insert(id, encode(record)?.as_slice())?;
    Ok(())
}

pub(super) fn version(
    versions: &impl ReadableTable<(u64, u64), &'static [u8]>,
    image: u64,
    id: u64,
) -> Result<VersionRecord, StateError> {
    let guard = versions
        .get((image, id))?
        .ok_or(StateError::VersionUnknown { image, version: id })?;
    decode(guard.value(), || format!("version {id} of image {image}"))
}

/// The latest version of an image with its id; `None` where all were deleted.
pub(super) fn latest_version(
    versions: &impl ReadableTable<(u64, u64), &'static [u8]>,
    image: u64,
) -> Result<Option<(u64, VersionRecord)>, StateError> {
    let Some(entry) = versions.range(under(image))?.next_back() else {
        return Ok(None);
    };
    let (key, value) = entry?;
    let (_, id) = key.value();
    let record = decode(value.value(), || format!("version {id} of image {image}"))?;
    Ok(Some((id, record)))
}

pub(super) fn put_version(
    versions: &mut Table<'_, (u64, u64), &'static [u8]>,
    image: u64,
    id: u64,
    record: &VersionRecord,
) -> Result<(), StateError> {
    versions.insert((image, id), encode(record)?.as_slice())?;
    Ok(())
}

pub(super) fn build(
    builds: &impl ReadableTable<(u64, u64), &'static [u8]>,
    image: u64,
    id: u64,
) -> Result<BuildRecord, StateError> {
    let guard = builds
        .get((image, id))?
        .ok_or(StateError::BuildUnknown { image, build: id })?;
    decode(guard.value(), || format!("build {id} of image {image}"))
}

pub(super) fn put_build(
    builds: &mut Table<'_, (u64, u64), &'static [u8]>,
    image: u64,
    id: u64,
    record: &BuildRecord,
) -> Result<(), StateError> {
    builds.insert((image, id), encode(record)?.as_slice())?;
    Ok(())
}

pub(super) fn artifact_key(
    ids: &impl ReadableTable<u128, u64>,
    id: Uuid,
) -> Result<u64, StateError> {
    let guard = ids
        .get(id.as_u128())?
        .ok_or(StateError::ArtifactUnknown(id))?;
    Ok(guard.value())
}

pub(super) fn artifact(
    artifacts: &impl ReadableTable<u64, &'static [u8]>,
    key: u64,
) -> Result<ArtifactRecord, StateError> {
    let what = || format!("artifact {key}");
    let guard = artifacts
        .get(key)?
        .ok_or_else(|| StateError::missing(what()))?;
    decode(guard.value(), what)
}

pub(super) fn put_artifact(
    artifacts: &mut Table<'_, u64, &'static [u8]>,
    key: u64,
    record: &ArtifactRecord,
) -> Result<(), StateError> {
    artifacts.insert(key, encode(record)?.as_slice())?;
    Ok(())
}

pub(super) fn artifact_version(
    versions: &impl ReadableTable<(u64, u64), &'static [u8]>,
    key: u64,
    number: u64,
) -> Result<Option<ArtifactVersionRecord>, StateError> {
    let Some(guard) = versions.get((key, number))? else {
        return Ok(None);
    };
    decode(guard.value(), || {
        format!("version {number} of artifact {key}")
    })
    .map(Some)
}

pub(super) fn put_artifact_version(
    versions: &mut Table<'_, (u64, u64), &'static [u8]>,
    key: u64,
    number: u64,
    record: &ArtifactVersionRecord,
) -> Result<(), StateError> {
    versions.insert((key, number), encode(record)?.as_slice())?;
    Ok(())
}
