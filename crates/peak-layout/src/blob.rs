//! The bytes of one blob, on their way in and out.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{BlobRead, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, VerifyError};
use tokio::task::JoinHandle;

use crate::tar::Extent;
use crate::{LayoutError, blocking, positioned};

/// Bytes per frame when a blob is read. Large enough that the hop to the blocking pool costs nothing beside hashing.
const FRAME: usize = 256 * 1024;

/// Bytes that are taken in before they are hashed and written together.
///
/// Enough that the hop to the blocking pool costs next to nothing beside hashing. A writer holds at most two such
/// batches, so that one fills while the other is worked on.
const BATCH: usize = 256 * 1024;
/// Frames of a batch at most, for a source that drips: each costs more than its bytes.
const BATCH_FRAMES: usize = 1024;

/// Where the bytes of a blob go. Dropped without [`Receiver::publish`], it leaves nothing visible. All of it blocks.
pub(crate) trait Receiver: fmt::Debug + Send {
    /// Hashes the next bytes and writes them. After an error the receiver is dropped.
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError>;

    /// Verifies the whole and makes it visible.
    fn publish(self: Box<Self>) -> Result<(), LayoutError>;
}

/// Hands a blob to its receiver in batches.
///
/// Hashing and writing happen in the blocking pool: they take far longer than a task should hold its thread, and so
/// the blobs of one transfer use several processors although they are driven by one task.
#[derive(Debug)]
pub(crate) struct Writer {
    digest: Digest,
    size: u64,
    accepted: u64,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    receiver: State,
}

/// Where the receiver is.
#[derive(Debug)]
enum State {
    Here(Box<dyn Receiver>),
    AtWork(JoinHandle<Result<Box<dyn Receiver>, LayoutError>>),
    /// Something failed and was reported.
    Broken,
}

impl Writer {
    /// A writer for a blob of which the receiver has the first `offset` bytes.
    pub(crate) fn new(receiver: Box<dyn Receiver>, descriptor: &Descriptor, offset: u64) -> Self {
        Self {
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            accepted: offset,
            waiting: Vec::new(),
            waiting_bytes: 0,
            receiver: State::Here(receiver),
        }
    }

    async fn accept(&mut self, bytes: Bytes) -> Result<(), LayoutError> {
        if let State::Broken = self.receiver {
            return Err(self.broken());
        }
        let accepted = self.accepted.saturating_add(bytes.len() as u64);
        if accepted > self.size {
            // Known before anything is hashed, so that an endless body is not taken in.
            self.receiver = State::Broken;
            return Err(LayoutError::Integrity {
                digest: self.digest.clone(),
                source: VerifyError::TooLong {
                    digest: self.digest.clone(),
                    expected: self.size,
                },
            });
        }
        self.accepted = accepted;
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= BATCH || self.waiting.len() >= BATCH_FRAMES {
            let mut receiver = self.receiver().await?;
            let frames = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            self.receiver = State::AtWork(tokio::task::spawn_blocking(move || {
                receiver.append(&frames)?;
                Ok(receiver)
            }));
        }
        Ok(())
    }

    /// The receiver, once the batch before is written. The writer is broken until it gets it back.
    async fn receiver(&mut self) -> Result<Box<dyn Receiver>, LayoutError> {
        if let State::AtWork(batch) = &mut self.receiver {
            // Dropped while it waits here, nothing is lost: the handle stays where it is.
            let outcome = batch.await.unwrap_or(Err(LayoutError::Shutdown));
            self.receiver = State::Broken;
            return outcome;
        }
        match std::mem::replace(&mut self.receiver, State::Broken) {
            State::Here(receiver) => Ok(receiver),
            State::AtWork(_) | State::Broken => Err(self.broken()),
        }
    }

    async fn finish(mut self) -> Result<(), LayoutError> {
        let mut receiver = self.receiver().await?;
        let frames = self.waiting;
        blocking(move || {
            receiver.append(&frames)?;
            receiver.publish()
        })
        .await
    }

    fn broken(&self) -> LayoutError {
        LayoutError::Broken {
            digest: self.digest.clone(),
        }
    }
}

impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.accepted
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        Box::pin(async move { Ok(self.accept(bytes).await?) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        Box::pin(async move { Ok(self.finish().await?) })
    }
}

/// Reads a blob that is in a part of an open file, from `offset` of the blob on.
pub(crate) fn read(
    file: Arc<File>,
    path: &Path,
    digest: &Digest,
    extent: Extent,
    offset: u64,
) -> Result<BlobRead, LayoutError> {
    let size = extent.size;
    if offset > size {
        return Err(LayoutError::Offset {
            digest: digest.clone(),
            offset,
            size,
        });
    }
    let path = path.to_path_buf();
    let rest = Extent {
        offset: extent.offset + offset,
        size: size - offset,
    };
    let frames = stream::try_unfold((file, path, rest), |(file, path, rest)| async move {
        if rest.size == 0 {
            return Ok::<_, ContentError>(None);
        }
        let (file, path, frame) = blocking(move || {
            let count = usize::try_from(rest.size).map_or(FRAME, |size| size.min(FRAME));
            let frame = positioned::frame(&file, count, rest.offset)
                .map_err(LayoutError::reading(&path))?;
            Ok((file, path, frame))
        })
        .await?;
        if frame.is_empty() {
            // Shorter than it was: whoever verifies the blob says so.
            return Ok(None);
        }
        let count = frame.len() as u64;
        let rest = Extent {
            offset: rest.offset + count,
            size: rest.size - count,
        };
        Ok(Some((Bytes::from(frame), (file, path, rest))))
    });
    Ok(BlobRead::new(offset, Some(size), Box::pin(frames)))
}
