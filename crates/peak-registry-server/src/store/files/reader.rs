//! Reading a file of the store, wherever it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::store::files::memory::Pieces;

/// The content of a blob, to be read from where it stands: first from the start.
///
/// On disk every read goes to the operating system, so read large pieces. A blob in memory gives
/// its own bytes to [`read_bytes`](Self::read_bytes), without a copy.
#[derive(Debug)]
pub struct BlobReader {
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(File),
    Memory { pieces: Pieces, position: u64 },
}

impl BlobReader {
    pub(crate) fn of_file(file: File) -> Self {
        Self {
            source: Source::File(file),
        }
    }

    pub(crate) fn of_memory(pieces: Pieces) -> Self {
        Self {
            source: Source::Memory {
                pieces,
                position: 0,
            },
        }
    }

    /// The size of the whole content in bytes.
    pub(crate) fn size(&self) -> io::Result<u64> {
        match &self.source {
            Source::File(file) => Ok(file.metadata()?.len()),
            Source::Memory { pieces, .. } => Ok(pieces.size()),
        }
    }

    /// The next bytes, at most `limit`; empty at the end or if `limit` is 0.
    ///
    /// From disk it gives fewer only at the end; from memory also where the pieces that it is kept
    /// in end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn read_bytes(&mut self, limit: usize) -> io::Result<Bytes> {
        match &mut self.source {
            Source::File(file) => {
                let mut bytes = Vec::with_capacity(limit);
                file.take(limit as u64).read_to_end(&mut bytes)?;
                Ok(Bytes::from(bytes))
            }
            Source::Memory { pieces, position } => {
                let bytes = pieces.at(*position, limit);
                *position += bytes.len() as u64;
                Ok(bytes)
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(file) => file.read(buffer),
            Source::Memory { .. } => {
                let bytes = self.read_bytes(buffer.len())?;
                if let Some(start) = buffer.get_mut(..bytes.len()) {
                    start.copy_from_slice(&bytes);
                }
                Ok(bytes.len())
            }
        }
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.source {
            Source::File(file) => file.seek(to),
            Source::Memory { pieces, position } => {
                let place = match to {
                    SeekFrom::Start(place) => Some(place),
                    SeekFrom::End(distance) => pieces.size().checked_add_signed(distance),
                    SeekFrom::Current(distance) => position.checked_add_signed(distance),
                };
                *position = place.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidInput, "a place before the start")
                })?;
                Ok(*position)
            }
        }
    }
}
