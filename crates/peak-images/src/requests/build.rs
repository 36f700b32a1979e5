//! What a version is built from, and how.

use peak_models::{BuildArgument, BuildDetails, BuildSourceKind, Secret};
use peak_platform::{Artifact, Error, Form};
use serde::Serialize;

/// Where a build takes its files from. Each kind has the parameters that it needs and no others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BuildSource {
    /// A packed directory, sent with the request.
    Upload(Upload),
    /// A repository on GitHub, fetched by the platform.
    Github(Github),
    /// No files, only the text of a Dockerfile.
    Dockerfile(Dockerfile),
}

/// A build from a packed directory.
#[derive(Debug, Clone)]
pub struct Upload {
    artifact: Artifact,
    dockerfile_path: Option<String>,
    context: Option<String>,
}

impl Upload {
    /// A build from this archive, by the `Dockerfile` at its root.
    pub fn new(artifact: Artifact) -> Self {
        Self {
            artifact,
            dockerfile_path: None,
            context: None,
        }
    }

    /// Path of the Dockerfile in the archive; `Dockerfile` unless given.
    #[must_use]
    pub fn dockerfile_path(mut self, path: impl Into<String>) -> Self {
        self.dockerfile_path = Some(path.into());
        self
    }

    /// The directory in the archive that is the build's root; the archive's own unless given.
    #[must_use]
    pub fn context(mut self, path: impl Into<String>) -> Self {
        self.context = Some(path.into());
        self
    }
}

/// A build from a repository on GitHub.
#[derive(Debug, Clone)]
pub struct Github {
    repository: String,
    branch: String,
    token: Option<Secret>,
    dockerfile_path: Option<String>,
    context: Option<String>,
}

impl Github {
    /// A build from a branch of a repository.
    pub fn new(repository: impl Into<String>, branch: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            branch: branch.into(),
            token: None,
            dockerfile_path: None,
            context: None,
        }
    }

    /// The access token that reads the repository; needed unless it is public.
    #[must_use]
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Path of the Dockerfile in the repository; `Dockerfile` unless given.
    #[must_use]
    pub fn dockerfile_path(mut self, path: impl Into<String>) -> Self {
        self.dockerfile_path = Some(path.into());
        self
    }

    /// The directory in the repository that is the build's root; the repository's own unless given.
    #[must_use]
    pub fn context(mut self, path: impl Into<String>) -> Self {
        self.context = Some(path.into());
        self
    }
}

/// A build from the text of a Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    text: String,
}

impl Dockerfile {
    /// A build by this Dockerfile, without any files to copy from.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl From<Upload> for BuildSource {
    fn from(upload: Upload) -> Self {
        Self::Upload(upload)
    }
}

impl From<Github> for BuildSource {
    fn from(github: Github) -> Self {
        Self::Github(github)
    }
}

impl From<Dockerfile> for BuildSource {
    fn from(dockerfile: Dockerfile) -> Self {
        Self::Dockerfile(dockerfile)
    }
}

/// A build: its source, and what holds for every kind of source.
#[derive(Debug, Clone)]
pub struct Build {
    source: BuildSource,
    use_cache: Option<bool>,
    arguments: Vec<BuildArgument>,
    secrets: Vec<String>,
}

impl<S: Into<BuildSource>> From<S> for Build {
    fn from(source: S) -> Self {
        Self::new(source)
    }
}

impl Build {
    /// A build from this source.
    pub fn new(source: impl Into<BuildSource>) -> Self {
        Self {
            source: source.into(),
            use_cache: None,
            arguments: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Whether layers of earlier builds may be used again; the platform does so unless told.
    #[must_use]
    pub fn use_cache(mut self, yes: bool) -> Self {
        self.use_cache = Some(yes);
        self
    }

    /// Adds the value of an `ARG` of the Dockerfile. It is no secret: it is shown with the version.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments
            .push(BuildArgument::new(name.into(), value.into()));
        self
    }

    /// Adds the name of a secret of the platform that the build may read.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>) -> Self {
        self.secrets.push(name.into());
        self
    }

    /// As the platform reads it.
    pub(crate) fn details(&self) -> BuildDetails {
        let mut details = BuildDetails::new();
        details.use_cache = self.use_cache;
        details.build_arguments = given(&self.arguments);
        details.secrets = given(&self.secrets);
        match &self.source {
            BuildSource::Upload(upload) => {
                details.source = Some(BuildSourceKind::Upload);
                details.dockerfile_path.clone_from(&upload.dockerfile_path);
                details.context.clone_from(&upload.context);
            }
            BuildSource::Github(github) => {
                details.source = Some(BuildSourceKind::Github);
                details.repository = Some(github.repository.clone());
                details.branch = Some(github.branch.clone());
                details.token.clone_from(&github.token);
                details.dockerfile_path.clone_from(&github.dockerfile_path);
                details.context.clone_from(&github.context);
            }
            BuildSource::Dockerfile(dockerfile) => {
                details.source = Some(BuildSourceKind::Dockerfile);
                details.dockerfile = Some(dockerfile.text.clone());
            }
        }
        details
    }

    pub(crate) fn artifact(&self) -> Option<&Artifact> {
        match &self.source {
            BuildSource::Upload(upload) => Some(&upload.artifact),
            BuildSource::Github(_) | BuildSource::Dockerfile(_) => None,
        }
    }
}

/// A list that was given, or nothing to send.
pub(crate) fn given<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// The form of a body and of the archive that goes with it. The file comes last, so that the
/// service knows what it is for when it arrives.
pub(crate) fn form<T: Serialize + ?Sized>(
    body: &T,
    artifact: Option<&Artifact>,
) -> Result<Form, Error> {
    let form = Form::of(body)?;
    Ok(match artifact {
        Some(artifact) => form.artifact(artifact),
        None => form,
    })
}
