//! Manifests: image manifests and indexes, of OCI and of Docker.

mod image;
mod index;
mod kind;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use image::ImageManifest;
pub use index::Index;

use crate::descriptor::Descriptor;
use crate::json::{Json, JsonError, ToJson, from_bytes, parse, to_bytes};
use crate::media_type::{MediaType, MediaTypeError};
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
    #[error("documents of the type {} cannot be read; image manifests and indexes of OCI and Docker v2 schema 2 can", Excerpt(media_type.as_str()))]
    Unsupported {
        /// The type.
        media_type: MediaType,
    },
    /// Neither `Content-Type`, nor `mediaType`, nor the members tell what the document is.
    #[error(
        "nothing tells what the document is: it has no `mediaType`, no `manifests`, and no `config` with `layers`"
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
}

impl Manifest {
    /// Reads a manifest and keeps its bytes.
    ///
    /// `content_type` is the `Content-Type` header it came with, parameters and all. Where it is absent or says nothing
    /// (`application/octet-stream`, `application/json`, `text/plain`), `$.mediaType` decides, and where that is absent too,
    /// the members do.
    ///
    /// # Errors
    /// [`ManifestError`]; the size is checked before anything is parsed.
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
        Ok(Raw::new(bytes, value))
    }

    fn from_document(document: Json, claimed: Option<MediaType>) -> Result<Self, ManifestError> {
        let in_place = |error: JsonError| ManifestError::Json(error.at_top());
        let (kind, media_type) = kind::of(&document, claimed)?;
        match kind {
            Kind::Image => ImageManifest::from_document(document, media_type)
                .map(Self::Image)
                .map_err(in_place),
            Kind::Index => Index::from_document(document, media_type)
                .map(Self::Index)
                .map_err(in_place),
        }
    }

    /// What it is.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Image(image) => &image.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    /// Everything it points to and cannot do without: config and then layers, or the manifests of an index.
    ///
    /// A `subject` is not among them: it may be missing.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config)
                .chain(&image.layers)
                .collect(),
            Self::Index(index) => index.manifests.iter().collect(),
        }
    }

    /// The image manifest, if it is one.
    pub fn as_image(&self) -> Option<&ImageManifest> {
        match self {
            Self::Image(image) => Some(image),
            Self::Index(_) => None,
        }
    }

    /// The index, if it is one.
    pub fn as_index(&self) -> Option<&Index> {
        match self {
            Self::Index(index) => Some(index),
            Self::Image(_) => None,
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
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
        }
    }

    /// The annotations of the manifest itself.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
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
}

/// Compact bytes of a view, read back by the rules for foreign ones, so that nothing can be written that nobody could read.
fn written(view: &impl ToJson) -> Result<Raw<Manifest>, ManifestError> {
    Manifest::parse(to_bytes(view).into(), None)
}

/// `schemaVersion` has to be there and has to be 2.
fn check_schema_version(version: u64) -> Result<u64, JsonError> {
    if version == 2 {
        Ok(version)
    } else {
        Err(
            JsonError::here(format!("expected the version 2, found {version}"))
                .below("schemaVersion"),
        )
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
