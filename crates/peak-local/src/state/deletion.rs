//! Deleting images and versions, with their builds, logs and tags.

use std::collections::BTreeSet;

use peak_oci::{RepositoryName, Selector};
use peak_registry_server::{Store, StoreError};
use redb::{ReadableTable, WriteTransaction};

use super::records::{BuildRecord, decode};
use super::tables::{self, BUILDS, IMAGE_NAMES, IMAGES, LOG_LINES, VERSION_NAMES, VERSIONS, under};
use super::{State, StateError};
use crate::model::BuildStatus;
use crate::timestamp::Timestamp;

impl State {
    /// Deletes an image with all its versions, unless one of them is being built.
    pub(crate) fn delete_image(&self, image: u64, registry: &Store) -> Result<(), StateError> {
        self.write(|transaction| {
            let record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            let mut versions = BTreeSet::new();
            for entry in transaction.open_table(VERSIONS)?.range(under(image))? {
                versions.insert(entry?.0.value().1);
            }
            remove_versions(transaction, image, &record.name, &versions, registry)?;
            transaction
                .open_table(IMAGE_NAMES)?
                .remove(record.name.as_str())?;
            transaction.open_table(IMAGES)?.remove(image)?;
            Ok(())
        })
    }

    /// Deletes versions of an image: all of these, or none where one is not there or is being built.
    pub(crate) fn delete_versions(
        &self,
        image: u64,
        versions: &BTreeSet<u64>,
        registry: &Store,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            remove_versions(transaction, image, &record.name, versions, registry)?;
            record.updated_at = Timestamp::now();
            tables::put_image(&mut transaction.open_table(IMAGES)?, image, &record)
        })
    }
}

/// Removes the records of versions, then their tags.
///
/// The tags go before the transaction is committed: no build can be asked for in between, so none that
/// has just been made under the same name is taken. Where the process dies in between, the versions are
/// still there to be deleted again.
fn remove_versions(
    transaction: &WriteTransaction,
    image: u64,
    name: &RepositoryName,
    ids: &BTreeSet<u64>,
    registry: &Store,
) -> Result<(), StateError> {
    let mut versions = transaction.open_table(VERSIONS)?;
    let mut names = transaction.open_table(VERSION_NAMES)?;
    let mut builds = transaction.open_table(BUILDS)?;
    let mut built = Vec::new();
    for id in ids {
        let record = tables::version(&versions, image, *id)?;
        if tables::build(&builds, image, record.latest_build)?.status == BuildStatus::Building {
            return Err(StateError::VersionBusy {
                version: record.version,
                build: record.latest_build,
            });
        }
        versions.remove((image, *id))?;
        names.remove((image, record.version.as_str()))?;
        if record.built.is_some() {
            built.push(record.version);
        }
    }
    let mut ended = Vec::new();
    for entry in builds.range(under(image))? {
        let (key, value) = entry?;
        let (_, build) = key.value();
        let record: BuildRecord =
            decode(value.value(), || format!("build {build} of image {image}"))?;
        if ids.contains(&record.version_id) {
            ended.push(build);
        }
    }
    let mut lines = transaction.open_table(LOG_LINES)?;
    for build in ended {
        builds.remove((image, build))?;
        lines.retain_in(under(build), |_, _| false)?;
    }
    let repository = registry.repository(name);
    for tag in built {
        match repository.delete_manifest(&Selector::Tag(tag)) {
            // Whoever pushes and deletes by hand may have been first.
            Ok(())
            | Err(StoreError::ManifestUnknown { .. } | StoreError::RepositoryUnknown { .. }) => {}
            Err(error) => return Err(StateError::Tag(Box::new(error))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildDetails, ImageType};
    use crate::state::{NewImage, NewVersion, Outcome};

    #[test]
    fn what_is_being_built_is_not_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.redb")).unwrap();
        let registry = Store::open(&directory.path().join("registry")).unwrap();
        let new = || NewVersion {
            version: None,
            description: None,
            details: BuildDetails::default(),
            artifact: None,
        };
        let web = state
            .create_image(&NewImage {
                name: "web".parse().unwrap(),
                kind: ImageType::Api,
                first: new(),
            })
            .unwrap();
        let end = |build: Option<u64>| {
            state
                .finish_build(web.image, build.unwrap(), Outcome::Failed, &[])
                .unwrap();
        };
        end(web.build);
        let second = state.create_version(web.image, &new()).unwrap();
        let both = BTreeSet::from([web.version, second.version]);
        let busy = |result| matches!(result, Err(StateError::VersionBusy { build: 2, .. }));
        assert!(busy(state.delete_versions(web.image, &both, &registry)));
        assert!(busy(state.delete_image(web.image, &registry)));
        state.version(web.image, web.version).unwrap();
        end(second.build);
        state.delete_versions(web.image, &both, &registry).unwrap();
        assert!(state.image(web.image).unwrap().latest.is_none());
        state.delete_image(web.image, &registry).unwrap();
        assert!(matches!(
            state.delete_image(web.image, &registry),
            Err(StateError::ImageUnknown(1))
        ));
    }
}
