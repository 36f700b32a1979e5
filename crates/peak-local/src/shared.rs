//! What requests and builds share.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use peak_oci::Digest;
use peak_registry_server::Store;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::artifacts::{Artifact, Artifacts, Spooled};
use crate::directory::StateDirectory;
use crate::error::LocalError;
use crate::state::{State, StateError};

/// The last line of the log of a build that the end of the process cut off.
const CUT_OFF: &str =
    "the platform ended before this build did; update the version to build it again";

/// The platform without its connections: state, registry, archives.
///
/// The fields are dropped in this order, so the state directory is released last.
pub(crate) struct Shared {
    pub(crate) state: State,
    pub(crate) registry: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) directory: StateDirectory,
    /// Where the platform listens.
    pub(crate) address: SocketAddr,
    /// Told when a deletion has been written down.
    pub(crate) deletions: Notify,
    /// Everything that runs on a blocking thread, so that the end of the platform can wait for it.
    blocking: TaskTracker,
    /// The last field: once it is gone the state directory is free.
    _open: TaskTrackerToken,
}

impl Shared {
    /// Opens the state directory, and brings to an end what an earlier process left in it. Blocks.
    ///
    /// `open` tracks it for as long as it exists.
    pub(crate) fn open(
        path: &Path,
        address: SocketAddr,
        open: &TaskTracker,
    ) -> Result<Self, LocalError> {
        let directory = StateDirectory::open(path)?;
        let database = directory.database();
        let state_failed = |source: StateError| LocalError::State {
            path: database.clone(),
            source: Box::new(source),
        };
        let state = State::open(&database).map_err(state_failed)?;
        let cut_off = state.fail_unfinished(CUT_OFF).map_err(state_failed)?;
        if cut_off > 0 {
            tracing::info!(
                builds = cut_off,
                "builds of an earlier run were cut off and count as failed"
            );
        }
        let registry =
            Store::open(&directory.registry()).map_err(|source| LocalError::Registry {
                path: directory.registry(),
                source: Box::new(source),
            })?;
        directory.clear_builds()?;
        let artifacts = Artifacts::new(directory.artifacts());
        let used = state.artifacts_in_use().map_err(state_failed)?;
        artifacts
            .sweep(&used)
            .map_err(|source| LocalError::StateDirectory {
                path: directory.artifacts(),
                action: "removing archives that are not needed any more",
                source,
            })?;
        Ok(Self {
            state,
            registry,
            artifacts,
            directory,
            address,
            deletions: Notify::new(),
            blocking: TaskTracker::new(),
            _open: open.token(),
        })
    }

    /// Runs something that blocks, on a thread for that. It goes on when the caller stops waiting.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let shared = Arc::clone(self);
        self.blocking.spawn_blocking(move || work(&shared)).await
    }

    /// Keeps an archive for what `write` writes down; where that is refused, the archive goes again unless something
    /// else has it. Blocks.
    pub(crate) fn keep<T>(
        &self,
        spooled: Spooled,
        write: impl FnOnce(&Artifact) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let hold = self.artifacts.hold();
        let artifact = hold.keep(spooled)?;
        let result = write(&artifact);
        drop(hold);
        if result.is_err() {
            self.remove_unused(&[artifact.digest]);
        }
        result
    }

    /// Removes archives that nothing has any more. Blocks.
    pub(crate) fn remove_unused(&self, archives: &[Digest]) {
        let removed = self
            .artifacts
            .remove_unused(archives, || self.state.artifacts_in_use());
        if let Err(error) = removed {
            // They are not used, so they go at the next start.
            tracing::warn!(error = %crate::error::chain(&error), "archives could not be removed");
        }
    }

    /// Waits for everything on blocking threads, then ends the builds that were not run to their end.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.blocking.close();
        self.blocking.wait().await;
        match self
            .blocking(|shared| shared.state.fail_unfinished(CUT_OFF))
            .await
        {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(error = %crate::error::chain(&error), "the last builds could not be ended");
            }
            Err(error) => tracing::error!(%error, "the last builds could not be ended"),
        }
    }

    /// The names by which a Dockerfile may mean the registry of this platform.
    pub(crate) fn registry_hosts(&self) -> Vec<String> {
        vec![
            self.address.to_string(),
            format!("localhost:{}", self.address.port()),
        ]
    }
}

/// Why a step of the work on a blocking thread did not come to its end.
pub(crate) fn join_failed(error: JoinError) -> io::Error {
    io::Error::other(error)
}
