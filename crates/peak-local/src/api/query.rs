//! The parameters behind the `?`. One that the operation does not know is an error, so that a mistake shows.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;

use super::error::ApiError;
use super::json::shown;
use crate::model::{BuildStatus, Scope, VersionStatus};
use crate::state::{BuildFilter, ImageFilter, Page, VersionFilter};
use crate::timestamp::Timestamp;

/// The page size where none is asked for.
const DEFAULT_PAGE_SIZE: u64 = 25;

/// The largest page; whoever asks for more gets this much, and reads so in the answer.
const LARGEST_PAGE: u64 = 100;

/// The parameters of a page.
const PAGE: [&str; 2] = ["pageNumber", "pageSize"];

/// The parameters of a request, in order; a name may come again.
///
/// Each operation reads them by the method that knows its parameters, and every other parameter is an error.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

impl Parameters {
    /// The parameters of a request to this URI.
    pub(super) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// For operations that have none.
    pub(super) fn none(&self) -> Result<(), ApiError> {
        self.check(&[], &[])
    }

    /// `pageNumber` and `pageSize` alone.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        self.check(&PAGE, &[])?;
        self.read_page()
    }

    /// The parameters of the list of versions.
    pub(super) fn versions(&self) -> Result<(VersionFilter, Page), ApiError> {
        self.check(
            &[&PAGE[..], &["searchTerm"]].concat(),
            &["status", "lastBuildStatus", "tags"],
        )?;
        Ok((self.version_filter()?, self.read_page()?))
    }

    /// The parameters of the list of images.
    pub(super) fn images(&self) -> Result<(ImageFilter, Page), ApiError> {
        self.check(
            &[&PAGE[..], &["searchTerm"]].concat(),
            &["status", "scope", "lastBuildStatus", "tags"],
        )?;
        let filter = ImageFilter {
            version: self.version_filter()?,
            scopes: self.each("scope", Scope::VALUES, Scope::from_text)?,
        };
        Ok((filter, self.read_page()?))
    }

    /// The parameters of the list of builds.
    pub(super) fn builds(&self) -> Result<(BuildFilter, Page), ApiError> {
        self.check(
            &[&PAGE[..], &["dateFrom", "dateTo", "count"]].concat(),
            &["versions", "buildStatus"],
        )?;
        let versions = self
            .all("versions")
            .map(|text| parse("versions", text))
            .collect::<Result<_, _>>()?;
        let count = self
            .first("count")
            .map(|text| parse::<i64>("count", text))
            .transpose()?
            .unwrap_or(-1);
        if count < -1 {
            return Err(ApiError::malformed(
                "`count` must be a number of builds, or -1 for all",
            ));
        }
        let (from, to) = (self.date("dateFrom")?, self.date("dateTo")?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::malformed("`dateFrom` lies after `dateTo`"));
        }
        let filter = BuildFilter {
            from,
            to,
            versions,
            statuses: self.each("buildStatus", BuildStatus::VALUES, BuildStatus::from_text)?,
            count: u64::try_from(count).ok(),
        };
        Ok((filter, self.read_page()?))
    }

    /// `versionIds`, of which there must be one.
    pub(super) fn version_ids(&self) -> Result<BTreeSet<u64>, ApiError> {
        self.check(&[], &["versionIds"])?;
        let ids: BTreeSet<u64> = self
            .all("versionIds")
            .map(|text| parse("versionIds", text))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Err(ApiError::malformed(
                "`versionIds` must name the versions to delete",
            ));
        }
        Ok(ids)
    }

    /// `nextToken`: the number of the log line to go on with. The first where there is none.
    pub(super) fn log_position(&self) -> Result<u64, ApiError> {
        self.check(&["nextToken"], &[])?;
        let Some(token) = self.first("nextToken") else {
            return Ok(0);
        };
        token
            .parse()
            .map_err(|_| ApiError::malformed("`nextToken` must be one that an earlier answer gave"))
    }

    /// `signature`, as it came.
    pub(super) fn signature(&self) -> Option<&str> {
        self.first("signature")
    }

    /// Whether each parameter is among those that come once or those that may come again.
    fn check(&self, single: &[&str], lists: &[&str]) -> Result<(), ApiError> {
        for (position, (name, _)) in self.0.iter().enumerate() {
            if lists.contains(&name.as_str()) {
                continue;
            }
            if !single.contains(&name.as_str()) {
                let known = [single, lists].concat();
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(ApiError::malformed(format!(
                    "the parameter `{}` is not known here; there are: {known}",
                    shown(name)
                )));
            }
            if self.0.iter().take(position).any(|(other, _)| other == name) {
                return Err(ApiError::malformed(format!(
                    "the parameter `{name}` may be given once"
                )));
            }
        }
        Ok(())
    }

    fn read_page(&self) -> Result<Page, ApiError> {
        let number = self.number("pageNumber")?.unwrap_or(1);
        let size = self.number("pageSize")?.unwrap_or(DEFAULT_PAGE_SIZE);
        if number == 0 || size == 0 {
            return Err(ApiError::malformed(
                "`pageNumber` and `pageSize` count from 1",
            ));
        }
        Ok(Page {
            number,
            size: size.min(LARGEST_PAGE),
        })
    }

    fn version_filter(&self) -> Result<VersionFilter, ApiError> {
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
                .map_err(|_| ApiError::malformed(format!("`{name}` is not an ISO 8601 date")))
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
            || ApiError::malformed(format!("`{name}` must be one of {}", values.join(", ")));
        self.all(name)
            .map(|text| from_text(text).ok_or_else(unknown))
            .collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|_| ApiError::malformed(format!("`{name}` is not a number that is allowed there")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
        Parameters(
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
            assert_eq!(parameters([(name, value)]).page().unwrap_err().status, 400);
        }
    }

    #[test]
    fn a_filter_may_have_several_values() {
        let filter = parameters([
            ("status", "ready"),
            ("searchTerm", "web"),
            ("status", "in-use"),
        ]);
        let (filter, _) = filter.versions().unwrap();
        assert_eq!(
            filter.statuses,
            [VersionStatus::Ready, VersionStatus::InUse]
        );
        assert_eq!(filter.search_term.as_deref(), Some("web"));
        assert!(filter.last_build_statuses.is_empty());
    }

    #[test]
    fn unknown_values_are_named() {
        let error = parameters([("scope", "galactic")]).images().unwrap_err();
        assert!(
            error.detail.contains("scope") && error.detail.contains("custom"),
            "{}",
            error.detail
        );
        assert!(parameters([("buildStatus", "done")]).builds().is_err());
        assert!(parameters([("dateFrom", "yesterday")]).builds().is_err());
        assert!(parameters([("nextToken", "abc")]).log_position().is_err());
    }

    #[test]
    fn what_is_unknown_or_comes_twice_is_named() {
        let detail = |parameters: Parameters| {
            let error = parameters.images().unwrap_err();
            assert_eq!(error.status, 400);
            error.detail
        };
        assert!(detail(parameters([("colour", "red")])).contains("`colour`"));
        assert!(detail(parameters([("pageSize", "1"), ("pageSize", "1")])).contains("once"));
        assert!(parameters([("pageSize", "1")]).none().is_err());
        assert!(parameters([("searchTerm", "a")]).page().is_err());
        parameters([]).none().unwrap();
    }

    #[test]
    fn times_that_leave_nothing_are_refused() {
        let times = |from, to| parameters([("dateFrom", from), ("dateTo", to)]).builds();
        assert!(times("2026-11-21", "2026-11-21").is_ok());
        assert_eq!(times("2026-11-22", "2026-11-21").unwrap_err().status, 400);
    }

    #[test]
    fn a_count_of_minus_one_means_all() {
        assert!(parameters([("count", "-2")]).builds().is_err());
        assert_eq!(parameters([]).builds().unwrap().0.count, None);
        assert_eq!(
            parameters([("count", "-1")]).builds().unwrap().0.count,
            None
        );
        assert_eq!(
            parameters([("count", "2")]).builds().unwrap().0.count,
            Some(2)
        );
    }
}
