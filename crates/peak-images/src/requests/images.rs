//! Listing, describing and creating images.

use http::Request;
use peak_http::Body;
use peak_models::{
    AutodeployResource, BuildStatus, CreateImageBody, CreateImageResponse, Id, Image, ImageStatus,
    ImageType, ListImagesResponse, Scope,
};
use peak_platform::{Artifact, Done, Endpoint, Error, Operation};
use serde::Serialize;

use super::build::{Build, form, given};
use super::path;

/// Which images to list. Without any condition, all of them.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    page_size: Option<u64>,
    name: Option<String>,
    status: Vec<ImageStatus>,
    scope: Vec<Scope>,
    last_build_status: Vec<BuildStatus>,
    tags: Vec<String>,
}

impl ListImages {
    /// All images.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many images a page holds at most; the platform decides unless given.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }

    /// Images whose name contains this text.
    #[must_use]
    pub fn name(mut self, text: impl Into<String>) -> Self {
        self.name = Some(text.into());
        self
    }

    /// Images with this status, or another that is added.
    #[must_use]
    pub fn status(mut self, status: ImageStatus) -> Self {
        self.status.push(status);
        self
    }

    /// Images of this scope, or another that is added.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope.push(scope);
        self
    }

    /// Images whose last build ended so, or as another status that is added.
    #[must_use]
    pub fn last_build_status(mut self, status: BuildStatus) -> Self {
        self.last_build_status.push(status);
        self
    }

    /// Images with this tag, or another that is added.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>) -> Self {
        self.tags.push(name.into());
        self
    }
}

/// `list_images`: one page of the list.
#[derive(Debug, Clone, Copy)]
pub struct ImagesPage<'a> {
    /// Which images.
    pub list: &'a ListImages,
    /// The number of the page, counted from 1; the first unless given.
    pub number: Option<u64>,
}

impl Operation for ImagesPage<'_> {
    const NAME: &'static str = "list_images";
    type Answer = ListImagesResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[]))?
            .collection()
            .query_each("pageSize", self.list.page_size)
            .query_each("pageNumber", self.number)
            .query_each("searchTerm", &self.list.name)
            .query_each("status", &self.list.status)
            .query_each("scope", &self.list.scope)
            .query_each("lastBuildStatus", &self.list.last_build_status)
            .query_each("tags", &self.list.tags)
            .build()
    }
}

/// `describe_image`
#[derive(Debug, Clone, Copy)]
pub struct DescribeImage<'a> {
    /// The image.
    pub image: &'a Id,
}

impl Operation for DescribeImage<'_> {
    const NAME: &'static str = "describe_image";
    type Answer = Image;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint.get(&path(&[self.image.as_str()]))?.build()
    }
}

/// `delete_image`: the image with all of its versions.
#[derive(Debug, Clone, Copy)]
pub struct DeleteImage<'a> {
    /// The image.
    pub image: &'a Id,
}

impl Operation for DeleteImage<'_> {
    const NAME: &'static str = "delete_image";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint.delete(&path(&[self.image.as_str()]))?.build()
    }
}

/// `create_image`: a new image, with its first version and the build of it.
#[derive(Debug, Clone)]
pub struct CreateImage {
    pub(crate) name: String,
    image_type: ImageType,
    pub(crate) build: Build,
    pub(crate) version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) autodeploy: Vec<AutodeployResource>,
}

impl CreateImage {
    /// An image of this name and type, built so.
    pub fn new(name: impl Into<String>, image_type: ImageType, build: impl Into<Build>) -> Self {
        Self {
            name: name.into(),
            image_type,
            build: build.into(),
            version: None,
            description: None,
            autodeploy: Vec::new(),
        }
    }

    /// Name of the version; `0.0.1` for a new image unless given.
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

    /// What is sent beside the archive: to show it, or to send it by [`CreateImageFrom`].
    pub fn body(&self) -> CreateImageBody {
        let mut body = CreateImageBody::new(self.name.clone(), self.image_type.clone());
        body.version.clone_from(&self.version);
        body.description.clone_from(&self.description);
        body.build_details = Some(self.build.details());
        body.autodeploy_resources = given(&self.autodeploy);
        body
    }
}

impl Operation for CreateImage {
    const NAME: &'static str = "create_image";
    type Answer = CreateImageResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let create = CreateImageFrom {
            body: &self.body(),
            artifact: self.build.artifact(),
        };
        create.request(endpoint)
    }
}

/// `create_image` with a body that is written out, such as one that a person wrote: an object with
/// the properties that the platform names.
#[derive(Clone, Copy)]
pub struct CreateImageFrom<'a, B: ?Sized> {
    /// The body.
    pub body: &'a B,
    /// The archive, where the body says `upload`.
    pub artifact: Option<&'a Artifact>,
}

impl<B: Serialize + ?Sized> Operation for CreateImageFrom<'_, B> {
    const NAME: &'static str = "create_image";
    type Answer = CreateImageResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .post(&path(&[]))?
            .collection()
            .form(form(self.body, self.artifact)?)
            .build()
    }
}
