//! Deleting, once a person has agreed.

use std::io::{BufRead, IsTerminal, Write as _};

use clap::Args;
use peak_sdk::platform::Operation;
use serde_json::{Value, json};

use super::{DryRun, call, session};
use crate::application::Application;
use crate::error::CliError;
use crate::output::write_json;

/// Whether to ask before something is deleted.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DeleteOptions {
    /// Delete without asking; needed without a terminal to delete more than one thing
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Deletes what the operation names, once a person has agreed, and prints `{}` as the platform does.
pub(crate) async fn delete<O: Operation>(
    application: &Application,
    options: DeleteOptions,
    what: &str,
    count: usize,
    operation: &O,
) -> Result<(), CliError> {
    let session = session(application, options.dry)?;
    if !options.dry.dry_run {
        agree(options.yes, what, count)?;
    }
    match call(application, &session, operation, None, None, options.dry).await? {
        Some(Value::Null) => write_json(&json!({})),
        Some(answer) => write_json(&answer),
        None => Ok(()),
    }
}

/// Asks on a terminal; without one, more than one thing is deleted only if `--yes` says so.
pub(crate) fn agree(yes: bool, what: &str, count: usize) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        if count > 1 {
            return Err(CliError::usage(format!("this would delete {what}"))
                .with_hint("--yes agrees to it where no one can be asked"));
        }
        return Ok(());
    }
    let mut stderr = std::io::stderr().lock();
    // A terminal that cannot be written to answers nothing either.
    let _ = write!(stderr, "This deletes {what}. Go on? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(());
    }
    Err(CliError::other("nothing was deleted"))
}
