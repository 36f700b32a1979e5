//! `peak local reset`: removes everything that the embedded platform keeps, which must not run meanwhile.

use clap::Args;
use peak_sdk::local;
use serde_json::json;

use super::{already_running, running};
use crate::application::Application;
use crate::arguments::StateOptions;
use crate::blocking::blocking;
use crate::error::CliError;
use crate::service::agree;

#[derive(Debug, Args)]
#[command(after_help = "\
Removes all images, artifacts, versions, builds and logs of the embedded platform. It must not be running.

Example:
  peak local reset --yes")]
pub(crate) struct ResetArguments {
    #[command(flatten)]
    state: StateOptions,
    /// Remove without asking; needed without a terminal
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) async fn reset(
    application: &Application,
    arguments: ResetArguments,
) -> Result<(), CliError> {
    let directory = arguments.state.directory()?;
    let place = directory.clone();
    blocking(move || local::must_have_state(&place)).await??;
    let what = format!(
        "everything in {}: all images, artifacts, versions, builds and logs of the embedded platform",
        directory.display()
    );
    // It is more than one thing, however little there is.
    agree(arguments.yes, &what, usize::MAX)?;
    let place = directory.clone();
    let left = match blocking(move || local::reset(&place)).await? {
        Ok(left) => left,
        Err(error) => {
            return Err(match running(&error, &directory).await {
                None => error.into(),
                Some(url) => already_running(&directory, &url)
                    .with_hint("stop it first, if nothing of it is needed any more"),
            });
        }
    };
    for file in &left {
        let text = format!("{} is not the platform's and stays", file.display());
        application.progress.warning(&text);
    }
    application
        .output
        .value(&json!({"reset": directory, "left": left}), || {
            Ok(format!("removed everything in {}\n", directory.display()))
        })
}
