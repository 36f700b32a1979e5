//! A blob on its way in.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use peak_oci::{Algorithm, Digest, Hasher};
use uuid::Uuid;

use crate::store::files::FileWriter;
use crate::store::{Repository, StoreError};

/// How much of a file is hashed at a time, in bytes.
const HASH_BUFFER: usize = 256 * 1024;

/// The number of an upload, which no other upload ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(Uuid);

/// The text is not the number of an upload as this store writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the number of an upload")]
pub struct UploadIdError;

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        let id = Self(Uuid::try_parse(text).map_err(|_| UploadIdError)?);
        // The parser takes several spellings; only the one that is given out is an upload's number.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(UploadIdError)
        }
    }
}

/// A blob that is being written to a repository.
///
/// Nothing of it is visible before [`finish`](Self::finish) returns; dropping it removes what was
/// written. It implements [`Write`], so that an encoder can write into it; give it large pieces,
/// as every write goes to the operating system at once.
#[derive(Debug)]
pub struct Upload {
    repository: Repository,
    id: UploadId,
    path: PathBuf,
    /// Open while it is being written to.
    file: Option<Box<dyn FileWriter>>,
    algorithm: Algorithm,
    /// The hash of what was received; `None` if an earlier process received it.
    hasher: Option<Hasher>,
    received: u64,
    broken: bool,
    /// Whether the file stays when this is dropped.
    keep: bool,
}

impl Upload {
    /// Starts an upload that ends with the process.
    pub(crate) fn start(repository: Repository, algorithm: Algorithm) -> Result<Self, StoreError> {
        let id = Uuid::new_v4();
        let path = repository.store().layout().temporary().join(id.to_string());
        Self::create(repository, id, path, algorithm)
    }

    /// Starts an upload that outlasts the process from when [`keep`](Self::keep) is called.
    pub(crate) fn start_lasting(
        repository: Repository,
        algorithm: Algorithm,
    ) -> Result<Self, StoreError> {
        let id = Uuid::new_v4();
        let store = repository.store();
        let path = store.layout().upload(repository.name(), algorithm, id);
        Self::create(repository, id, path, algorithm)
    }

    fn create(
        repository: Repository,
        id: Uuid,
        path: PathBuf,
        algorithm: Algorithm,
    ) -> Result<Self, StoreError> {
        let file = repository.store().files().create(&path)?;
        Ok(Self {
            repository,
            id: UploadId(id),
            path,
            file: Some(file),
            algorithm,
            hasher: Some(Hasher::new(algorithm)),
            received: 0,
            broken: false,
            keep: false,
        })
    }

    /// The upload that an earlier process left, and when it was last written to.
    pub(crate) fn left(
        repository: Repository,
        algorithm: Algorithm,
        id: Uuid,
    ) -> Result<Option<(Self, SystemTime)>, StoreError> {
        let store = repository.store();
        let path = store.layout().upload(repository.name(), algorithm, id);
        let Some(state) = store.files().look_at(&path)? else {
            return Ok(None);
        };
        if state.shared {
            // The power failed while it was published: its file is a blob's already, and nobody may
            // write to that.
            store.files().remove(&path)?;
            return Ok(None);
        }
        let upload = Self {
            repository,
            id: UploadId(id),
            path,
            file: None,
            algorithm,
            hasher: None,
            received: state.size,
            broken: false,
            keep: true,
        };
        Ok(Some((upload, state.modified)))
    }

    /// Names this upload among all of the process.
    pub fn id(&self) -> UploadId {
        self.id
    }

    /// The repository that the blob is for.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// How many bytes have been written.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends bytes to the blob.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the disk refuses; the upload is then of no more use, and every later
    /// call says [`StoreError::UploadBroken`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::UploadBroken);
        }
        // Until all of it is done, how much was written is unknown, and so is the state of the hash.
        self.broken = true;
        let mut hasher = self.take_hasher()?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.repository.store().files().append(&self.path)?),
        };
        file.write(bytes)
            .map_err(StoreError::io("write", &self.path))?;
        hasher.update(bytes);
        self.hasher = Some(hasher);
        self.received += bytes.len() as u64;
        self.broken = false;
        Ok(())
    }

    /// From now on dropping this keeps what was written, for a later process to find.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Lets the operating system have the open file back until the next write, for an upload whose
    /// next bytes may be long in coming.
    pub fn pause(&mut self) {
        self.file = None;
    }

    /// Says which algorithm the digest will have. While nothing has been written this saves
    /// reading the file again in [`finish`](Self::finish); later it does nothing.
    pub fn expect_algorithm(&mut self, algorithm: Algorithm) {
        if self.received == 0 {
            self.algorithm = algorithm;
            self.hasher = Some(Hasher::new(algorithm));
        }
    }

    /// Checks the digest of everything that was written and makes the blob part of the repository.
    /// Returns its size in bytes.
    ///
    /// When this returns `Ok` the blob is on stable storage.
    ///
    /// # Errors
    ///
    /// [`StoreError::DigestMismatch`] if the content is not what `digest` says. On any error what
    /// was written is removed.
    pub fn finish(mut self, digest: &Digest) -> Result<u64, StoreError> {
        self.keep = false;
        if self.broken {
            return Err(StoreError::UploadBroken);
        }
        if digest.algorithm() != self.algorithm {
            self.algorithm = digest.algorithm();
            self.hasher = None;
        }
        let actual = self.take_hasher()?.finish();
        if actual != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        let store = self.repository.store();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => store.files().append(&self.path)?,
        };
        file.sync()
            .map_err(StoreError::io("make durable", &self.path))?;
        drop(file);
        // From here until the repository has it nobody may take the content for unused.
        let _adding = store.adding();
        // Over content that is there already: it is the same, or it is damaged and this mends it.
        store
            .files()
            .publish(&self.path, &store.layout().content(digest))?;
        // There is nothing left to remove.
        self.keep = true;
        self.repository.create_blob_link(digest)?;
        Ok(self.received)
    }

    /// Gives the upload up and removes what was written.
    pub fn cancel(mut self) -> Result<(), StoreError> {
        self.keep = true;
        self.broken = false;
        let store = self.repository.store();
        store.files().discard(&self.path)?;
        // Whoever starts uploads to many repositories and never ends any leaves no directories.
        if let Some(directory) = self.path.parent()
            && directory != store.layout().temporary()
        {
            store.files().remove_if_empty(directory);
        }
        Ok(())
    }

    /// The hash of what was received, read again from the file if that is not known.
    fn take_hasher(&mut self) -> Result<Hasher, StoreError> {
        if let Some(hasher) = self.hasher.take() {
            return Ok(hasher);
        }
        let mut hasher = Hasher::new(self.algorithm);
        if self.received == 0 {
            return Ok(hasher);
        }
        let damaged = |reason| StoreError::Damaged {
            path: self.path.clone(),
            reason,
        };
        let mut content = self
            .repository
            .store()
            .files()
            .open(&self.path)?
            .ok_or_else(|| damaged("an upload's file is missing".to_owned()))?;
        let mut buffer = vec![0; HASH_BUFFER];
        let mut hashed = 0;
        loop {
            let count = content
                .read(&mut buffer)
                .map_err(StoreError::io("read", &self.path))?;
            match buffer.get(..count) {
                None | Some([]) => break,
                Some(bytes) => hasher.update(bytes),
            }
            hashed += count as u64;
        }
        if hashed == self.received {
            Ok(hasher)
        } else {
            Err(damaged(format!(
                "{} bytes of an upload were received, but it has {hashed}",
                self.received
            )))
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.keep || self.broken {
            // Nobody is left to tell. The next start removes what stays, or later the time limit.
            let _ = self.repository.store().files().discard(&self.path);
        }
    }
}
