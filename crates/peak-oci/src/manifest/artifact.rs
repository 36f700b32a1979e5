//! Artifact manifests.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::members::{self, Members};
use super::{ManifestError, read_as, written};
use crate::descriptor::Descriptor;
use crate::json::{Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::raw::Raw;

/// An OCI artifact manifest: what release candidates of image-spec 1.1 had for artifacts before those became image
/// manifests. Registries still hold some, and some registries (and referrers tools of that time) still make them.
///
/// New artifacts are better written as an [`ImageManifest`](super::ImageManifest) with an `artifactType`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactManifest {
    /// Always [`MediaType::OCI_ARTIFACT_MANIFEST`]; also where the document itself does not say. Always written.
    pub media_type: MediaType,
    /// The type of the artifact. The text of the specification wants it; some writers left it out.
    pub artifact_type: Option<MediaType>,
    /// The content.
    pub blobs: Vec<Descriptor>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations; see [`crate::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl ArtifactManifest {
    /// A manifest of these blobs.
    pub fn new(artifact_type: MediaType, blobs: Vec<Descriptor>) -> Self {
        Self {
            media_type: MediaType::OCI_ARTIFACT_MANIFEST,
            artifact_type: Some(artifact_type),
            blobs,
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
        let blobs = members::bounded("blobs", fields.or_default("blobs")?)?;
        let members = Members::take(fields)?;
        Ok(Self {
            media_type,
            artifact_type: members.artifact_type,
            blobs,
            subject: members.subject,
            annotations: members.annotations,
            unknown: members.unknown,
        })
    }
}

impl FromJson for ArtifactManifest {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        read_as(value, Kind::Artifact, Self::from_document)
    }
}

impl ToJson for ArtifactManifest {
    fn to_json(&self) -> Json {
        let builder = members::begin(None, &self.media_type, self.artifact_type.as_ref())
            .unless_default("blobs", &self.blobs);
        members::end(
            builder,
            self.subject.as_ref(),
            &self.annotations,
            &self.unknown,
        )
    }
}

json_serde!(ArtifactManifest);
