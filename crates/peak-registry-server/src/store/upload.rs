//! A blob on its way in.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::str::FromStr;

use peak_oci::{Algorithm, Digest, Hasher};
use uuid::Uuid;

use crate::store::{Repository, StoreError, disk};

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
    file: File,
    path: PathBuf,
    hasher: Hasher,
    algorithm: Algorithm,
    received: u64,
    broken: bool,
    published: bool,
}

impl Upload {
    pub(crate) fn start(repository: Repository, algorithm: Algorithm) -> Result<Self, StoreError> {
        let id = UploadId(Uuid::new_v4());
        let path = repository.store().layout().temporary().join(id.to_string());
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        Ok(Self {
            repository,
            id,
            file,
            path,
            hasher: Hasher::new(algorithm),
            algorithm,
            received: 0,
            broken: false,
            published: false,
        })
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
        if let Err(error) = self.file.write_all(bytes) {
            // How much of it was written is unknown, and so is the state of the hash.
            self.broken = true;
            return Err(StoreError::io("write", &self.path)(error));
        }
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Says which algorithm the digest will have. While nothing has been written this saves
    /// reading the file again in [`finish`](Self::finish); later it does nothing.
    pub fn expect_algorithm(&mut self, algorithm: Algorithm) {
        if self.received == 0 {
            self.algorithm = algorithm;
            self.hasher = Hasher::new(algorithm);
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
        if self.broken {
            return Err(StoreError::UploadBroken);
        }
        let actual = if digest.algorithm() == self.algorithm {
            std::mem::replace(&mut self.hasher, Hasher::new(self.algorithm)).finish()
        } else {
            self.hash_again(digest.algorithm())?
        };
        if actual != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        self.file
            .sync_all()
            .map_err(StoreError::io("make durable", &self.path))?;
        let store = self.repository.store();
        let content = store.layout().content(digest);
        store.ensure_parent(&content)?;
        // Held over both steps: between them the content is what garbage looks like.
        let _adding = store.adding();
        // Over content that is there already: it is the same, or it is damaged and this mends it.
        disk::publish(&self.path, &content)?;
        self.published = true;
        self.repository.create_blob_link(digest)?;
        Ok(self.received)
    }

    /// Gives the upload up and removes what was written.
    pub fn cancel(mut self) -> Result<(), StoreError> {
        self.published = true;
        fs::remove_file(&self.path).map_err(StoreError::io("remove", &self.path))
    }

    /// The digest by another algorithm than the one that was reckoned along.
    fn hash_again(&mut self, algorithm: Algorithm) -> Result<Digest, StoreError> {
        let read = |file: &mut File| -> io::Result<Digest> {
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(HASH_BUFFER, file);
            let mut hasher = Hasher::new(algorithm);
            let mut buffer = vec![0; HASH_BUFFER];
            loop {
                let count = reader.read(&mut buffer)?;
                match buffer.get(..count) {
                    None | Some([]) => return Ok(hasher.finish()),
                    Some(bytes) => hasher.update(bytes),
                }
            }
        };
        read(&mut self.file).map_err(StoreError::io("read", &self.path))
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
        if !self.published {
            // Nobody is left to tell; the next start removes what stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}
