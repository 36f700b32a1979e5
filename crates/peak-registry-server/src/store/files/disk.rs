//! Files in a directory on disk, locked while they are in use.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::store::StoreError;
use crate::store::files::{BlobReader, FileState, FileSystem, FileWriter};

/// A directory that this process has for itself.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
    /// The operating system frees the lock with the file.
    _lock: File,
}

impl Disk {
    /// Takes `directory`, creating it if it does not exist, by a lock on its file `lock`.
    pub(crate) fn open(directory: &Path, lock: &Path) -> Result<Self, StoreError> {
        create_durably(directory)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            _lock: take_lock(directory, lock)?,
        })
    }
}

impl FileSystem for Disk {
    fn create(&self, file: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(File::create_new(file)?))
    }

    fn append(&self, file: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(File::options().append(true).open(file)?))
    }

    fn open(&self, file: &Path) -> io::Result<BlobReader> {
        File::open(file).map(BlobReader::of_file)
    }

    fn look_at(&self, file: &Path) -> io::Result<FileState> {
        let metadata = fs::metadata(file)?;
        Ok(FileState {
            size: metadata.len(),
            modified: metadata.modified()?,
            shared: has_other_names(&metadata),
        })
    }

    fn touch(&self, file: &Path) -> io::Result<()> {
        File::options()
            .write(true)
            .open(file)?
            .set_modified(SystemTime::now())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        // A symbolic link is removed itself, and what it points to is left alone.
        fs::remove_file(file)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        sync_directory(directory)
    }

    fn list(&self, directory: &Path, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            if let Some(name) = entry?.file_name().to_str()
                && !visit(name)
            {
                break;
            }
        }
        Ok(())
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.directory)
    }
}

impl FileWriter for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    // Only Unix lets a directory be opened and synced; elsewhere the rename itself has to do.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(unix)]
fn has_other_names(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}

/// Creates the store's own directory and what is missing above it, durably.
fn create_durably(directory: &Path) -> Result<(), StoreError> {
    let missing = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .count();
    fs::create_dir_all(directory).map_err(StoreError::io("create the directory", directory))?;
    // The directory itself may have been created by a process that died before it got here.
    directory
        .ancestors()
        .skip(1)
        .take(missing.max(1))
        .try_for_each(sync_ancestor)
}

fn sync_ancestor(directory: &Path) -> Result<(), StoreError> {
    // A relative path of one component has the empty path above it.
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    match sync_directory(directory) {
        // One that we may pass through but not read was there before, made durable by its owner.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result.map_err(StoreError::io("make durable the directory", directory)),
    }
}

fn take_lock(directory: &Path, path: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            directory: directory.to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}
