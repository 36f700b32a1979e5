//! Manifests: image manifests, indexes and artifact manifests, of OCI and of Docker.

mod artifact;
mod image;
mod index;
mod kind;
mod members;
mod schema1;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use artifact::ArtifactManifest;
pub use image::ImageManifest;
pub use index::{Index, IndexError, Merge, Mixing, NoMatchingPlatform};
pub use schema1::{Schema1Layer, Schema1Manifest, Schema1Signature, V1Compatibility};

use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::json::{Json, JsonError, ToJson, from_bytes, parse, to_bytes};
use crate::media_type::{MediaType, MediaTypeError};
use crate::platform::Platform;
use crate::raw::Raw;
use crate::text::Excerpt;
use kind::Kind;

/// The largest manifest that is read, in bytes: 4 MiB.
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// Why bytes are not a manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// There are more bytes than any manifest may have; nothing was parsed.
    #[error("the document has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The size of the document, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The text is not JSON, or a value is not what it should be.
    #[error("the document cannot be read at {0}")]
    Json(JsonError),
    /// The `Content-Type` is no media type.
    #[error("the content type of the document is not usable")]
    ContentType(#[source] MediaTypeError),
    /// The document calls itself something else than its `Content-Type` does.
    #[error("the document came as {content_type} but its member `mediaType` says {}", Excerpt(media_type.as_str()))]
    Contradiction {
        /// What the `Content-Type` says.
        content_type: MediaType,
        /// What `$.mediaType` says.
        media_type: MediaType,
    },
    /// The document has a member of another kind of manifest, so that readers would disagree about what it is.
    #[error("a document of the type {media_type} may not have the member `{member}`")]
    Ambiguous {
        /// The type of the document.
        media_type: MediaType,
        /// The member that belongs to another kind.
        member: &'static str,
    },
    /// The document is of a type that is not read here.
    #[error("the type {} cannot be used for a manifest here; use an image manifest or an index of OCI or of Docker v2 schema 2", Excerpt(media_type.as_str()))]
    Unsupported {
        /// The type.
        media_type: MediaType,
    },
    /// Neither `Content-Type`, nor `mediaType`, nor the members tell what the document is.
    #[error(
        "nothing tells what the document is: it has no `mediaType`, no `manifests`, no `config` with `layers`, no `fsLayers` and no `blobs`"
    )]
    Unrecognized,
}

/// A manifest: what a tag or a digest of a repository names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "manifests are held one at a time or a few; a box would be in everybody's way"
)]
pub enum Manifest {
    /// An image for one platform, or an artifact.
    Image(ImageManifest),
    /// A list of manifests.
    Index(Index),
    /// An artifact, as it was before it became an image manifest.
    Artifact(ArtifactManifest),
    /// An image for one platform, as Docker had it before 2016.
    Schema1(Schema1Manifest),
}

/// For manifests that cannot have annotations.
static NO_ANNOTATIONS: BTreeMap<String, String> = BTreeMap::new();

impl Manifest {
    /// Reads a manifest and keeps its bytes.
    ///
    /// `content_type` is the `Content-Type` header it came with, parameters and all. Where it is absent or says nothing
    /// (`application/octet-stream`, `application/json`, `text/plain`), `$.mediaType` decides, and where that is absent too,
    /// the members do. Whether a schema 1 manifest is signed is always seen in the document.
    ///
    /// # Errors
    /// [`ManifestError`]; the size is checked before anything is parsed. Beside what the types of members demand:
    /// numbers of bytes are from 0 to `i64::MAX`; no list has more than 10,000 entries; nothing is nested deeper than 32
    /// levels; the document has at most 500,000 values; no key is there twice, nor one that differs from a known one only
    /// in the case of its letters (`Layers`), which other readers would take for that.
    pub fn parse(bytes: Bytes, content_type: Option<&str>) -> Result<Raw<Self>, ManifestError> {
        check_size(&bytes, MAX_MANIFEST_SIZE)?;
        let claimed = content_type
            .filter(|header| !header.trim().is_empty())
            .map(MediaType::from_content_type)
            .transpose()
            .map_err(ManifestError::ContentType)?
            .filter(|media_type| !media_type.is_generic());
        let document = parse(&bytes).map_err(ManifestError::Json)?;
        let value = Self::from_document(document, claimed)?;
        let payload = match &value {
            Self::Schema1(manifest) => schema1::payload(&bytes, manifest)
                .map_err(|error| ManifestError::Json(error.at_top()))?,
            _ => None,
        };
        Ok(Raw::signed(bytes, payload, value))
    }

    fn from_document(document: Json, claimed: Option<MediaType>) -> Result<Self, ManifestError> {
        let (kind, media_type) = kind::of(&document, claimed)?;
        match kind {
            Kind::Image => ImageManifest::from_document(document, media_type).map(Self::Image),
            Kind::Index => Index::from_document(document, media_type).map(Self::Index),
            Kind::Artifact => {
                ArtifactManifest::from_document(document, media_type).map(Self::Artifact)
            }
            Kind::Schema1 => {
                Schema1Manifest::from_document(document, media_type).map(Self::Schema1)
            }
        }
        .map_err(|error| ManifestError::Json(error.at_top()))
    }

    /// What it is.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Image(image) => &image.media_type,
            Self::Index(index) => &index.media_type,
            Self::Artifact(artifact) => &artifact.media_type,
            Self::Schema1(manifest) => &manifest.media_type,
        }
    }

    /// Everything it points to and cannot do without: config and then layers, the manifests of an index, or the blobs of
    /// an artifact.
    ///
    /// A `subject` is not among them: it may be missing. **Nor are the layers of a schema 1 manifest**, which says no
    /// sizes and so has no descriptors: whoever moves or keeps content has to look at [`Schema1Manifest::layers`].
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config)
                .chain(&image.layers)
                .collect(),
            Self::Index(index) => index.manifests.iter().collect(),
            Self::Artifact(artifact) => artifact.blobs.iter().collect(),
            Self::Schema1(_) => Vec::new(),
        }
    }

    /// The image manifest, if it is one.
    pub fn as_image(&self) -> Option<&ImageManifest> {
        match self {
            Self::Image(image) => Some(image),
            _ => None,
        }
    }

    /// The index, if it is one.
    pub fn as_index(&self) -> Option<&Index> {
        match self {
            Self::Index(index) => Some(index),
            _ => None,
        }
    }

    /// The artifact manifest, if it is one.
    pub fn as_artifact(&self) -> Option<&ArtifactManifest> {
        match self {
            Self::Artifact(artifact) => Some(artifact),
            _ => None,
        }
    }

    /// The schema 1 manifest, if it is one.
    pub fn as_schema1(&self) -> Option<&Schema1Manifest> {
        match self {
            Self::Schema1(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// Writes it as compact JSON: known members in a fixed order, then the unknown ones as they came.
    ///
    /// # Errors
    /// [`ManifestError`] when what was put together is no manifest that could be read again;
    /// [`ManifestError::Unsupported`] for schema 1, which is not written.
    pub fn to_raw(&self) -> Result<Raw<Self>, ManifestError> {
        match self {
            Self::Image(image) => image.to_raw(),
            Self::Index(index) => index.to_raw(),
            Self::Artifact(artifact) => artifact.to_raw(),
            Self::Schema1(manifest) => Err(ManifestError::Unsupported {
                media_type: manifest.media_type.clone(),
            }),
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
            Self::Artifact(artifact) => artifact.subject.as_ref(),
            Self::Schema1(_) => None,
        }
    }

    /// The type of the artifact: `artifactType`, or for an image manifest without it the type of its config.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        match self {
            Self::Image(image) => Some(
                image
                    .artifact_type
                    .as_ref()
                    .unwrap_or(&image.config.media_type),
            ),
            Self::Index(index) => index.artifact_type.as_ref(),
            Self::Artifact(artifact) => artifact.artifact_type.as_ref(),
            Self::Schema1(_) => None,
        }
    }

    /// The annotations of the manifest itself.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
            Self::Artifact(artifact) => &artifact.annotations,
            Self::Schema1(_) => &NO_ANNOTATIONS,
        }
    }

    /// The annotations, to change them; `None` for schema 1, which cannot have any.
    pub fn annotations_mut(&mut self) -> Option<&mut BTreeMap<String, String>> {
        match self {
            Self::Image(image) => Some(&mut image.annotations),
            Self::Index(index) => Some(&mut index.annotations),
            Self::Artifact(artifact) => Some(&mut artifact.annotations),
            Self::Schema1(_) => None,
        }
    }

    /// The subject, to change it; `None` for schema 1, which cannot have one.
    pub fn subject_mut(&mut self) -> Option<&mut Option<Descriptor>> {
        match self {
            Self::Image(image) => Some(&mut image.subject),
            Self::Index(index) => Some(&mut index.subject),
            Self::Artifact(artifact) => Some(&mut artifact.subject),
            Self::Schema1(_) => None,
        }
    }
}

impl Raw<Manifest> {
    /// What it is.
    pub fn media_type(&self) -> &MediaType {
        self.value().media_type()
    }

    /// A descriptor that points to it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type().clone(),
            self.digest().clone(),
            self.size(),
        )
    }

    /// A descriptor that points to it from an index: with the platform of its config, if that says one, and the type of
    /// the artifact, if it says that.
    pub fn descriptor_for_index(&self, config: Option<&ImageConfig>) -> Descriptor {
        let mut descriptor = self.descriptor();
        descriptor.platform = config.map(ImageConfig::platform).filter(Platform::is_known);
        descriptor.artifact_type = match self.value() {
            Manifest::Image(image) => image.artifact_type.clone(),
            other => other.artifact_type().cloned(),
        };
        descriptor
    }
}

/// Compact bytes of a view, read back by the rules for foreign ones, so that nothing can be written that nobody could read.
fn written(view: &impl ToJson) -> Result<Raw<Manifest>, ManifestError> {
    Manifest::parse(to_bytes(view).into(), None)
}

/// A document that has to be of one kind.
fn read_as<T>(
    document: Json,
    expected: Kind,
    read: impl FnOnce(Json, MediaType) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    let (kind, media_type) =
        kind::of(&document, None).map_err(|error| JsonError::here(error.to_string()))?;
    if kind == expected {
        read(document, media_type)
    } else {
        Err(JsonError::here(format!(
            "expected {}, found {}",
            expected.name(),
            kind.name()
        )))
    }
}

/// Refuses documents that are too large to be parsed.
pub(crate) fn check_size(bytes: &[u8], limit: u64) -> Result<(), ManifestError> {
    let size = bytes.len() as u64;
    if size > limit {
        Err(ManifestError::TooLarge { size, limit })
    } else {
        Ok(())
    }
}

/// Reads a document of one fixed type.
pub(crate) fn parse_document<T: crate::json::FromJson>(
    bytes: Bytes,
    limit: u64,
) -> Result<Raw<T>, ManifestError> {
    check_size(&bytes, limit)?;
    let value = from_bytes(&bytes).map_err(ManifestError::Json)?;
    Ok(Raw::new(bytes, value))
}
