//! Listing the builds of an image.

use http::Request;
use peak_http::Body;
use peak_models::{BuildStatus, Id, ListImageBuildsResponse, Timestamp};
use peak_platform::{Endpoint, Error, Operation};

use super::path;

/// Which builds of an image to list. Without any condition, all that the platform shows: it looks
/// back a limited time unless told from when.
#[derive(Debug, Clone, Default)]
pub struct ListImageBuilds {
    date_from: Option<Timestamp>,
    date_to: Option<Timestamp>,
    page_size: Option<u64>,
    count: Option<u64>,
    versions: Vec<Id>,
    build_status: Vec<BuildStatus>,
}

impl ListImageBuilds {
    /// All builds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds from this time on; the platform decides unless given.
    #[must_use]
    pub fn date_from(mut self, time: Timestamp) -> Self {
        self.date_from = Some(time);
        self
    }

    /// Builds up to this time; the platform decides unless given.
    #[must_use]
    pub fn date_to(mut self, time: Timestamp) -> Self {
        self.date_to = Some(time);
        self
    }

    /// How many builds a page holds at most; the platform decides unless given.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }

    /// Only so many of the latest builds; all unless given.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Builds of this version, or another that is added.
    #[must_use]
    pub fn version(mut self, version: impl Into<Id>) -> Self {
        self.versions.push(version.into());
        self
    }

    /// Builds that stand so, or as another status that is added.
    #[must_use]
    pub fn build_status(mut self, status: BuildStatus) -> Self {
        self.build_status.push(status);
        self
    }
}

/// `list_image_builds`: one page of the list.
#[derive(Debug, Clone, Copy)]
pub struct BuildsPage<'a> {
    /// The image.
    pub image: &'a Id,
    /// Which of its builds.
    pub list: &'a ListImageBuilds,
    /// The number of the page, counted from 1; the first unless given.
    pub number: Option<u64>,
}

impl Operation for BuildsPage<'_> {
    const NAME: &'static str = "list_image_builds";
    type Answer = ListImageBuildsResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let list = self.list;
        let mut dates = list.date_from.iter().chain(&list.date_to);
        if let Some(date) = dates.find(|date| !date.is_readable() && !is_date(&date.to_string())) {
            return Err(Error::InvalidRequest {
                message: format!("`{date}` is not a time"),
            });
        }
        // The public client always says how many; -1 is all.
        let count = list
            .count
            .map_or_else(|| "-1".to_owned(), |count| count.to_string());
        endpoint
            .get(&path(&[self.image.as_str(), "builds"]))?
            .query_each("dateFrom", &list.date_from)
            .query_each("dateTo", &list.date_to)
            .query_each("pageSize", list.page_size)
            .query_each("pageNumber", self.number)
            .query("count", count)
            .query_each("versions", &list.versions)
            .query_each("buildStatus", &list.build_status)
            .build()
    }
}

/// Whether a text is a date of ISO 8601, perhaps with a time that does not say where on earth it is: no moment, but
/// the platform takes it.
fn is_date(text: &str) -> bool {
    let (date, rest) = text.split_at_checked(10).unwrap_or((text, ""));
    let numbers =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = date.split('-');
    numbers(parts.next().unwrap_or_default(), 4)
        && parts.next().is_some_and(|month| numbers(month, 2))
        && parts.next().is_some_and(|day| numbers(day, 2))
        && parts.next().is_none()
        && (rest.is_empty() || rest.starts_with(['T', ' ']))
}

#[cfg(test)]
mod tests {
    use super::is_date;

    #[test]
    fn dates_need_no_time() {
        for text in ["2026-11-21", "2026-11-21T08:30:00", "2026-11-21 08:30"] {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-11",
            "2026-11-2x",
            "26-11-21",
            "2026-11-21x",
            "2026-1-121",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
