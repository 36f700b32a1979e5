//! The part of a layout directory that no reader looks at: unfinished files.
//!
//! ```text
//! DIR/                         locked (exclusive) while index.json is read, changed and written
//! DIR/.peak-layout/partial/    blobs on their way in; locked (shared) by every handle that writes
//! ```
//!
//! Unfinished files are here and not beside the blobs, because everything below `blobs/<algorithm>/` must have its
//! digest as its name, and other tools check that. It is the same file system, so a rename publishes.
//!
//! The locks are on the directories themselves, so that no lock file is left in a finished layout; the last writer
//! takes the whole area away, unless there are beginnings of blobs for the next run (see `partial`). Where directories cannot be locked (other systems than Unix, some network file systems)
//! renames are still atomic; two writers at once could then lose one of two entries of `index.json`, and what crashed
//! runs have left stays.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::{LayoutError, file, partial};

/// The folder's name; its being there marks a directory that we have begun to fill.
pub(crate) const FOLDER: &str = ".peak-layout";

/// How long a writer waits for the index. Others hold it for a few milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// How often beginning to write starts again because another writer, who was the last, has just taken away what it had
/// made.
pub(crate) const ENTER_ATTEMPTS: usize = 256;

/// One writer's stake in the staging area, held as long as the writer may write.
#[derive(Debug)]
pub(crate) struct Staging {
    root: PathBuf,
    partial: PathBuf,
    /// Whether the directory of the layout was made for this writer.
    made_root: bool,
    /// Held for its shared lock: as long as it is there nobody removes partial files. None where directories cannot
    /// be locked.
    in_use: Option<File>,
}

impl Staging {
    /// Makes the staging area of the layout at `root` and removes what crashed runs have left in it.
    pub(crate) fn enter(root: &Path, made_root: bool) -> Result<Self, LayoutError> {
        let folder = root.join(FOLDER);
        let partial = folder.join("partial");
        for _ in 0..ENTER_ATTEMPTS {
            make_inside(&folder).map_err(|error| error.into_layout(&folder))?;
            match make_inside(&partial) {
                Ok(()) => {}
                // The last writer before us has just taken the folder away again.
                Err(MakeError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into_layout(&partial)),
            }
            let in_use = match open_directory(&partial) {
                Ok(in_use) => in_use,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LayoutError::reading(&partial)(error)),
            };
            let in_use = match in_use {
                Some(handle) => share(handle, root, &partial)?,
                None => None,
            };
            if in_use
                .as_ref()
                .is_none_or(|held| file::is_at(held, &partial))
            {
                return Ok(Self {
                    root: root.to_path_buf(),
                    partial,
                    made_root,
                    in_use,
                });
            }
        }
        Err(LayoutError::Busy {
            path: root.to_path_buf(),
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
        let root = open_directory(&self.root).map_err(LayoutError::reading(&self.root))?;
        let Some(held) = root else {
            return Ok(IndexLock { _held: None });
        };
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            match held.try_lock() {
                Ok(()) => return Ok(IndexLock { _held: Some(held) }),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    thread::sleep(LOCK_STEP);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LayoutError::Busy {
                        path: self.root.clone(),
                    });
                }
                Err(TryLockError::Error(error)) if locks_missing(&error) => {
                    return Ok(IndexLock { _held: None });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(LayoutError::writing(&self.root)(error));
                }
            }
        }
    }

    /// Whether files can be locked here, so that one writer knows that another one is at work.
    pub(crate) fn has_locks(&self) -> bool {
        self.in_use.is_some()
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

/// The last writer takes the staging area away, and with it a directory that was made for an image that never came.
/// Where blobs were broken off of which the next run can use the beginning, the area stays, with them alone.
///
/// Only empty directories are removed, so nothing of anybody's can be lost. Blobs that a broken-off run has finished
/// stay, with the folder that says whose they are, for the next run.
impl Drop for Staging {
    fn drop(&mut self) {
        let alone = match &self.in_use {
            Some(held) => held.try_lock().is_ok(),
            None => false,
        };
        if !alone {
            return;
        }
        let _ = remove_leftovers(&self.root, &self.partial);
        let blobs = self.root.join("blobs");
        let visible = self.root.join("oci-layout").exists();
        if !visible {
            // As long as the locked directory is in its place whoever comes waits for the lock, so nobody is about to
            // put a blob into what is removed here. The area itself therefore goes after it.
            remove_empty_below(&blobs);
        }
        if fs::remove_dir(&self.partial).is_err() {
            return;
        }
        if visible || !blobs.exists() {
            // Each may fail because somebody else has come; then it is theirs to take away.
            let _ = fs::remove_dir(self.root.join(FOLDER));
            if !visible && self.made_root {
                let _ = fs::remove_dir(&self.root);
            }
        }
    }
}

fn remove_empty_below(blobs: &Path) {
    // A layout from elsewhere may have a link here, and what it leads to is not ours.
    if !fs::symlink_metadata(blobs).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    for entry in fs::read_dir(blobs).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(entry.path());
    }
    let _ = fs::remove_dir(blobs);
}

/// Why a directory of the area is not there.
enum MakeError {
    Io(io::Error),
    NotADirectory,
}

impl MakeError {
    fn into_layout(self, path: &Path) -> LayoutError {
        match self {
            Self::Io(error) => LayoutError::writing(path)(error),
            Self::NotADirectory => LayoutError::NotADirectory {
                path: path.to_path_buf(),
            },
        }
    }
}

/// Makes one directory of the area, in one that exists.
///
/// A layout from elsewhere may have a link in its place: that is refused before anything is made or removed behind it.
fn make_inside(directory: &Path) -> Result<(), MakeError> {
    match fs::create_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(MakeError::Io(error)),
    }
    match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(MakeError::NotADirectory),
        // Taken away at this moment: whoever makes what stands in it finds out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(MakeError::Io(error)),
    }
}

/// The right to change `index.json`.
pub(crate) struct IndexLock {
    _held: Option<File>,
}

/// Takes a share in the area. Whoever is alone first removes what belongs to nobody that still lives.
fn share(handle: File, root: &Path, partial: &Path) -> Result<Option<File>, LayoutError> {
    match handle.try_lock() {
        Ok(()) => {
            remove_leftovers(root, partial)?;
            handle.unlock().map_err(LayoutError::writing(partial))?;
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) if locks_missing(&error) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(LayoutError::writing(partial)(error)),
    }
    // Waits at most for another writer's clean-up.
    match handle.lock_shared() {
        Ok(()) => Ok(Some(handle)),
        Err(error) if locks_missing(&error) => Ok(None),
        Err(error) => Err(LayoutError::writing(partial)(error)),
    }
}

/// A handle to lock a directory by.
#[cfg(unix)]
fn open_directory(path: &Path) -> io::Result<Option<File>> {
    File::open(path).map(Some)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
fn open_directory(_path: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

fn locks_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// What cannot be removed stays: new files get names of their own, so it is in nobody's way.
fn remove_leftovers(root: &Path, partial: &Path) -> Result<(), LayoutError> {
    for entry in fs::read_dir(partial).map_err(LayoutError::reading(partial))? {
        let path = entry.map_err(LayoutError::reading(partial))?.path();
        if !partial::is_of_use(&path, root) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
