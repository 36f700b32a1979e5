//! Changes to the file system that survive a crash.
//!
//! Everything here returns only after the change is on stable storage: a caller may acknowledge as
//! soon as it has the `Ok`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::store::StoreError;

/// A file that is younger is not touched: what is asked for all the time is not written all the time.
const TOUCH_AFTER: Duration = Duration::from_secs(10);

/// Makes the entries of `directory` durable: names that were added, changed or removed.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    // Only Unix lets a directory be opened and synced; elsewhere the rename itself has to do.
    if cfg!(unix) {
        File::open(directory)
            .and_then(|handle| handle.sync_all())
            .map_err(StoreError::io("make durable the directory", directory))?;
    }
    Ok(())
}

/// Gives `temporary`, a complete and synced file, its visible name, over whatever had that name.
pub(crate) fn publish(temporary: &Path, destination: &Path) -> Result<(), StoreError> {
    fs::rename(temporary, destination)
        .map_err(StoreError::io("move the finished file to", destination))?;
    sync_parent(destination)
}

/// Writes `bytes` to `destination` through the temporary file `temporary`, so that a reader, and a
/// process that starts after a crash, sees the old content or the new content and nothing between.
pub(crate) fn write_file(
    temporary: &Path,
    destination: &Path,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let written = File::create_new(temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(StoreError::io("write", temporary))
        .and_then(|()| publish(temporary, destination));
    if written.is_err() {
        // Best effort: the next start removes it otherwise.
        let _ = fs::remove_file(temporary);
    }
    written
}

/// Creates the empty file `marker`, whose name is all that it says.
///
/// An empty file is complete from the moment that it exists, so it needs no temporary name. That it
/// existed before is fine, but then it may be another thread's that is not durable yet, so the
/// directory is synced all the same.
pub(crate) fn create_marker(marker: &Path) -> Result<(), StoreError> {
    match File::create_new(marker) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StoreError::io("create", marker)(error)),
    }
    sync_parent(marker)
}

/// Removes a file for good. Returns whether it was there.
pub(crate) fn remove(file: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(file) {
        Ok(()) => {
            sync_parent(file)?;
            Ok(true)
        }
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(StoreError::io("remove", file)(error)),
    }
}

/// Removes files for good, those that are there.
pub(crate) fn remove_all(files: &[PathBuf]) -> Result<(), StoreError> {
    let mut directories = HashSet::new();
    for file in files {
        match fs::remove_file(file) {
            Ok(()) => directories.extend(file.parent()),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(StoreError::io("remove", file)(error)),
        }
    }
    directories.into_iter().try_for_each(sync_directory)
}

/// Size and age of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// In bytes.
    pub(crate) size: u64,
    /// Since it was written or [touched](touch); zero where the clock was set back since.
    pub(crate) age: Duration,
}

/// What is known about a file without reading it, `None` if there is none.
pub(crate) fn look_at(file: &Path) -> Result<Option<Facts>, StoreError> {
    let facts = |metadata: fs::Metadata| {
        Ok(Facts {
            size: metadata.len(),
            age: metadata.modified()?.elapsed().unwrap_or_default(),
        })
    };
    match fs::metadata(file).and_then(facts) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(StoreError::io("look at", file)(error)),
    }
}

/// Makes a file young again, if it is there. Returns whether it is.
///
/// This is not made durable: a crash makes the file older, no more.
pub(crate) fn touch(file: &Path) -> Result<bool, StoreError> {
    let Some(facts) = look_at(file)? else {
        return Ok(false);
    };
    if facts.age >= TOUCH_AFTER {
        let touched = File::options()
            .write(true)
            .open(file)
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            // Whoever asks for the file still gets it; only garbage collection may come too early.
            tracing::warn!(file = %file.display(), %error, "the use of a file could not be noted");
        }
    }
    Ok(true)
}

/// Whether the error says that the file, or a directory on the way to it, does not exist.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    // A file where a directory is looked for has nothing below it.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The size of a file in bytes, `None` if there is none.
pub(crate) fn size_of(file: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(StoreError::io("look at", file)(error)),
    }
}

/// Calls `visit` with the name of each entry of `directory` that is text; a directory that does not
/// exist is empty. `visit` returns whether it wants more.
pub(crate) fn for_each_name(
    directory: &Path,
    mut visit: impl FnMut(&str) -> bool,
) -> Result<(), StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(StoreError::io("list", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", directory))?;
        if let Some(name) = entry.file_name().to_str()
            && !visit(name)
        {
            break;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// The directories that this process knows to be durable.
///
/// That a directory exists is not enough: a process that died may have created it without getting
/// to sync its parent. So the first use in each process syncs every level below the root.
#[derive(Debug, Default)]
pub(crate) struct DurableDirectories {
    known: Mutex<HashSet<PathBuf>>,
}

impl DurableDirectories {
    /// Creates `directory` and what is missing of the way from `root` to it.
    ///
    /// `root` itself must be there and durable, and `directory` below it.
    pub(crate) fn ensure(&self, root: &Path, directory: &Path) -> Result<(), StoreError> {
        if directory == root || self.lock().contains(directory) {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.ensure(root, parent)?;
        }
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create the directory", directory)(error)),
        }
        sync_parent(directory)?;
        self.lock().insert(directory.to_path_buf());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // The set is valid after every single operation, whatever the thread that panicked did.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
