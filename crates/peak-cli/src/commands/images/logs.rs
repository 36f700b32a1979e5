//! The log of a build: a page of it, all of it as it is written, or saved into a file; and waiting for its end.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use futures_util::TryStreamExt;
use peak_sdk::images::models::Id;
use peak_sdk::images::operations::BuildLogsPage;
use peak_sdk::images::{BuildLogEvent, FinishedBuild, FollowOptions, Images};
use serde_json::{Value, json};

use crate::application::Application;
use crate::arguments::from_one;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, to_yaml, write_json_line, write_log_line, write_out};
use crate::paths::can_be_written;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[command(after_help = "\
Examples:
  peak images get-build-logs --image-id 1 --build-id 1
  peak images get-build-logs --image-id 1 --build-id 1 --follow
  peak images get-build-logs --image-id 1 --build-id 1 --save --file-name build.log")]
pub(crate) struct BuildLogsArguments {
    /// Id of the image
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) image_id: String,
    /// Id of the build
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    build_id: String,
    /// Where to go on, as an earlier page said
    #[arg(long, value_name = "TOKEN")]
    next_token: Option<String>,
    /// Print lines as they are written until the build ends; exit with 8 if it does not succeed
    #[arg(long)]
    follow: bool,
    /// As the Python tool has it
    #[arg(long, hide = true, overrides_with = "follow")]
    no_follow: bool,
    /// As the Python tool has it
    #[arg(long, hide = true, overrides_with = "save")]
    no_save: bool,
    /// Save the log, as far as it is written, into a file; --follow and --next-token mean nothing then
    #[arg(long)]
    save: bool,
    /// The file that --save saves into [default: `image_build_logs_IMAGE_BUILD.log`]
    #[arg(long, value_name = "FILE")]
    file_name: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  peak images wait --image-id 1 --build-id 1 --timeout 600")]
pub(crate) struct WaitArguments {
    /// Id of the image
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) image_id: String,
    /// Id of the build
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    build_id: String,
    /// Give up after so many seconds [default: wait until the build ends]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = from_one)]
    timeout: Option<u64>,
}

pub(crate) async fn get_build_logs(
    application: &Application,
    arguments: BuildLogsArguments,
) -> Result<(), CliError> {
    let images = Images::new(application.session()?);
    let (image, build) = (Id::from(arguments.image_id), Id::from(arguments.build_id));
    if arguments.save {
        // No name is that of the Python tool's scripts for the default.
        let file = arguments.file_name.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        if let Some(file) = file {
            can_be_written("--file-name", file)?;
        }
        let saved = images.save_build_logs(&image, &build, file).await?;
        let file = saved.path.display().to_string();
        return application.output.object(
            &json!({"file": file, "size": saved.size}),
            &[("file", file.clone()), ("size", human_size(saved.size))],
        );
    }
    if arguments.follow {
        return follow(application, &images, &image, &build, arguments.next_token).await;
    }
    let page = BuildLogsPage {
        image: &image,
        build: &build,
        next_token: arguments.next_token.as_deref(),
    };
    let answer: Value = images.session().call_as(&page).await?;
    let lines = answer.get("logs").and_then(Value::as_array);
    let lines = lines.into_iter().flatten().map(|line| {
        let message = line.get("message").and_then(Value::as_str);
        message.unwrap_or_default()
    });
    application.output.log(&answer, lines)
}

async fn follow(
    application: &Application,
    images: &Images,
    image: &Id,
    build: &Id,
    next_token: Option<String>,
) -> Result<(), CliError> {
    let mut options = FollowOptions::new();
    if let Some(token) = next_token {
        options = options.next_token(token);
    }
    let mut events = pin!(images.follow_build_logs(image, build, options));
    let mut last = None;
    while let Some(event) = events.try_next().await? {
        match event {
            BuildLogEvent::Line(line) => {
                match application.asked_output {
                    Some(Output::Json) => write_json_line(&line)?,
                    Some(Output::Yaml) => write_out(format!("---\n{}", to_yaml(&line)?))?,
                    _ => write_log_line(line.message.as_deref().unwrap_or_default())?,
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

pub(crate) async fn wait(
    application: &Application,
    arguments: WaitArguments,
) -> Result<(), CliError> {
    let images = Images::new(application.session()?);
    let (image, build) = (Id::from(arguments.image_id), Id::from(arguments.build_id));
    let waiting = images.wait_for_build(&image, &build, FollowOptions::new());
    let finished = match arguments.timeout {
        None => waiting.await?,
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), waiting)
            .await
            .map_err(|_| {
                CliError::other(format!("build {build} still runs after {seconds} s"))
                    .with_hint("give it more time with --timeout")
            })??,
    };
    if !finished.is_success() {
        return Err(build_failed(
            &format!("build {build}"),
            Some(&finished),
            None,
        ));
    }
    application.output.object(
        &json!({"imageId": image, "buildId": build, "buildStatus": finished.status}),
        &[
            ("imageId", image.to_string()),
            ("buildId", build.to_string()),
            ("buildStatus", finished.status.to_string()),
        ],
    )
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
