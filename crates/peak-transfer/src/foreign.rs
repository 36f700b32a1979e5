//! Foreign layers: those that their licence keeps where their `urls` point, so that a source need not have them.
//!
//! What the source has is copied as everything else is. What it does not have stays out, and the manifest goes as it is:
//! whoever runs the image fetches the layer from its `urls`. Nobody does so here.

use peak_oci::{ContentError, ContentErrorKind, Descriptor, Sink, Source};

use crate::TransferError;
use crate::several::several;

/// Whether an image is complete without this blob, since it says where else it is.
pub(crate) fn may_be_missing(blob: &Descriptor) -> bool {
    blob.media_type.is_foreign_layer() && !blob.urls.is_empty() && blob.data.is_none()
}

/// Divides blobs into those that are to be at the destination, and foreign layers that neither end has.
///
/// Asks only for foreign layers.
pub(crate) async fn divide(
    source: &dyn Source,
    sink: &dyn Sink,
    blobs: Vec<Descriptor>,
    concurrency: usize,
) -> Result<(Vec<Descriptor>, Vec<Descriptor>), TransferError> {
    let foreign: Vec<&Descriptor> = blobs.iter().filter(|blob| may_be_missing(blob)).collect();
    if foreign.is_empty() {
        return Ok((blobs, Vec::new()));
    }
    let work = foreign.iter().map(|blob| is_known(source, sink, blob));
    let mut known = several(work.collect(), concurrency).await?.into_iter();
    let (blobs, omitted): (Vec<_>, Vec<_>) = blobs
        .into_iter()
        .partition(|blob| !may_be_missing(blob) || known.next().unwrap_or(true));
    if let Some(layer) = omitted.first()
        && !sink.holds_images_without_foreign_layers()
    {
        let error = ContentError::new(
            ContentErrorKind::Unsupported,
            "the layer may not be distributed by everyone: the source does not have it, its manifest says where it is, and the destination holds complete images only; copy to a registry or an OCI layout",
        );
        return Err(TransferError::writing(
            format!("foreign layer {}", layer.digest),
            error,
        ));
    }
    Ok((blobs, omitted))
}

/// Whether the source or the destination has a layer.
async fn is_known(
    source: &dyn Source,
    sink: &dyn Sink,
    layer: &Descriptor,
) -> Result<bool, TransferError> {
    let found = match source.blob_size(&layer.digest).await {
        Err(error) if error.kind() == ContentErrorKind::Unsupported => {
            // Opened and dropped: not a byte of it is read.
            source.blob(layer, 0).await.map(|_| ())
        }
        answer => answer.map(|_| ()),
    };
    match found {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ContentErrorKind::NotFound => sink
            .has_blob(layer)
            .await
            .map_err(|error| TransferError::writing(format!("blob {}", layer.digest), error)),
        Err(error) => Err(TransferError::reading(
            format!("blob {}", layer.digest),
            error,
        )),
    }
}
