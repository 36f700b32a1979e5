//! Deleting, in two steps: what is asked for is marked and written down, and later carried out.
//!
//! In between, everything that goes is seen as `deleting`. What was written down is carried out in the order in which
//! it was asked for, after a restart too.

use std::collections::BTreeSet;

use peak_oci::{Digest, RepositoryName, Selector, Tag};
use peak_registry_server::{Store, StoreError};
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::{ArtifactVersionRecord, BuildRecord, Deletion, decode, encode};
use super::tables::{
    self, ARTIFACT_IDS, ARTIFACT_VERSIONS, ARTIFACTS, BUILDS, COUNTERS, DELETION_COUNTER,
    DELETIONS, IMAGE_NAMES, IMAGES, LOG_LINES, VERSION_NAMES, VERSIONS, under,
};
use super::{State, StateError};
use crate::model::BuildStatus;
use crate::timestamp::Timestamp;

/// What is to be deleted, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Doomed {
    /// An image with all its versions.
    Image(u64),
    /// Versions of an image.
    Versions { image: u64, versions: BTreeSet<u64> },
    /// An artifact, by its key, with all its versions.
    Artifact(u64),
    /// A version of an artifact.
    ArtifactVersion { artifact: u64, version: u64 },
}

impl State {
    /// Marks an image with all its versions for deletion, unless one of them is being built.
    pub(crate) fn delete_image(&self, image: u64) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            if record.deletion == Some(Deletion::Running) {
                return Ok(());
            }
            let versions = versions_of(transaction, image)?;
            mark_versions(transaction, image, &versions)?;
            record.deletion = Some(Deletion::Running);
            tables::put_image(&mut transaction.open_table(IMAGES)?, image, &record)?;
            write_down(transaction, &Doomed::Image(image))
        })
    }

    /// Marks versions of an image for deletion: all of these, or none where one is not there or is being built.
    pub(crate) fn delete_versions(
        &self,
        image: u64,
        versions: &BTreeSet<u64>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            tables::image(&transaction.open_table(IMAGES)?, image)?;
            let versions = mark_versions(transaction, image, versions)?;
            if versions.is_empty() {
                return Ok(());
            }
            write_down(transaction, &Doomed::Versions { image, versions })
        })
    }

    /// Marks an artifact with all its versions for deletion.
    pub(crate) fn delete_artifact(&self, id: Uuid) -> Result<(), StateError> {
        self.write(|transaction| {
            let key = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let mut record = tables::artifact(&transaction.open_table(ARTIFACTS)?, key)?;
            if record.deletion == Some(Deletion::Running) {
                return Ok(());
            }
            record.deletion = Some(Deletion::Running);
            tables::put_artifact(&mut transaction.open_table(ARTIFACTS)?, key, &record)?;
            write_down(transaction, &Doomed::Artifact(key))
        })
    }

    /// Marks a version of an artifact for deletion. The artifact stays, without versions even.
    pub(crate) fn delete_artifact_version(&self, id: Uuid, version: u64) -> Result<(), StateError> {
        self.write(|transaction| {
            let artifact = tables::artifact_key(&transaction.open_table(ARTIFACT_IDS)?, id)?;
            let mut versions = transaction.open_table(ARTIFACT_VERSIONS)?;
            let mut record = tables::artifact_version(&versions, artifact, version)?.ok_or(
                StateError::ArtifactVersionUnknown {
                    artifact: id,
                    version,
                },
            )?;
            if record.deletion == Some(Deletion::Running) {
                return Ok(());
            }
            record.deletion = Some(Deletion::Running);
            tables::put_artifact_version(&mut versions, artifact, version, &record)?;
            write_down(transaction, &Doomed::ArtifactVersion { artifact, version })
        })
    }

    /// The first deletion that is written down and not carried out, with its number.
    pub(crate) fn next_deletion(&self) -> Result<Option<(u64, Doomed)>, StateError> {
        self.read(|transaction| {
            let deletions = transaction.open_table(DELETIONS)?;
            let Some((key, value)) = deletions.first()? else {
                return Ok(None);
            };
            let number = key.value();
            let doomed = decode(value.value(), || format!("deletion {number}"))?;
            Ok(Some((number, doomed)))
        })
    }

    /// Carries a deletion out. Gives the archives of what is gone, which something else may still have.
    pub(crate) fn carry_out(
        &self,
        number: u64,
        doomed: &Doomed,
        registry: &Store,
    ) -> Result<Vec<Digest>, StateError> {
        self.write(|transaction| {
            let archives = match doomed {
                Doomed::Image(image) => {
                    let name = tables::image(&transaction.open_table(IMAGES)?, *image)?.name;
                    let versions = versions_of(transaction, *image)?;
                    let archives =
                        remove_versions(transaction, *image, &name, &versions, registry)?;
                    transaction.open_table(IMAGE_NAMES)?.remove(name.as_str())?;
                    transaction.open_table(IMAGES)?.remove(image)?;
                    archives
                }
                Doomed::Versions { image, versions } => {
                    let mut record = tables::image(&transaction.open_table(IMAGES)?, *image)?;
                    let archives =
                        remove_versions(transaction, *image, &record.name, versions, registry)?;
                    record.updated_at = Timestamp::now();
                    tables::put_image(&mut transaction.open_table(IMAGES)?, *image, &record)?;
                    archives
                }
                Doomed::Artifact(artifact) => remove_artifact(transaction, *artifact)?,
                Doomed::ArtifactVersion { artifact, version } => {
                    remove_artifact_version(transaction, *artifact, *version)?
                }
            };
            transaction.open_table(DELETIONS)?.remove(number)?;
            Ok(archives)
        })
    }

    /// Gives a deletion up that could not be carried out: what it was about is `delete-failed` until somebody
    /// deletes it again.
    pub(crate) fn give_up(&self, number: u64, doomed: &Doomed) -> Result<(), StateError> {
        self.write(|transaction| {
            match doomed {
                Doomed::Image(image) => {
                    let mut record = tables::image(&transaction.open_table(IMAGES)?, *image)?;
                    record.deletion = Some(Deletion::Failed);
                    tables::put_image(&mut transaction.open_table(IMAGES)?, *image, &record)?;
                    let versions = versions_of(transaction, *image)?;
                    fail_versions(transaction, *image, &versions)?;
                }
                Doomed::Versions { image, versions } => {
                    fail_versions(transaction, *image, versions)?;
                }
                Doomed::Artifact(artifact) => {
                    let mut artifacts = transaction.open_table(ARTIFACTS)?;
                    let mut record = tables::artifact(&artifacts, *artifact)?;
                    record.deletion = Some(Deletion::Failed);
                    tables::put_artifact(&mut artifacts, *artifact, &record)?;
                }
                Doomed::ArtifactVersion { artifact, version } => {
                    let mut versions = transaction.open_table(ARTIFACT_VERSIONS)?;
                    if let Some(mut record) =
                        tables::artifact_version(&versions, *artifact, *version)?
                    {
                        record.deletion = Some(Deletion::Failed);
                        tables::put_artifact_version(&mut versions, *artifact, *version, &record)?;
                    }
                }
            }
            transaction.open_table(DELETIONS)?.remove(number)?;
            Ok(())
        })
    }
}

fn write_down(transaction: &WriteTransaction, doomed: &Doomed) -> Result<(), StateError> {
    let number = tables::next_id(&mut transaction.open_table(COUNTERS)?, DELETION_COUNTER)?;
    transaction
        .open_table(DELETIONS)?
        .insert(number, encode(doomed)?.as_slice())?;
    Ok(())
}

fn versions_of(transaction: &WriteTransaction, image: u64) -> Result<BTreeSet<u64>, StateError> {
    let mut versions = BTreeSet::new();
    for entry in transaction.open_table(VERSIONS)?.range(under(image))? {
        versions.insert(entry?.0.value().1);
    }
    Ok(versions)
}

/// Marks versions as `deleting`, and gives those that were not marked before.
fn mark_versions(
    transaction: &WriteTransaction,
    image: u64,
    ids: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, StateError> {
    let mut versions = transaction.open_table(VERSIONS)?;
    let builds = transaction.open_table(BUILDS)?;
    let mut marked = BTreeSet::new();
    for id in ids {
        let mut record = tables::version(&versions, image, *id)?;
        if record.deletion == Some(Deletion::Running) {
            continue;
        }
        if tables::build(&builds, image, record.latest_build)?.status == BuildStatus::Building {
            return Err(StateError::VersionBusy {
                version: record.version,
                build: record.latest_build,
            });
        }
        record.deletion = Some(Deletion::Running);
        tables::put_version(&mut versions, image, *id, &record)?;
        marked.insert(*id);
    }
    Ok(marked)
}

fn fail_versions(
    transaction: &WriteTransaction,
    image: u64,
    ids: &BTreeSet<u64>,
) -> Result<(), StateError> {
    let mut versions = transaction.open_table(VERSIONS)?;
    for id in ids {
        let mut record = match tables::version(&versions, image, *id) {
            Err(StateError::VersionUnknown { .. }) => continue,
            result => result?,
        };
        record.deletion = Some(Deletion::Failed);
        tables::put_version(&mut versions, image, *id, &record)?;
    }
    Ok(())
}

/// Removes the records of versions, then their tags. Gives the archives that they were built from.
///
/// The tags go before the transaction is committed: no build can be asked for in between, so none that
/// has just been made under the same name is taken. Where the process dies in between, the versions are
/// still there, and the deletion is still written down.
fn remove_versions(
    transaction: &WriteTransaction,
    image: u64,
    name: &RepositoryName,
    ids: &BTreeSet<u64>,
    registry: &Store,
) -> Result<Vec<Digest>, StateError> {
    let mut versions = transaction.open_table(VERSIONS)?;
    let mut names = transaction.open_table(VERSION_NAMES)?;
    let mut built = Vec::new();
    for id in ids {
        let record = match tables::version(&versions, image, *id) {
            Err(StateError::VersionUnknown { .. }) => continue,
            result => result?,
        };
        versions.remove((image, *id))?;
        names.remove((image, record.version.as_str()))?;
        if record.built.is_some() {
            built.push(record.version);
        }
    }
    let archives = remove_builds(transaction, image, ids)?;
    remove_tags(registry, name, built)?;
    Ok(archives)
}

/// Removes the builds of versions with their logs.
fn remove_builds(
    transaction: &WriteTransaction,
    image: u64,
    versions: &BTreeSet<u64>,
) -> Result<Vec<Digest>, StateError> {
    let mut builds = transaction.open_table(BUILDS)?;
    let mut ended = Vec::new();
    let mut archives = Vec::new();
    for entry in builds.range(under(image))? {
        let (key, value) = entry?;
        let (_, build) = key.value();
        let record: BuildRecord =
            decode(value.value(), || format!("build {build} of image {image}"))?;
        if versions.contains(&record.version_id) {
            ended.push(build);
            archives.extend(record.artifact);
        }
    }
    let mut lines = transaction.open_table(LOG_LINES)?;
    for build in ended {
        builds.remove((image, build))?;
        lines.retain_in(under(build), |_, _| false)?;
    }
    Ok(archives)
}

fn remove_tags(registry: &Store, name: &RepositoryName, tags: Vec<Tag>) -> Result<(), StateError> {
    let repository = registry.repository(name);
    for tag in tags {
        match repository.delete_manifest(&Selector::Tag(tag)) {
            // Whoever pushes and deletes by hand may have been first.
            Ok(())
            | Err(StoreError::ManifestUnknown { .. } | StoreError::RepositoryUnknown { .. }) => {}
            Err(error) => return Err(StateError::Tag(Box::new(error))),
        }
    }
    Ok(())
}

fn remove_artifact(transaction: &WriteTransaction, key: u64) -> Result<Vec<Digest>, StateError> {
    let mut artifacts = transaction.open_table(ARTIFACTS)?;
    let record = tables::artifact(&artifacts, key)?;
    artifacts.remove(key)?;
    let id = Uuid::try_parse(&record.id)
        .map_err(|_| StateError::missing(format!("the id of artifact {key}")))?;
    transaction.open_table(ARTIFACT_IDS)?.remove(id.as_u128())?;
    let mut versions = transaction.open_table(ARTIFACT_VERSIONS)?;
    let mut archives = Vec::new();
    for entry in versions.range(under(key))? {
        let (version, value) = entry?;
        let (_, number) = version.value();
        let record: ArtifactVersionRecord = decode(value.value(), || {
            format!("version {number} of artifact {id}")
        })?;
        archives.push(record.digest);
    }
    versions.retain_in(under(key), |_, _| false)?;
    Ok(archives)
}

fn remove_artifact_version(
    transaction: &WriteTransaction,
    key: u64,
    version: u64,
) -> Result<Vec<Digest>, StateError> {
    let mut versions = transaction.open_table(ARTIFACT_VERSIONS)?;
    // The whole artifact may have been deleted first.
    let Some(removed) = tables::artifact_version(&versions, key, version)? else {
        return Ok(Vec::new());
    };
    versions.remove((key, version))?;
    let mut artifacts = transaction.open_table(ARTIFACTS)?;
    let mut record = tables::artifact(&artifacts, key)?;
    record.updated_at = Timestamp::now();
    tables::put_artifact(&mut artifacts, key, &record)?;
    Ok(vec![removed.digest])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildDetails, ImageType, VersionStatus};
    use crate::state::{
        ArtifactChange, NewImage, NewVersion, Outcome, Page, StoredArchive, VersionChange,
    };

    struct Bench {
        state: State,
        registry: Store,
        directory: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self {
                state: State::open(&directory.path().join("state.redb")).unwrap(),
                registry: Store::open(&directory.path().join("registry")).unwrap(),
                directory,
            }
        }

        /// Carries out everything that is written down.
        fn carry_out(&self) -> Vec<Digest> {
            let mut archives = Vec::new();
            while let Some((number, doomed)) = self.state.next_deletion().unwrap() {
                archives.extend(
                    self.state
                        .carry_out(number, &doomed, &self.registry)
                        .unwrap(),
                );
            }
            archives
        }
    }

    fn new_version() -> NewVersion {
        NewVersion {
            version: None,
            description: None,
            details: BuildDetails::default(),
            artifact: Some(Digest::sha256_of(b"archive")),
        }
    }

    fn new_image() -> NewImage {
        NewImage {
            name: "web".parse().unwrap(),
            kind: ImageType::Api,
            first: new_version(),
        }
    }

    fn stored(content: &[u8]) -> StoredArchive {
        StoredArchive {
            digest: Digest::sha256_of(content),
            size: 1,
        }
    }

    const PAGE: Page = Page {
        number: 1,
        size: 10,
    };

    #[test]
    fn what_is_being_built_is_not_deleted() {
        let Bench {
            state, registry: _, ..
        } = &Bench::new();
        let web = state.create_image(&new_image()).unwrap();
        let end = |build: Option<u64>| {
            state
                .finish_build(web.image, build.unwrap(), Outcome::Failed, &[])
                .unwrap();
        };
        end(web.build);
        let second = state.create_version(web.image, &new_version()).unwrap();
        let both = BTreeSet::from([web.version, second.version]);
        let busy = |result| matches!(result, Err(StateError::VersionBusy { build: 2, .. }));
        assert!(busy(state.delete_versions(web.image, &both)));
        assert!(busy(state.delete_image(web.image)));
        let first = state.version(web.image, web.version).unwrap();
        assert_eq!(first.record.deletion, None, "all or nothing");
        end(second.build);
        state.delete_versions(web.image, &both).unwrap();
    }

    #[test]
    fn what_goes_is_seen_as_deleting_and_cannot_be_changed_until_it_is_gone() {
        let bench = Bench::new();
        let state = &bench.state;
        let web = state.create_image(&new_image()).unwrap();
        state
            .finish_build(web.image, web.build.unwrap(), Outcome::Failed, &[])
            .unwrap();
        state.delete_image(web.image).unwrap();
        state.delete_image(web.image).unwrap();
        let view = state.version(web.image, web.version).unwrap();
        assert_eq!(view.record.status(), VersionStatus::Deleting);
        let change = VersionChange {
            description: None,
            build: None,
        };
        for refused in [
            state.update_version(web.image, web.version, &change),
            state.create_version(web.image, &new_version()),
        ] {
            assert!(matches!(refused, Err(StateError::BeingDeleted(_))));
        }
        assert!(matches!(
            state.create_image(&new_image()),
            Err(StateError::NameTaken { .. })
        ));
        assert_eq!(bench.carry_out(), [Digest::sha256_of(b"archive")]);
        assert!(matches!(
            state.delete_image(web.image),
            Err(StateError::ImageUnknown(1))
        ));
        state.create_image(&new_image()).unwrap();
    }

    #[test]
    fn deletions_go_on_after_a_restart_in_their_order() {
        let Bench {
            state,
            registry,
            directory,
        } = Bench::new();
        let web = state.create_image(&new_image()).unwrap();
        state
            .finish_build(web.image, web.build.unwrap(), Outcome::Failed, &[])
            .unwrap();
        let id = state
            .create_artifact("a".to_owned(), None, &stored(b"one"))
            .unwrap();
        state.create_artifact_version(id, &stored(b"two")).unwrap();
        state.delete_artifact_version(id, 2).unwrap();
        state
            .delete_versions(web.image, &BTreeSet::from([web.version]))
            .unwrap();
        state.delete_image(web.image).unwrap();
        state.delete_artifact(id).unwrap();
        drop(state);
        let state = State::open(&directory.path().join("state.redb")).unwrap();
        let bench = Bench {
            state,
            registry,
            directory,
        };
        assert_eq!(
            bench.carry_out(),
            [b"two".as_slice(), b"archive", b"one"].map(Digest::sha256_of)
        );
        assert!(bench.state.image(web.image).is_err());
        assert!(bench.state.artifact(id, PAGE).is_err());
    }

    #[test]
    fn an_artifact_that_goes_is_read_but_not_changed() {
        let bench = Bench::new();
        let state = &bench.state;
        let id = state
            .create_artifact("a".to_owned(), None, &stored(b"one"))
            .unwrap();
        state.create_artifact_version(id, &stored(b"two")).unwrap();
        state.delete_artifact_version(id, 2).unwrap();
        let latest = state.artifact_archive(id, None).unwrap();
        assert_eq!(latest.digest, Digest::sha256_of(b"one"));
        let going = |result| matches!(result, Err(StateError::BeingDeleted(_)));
        let named = state.artifact_archive(id, Some(2)).unwrap();
        assert_eq!(named.digest, Digest::sha256_of(b"two"));
        state.delete_artifact(id).unwrap();
        state.artifact_archive(id, None).unwrap();
        assert!(going(state.update_artifact(id, ArtifactChange::default())));
        assert!(going(
            state
                .create_artifact_version(id, &stored(b"three"))
                .map(drop)
        ));
        bench.carry_out();
        assert!(state.artifact_archive(id, None).is_err());
        assert!(state.delete_artifact(id).is_err());
    }

    #[test]
    fn what_could_not_be_deleted_says_so_and_is_deleted_when_asked_again() {
        let bench = Bench::new();
        let state = &bench.state;
        let web = state.create_image(&new_image()).unwrap();
        state
            .finish_build(web.image, web.build.unwrap(), Outcome::Failed, &[])
            .unwrap();
        let id = state
            .create_artifact("a".to_owned(), None, &stored(b"one"))
            .unwrap();
        let only = BTreeSet::from([web.version]);
        for round in 0..2 {
            state.delete_artifact_version(id, 1).unwrap();
            state.delete_artifact(id).unwrap();
            state.delete_versions(web.image, &only).unwrap();
            state.delete_image(web.image).unwrap();
            if round == 1 {
                break;
            }
            while let Some((number, doomed)) = state.next_deletion().unwrap() {
                state.give_up(number, &doomed).unwrap();
            }
            let view = state.version(web.image, web.version).unwrap();
            assert_eq!(view.record.status(), VersionStatus::DeleteFailed);
            let (artifact, versions) = state.artifact(id, PAGE).unwrap();
            assert_eq!(artifact.deletion, Some(Deletion::Failed));
            assert_eq!(versions.items[0].record.deletion, Some(Deletion::Failed));
        }
        bench.carry_out();
        assert!(state.image(web.image).is_err() && state.artifact(id, PAGE).is_err());
    }
}
