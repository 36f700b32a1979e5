//! What waits for the disk, away from where nothing may wait.

use crate::LayoutError;

/// Runs what waits for the disk where waiting is allowed.
///
/// Dropping the future does not stop what has begun; every such piece is short and leaves nothing half-visible.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, LayoutError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LayoutError::Shutdown),
    }
}
