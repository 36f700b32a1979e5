//! Image manifests.

use std::collections::BTreeMap;

use super::{Manifest, ManifestError, check_schema_version, written};
use crate::descriptor::Descriptor;
use crate::json::{Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::raw::Raw;

/// An OCI image manifest (image-spec, manifest.md) or a Docker v2 schema 2 manifest, which has the same members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u64,
    /// What it is; also where the document itself does not say. Always written by [`ImageManifest::to_raw`].
    pub media_type: MediaType,
    /// The type of an artifact.
    pub artifact_type: Option<MediaType>,
    /// The config.
    pub config: Descriptor,
    /// The layers, the base first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations; see [`crate::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl ImageManifest {
    /// A manifest of this config and these layers: a Docker one if the config is Docker's, else an OCI one.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let is_docker = config.media_type == MediaType::DOCKER_CONFIG;
        Self {
            schema_version: 2,
            media_type: if is_docker {
                MediaType::DOCKER_MANIFEST
            } else {
                MediaType::OCI_MANIFEST
            },
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// Writes it as compact JSON: known members in a fixed order, then the unknown ones as they came.
    ///
    /// # Errors
    /// [`ManifestError`] when what was put together is no manifest that could be read again.
    pub fn to_raw(&self) -> Result<Raw<Manifest>, ManifestError> {
        written(self)
    }

    pub(super) fn from_document(document: Json, media_type: MediaType) -> Result<Self, JsonError> {
        let mut fields = Fields::of(document)?;
        let _declared: Option<String> = fields.optional("mediaType")?;
        Ok(Self {
            schema_version: check_schema_version(fields.required("schemaVersion")?)?,
            media_type,
            artifact_type: fields.optional("artifactType")?,
            config: fields.required("config")?,
            layers: fields.list("layers")?,
            subject: fields.optional("subject")?,
            annotations: fields.or_default("annotations")?,
            unknown: fields.rest(),
        })
    }
}

impl FromJson for ImageManifest {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match Manifest::from_document(value, None) {
            Ok(Manifest::Image(image)) => Ok(image),
            Ok(Manifest::Index(_)) => Err(JsonError::here(
                "expected an image manifest, found an index",
            )),
            Err(error) => Err(JsonError::here(error.to_string())),
        }
    }
}

impl ToJson for ImageManifest {
    fn to_json(&self) -> Json {
        Builder::new()
            .member("schemaVersion", &self.schema_version)
            .member("mediaType", &self.media_type)
            .optional("artifactType", self.artifact_type.as_ref())
            .member("config", &self.config)
            .member("layers", &self.layers)
            .optional("subject", self.subject.as_ref())
            .unless_default("annotations", &self.annotations)
            .finish(&self.unknown)
    }
}

json_serde!(ImageManifest);
