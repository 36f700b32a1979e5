//! A blob of a layout directory on its way in, and its beginning that an interrupted run has left.
//!
//! The unfinished file has the name of its blob, `<algorithm>-<hex>`, and is locked by whoever writes it. A run that
//! finds it unlocked goes on behind what is there. Nothing about it is believed: all of it is hashed again, from the
//! disk, and the whole has to have the digest in the end. A second writer of the same blob, in this process or another
//! one, gets a file under a name of its own, which nobody goes on with.
//!
//! A beginning goes when it turns out to be wrong, when the blob arrives otherwise, and when it is a week old.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peak_oci::{Descriptor, Digest, Verifier, VerifyError};

use crate::blob::Receiver;
use crate::staging::Staging;
use crate::{LayoutError, document, file};

/// Less than this is fetched again rather than kept, in bytes: it costs less than a look at it.
pub(crate) const WORTH_KEEPING: u64 = 1024 * 1024;

/// How long a beginning waits for the next run.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How much is hashed again at a time, in bytes: a few milliseconds.
const STEP: u64 = 8 * 1024 * 1024;
const CHUNK: usize = 128 * 1024;

/// How often another writer may have just finished the file that we open.
const ATTEMPTS: usize = 16;

/// The unfinished file. Dropped, it stays for the next run where that can use it.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    digest: Digest,
    verifier: Verifier,
    /// How much was there, in bytes; hashed again before anything is added.
    found: u64,
    fate: Fate,
    /// As long as this is held nobody takes the file for a leftover.
    staging: Arc<Staging>,
}

/// What becomes of the file when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It stays if it is large enough to be worth it.
    Kept,
    Removed,
    /// It is the blob now.
    Published,
}

impl Partial {
    /// Opens what an earlier run has left of the blob, or begins anew.
    pub(crate) fn begin(
        staging: Arc<Staging>,
        target: PathBuf,
        descriptor: &Descriptor,
    ) -> Result<Self, LayoutError> {
        let digest = descriptor.digest.clone();
        let name = name_of(&digest);
        let path = staging.partial().join(&name);
        let own = staging.has_locks().then(|| open(&path)).flatten();
        let (file, path, fate) = if let Some(file) = own {
            (file, path, Fate::Kept)
        } else {
            let partial = file::begin(staging.partial(), format!("{name}-"))
                .map_err(LayoutError::writing(staging.partial()))?;
            let (file, path) = partial
                .keep()
                .map_err(|error| LayoutError::writing(staging.partial())(error.error))?;
            (file, path, Fate::Removed)
        };
        let mut partial = Self {
            file,
            path,
            target,
            digest,
            verifier: Verifier::for_descriptor(descriptor),
            found: 0,
            fate,
            staging,
        };
        partial.found = partial
            .file
            .metadata()
            .map_err(LayoutError::reading(&partial.path))?
            .len();
        if partial.found > descriptor.size {
            partial.clear()?;
        }
        Ok(partial)
    }

    /// Forgets what was there, before any of it is read or anything is added.
    pub(crate) fn clear(&mut self) -> Result<(), LayoutError> {
        if self.found > 0 {
            self.file
                .set_len(0)
                .map_err(LayoutError::writing(&self.path))?;
            self.found = 0;
        }
        Ok(())
    }

    /// Whether all that was there is hashed again.
    pub(crate) fn is_read_again(&self) -> bool {
        self.verifier.received() >= self.found
    }

    /// Hashes some more of what was there.
    pub(crate) fn read_some_again(&mut self) -> Result<(), LayoutError> {
        let mut chunk = vec![0; CHUNK];
        let end = self.found.min(self.verifier.received() + STEP);
        while self.verifier.received() < end {
            let count = match self.file.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayoutError::reading(&self.path)(error)),
            };
            if count == 0 {
                self.found = self.verifier.received();
                break;
            }
            let read = self.verifier.update(chunk.get(..count).unwrap_or_default());
            read.map_err(|error| self.wrong(error))?;
        }
        Ok(())
    }

    /// How many bytes are there.
    pub(crate) fn offset(&self) -> u64 {
        self.verifier.received()
    }

    /// Nobody is to go on with this.
    fn wrong(&mut self, source: VerifyError) -> LayoutError {
        self.fate = Fate::Removed;
        LayoutError::Integrity {
            digest: self.digest.clone(),
            source,
        }
    }
}

impl Receiver for Partial {
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
        for frame in frames {
            let taken = self.verifier.update(frame);
            taken.map_err(|error| self.wrong(error))?;
            self.file
                .write_all(frame)
                .map_err(LayoutError::writing(&self.path))?;
        }
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), LayoutError> {
        let verified = self.verifier.clone().finish();
        verified.map_err(|error| self.wrong(error))?;
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, &self.target))
            .map_err(LayoutError::writing(&self.target))?;
        self.fate = Fate::Published;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let stays = match self.fate {
            Fate::Published => return,
            Fate::Removed => false,
            Fate::Kept => self
                .file
                .metadata()
                .is_ok_and(|metadata| metadata.len() >= WORTH_KEEPING),
        };
        if !stays {
            let _ = fs::remove_file(&self.path);
        }
        // Only then does `staging` go, which may take the area away.
        let _ = &self.staging;
    }
}

/// The name of a blob's beginning.
fn name_of(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The file at `path`, locked; `None` where somebody else has it, or where it is nothing that we would have made.
fn open(path: &Path) -> Option<File> {
    for _ in 0..ATTEMPTS {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match fs::symlink_metadata(path) {
            // A layout may come from anywhere, and what a link leads to is not ours to write.
            Ok(metadata) if !is_plain(&metadata) => return None,
            Ok(_) => {}
            Err(_) => {
                options.create_new(true);
            }
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) =>
            {
                continue;
            }
            Err(_) => return None,
        };
        file.try_lock().ok()?;
        // Whoever had it before may have made it the blob, or removed it, before we had the lock.
        if file::is_at(&file, path) {
            return Some(file);
        }
    }
    None
}

#[cfg(unix)]
fn is_plain(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.is_file() && metadata.nlink() == 1
}

#[cfg(not(unix))]
fn is_plain(metadata: &Metadata) -> bool {
    metadata.is_file()
}

/// Whether a file of the staging area, which nobody writes, is the beginning of a blob that the next run can go on with.
pub(crate) fn is_of_use(path: &Path, root: &Path) -> bool {
    let Some(digest) = path
        .file_name()
        .and_then(|name| name.to_str()?.replacen('-', ":", 1).parse::<Digest>().ok())
    else {
        return false;
    };
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    // A clock that was set back makes nothing old.
    let is_old = metadata
        .modified()
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEPT_FOR));
    is_plain(&metadata)
        && metadata.len() >= WORTH_KEEPING
        && !is_old
        && !root.join(document::blob_name(&digest)).exists()
}
