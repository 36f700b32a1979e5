// Generated from schemas/images.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Images: what is listed, described and created under `image-management/api/v2/images/`.

/// What an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageType {
    /// `workflow`: Runs as a step of a workflow.
    Workflow,
    /// `workspace-r`: A workspace with R.
    WorkspaceR,
    /// `workspace-python`: A workspace with Python.
    WorkspacePython,
    /// `webapp`: Serves a web application.
    Webapp,
    /// `api`: Serves an API.
    Api,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl ImageType {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[
        Self::Workflow,
        Self::WorkspaceR,
        Self::WorkspacePython,
        Self::Webapp,
        Self::Api,
    ];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Workflow => "workflow",
            Self::WorkspaceR => "workspace-r",
            Self::WorkspacePython => "workspace-python",
            Self::Webapp => "webapp",
            Self::Api => "api",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(ImageType);

/// Who an image belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// `global`: Provided by the platform for every tenant.
    Global,
    /// `custom`: Made by the tenant.
    Custom,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl Scope {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[Self::Global, Self::Custom];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Global => "global",
            Self::Custom => "custom",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(Scope);

/// An image: a name with a series of versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Image {
    /// The image's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<crate::Id>,
    /// The image's name, unique within the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the image is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<crate::ImageType>,
    /// Who the image belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<crate::Scope>,
    /// Free text about the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The newest version.
    #[serde(rename = "latestVersion", default, skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<crate::ImageVersion>,
    /// When the image was created.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<crate::Timestamp>,
    /// Who created the image, as an email address.
    #[serde(rename = "createdBy", default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When the image was last changed.
    #[serde(rename = "updatedAt", default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<crate::Timestamp>,
    /// Who last changed the image, as an email address.
    #[serde(rename = "updatedBy", default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
}

impl Image {
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

    /// Sets `name`.
    #[must_use]
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = Some(value.into());
        self
    }

    /// Sets `type`.
    #[must_use]
    pub fn r#type(mut self, value: impl Into<crate::ImageType>) -> Self {
        self.r#type = Some(value.into());
        self
    }

    /// Sets `scope`.
    #[must_use]
    pub fn scope(mut self, value: impl Into<crate::Scope>) -> Self {
        self.scope = Some(value.into());
        self
    }

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }

    /// Sets `latest_version`.
    #[must_use]
    pub fn latest_version(mut self, value: crate::ImageVersion) -> Self {
        self.latest_version = Some(value);
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
}

/// One page of the list of images.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListImagesResponse {
    /// How many images there are on all pages together.
    #[serde(
        rename = "imageCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub image_count: Option<u64>,
    /// The images of this page.
    #[serde(default, deserialize_with = "crate::support::null_as_default")]
    pub images: Vec<crate::Image>,
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
    /// How many images a page holds at most.
    #[serde(
        rename = "pageSize",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

impl ListImagesResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `image_count`.
    #[must_use]
    pub fn image_count(mut self, value: u64) -> Self {
        self.image_count = Some(value);
        self
    }

    /// Sets `images`.
    #[must_use]
    pub fn images(mut self, values: impl IntoIterator<Item = crate::Image>) -> Self {
        self.images = values.into_iter().collect();
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

/// What creating an image sends, besides the artifact: each property is a field of the
/// multipart form.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateImageBody {
    /// The name of the new image.
    pub name: String,
    /// What the image is for.
    pub r#type: crate::ImageType,
    /// The name of the first version; the platform takes `0.0.1` when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Free text about the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to build the first version from, and how.
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

impl CreateImageBody {
    /// With what is required; nothing else is set yet.
    pub fn new(name: impl Into<String>, r#type: impl Into<crate::ImageType>) -> Self {
        Self {
            name: name.into(),
            r#type: r#type.into(),
            version: None,
            description: None,
            build_details: None,
            autodeploy_resources: None,
        }
    }

    /// Sets `name`.
    #[must_use]
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = value.into();
        self
    }

    /// Sets `type`.
    #[must_use]
    pub fn r#type(mut self, value: impl Into<crate::ImageType>) -> Self {
        self.r#type = value.into();
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

/// What was made by creating an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateImageResponse {
    /// The new image.
    #[serde(rename = "imageId", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<crate::Id>,
    /// Its first version.
    #[serde(rename = "versionId", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<crate::Id>,
    /// The build of that version, which goes on after the answer.
    #[serde(rename = "buildId", default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<crate::Id>,
}

impl CreateImageResponse {
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
}
