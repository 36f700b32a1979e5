//! What kind of manifest a document is.

use super::ManifestError;
use crate::json::{Json, JsonError};
use crate::media_type::{MediaType, MediaTypeError};

/// The shapes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Index,
    Artifact,
    Schema1,
}

impl Kind {
    /// What documents of this media type are; `None` for what is no manifest.
    fn of_type(media_type: &MediaType) -> Option<Self> {
        if media_type.is_index() {
            Some(Self::Index)
        } else if media_type.is_image_manifest() {
            Some(Self::Image)
        } else if media_type.is_schema1() {
            Some(Self::Schema1)
        } else if *media_type == MediaType::OCI_ARTIFACT_MANIFEST {
            Some(Self::Artifact)
        } else {
            None
        }
    }

    /// The name with its article, for error messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Image => "an image manifest",
            Self::Index => "an index",
            Self::Artifact => "an artifact manifest",
            Self::Schema1 => "a Docker schema 1 manifest",
        }
    }

    /// Members that make a document of this kind something else to another reader, which would then see other content
    /// under one digest.
    fn foreign_members(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["manifests", "fsLayers"],
            Self::Index => &["config", "layers", "fsLayers"],
            Self::Artifact => &["manifests", "config", "layers", "fsLayers"],
            Self::Schema1 => &["manifests", "config", "layers"],
        }
    }
}

/// The kind and the media type of a document: by the content type, else by `mediaType`, else by its members.
pub(super) fn of(
    document: &Json,
    claimed: Option<MediaType>,
) -> Result<(Kind, MediaType), ManifestError> {
    let Json::Object(members) = document else {
        return Err(ManifestError::Json(
            JsonError::expected("an object", document).at_top(),
        ));
    };
    let declared = declared(document)?;
    let media_type = match (claimed, declared) {
        (Some(content_type), Some(media_type)) if contradict(&content_type, &media_type) => {
            return Err(ManifestError::Contradiction {
                content_type,
                media_type,
            });
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => inferred(document).ok_or(ManifestError::Unrecognized)?,
    };
    let Some(kind) = Kind::of_type(&media_type) else {
        return Err(ManifestError::Unsupported { media_type });
    };
    let media_type = match kind {
        Kind::Schema1 => schema1_type(document),
        _ => media_type,
    };
    let foreign = kind.foreign_members().iter().find(|name| {
        members
            .iter()
            .any(|(member, _)| member.eq_ignore_ascii_case(name))
    });
    match foreign {
        Some(member) => Err(ManifestError::Ambiguous { media_type, member }),
        None => Ok((kind, media_type)),
    }
}

/// The two types of schema 1 do not contradict each other: a registry that adds signatures cannot change the `mediaType`
/// that is signed.
fn contradict(content_type: &MediaType, media_type: &MediaType) -> bool {
    content_type != media_type && !(content_type.is_schema1() && media_type.is_schema1())
}

fn declared(document: &Json) -> Result<Option<MediaType>, ManifestError> {
    let in_place = |error: JsonError| ManifestError::Json(error.below("mediaType").at_top());
    match document.get("mediaType") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.is_empty() => Ok(None),
        Some(Json::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|error: MediaTypeError| in_place(JsonError::here(error.to_string()))),
        Some(other) => Err(in_place(JsonError::expected("a string", other))),
    }
}

fn inferred(document: &Json) -> Option<MediaType> {
    let has = |name: &str| document.get(name).is_some_and(|value| *value != Json::Null);
    if has("manifests") {
        Some(MediaType::OCI_INDEX)
    } else if has("config") || has("layers") {
        let config = document
            .get("config")
            .and_then(|config| config.get("mediaType"))
            .and_then(Json::as_str);
        let is_docker = config == Some(MediaType::DOCKER_CONFIG.as_str());
        Some(if is_docker {
            MediaType::DOCKER_MANIFEST
        } else {
            MediaType::OCI_MANIFEST
        })
    } else if has("fsLayers") || document.get("schemaVersion") == Some(&Json::Number("1".into())) {
        Some(schema1_type(document))
    } else if has("blobs") {
        Some(MediaType::OCI_ARTIFACT_MANIFEST)
    } else {
        None
    }
}

/// Whether a schema 1 manifest is signed is seen in the document; what headers say about that is often wrong.
fn schema1_type(document: &Json) -> MediaType {
    match document.get("signatures") {
        Some(Json::Array(signatures)) if signatures.is_empty() => MediaType::DOCKER_MANIFEST_V1,
        None | Some(Json::Null) => MediaType::DOCKER_MANIFEST_V1,
        Some(_) => MediaType::DOCKER_MANIFEST_V1_SIGNED,
    }
}
