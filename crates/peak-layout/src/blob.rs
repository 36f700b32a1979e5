//! The bytes of one blob, on their way in and out.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{
    BlobStream, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, Verifier, VerifyError,
};
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use crate::staging::Staging;
use crate::{LayoutError, blocking, file};

/// Bytes per frame when a blob is read. Large enough that the hop to the blocking pool costs nothing beside hashing.
const FRAME: usize = 256 * 1024;

/// Bytes that are taken in before they are hashed and written together.
///
/// Enough that the hop to the blocking pool costs next to nothing beside hashing. A writer holds at most two such
/// batches, so that one fills while the other is worked on.
const BATCH: usize = 256 * 1024;
/// Frames of a batch at most, for a source that drips: each costs more than its bytes.
const BATCH_FRAMES: usize = 1024;

/// Takes a blob in under a name that is not a blob's, and gives it its own once every byte is verified.
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
    file: State,
}

/// Where the file is.
#[derive(Debug)]
enum State {
    Here(Box<Partial>),
    AtWork(JoinHandle<Result<Box<Partial>, LayoutError>>),
    /// Something failed and was reported; the file is removed.
    Broken,
}

/// The unfinished file, which vanishes when it is dropped.
#[derive(Debug)]
struct Partial {
    file: NamedTempFile,
    verifier: Verifier,
    digest: Digest,
    target: PathBuf,
    /// As long as this is held nobody takes the file for a leftover.
    _staging: Arc<Staging>,
}

impl Partial {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        for frame in frames {
            self.verifier
                .update(frame)
                .map_err(|source| LayoutError::Integrity {
                    digest: self.digest.clone(),
                    source,
                })?;
            self.file
                .write_all(frame)
                .map_err(LayoutError::writing(self.file.path()))?;
        }
        Ok(())
    }

    fn publish(self) -> Result<(), LayoutError> {
        let digest = self.digest;
        self.verifier
            .finish()
            .map_err(|source| LayoutError::Integrity { digest, source })?;
        file::publish(self.file, &self.target).map_err(LayoutError::writing(&self.target))
    }
}

impl Writer {
    /// Makes the unfinished file. Blocks.
    pub(crate) fn begin(
        staging: Arc<Staging>,
        target: PathBuf,
        descriptor: &Descriptor,
    ) -> Result<Self, LayoutError> {
        let digest = descriptor.digest.clone();
        let hint = format!("{}-{}", digest.algorithm(), digest.hex());
        let file = file::begin(staging.partial(), &hint)
            .map_err(LayoutError::writing(staging.partial()))?;
        let partial = Partial {
            file,
            verifier: Verifier::for_descriptor(descriptor),
            digest: digest.clone(),
            target,
            _staging: staging,
        };
        Ok(Self {
            digest,
            size: descriptor.size,
            accepted: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            file: State::Here(Box::new(partial)),
        })
    }

    async fn accept(&mut self, bytes: Bytes) -> Result<(), LayoutError> {
        if let State::Broken = self.file {
            return Err(self.broken());
        }
        let accepted = self.accepted.saturating_add(bytes.len() as u64);
        if accepted > self.size {
            // Known before anything is hashed, so that an endless body is not taken in.
            self.file = State::Broken;
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
            let mut partial = self.partial().await?;
            let frames = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            self.file = State::AtWork(tokio::task::spawn_blocking(move || {
                partial.append(&frames)?;
                Ok(partial)
            }));
        }
        Ok(())
    }

    /// The file, once the batch before is written. The writer is broken until it gets the file back.
    async fn partial(&mut self) -> Result<Box<Partial>, LayoutError> {
        if let State::AtWork(batch) = &mut self.file {
            // Dropped while it waits here, nothing is lost: the handle stays where it is.
            let outcome = batch.await.unwrap_or(Err(LayoutError::Shutdown));
            self.file = State::Broken;
            return outcome;
        }
        match std::mem::replace(&mut self.file, State::Broken) {
            State::Here(partial) => Ok(partial),
            State::AtWork(_) | State::Broken => Err(self.broken()),
        }
    }

    async fn finish(mut self) -> Result<(), LayoutError> {
        let mut partial = self.partial().await?;
        let frames = self.waiting;
        blocking(move || {
            partial.append(&frames)?;
            partial.publish()
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

/// The bytes of an open blob from where it stands, to the end of the file.
pub(crate) fn stream(file: File, path: &Path) -> BlobStream {
    let path = path.to_path_buf();
    Box::pin(stream::try_unfold(
        (file, path),
        |(mut file, path)| async move {
            let (file, path, frame) = blocking(move || {
                let mut frame = Vec::with_capacity(FRAME);
                (&mut file)
                    .take(FRAME as u64)
                    .read_to_end(&mut frame)
                    .map_err(LayoutError::reading(&path))?;
                Ok((file, path, frame))
            })
            .await?;
            if frame.is_empty() {
                return Ok::<_, ContentError>(None);
            }
            Ok(Some((Bytes::from(frame), (file, path))))
        },
    ))
}
