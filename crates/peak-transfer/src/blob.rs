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
        listener.tell(|| match event {
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
        });
    };
    let what = || format!("blob {}", blob.digest);
    let outcome = sink
        .take_blob(blob, source, &tell)
        .await
        .map_err(|error| match error {
            TakeError::Source(error) => TransferError::reading(what(), error),
            TakeError::Sink(error) => TransferError::writing(what(), error),
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
        BlobOutcome::Copied => Event::Finished {
            digest: digest(),
            size,
        },
    });
    Ok(outcome)
}
