//! One repository: which blobs, manifests and tags it has.

use std::path::Path;

use peak_oci::{Algorithm, Digest, RepositoryName, Tag};

use crate::store::layout::{self, RepositoryLayout};
use crate::store::page::{self, Page};
use crate::store::{BlobReader, Store, StoreError, Upload};

/// A handle for one repository of a [`Store`]; cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Store,
    name: RepositoryName,
    paths: RepositoryLayout,
}

/// A blob, opened for reading.
///
/// Deleting the blob meanwhile does not disturb the reader.
#[derive(Debug)]
#[non_exhaustive]
pub struct Blob {
    /// The content, at its start.
    pub content: BlobReader,
    /// How many bytes it has.
    pub size: u64,
    /// What it is called.
    pub digest: Digest,
}

impl Repository {
    pub(crate) fn new(store: Store, name: RepositoryName) -> Self {
        let paths = store.layout().repository(&name);
        Self { store, name, paths }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn paths(&self) -> &RepositoryLayout {
        &self.paths
    }

    /// The repository's name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Whether the repository has any blob or manifest.
    pub fn exists(&self) -> Result<bool, StoreError> {
        for directory in [self.paths.manifests(), self.paths.blobs()] {
            let mut found = false;
            self.store.files().for_each_name(&directory, |name| {
                found = layout::digest_of(name).is_some();
                !found
            })?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the repository has this blob. Asking counts as a use: garbage collection leaves the blob
    /// alone for its grace time, so that a push may rely on the answer.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let _adding = self.store.adding();
        self.use_blob(digest)
    }

    /// As [`has_blob`](Self::has_blob), for callers that hold the lock for adding.
    fn use_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let present = self.store.files().touch(&self.paths.blob(digest))?;
        if present {
            self.store.uses().note(digest);
        }
        Ok(present)
    }

    /// Whether the repository has this blob, without counting as a use.
    pub(crate) fn links_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let link = self.paths.blob(digest);
        Ok(self.store.files().size_of(&link)?.is_some())
    }

    /// The size of a blob in bytes. Asking counts as a use, as for [`has_blob`](Self::has_blob).
    ///
    /// # Errors
    ///
    /// [`StoreError::BlobUnknown`] if this repository does not have the blob.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64, StoreError> {
        let _adding = self.store.adding();
        self.size_of_blob(digest)?
            .ok_or_else(|| self.blob_unknown(digest))
    }

    /// The size of a blob that is about to be relied on, in bytes; `None` if this repository does not
    /// have it. For callers that hold the lock for adding.
    pub(crate) fn size_of_blob(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        if self.use_blob(digest)? {
            self.content_size(digest).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlobUnknown`] if this repository does not have the blob.
    pub fn blob(&self, digest: &Digest) -> Result<Blob, StoreError> {
        if !self.links_blob(digest)? {
            return Err(self.blob_unknown(digest));
        }
        let path = self.store.layout().content(digest);
        let content = match self.store.files().open(&path)? {
            Some(content) => content,
            None if self.links_blob(digest)? => return Err(self.content_missing(digest)),
            // Garbage collection came between the two looks: it takes the link first.
            None => return Err(self.blob_unknown(digest)),
        };
        let size = content.size().map_err(StoreError::io("look at", &path))?;
        Ok(Blob {
            content,
            size,
            digest: digest.clone(),
        })
    }

    /// Starts a blob whose digest will most likely be a SHA-256 one.
    pub fn new_upload(&self) -> Result<Upload, StoreError> {
        self.new_upload_with(Algorithm::Sha256)
    }

    /// Starts a blob whose digest will most likely be by `algorithm`. Another one works too, but
    /// costs reading the blob again.
    pub fn new_upload_with(&self, algorithm: Algorithm) -> Result<Upload, StoreError> {
        Upload::start(self.clone(), algorithm)
    }

    /// As [`new_upload_with`](Self::new_upload_with), for an upload that outlasts the process once
    /// it is told to [`keep`](Upload::keep): [`Store::take_left_uploads`] finds it at the next start.
    pub(crate) fn new_lasting_upload(&self, algorithm: Algorithm) -> Result<Upload, StoreError> {
        Upload::start_lasting(self.clone(), algorithm)
    }

    /// Gives this repository a blob that another one has. Returns whether that one had it.
    pub fn link_blob_from(
        &self,
        other: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let _adding = self.store.adding();
        if !self.store.repository(other).use_blob(digest)? {
            return Ok(false);
        }
        self.create_blob_link(digest)?;
        Ok(true)
    }

    /// Gives this repository a blob that any repository has of those that `may_read` lets through.
    /// Returns whether there was one.
    ///
    /// Looks through all repositories, unless the store does not have the content at all.
    pub fn link_blob_from_any(
        &self,
        digest: &Digest,
        may_read: impl Fn(&RepositoryName) -> bool,
    ) -> Result<bool, StoreError> {
        let _adding = self.store.adding();
        let layout = self.store.layout();
        if self
            .store
            .files()
            .size_of(&layout.content(digest))?
            .is_none()
        {
            return Ok(false);
        }
        let mut found = Ok(false);
        self.store
            .files()
            .for_each_name(&layout.repositories(), |entry| {
                if let Some(name) = layout::repository_of(entry).filter(&may_read) {
                    // A second lock for adding would never come while somebody waits to remove.
                    found = self.store.repository(&name).use_blob(digest);
                }
                matches!(found, Ok(false))
            })?;
        if found? {
            self.create_blob_link(digest)?;
            Ok(true)
        } else {
            Ok(false)
        }
    }

    /// Takes a blob from this repository. Other repositories keep it, and so do manifests that
    /// point to it: they cannot be pulled any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlobUnknown`] if this repository does not have the blob.
    pub fn delete_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let _removing = self.store.removing();
        if self.store.files().remove(&self.paths.blob(digest))? {
            Ok(())
        } else {
            Err(self.blob_unknown(digest))
        }
    }

    /// All tags, sorted by their bytes.
    pub fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        Ok(self.tags_page(None, usize::MAX)?.items)
    }

    /// At most `limit` tags that sort after `last`, in memory that grows with `limit` and not with
    /// the number of tags.
    pub fn tags_page(&self, last: Option<&str>, limit: usize) -> Result<Page<Tag>, StoreError> {
        let mut page = page::Collector::new(last, limit);
        self.store
            .files()
            .for_each_name(&self.paths.tags(), |name| {
                if let Some(tag) = name.parse::<Tag>().ok().filter(|tag| page.wants(tag)) {
                    page.add(tag);
                }
                true
            })?;
        Ok(page.finish())
    }

    /// Makes content that is in the store part of this repository. The caller holds the store's
    /// lock for adding.
    pub(crate) fn create_blob_link(&self, digest: &Digest) -> Result<(), StoreError> {
        self.store.uses().note(digest);
        self.store.files().create_marker(&self.paths.blob(digest))
    }

    /// All blobs, in no order.
    pub(crate) fn blob_digests(&self) -> Result<Vec<Digest>, StoreError> {
        self.digests_in(&self.paths.blobs())
    }

    /// All manifests, in no order.
    pub(crate) fn manifest_digests(&self) -> Result<Vec<Digest>, StoreError> {
        self.digests_in(&self.paths.manifests())
    }

    fn digests_in(&self, directory: &Path) -> Result<Vec<Digest>, StoreError> {
        let mut digests = Vec::new();
        self.store.files().for_each_name(directory, |name| {
            digests.extend(layout::digest_of(name));
            true
        })?;
        Ok(digests)
    }

    /// The size of content that this repository has a link to.
    pub(crate) fn content_size(&self, digest: &Digest) -> Result<u64, StoreError> {
        self.store
            .files()
            .size_of(&self.store.layout().content(digest))?
            .ok_or_else(|| self.content_missing(digest))
    }

    pub(crate) fn content_missing(&self, digest: &Digest) -> StoreError {
        StoreError::Damaged {
            path: self.store.layout().content(digest),
            reason: format!("repository {} has it, but the file is missing", self.name),
        }
    }

    fn blob_unknown(&self, digest: &Digest) -> StoreError {
        StoreError::BlobUnknown {
            repository: self.name.clone(),
            digest: digest.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Far longer than anything here takes, for what would otherwise wait for ever.
    const NEVER: Duration = Duration::from_secs(30);

    #[test]
    fn a_blob_is_looked_for_everywhere_while_a_deletion_waits() {
        let store = Store::in_memory();
        let [source, target] = ["demo/source", "demo/target"]
            .map(|name| store.repository(&name.parse().expect("a name")));
        let digest = Digest::sha256_of(b"blob");
        let mut upload = source.new_upload().expect("an upload");
        upload.write(b"blob").expect("room");
        upload.finish(&digest).expect("a blob");

        let (done, outcome) = channel();
        let wanted = digest.clone();
        thread::spawn(move || {
            let found = target.link_blob_from_any(&wanted, |_| {
                let deleting = target.clone();
                let other = Digest::sha256_of(b"another");
                thread::spawn(move || deleting.delete_blob(&other));
                // Nobody else adds, so it is the deletion that keeps readers out from now on.
                while store.inner.changes.try_read().is_ok() {
                    thread::yield_now();
                }
                true
            });
            done.send(found.expect("a search"))
        });
        assert_eq!(outcome.recv_timeout(NEVER), Ok(true));
    }
}
