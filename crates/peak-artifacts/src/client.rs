//! The service's operations, done.

use std::path::Path;

use futures_core::Stream;
use peak_models::{
    Artifact, CreateArtifactResponse, CreateArtifactVersionResponse, Id, ListArtifactsResponse,
};
use peak_platform::pages::{self, Page};
use peak_platform::{Error, SavedFile, Session};

use crate::requests::artifacts::{
    ArtifactsPage, CreateArtifact, DeleteArtifact, DescribeArtifact, ListArtifacts, UpdateArtifact,
    UpdateArtifactOf,
};
use crate::requests::versions::{
    CreateArtifactVersion, CreateArtifactVersionOf, DeleteArtifactVersion, DownloadArtifact,
};

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

    /// All artifacts of a list, page by page as they are asked for.
    pub fn list_artifacts(
        &self,
        list: ListArtifacts,
    ) -> impl Stream<Item = Result<Artifact, Error>> + Send + use<> {
        let session = self.session.clone();
        pages::items(move |number| {
            let (session, list) = (session.clone(), list.clone());
            async move {
                let page = ArtifactsPage {
                    list: &list,
                    number: Some(number),
                };
                let answer = session.call(&page).await?;
                Ok(Page::new(answer.artifacts, answer.page_count))
            }
        })
    }

    /// One page of a list of artifacts, counted from 1; the first unless given.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn list_artifacts_page(
        &self,
        list: &ListArtifacts,
        number: Option<u64>,
    ) -> Result<ListArtifactsResponse, Error> {
        self.session.call(&ArtifactsPage { list, number }).await
    }

    /// Creates a version of an artifact. Repeated only where the platform cannot have acted on it,
    /// since a second request would make a second version.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn create_artifact_version(
        &self,
        id: &Id,
        version: &CreateArtifactVersion,
    ) -> Result<CreateArtifactVersionResponse, Error> {
        self.session
            .call(&CreateArtifactVersionOf { id, version })
            .await
    }

    /// Changes the name or the description of an artifact.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn update_artifact(&self, id: &Id, update: &UpdateArtifact) -> Result<(), Error> {
        self.session
            .call(&UpdateArtifactOf { id, update })
            .await
            .map(drop)
    }

    /// Downloads the archive of a version, the latest unless given, into the file `target`; see
    /// [`Session::download`].
    ///
    /// # Errors
    /// [`Error`]
    pub async fn download_artifact(
        &self,
        id: &Id,
        version: Option<u64>,
        target: &Path,
    ) -> Result<SavedFile, Error> {
        self.session
            .download(&DownloadArtifact { id, version }, target)
            .await
    }

    /// Deletes an artifact with all of its versions.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_artifact(&self, id: &Id) -> Result<(), Error> {
        self.session.call(&DeleteArtifact { id }).await.map(drop)
    }

    /// Deletes a version of an artifact; versions are counted from 1.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_artifact_version(&self, id: &Id, version: u64) -> Result<(), Error> {
        self.session
            .call(&DeleteArtifactVersion { id, version })
            .await
            .map(drop)
    }
}
