//! What the platform remembers: artifacts, images, versions, builds and log lines, in one file.
//!
//! Every change is one transaction that is on the disk when the call returns; every question is
//! answered from one snapshot. All calls block, so they belong on a blocking thread.

mod artifacts;
mod builds;
mod deletion;
mod error;
mod images;
mod listing;
mod records;
mod tables;
mod version_number;

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

pub(crate) use self::artifacts::{ArtifactChange, ArtifactVersionView, StoredArchive};
pub(crate) use self::builds::{LogLine, LogPage, Outcome};
pub(crate) use self::error::StateError;
pub(crate) use self::images::{
    Changed, ImageView, NewImage, NewVersion, VersionChange, VersionView,
};
pub(crate) use self::listing::{BuildFilter, BuildView, ImageFilter, Listing, Page, VersionFilter};
pub(crate) use self::records::{ArtifactRecord, Deletion};
use self::tables::{
    ARTIFACT_IDS, ARTIFACT_VERSIONS, ARTIFACTS, BUILDS, COUNTERS, DELETIONS, FORMAT, FORMAT_KEY,
    IMAGE_NAMES, IMAGES, LOG_LINES, UNFINISHED, VERSION_NAMES, VERSIONS,
};

/// How much of the file the database keeps in memory; its own default is far beyond what this needs.
const CACHE_SIZE: usize = 8 * 1024 * 1024;

/// The state of the platform.
pub(crate) struct State {
    database: Database,
}

impl State {
    /// Opens the state file, or makes it with all its tables.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let database = Database::builder()
            .set_cache_size(CACHE_SIZE)
            .create(path)?;
        let transaction = database.begin_write()?;
        {
            let mut counters = transaction.open_table(COUNTERS)?;
            let found = counters
                .get(FORMAT_KEY)?
                .map_or(FORMAT, |guard| guard.value());
            if found > FORMAT {
                return Err(StateError::LaterFormat {
                    found,
                    known: FORMAT,
                });
            }
            counters.insert(FORMAT_KEY, FORMAT)?;
            transaction.open_table(IMAGES)?;
            transaction.open_table(IMAGE_NAMES)?;
            transaction.open_table(VERSIONS)?;
            transaction.open_table(VERSION_NAMES)?;
            transaction.open_table(BUILDS)?;
            transaction.open_table(UNFINISHED)?;
            transaction.open_table(LOG_LINES)?;
            transaction.open_table(ARTIFACT_IDS)?;
            transaction.open_table(ARTIFACTS)?;
            transaction.open_table(ARTIFACT_VERSIONS)?;
            transaction.open_table(DELETIONS)?;
        }
        transaction.commit()?;
        Ok(Self { database })
    }

    /// Runs a change: all of it happens, or nothing.
    fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let transaction = self.database.begin_write()?;
        let result = change(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Answers a question from one snapshot.
    fn read<T>(
        &self,
        question: impl FnOnce(&redb::ReadTransaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        question(&self.database.begin_read()?)
    }
}

#[cfg(test)]
mod tests {
    use peak_oci::Digest;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BuildDetails, BuildStatus, ImageType, Scope, VersionStatus};

    fn state() -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.redb")).unwrap();
        (directory, state)
    }

    fn version(version: Option<&str>) -> NewVersion {
        NewVersion {
            version: version.map(|version| version.parse().unwrap()),
            description: None,
            details: BuildDetails::default(),
            artifact: None,
        }
    }

    fn create(state: &State, name: &str) -> Changed {
        let new = NewImage {
            name: name.parse().unwrap(),
            kind: ImageType::Api,
            first: version(None),
        };
        state.create_image(&new).unwrap()
    }

    fn succeed(state: &State, changed: &Changed) {
        let outcome = Outcome::success(Digest::sha256_of(b"image"), 5);
        state
            .finish_build(changed.image, changed.build.unwrap(), outcome, &[])
            .unwrap();
    }

    fn page(number: u64, size: u64) -> Page {
        Page { number, size }
    }

    #[test]
    fn names_of_images_and_versions_are_taken_once() {
        let (_directory, state) = state();
        let web = create(&state, "web");
        let again = NewImage {
            name: "web".parse().unwrap(),
            kind: ImageType::Api,
            first: version(None),
        };
        assert!(
            matches!(state.create_image(&again), Err(StateError::NameTaken { id, .. }) if id == web.image)
        );
        let same = state.create_version(web.image, &version(Some("0.0.1")));
        assert!(matches!(same, Err(StateError::VersionTaken { id, .. }) if id == web.version));
        assert!(matches!(
            state.create_version(99, &version(None)),
            Err(StateError::ImageUnknown(99))
        ));
        // What was refused left nothing: the next ids are the next numbers.
        let other = create(&state, "other");
        assert_eq!((other.image, other.version, other.build), (2, 2, Some(2)));
    }

    #[test]
    fn versions_count_on_from_the_latest() {
        let (_directory, state) = state();
        let web = create(&state, "web");
        let next = |given: Option<&str>| {
            state
                .create_version(web.image, &version(given))
                .map(|changed| changed.version_name.to_string())
        };
        assert_eq!(next(None).unwrap(), "0.0.2");
        assert_eq!(next(Some("1.0.1")).unwrap(), "1.0.1");
        assert_eq!(next(Some("1.0.0")).unwrap(), "1.0.0");
        assert_eq!(next(None).unwrap(), "1.0.2", "1.0.1 is taken");
        assert_eq!(next(Some("latest")).unwrap(), "latest");
        assert!(matches!(next(None), Err(StateError::NoNextVersion(_))));
        let image = state.image(web.image).unwrap();
        let latest = image.latest.unwrap();
        assert_eq!(latest.record.version.as_str(), "latest");
        assert!(latest.is_latest);
        assert!(!state.version(web.image, web.version).unwrap().is_latest);
    }

    #[test]
    fn a_version_is_ready_once_built_and_stays_so() {
        let (_directory, state) = state();
        let web = create(&state, "web");
        let rebuild = VersionChange {
            description: Some("new".to_owned()),
            build: Some((BuildDetails::default(), None)),
        };
        let view = || state.version(web.image, web.version).unwrap();
        assert_eq!(view().record.status(), VersionStatus::NotReady);
        let busy = state.update_version(web.image, web.version, &rebuild);
        assert!(matches!(
            busy,
            Err(StateError::VersionBusy { build: 1, .. })
        ));
        succeed(&state, &web);
        assert_eq!(view().record.status(), VersionStatus::Ready);

        let again = state
            .update_version(web.image, web.version, &rebuild)
            .unwrap();
        assert_eq!(view().latest_build.status, BuildStatus::Building);
        assert_eq!(view().record.status(), VersionStatus::Ready);
        state
            .finish_build(web.image, again.build.unwrap(), Outcome::Failed, &[])
            .unwrap();
        assert_eq!(view().latest_build.status, BuildStatus::Failed);
        assert_eq!(view().record.status(), VersionStatus::Ready);
        assert_eq!(view().record.description.as_deref(), Some("new"));

        let only_text = VersionChange {
            description: Some("newer".to_owned()),
            build: None,
        };
        assert_eq!(
            state
                .update_version(web.image, web.version, &only_text)
                .unwrap()
                .build,
            None
        );
        assert_eq!(view().record.description.as_deref(), Some("newer"));
        let nothing = VersionChange {
            description: None,
            build: None,
        };
        state
            .update_version(web.image, web.version, &nothing)
            .unwrap();
        assert_eq!(view().record.description.as_deref(), Some("newer"));
    }

    #[test]
    fn what_had_not_ended_is_failed_after_the_next_start() {
        let (directory, state) = state();
        let (done, runs, waits) = (
            create(&state, "done"),
            create(&state, "runs"),
            create(&state, "waits"),
        );
        succeed(&state, &done);
        state.start_build(runs.image, runs.build.unwrap()).unwrap();
        state
            .append_log(runs.build.unwrap(), &[LogLine::now("begun")])
            .unwrap();
        drop(state);
        let state = State::open(&directory.path().join("state.redb")).unwrap();
        assert_eq!(state.fail_unfinished("cut off").unwrap(), 2);
        assert_eq!(state.fail_unfinished("cut off").unwrap(), 0);
        for (changed, lines) in [(runs, vec!["begun", "cut off"]), (waits, vec!["cut off"])] {
            let log = state
                .log_page(changed.image, changed.build.unwrap(), 0)
                .unwrap();
            assert_eq!((log.status, log.has_more), (BuildStatus::Failed, false));
            assert_eq!(
                log.lines
                    .iter()
                    .map(|line| line.message.as_str())
                    .collect::<Vec<_>>(),
                lines
            );
        }
        let log = state.log_page(done.image, done.build.unwrap(), 0).unwrap();
        assert_eq!((log.status, log.lines.len()), (BuildStatus::Success, 0));
    }

    #[test]
    fn logs_are_those_of_the_build_alone() {
        let (_directory, state) = state();
        let (one, two) = (create(&state, "one"), create(&state, "two"));
        state
            .append_log(one.build.unwrap(), &[LogLine::now("of one")])
            .unwrap();
        state
            .append_log(two.build.unwrap(), &[LogLine::now("of two")])
            .unwrap();
        let log = state.log_page(one.image, one.build.unwrap(), 0).unwrap();
        assert_eq!(log.lines.len(), 1);
        let foreign = state.log_page(one.image, two.build.unwrap(), 0);
        assert!(matches!(foreign, Err(StateError::BuildUnknown { .. })));
        let beyond = state
            .log_page(one.image, one.build.unwrap(), u64::MAX)
            .unwrap();
        assert!(beyond.lines.is_empty());
    }

    #[test]
    fn a_page_of_a_log_is_bounded_in_bytes_too() {
        let (_directory, state) = state();
        let web = create(&state, "web");
        let lines = vec![LogLine::now("x".repeat(100 * 1024)); 4];
        state.append_log(web.build.unwrap(), &lines).unwrap();
        succeed(&state, &web);
        let first = state.log_page(web.image, web.build.unwrap(), 0).unwrap();
        assert_eq!(
            (first.lines.len(), first.position, first.has_more),
            (3, 3, true)
        );
        let last = state.log_page(web.image, web.build.unwrap(), 3).unwrap();
        assert_eq!(
            (last.lines.len(), last.position, last.has_more),
            (1, 4, false)
        );
    }

    #[test]
    fn lists_are_filtered_and_newest_first() {
        let (_directory, state) = state();
        let made: Vec<_> = ["web", "web-2", "other"]
            .iter()
            .map(|name| create(&state, name))
            .collect();
        succeed(&state, &made[1]);
        let names = |filter: &ImageFilter| {
            let listing = state.list_images(filter, page(1, 10)).unwrap();
            assert_eq!(listing.count, u64::try_from(listing.items.len()).unwrap());
            listing
                .items
                .iter()
                .map(|image| image.record.name.to_string())
                .collect::<Vec<_>>()
        };
        let by = |version: VersionFilter| ImageFilter {
            version,
            scopes: Vec::new(),
        };
        assert_eq!(names(&ImageFilter::default()), ["other", "web-2", "web"]);
        let web = VersionFilter {
            search_term: Some("web".to_owned()),
            ..VersionFilter::default()
        };
        assert_eq!(names(&by(web)), ["web-2", "web"]);
        let ready = VersionFilter {
            statuses: vec![VersionStatus::Ready],
            ..VersionFilter::default()
        };
        assert_eq!(names(&by(ready)), ["web-2"]);
        let building = VersionFilter {
            last_build_statuses: vec![BuildStatus::Building],
            ..VersionFilter::default()
        };
        assert_eq!(names(&by(building)), ["other", "web"]);
        let tagged = VersionFilter {
            tags: vec!["stable".to_owned()],
            ..VersionFilter::default()
        };
        assert!(names(&by(tagged)).is_empty());
        assert!(
            names(&ImageFilter {
                scopes: vec![Scope::Global],
                ..ImageFilter::default()
            })
            .is_empty()
        );
        assert_eq!(
            names(&ImageFilter {
                scopes: vec![Scope::Custom],
                ..ImageFilter::default()
            })
            .len(),
            3
        );
    }

    #[test]
    fn versions_and_builds_are_filtered_too() {
        let (_directory, state) = state();
        let web = create(&state, "web");
        state
            .create_version(web.image, &version(Some("0.0.10")))
            .unwrap();
        let versions = |term: &str| {
            let filter = VersionFilter {
                search_term: Some(term.to_owned()),
                ..VersionFilter::default()
            };
            let listing = state
                .list_versions(web.image, &filter, page(1, 10))
                .unwrap();
            listing
                .items
                .iter()
                .map(|version| version.record.version.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(versions("0.0.1"), ["0.0.10", "0.0.1"]);
        assert_eq!(versions("10"), ["0.0.10"]);

        let builds = |filter: &BuildFilter| {
            let listing = state.list_builds(web.image, filter, page(1, 10)).unwrap();
            listing
                .items
                .iter()
                .map(|build| build.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(builds(&BuildFilter::default()), [2, 1]);
        assert_eq!(
            builds(&BuildFilter {
                count: Some(1),
                ..BuildFilter::default()
            }),
            [2]
        );
        assert_eq!(
            builds(&BuildFilter {
                versions: vec![1],
                ..BuildFilter::default()
            }),
            [1]
        );
        let past = BuildFilter {
            to: Some(crate::timestamp::Timestamp::from_milliseconds(0)),
            ..BuildFilter::default()
        };
        assert!(builds(&past).is_empty());
    }

    #[test]
    fn a_state_of_a_later_format_is_refused() {
        let (directory, state) = state();
        state
            .write(|transaction| {
                transaction
                    .open_table(COUNTERS)?
                    .insert(FORMAT_KEY, FORMAT + 1)?;
                Ok(())
            })
            .unwrap();
        drop(state);
        let Err(error) = State::open(&directory.path().join("state.redb")) else {
            panic!("opened")
        };
        assert!(matches!(
            error,
            StateError::LaterFormat { found: 4, known: 3 }
        ));
    }

    #[test]
    fn the_artifacts_of_latest_builds_are_in_use() {
        let (_directory, state) = state();
        let (old, new) = (Digest::sha256_of(b"old"), Digest::sha256_of(b"new"));
        let first = NewVersion {
            artifact: Some(old),
            ..version(None)
        };
        let web = state
            .create_image(&NewImage {
                name: "web".parse().unwrap(),
                kind: ImageType::Webapp,
                first,
            })
            .unwrap();
        succeed(&state, &web);
        let change = VersionChange {
            description: None,
            build: Some((BuildDetails::default(), Some(new.clone()))),
        };
        state
            .update_version(web.image, web.version, &change)
            .unwrap();
        assert_eq!(state.artifacts_in_use().unwrap(), [new]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// The pages together are the list, whatever their size.
        #[test]
        fn pages_make_up_the_list(count in 0_u64..12, size in 1_u64..6) {
            let (_directory, state) = state();
            for number in 0..count {
                create(&state, &format!("image-{number}"));
            }
            let mut ids = Vec::new();
            let mut number = 1;
            loop {
                let listing = state.list_images(&ImageFilter::default(), page(number, size)).unwrap();
                prop_assert_eq!(listing.count, count);
                ids.extend(listing.items.iter().map(|image| image.id));
                if number >= listing.page_count() {
                    break;
                }
                number += 1;
            }
            prop_assert_eq!(ids, (1..=count).rev().collect::<Vec<_>>());
            let beyond = state.list_images(&ImageFilter::default(), page(u64::MAX, size)).unwrap();
            prop_assert!(beyond.items.is_empty());
        }
    }
}
