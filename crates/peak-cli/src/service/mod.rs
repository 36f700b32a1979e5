//! Operations of the platform's services, done or only shown, with their answers as the platform gave them.

mod delete;
mod dry_run;
mod list;
mod upload;

use peak_sdk::platform::{Operation, Session};
use serde_json::Value;

pub(crate) use self::delete::{DeleteOptions, agree, delete};
pub(crate) use self::dry_run::{DryRun, Shown, show_plan, show_requests};
pub(crate) use self::list::{ListForm, PageOptions, WalkOptions, list};
pub(crate) use self::upload::Upload;

use crate::application::Application;
use crate::error::CliError;
use crate::output::{Output, aligned};
use crate::view::{Column, cell, rows_of};

/// The platform as the command line names it. A dry run needs no token, and nothing is sent.
pub(crate) fn session(application: &Application, dry: DryRun) -> Result<Session, CliError> {
    if dry.dry_run {
        application.session_to_show()
    } else {
        application.session()
    }
}

/// Does the operation, or shows its request with this body and these files; gives the answer if there is one.
pub(crate) async fn call<O: Operation>(
    application: &Application,
    session: &Session,
    operation: &O,
    body: Option<&Value>,
    upload: Option<&Upload>,
    dry: DryRun,
) -> Result<Option<Value>, CliError> {
    if dry.dry_run {
        let request = operation.request(session.endpoint())?;
        show_requests(
            application.output,
            &[Shown::of(session, &request, body, None)],
            upload,
        )?;
        return Ok(None);
    }
    Ok(Some(session.call_as(operation).await?))
}

/// As [`call`] for what is written, and shows all of the answer.
pub(crate) async fn send<O: Operation>(
    application: &Application,
    session: &Session,
    operation: &O,
    body: &Value,
    upload: Option<&Upload>,
    dry: DryRun,
) -> Result<(), CliError> {
    match call(application, session, operation, Some(body), upload, dry).await? {
        Some(answer) => show_all(application.output, &answer),
        None => Ok(()),
    }
}

/// Shows an answer: as it is, or these of its parts.
pub(crate) fn show(output: Output, answer: &Value, columns: &[Column]) -> Result<(), CliError> {
    output.value(answer, || Ok(aligned(&rows_of(answer, columns))))
}

/// Shows an answer with all that is in its first level.
pub(crate) fn show_all(output: Output, answer: &Value) -> Result<(), CliError> {
    output.value(answer, || {
        let rows: Vec<_> = answer
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), cell(value)))
            .collect();
        Ok(aligned(&rows))
    })
}
