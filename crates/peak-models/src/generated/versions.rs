// Generated from schemas/versions.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Versions of images: `image-management/api/v2/images/{id}/versions`.

/// Whether a version can be used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageStatus {
    /// `not-ready`: Not built yet, or not built successfully.
    NotReady,
    /// `ready`: Built, and not used by anything.
    Ready,
    /// `in-use`: Built, and used by something on the platform.
    InUse,
    /// `deleting`: Being deleted.
    Deleting,
    /// `delete-failed`: The platform failed to delete it.
    DeleteFailed,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl ImageStatus {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[
        Self::NotReady,
        Self::Ready,
        Self::InUse,
        Self::Deleting,
        Self::DeleteFailed,
    ];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NotReady => "not-ready",
            Self::Ready => "ready",
            Self::InUse => "in-use",
            Self::Deleting => "deleting",
            Self::DeleteFailed => "delete-failed",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(ImageStatus);

/// A label that the platform or a user put on a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Tag {
    /// The label's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The colour the platform shows it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

impl Tag {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name`.
    #[must_use]
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = Some(value.into());
        self
    }

    /// Sets `color`.
    #[must_use]
    pub fn color(mut self, value: impl Into<String>) -> Self {
        self.color = Some(value.into());
        self
    }
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImageVersion {
    /// The version's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<crate::Id>,
    /// The version's name, such as `0.0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Free text about the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the version can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<crate::ImageStatus>,
    /// How the latest build of this version stands.
    #[serde(
        rename = "lastBuildStatus",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub last_build_status: Option<crate::BuildStatus>,
    /// When the latest build of this version was started.
    #[serde(rename = "lastBuildAt", default, skip_serializing_if = "Option::is_none")]
    pub last_build_at: Option<crate::Timestamp>,
    /// When the version was created.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<crate::Timestamp>,
    /// Who created the version, as an email address.
    #[serde(rename = "createdBy", default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When the version was last changed.
    #[serde(rename = "updatedAt", default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<crate::Timestamp>,
    /// Who last changed the version, as an email address.
    #[serde(rename = "updatedBy", default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// The reference to pull the built image by: registry, repository and tag.
    #[serde(rename = "pullUrl", default, skip_serializing_if = "Option::is_none")]
    pub pull_url: Option<String>,
    /// The size of the built image in bytes.
    #[serde(
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub size: Option<u64>,
    /// The labels of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<crate::Tag>>,
    /// Whether this is the newest version of its image.
    #[serde(rename = "isLatest", default, skip_serializing_if = "Option::is_none")]
    pub is_latest: Option<bool>,
    /// The name of the image this is a version of.
    #[serde(rename = "imageName", default, skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// What the image is for; seen in other letter case than elsewhere, such as `Workflow`.
    #[serde(rename = "imageType", default, skip_serializing_if = "Option::is_none")]
    pub image_type: Option<crate::ImageType>,
    /// What the version is built from, and how.
    #[serde(rename = "buildDetails", default, skip_serializing_if = "Option::is_none")]
    pub build_details: Option<crate::BuildDetails>,
}

impl ImageVersion {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `id`.
    #[must_use]
    pub fn id(mut self, value: impl Into<crate::Id>) -> Self {
        self.id = Some(value.into());
        self
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: impl Into<String>) -> Self {
        self.version = Some(value.into());
        self
    }

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }

    /// Sets `status`.
    #[must_use]
    pub fn status(mut self, value: impl Into<crate::ImageStatus>) -> Self {
        self.status = Some(value.into());
        self
    }

    /// Sets `last_build_status`.
    #[must_use]
    pub fn last_build_status(mut self, value: impl Into<crate::BuildStatus>) -> Self {
        self.last_build_status = Some(value.into());
        self
    }

    /// Sets `last_build_at`.
    #[must_use]
    pub fn last_build_at(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.last_build_at = Some(value.into());
        self
    }

    /// Sets `created_at`.
    #[must_use]
    pub fn created_at(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.created_at = Some(value.into());
        self
    }

    /// Sets `created_by`.
    #[must_use]
    pub fn created_by(mut self, value: impl Into<String>) -> Self {
        self.created_by = Some(value.into());
        self
    }

    /// Sets `updated_at`.
    #[must_use]
    pub fn updated_at(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.updated_at = Some(value.into());
        self
    }

    /// Sets `updated_by`.
    #[must_use]
    pub fn updated_by(mut self, value: impl Into<String>) -> Self {
        self.updated_by = Some(value.into());
        self
    }

    /// Sets `pull_url`.
    #[must_use]
    pub fn pull_url(mut self, value: impl Into<String>) -> Self {
        self.pull_url = Some(value.into());
        self
    }

    /// Sets `size`.
    #[must_use]
    pub fn size(mut self, value: u64) -> Self {
        self.size = Some(value);
        self
    }

    /// Sets `tags`.
    #[must_use]
    pub fn tags(mut self, values: impl IntoIterator<Item = crate::Tag>) -> Self {
        self.tags = Some(values.into_iter().collect());
        self
    }

    /// Sets `is_latest`.
    #[must_use]
    pub fn is_latest(mut self, value: bool) -> Self {
        self.is_latest = Some(value);
        self
    }

    /// Sets `image_name`.
    #[must_use]
    pub fn image_name(mut self, value: impl Into<String>) -> Self {
        self.image_name = Some(value.into());
        self
    }

    /// Sets `image_type`.
    #[must_use]
    pub fn image_type(mut self, value: impl Into<crate::ImageType>) -> Self {
        self.image_type = Some(value.into());
        self
    }

    /// Sets `build_details`.
    #[must_use]
    pub fn build_details(mut self, value: crate::BuildDetails) -> Self {
        self.build_details = Some(value);
        self
    }
}

/// One page of the list of versions of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListImageVersionsResponse {
    /// How many versions there are on all pages together.
    #[serde(
        rename = "versionCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub version_count: Option<u64>,
    /// The versions of this page.
    #[serde(default, deserialize_with = "crate::support::null_as_default")]
    pub versions: Vec<crate::ImageVersion>,
    /// How many pages there are; it can change from answer to answer.
    #[serde(
        rename = "pageCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_count: Option<u64>,
    /// The number of this page, counted from 1.
    #[serde(
        rename = "pageNumber",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_number: Option<u64>,
    /// How many versions a page holds at most.
    #[serde(
        rename = "pageSize",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

impl ListImageVersionsResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `version_count`.
    #[must_use]
    pub fn version_count(mut self, value: u64) -> Self {
        self.version_count = Some(value);
        self
    }

    /// Sets `versions`.
    #[must_use]
    pub fn versions(
        mut self,
        values: impl IntoIterator<Item = crate::ImageVersion>,
    ) -> Self {
        self.versions = values.into_iter().collect();
        self
    }

    /// Sets `page_count`.
    #[must_use]
    pub fn page_count(mut self, value: u64) -> Self {
        self.page_count = Some(value);
        self
    }

    /// Sets `page_number`.
    #[must_use]
    pub fn page_number(mut self, value: u64) -> Self {
        self.page_number = Some(value);
        self
    }

    /// Sets `page_size`.
    #[must_use]
    pub fn page_size(mut self, value: u64) -> Self {
        self.page_size = Some(value);
        self
    }
}

/// What creating a version sends, besides the artifact: each property is a field of the
/// multipart form.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateVersionBody {
    /// The name of the new version; the platform takes the next patch version of the latest when
    /// it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Free text about the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to build the version from, and how.
    #[serde(rename = "buildDetails", default, skip_serializing_if = "Option::is_none")]
    pub build_details: Option<crate::BuildDetails>,
    /// What to deploy again when the build has succeeded.
    #[serde(
        rename = "autodeployResources",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub autodeploy_resources: Option<Vec<crate::AutodeployResource>>,
}

impl CreateVersionBody {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: impl Into<String>) -> Self {
        self.version = Some(value.into());
        self
    }

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }

    /// Sets `build_details`.
    #[must_use]
    pub fn build_details(mut self, value: crate::BuildDetails) -> Self {
        self.build_details = Some(value);
        self
    }

    /// Sets `autodeploy_resources`.
    #[must_use]
    pub fn autodeploy_resources(
        mut self,
        values: impl IntoIterator<Item = crate::AutodeployResource>,
    ) -> Self {
        self.autodeploy_resources = Some(values.into_iter().collect());
        self
    }
}

/// What was made by creating a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateVersionResponse {
    /// The image the version belongs to.
    #[serde(rename = "imageId", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<crate::Id>,
    /// The new version.
    #[serde(rename = "versionId", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<crate::Id>,
    /// The build of the version, which goes on after the answer.
    #[serde(rename = "buildId", default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<crate::Id>,
    /// The deployment that follows the build, where one was asked for.
    #[serde(
        rename = "autodeploymentId",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub autodeployment_id: Option<crate::Id>,
}

impl CreateVersionResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `image_id`.
    #[must_use]
    pub fn image_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.image_id = Some(value.into());
        self
    }

    /// Sets `version_id`.
    #[must_use]
    pub fn version_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.version_id = Some(value.into());
        self
    }

    /// Sets `build_id`.
    #[must_use]
    pub fn build_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.build_id = Some(value.into());
        self
    }

    /// Sets `autodeployment_id`.
    #[must_use]
    pub fn autodeployment_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.autodeployment_id = Some(value.into());
        self
    }
}

/// What updating a version sends, besides the artifact: each property is a field of the
/// multipart form.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UpdateVersionBody {
    /// The new name of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Free text about the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to build the version from, and how.
    #[serde(rename = "buildDetails", default, skip_serializing_if = "Option::is_none")]
    pub build_details: Option<crate::BuildDetails>,
    /// What to deploy again when the build has succeeded.
    #[serde(
        rename = "autodeployResources",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub autodeploy_resources: Option<Vec<crate::AutodeployResource>>,
}

impl UpdateVersionBody {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: impl Into<String>) -> Self {
        self.version = Some(value.into());
        self
    }

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }

    /// Sets `build_details`.
    #[must_use]
    pub fn build_details(mut self, value: crate::BuildDetails) -> Self {
        self.build_details = Some(value);
        self
    }

    /// Sets `autodeploy_resources`.
    #[must_use]
    pub fn autodeploy_resources(
        mut self,
        values: impl IntoIterator<Item = crate::AutodeployResource>,
    ) -> Self {
        self.autodeploy_resources = Some(values.into_iter().collect());
        self
    }
}

/// What was made by updating a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UpdateVersionResponse {
    /// The image the version belongs to.
    #[serde(rename = "imageId", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<crate::Id>,
    /// The updated version.
    #[serde(rename = "versionId", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<crate::Id>,
    /// The new build of the version, where the update started one.
    #[serde(rename = "buildId", default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<crate::Id>,
    /// The deployment that follows the build, where one was asked for.
    #[serde(
        rename = "autodeploymentId",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub autodeployment_id: Option<crate::Id>,
}

impl UpdateVersionResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `image_id`.
    #[must_use]
    pub fn image_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.image_id = Some(value.into());
        self
    }

    /// Sets `version_id`.
    #[must_use]
    pub fn version_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.version_id = Some(value.into());
        self
    }

    /// Sets `build_id`.
    #[must_use]
    pub fn build_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.build_id = Some(value.into());
        self
    }

    /// Sets `autodeployment_id`.
    #[must_use]
    pub fn autodeployment_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.autodeployment_id = Some(value.into());
        self
    }
}
