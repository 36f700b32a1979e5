//! Lists of images, versions and builds.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use peak_sdk::images::models::{BuildStatus, Id, ImageStatus, Scope, Timestamp};
use peak_sdk::images::operations::{BuildsPage, ImagesPage, VersionsPage};
use peak_sdk::images::{ListImageBuilds, ListImageVersions, ListImages};

use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::service::{ListForm, WalkOptions, list};
use crate::suggest::did_you_mean;
use crate::view::Column;

const IMAGES: ListForm = ListForm {
    items: "images",
    count: "imageCount",
    columns: &[
        Column::new("id", "id"),
        Column::new("name", "name"),
        Column::new("type", "type"),
        Column::new("scope", "scope"),
        Column::new("latest", "latestVersion.version"),
        Column::new("status", "latestVersion.status"),
        Column::new("last build", "latestVersion.lastBuildStatus"),
        Column::new("tags", "latestVersion.tags"),
    ],
};

const VERSIONS: ListForm = ListForm {
    items: "versions",
    count: "versionCount",
    columns: &[
        Column::new("id", "id"),
        Column::new("version", "version"),
        Column::new("status", "status"),
        Column::new("last build", "lastBuildStatus"),
        Column::size("size", "size"),
        Column::new("tags", "tags"),
        Column::new("pull url", "pullUrl"),
    ],
};

const BUILDS: ListForm = ListForm {
    items: "builds",
    count: "buildCount",
    columns: &[
        Column::new("build", "buildId"),
        Column::new("version id", "versionId"),
        Column::new("version", "version"),
        Column::new("status", "status"),
        Column::time("started (UTC)", "startedAt"),
        Column::time("finished (UTC)", "finishedAt"),
    ],
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images list --name web --status ready,in-use
  peak images list --all --output json")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    walk: WalkOptions,
    /// Images whose name contains this text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Images of this scope, custom or global; may be repeated or comma-separated
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<String>,
    #[command(flatten)]
    version: VersionFilter,
}

/// Which versions are meant; of an image its latest version counts.
#[derive(Debug, Args)]
struct VersionFilter {
    /// Status of the version, of an image that of its latest one: not-ready, ready, in-use, deleting or delete-failed;
    /// may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Status of its last build: building, failed, success, stopping or stopped; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    last_build_status: Vec<String>,
    /// Tag of it; may be repeated or comma-separated
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images list-versions 1 --status ready
  peak images list-versions 1 --version 1.4 --all")]
pub(crate) struct ListVersionsArguments {
    /// Id of the image
    #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) image: String,
    #[command(flatten)]
    walk: WalkOptions,
    /// Versions whose name contains this text
    #[arg(long = "version", id = "version_text", value_name = "TEXT")]
    version: Option<String>,
    #[command(flatten)]
    filter: VersionFilter,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images list-builds 1 --version-ids 1,2 --build-status failed
  peak images list-builds 1 --date-from 2026-01-01T00:00:00Z --count 10")]
pub(crate) struct ListBuildsArguments {
    /// Id of the image
    #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) image: String,
    /// Only so many of the latest builds; -1 is all [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<i64>,
    /// Builds of the version with this id; may be repeated or comma-separated
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), value_delimiter = ',')]
    version_ids: Vec<String>,
    /// Status of the build: building, failed, success, stopping or stopped; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    build_status: Vec<String>,
    /// Builds from this time on, in ISO 8601: 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    date_from: Option<Timestamp>,
    /// Builds up to this time, in ISO 8601
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    date_to: Option<Timestamp>,
    #[command(flatten)]
    walk: WalkOptions,
}

pub(crate) async fn images(
    application: &Application,
    arguments: ListArguments,
) -> Result<(), CliError> {
    let mut wanted = ListImages::new();
    if let Some(size) = arguments.walk.page.page_size {
        wanted = wanted.page_size(size);
    }
    if let Some(text) = arguments.name {
        wanted = wanted.name(text);
    }
    let mut question = arguments.version.question();
    question = question.or_else(|| meant(&arguments.scope, SCOPES));
    for status in arguments.version.status {
        wanted = wanted.status(ImageStatus::from(status));
    }
    for scope in arguments.scope {
        wanted = wanted.scope(Scope::from(scope));
    }
    for status in arguments.version.last_build_status {
        wanted = wanted.last_build_status(BuildStatus::from(status));
    }
    for tag in arguments.version.tags {
        wanted = wanted.tag(tag);
    }
    let page = |number| ImagesPage {
        list: &wanted,
        number,
    };
    let listed = list(application, &IMAGES, arguments.walk, page).await;
    listed.map_err(|error| refused(error, question))
}

pub(crate) async fn versions(
    application: &Application,
    arguments: ListVersionsArguments,
) -> Result<(), CliError> {
    let image = Id::from(arguments.image);
    let mut wanted = ListImageVersions::new();
    if let Some(size) = arguments.walk.page.page_size {
        wanted = wanted.page_size(size);
    }
    if let Some(text) = arguments.version {
        wanted = wanted.version(text);
    }
    let question = arguments.filter.question();
    for status in arguments.filter.status {
        wanted = wanted.status(ImageStatus::from(status));
    }
    for status in arguments.filter.last_build_status {
        wanted = wanted.last_build_status(BuildStatus::from(status));
    }
    for tag in arguments.filter.tags {
        wanted = wanted.tag(tag);
    }
    let page = |number| VersionsPage {
        image: &image,
        list: &wanted,
        number,
    };
    let listed = list(application, &VERSIONS, arguments.walk, page).await;
    listed.map_err(|error| refused(error, question))
}

pub(crate) async fn builds(
    application: &Application,
    arguments: ListBuildsArguments,
) -> Result<(), CliError> {
    let image = Id::from(arguments.image);
    let mut wanted = ListImageBuilds::new();
    if let Some(size) = arguments.walk.page.page_size {
        wanted = wanted.page_size(size);
    }
    if let Some(count) = arguments.count.and_then(|count| u64::try_from(count).ok()) {
        wanted = wanted.count(count);
    }
    for version in arguments.version_ids {
        wanted = wanted.version(version);
    }
    let question = meant(&arguments.build_status, BUILD_STATUSES);
    for status in arguments.build_status {
        wanted = wanted.build_status(BuildStatus::from(status));
    }
    if let Some(time) = arguments.date_from {
        wanted = wanted.date_from(time);
    }
    if let Some(time) = arguments.date_to {
        wanted = wanted.date_to(time);
    }
    let page = |number| BuildsPage {
        image: &image,
        list: &wanted,
        number,
    };
    let listed = list(application, &BUILDS, arguments.walk, page).await;
    listed.map_err(|error| refused(error, question))
}

const STATUSES: &[&str] = &["not-ready", "ready", "in-use", "deleting", "delete-failed"];
const BUILD_STATUSES: &[&str] = &["building", "failed", "success", "stopping", "stopped"];
const SCOPES: &[&str] = &["custom", "global"];

impl VersionFilter {
    /// Which status could be meant, if one of them is not known.
    fn question(&self) -> Option<String> {
        let status = meant(&self.status, STATUSES);
        status.or_else(|| meant(&self.last_build_status, BUILD_STATUSES))
    }
}

/// Which of the values that are known could be meant by the first one that is not. The platform may know more of them, so
/// they are asked for all the same.
fn meant(values: &[String], known: &[&str]) -> Option<String> {
    let is_known = |value: &str| known.iter().any(|known| known.eq_ignore_ascii_case(value));
    let unknown = values.iter().find(|value| !is_known(value))?;
    did_you_mean(unknown, known)
}

/// The error of a platform that does not take what was asked for.
fn refused(error: CliError, question: Option<String>) -> CliError {
    match (error.kind, question) {
        (ErrorKind::Refused, Some(question)) if error.hint.is_none() => error.with_hint(question),
        _ => error,
    }
}

/// Reads a date, or a time; without an offset it is for the platform to say which is meant.
fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    let forms = [
        text.to_owned(),
        format!("{text}Z"),
        format!("{text}:00Z"),
        format!("{text}T00:00:00Z"),
    ];
    if forms.iter().any(|form| form.parse::<Timestamp>().is_ok()) {
        return Ok(Timestamp::from_text(text));
    }
    Err("write it as 2026-01-31 or 2026-01-31T12:00:00Z")
}

/// Reads how many builds: all of them for -1.
fn parse_count(text: &str) -> Result<i64, &'static str> {
    match text.parse() {
        Ok(count) if count >= -1 => Ok(count),
        _ => Err("write a whole number, or -1 for all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_told_from_other_texts() {
        for text in [
            "2026-01-31",
            "2026-01-31T12:00",
            "2026-01-31 12:00:00",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.123+01:00",
        ] {
            assert!(parse_time(text).is_ok(), "{text}");
        }
        for text in [
            "",
            " ",
            "yesterday",
            "2026",
            "2026-13-45",
            "31.01.2026",
            "1e9",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_status_that_is_nearly_one_is_asked_about() {
        let question = |value: &str| meant(&["ready".to_owned(), value.to_owned()], STATUSES);
        assert_eq!(question("redy").as_deref(), Some("did you mean `ready`?"));
        assert_eq!(question("READY"), None);
        assert_eq!(question("archived"), None);
    }
}
