//! What kind of manifest a document is.

use super::ManifestError;
use crate::json::{Json, JsonError};
use crate::media_type::MediaType;

/// The two shapes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Index,
}

/// The kind and the media type of a document: by the content type, else by `mediaType`, else by its members.
pub(super) fn of(
    document: &Json,
    claimed: Option<MediaType>,
) -> Result<(Kind, MediaType), ManifestError> {
    let Json::Object(_) = document else {
        return Err(ManifestError::Json(
            JsonError::expected("an object", document).at_top(),
        ));
    };
    let declared = declared(document)?;
    let media_type = match (claimed, declared) {
        (Some(content_type), Some(media_type)) if content_type != media_type => {
            return Err(ManifestError::Contradiction {
                content_type,
                media_type,
            });
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => inferred(document).ok_or(ManifestError::Unrecognized)?,
    };
    let kind = if media_type.is_index() {
        Kind::Index
    } else if media_type.is_image_manifest() {
        Kind::Image
    } else {
        return Err(ManifestError::Unsupported { media_type });
    };
    match foreign_member(document, kind) {
        Some(member) => Err(ManifestError::Ambiguous { media_type, member }),
        None => Ok((kind, media_type)),
    }
}

fn declared(document: &Json) -> Result<Option<MediaType>, ManifestError> {
    match document.get("mediaType") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.is_empty() => Ok(None),
        Some(Json::String(text)) => {
            text.parse()
                .map(Some)
                .map_err(|error: crate::media_type::MediaTypeError| {
                    ManifestError::Json(
                        JsonError::here(error.to_string())
                            .below("mediaType")
                            .at_top(),
                    )
                })
        }
        Some(other) => Err(ManifestError::Json(
            JsonError::expected("a string", other)
                .below("mediaType")
                .at_top(),
        )),
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
    } else if has("fsLayers") {
        Some(if has("signatures") {
            MediaType::DOCKER_MANIFEST_V1_SIGNED
        } else {
            MediaType::DOCKER_MANIFEST_V1
        })
    } else {
        None
    }
}

/// A member that makes the document something else to another reader, which would then see other content under one digest.
fn foreign_member(document: &Json, kind: Kind) -> Option<&'static str> {
    let foreign: &[&'static str] = match kind {
        Kind::Image => &["manifests", "fsLayers"],
        Kind::Index => &["config", "layers", "fsLayers"],
    };
    foreign
        .iter()
        .copied()
        .find(|name| document.get(name).is_some())
}
