//! The tar format, as far as archives of images need it: found by name, read at an offset or as it streams by, written in
//! any order.
//!
//! The `tar` crate knows the fields of a header. Walking over an archive is ours: it comes from anywhere, so that names,
//! extensions and the number of entries have limits, and nothing but headers is read.

use std::path::{Path, PathBuf};

use crate::LayoutError;
use crate::archive_error::ArchiveError;

mod read;
mod stream;
mod walk;
mod write;

pub(crate) use read::TarIndex;
pub(crate) use stream::{StreamEntry, TarStream, TarStreamError};
pub(crate) use walk::{Extent, Named, Names};
pub(crate) use write::{END_SIZE, padded, reserve};

/// The bytes of a header.
pub(crate) const BLOCK_SIZE: usize = 512;
/// Everything in a tar stands at a multiple of this.
pub(crate) const BLOCK: u64 = BLOCK_SIZE as u64;

/// The files of an archive, wherever it is.
pub(crate) trait Files {
    /// What the archive is called in errors.
    fn path(&self) -> &Path;

    /// The file of that name; links are not followed.
    fn file(&self, name: &str) -> Result<Option<Extent>, LayoutError>;

    /// The file of that name, also where the name is that of a link to another file of the archive.
    fn resolve(&self, name: &str) -> Result<Option<Extent>, LayoutError>;

    /// The content of a small file.
    fn content(&self, name: &str, extent: Extent, limit: u64) -> Result<Vec<u8>, LayoutError>;

    /// The first [`BEGINNING`] bytes of a file, or as many as it has.
    fn beginning(&self, extent: Extent) -> Result<Vec<u8>, LayoutError>;

    /// A name for errors about a file of the archive.
    fn within(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn error(&self, source: ArchiveError) -> LayoutError {
        LayoutError::Archive {
            path: self.path().to_path_buf(),
            source,
        }
    }
}

/// So many bytes of a file tell how it is compressed.
pub(crate) const BEGINNING: usize = 4;
