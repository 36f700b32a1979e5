//! Image configs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::digest::Digest;
use crate::json::{
    Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde, to_bytes,
};
use crate::manifest::{ManifestError, parse_document};
use crate::platform::Platform;
use crate::raw::Raw;

/// The largest config that is read, in bytes: 8 MiB.
pub const MAX_CONFIG_SIZE: u64 = 8 * 1024 * 1024;

/// The config of a runnable image (image-spec, config.md), of OCI or of Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// The processor architecture.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// The version of the operating system, for Windows.
    pub os_version: Option<String>,
    /// Features of the operating system that are needed, for Windows.
    pub os_features: Vec<String>,
    /// The variant of the architecture.
    pub variant: Option<String>,
    /// How a container is run.
    pub config: Option<ContainerConfig>,
    /// The uncompressed layers.
    pub rootfs: RootFs,
    /// How each layer came to be.
    pub history: Vec<History>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl ImageConfig {
    /// The config of an image for `platform` with these uncompressed layers, the base first.
    pub fn new(platform: &Platform, diff_ids: Vec<Digest>) -> Self {
        Self {
            created: None,
            author: None,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: platform.os_features.clone(),
            variant: platform.variant.clone(),
            config: None,
            rootfs: RootFs::new(diff_ids),
            history: Vec::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// Reads a config and keeps its bytes.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`] or [`ManifestError::Json`].
    pub fn parse(bytes: Bytes) -> Result<Raw<Self>, ManifestError> {
        parse_document(bytes, MAX_CONFIG_SIZE)
    }

    /// Writes it as compact JSON: known members in a fixed order, then the unknown ones as they came.
    ///
    /// # Errors
    /// [`ManifestError`] when what was put together is no config that could be read again.
    pub fn to_raw(&self) -> Result<Raw<Self>, ManifestError> {
        Self::parse(to_bytes(self).into())
    }

    /// How the image came to be, step by step, the first first, each with the layer that it made.
    ///
    /// `None` where that is not known: the history has not one step for each layer, as with images whose layers were
    /// squashed or whose builder wrote no history.
    ///
    /// ```
    /// use peak_oci::{Digest, History, ImageConfig, Platform};
    /// let diff_ids = vec![Digest::sha256_of(b"base"), Digest::sha256_of(b"program")];
    /// let mut config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids);
    /// config.history = vec![History::new("FROM"), History::empty("ENV A=b"), History::new("COPY")];
    /// let layers: Vec<_> = config.steps().unwrap_or_default().iter().map(|step| step.layer).collect();
    /// assert_eq!(layers, [Some(0), None, Some(1)]);
    /// ```
    pub fn steps(&self) -> Option<Vec<Step<'_>>> {
        let mut layers = self.rootfs.diff_ids.iter().enumerate();
        let mut steps = Vec::with_capacity(self.history.len());
        for history in &self.history {
            let layer = if history.empty_layer {
                None
            } else {
                Some(layers.next()?)
            };
            steps.push(Step {
                history,
                layer: layer.map(|(index, _)| index),
                diff_id: layer.map(|(_, diff_id)| diff_id),
            });
        }
        layers.next().is_none().then_some(steps)
    }

    /// What the image is for; as written, so not always [normalised](Platform::normalized).
    pub fn platform(&self) -> Platform {
        let mut platform = Platform::new(&self.os, &self.architecture);
        platform.variant.clone_from(&self.variant);
        platform.os_version.clone_from(&self.os_version);
        platform.os_features.clone_from(&self.os_features);
        platform
    }
}

/// A step of [`ImageConfig::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// What was done.
    pub history: &'a History,
    /// The number of the layer that it made, from 0: that of the manifest's `layers` and of `diff_ids`.
    pub layer: Option<usize>,
    /// The digest of that layer, uncompressed.
    pub diff_id: Option<&'a Digest>,
}

/// How a container of the image is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// The user, and the group after a colon.
    pub user: Option<String>,
    /// Ports that the program listens on: `80`, `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// The environment, each `NAME=value`.
    pub env: Vec<String>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments of the entrypoint, or the program where there is none.
    pub cmd: Option<Vec<String>>,
    /// Directories that hold data of the container.
    pub volumes: BTreeSet<String>,
    /// The current directory of the program.
    pub working_dir: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program.
    pub stop_signal: Option<String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl ContainerConfig {
    /// A config that says nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The uncompressed layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootFs {
    /// Always `layers`.
    pub kind: String,
    /// The digest of each uncompressed layer, the base first.
    pub diff_ids: Vec<Digest>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl RootFs {
    /// The only kind there is.
    const LAYERS: &'static str = "layers";

    /// These layers, the base first.
    pub fn new(diff_ids: Vec<Digest>) -> Self {
        Self {
            kind: Self::LAYERS.to_owned(),
            diff_ids,
            unknown: UnknownFields::default(),
        }
    }
}

/// How one layer came to be, or one setting that has no layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// Whether there is no layer for it.
    pub empty_layer: bool,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl History {
    /// An entry for a command that made a layer.
    pub fn new(created_by: impl Into<String>) -> Self {
        Self {
            created_by: Some(created_by.into()),
            ..Self::default()
        }
    }

    /// An entry for a command that made no layer.
    pub fn empty(created_by: impl Into<String>) -> Self {
        Self {
            empty_layer: true,
            ..Self::new(created_by)
        }
    }
}

impl FromJson for ImageConfig {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::of(value)?;
        Ok(Self {
            created: fields.optional("created")?,
            author: fields.optional("author")?,
            architecture: fields.required("architecture")?,
            os: fields.required("os")?,
            os_version: fields.optional("os.version")?,
            os_features: fields.or_default("os.features")?,
            variant: fields.optional("variant")?,
            config: fields.optional("config")?,
            rootfs: fields.required("rootfs")?,
            history: fields.or_default("history")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for ImageConfig {
    fn to_json(&self) -> Json {
        Builder::new()
            .optional("created", self.created.as_ref())
            .optional("author", self.author.as_ref())
            .member("architecture", &self.architecture)
            .member("os", &self.os)
            .optional("os.version", self.os_version.as_ref())
            .unless_default("os.features", &self.os_features)
            .optional("variant", self.variant.as_ref())
            .optional("config", self.config.as_ref())
            .member("rootfs", &self.rootfs)
            .unless_default("history", &self.history)
            .finish(&self.unknown)
    }
}

impl FromJson for ContainerConfig {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::of(value)?;
        Ok(Self {
            user: fields.optional("User")?,
            exposed_ports: fields.or_default("ExposedPorts")?,
            env: fields.or_default("Env")?,
            entrypoint: fields.optional("Entrypoint")?,
            cmd: fields.optional("Cmd")?,
            volumes: fields.or_default("Volumes")?,
            working_dir: fields.optional("WorkingDir")?,
            labels: fields.or_default("Labels")?,
            stop_signal: fields.optional("StopSignal")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for ContainerConfig {
    fn to_json(&self) -> Json {
        Builder::new()
            .optional("User", self.user.as_ref())
            .unless_default("ExposedPorts", &self.exposed_ports)
            .unless_default("Env", &self.env)
            .optional("Entrypoint", self.entrypoint.as_ref())
            .optional("Cmd", self.cmd.as_ref())
            .unless_default("Volumes", &self.volumes)
            .optional("WorkingDir", self.working_dir.as_ref())
            .unless_default("Labels", &self.labels)
            .optional("StopSignal", self.stop_signal.as_ref())
            .finish(&self.unknown)
    }
}

impl FromJson for RootFs {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::of(value)?;
        let kind: String = fields.required("type")?;
        if kind != Self::LAYERS {
            return Err(JsonError::here("expected `layers`").below("type"));
        }
        Ok(Self {
            kind,
            diff_ids: fields.or_default("diff_ids")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for RootFs {
    fn to_json(&self) -> Json {
        Builder::new()
            .member("type", &self.kind)
            .member("diff_ids", &self.diff_ids)
            .finish(&self.unknown)
    }
}

impl FromJson for History {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::of(value)?;
        Ok(Self {
            created: fields.optional("created")?,
            created_by: fields.optional("created_by")?,
            author: fields.optional("author")?,
            comment: fields.optional("comment")?,
            empty_layer: fields.or_default("empty_layer")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for History {
    fn to_json(&self) -> Json {
        Builder::new()
            .optional("created", self.created.as_ref())
            .optional("created_by", self.created_by.as_ref())
            .optional("author", self.author.as_ref())
            .optional("comment", self.comment.as_ref())
            .unless_default("empty_layer", &self.empty_layer)
            .finish(&self.unknown)
    }
}

json_serde!(ImageConfig, ContainerConfig, RootFs, History);
