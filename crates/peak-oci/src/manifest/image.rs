//! Image manifests.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::members::{self, Members};
use super::{ManifestError, read_as, written};
use crate::descriptor::Descriptor;
use crate::json::{Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::raw::Raw;

/// An OCI image manifest (image-spec, manifest.md) or a Docker v2 schema 2 manifest, which has the same members.
///
/// To change one, clone the view, change its fields and write it with [`ImageManifest::to_raw`]: members that this
/// version does not know are kept at every level.
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
    pub fn to_raw(&self) -> Result<Raw<super::Manifest>, ManifestError> {
        written(self)
    }

    pub(super) fn from_document(document: Json, media_type: MediaType) -> Result<Self, JsonError> {
        let mut fields = Fields::exact(document)?;
        let schema_version = members::schema_version(&mut fields, 2)?;
        let config = fields.required("config")?;
        let layers = members::bounded("layers", fields.list("layers")?)?;
        let members = Members::take(fields)?;
        Ok(Self {
            schema_version,
            media_type,
            artifact_type: members.artifact_type,
            config,
            layers,
            subject: members.subject,
            annotations: members.annotations,
            unknown: members.unknown,
        })
    }
}

impl FromJson for ImageManifest {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        read_as(value, Kind::Image, Self::from_document)
    }
}

impl ToJson for ImageManifest {
    fn to_json(&self) -> Json {
        let builder = members::begin(
            Some(self.schema_version),
            &self.media_type,
            self.artifact_type.as_ref(),
        )
        .member("config", &self.config)
        .member("layers", &self.layers);
        members::end(
            builder,
            self.subject.as_ref(),
            &self.annotations,
            &self.unknown,
        )
    }
}

json_serde!(ImageManifest);
