//! The parameters behind the `?`. Those that nobody knows are ignored.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::error::ApiError;
use crate::model::{BuildStatus, Scope, VersionStatus};
use crate::state::{BuildFilter, ImageFilter, Page, VersionFilter};
use crate::timestamp::Timestamp;

/// The page size where none is asked for.
const DEFAULT_PAGE_SIZE: u64 = 25;

/// The largest page; whoever asks for more gets this much, and reads so in the answer.
const LARGEST_PAGE: u64 = 100;

/// The parameters of a request, in order; a name may come again.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// `pageNumber` and `pageSize`.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let number = self.number("pageNumber")?.unwrap_or(1);
        let size = self.number("pageSize")?.unwrap_or(DEFAULT_PAGE_SIZE);
        if number == 0 || size == 0 {
            return Err(ApiError::invalid(
                "`pageNumber` and `pageSize` count from 1",
            ));
        }
        Ok(Page {
            number,
            size: size.min(LARGEST_PAGE),
        })
    }

    /// The filters of the list of versions.
    pub(super) fn version_filter(&self) -> Result<VersionFilter, ApiError> {
        Ok(VersionFilter {
            search_term: self.first("searchTerm").map(str::to_owned),
            statuses: self.each("status", VersionStatus::VALUES, VersionStatus::from_text)?,
            last_build_statuses: self.each(
                "lastBuildStatus",
                BuildStatus::VALUES,
                BuildStatus::from_text,
            )?,
            tags: self.all("tags").map(str::to_owned).collect(),
        })
    }

    /// The filters of the list of images.
    pub(super) fn image_filter(&self) -> Result<ImageFilter, ApiError> {
        Ok(ImageFilter {
            version: self.version_filter()?,
            scopes: self.each("scope", Scope::VALUES, Scope::from_text)?,
        })
    }

    /// The filters of the list of builds.
    pub(super) fn build_filter(&self) -> Result<BuildFilter, ApiError> {
        let versions = self
            .all("versions")
            .map(|text| parse("versions", text))
            .collect::<Result<_, _>>()?;
        let count = self
            .first("count")
            .map(|text| parse::<i64>("count", text))
            .transpose()?
            .unwrap_or(-1);
        Ok(BuildFilter {
            from: self.date("dateFrom")?,
            to: self.date("dateTo")?,
            versions,
            statuses: self.each("buildStatus", BuildStatus::VALUES, BuildStatus::from_text)?,
            // Any negative number means all.
            count: u64::try_from(count).ok(),
        })
    }

    /// `versionIds`, of which there must be one.
    pub(super) fn version_ids(&self) -> Result<BTreeSet<u64>, ApiError> {
        let ids: BTreeSet<u64> = self
            .all("versionIds")
            .map(|text| parse("versionIds", text))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Err(ApiError::invalid(
                "`versionIds` must name the versions to delete",
            ));
        }
        Ok(ids)
    }

    /// `nextToken`: the number of the log line to go on with. The first where there is none.
    pub(super) fn log_position(&self) -> Result<u64, ApiError> {
        let Some(token) = self.first("nextToken") else {
            return Ok(0);
        };
        token
            .parse()
            .map_err(|_| ApiError::invalid("`nextToken` must be one that an earlier answer gave"))
    }

    /// `signature`, as it came.
    pub(super) fn signature(&self) -> Option<&str> {
        self.first("signature")
    }

    /// A parameter that is there but empty counts as absent.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.first(name).map(|text| parse(name, text)).transpose()
    }

    fn date(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let date = |text| {
            Timestamp::parse(text)
                .map_err(|_| ApiError::invalid(format!("`{name}` is not an ISO 8601 date")))
        };
        self.first(name).map(date).transpose()
    }

    fn each<T>(
        &self,
        name: &str,
        values: &[&str],
        from_text: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let unknown =
            || ApiError::invalid(format!("`{name}` must be one of {}", values.join(", ")));
        self.all(name)
            .map(|text| from_text(text).ok_or_else(unknown))
            .collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|_| ApiError::invalid(format!("`{name}` is not a number that is allowed there")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
        Parameters::new(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        )
    }

    #[test]
    fn pages_have_defaults_and_bounds() {
        assert_eq!(
            parameters([]).page().unwrap(),
            Page {
                number: 1,
                size: DEFAULT_PAGE_SIZE
            }
        );
        let large = parameters([("pageNumber", "3"), ("pageSize", "100000")]);
        assert_eq!(
            large.page().unwrap(),
            Page {
                number: 3,
                size: LARGEST_PAGE
            }
        );
        for (name, value) in [
            ("pageNumber", "0"),
            ("pageSize", "0"),
            ("pageSize", "-1"),
            ("pageNumber", "one"),
        ] {
            assert_eq!(parameters([(name, value)]).page().unwrap_err().status, 422);
        }
    }

    #[test]
    fn a_filter_may_have_several_values() {
        let filter = parameters([
            ("status", "ready"),
            ("searchTerm", "web"),
            ("status", "in-use"),
            ("colour", "red"),
        ]);
        let filter = filter.version_filter().unwrap();
        assert_eq!(
            filter.statuses,
            [VersionStatus::Ready, VersionStatus::InUse]
        );
        assert_eq!(filter.search_term.as_deref(), Some("web"));
        assert!(filter.last_build_statuses.is_empty());
    }

    #[test]
    fn unknown_values_are_named() {
        let error = parameters([("scope", "galactic")])
            .image_filter()
            .unwrap_err();
        assert!(
            error.detail.contains("scope") && error.detail.contains("custom"),
            "{}",
            error.detail
        );
        assert!(
            parameters([("buildStatus", "done")])
                .build_filter()
                .is_err()
        );
        assert!(
            parameters([("dateFrom", "yesterday")])
                .build_filter()
                .is_err()
        );
        assert!(parameters([("nextToken", "abc")]).log_position().is_err());
    }

    #[test]
    fn a_negative_count_of_builds_means_all() {
        assert_eq!(parameters([]).build_filter().unwrap().count, None);
        assert_eq!(
            parameters([("count", "-1")]).build_filter().unwrap().count,
            None
        );
        assert_eq!(
            parameters([("count", "2")]).build_filter().unwrap().count,
            Some(2)
        );
    }
}
