//! Moves the blobs of a plan, several at once.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use peak_oci::{BlobEvent, BlobOutcome, Descriptor, Sink, Source, TakeError};

use crate::TransferError;
use crate::progress::{Event, Listener};

/// How many blobs, and how many bytes, were moved, were there already, and were mounted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) copied: usize,
    pub(crate) skipped: usize,
    pub(crate) copied_bytes: u64,
    pub(crate) skipped_bytes: u64,
    pub(crate) mounted: usize,
    pub(crate) mounted_bytes: u64,
}

/// Moves all blobs; the first failure ends all of them.
///
/// They are futures within this one and no tasks, so that dropping it drops them: nothing works on unobserved.
pub(crate) async fn run(
    source: &dyn Source,
    sink: &dyn Sink,
    blobs: &[Descriptor],
    concurrency: usize,
    listener: &Listener,
) -> Result<Moved, TransferError> {
    let mut moved = Moved::default();
    let mut waiting = blobs.iter();
    let mut under_way: FuturesUnordered<_> = waiting
        .by_ref()
        .take(concurrency)
        .map(|blob| copy_blob(source, sink, blob, listener))
        .collect();
    while let Some(outcome) = under_way.next().await {
        let (outcome, size) = outcome?;
        let (blobs, bytes) = match outcome {
            BlobOutcome::Present => (&mut moved.skipped, &mut moved.skipped_bytes),
            BlobOutcome::Mounted => (&mut moved.mounted, &mut moved.mounted_bytes),
            BlobOutcome::Copied => (&mut moved.copied, &mut moved.copied_bytes),
        };
        *blobs += 1;
        *bytes = bytes.saturating_add(size);
        if let Some(blob) = waiting.next() {
            under_way.push(copy_blob(source, sink, blob, listener));
        }
    }
    Ok(moved)
}

/// Moves one blob, unless the destination has it. Says how it came there, and its size.
async fn copy_blob(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
    listener: &Listener,
) -> Result<(BlobOutcome, u64), TransferError> {
    let what = || format!("blob {}", blob.digest);
    let digest = || blob.digest.clone();
    let size = blob.size;
    let tell = |event| {
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
    Ok((outcome, size))
}
