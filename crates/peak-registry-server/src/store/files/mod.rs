//! The files below a store: what it needs of a file system, and how changes are made durable.
//!
//! [`FileSystem`] has the single steps, with one implementation on disk and one in memory.
//! [`Files`] makes of them the changes that the store is built from, in the order that survives a
//! crash; it is the same for both.

mod disk;
mod memory;
#[cfg(test)]
pub(crate) mod power;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::store::StoreError;

pub(crate) use disk::Disk;
pub(crate) use memory::Memory;
pub use reader::BlobReader;

/// What the store needs of a file system, step by step.
///
/// Nothing that these do is durable before the file, or for names the directory, is synced.
pub(crate) trait FileSystem: fmt::Debug + Send + Sync {
    /// Creates an empty file; one that is there is an error.
    fn create(&self, file: &Path) -> io::Result<Box<dyn FileWriter>>;

    /// Opens a file that is there, to write at its end.
    fn append(&self, file: &Path) -> io::Result<Box<dyn FileWriter>>;

    /// Opens a file to read it. It stays readable when it is removed or replaced meanwhile.
    fn open(&self, file: &Path) -> io::Result<BlobReader>;

    fn look_at(&self, file: &Path) -> io::Result<FileState>;

    /// Makes a file look as if it was written to just now.
    fn touch(&self, file: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step, over whatever had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Creates a directory in one that is there.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Removes a directory if it is empty.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable: those that were added, changed or removed.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Calls `visit` with the name of each entry that is text, in any order. `visit` may use the
    /// file system, and returns whether it wants more.
    fn list(&self, directory: &Path, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()>;

    /// Where it is on disk, if it is.
    fn directory(&self) -> Option<&Path> {
        None
    }
}

/// How often a file is tried to be created in a directory that others remove.
const ATTEMPTS: usize = 10;

/// A file that grows.
pub(crate) trait FileWriter: fmt::Debug + Send + Sync {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    /// In bytes.
    pub(crate) size: u64,
    /// When it was last written to.
    pub(crate) modified: SystemTime,
    /// Whether it has another name besides: a rename that a power failure cut in two leaves that.
    pub(crate) shared: bool,
}

impl FileState {
    /// How long ago it was written to; nothing where the clock was set back since.
    pub(crate) fn age(&self) -> Duration {
        self.modified.elapsed().unwrap_or_default()
    }
}

/// A file that is younger is not touched: what is asked for all the time is not written all the time.
const TOUCH_AFTER: Duration = Duration::from_secs(10);

/// The changes that a store is built from.
///
/// Unless a method says otherwise it returns only after the change is on stable storage: a caller
/// may acknowledge as soon as it has the `Ok`.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    /// The directories that this process knows to be durable.
    ///
    /// That a directory exists is not enough: a process that died may have created it without
    /// getting to sync its parent. So the first use in each process syncs every level below the
    /// root.
    durable: Mutex<HashSet<PathBuf>>,
    /// The last field, as the lock on the directory goes with it.
    system: Box<dyn FileSystem>,
}

impl Files {
    /// `root` has to be there and durable.
    pub(crate) fn new(root: &Path, system: Box<dyn FileSystem>) -> Self {
        Self {
            root: root.to_path_buf(),
            durable: Mutex::default(),
            system,
        }
    }

    /// Where the files are on disk, if they are.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.system.directory()
    }

    /// Writes `bytes` to `destination` through the temporary file `temporary`, so that a reader,
    /// and a process that starts after a crash, sees the old content or the new content and nothing
    /// between.
    pub(crate) fn write(
        &self,
        temporary: &Path,
        destination: &Path,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.ensure_parent(destination)?;
        let written = self
            .system
            .create(temporary)
            .and_then(|mut file| {
                file.write(bytes)?;
                file.sync()
            })
            .map_err(StoreError::io("write", temporary))
            .and_then(|()| self.publish(temporary, destination));
        if written.is_err() {
            // Best effort: the next start removes it otherwise.
            let _ = self.discard(temporary);
        }
        written
    }

    /// Gives `temporary`, a complete and synced file, its visible name, over whatever had that
    /// name.
    pub(crate) fn publish(&self, temporary: &Path, destination: &Path) -> Result<(), StoreError> {
        self.ensure_parent(destination)?;
        self.system
            .rename(temporary, destination)
            .map_err(StoreError::io("move the finished file to", destination))?;
        self.sync_parent(destination)
    }

    /// Moves a file away from where it counts. Its new name is made durable before the old one
    /// goes, so that no crash loses it.
    pub(crate) fn move_away(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.ensure_parent(to)?;
        self.system
            .rename(from, to)
            .map_err(StoreError::io("remove", from))?;
        self.sync_parent(to)?;
        self.sync_parent(from)
    }

    /// Creates the empty file `marker`, whose name is all that it says.
    ///
    /// An empty file is complete from the moment that it exists, so it needs no temporary name.
    /// That it existed before is fine, but then it may be another thread's that is not durable yet,
    /// so the directory is synced all the same.
    pub(crate) fn create_marker(&self, marker: &Path) -> Result<(), StoreError> {
        self.ensure_parent(marker)?;
        match self.system.create(marker) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create", marker)(error)),
        }
        self.sync_parent(marker)
    }

    /// Removes a file for good. Returns whether it was there.
    pub(crate) fn remove(&self, file: &Path) -> Result<bool, StoreError> {
        let found = self.discard(file)?;
        if found {
            self.sync_parent(file)?;
        }
        Ok(found)
    }

    /// Removes a file that no crash may bring back to any harm, without waiting for that to be
    /// durable. Returns whether it was there.
    pub(crate) fn discard(&self, file: &Path) -> Result<bool, StoreError> {
        match self.system.remove(file) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(StoreError::io("remove", file)(error)),
        }
    }

    /// Removes files for good, those that are there.
    pub(crate) fn remove_all(&self, files: &[PathBuf]) -> Result<(), StoreError> {
        let mut directories = HashMap::new();
        for file in files {
            if self.discard(file)? {
                directories.insert(file.parent(), file);
            }
        }
        directories
            .into_values()
            .try_for_each(|file| self.sync_parent(file))
    }

    /// Makes a file young again, if it is there. Returns whether it is.
    ///
    /// This is not made durable: a crash makes the file older, no more.
    pub(crate) fn touch(&self, file: &Path) -> Result<bool, StoreError> {
        let Some(state) = self.look_at(file)? else {
            return Ok(false);
        };
        if state.age() >= TOUCH_AFTER
            && let Err(error) = self.system.touch(file)
        {
            // Whoever asks for the file still gets it; only garbage collection may come too early.
            tracing::warn!(file = %file.display(), %error, "the use of a file could not be noted");
        }
        Ok(true)
    }

    /// The size of a file in bytes, `None` if there is none.
    pub(crate) fn size_of(&self, file: &Path) -> Result<Option<u64>, StoreError> {
        Ok(self.look_at(file)?.map(|state| state.size))
    }

    /// What is known of a file, `None` if there is none.
    pub(crate) fn look_at(&self, file: &Path) -> Result<Option<FileState>, StoreError> {
        match self.system.look_at(file) {
            Ok(state) => Ok(Some(state)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StoreError::io("look at", file)(error)),
        }
    }

    /// Opens a file for reading, `None` if there is none.
    pub(crate) fn open(&self, file: &Path) -> Result<Option<BlobReader>, StoreError> {
        match self.system.open(file) {
            Ok(reader) => Ok(Some(reader)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StoreError::io("open", file)(error)),
        }
    }

    /// Reads a file of at most `limit` bytes, `None` if there is none.
    pub(crate) fn read(&self, file: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(reader) = self.open(file)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", file))?;
        if bytes.len() as u64 <= limit {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Damaged {
                path: file.to_path_buf(),
                reason: format!("it has more than {limit} bytes"),
            })
        }
    }

    /// Creates a file to be written bit by bit, in a directory that may have to be made. The file is
    /// not durable, nor is its name.
    pub(crate) fn create(&self, file: &Path) -> Result<Box<dyn FileWriter>, StoreError> {
        let mut attempts = 0;
        loop {
            self.ensure_parent(file)?;
            match self.system.create(file) {
                // Somebody has found the directory empty just now, and removed it.
                Err(error) if is_absent(&error) && attempts < ATTEMPTS => {
                    attempts += 1;
                    if let Some(parent) = file.parent() {
                        self.durable().remove(parent);
                    }
                }
                result => return result.map_err(StoreError::io("create", file)),
            }
        }
    }

    /// Opens a file that is there, to go on at its end.
    pub(crate) fn append(&self, file: &Path) -> Result<Box<dyn FileWriter>, StoreError> {
        self.system
            .append(file)
            .map_err(StoreError::io("open", file))
    }

    /// Removes a directory if it is empty and can be removed. Only for directories whose files are
    /// made by [`create`](Self::create) alone: it makes the directory again.
    pub(crate) fn remove_if_empty(&self, directory: &Path) {
        self.durable().remove(directory);
        let _ = self.system.remove_directory(directory);
    }

    /// Calls `visit` with the name of each entry of `directory` that is text; a directory that does
    /// not exist is empty. `visit` returns whether it wants more.
    pub(crate) fn for_each_name(
        &self,
        directory: &Path,
        mut visit: impl FnMut(&str) -> bool,
    ) -> Result<(), StoreError> {
        match self.system.list(directory, &mut visit) {
            Err(error) if is_absent(&error) => Ok(()),
            result => result.map_err(StoreError::io("list", directory)),
        }
    }

    /// Creates `directory`, which is below the root, and what is missing of the way to it, so that
    /// what is put into it is durable.
    pub(crate) fn ensure_directory(&self, directory: &Path) -> Result<(), StoreError> {
        if directory == self.root || self.durable().contains(directory) {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.ensure_directory(parent)?;
        }
        match self.system.create_directory(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create the directory", directory)(error)),
        }
        self.sync_parent(directory)?;
        self.durable().insert(directory.to_path_buf());
        Ok(())
    }

    fn ensure_parent(&self, file: &Path) -> Result<(), StoreError> {
        file.parent()
            .map_or(Ok(()), |parent| self.ensure_directory(parent))
    }

    fn sync_parent(&self, path: &Path) -> Result<(), StoreError> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        self.system
            .sync_directory(parent)
            .map_err(StoreError::io("make durable the directory", parent))
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // The set is valid after every single operation, whatever the thread that panicked did.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the error says that the file, or a directory on the way to it, does not exist.
fn is_absent(error: &io::Error) -> bool {
    // A file where a directory is looked for has nothing below it.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
