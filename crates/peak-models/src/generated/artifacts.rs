// Generated from schemas/artifacts.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Artifacts: versioned archives of files, under `artifacts/api/v1/artifacts/`.

/// A version of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ArtifactVersion {
    /// The version's number, counted from 1.
    #[serde(
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<u64>,
    /// When the version was created.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<crate::Timestamp>,
    /// Who created the version, as an email address.
    #[serde(rename = "createdBy", default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl ArtifactVersion {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: u64) -> Self {
        self.version = Some(value);
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
}

/// An artifact; where it is described on its own, with a page of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Artifact {
    /// The artifact's identifier, a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<crate::Id>,
    /// The artifact's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free text about the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When the artifact was created.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<crate::Timestamp>,
    /// Who created the artifact, as an email address.
    #[serde(rename = "createdBy", default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When the artifact was last changed.
    #[serde(rename = "updatedAt", default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<crate::Timestamp>,
    /// Who last changed the artifact, as an email address.
    #[serde(rename = "updatedBy", default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// How many versions there are on all pages together.
    #[serde(
        rename = "versionCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub version_count: Option<u64>,
    /// The versions of this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<crate::ArtifactVersion>>,
    /// How many pages of versions there are; it can change from answer to answer.
    #[serde(
        rename = "pageCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_count: Option<u64>,
    /// The number of this page of versions, counted from 1.
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

impl Artifact {
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

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
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
        values: impl IntoIterator<Item = crate::ArtifactVersion>,
    ) -> Self {
        self.versions = Some(values.into_iter().collect());
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

/// One page of the list of artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListArtifactsResponse {
    /// How many artifacts there are on all pages together.
    #[serde(
        rename = "artifactCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_count: Option<u64>,
    /// The artifacts of this page.
    #[serde(default, deserialize_with = "crate::support::null_as_default")]
    pub artifacts: Vec<crate::Artifact>,
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
    /// How many artifacts a page holds at most.
    #[serde(
        rename = "pageSize",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

impl ListArtifactsResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `artifact_count`.
    #[must_use]
    pub fn artifact_count(mut self, value: u64) -> Self {
        self.artifact_count = Some(value);
        self
    }

    /// Sets `artifacts`.
    #[must_use]
    pub fn artifacts(
        mut self,
        values: impl IntoIterator<Item = crate::Artifact>,
    ) -> Self {
        self.artifacts = values.into_iter().collect();
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

/// What creating an artifact sends, besides the archive: each property is a field of the
/// multipart form.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateArtifactBody {
    /// The name of the new artifact.
    pub name: String,
    /// Free text about the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the artifact was made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether the platform scans the archive for vulnerabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<bool>,
    /// Whether the platform validates the archive; works only where `source` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<bool>,
}

impl CreateArtifactBody {
    /// With what is required; nothing else is set yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            source: None,
            scan: None,
            validate: None,
        }
    }

    /// Sets `name`.
    #[must_use]
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = value.into();
        self
    }

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }

    /// Sets `source`.
    #[must_use]
    pub fn source(mut self, value: impl Into<String>) -> Self {
        self.source = Some(value.into());
        self
    }

    /// Sets `scan`.
    #[must_use]
    pub fn scan(mut self, value: bool) -> Self {
        self.scan = Some(value);
        self
    }

    /// Sets `validate`.
    #[must_use]
    pub fn validate(mut self, value: bool) -> Self {
        self.validate = Some(value);
        self
    }
}

/// What was made by creating an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateArtifactResponse {
    /// The new artifact, a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<crate::Id>,
    /// The number of its first version.
    #[serde(
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<u64>,
}

impl CreateArtifactResponse {
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
    pub fn version(mut self, value: u64) -> Self {
        self.version = Some(value);
        self
    }
}

/// What creating a version of an artifact sends, besides the archive: each property is a
/// field of the multipart form.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateArtifactVersionBody {
    /// Whether the platform scans the archive for vulnerabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<bool>,
    /// Whether the platform validates the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<bool>,
}

impl CreateArtifactVersionBody {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `scan`.
    #[must_use]
    pub fn scan(mut self, value: bool) -> Self {
        self.scan = Some(value);
        self
    }

    /// Sets `validate`.
    #[must_use]
    pub fn validate(mut self, value: bool) -> Self {
        self.validate = Some(value);
        self
    }
}

/// What was made by creating a version of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CreateArtifactVersionResponse {
    /// The number of the new version.
    #[serde(
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<u64>,
}

impl CreateArtifactVersionResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: u64) -> Self {
        self.version = Some(value);
        self
    }
}

/// What updating an artifact sends, as JSON; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UpdateArtifactBody {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl UpdateArtifactBody {
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

    /// Sets `description`.
    #[must_use]
    pub fn description(mut self, value: impl Into<String>) -> Self {
        self.description = Some(value.into());
        self
    }
}
