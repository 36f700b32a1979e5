//! The `peak` command line: ships directories as container images, and works with what is in registries.
//!
//! Results go to standard output, everything else to standard error; the exit code says how it ended
//! (`peak --help`).

mod application;
mod arguments;
mod blocking;
mod color;
mod commands;
mod config;
mod convert;
mod engine;
mod error;
mod input;
mod logging;
mod output;
mod paths;
mod progress;
mod refused;
mod service;
mod signals;
mod suggest;
mod table;
mod usage;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use crate::application::Application;
use crate::arguments::{Command, CommandLine};
use crate::error::{CliError, ErrorKind};
use crate::output::Output;
use crate::signals::Signals;

/// How long threads that cannot be cancelled (packing, building) are waited for at the end.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);

/// How long registries have to take note of uploads that are not gone on with.
const CANCEL_LIMIT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let CommandLine { global, command } = match usage::parse() {
        Ok(parsed) => parsed,
        Err(error) => return usage::report(&error),
    };
    let as_json = Output::asked(&global.output) == Some(Output::Json);
    let global = match global.config.clone() {
        None => global,
        Some(file) => match config::apply(global, &file) {
            Ok(global) => global,
            Err(error) => return error.report(as_json),
        },
    };
    let serving = match &command {
        Command::Local(local) => local.serving(global.quiet),
        _ => None,
    };
    color::choose(global.color.unwrap_or_default());
    logging::start(global.verbose, serving);
    let as_json = Output::asked(&global.output) == Some(Output::Json);
    let result = Application::new(global, command.writes_a_file())
        .and_then(|application| start(application, command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(as_json),
    }
}

fn start(application: Application, command: Command) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CliError::other(format!(
                "the threads of the program cannot be started: {error}"
            ))
        })?;
    // The command is a task, and not driven by this thread: between a connection and what waits for it a wake-up is then
    // a turn of the same thread, and seldom one of another.
    let task = runtime.spawn(async move {
        run(&application, command)
            .await
            .map_err(|error| application.with_doctor(error))
    });
    let result = match runtime.block_on(task) {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(CliError::other(format!("the command was ended: {error}"))),
        },
    };
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    result
}

/// Runs the command until it is done or interrupted. An interrupted command is dropped, which is all that
/// it takes: whatever it was writing is not visible before it is complete. Registries are told of uploads that end so.
async fn run(application: &Application, command: Command) -> Result<(), CliError> {
    match command {
        // Serving and upkeep are ended by signals in their own way: they come to an orderly end.
        Command::Local(command) => commands::local::run(application, command).await,
        Command::Ship(arguments) => {
            interruptible(application, commands::ship::run(application, arguments)).await
        }
        Command::Images(command) => {
            interruptible(application, commands::images::run(application, command)).await
        }
        Command::Artifacts(command) => {
            interruptible(application, commands::artifacts::run(application, command)).await
        }
        Command::Registry(arguments) if arguments.is_ended_by_itself() => {
            let result = commands::registry::run(application, arguments).await;
            concluded(application, result).await
        }
        Command::Registry(arguments) => {
            Box::pin(interruptible(
                application,
                commands::registry::run(application, arguments),
            ))
            .await
        }
        Command::Apolo(arguments) => {
            interruptible(application, commands::apolo::run(application, arguments)).await
        }
        Command::Doctor(arguments) => {
            Box::pin(interruptible(
                application,
                commands::doctor::run(application, arguments),
            ))
            .await
        }
        Command::Pack(arguments) => {
            interruptible(application, commands::pack::run(application, arguments)).await
        }
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Man(arguments) => {
            interruptible(application, commands::man::run(application, arguments)).await
        }
    }
}

async fn interruptible(
    application: &Application,
    command: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let result = tokio::select! {
        biased;
        _ = signals.next() => Err(CliError::interrupted()),
        result = Box::pin(command) => result,
    };
    application.end_embedded(result.is_ok()).await;
    concluded(application, result).await
}

/// Sees to the uploads that a command has left.
async fn concluded(
    application: &Application,
    result: Result<(), CliError>,
) -> Result<(), CliError> {
    // Where the registry is out of reach the uploads wait for the next run instead.
    if result
        .as_ref()
        .is_err_and(|error| error.kind != ErrorKind::Unavailable)
    {
        application.cancel_uploads(CANCEL_LIMIT).await;
    }
    application.remove_temporary_tags(CANCEL_LIMIT).await;
    result
}
