//! Lists in pages: newest first, filtered, with the number of all that match.
//!
//! A list is walked from its start for each page, and only the asked page is kept in memory.

use redb::ReadableTable;

use super::images::{ImageView, VersionView, view_image, view_version};
use super::records::{BuildRecord, VersionRecord, decode};
use super::tables::{self, BUILDS, IMAGES, VERSIONS, under};
use super::{State, StateError};
use crate::model::{BuildStatus, Scope, VersionStatus};
use crate::timestamp::Timestamp;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// Counted from 1.
    pub(crate) number: u64,
    /// At least 1.
    pub(crate) size: u64,
}

impl Page {
    fn contains(self, position: u64) -> bool {
        position / self.size == self.number.saturating_sub(1)
    }
}

/// One page of a list.
pub(crate) struct Listing<T> {
    pub(crate) items: Vec<T>,
    /// How many there are on all pages.
    pub(crate) count: u64,
    pub(crate) page: Page,
}

impl<T> Listing<T> {
    pub(super) fn new(page: Page) -> Self {
        Self {
            items: Vec::new(),
            count: 0,
            page,
        }
    }

    pub(super) fn offer(&mut self, item: T) {
        if self.page.contains(self.count) {
            self.items.push(item);
        }
        self.count = self.count.saturating_add(1);
    }

    /// How many pages there are.
    pub(crate) fn page_count(&self) -> u64 {
        self.count.div_ceil(self.page.size)
    }
}

/// An empty list of values lets everything through.
fn allows<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

/// Which versions are listed.
#[derive(Debug, Default)]
pub(crate) struct VersionFilter {
    /// Part of the version's text.
    pub(crate) search_term: Option<String>,
    pub(crate) statuses: Vec<VersionStatus>,
    pub(crate) last_build_statuses: Vec<BuildStatus>,
    /// The embedded platform has no way to put a tag on a version, so a wanted tag matches nothing.
    pub(crate) tags: Vec<String>,
}

impl VersionFilter {
    fn matches_name(&self, name: &str) -> bool {
        self.search_term
            .as_deref()
            .is_none_or(|term| name.contains(term))
    }

    fn matches(&self, view: &VersionView) -> bool {
        allows(&self.statuses, &view.record.status())
            && allows(&self.last_build_statuses, &view.latest_build.status)
            && self.tags.is_empty()
    }

    /// An image stands as its latest version does. One without versions has no status, unless it is being deleted.
    fn matches_image(&self, image: &ImageView) -> bool {
        if let Some(latest) = &image.latest {
            return self.matches(latest);
        }
        let status_matches = match image.record.deletion {
            Some(deletion) => allows(&self.statuses, &deletion.status()),
            None => self.statuses.is_empty(),
        };
        status_matches && self.last_build_statuses.is_empty() && self.tags.is_empty()
    }
}

/// Which images are listed: `version` is asked of the image's name and of its latest version.
#[derive(Debug, Default)]
pub(crate) struct ImageFilter {
    pub(crate) version: VersionFilter,
    pub(crate) scopes: Vec<Scope>,
}

/// Which builds of an image are listed.
#[derive(Debug, Default)]
pub(crate) struct BuildFilter {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) versions: Vec<u64>,
    pub(crate) statuses: Vec<BuildStatus>,
    /// At most this many of the newest.
    pub(crate) count: Option<u64>,
}

/// A build with its id.
pub(crate) struct BuildView {
    pub(crate) id: u64,
    pub(crate) record: BuildRecord,
}

impl State {
    /// A page of the images.
    pub(crate) fn list_images(
        &self,
        filter: &ImageFilter,
        page: Page,
    ) -> Result<Listing<ImageView>, StateError> {
        self.read(|transaction| {
            let versions = transaction.open_table(VERSIONS)?;
            let builds = transaction.open_table(BUILDS)?;
            let mut listing = Listing::new(page);
            if !allows(&filter.scopes, &Scope::Custom) {
                return Ok(listing);
            }
            for entry in transaction.open_table(IMAGES)?.iter()?.rev() {
                let (key, value) = entry?;
                let id = key.value();
                let record: super::records::ImageRecord =
                    decode(value.value(), || format!("image {id}"))?;
                if filter.version.matches_name(record.name.as_str()) {
                    let view = view_image(&versions, &builds, id, record)?;
                    if filter.version.matches_image(&view) {
                        listing.offer(view);
                    }
                }
            }
            Ok(listing)
        })
    }

    /// A page of the versions of an image.
    pub(crate) fn list_versions(
        &self,
        image: u64,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Listing<VersionView>, StateError> {
        self.read(|transaction| {
            let image_record = tables::image(&transaction.open_table(IMAGES)?, image)?;
            let versions = transaction.open_table(VERSIONS)?;
            let builds = transaction.open_table(BUILDS)?;
            let latest = tables::latest_version(&versions, image)?.map(|(id, _)| id);
            let mut listing = Listing::new(page);
            for entry in versions.range(under(image))?.rev() {
                let (key, value) = entry?;
                let (_, id) = key.value();
                let record: VersionRecord =
                    decode(value.value(), || format!("version {id} of image {image}"))?;
                if filter.matches_name(record.version.as_str()) {
                    let view = view_version(&builds, image, &image_record, id, record, latest)?;
                    if filter.matches(&view) {
                        listing.offer(view);
                    }
                }
            }
            Ok(listing)
        })
    }

    /// A page of the builds of an image.
    pub(crate) fn list_builds(
        &self,
        image: u64,
        filter: &BuildFilter,
        page: Page,
    ) -> Result<Listing<BuildView>, StateError> {
        self.read(|transaction| {
            tables::image(&transaction.open_table(IMAGES)?, image)?;
            let mut listing = Listing::new(page);
            for entry in transaction.open_table(BUILDS)?.range(under(image))?.rev() {
                if filter.count.is_some_and(|count| listing.count >= count) {
                    break;
                }
                let (key, value) = entry?;
                let (_, id) = key.value();
                let record: BuildRecord =
                    decode(value.value(), || format!("build {id} of image {image}"))?;
                if allows(&filter.versions, &record.version_id)
                    && allows(&filter.statuses, &record.status)
                    && filter.from.is_none_or(|from| record.created_at >= from)
                    && filter.to.is_none_or(|to| record.created_at <= to)
                {
                    listing.offer(BuildView { id, record });
                }
            }
            Ok(listing)
        })
    }
}
