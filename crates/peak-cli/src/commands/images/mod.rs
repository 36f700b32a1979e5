//! `peak images`: images, their versions and their builds on the platform.

mod body;
mod create;
mod lists;
mod logs;

use std::path::Path;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use peak_sdk::images::models::Id;
use peak_sdk::images::operations::{
    DeleteImage, DeleteVersion, DeleteVersions, DescribeImage, DescribeVersion,
};
use serde_json::Value;

pub(crate) use self::body::{BUILD_HEADING, packing};
pub(crate) use self::create::upsert_plan;
pub(crate) use self::logs::build_failed;

use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::paths::in_shell;
use crate::service::{self, DeleteOptions};
use crate::view::Column;

/// What a person sees of an image.
const IMAGE: &[Column] = &[
    Column::new("id", "id"),
    Column::new("name", "name"),
    Column::new("type", "type"),
    Column::new("latest version", "latestVersion.version"),
    Column::new("status", "latestVersion.status"),
    Column::new("last build", "latestVersion.lastBuildStatus"),
    Column::new("pull url", "latestVersion.pullUrl"),
];

/// What a person sees of a version.
const VERSION: &[Column] = &[
    Column::new("id", "id"),
    Column::new("image", "imageName"),
    Column::new("version", "version"),
    Column::new("description", "description"),
    Column::new("status", "status"),
    Column::new("last build", "lastBuildStatus"),
    Column::size("size", "size"),
    Column::new("tags", "tags"),
    Column::new("pull url", "pullUrl"),
];

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  peak images create --name web --type webapp --artifact-path examples/hello-web
  peak images list --name web
  peak images get-build-logs --image-id 1 --build-id 1 --follow")]
pub(crate) enum ImagesCommand {
    /// List images
    List(lists::ListArguments),
    /// List the versions of an image
    ListVersions(lists::ListVersionsArguments),
    /// Create an image, with its first version
    Create(Box<create::CreateArguments>),
    /// Create a version of an image
    CreateVersion(Box<create::CreateVersionArguments>),
    /// Create an image or a version of it, or update that version if it is there
    CreateOrUpdate(Box<create::CreateArguments>),
    /// Update a version that is not ready, and build it again
    UpdateVersion(Box<create::UpdateVersionArguments>),
    /// Describe an image and its latest version
    #[command(after_help = "\
Example:
  peak images describe 1")]
    Describe {
        /// Id of the image
        #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new())]
        image: String,
    },
    /// Describe a version of an image
    #[command(after_help = "\
Example:
  peak images describe-version --image-id 1 --version-id 1")]
    DescribeVersion(VersionId),
    /// Delete an image with all of its versions
    #[command(after_help = "\
Example:
  peak images delete 1 --yes")]
    Delete {
        /// Id of the image
        #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new())]
        image: String,
        #[command(flatten)]
        options: DeleteOptions,
    },
    /// Delete a version of an image
    #[command(after_help = "\
Example:
  peak images delete-version --image-id 1 --version-id 1 --yes")]
    DeleteVersion {
        #[command(flatten)]
        version: VersionId,
        #[command(flatten)]
        options: DeleteOptions,
    },
    /// Delete several versions of an image
    #[command(after_help = "\
Example:
  peak images delete-versions --image-id 1 --version-ids 1,2 --yes")]
    DeleteVersions {
        /// Id of the image
        #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        image_id: String,
        /// Ids of the versions; may be repeated or comma-separated
        #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), value_delimiter = ',', required = true)]
        version_ids: Vec<String>,
        #[command(flatten)]
        options: DeleteOptions,
    },
    /// List the builds of an image
    ListBuilds(lists::ListBuildsArguments),
    /// Print the log of a build, follow it until the build ends, or save it
    GetBuildLogs(logs::BuildLogsArguments),
    /// Wait until a build has ended; exit with 8 if it does not succeed
    Wait(logs::WaitArguments),
}

/// A version of an image.
#[derive(Debug, Args)]
pub(crate) struct VersionId {
    /// Id of the image
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    image_id: String,
    /// Id of the version
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    version_id: String,
}

impl VersionId {
    fn ids(&self) -> (Id, Id) {
        (
            Id::from(self.image_id.as_str()),
            Id::from(self.version_id.as_str()),
        )
    }
}

pub(crate) async fn run(application: &Application, command: ImagesCommand) -> Result<(), CliError> {
    let named = command.named();
    let done = perform(application, command).await;
    done.map_err(|error| match (error.kind, error.status) {
        (ErrorKind::NotFound, Some(_)) if error.hint.is_none() => error.with_hint(named.listed()),
        _ => error,
    })
}

/// No name of an image is longer, in bytes.
const LONGEST_NAME: usize = 255;

/// What a command names by id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Nothing,
    Image(String),
    VersionOf(String),
    BuildOf(String),
}

impl Named {
    /// The command that shows what there is.
    fn listed(&self) -> String {
        let images = |image: &str| {
            let is_id = image.bytes().all(|byte| byte.is_ascii_digit());
            if is_id || image.len() > LONGEST_NAME {
                "`peak images list` shows the ids of images".to_owned()
            } else {
                let name = in_shell(Path::new(image));
                format!(
                    "images go by their ids here; `peak images list --name {name}` shows that of a name"
                )
            }
        };
        let in_image = |image: &str, command: &str, what: &str| {
            if image.len() <= LONGEST_NAME && image.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("`peak images {command} {image}` shows the ids of its {what}")
            } else {
                images(image)
            }
        };
        match self {
            Self::Nothing => "see that --endpoint-url is that of the platform".to_owned(),
            Self::Image(image) => images(image),
            Self::VersionOf(image) => in_image(image, "list-versions", "versions"),
            Self::BuildOf(image) => in_image(image, "list-builds", "builds"),
        }
    }
}

impl ImagesCommand {
    fn named(&self) -> Named {
        match self {
            Self::List(_) | Self::Create(_) | Self::CreateOrUpdate(_) => Named::Nothing,
            Self::ListVersions(arguments) => Named::Image(arguments.image.clone()),
            Self::ListBuilds(arguments) => Named::Image(arguments.image.clone()),
            Self::CreateVersion(arguments) => {
                Named::Image(arguments.image.clone().unwrap_or_default())
            }
            Self::Describe { image } | Self::Delete { image, .. } => Named::Image(image.clone()),
            Self::UpdateVersion(arguments) => {
                Named::VersionOf(arguments.image_id.clone().unwrap_or_default())
            }
            Self::DescribeVersion(version) | Self::DeleteVersion { version, .. } => {
                Named::VersionOf(version.image_id.clone())
            }
            Self::DeleteVersions { image_id, .. } => Named::VersionOf(image_id.clone()),
            Self::GetBuildLogs(arguments) => Named::BuildOf(arguments.image_id.clone()),
            Self::Wait(arguments) => Named::BuildOf(arguments.image_id.clone()),
        }
    }
}

async fn perform(application: &Application, command: ImagesCommand) -> Result<(), CliError> {
    match command {
        ImagesCommand::List(arguments) => lists::images(application, arguments).await,
        ImagesCommand::ListVersions(arguments) => lists::versions(application, arguments).await,
        ImagesCommand::ListBuilds(arguments) => lists::builds(application, arguments).await,
        ImagesCommand::Create(arguments) => create::image(application, &arguments).await,
        ImagesCommand::CreateVersion(arguments) => create::version(application, &arguments).await,
        ImagesCommand::CreateOrUpdate(arguments) => {
            create::image_or_version(application, &arguments).await
        }
        ImagesCommand::UpdateVersion(arguments) => create::update(application, &arguments).await,
        ImagesCommand::Describe { image } => {
            let image = Id::from(image);
            let answer: Value = application
                .session()?
                .call_as(&DescribeImage { image: &image })
                .await?;
            service::show(application.output, &answer, IMAGE)
        }
        ImagesCommand::DescribeVersion(version) => {
            let (image, version) = version.ids();
            let describe = DescribeVersion {
                image: &image,
                version: &version,
            };
            let answer: Value = application.session()?.call_as(&describe).await?;
            service::show(application.output, &answer, VERSION)
        }
        ImagesCommand::Delete { image, options } => {
            let image = Id::from(image);
            let what = format!("image {image} with all of its versions");
            let operation = DeleteImage { image: &image };
            service::delete(application, options, &what, 1, &operation).await
        }
        ImagesCommand::DeleteVersion { version, options } => {
            let (image, version) = version.ids();
            let what = format!("version {version} of image {image}");
            let operation = DeleteVersion {
                image: &image,
                version: &version,
            };
            service::delete(application, options, &what, 1, &operation).await
        }
        ImagesCommand::DeleteVersions {
            image_id,
            version_ids,
            options,
        } => {
            let image = Id::from(image_id);
            let what = format!("the versions {} of image {image}", version_ids.join(", "));
            let versions: Vec<_> = version_ids.into_iter().map(Id::from).collect();
            let operation = DeleteVersions {
                image: &image,
                versions: &versions,
            };
            service::delete(application, options, &what, versions.len(), &operation).await
        }
        ImagesCommand::GetBuildLogs(arguments) => {
            logs::get_build_logs(application, arguments).await
        }
        ImagesCommand::Wait(arguments) => logs::wait(application, arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_found_is_listed_by_the_command_that_knows_it() {
        for (named, expected) in [
            (Named::Image("9".into()), "`peak images list` shows"),
            (Named::Image("web".into()), "`peak images list --name web`"),
            (
                Named::VersionOf("1".into()),
                "`peak images list-versions 1`",
            ),
            (
                Named::VersionOf("web".into()),
                "`peak images list --name web`",
            ),
            (Named::BuildOf("1".into()), "`peak images list-builds 1`"),
        ] {
            let text = named.listed();
            assert!(text.contains(expected), "{text}");
        }
    }
}
