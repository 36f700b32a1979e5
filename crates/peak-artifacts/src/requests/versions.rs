//! Creating, downloading and deleting versions of an artifact.

use http::Request;
use peak_http::{Body, Idempotency, RequestExt as _};
use peak_models::{CreateArtifactVersionBody, CreateArtifactVersionResponse, Id};
use peak_platform::{Artifact, Done, Download, Endpoint, Error, Form, Operation};
use serde::Serialize;

use super::path;

/// A new version of an artifact.
#[derive(Debug, Clone)]
pub struct CreateArtifactVersion {
    body: CreateArtifactVersionBody,
    artifact: Artifact,
}

impl CreateArtifactVersion {
    /// A version with this archive.
    pub fn new(artifact: Artifact) -> Self {
        Self {
            body: CreateArtifactVersionBody::new(),
            artifact,
        }
    }

    /// Whether the platform scans the archive.
    #[must_use]
    pub fn scan(mut self, yes: bool) -> Self {
        self.body = self.body.scan(yes);
        self
    }

    /// Whether the platform validates the archive.
    #[must_use]
    pub fn validate(mut self, yes: bool) -> Self {
        self.body = self.body.validate(yes);
        self
    }
}

/// `create_artifact_version`
#[derive(Debug, Clone, Copy)]
pub struct CreateArtifactVersionOf<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// Its new version.
    pub version: &'a CreateArtifactVersion,
}

impl Operation for CreateArtifactVersionOf<'_> {
    const NAME: &'static str = "create_artifact_version";
    type Answer = CreateArtifactVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let create = CreateArtifactVersionFrom {
            id: self.id,
            body: &self.version.body,
            artifact: &self.version.artifact,
        };
        create.request(endpoint)
    }
}

/// `create_artifact_version` with a body that is written out; see [`CreateArtifactFrom`](super::artifacts::CreateArtifactFrom).
#[derive(Clone, Copy)]
pub struct CreateArtifactVersionFrom<'a, B: ?Sized> {
    /// The artifact.
    pub id: &'a Id,
    /// The body.
    pub body: &'a B,
    /// The archive.
    pub artifact: &'a Artifact,
}

impl<B: Serialize + ?Sized> Operation for CreateArtifactVersionFrom<'_, B> {
    const NAME: &'static str = "create_artifact_version";
    type Answer = CreateArtifactVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let form = Form::of(self.body)?.artifact(self.artifact);
        let request = endpoint
            .put(&path(&[self.id.as_str()]))?
            .form(form)
            .build()?;
        // Whatever the method promises, each such request makes one more version.
        Ok(request.option(Idempotency::NotIdempotent))
    }
}

/// `download_artifact`: the archive of a version.
#[derive(Debug, Clone, Copy)]
pub struct DownloadArtifact<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// The number of its version, counted from 1; the latest unless given.
    pub version: Option<u64>,
}

impl Download for DownloadArtifact<'_> {
    const NAME: &'static str = "download_artifact";

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let version = self.version.map(|version| version.to_string());
        let mut rest = vec![self.id.as_str()];
        rest.extend(version.as_deref());
        rest.push("download");
        endpoint.get(&path(&rest))?.build()
    }
}

/// `delete_artifact_version`
#[derive(Debug, Clone, Copy)]
pub struct DeleteArtifactVersion<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// The number of its version, counted from 1.
    pub version: u64,
}

impl Operation for DeleteArtifactVersion<'_> {
    const NAME: &'static str = "delete_artifact_version";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let version = self.version.to_string();
        endpoint
            .delete(&path(&[self.id.as_str(), &version]))?
            .build()
    }
}
