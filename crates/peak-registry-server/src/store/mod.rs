//! The content-addressed files: synchronous, crash-safe, one process at a time.

mod check;
mod deletion;
mod error;
mod files;
mod garbage;
mod layout;
mod manifests;
mod page;
#[cfg(test)]
mod power_tests;
mod record;
mod repository;
mod stop;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use peak_oci::{Algorithm, Digest, RepositoryName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use files::{Disk, FileSystem, Files, Memory};
use garbage::Uses;
use layout::Layout;

pub use check::{CheckOptions, CheckReport, Finding, FindingKind};
pub use error::StoreError;
pub(crate) use error::with_causes;
pub use files::BlobReader;
pub use garbage::{GarbageCount, GarbageOptions, GarbageProblem, GarbageReport};
pub use manifests::StoredManifest;
pub use page::Page;
pub use repository::{Blob, Repository};
pub use upload::{Upload, UploadId, UploadIdError};

/// The version of the layout on disk that this code writes.
const LAYOUT_VERSION: u32 = 1;

/// The largest marker that is read, in bytes; what the store writes is far below.
const MAX_MARKER: u64 = 64 * 1024;

/// What stands for the directory in the paths of a store in memory.
const IN_MEMORY: &str = "memory";

/// The file that says what the directory is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    layout_version: u32,
}

/// Blobs, manifests and tags of many repositories, in one directory on disk or in memory.
///
/// Clones are handles to the same open store. The directory stays locked until the last handle,
/// [`Repository`] and [`Upload`] of it is dropped; [`close`](Self::close) waits for that. What is in
/// memory goes with the last handle.
///
/// All methods block on the disk; async code calls them where blocking is allowed.
///
/// ```
/// use peak_registry_server::Store;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temporary = tempfile::tempdir()?;
/// # let directory = temporary.path();
/// let store = Store::open(directory)?;
/// let repository = store.repository(&"demo/hello".parse()?);
///
/// let mut upload = repository.new_upload()?;
/// upload.write(b"hello")?;
/// let digest = peak_oci::Digest::sha256_of(b"hello");
/// assert_eq!(upload.finish(&digest)?, 5);
///
/// assert!(repository.has_blob(&digest)?);
/// assert!(!store.repository(&"demo/other".parse()?).has_blob(&digest)?);
/// # Ok(())
/// # }
/// ```
///
/// # On disk
///
/// | path | what |
/// |---|---|
/// | `registry.json` | says that the directory is a store, and the version of its layout |
/// | `lock` | locked while a process has the store open |
/// | `clean` | empty; the store is closed, and was closed properly |
/// | `blobs/<algorithm>/<first 2 digits>/<hex>` | the bytes of a blob or manifest, once for all repositories |
/// | `repositories/<name, with + for />/blobs/<algorithm>-<hex>` | empty; the repository has this blob |
/// | `repositories/…/manifests/<algorithm>-<hex>` | JSON; the repository has this manifest, with its media type and, where its digest is not that of its bytes, theirs |
/// | `repositories/…/tags/<tag>` | the digest that the tag points to |
/// | `repositories/…/referrers/<subject>/<algorithm>-<hex>` | empty; this manifest names that subject |
/// | `uploads/<name, with + for />/<algorithm>-<number>` | what has arrived of an upload that is not finished |
/// | `temporary/` | other unfinished files; emptied when the store is opened |
/// | `deleting/` | manifests whose deletion is decided; completed when the store is opened |
///
/// Every file is written under a temporary name, synced, renamed, and the directory synced, before
/// anything is acknowledged. After a crash at any point the store is valid: what was acknowledged
/// is there, and nothing else is visible. Tags need a file system that tells upper from lower case.
///
/// [`in_memory`](Self::in_memory) keeps the same files in memory instead, for tests.
///
/// # Garbage
///
/// What is deleted frees its space when [`collect_garbage`](Self::collect_garbage) runs, which nothing does by
/// itself: the blobs of a repository that none of its manifests names go, then the bytes that no
/// repository names any more, and if so asked the manifests that no tag reaches. Pushes and pulls
/// go on meanwhile. A blob that was pushed, mounted or asked for within the grace time stays, so
/// that a push may rely on what it was told; being asked for is noted as the time of the link's
/// file, which outlives a restart and takes no memory.
///
/// ```
/// use std::time::Duration;
/// use peak_registry_server::{GarbageOptions, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::in_memory();
/// let mut upload = store.repository(&"demo/hello".parse()?).new_upload()?;
/// upload.write(b"never used by any manifest")?;
/// upload.finish(&peak_oci::Digest::sha256_of(b"never used by any manifest"))?;
///
/// // It could be the beginning of a push …
/// let report = store.collect_garbage(&GarbageOptions::new())?;
/// assert_eq!((report.blobs.removed, report.blobs.spared), (0, 1));
/// // … unless somebody says that it is not.
/// let report = store.collect_garbage(&GarbageOptions::new().grace(Duration::ZERO))?;
/// assert_eq!((report.blobs.removed, report.removed_bytes), (1, 26));
/// # Ok(())
/// # }
/// ```
///
/// # Checking
///
/// After an end that was not a proper one the store looks at its start whether everything is there
/// that it says ([`start_report`](Self::start_report)); [`check`](Self::check) does that at any time, and reads every
/// blob too if so asked. What a crash leaves is put in order. What is damaged is told and left, as
/// pushing it again mends it; the rest is served.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    /// Read: adding what depends on other content being there. Write: taking content away.
    changes: RwLock<()>,
    /// What a collection of garbage must leave alone.
    uses: Uses,
    /// What the check at the start found, or `None` if there was no need for one. Empty until the store is
    /// open, and for one in memory.
    start: OnceLock<Option<CheckReport>>,
    /// Whether the uploads of an earlier process have been taken over.
    left_uploads_taken: AtomicBool,
    /// Who closes the store takes this, and hears from it when the other end is gone.
    closing: Mutex<Option<Receiver<()>>>,
    /// On disk these hold the lock on the directory.
    files: Files,
    /// Nothing is ever sent. The last field, so that it goes when the lock has gone.
    _open: Sender<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Only what was opened to the end is a store, and was checked.
        if self.start.get().is_some()
            && let Err(error) = self.files.create_marker(&self.layout.clean())
        {
            tracing::warn!(%error, "the registry will be checked at its next start");
        }
    }
}

impl Store {
    /// Opens the store in `directory`, creating both if they do not exist.
    ///
    /// What a process that died left unfinished is dealt with: temporary files are removed,
    /// deletions that were decided are completed, and a [`check`](Self::check) puts in order what else
    /// there may be. After a proper end there is no need for that. Uploads that may outlast a process
    /// stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if the directory is open elsewhere, [`StoreError::NotAStore`] if it
    /// holds something else, [`StoreError::Io`] if the file system refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let layout = Layout::new(directory);
        let disk = Disk::open(directory, &layout.lock())?;
        Self::recovered(layout, Box::new(disk))
    }

    /// A new, empty store in memory, which goes with its last handle.
    pub fn in_memory() -> Self {
        Self::in_memory_up_to(u64::MAX)
    }

    /// As [`in_memory`](Self::in_memory), for at most `limit` bytes of content, that of unfinished
    /// uploads included; each file that the store would have on disk counts 256 bytes besides. What
    /// goes beyond is refused with an error that is
    /// [`is_storage_full`](StoreError::is_storage_full).
    pub fn in_memory_up_to(limit: u64) -> Self {
        Self::over(
            Layout::new(Path::new(IN_MEMORY)),
            Box::new(Memory::new(limit)),
        )
    }

    /// A store over files that an earlier process may have left in any state that a crash leaves.
    fn recovered(layout: Layout, system: Box<dyn FileSystem>) -> Result<Self, StoreError> {
        let store = Self::over(layout, system);
        store.prepare()?;
        // From here until it is closed, the store's end is an unclean one.
        let was_clean = store.files().remove(&store.layout().clean())?;
        store.finish_deletions()?;
        let report = if was_clean {
            None
        } else {
            Some(store.check(&CheckOptions::new())?)
        };
        // Nobody else has the store yet, so it is not set.
        let _ = store.inner.start.set(report);
        Ok(store)
    }

    fn over(layout: Layout, system: Box<dyn FileSystem>) -> Self {
        let (open, closing) = channel();
        Self {
            inner: Arc::new(Inner {
                files: Files::new(layout.root(), system),
                layout,
                changes: RwLock::new(()),
                uses: Uses::default(),
                start: OnceLock::new(),
                left_uploads_taken: AtomicBool::new(false),
                closing: Mutex::new(Some(closing)),
                _open: open,
            }),
        }
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

    /// What the check at the start found. `None` if the store was closed properly, or is in memory, when
    /// there is none.
    pub fn start_report(&self) -> Option<&CheckReport> {
        self.inner.start.get()?.as_ref()
    }

    /// The directory that the store is in, `None` if it is in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.files().directory()
    }

    /// Whether the store can be read at all: one look at one of its files, for those who watch over it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the file system refuses, [`StoreError::Damaged`] if the store is gone.
    pub fn probe(&self) -> Result<(), StoreError> {
        if self.directory().is_none() {
            return Ok(());
        }
        let marker = self.layout().marker();
        match self.files().read(&marker, MAX_MARKER)? {
            Some(_) => Ok(()),
            None => Err(StoreError::Damaged {
                path: marker,
                reason: "it is not there any more".to_owned(),
            }),
        }
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
        self.files()
            .for_each_name(&self.layout().repositories(), |entry| {
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

    /// Takes over the uploads that an earlier process left, each with when it was last written to.
    /// Whoever asks first gets them; those that are made from then on are nobody else's.
    pub(crate) fn take_left_uploads(&self) -> Result<Vec<(Upload, SystemTime)>, StoreError> {
        if self.inner.left_uploads_taken.swap(true, Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let uploads = self.layout().uploads();
        let mut repositories = Vec::new();
        self.files().for_each_name(&uploads, |entry| {
            repositories
                .extend(layout::repository_of(entry).map(|name| (uploads.join(entry), name)));
            true
        })?;
        let mut left = Vec::new();
        for (directory, name) in repositories {
            let mut found = Vec::new();
            self.files().for_each_name(&directory, |file| {
                found.extend(layout::upload_of(file));
                true
            })?;
            for (algorithm, id) in found {
                left.extend(Upload::left(self.repository(&name), algorithm, id)?);
            }
        }
        Ok(left)
    }

    fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    fn files(&self) -> &Files {
        &self.inner.files
    }

    fn uses(&self) -> &Uses {
        &self.inner.uses
    }

    /// The repositories that have a directory, whether or not there is anything in it.
    fn repository_directories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        let mut names = Vec::new();
        self.files()
            .for_each_name(&self.layout().repositories(), |entry| {
                names.extend(layout::repository_of(entry));
                true
            })?;
        Ok(names)
    }

    /// The directories that content lies in.
    fn content_directories(&self) -> Result<Vec<PathBuf>, StoreError> {
        let contents = self.layout().contents();
        let mut directories = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let of_algorithm = contents.join(algorithm.to_string());
            self.files().for_each_name(&of_algorithm, |name| {
                if is_content_directory(name) {
                    directories.push(of_algorithm.join(name));
                }
                true
            })?;
        }
        Ok(directories)
    }

    /// The digest of the content that has this name in one of the
    /// [directories](Self::content_directories).
    fn content_digest(&self, directory: &Path, name: &str) -> Option<Digest> {
        let algorithm = directory.parent()?.file_name()?.to_str()?;
        let digest = format!("{algorithm}:{name}").parse::<Digest>().ok()?;
        (self.layout().content(&digest) == directory.join(name)).then_some(digest)
    }

    /// The digests of all content in one of the directories.
    fn content_digests(&self, directory: &Path) -> Result<Vec<Digest>, StoreError> {
        let mut digests = Vec::new();
        self.files().for_each_name(directory, |name| {
            digests.extend(self.content_digest(directory, name));
            true
        })?;
        Ok(digests)
    }

    /// Writes a small file of the store, durably and all or nothing.
    fn write_file(&self, destination: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.files()
            .write(&self.temporary_path(), destination, bytes)
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
        let (layout, files) = (self.layout(), self.files());
        let marker = layout.marker();
        if let Some(bytes) = files.read(&marker, MAX_MARKER)? {
            check_marker(layout, &bytes)?;
        } else {
            self.refuse_foreign_content()?;
            files.ensure_directory(&layout.temporary())?;
            let bytes = serde_json::to_vec(&Marker {
                layout_version: LAYOUT_VERSION,
            })
            .map_err(|error| StoreError::io("write", &marker)(error.into()))?;
            self.write_file(&marker, &bytes)?;
        }
        files.ensure_directory(&layout.temporary())?;
        self.remove_leftovers()?;
        self.tidy_uploads()?;
        files.ensure_directory(&layout.deleting())?;
        files.ensure_directory(&layout.repositories())
    }

    /// A directory without a marker must be new: a store is never mixed into somebody's files.
    fn refuse_foreign_content(&self) -> Result<(), StoreError> {
        let root = self.layout().root();
        let mut foreign = None;
        self.files().for_each_name(root, |name| {
            if name != layout::LOCK && name != layout::TEMPORARY {
                foreign = Some(name.to_owned());
            }
            foreign.is_none()
        })?;
        foreign.map_or(Ok(()), |name| {
            Err(StoreError::NotAStore {
                directory: root.to_path_buf(),
                reason: format!("it has no registry.json, but other files such as {name:?}"),
            })
        })
    }

    /// Removes the directories of repositories that no upload is left of.
    fn tidy_uploads(&self) -> Result<(), StoreError> {
        let uploads = self.layout().uploads();
        let mut directories = Vec::new();
        self.files().for_each_name(&uploads, |name| {
            directories.push(uploads.join(name));
            true
        })?;
        for directory in &directories {
            self.files().remove_if_empty(directory);
        }
        Ok(())
    }

    /// Removes the unfinished files of a process that died.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        let temporary = self.layout().temporary();
        let mut leftovers = Vec::new();
        self.files().for_each_name(&temporary, |name| {
            leftovers.push(temporary.join(name));
            true
        })?;
        leftovers
            .iter()
            .try_for_each(|file| self.files().discard(file).map(drop))
    }
}

/// Whether content may lie in the directory of this name: the first two digits of its digest.
fn is_content_directory(name: &str) -> bool {
    name.len() == 2
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
