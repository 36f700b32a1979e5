//! `peak images`: images, their versions and their builds on the platform.

use std::pin::pin;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use peak_sdk::images::models::{BuildStatus, Id, Image, ImageStatus, ImageVersion};
use peak_sdk::images::{BuildLogEvent, FinishedBuild, FollowOptions, Images, ListImageVersions};

use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, write_json_line, write_log_line};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  peak images describe 1")]
pub(crate) enum ImagesCommand {
    /// Describe an image and its latest version
    #[command(after_help = "\
Example:
  peak images describe 1")]
    Describe {
        /// Id of the image
        #[arg(value_name = "IMAGE_ID")]
        image: String,
    },
    /// Describe a version of an image
    #[command(after_help = "\
Example:
  peak images describe-version --image-id 1 --version-id 1")]
    DescribeVersion {
        /// Id of the image
        #[arg(long, value_name = "ID")]
        image_id: String,
        /// Id of the version
        #[arg(long, value_name = "ID")]
        version_id: String,
    },
    /// List the versions of an image
    ListVersions(ListVersionsArguments),
    /// Print the log of a build, or follow it until the build ends
    GetBuildLogs(BuildLogsArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  peak images list-versions 1 --status ready")]
pub(crate) struct ListVersionsArguments {
    /// Id of the image
    #[arg(value_name = "IMAGE_ID")]
    image: String,
    /// How many versions a page holds
    #[arg(long, value_name = "N")]
    page_size: Option<u64>,
    /// The page to show, counted from 1 [default: the first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    page_number: Option<u64>,
    /// Versions whose name contains this text
    #[arg(long = "version", id = "version_text", value_name = "TEXT")]
    version: Option<String>,
    /// Versions with this status; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Versions whose last build ended so; may be repeated or comma-separated
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    last_build_status: Vec<String>,
    /// Versions with this tag; may be repeated or comma-separated
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  peak images get-build-logs --image-id 1 --build-id 1 --follow")]
pub(crate) struct BuildLogsArguments {
    /// Id of the image
    #[arg(long, value_name = "ID")]
    image_id: String,
    /// Id of the build
    #[arg(long, value_name = "ID")]
    build_id: String,
    /// Where to go on, as an earlier page said
    #[arg(long, value_name = "TOKEN")]
    next_token: Option<String>,
    /// Print lines as they are written until the build ends; exit with 8 if it does not succeed
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(application: &Application, command: ImagesCommand) -> Result<(), CliError> {
    let images = Images::new(application.session()?);
    match command {
        ImagesCommand::Describe { image } => {
            let image = images.describe_image(&Id::from(image)).await?;
            application.output.object(&image, &image_rows(&image))
        }
        ImagesCommand::DescribeVersion {
            image_id,
            version_id,
        } => {
            let version = images
                .describe_version(&Id::from(image_id), &Id::from(version_id))
                .await?;
            application.output.object(&version, &version_rows(&version))
        }
        ImagesCommand::ListVersions(arguments) => {
            list_versions(application, &images, arguments).await
        }
        ImagesCommand::GetBuildLogs(arguments) => build_logs(application, &images, arguments).await,
    }
}

async fn list_versions(
    application: &Application,
    images: &Images,
    arguments: ListVersionsArguments,
) -> Result<(), CliError> {
    let mut list = ListImageVersions::new();
    if let Some(size) = arguments.page_size {
        list = list.page_size(size);
    }
    if let Some(text) = arguments.version {
        list = list.version(text);
    }
    for status in arguments.status {
        list = list.status(ImageStatus::from(status));
    }
    for status in arguments.last_build_status {
        list = list.last_build_status(BuildStatus::from(status));
    }
    for tag in arguments.tags {
        list = list.tag(tag);
    }
    let page = images
        .list_image_versions_page(&Id::from(arguments.image), &list, arguments.page_number)
        .await?;
    let rows = page
        .versions
        .iter()
        .map(|version| {
            vec![
                text(version.id.as_ref()),
                text(version.version.as_ref()),
                text(version.status.as_ref()),
                text(version.last_build_status.as_ref()),
                size_text(version),
                text(version.pull_url.as_ref()),
            ]
        })
        .collect();
    application.output.list(
        &page,
        &["id", "version", "status", "last build", "size", "pull url"],
        rows,
    )
}

async fn build_logs(
    application: &Application,
    images: &Images,
    arguments: BuildLogsArguments,
) -> Result<(), CliError> {
    let (image, build) = (Id::from(arguments.image_id), Id::from(arguments.build_id));
    if !arguments.follow {
        let page = images
            .get_build_logs_page(&image, &build, arguments.next_token.as_deref())
            .await?;
        let lines = page
            .logs
            .iter()
            .map(|line| line.message.as_deref().unwrap_or_default());
        return application.output.log(&page, lines);
    }
    let mut options = FollowOptions::new();
    if let Some(token) = arguments.next_token {
        options = options.next_token(token);
    }
    let mut events = pin!(images.follow_build_logs(&image, &build, options));
    let mut last = None;
    while let Some(event) = events.try_next().await? {
        match event {
            BuildLogEvent::Line(line) => {
                if application.asked_output == Some(Output::Json) {
                    write_json_line(&line)?;
                } else {
                    write_log_line(line.message.as_deref().unwrap_or_default())?;
                }
                last = line.message;
            }
            BuildLogEvent::Finished(finished) if finished.is_success() => return Ok(()),
            BuildLogEvent::Finished(finished) => {
                return Err(build_failed(
                    &format!("build {build}"),
                    Some(&finished),
                    last.as_deref(),
                ));
            }
            _ => {}
        }
    }
    Err(build_failed(
        &format!("build {build}"),
        None,
        last.as_deref(),
    ))
}

/// The error of a build that ended without success, with what its log said last.
pub(crate) fn build_failed(
    what: &str,
    finished: Option<&FinishedBuild>,
    last_line: Option<&str>,
) -> CliError {
    let status = finished.map_or("unknown", |finished| finished.status.as_str());
    let ended = match last_line {
        Some(line) => format!("{what}: {line}"),
        None => format!("{what} ended with the status `{status}`"),
    };
    CliError::new(ErrorKind::BuildFailed, ended)
}

fn image_rows(image: &Image) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("id", text(image.id.as_ref())),
        ("name", text(image.name.as_ref())),
        ("type", text(image.r#type.as_ref())),
    ];
    if let Some(version) = &image.latest_version {
        rows.extend([
            ("latest version", text(version.version.as_ref())),
            ("status", text(version.status.as_ref())),
            ("last build", text(version.last_build_status.as_ref())),
            ("pull url", text(version.pull_url.as_ref())),
        ]);
    }
    rows
}

fn version_rows(version: &ImageVersion) -> Vec<(&'static str, String)> {
    vec![
        ("id", text(version.id.as_ref())),
        ("image", text(version.image_name.as_ref())),
        ("version", text(version.version.as_ref())),
        ("status", text(version.status.as_ref())),
        ("last build", text(version.last_build_status.as_ref())),
        ("size", size_text(version)),
        ("pull url", text(version.pull_url.as_ref())),
    ]
}

fn size_text(version: &ImageVersion) -> String {
    version.size.map(human_size).unwrap_or_default()
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
