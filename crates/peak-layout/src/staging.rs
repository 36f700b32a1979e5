//! The part of a layout directory that no reader looks at: unfinished files and locks.
//!
//! ```text
//! DIR/.peak-layout/in-use      locked (shared) by every handle that writes
//! DIR/.peak-layout/lock        locked (exclusive) while index.json is read, changed and written
//! DIR/.peak-layout/partial/    blobs on their way in
//! ```
//!
//! Unfinished files are here and not beside the blobs, because everything below `blobs/<algorithm>/` must have its
//! digest as its name, and other tools check that. It is the same file system, so a rename publishes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::{LayoutError, file};

/// The folder's name; its being there marks a directory that we have begun to fill.
pub(crate) const FOLDER: &str = ".peak-layout";

/// How long a writer waits for the index. Others hold it for a few milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// One writer's stake in the staging area, held as long as the writer may write.
#[derive(Debug)]
pub(crate) struct Staging {
    partial: PathBuf,
    lock: PathBuf,
    layout: PathBuf,
    /// Held for its shared lock: as long as it is there nobody removes partial files.
    _in_use: File,
}

impl Staging {
    /// Makes the staging area of the layout at `root` and removes what crashed runs have left in it.
    pub(crate) fn enter(root: &Path) -> Result<Self, LayoutError> {
        let folder = root.join(FOLDER);
        let partial = folder.join("partial");
        fs::create_dir_all(&partial).map_err(LayoutError::writing(&partial))?;
        // A layout from elsewhere may come with links here; the clean-up must not follow them out.
        for directory in [&folder, &partial] {
            let metadata =
                fs::symlink_metadata(directory).map_err(LayoutError::reading(directory))?;
            if !metadata.is_dir() {
                return Err(LayoutError::NotADirectory {
                    path: directory.clone(),
                });
            }
        }
        let path = folder.join("in-use");
        let in_use = open_lock_file(&path)?;
        // Alone: whatever lies here belongs to nobody that still lives.
        match in_use.try_lock() {
            Ok(()) => {
                remove_leftovers(&partial)?;
                in_use.unlock().map_err(LayoutError::writing(&path))?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if locks_missing(&error) => {}
            Err(TryLockError::Error(error)) => return Err(LayoutError::writing(&path)(error)),
        }
        // Waits at most for another writer's clean-up.
        match in_use.lock_shared() {
            Ok(()) => {}
            Err(error) if locks_missing(&error) => {}
            Err(error) => return Err(LayoutError::writing(&path)(error)),
        }
        Ok(Self {
            partial,
            lock: folder.join("lock"),
            layout: root.to_path_buf(),
            _in_use: in_use,
        })
    }

    /// Where unfinished files go.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Waits for the right to change `index.json`; it lasts as long as the answer is kept.
    ///
    /// Blocks the thread, at most for [`LOCK_PATIENCE`].
    pub(crate) fn lock_index(&self) -> Result<IndexLock, LayoutError> {
        let held = open_lock_file(&self.lock)?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            match held.try_lock() {
                Ok(()) => return Ok(IndexLock { _held: held }),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    thread::sleep(LOCK_STEP);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LayoutError::Busy {
                        path: self.layout.clone(),
                    });
                }
                // A file system without locks: the rename is still atomic, only a lost update is possible.
                Err(TryLockError::Error(error)) if locks_missing(&error) => {
                    return Ok(IndexLock { _held: held });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(LayoutError::writing(&self.lock)(error));
                }
            }
        }
    }

    /// Writes a small file through the staging area.
    pub(crate) fn write_whole(
        &self,
        target: &Path,
        hint: &str,
        bytes: &[u8],
    ) -> Result<(), LayoutError> {
        file::write_whole(&self.partial, target, hint, bytes).map_err(LayoutError::writing(target))
    }
}

/// The right to change `index.json`.
pub(crate) struct IndexLock {
    _held: File,
}

fn open_lock_file(path: &Path) -> Result<File, LayoutError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(LayoutError::writing(path))
}

fn locks_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

fn remove_leftovers(partial: &Path) -> Result<(), LayoutError> {
    for entry in fs::read_dir(partial).map_err(LayoutError::reading(partial))? {
        let path = entry.map_err(LayoutError::reading(partial))?.path();
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LayoutError::writing(&path)(error)),
        }
    }
    Ok(())
}
