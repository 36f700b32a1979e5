//! Listing, describing, creating and updating versions of an image.

use http::Request;
use peak_http::Body;
use peak_models::{
    AutodeployResource, BuildStatus, CreateVersionBody, CreateVersionResponse, Id, ImageStatus,
    ImageVersion, ListImageVersionsResponse, UpdateVersionBody, UpdateVersionResponse,
};
use peak_platform::{Artifact, Done, Endpoint, Error, Operation};
use serde::Serialize;

use super::build::{Build, form, given};
use super::path;

/// Which versions of an image to list. Without any condition, all of them.
#[derive(Debug, Clone, Default)]
pub struct ListImageVersions {
    page_size: Option<u64>,
    version: Option<String>,
    status: Vec<ImageStatus>,
    last_build_status: Vec<BuildStatus>,
    tags: Vec<String>,
}

impl ListImageVersions {
    /// All versions.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many versions a page holds at most; the platform decides unless given.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }

    /// Versions whose name contains this text.
    #[must_use]
    pub fn version(mut self, text: impl Into<String>) -> Self {
        self.version = Some(text.into());
        self
    }

    /// Versions with this status, or another that is added.
    #[must_use]
    pub fn status(mut self, status: ImageStatus) -> Self {
        self.status.push(status);
        self
    }

    /// Versions whose last build ended so, or as another status that is added.
    #[must_use]
    pub fn last_build_status(mut self, status: BuildStatus) -> Self {
        self.last_build_status.push(status);
        self
    }

    /// Versions with this tag, or another that is added.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>) -> Self {
        self.tags.push(name.into());
        self
    }
}

/// `list_image_versions`: one page of the list.
#[derive(Debug, Clone, Copy)]
pub struct VersionsPage<'a> {
    /// The image.
    pub image: &'a Id,
    /// Which of its versions.
    pub list: &'a ListImageVersions,
    /// The number of the page, counted from 1; the first unless given.
    pub number: Option<u64>,
}

impl Operation for VersionsPage<'_> {
    const NAME: &'static str = "list_image_versions";
    type Answer = ListImageVersionsResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[self.image.as_str(), "versions"]))?
            .query_each("pageSize", self.list.page_size)
            .query_each("pageNumber", self.number)
            .query_each("searchTerm", &self.list.version)
            .query_each("status", &self.list.status)
            .query_each("lastBuildStatus", &self.list.last_build_status)
            .query_each("tags", &self.list.tags)
            .build()
    }
}

/// `describe_version`
#[derive(Debug, Clone, Copy)]
pub struct DescribeVersion<'a> {
    /// The image.
    pub image: &'a Id,
    /// Its version.
    pub version: &'a Id,
}

impl Operation for DescribeVersion<'_> {
    const NAME: &'static str = "describe_version";
    type Answer = ImageVersion;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let (image, version) = (self.image.as_str(), self.version.as_str());
        endpoint.get(&path(&[image, "versions", version]))?.build()
    }
}

/// `delete_version`
#[derive(Debug, Clone, Copy)]
pub struct DeleteVersion<'a> {
    /// The image.
    pub image: &'a Id,
    /// Its version.
    pub version: &'a Id,
}

impl Operation for DeleteVersion<'_> {
    const NAME: &'static str = "delete_version";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let (image, version) = (self.image.as_str(), self.version.as_str());
        endpoint
            .delete(&path(&[image, "versions", version]))?
            .build()
    }
}

/// `delete_versions`: several versions of an image in one request. At least one has to be named,
/// since a request that names none might be taken to mean all.
#[derive(Debug, Clone, Copy)]
pub struct DeleteVersions<'a> {
    /// The image.
    pub image: &'a Id,
    /// Its versions.
    pub versions: &'a [Id],
}

impl Operation for DeleteVersions<'_> {
    const NAME: &'static str = "delete_versions";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        if self.versions.is_empty() {
            return Err(Error::InvalidRequest {
                message: "no versions to delete are named".to_owned(),
            });
        }
        endpoint
            .delete(&path(&[self.image.as_str(), "versions"]))?
            .query_each("versionIds", self.versions)
            .build()
    }
}

/// A new version of an image, and the build of it.
#[derive(Debug, Clone)]
pub struct CreateVersion {
    build: Build,
    version: Option<String>,
    description: Option<String>,
    autodeploy: Vec<AutodeployResource>,
}

impl CreateVersion {
    /// A version that is built so.
    pub fn new(build: impl Into<Build>) -> Self {
        Self {
            build: build.into(),
            version: None,
            description: None,
            autodeploy: Vec::new(),
        }
    }

    /// Name of the version; the next patch version of the latest unless given.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the version is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds something to deploy again when the build has succeeded.
    #[must_use]
    pub fn autodeploy(mut self, resource: AutodeployResource) -> Self {
        self.autodeploy.push(resource);
        self
    }
}

/// `create_version`
#[derive(Debug, Clone, Copy)]
pub struct CreateVersionOf<'a> {
    /// The image.
    pub image: &'a Id,
    /// Its new version.
    pub version: &'a CreateVersion,
}

impl Operation for CreateVersionOf<'_> {
    const NAME: &'static str = "create_version";
    type Answer = CreateVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let mut body = CreateVersionBody::new();
        body.version.clone_from(&self.version.version);
        body.description.clone_from(&self.version.description);
        body.build_details = Some(self.version.build.details());
        body.autodeploy_resources = given(&self.version.autodeploy);
        let create = CreateVersionFrom {
            image: self.image,
            body: &body,
            artifact: self.version.build.artifact(),
        };
        create.request(endpoint)
    }
}

/// `create_version` with a body that is written out; see
/// [`CreateImageFrom`](super::images::CreateImageFrom).
#[derive(Clone, Copy)]
pub struct CreateVersionFrom<'a, B: ?Sized> {
    /// The image.
    pub image: &'a Id,
    /// The body.
    pub body: &'a B,
    /// The archive, where the body says `upload`.
    pub artifact: Option<&'a Artifact>,
}

impl<B: Serialize + ?Sized> Operation for CreateVersionFrom<'_, B> {
    const NAME: &'static str = "create_version";
    type Answer = CreateVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .post(&path(&[self.image.as_str(), "versions"]))?
            .form(form(self.body, self.artifact)?)
            .build()
    }
}

/// What to change about a version. What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UpdateVersion {
    build: Option<Build>,
    description: Option<String>,
    autodeploy: Vec<AutodeployResource>,
}

impl UpdateVersion {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the version again, so.
    #[must_use]
    pub fn build(mut self, build: impl Into<Build>) -> Self {
        self.build = Some(build.into());
        self
    }

    /// What the version is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds something to deploy again when the build has succeeded.
    #[must_use]
    pub fn autodeploy(mut self, resource: AutodeployResource) -> Self {
        self.autodeploy.push(resource);
        self
    }
}

/// `update_version`
#[derive(Debug, Clone, Copy)]
pub struct UpdateVersionOf<'a> {
    /// The image.
    pub image: &'a Id,
    /// Its version.
    pub version: &'a Id,
    /// What to change.
    pub update: &'a UpdateVersion,
}

impl Operation for UpdateVersionOf<'_> {
    const NAME: &'static str = "update_version";
    type Answer = UpdateVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let mut body = UpdateVersionBody::new();
        body.description.clone_from(&self.update.description);
        body.build_details = self.update.build.as_ref().map(Build::details);
        body.autodeploy_resources = given(&self.update.autodeploy);
        let update = UpdateVersionFrom {
            image: self.image,
            version: self.version,
            body: &body,
            artifact: self.update.build.as_ref().and_then(Build::artifact),
        };
        update.request(endpoint)
    }
}

/// `update_version` with a body that is written out; see
/// [`CreateImageFrom`](super::images::CreateImageFrom).
#[derive(Clone, Copy)]
pub struct UpdateVersionFrom<'a, B: ?Sized> {
    /// The image.
    pub image: &'a Id,
    /// Its version.
    pub version: &'a Id,
    /// The body.
    pub body: &'a B,
    /// The archive, where the body says `upload`.
    pub artifact: Option<&'a Artifact>,
}

impl<B: Serialize + ?Sized> Operation for UpdateVersionFrom<'_, B> {
    const NAME: &'static str = "update_version";
    type Answer = UpdateVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let (image, version) = (self.image.as_str(), self.version.as_str());
        endpoint
            .patch(&path(&[image, "versions", version]))?
            .form(form(self.body, self.artifact)?)
            .build()
    }
}
