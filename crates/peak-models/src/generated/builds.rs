// Generated from schemas/builds.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Builds of image versions: what goes into them, and how they stand.

/// How a build stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildStatus {
    /// `building`: Waiting or running.
    Building,
    /// `failed`: Ended without an image.
    Failed,
    /// `success`: Ended with an image.
    Success,
    /// `stopping`: Asked to stop, and still running.
    Stopping,
    /// `stopped`: Ended on request, without an image.
    Stopped,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl BuildStatus {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[
        Self::Building,
        Self::Failed,
        Self::Success,
        Self::Stopping,
        Self::Stopped,
    ];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Building => "building",
            Self::Failed => "failed",
            Self::Success => "success",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(BuildStatus);

/// Where a build takes its files from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildSourceKind {
    /// `upload`: From an artifact that is sent with the request; the default.
    Upload,
    /// `github`: From a repository on GitHub.
    Github,
    /// `dockerfile`: From nowhere: there is only the text of a Dockerfile.
    Dockerfile,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl BuildSourceKind {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[Self::Upload, Self::Github, Self::Dockerfile];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Upload => "upload",
            Self::Github => "github",
            Self::Dockerfile => "dockerfile",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(BuildSourceKind);

/// What kind of thing is deployed again after a build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntityType {
    /// `workflow`: A workflow.
    Workflow,
    /// `workspace`: A workspace.
    Workspace,
    /// `api`: An API.
    Api,
    /// `webapp`: A web application.
    Webapp,
    /// Any other value, with its text as it came.
    Unknown(String),
}

impl EntityType {
    /// The values known today, in the order of the schema.
    pub const KNOWN: &'static [Self] = &[
        Self::Workflow,
        Self::Workspace,
        Self::Api,
        Self::Webapp,
    ];

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Workflow => "workflow",
            Self::Workspace => "workspace",
            Self::Api => "api",
            Self::Webapp => "webapp",
            Self::Unknown(text) => text,
        }
    }
}

crate::support::open_enum::implement!(EntityType);

/// A build argument: the value of an `ARG` of the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BuildArgument {
    /// The argument's name.
    pub name: String,
    /// The argument's value. It is not a secret: it is shown with the version and kept in the
    /// image.
    pub value: String,
}

impl BuildArgument {
    /// With what is required; nothing else is set yet.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// Sets `name`.
    #[must_use]
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = value.into();
        self
    }

    /// Sets `value`.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }
}

/// Something to deploy again when a build has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AutodeployResource {
    /// Its identifier.
    #[serde(rename = "entityId")]
    pub entity_id: crate::Id,
    /// What kind of thing it is.
    #[serde(rename = "entityType")]
    pub entity_type: crate::EntityType,
}

impl AutodeployResource {
    /// With what is required; nothing else is set yet.
    pub fn new(
        entity_id: impl Into<crate::Id>,
        entity_type: impl Into<crate::EntityType>,
    ) -> Self {
        Self {
            entity_id: entity_id.into(),
            entity_type: entity_type.into(),
        }
    }

    /// Sets `entity_id`.
    #[must_use]
    pub fn entity_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.entity_id = value.into();
        self
    }

    /// Sets `entity_type`.
    #[must_use]
    pub fn entity_type(mut self, value: impl Into<crate::EntityType>) -> Self {
        self.entity_type = value.into();
        self
    }
}

/// What a version is built from, and how; sent with requests and shown with versions.
///
/// Which properties go together depends on `source`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BuildDetails {
    /// Where the build takes its files from; `upload` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<crate::BuildSourceKind>,
    /// Whether layers of earlier builds may be used again; the platform takes true when it is
    /// absent.
    #[serde(rename = "useCache", default, skip_serializing_if = "Option::is_none")]
    pub use_cache: Option<bool>,
    /// Values for the `ARG` instructions of the Dockerfile.
    #[serde(rename = "buildArguments", default, skip_serializing_if = "Option::is_none")]
    pub build_arguments: Option<Vec<crate::BuildArgument>>,
    /// The names, not the values, of the platform's secrets that the build can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Of `upload` and `github`: the path of the Dockerfile; `Dockerfile` when absent.
    #[serde(rename = "dockerfilePath", default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_path: Option<String>,
    /// Of `upload` and `github`: the directory that is the build's root; the root of the files
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Of `github`: the URL of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Of `github`: the branch to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Of `github`: the access token to read the repository with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<crate::Secret>,
    /// Of `dockerfile`: the text of the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Only in answers: what the version was built from.
    #[serde(rename = "builtFrom", default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<String>,
    /// Only in answers: what the version was cloned from.
    #[serde(rename = "clonedFrom", default, skip_serializing_if = "Option::is_none")]
    pub cloned_from: Option<String>,
    /// Only in answers: the URL of the commit that was built.
    #[serde(
        rename = "githubCommitUrl",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub github_commit_url: Option<String>,
}

impl BuildDetails {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `source`.
    #[must_use]
    pub fn source(mut self, value: impl Into<crate::BuildSourceKind>) -> Self {
        self.source = Some(value.into());
        self
    }

    /// Sets `use_cache`.
    #[must_use]
    pub fn use_cache(mut self, value: bool) -> Self {
        self.use_cache = Some(value);
        self
    }

    /// Sets `build_arguments`.
    #[must_use]
    pub fn build_arguments(
        mut self,
        values: impl IntoIterator<Item = crate::BuildArgument>,
    ) -> Self {
        self.build_arguments = Some(values.into_iter().collect());
        self
    }

    /// Sets `secrets`.
    #[must_use]
    pub fn secrets(
        mut self,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.secrets = Some(values.into_iter().map(Into::into).collect());
        self
    }

    /// Sets `dockerfile_path`.
    #[must_use]
    pub fn dockerfile_path(mut self, value: impl Into<String>) -> Self {
        self.dockerfile_path = Some(value.into());
        self
    }

    /// Sets `context`.
    #[must_use]
    pub fn context(mut self, value: impl Into<String>) -> Self {
        self.context = Some(value.into());
        self
    }

    /// Sets `repository`.
    #[must_use]
    pub fn repository(mut self, value: impl Into<String>) -> Self {
        self.repository = Some(value.into());
        self
    }

    /// Sets `branch`.
    #[must_use]
    pub fn branch(mut self, value: impl Into<String>) -> Self {
        self.branch = Some(value.into());
        self
    }

    /// Sets `token`.
    #[must_use]
    pub fn token(mut self, value: impl Into<crate::Secret>) -> Self {
        self.token = Some(value.into());
        self
    }

    /// Sets `dockerfile`.
    #[must_use]
    pub fn dockerfile(mut self, value: impl Into<String>) -> Self {
        self.dockerfile = Some(value.into());
        self
    }

    /// Sets `built_from`.
    #[must_use]
    pub fn built_from(mut self, value: impl Into<String>) -> Self {
        self.built_from = Some(value.into());
        self
    }

    /// Sets `cloned_from`.
    #[must_use]
    pub fn cloned_from(mut self, value: impl Into<String>) -> Self {
        self.cloned_from = Some(value.into());
        self
    }

    /// Sets `github_commit_url`.
    #[must_use]
    pub fn github_commit_url(mut self, value: impl Into<String>) -> Self {
        self.github_commit_url = Some(value.into());
        self
    }
}

/// A build of a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Build {
    /// The build's identifier.
    #[serde(rename = "buildId", default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<crate::Id>,
    /// The identifier of the version that is built.
    #[serde(rename = "versionId", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<crate::Id>,
    /// The name of the version that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the build stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<crate::BuildStatus>,
    /// When the build was started.
    #[serde(rename = "startedAt", default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<crate::Timestamp>,
    /// When the build ended; absent while it runs.
    #[serde(rename = "finishedAt", default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<crate::Timestamp>,
    /// Whether layers of earlier builds may be used again.
    #[serde(rename = "useCache", default, skip_serializing_if = "Option::is_none")]
    pub use_cache: Option<bool>,
}

impl Build {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `build_id`.
    #[must_use]
    pub fn build_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.build_id = Some(value.into());
        self
    }

    /// Sets `version_id`.
    #[must_use]
    pub fn version_id(mut self, value: impl Into<crate::Id>) -> Self {
        self.version_id = Some(value.into());
        self
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, value: impl Into<String>) -> Self {
        self.version = Some(value.into());
        self
    }

    /// Sets `status`.
    #[must_use]
    pub fn status(mut self, value: impl Into<crate::BuildStatus>) -> Self {
        self.status = Some(value.into());
        self
    }

    /// Sets `started_at`.
    #[must_use]
    pub fn started_at(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.started_at = Some(value.into());
        self
    }

    /// Sets `finished_at`.
    #[must_use]
    pub fn finished_at(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.finished_at = Some(value.into());
        self
    }

    /// Sets `use_cache`.
    #[must_use]
    pub fn use_cache(mut self, value: bool) -> Self {
        self.use_cache = Some(value);
        self
    }
}

/// One page of the list of builds of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListImageBuildsResponse {
    /// How many builds there are on all pages together.
    #[serde(
        rename = "buildCount",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub build_count: Option<u64>,
    /// The builds of this page, latest first.
    #[serde(default, deserialize_with = "crate::support::null_as_default")]
    pub builds: Vec<crate::Build>,
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
    /// How many builds a page holds at most.
    #[serde(
        rename = "pageSize",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

impl ListImageBuildsResponse {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `build_count`.
    #[must_use]
    pub fn build_count(mut self, value: u64) -> Self {
        self.build_count = Some(value);
        self
    }

    /// Sets `builds`.
    #[must_use]
    pub fn builds(mut self, values: impl IntoIterator<Item = crate::Build>) -> Self {
        self.builds = values.into_iter().collect();
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
