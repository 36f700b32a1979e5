//! The service's operations, done.

use peak_models::{Artifact, CreateArtifactResponse};
use peak_platform::{Error, Session};

use crate::requests::{CreateArtifact, DescribeArtifact};

/// The Artifacts service, as seen by a session. Cheap to clone.
///
/// All operations can be dropped at any time; what was already sent may then still have happened.
#[derive(Debug, Clone)]
pub struct Artifacts {
    session: Session,
}

impl Artifacts {
    /// The service that this session leads to.
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// Creates an artifact with its first version. Repeated only where the platform cannot have
    /// acted on it, since a second request would make a second artifact.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn create_artifact(
        &self,
        artifact: &CreateArtifact,
    ) -> Result<CreateArtifactResponse, Error> {
        self.session.call(artifact).await
    }

    /// Describes an artifact, with a page of its versions.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn describe_artifact(
        &self,
        artifact: &DescribeArtifact<'_>,
    ) -> Result<Artifact, Error> {
        self.session.call(artifact).await
    }
}
