//! Deleting, once a person has agreed.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use peak_sdk::platform::Operation;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{DryRun, call, session};
use crate::application::Application;
use crate::error::CliError;
use crate::output::{printable, write_json};
use crate::signals::Signals;

/// Most characters of what is deleted that are shown.
const SHOWN: usize = 500;

/// No answer is longer, in bytes.
const ANSWER_LIMIT: u64 = 64;

/// Whether to ask before something is deleted.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DeleteOptions {
    /// Delete without asking; where there is no terminal to ask on, only several ids at once need it
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
    if !options.dry.dry_run && agree(options.yes, what, count)? == Agreed::Beforehand {
        application.progress.step("delete", &shown(what));
    }
    match call(application, &session, operation, None, None, options.dry).await? {
        Some(Value::Null) => write_json(&json!({})),
        Some(answer) => write_json(&answer),
        None => Ok(()),
    }
}

/// What is deleted as a person is told of it, on one line of bounded length.
fn shown(what: &str) -> String {
    let mut text: String = printable(what).replace('\t', " ");
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Who knows what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// Whoever was asked.
    WhenAsked,
    /// Nobody was asked.
    Beforehand,
}

/// Asks on a terminal; without one, more than one thing is deleted only if `--yes` says so. A thing is what an id or a
/// reference names: an image with all of its versions is one, so that scripts of the Python tool go on working.
pub(crate) fn agree(yes: bool, what: &str, count: usize) -> Result<Agreed, CliError> {
    if yes {
        return Ok(Agreed::Beforehand);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        if count > 1 {
            return Err(
                CliError::usage(format!("this would delete {}", shown(what)))
                    .with_hint("--yes agrees to it where no one can be asked"),
            );
        }
        return Ok(Agreed::Beforehand);
    }
    let question = format!("This deletes {}. Go on? [y/N] ", shown(what));
    let answer = tokio::task::block_in_place(|| Handle::current().block_on(ask(question)))?;
    if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(Agreed::WhenAsked);
    }
    Err(CliError::other("nothing was deleted").with_hint("`y` would have agreed to it"))
}

/// Asks on the terminal. Reading from it cannot be cancelled, so that is left to another thread: a signal ends the
/// question at once.
async fn ask(question: String) -> Result<String, CliError> {
    let mut signals = Signals::listen()?;
    let answer = tokio::task::spawn_blocking(move || {
        // A terminal that cannot be written to answers nothing either.
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(question.as_bytes());
        let _ = stderr.flush();
        drop(stderr);
        let mut answer = String::new();
        let _ = std::io::stdin()
            .lock()
            .take(ANSWER_LIMIT)
            .read_line(&mut answer);
        answer
    });
    tokio::select! {
        biased;
        _ = signals.next() => Err(CliError::interrupted()),
        answer = answer => Ok(answer.unwrap_or_default()),
    }
}
