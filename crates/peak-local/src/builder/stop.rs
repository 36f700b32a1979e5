//! Stopping a build while it works.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::BuildError;

/// How much is copied between two looks at whether to stop, in bytes.
const CHUNK: usize = 64 * 1024;

/// The wish to stop, as it is passed down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop<'a> {
    wanted: &'a AtomicBool,
}

impl<'a> Stop<'a> {
    pub(crate) fn new(wanted: &'a AtomicBool) -> Self {
        Self { wanted }
    }

    /// Ends the work with an error if somebody wants it to stop.
    pub(crate) fn check(self) -> Result<(), BuildError> {
        if self.wanted.load(Ordering::Relaxed) {
            Err(BuildError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// A reader that ends with an error when the work is to stop, and counts what it gave.
    pub(crate) fn watch<R>(self, reader: R) -> Watched<'a, R> {
        Watched {
            reader,
            stop: self,
            count: 0,
        }
    }
}

/// A reader that counts and can be stopped. After an error call [`Stop::check`] first: it knows
/// whether stopping was the reason.
#[derive(Debug)]
pub(crate) struct Watched<'a, R> {
    reader: R,
    stop: Stop<'a>,
    count: u64,
}

impl<R> Watched<'_, R> {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        let count = self.reader.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Which end of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError<E> {
    Read(io::Error),
    Write(io::Error),
    Refused(E),
}

/// Copies everything, asking `allow` about the count so far before each piece is written.
pub(crate) fn copy<E>(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    mut allow: impl FnMut(u64) -> Result<(), E>,
) -> Result<u64, CopyError<E>> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        total += count as u64;
        allow(total).map_err(CopyError::Refused)?;
        writer
            .write_all(buffer.get(..count).unwrap_or_default())
            .map_err(CopyError::Write)?;
    }
}
