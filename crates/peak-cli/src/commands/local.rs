//! `peak local`: the embedded platform and registry.

mod check;
mod gc;
mod reset;
mod serve;
mod upkeep;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use peak_sdk::local::{LocalError, Upkeep};

pub(crate) use self::serve::DEFAULT_LISTEN;

use crate::application::{Application, state_home};
use crate::arguments::StateOptions;
use crate::error::{CliError, ErrorKind};
use crate::logging::Serving;
use crate::paths::{in_shell, may_be_a_directory};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  peak local serve
  peak local gc --dry-run
  peak local reset --yes")]
pub(crate) enum LocalCommand {
    /// Serve the Peak platform and an OCI registry on one address until it is stopped
    Serve(serve::ServeArguments),
    /// Free the space of what no image needs any more
    Gc(gc::GcArguments),
    /// Look whether everything that the registry says it has is there
    Check(check::CheckArguments),
    /// Remove everything that the platform keeps
    Reset(reset::ResetArguments),
}

impl LocalCommand {
    /// What is shown while this serves, if it does.
    pub(crate) fn serving(&self, quiet: bool) -> Option<Serving> {
        match self {
            Self::Serve(arguments) => Some(arguments.shown(quiet)),
            Self::Gc(_) | Self::Check(_) | Self::Reset(_) => None,
        }
    }
}

pub(crate) async fn run(application: &Application, command: LocalCommand) -> Result<(), CliError> {
    match command {
        LocalCommand::Serve(arguments) => serve::serve(application, arguments).await,
        LocalCommand::Gc(arguments) => gc::gc(application, arguments).await,
        LocalCommand::Check(arguments) => check::check(application, arguments).await,
        LocalCommand::Reset(arguments) => reset::reset(application, arguments).await,
    }
}

/// The base URL of the platform that already runs on the directory, where this is why another one did not start.
pub(crate) async fn running(error: &LocalError, state_dir: &Path) -> Option<String> {
    // These are said whatever runs elsewhere.
    if matches!(error, LocalError::NotLoopback { .. } | LocalError::Token) {
        return None;
    }
    let state_dir = state_dir.to_owned();
    let found = tokio::task::spawn_blocking(move || Upkeep::open(&state_dir)).await;
    match found {
        Ok(Ok(Upkeep::There(platform))) => platform.url().map(str::to_owned),
        _ => None,
    }
}

/// Only one platform has a state directory.
pub(crate) fn already_running(state_dir: &Path, url: &str) -> CliError {
    CliError::other(format!(
        "an embedded platform runs on {} already, at {url}",
        state_dir.display()
    ))
}

impl StateOptions {
    /// The directory asked for, else `$XDG_STATE_HOME/peak`, else `~/.local/state/peak`.
    pub(crate) fn directory(&self) -> Result<PathBuf, CliError> {
        if let Some(directory) = &self.state_dir {
            may_be_a_directory("--state-dir", directory)?;
            return Ok(directory.clone());
        }
        state_home()
            .map(|base| base.join("peak"))
            .ok_or_else(|| {
                CliError::new(ErrorKind::Usage, "there is no place for the platform's state: neither XDG_STATE_HOME nor HOME is set")
                    .with_hint("name one with --state-dir")
            })
    }

    /// The command with the option that names the same directory.
    pub(crate) fn as_command(&self, command: &str) -> String {
        match &self.state_dir {
            Some(directory) => format!("{command} --state-dir {}", in_shell(directory)),
            None => command.to_owned(),
        }
    }
}
