//! The images that the Engine has: asking for them, naming them, removing them.

use std::collections::BTreeMap;

use http::Method;
use peak_http::Body;
use peak_oci::{Digest, Reference};
use serde::Deserialize;

use crate::call::{Call, in_path, tagged};
use crate::engine::{Engine, MAX_ANSWER, null_is_default};
use crate::error::EngineError;

/// Most bytes of the list of all images.
const MAX_LIST: u64 = 64 * 1024 * 1024;

/// An image that the Engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct ImageInspect {
    /// Its identifier, the digest of its configuration; with Docker's containerd store that of its manifest.
    pub id: String,
    /// Its names with tags, in the familiar form: `busybox:1.36`.
    #[serde(deserialize_with = "null_is_default")]
    pub repo_tags: Vec<String>,
    /// The digests by which registries know it: `registry.example/app@sha256:…`.
    #[serde(deserialize_with = "null_is_default")]
    pub repo_digests: Vec<String>,
    /// When it was made, as RFC 3339 has it; empty if that is not known.
    #[serde(deserialize_with = "null_is_default")]
    pub created: String,
    /// Its size without compression, in bytes.
    pub size: u64,
    /// The system it is for: `linux`.
    pub os: String,
    /// The processor it is for: `amd64`.
    pub architecture: String,
    /// The variant of the processor: `v8`; empty if there is none.
    pub variant: String,
    /// What it consists of.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// How containers of it are started.
    #[serde(deserialize_with = "null_is_default")]
    pub config: ImageConfig,
}

/// What an image consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct RootFs {
    /// The digests of its layers without compression, the lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<String>,
}

/// How containers of an image are started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct ImageConfig {
    /// Variables: `NAME=value`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// Arguments behind the entry point.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// The program that is started.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Who it runs as.
    pub user: String,
    /// Where it runs.
    pub working_dir: String,
}

impl ImageInspect {
    /// Its identifier as a digest; `None` if the Engine has another form of them.
    pub fn digest(&self) -> Option<Digest> {
        self.id.parse().ok()
    }
}

/// An image in the list of all images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct ImageSummary {
    /// Its identifier, the digest of its configuration; with Docker's containerd store that of its manifest.
    pub id: String,
    /// Its names with tags; `<none>:<none>` from old Engines where there is none.
    #[serde(deserialize_with = "null_is_default")]
    pub repo_tags: Vec<String>,
    /// The digests by which registries know it.
    #[serde(deserialize_with = "null_is_default")]
    pub repo_digests: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Its size without compression, in bytes.
    pub size: u64,
}

/// How [`Engine::remove`] removes an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    force: bool,
    keep_parents: bool,
}

impl RemoveOptions {
    /// Only what nothing uses, and the parents that nobody named with it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also where stopped containers use it; an identifier with all names that it has.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Leaves parents without a name there.
    #[must_use]
    pub fn keep_parents(mut self, keep: bool) -> Self {
        self.keep_parents = keep;
        self
    }
}

/// What [`Engine::remove`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// The image or a layer with this identifier is gone.
    Deleted(String),
}

impl Engine {
    /// The image of this name or identifier.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if there is none; [`EngineError::InvalidName`].
    pub async fn inspect(&self, name: &str) -> Result<ImageInspect, EngineError> {
        let path = format!("images/{}/json", in_path(name)?);
        let what = format!("image {name}");
        let call = Call::get("docker_inspect_image", &*what, path);
        let image: ImageInspect = self.json(call, MAX_ANSWER).await?;
        if image.id.is_empty() {
            return Err(EngineError::Unexpected {
                what,
                message: "the image has no identifier".to_owned(),
            });
        }
        Ok(image)
    }

    /// All images that have a name, or that nothing is built upon.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let call = Call::get("docker_list_images", "list of images", "images/json");
        self.json(call, MAX_LIST).await
    }

    /// Gives the image of the name or identifier `source` one name more, which is taken from the image that has it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if there is no such image; [`EngineError::InvalidName`] if `target` has no tag, or a
    /// digest.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<(), EngineError> {
        let (repository, tag) = tagged(target)?;
        let path = format!("images/{}/tag", in_path(source)?);
        let call = Call::post(
            "docker_tag_image",
            format!("tag {source} as {target}"),
            path,
        )
        .query("repo", repository)
        .query("tag", tag);
        self.done(call).await.map(drop)
    }

    /// Removes a name; and with the last one, or by its identifier, the image.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if there is no such image; [`EngineError::Conflict`] if it is in use, or an identifier
    /// has several names.
    pub async fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
    ) -> Result<Vec<Removed>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Line {
            untagged: Option<String>,
            deleted: Option<String>,
        }

        let path = format!("images/{}", in_path(name)?);
        let what = format!("removal of {name}");
        let call = Call::new("docker_remove_image", what, Method::DELETE, path)
            .switch("force", options.force)
            .switch("noprune", options.keep_parents);
        let body = self.done(call.clone()).await?;
        let lines: Option<Vec<Line>> =
            serde_json::from_slice(&body).map_err(|error| EngineError::Unexpected {
                what: call.what,
                message: error.to_string(),
            })?;
        let removed = lines.into_iter().flatten().flat_map(|line| {
            let untagged = line.untagged.map(Removed::Untagged);
            untagged
                .into_iter()
                .chain(line.deleted.map(Removed::Deleted))
        });
        Ok(removed.collect())
    }

    /// Does something that the Engine may have to work for, and gives what it says about it.
    async fn done(&self, call: Call) -> Result<bytes::Bytes, EngineError> {
        let connection = self.connection().await?;
        let patience = self.patience(&connection, &call.what);
        let response = Box::pin(self.begin(&connection, &call, Body::empty(), &patience)).await?;
        let body = patience.wait(response.bytes(MAX_ANSWER)).await?;
        body.map_err(|error| EngineError::of_transport(&call.what, error))
    }
}
