//! Work that would keep other tasks from running: reading and writing many files, waiting for a person.

use crate::error::CliError;

/// Does what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::other(format!("the work did not come to its end: {error}")))
}
