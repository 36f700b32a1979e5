//! Indexes.

use std::collections::BTreeMap;

use super::{Manifest, ManifestError, check_schema_version, written};
use crate::descriptor::Descriptor;
use crate::json::{Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::raw::Raw;

/// An OCI image index (image-spec, image-index.md) or a Docker manifest list, which has the same members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// What it is; also where the document itself does not say. Always written by [`Index::to_raw`].
    pub media_type: MediaType,
    /// The type of an artifact.
    pub artifact_type: Option<MediaType>,
    /// What it lists.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations; see [`crate::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl Index {
    /// An OCI index of these manifests. For a Docker manifest list set `media_type`.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_INDEX,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// Writes it as compact JSON: known members in a fixed order, then the unknown ones as they came.
    ///
    /// # Errors
    /// [`ManifestError`] when what was put together is no index that could be read again.
    pub fn to_raw(&self) -> Result<Raw<Manifest>, ManifestError> {
        written(self)
    }

    /// The manifest that runs best on `wanted`, by [`Platform::mismatch`]; the first of equally good ones.
    pub fn best_match(&self, wanted: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .filter_map(|manifest| Some((wanted.mismatch(manifest.platform.as_ref()?)?, manifest)))
            .min_by_key(|(mismatch, _)| *mismatch)
            .map(|(_, manifest)| manifest)
    }

    /// The platforms that its manifests are for, in order; for the error when none matches.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref())
    }

    pub(super) fn from_document(document: Json, media_type: MediaType) -> Result<Self, JsonError> {
        let mut fields = Fields::of(document)?;
        let _declared: Option<String> = fields.optional("mediaType")?;
        Ok(Self {
            schema_version: check_schema_version(fields.required("schemaVersion")?)?,
            media_type,
            artifact_type: fields.optional("artifactType")?,
            manifests: fields.list("manifests")?,
            subject: fields.optional("subject")?,
            annotations: fields.or_default("annotations")?,
            unknown: fields.rest(),
        })
    }
}

impl FromJson for Index {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match Manifest::from_document(value, None) {
            Ok(Manifest::Index(index)) => Ok(index),
            Ok(Manifest::Image(_)) => Err(JsonError::here(
                "expected an index, found an image manifest",
            )),
            Err(error) => Err(JsonError::here(error.to_string())),
        }
    }
}

impl ToJson for Index {
    fn to_json(&self) -> Json {
        Builder::new()
            .member("schemaVersion", &self.schema_version)
            .member("mediaType", &self.media_type)
            .optional("artifactType", self.artifact_type.as_ref())
            .member("manifests", &self.manifests)
            .optional("subject", self.subject.as_ref())
            .unless_default("annotations", &self.annotations)
            .finish(&self.unknown)
    }
}

json_serde!(Index);
