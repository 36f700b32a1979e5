//! The content-addressed directory: synchronous, crash-safe, one process at a time.

mod disk;
mod error;
mod layout;
mod manifests;
mod page;
mod repository;
mod upload;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use peak_oci::RepositoryName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use disk::DurableDirectories;
use layout::Layout;

pub use error::StoreError;
pub use manifests::StoredManifest;
pub use page::Page;
pub use repository::{Blob, Repository};
pub use upload::{Upload, UploadId, UploadIdError};

/// The version of the layout on disk that this code writes.
const LAYOUT_VERSION: u32 = 1;

/// The file that says what the directory is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    layout_version: u32,
}

/// Blobs, manifests and tags of many repositories in one directory on disk.
///
/// Clones are handles to the same open store. The directory stays locked until the last handle,
/// [`Repository`] and [`Upload`] of it is dropped; [`close`](Self::close) waits for that.
///
/// All methods block on the disk; async code calls them where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    directories: DurableDirectories,
    /// Read: adding what depends on other content being there. Write: taking content away.
    changes: RwLock<()>,
    /// Who closes the store takes this, and hears from it when the other end is gone.
    closing: Mutex<Option<Receiver<()>>>,
    /// Holds the lock on the directory; the operating system frees it with the file.
    _lock: File,
    /// Nothing is ever sent. The last field, so that it goes when the lock has gone.
    _open: Sender<()>,
}

impl Store {
    /// Opens the store in `directory`, creating both if they do not exist.
    ///
    /// What a process that died left unfinished is removed: uploads and temporary files are
    /// dropped, deletions that were decided are completed.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if the directory is open elsewhere, [`StoreError::NotAStore`] if it
    /// holds something else, [`StoreError::Io`] if the file system refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        create_root(directory)?;
        let layout = Layout::new(directory);
        let lock = lock(&layout)?;
        let (open, closing) = channel();
        let store = Self {
            inner: Arc::new(Inner {
                layout,
                directories: DurableDirectories::default(),
                changes: RwLock::new(()),
                closing: Mutex::new(Some(closing)),
                _lock: lock,
                _open: open,
            }),
        };
        store.prepare()?;
        store.finish_deletions()?;
        Ok(store)
    }

    /// Drops this handle and waits until the directory is free: until every other handle is dropped
    /// too, whoever has it, such as a request that the server has given up but that still writes.
    ///
    /// If another thread closes the store as well, one of the two does not wait.
    pub fn close(self) {
        let closing = self
            .inner
            .closing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(self);
        if let Some(closing) = closing {
            // The error that the other end is gone is what is waited for.
            let _ = closing.recv();
        }
    }

    /// The directory that the store is in.
    pub fn directory(&self) -> &Path {
        self.inner.layout.root()
    }

    /// A handle for one repository. The repository need not exist: it comes into being with the
    /// first blob or manifest.
    pub fn repository(&self, name: &RepositoryName) -> Repository {
        Repository::new(self.clone(), name.clone())
    }

    /// The names of all repositories that have any blob or manifest, sorted.
    pub fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        Ok(self.repositories_page(None, usize::MAX)?.items)
    }

    /// At most `limit` repository names that sort after `last`, in memory that grows with `limit`
    /// and not with the number of repositories.
    pub fn repositories_page(
        &self,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, StoreError> {
        self.repositories_page_of(|_| true, last, limit)
    }

    /// As [`repositories_page`](Self::repositories_page), of those repositories alone that
    /// `is_visible` says may be seen.
    pub(crate) fn repositories_page_of(
        &self,
        is_visible: impl Fn(&RepositoryName) -> bool,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, StoreError> {
        let mut page = page::Collector::new(last, limit);
        let mut failure = None;
        disk::for_each_name(&self.inner.layout.repositories(), |entry| {
            if let Some(name) =
                layout::repository_of(entry).filter(|name| page.wants(name) && is_visible(name))
            {
                match self.repository(&name).exists() {
                    Ok(true) => page.add(name),
                    Ok(false) => {}
                    Err(error) => failure = Some(error),
                }
            }
            failure.is_none()
        })?;
        failure.map_or_else(|| Ok(page.finish()), Err)
    }

    fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Creates a directory of the store so that what is put into it is durable.
    fn ensure_directory(&self, directory: &Path) -> Result<(), StoreError> {
        self.inner
            .directories
            .ensure(self.inner.layout.root(), directory)
    }

    /// Creates the directory that `file` will stand in.
    fn ensure_parent(&self, file: &Path) -> Result<(), StoreError> {
        file.parent()
            .map_or(Ok(()), |parent| self.ensure_directory(parent))
    }

    /// Writes a small file of the store, durably and all or nothing.
    fn write_file(&self, destination: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.ensure_parent(destination)?;
        disk::write_file(&self.temporary_path(), destination, bytes)
    }

    /// A name for an unfinished file that nobody else has.
    fn temporary_path(&self) -> PathBuf {
        self.inner
            .layout
            .temporary()
            .join(Uuid::new_v4().to_string())
    }

    fn adding(&self) -> RwLockReadGuard<'_, ()> {
        // The lock guards the order of changes on disk, not a value that could be half-written.
        self.inner
            .changes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn removing(&self) -> RwLockWriteGuard<'_, ()> {
        self.inner
            .changes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks or writes the marker and brings the directories into the state of a fresh start.
    fn prepare(&self) -> Result<(), StoreError> {
        let layout = self.layout();
        let marker = layout.marker();
        match fs::read(&marker) {
            Ok(bytes) => check_marker(layout, &bytes)?,
            Err(error) if disk::is_absent(&error) => {
                refuse_foreign_content(layout)?;
                self.ensure_directory(&layout.temporary())?;
                let bytes = serde_json::to_vec(&Marker {
                    layout_version: LAYOUT_VERSION,
                })
                .map_err(|error| StoreError::io("write", &marker)(error.into()))?;
                self.write_file(&marker, &bytes)?;
            }
            Err(error) => return Err(StoreError::io("read", &marker)(error)),
        }
        let temporary = layout.temporary();
        self.ensure_directory(&temporary)?;
        remove_leftovers(&temporary)?;
        self.ensure_directory(&layout.deleting())?;
        self.ensure_directory(&layout.repositories())
    }
}

/// Creates the store's own directory and what is missing above it, durably.
fn create_root(directory: &Path) -> Result<(), StoreError> {
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
    match disk::sync_directory(directory) {
        // One that we may pass through but not read was there before, made durable by its owner.
        Err(StoreError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Ok(())
        }
        result => result,
    }
}

fn lock(layout: &Layout) -> Result<File, StoreError> {
    let path = layout.lock();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            directory: layout.root().to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

fn check_marker(layout: &Layout, bytes: &[u8]) -> Result<(), StoreError> {
    let refuse = |reason| StoreError::NotAStore {
        directory: layout.root().to_path_buf(),
        reason,
    };
    let marker: Marker = serde_json::from_slice(bytes)
        .map_err(|_| refuse("its registry.json is not one of a registry".to_owned()))?;
    if marker.layout_version == LAYOUT_VERSION {
        Ok(())
    } else {
        Err(refuse(format!(
            "its layout has version {}, known is {LAYOUT_VERSION}",
            marker.layout_version
        )))
    }
}

/// A directory without a marker must be new: a store is never mixed into somebody's files.
fn refuse_foreign_content(layout: &Layout) -> Result<(), StoreError> {
    let mut foreign = None;
    disk::for_each_name(layout.root(), |name| {
        if name != layout::LOCK && name != layout::TEMPORARY {
            foreign = Some(name.to_owned());
        }
        foreign.is_none()
    })?;
    foreign.map_or(Ok(()), |name| {
        Err(StoreError::NotAStore {
            directory: layout.root().to_path_buf(),
            reason: format!("it has no registry.json, but other files such as {name:?}"),
        })
    })
}

/// Removes the unfinished files of a process that died.
fn remove_leftovers(temporary: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(temporary).map_err(StoreError::io("list", temporary))?;
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", temporary))?.path();
        // A symbolic link is removed itself, and what it points to is left alone.
        disk::remove(&path)?;
    }
    Ok(())
}
