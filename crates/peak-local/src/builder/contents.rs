//! The contents of files, kept on disk under numbers.
//!
//! No name from an archive ever becomes a name on the machine's disk: whatever an archive calls
//! its entries, they can neither leave the directory, nor write through a link, nor collide on a
//! file system that ignores case.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// How many files stand in one directory.
const PER_DIRECTORY: u64 = 4096;

/// The number of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContentNumber(u64);

/// A directory of numbered files.
#[derive(Debug)]
pub(crate) struct Contents {
    directory: PathBuf,
    next: u64,
}

impl Contents {
    /// Uses `directory`, which must be there and hold nothing of the kind.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            next: 0,
        }
    }

    /// A new file.
    pub(crate) fn create(&mut self) -> io::Result<(ContentNumber, File)> {
        let number = ContentNumber(self.next);
        if self.next.is_multiple_of(PER_DIRECTORY) {
            fs::create_dir_all(self.directory_of(number))?;
        }
        let file = File::create_new(self.path(number))?;
        self.next += 1;
        Ok((number, file))
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, number: ContentNumber) -> io::Result<File> {
        File::open(self.path(number))
    }

    fn directory_of(&self, number: ContentNumber) -> PathBuf {
        self.directory
            .join(format!("contents-{}", number.0 / PER_DIRECTORY))
    }

    fn path(&self, number: ContentNumber) -> PathBuf {
        self.directory_of(number)
            .join((number.0 % PER_DIRECTORY).to_string())
    }
}
