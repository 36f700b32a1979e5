//! Listing, describing, creating, updating and deleting artifacts.

use http::Request;
use peak_http::Body;
use peak_models::{
    CreateArtifactBody, CreateArtifactResponse, Id, ListArtifactsResponse, UpdateArtifactBody,
};
use peak_platform::{Artifact, Done, Endpoint, Error, Form, Operation};
use serde::Serialize;

use super::path;

/// Which artifacts to list: all of them.
#[derive(Debug, Clone, Default)]
pub struct ListArtifacts {
    page_size: Option<u64>,
}

impl ListArtifacts {
    /// All artifacts.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many artifacts a page holds at most; the platform decides unless given.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }
}

/// `list_artifacts`: one page of the list.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactsPage<'a> {
    /// Which artifacts.
    pub list: &'a ListArtifacts,
    /// The number of the page, counted from 1; the first unless given.
    pub number: Option<u64>,
}

impl Operation for ArtifactsPage<'_> {
    const NAME: &'static str = "list_artifacts";
    type Answer = ListArtifactsResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[]))?
            .collection()
            .query_each("pageSize", self.list.page_size)
            .query_each("pageNumber", self.number)
            .build()
    }
}

/// `create_artifact`: a new artifact, with its first version.
#[derive(Debug, Clone)]
pub struct CreateArtifact {
    body: CreateArtifactBody,
    artifact: Artifact,
}

impl CreateArtifact {
    /// An artifact of this name, with this archive as its first version.
    pub fn new(name: impl Into<String>, artifact: Artifact) -> Self {
        Self {
            body: CreateArtifactBody::new(name),
            artifact,
        }
    }

    /// What the artifact is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.body = self.body.description(text);
        self
    }

    /// What the artifact was made by.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.body = self.body.source(source);
        self
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

impl Operation for CreateArtifact {
    const NAME: &'static str = "create_artifact";
    type Answer = CreateArtifactResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let create = CreateArtifactFrom {
            body: &self.body,
            artifact: &self.artifact,
        };
        create.request(endpoint)
    }
}

/// `create_artifact` with a body that is written out, such as one that a person wrote: an object
/// with the properties that the platform names.
#[derive(Clone, Copy)]
pub struct CreateArtifactFrom<'a, B: ?Sized> {
    /// The body.
    pub body: &'a B,
    /// The archive.
    pub artifact: &'a Artifact,
}

impl<B: Serialize + ?Sized> Operation for CreateArtifactFrom<'_, B> {
    const NAME: &'static str = "create_artifact";
    type Answer = CreateArtifactResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        // The file comes last, so that the service knows what it is for when it arrives.
        let form = Form::of(self.body)?.artifact(self.artifact);
        endpoint.post(&path(&[]))?.collection().form(form).build()
    }
}

/// `describe_artifact`: an artifact, with a page of its versions.
#[derive(Debug, Clone, Copy)]
pub struct DescribeArtifact<'a> {
    id: &'a Id,
    page_number: Option<u64>,
    page_size: Option<u64>,
}

impl<'a> DescribeArtifact<'a> {
    /// The artifact with its first versions.
    pub fn new(id: &'a Id) -> Self {
        Self {
            id,
            page_number: None,
            page_size: None,
        }
    }

    /// Which page of versions, counted from 1.
    #[must_use]
    pub fn page_number(mut self, number: u64) -> Self {
        self.page_number = Some(number);
        self
    }

    /// How many versions a page holds at most.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }
}

impl Operation for DescribeArtifact<'_> {
    const NAME: &'static str = "describe_artifact";
    type Answer = peak_models::Artifact;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[self.id.as_str()]))?
            .query_each("pageNumber", self.page_number)
            .query_each("pageSize", self.page_size)
            .build()
    }
}

/// What to change about an artifact. What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UpdateArtifact {
    body: UpdateArtifactBody,
}

impl UpdateArtifact {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The artifact's new name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body = self.body.name(name);
        self
    }

    /// What the artifact is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.body = self.body.description(text);
        self
    }
}

/// `update_artifact`
#[derive(Debug, Clone, Copy)]
pub struct UpdateArtifactOf<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// What to change.
    pub update: &'a UpdateArtifact,
}

impl Operation for UpdateArtifactOf<'_> {
    const NAME: &'static str = "update_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let update = UpdateArtifactFrom {
            id: self.id,
            body: &self.update.body,
        };
        update.request(endpoint)
    }
}

/// `update_artifact` with a body that is written out; see [`CreateArtifactFrom`].
#[derive(Clone, Copy)]
pub struct UpdateArtifactFrom<'a, B: ?Sized> {
    /// The artifact.
    pub id: &'a Id,
    /// The body.
    pub body: &'a B,
}

impl<B: Serialize + ?Sized> Operation for UpdateArtifactFrom<'_, B> {
    const NAME: &'static str = "update_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .patch(&path(&[self.id.as_str()]))?
            .json(self.body)?
            .build()
    }
}

/// `delete_artifact`: the artifact with all of its versions.
#[derive(Debug, Clone, Copy)]
pub struct DeleteArtifact<'a> {
    /// The artifact.
    pub id: &'a Id,
}

impl Operation for DeleteArtifact<'_> {
    const NAME: &'static str = "delete_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint.delete(&path(&[self.id.as_str()]))?.build()
    }
}
