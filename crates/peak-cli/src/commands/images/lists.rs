//! Lists of images, versions and builds.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use peak_sdk::images::models::{BuildStatus, Id, ImageStatus, Scope, Timestamp};
use peak_sdk::images::operations::{BuildsPage, ImagesPage, VersionsPage};
use peak_sdk::images::{ListImageBuilds, ListImageVersions, ListImages};

use crate::application::Application;
use crate::error::CliError;
use crate::service::{ListForm, WalkOptions, list};
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
        Column::new("build id", "buildId"),
        Column::new("version id", "versionId"),
        Column::new("version", "version"),
        Column::new("status", "status"),
        Column::new("started (UTC)", "startedAt"),
        Column::new("finished (UTC)", "finishedAt"),
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
    /// Latest version is not-ready, ready, in-use, deleting or delete-failed; may be repeated or
    /// comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Images of this scope, custom or global; may be repeated or comma-separated
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<String>,
    /// Last build is building, failed, success, stopping or stopped; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    last_build_status: Vec<String>,
    /// Latest version has this tag; may be repeated or comma-separated
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
    image: String,
    #[command(flatten)]
    walk: WalkOptions,
    /// Versions whose name contains this text
    #[arg(long = "version", id = "version_text", value_name = "TEXT")]
    version: Option<String>,
    /// Versions with this status: not-ready, ready, in-use, deleting or delete-failed; may be repeated or
    /// comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Last build is building, failed, success, stopping or stopped; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    last_build_status: Vec<String>,
    /// Versions with this tag; may be repeated or comma-separated
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images list-builds 1 --version-ids 1,2 --build-status failed
  peak images list-builds 1 --date-from 2026-01-01T00:00:00Z --count 10")]
pub(crate) struct ListBuildsArguments {
    /// Id of the image
    #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new())]
    image: String,
    /// Only so many of the latest builds; -1 is all [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    count: Option<i64>,
    /// Builds of the version with this id; may be repeated or comma-separated
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), value_delimiter = ',')]
    version_ids: Vec<String>,
    /// Builds that are building, failed, success, stopping or stopped; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    build_status: Vec<String>,
    /// Builds from this time on, in ISO 8601
    #[arg(long, value_name = "TIME")]
    date_from: Option<String>,
    /// Builds up to this time, in ISO 8601
    #[arg(long, value_name = "TIME")]
    date_to: Option<String>,
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
    for status in arguments.status {
        wanted = wanted.status(ImageStatus::from(status));
    }
    for scope in arguments.scope {
        wanted = wanted.scope(Scope::from(scope));
    }
    for status in arguments.last_build_status {
        wanted = wanted.last_build_status(BuildStatus::from(status));
    }
    for tag in arguments.tags {
        wanted = wanted.tag(tag);
    }
    let page = |number| ImagesPage {
        list: &wanted,
        number,
    };
    list(application, &IMAGES, arguments.walk, page).await
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
    for status in arguments.status {
        wanted = wanted.status(ImageStatus::from(status));
    }
    for status in arguments.last_build_status {
        wanted = wanted.last_build_status(BuildStatus::from(status));
    }
    for tag in arguments.tags {
        wanted = wanted.tag(tag);
    }
    let page = |number| VersionsPage {
        image: &image,
        list: &wanted,
        number,
    };
    list(application, &VERSIONS, arguments.walk, page).await
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
    for status in arguments.build_status {
        wanted = wanted.build_status(BuildStatus::from(status));
    }
    if let Some(time) = arguments.date_from {
        wanted = wanted.date_from(Timestamp::from_text(time));
    }
    if let Some(time) = arguments.date_to {
        wanted = wanted.date_to(Timestamp::from_text(time));
    }
    let page = |number| BuildsPage {
        image: &image,
        list: &wanted,
        number,
    };
    list(application, &BUILDS, arguments.walk, page).await
}
