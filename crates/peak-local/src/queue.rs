//! Builds that wait for their turn.

use std::path::PathBuf;

use peak_oci::{RepositoryName, Tag};
use tokio::sync::mpsc;

use crate::builder::DockerfileSource;
use crate::model::{BuildDetails, BuildSource};
use crate::state::Changed;

/// How many builds may wait; more are refused.
const WAITING: usize = 256;

/// The Dockerfile that is taken where none is named.
const DEFAULT_DOCKERFILE: &str = "Dockerfile";

/// A build that waits. It holds the values of build arguments, so it has no `Debug`.
pub(crate) struct BuildJob {
    pub image: u64,
    pub build: u64,
    pub repository: RepositoryName,
    pub tag: Tag,
    pub archive: Option<PathBuf>,
    pub dockerfile: DockerfileSource,
    pub context: Option<String>,
    pub build_arguments: Vec<(String, String)>,
    /// What the log begins with.
    pub notes: Vec<String>,
}

impl BuildJob {
    /// The build `build` that a change of the state made.
    pub(crate) fn new(
        changed: &Changed,
        build: u64,
        details: &BuildDetails,
        archive: Option<PathBuf>,
        notes: Vec<String>,
    ) -> Self {
        let path = || {
            details
                .dockerfile_path
                .as_deref()
                .unwrap_or(DEFAULT_DOCKERFILE)
                .to_owned()
        };
        let dockerfile = match (details.source, &details.dockerfile) {
            (Some(BuildSource::Dockerfile), Some(text)) => DockerfileSource::Text(text.clone()),
            _ => DockerfileSource::Path(path()),
        };
        let arguments = details.build_arguments.as_deref().unwrap_or_default();
        Self {
            image: changed.image,
            build,
            repository: changed.image_name.clone(),
            tag: changed.version_name.clone(),
            archive,
            dockerfile,
            context: details.context.clone(),
            build_arguments: arguments
                .iter()
                .map(|argument| (argument.name.clone(), argument.value.clone()))
                .collect(),
            notes,
        }
    }
}

/// Where builds are put to wait.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<BuildJob>);

/// A place in the queue, taken before the build is written down so that every written build is run.
pub(crate) struct Place(mpsc::OwnedPermit<BuildJob>);

impl Queue {
    /// A queue, and its end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<BuildJob>) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(sender), waiting)
    }

    /// Takes a place, if one is free.
    pub(crate) fn place(&self) -> Option<Place> {
        self.0.clone().try_reserve_owned().ok().map(Place)
    }
}

impl Place {
    pub(crate) fn fill(self, job: BuildJob) {
        self.0.send(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_builds_wait() {
        let (queue, _waiting) = Queue::new();
        let places: Vec<_> = std::iter::from_fn(|| queue.place()).collect();
        assert_eq!(places.len(), WAITING);
    }
}
