//! One blob on its way from a source into a sink.

use futures_core::Stream;

use super::read::next;
use super::{BlobRead, ContentError, ContentErrorKind, Sink, Source};
use crate::descriptor::Descriptor;

/// How a blob came to be in a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobOutcome {
    /// It was there already.
    Present,
    /// The sink took it over from another place of its own; no byte of it was moved.
    Mounted,
    /// Its bytes were moved.
    Copied,
}

/// What happens while a sink takes a blob in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobEvent {
    /// Its bytes begin to move.
    Started {
        /// How many of them were there from earlier.
        offset: u64,
    },
    /// Bytes were handed over. Each counts once, also when it has to be sent again: together with the offset of the
    /// beginning they make up the blob.
    Bytes {
        /// How many more.
        count: u64,
    },
    /// Something went wrong, and the sink goes on with it.
    Retried {
        /// How many bytes are known to be there.
        offset: u64,
    },
}

/// Whoever wants to know what happens to one blob. Called from within the transfer: it should be quick.
pub type BlobListener<'a> = dyn Fn(BlobEvent) + Send + Sync + 'a;

/// Why a sink could not take a blob in, by the end that is to blame.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The source failed.
    #[error("the blob cannot be read")]
    Source(#[source] ContentError),
    /// The sink failed. Content that is not what its digest says is noticed here.
    #[error("the blob cannot be written")]
    Sink(#[source] ContentError),
}

/// Opens a blob at an offset: in its descriptor where that has the content in itself, else at the source.
///
/// # Errors
/// What the source says.
pub async fn open_blob(
    source: &dyn Source,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<BlobRead, ContentError> {
    // Embedded content that is not what it should be is no reason to fail: the source has the blob as well.
    match descriptor.embedded() {
        Ok(Some(bytes)) => Ok(BlobRead::new(
            0,
            Some(descriptor.size),
            Box::pin(Once(Some(Ok(bytes.clone())))),
        )),
        _ => source.blob(descriptor, offset).await,
    }
}

/// A stream of one item.
pub(super) struct Once<T>(pub(super) Option<T>);

impl<T: Unpin> Stream for Once<T> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take())
    }
}

/// What sinks do that have a writer for blobs: skips what is there, and writes what is not. Where the whole turns out
/// wrong behind bytes that were there before, it is written once more from the beginning.
pub(super) async fn write_through<S: Sink + ?Sized>(
    sink: &S,
    descriptor: &Descriptor,
    source: &dyn Source,
    listener: &BlobListener<'_>,
) -> Result<BlobOutcome, TakeError> {
    if sink.has_blob(descriptor).await.map_err(TakeError::Sink)? {
        return Ok(BlobOutcome::Present);
    }
    let mut told = None;
    match write_blob(sink, descriptor, source, listener, &mut told).await {
        // What an earlier run has left may be wrong though the source is right. The sink has thrown it away by now.
        Err(TakeError::Sink(error))
            if error.kind() == ContentErrorKind::Integrity
                && told.is_some_and(|told| told.began > 0) =>
        {
            listener(BlobEvent::Retried { offset: 0 });
            write_blob(sink, descriptor, source, listener, &mut told).await
        }
        other => other,
    }
}

/// What a listener was told of a blob, so that no byte counts twice.
#[derive(Clone, Copy)]
struct Told {
    /// How many bytes were there from earlier.
    began: u64,
    /// How far the bytes were handed over, at the furthest.
    end: u64,
}

/// Writes a blob behind what the sink has of it.
async fn write_blob<S: Sink + ?Sized>(
    sink: &S,
    descriptor: &Descriptor,
    source: &dyn Source,
    listener: &BlobListener<'_>,
    told: &mut Option<Told>,
) -> Result<BlobOutcome, TakeError> {
    let mut writer = sink
        .blob_writer(descriptor)
        .await
        .map_err(TakeError::Sink)?;
    let offset = writer.offset();
    let read = open_blob(source, descriptor, offset)
        .await
        .map_err(TakeError::Source)?;
    // A source that cannot begin there begins at 0; what is there already is stepped over.
    let Some(mut known) = offset.checked_sub(read.offset) else {
        return Err(TakeError::Source(behind(descriptor, offset, read.offset)));
    };
    let told = told.get_or_insert_with(|| {
        listener(BlobEvent::Started { offset });
        Told {
            began: offset,
            end: offset,
        }
    });
    let mut position = offset;
    let mut pieces = read.stream;
    while let Some(piece) = next(&mut pieces).await {
        let mut piece = piece.map_err(TakeError::Source)?;
        let skipped = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        if skipped > 0 {
            let _ = piece.split_to(skipped);
            known -= skipped as u64;
        }
        let count = piece.len() as u64;
        if count == 0 {
            continue;
        }
        writer.write(piece).await.map_err(TakeError::Sink)?;
        position = position.saturating_add(count);
        let further = position.saturating_sub(told.end);
        if further > 0 {
            told.end = position;
            listener(BlobEvent::Bytes { count: further });
        }
    }
    writer.commit().await.map_err(TakeError::Sink)?;
    Ok(BlobOutcome::Copied)
}

/// The error of a source that begins behind the place that it was asked for.
fn behind(descriptor: &Descriptor, asked: u64, opened: u64) -> ContentError {
    ContentError::new(
        ContentErrorKind::Invalid,
        format!(
            "the source opened {} at byte {opened} instead of byte {asked}",
            descriptor.digest
        ),
    )
}
