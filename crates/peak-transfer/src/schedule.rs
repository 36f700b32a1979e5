//! Moves the blobs of a plan, several at once.

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use peak_oci::{BlobRead, BlobWriter, ContentError, Descriptor, Sink, Source};

use crate::TransferError;
use crate::progress::{Event, Listener};

/// How many blobs, and how many bytes, were moved and were there already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) copied: usize,
    pub(crate) skipped: usize,
    pub(crate) copied_bytes: u64,
    pub(crate) skipped_bytes: u64,
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
        match outcome? {
            (true, size) => {
                moved.copied += 1;
                moved.copied_bytes += size;
            }
            (false, size) => {
                moved.skipped += 1;
                moved.skipped_bytes += size;
            }
        }
        if let Some(blob) = waiting.next() {
            under_way.push(copy_blob(source, sink, blob, listener));
        }
    }
    Ok(moved)
}

/// Opens the blob at its source, or in its descriptor where that has it within.
async fn open(
    source: &dyn Source,
    blob: &Descriptor,
    offset: u64,
) -> Result<BlobRead, ContentError> {
    // Embedded content that is not what it should be is no reason to fail: the source has the blob as well.
    match blob.embedded() {
        Ok(Some(bytes)) => {
            let frame = stream::iter([Ok(bytes.clone())]);
            Ok(BlobRead::new(0, Some(blob.size), Box::pin(frame)))
        }
        _ => source.blob(blob, offset).await,
    }
}

/// Moves one blob, unless the destination has it. Says whether it was moved, and its size.
async fn copy_blob(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
    listener: &Listener,
) -> Result<(bool, u64), TransferError> {
    let reading = |error| TransferError::reading(format!("blob {}", blob.digest), error);
    let writing = |error| TransferError::writing(format!("blob {}", blob.digest), error);
    let digest = || blob.digest.clone();
    let size = blob.size;
    if sink.has_blob(blob).await.map_err(writing)? {
        listener.tell(|| Event::Skipped {
            digest: digest(),
            size,
        });
        return Ok((false, size));
    }
    let mut writer = sink.blob_writer(blob).await.map_err(writing)?;
    let offset = writer.offset();
    let read = open(source, blob, offset).await.map_err(reading)?;
    listener.tell(|| Event::Started {
        digest: digest(),
        size,
        offset,
    });
    // A source that cannot begin there begins at 0; what the destination has already is stepped over.
    let mut known = offset.saturating_sub(read.offset);
    let mut frames = read.stream;
    while let Some(frame) = frames.next().await {
        let mut frame = frame.map_err(reading)?;
        let skipped = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(frame.len());
        if skipped > 0 {
            let _ = frame.split_to(skipped);
            known -= skipped as u64;
        }
        let count = frame.len() as u64;
        if count == 0 {
            continue;
        }
        writer.write(frame).await.map_err(writing)?;
        listener.tell(|| Event::Bytes {
            digest: digest(),
            count,
        });
    }
    BlobWriter::commit(writer).await.map_err(writing)?;
    listener.tell(|| Event::Finished {
        digest: digest(),
        size,
    });
    Ok((true, size))
}
