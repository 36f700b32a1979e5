//! Docker image manifests v2, schema 1.

mod compatibility;
mod signature;

pub use compatibility::V1Compatibility;
pub use signature::Schema1Signature;

pub(super) use signature::payload;

use super::ManifestError;
use super::members;
use crate::config::History;
use crate::digest::Digest;
use crate::json::{Fields, FromJson, Json, JsonError, UnknownFields};
use crate::media_type::MediaType;

/// A Docker image manifest v2, schema 1, signed or not (distribution, manifest-v2-1.md).
///
/// It is read, verified and passed on, never made: the format was given up long ago, and registries convert to it only
/// for clients that ask for nothing better. It says no sizes of layers and has no config blob; what a config would say
/// stands in the history of its layers.
///
/// A signed one carries JSON web signatures in its own text. Its digest is not that of its bytes but that of what was
/// signed: the text without the signatures, which each of them describes by a length and a tail. That they all describe
/// the same, and that it says the same as the whole document, is checked. The signatures themselves are kept but **not
/// verified**: their keys come along with them and were made by the registry or the client that pushed, so they prove
/// nothing about the origin.
///
/// ```
/// # fn main() -> Result<(), peak_oci::ManifestError> {
/// use peak_oci::{Manifest, MediaType};
/// # let bytes = bytes::Bytes::from_static(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oci/fixtures/schema1-signed.json")));
/// // `bytes` are from `GET /v2/app/manifests/v2s1`, the content type as some networks spoil it.
/// let raw = Manifest::parse(bytes, Some("text/plain; charset=utf-8"))?;
/// assert_eq!(*raw.media_type(), MediaType::DOCKER_MANIFEST_V1_SIGNED);
/// assert_eq!(raw.digest().as_str(), "sha256:6ae028f26fc2ed45fbad7716982af95475fe89e0cd3c3483a3cb6537e4b3fdce");
/// if let Some(manifest) = raw.value().as_schema1() {
///     assert_eq!(manifest.name.as_deref(), Some("app"));
///     assert_eq!(manifest.history()?.first().and_then(|step| step.created_by.as_deref()), Some("ADD a"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema1Manifest {
    /// [`MediaType::DOCKER_MANIFEST_V1_SIGNED`] if there are signatures, else [`MediaType::DOCKER_MANIFEST_V1`],
    /// whatever the `Content-Type` said.
    pub media_type: MediaType,
    /// The repository it was pushed to.
    pub name: Option<String>,
    /// The tag it was pushed with.
    pub tag: Option<String>,
    /// The processor architecture.
    pub architecture: Option<String>,
    /// The layers, **the top first**, as in the document.
    pub layers: Vec<Schema1Layer>,
    /// The signatures, not verified.
    pub signatures: Vec<Schema1Signature>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

/// A layer of a schema 1 manifest: an entry of `fsLayers` and the one of `history` at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema1Layer {
    /// The digest of the layer, a tar under gzip. Its size is not known.
    pub digest: Digest,
    /// What older clients need to know about it, JSON in a text; see [`Schema1Manifest::v1_compatibility`].
    pub v1_compatibility: String,
}

impl Schema1Manifest {
    /// What the layer at `index`, counted from the top, says about itself; `None` if there is no such layer.
    ///
    /// Parsed here and not before, within the bounds of every document.
    ///
    /// # Errors
    /// [`ManifestError::Json`] with the place in the manifest, and the place in the text in the reason.
    pub fn v1_compatibility(&self, index: usize) -> Result<Option<V1Compatibility>, ManifestError> {
        let Some(layer) = self.layers.get(index) else {
            return Ok(None);
        };
        V1Compatibility::parse(&layer.v1_compatibility)
            .map(Some)
            .map_err(|error| {
                ManifestError::Json(
                    JsonError::here(error.to_string())
                        .below("v1Compatibility")
                        .below_index(index)
                        .below("history")
                        .at_top(),
                )
            })
    }

    /// How the image came to be, **the base first**: one entry for each layer, as a config would have it. The entry of
    /// a layer that holds nothing is marked as empty; the layer is in `layers` all the same.
    ///
    /// # Errors
    /// As [`v1_compatibility`](Self::v1_compatibility).
    pub fn history(&self) -> Result<Vec<History>, ManifestError> {
        let mut history = Vec::with_capacity(self.layers.len());
        for index in (0..self.layers.len()).rev() {
            history.extend(
                self.v1_compatibility(index)?
                    .map(|entry| entry.to_history()),
            );
        }
        Ok(history)
    }

    pub(super) fn from_document(document: Json, media_type: MediaType) -> Result<Self, JsonError> {
        let mut fields = Fields::exact(document)?;
        let _version = members::schema_version(&mut fields, 1)?;
        let _declared: Option<String> = fields.optional("mediaType")?;
        let digests = members::bounded("fsLayers", fields.list::<FsLayer>("fsLayers")?)?;
        let texts = members::bounded("history", fields.list::<HistoryEntry>("history")?)?;
        if digests.len() != texts.len() {
            return Err(JsonError::here(format!(
                "expected one entry for each of the {} entries of `fsLayers`, found {}",
                digests.len(),
                texts.len()
            ))
            .below("history"));
        }
        let layers = digests
            .into_iter()
            .zip(texts)
            .map(
                |(FsLayer(digest), HistoryEntry(v1_compatibility))| Schema1Layer {
                    digest,
                    v1_compatibility,
                },
            )
            .collect();
        Ok(Self {
            media_type,
            name: fields.optional("name")?,
            tag: fields.optional("tag")?,
            architecture: fields.optional("architecture")?,
            layers,
            signatures: fields.or_default("signatures")?,
            unknown: fields.rest(),
        })
    }
}

/// `{"blobSum": …}`
struct FsLayer(Digest);

impl FromJson for FsLayer {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        Fields::exact(value)?.required("blobSum").map(Self)
    }
}

/// `{"v1Compatibility": …}`
struct HistoryEntry(String);

impl FromJson for HistoryEntry {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        Fields::exact(value)?.required("v1Compatibility").map(Self)
    }
}
