//! The bytes of one blob, on their way in and out.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{BlobStream, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, Verifier};
use tempfile::NamedTempFile;

use crate::staging::Staging;
use crate::{LayoutError, blocking, file};

/// Bytes per frame when a blob is read. Large enough that the hop to the blocking pool costs nothing beside hashing.
const FRAME: usize = 256 * 1024;

/// Writes a blob under a name that is not a blob's, and gives it its own once every byte is verified.
#[derive(Debug)]
pub(crate) struct Writer {
    file: NamedTempFile,
    verifier: Verifier,
    digest: Digest,
    target: PathBuf,
    broken: bool,
    /// As long as this is held nobody takes the partial file for a leftover.
    _staging: Arc<Staging>,
}

impl Writer {
    pub(crate) fn begin(
        staging: Arc<Staging>,
        target: PathBuf,
        descriptor: &Descriptor,
    ) -> Result<Self, LayoutError> {
        let hint = format!(
            "{}-{}",
            descriptor.digest.algorithm(),
            descriptor.digest.hex()
        );
        let file = file::begin(staging.partial(), &hint)
            .map_err(LayoutError::writing(staging.partial()))?;
        Ok(Self {
            file,
            verifier: Verifier::for_descriptor(descriptor),
            digest: descriptor.digest.clone(),
            target,
            broken: false,
            _staging: staging,
        })
    }

    fn write_now(&mut self, bytes: &Bytes) -> Result<(), LayoutError> {
        if self.broken {
            return Err(LayoutError::Broken {
                digest: self.digest.clone(),
            });
        }
        // Whatever fails below, what is on disk no longer equals what was counted.
        self.broken = true;
        self.verifier
            .update(bytes)
            .map_err(|source| LayoutError::Integrity {
                digest: self.digest.clone(),
                source,
            })?;
        self.file
            .write_all(bytes)
            .map_err(LayoutError::writing(self.file.path()))?;
        self.broken = false;
        Ok(())
    }

    fn finish(self) -> Result<(), LayoutError> {
        if self.broken {
            return Err(LayoutError::Broken {
                digest: self.digest,
            });
        }
        let digest = self.digest;
        self.verifier
            .finish()
            .map_err(|source| LayoutError::Integrity { digest, source })?;
        file::publish(self.file, &self.target).map_err(LayoutError::writing(&self.target))
    }
}

impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.verifier.received()
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        // On the task itself: the page cache takes a frame faster than another thread could be woken for it.
        Box::pin(async move { Ok(self.write_now(&bytes)?) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        // Elsewhere: this waits for the disk.
        Box::pin(async move { Ok(blocking(move || self.finish()).await?) })
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
