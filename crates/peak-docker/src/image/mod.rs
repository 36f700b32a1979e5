//! Images of the Engine as the content traits of `peak-oci`: a source and a sink of the transfer engine.

mod sink;
mod source;
#[cfg(test)]
mod tests;

use peak_oci::{ContentError, ContentErrorKind, Digest};

pub use sink::EngineSink;
pub use source::EngineSource;

use crate::error::EngineError;
use crate::images::ImageInspect;

impl From<EngineError> for ContentError {
    fn from(error: EngineError) -> Self {
        let (kind, message) = match &error {
            EngineError::NotFound { .. } => (
                ContentErrorKind::NotFound,
                "the Docker Engine does not have it",
            ),
            EngineError::Denied { .. } | EngineError::Unauthorized { .. } => {
                (ContentErrorKind::Denied, "the Docker Engine refuses it")
            }
            EngineError::Unreachable { .. } => (
                ContentErrorKind::Network,
                "the Docker Engine cannot be reached",
            ),
            // Not `ContentErrorKind::Interrupted`: to go on means to begin anew, and an Engine that is gone is gone.
            EngineError::Interrupted { .. }
            | EngineError::Unresponsive { .. }
            | EngineError::Silent { .. } => {
                (ContentErrorKind::Network, "the Docker Engine is gone")
            }
            EngineError::InvalidName { .. } | EngineError::Unexpected { .. } => (
                ContentErrorKind::Invalid,
                "the Docker Engine was not understood",
            ),
            EngineError::TooOld { .. } => (
                ContentErrorKind::Unsupported,
                "the Docker Engine cannot be spoken with",
            ),
            _ => (ContentErrorKind::Other, "the Docker Engine failed"),
        };
        ContentError::new(kind, message).with_source(error)
    }
}

/// Whether an image of the Engine is the one with this config or this manifest: what it is called by depends on how the
/// Engine keeps images.
fn is_known_by(image: &ImageInspect, config: &Digest, manifest: &Digest) -> bool {
    image
        .digest()
        .is_some_and(|id| id == *config || id == *manifest)
}

/// Whether an image of the Engine has these layers.
fn has_layers(image: &ImageInspect, diff_ids: &[Digest]) -> bool {
    image.root_fs.layers.len() == diff_ids.len()
        && image
            .root_fs
            .layers
            .iter()
            .zip(diff_ids)
            .all(|(layer, expected)| layer == expected.as_str())
}

/// The error of an image that is not the one that was meant.
fn other_image(image: &ImageInspect, config: &Digest) -> ContentError {
    ContentError::new(
        ContentErrorKind::Integrity,
        format!(
            "the Docker Engine calls the image {}, but its config is {config}",
            image.id
        ),
    )
}
