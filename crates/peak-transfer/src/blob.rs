//! One blob on its way.

use peak_oci::{BlobEvent, BlobOutcome, Descriptor, Sink, Source, TakeError};

use crate::TransferError;
use crate::progress::{Event, Listener};

/// Has the destination take a blob in, and tells what happens.
pub(crate) async fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
    listener: &Listener,
) -> Result<BlobOutcome, TransferError> {
    let digest = || blob.digest.clone();
    let size = blob.size;
    let tell = |event: BlobEvent| {
        let told = match event {
            BlobEvent::Started { offset } => Event::Started {
                digest: digest(),
                size,
                offset,
            },
            BlobEvent::Bytes { count } => Event::Bytes {
                digest: digest(),
                count,
            },
            BlobEvent::Retried { offset } => Event::Retried {
                digest: digest(),
                offset,
            },
            _ => return,
        };
        listener.tell(|| told);
    };
    let outcome = sink.take_blob(blob, source, &tell).await.map_err(|error| {
        let what = format!("blob {}", blob.digest);
        match error {
            TakeError::Source(error) => TransferError::reading(what, error),
            TakeError::Sink(error) => TransferError::writing(what, error),
            other => TransferError::writing(
                what,
                peak_oci::ContentError::new(
                    peak_oci::ContentErrorKind::Other,
                    "the destination failed",
                )
                .with_source(other),
            ),
        }
    })?;
    listener.tell(|| match outcome {
        BlobOutcome::Present => Event::Skipped {
            digest: digest(),
            size,
        },
        BlobOutcome::Mounted => Event::Mounted {
            digest: digest(),
            size,
        },
        _ => Event::Finished {
            digest: digest(),
            size,
        },
    });
    Ok(outcome)
}
