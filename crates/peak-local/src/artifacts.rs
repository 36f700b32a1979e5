//! Uploaded archives, by the digest of their content.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use peak_oci::{Algorithm, Digest, Hasher};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

use crate::directory::sync_entries;

const SUFFIX: &str = ".zip";
/// How a zip begins: with its first file, or with its end where it has none.
const ZIP_SIGNATURES: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const SIGNATURE_LENGTH: usize = 4;
const SPOOL_PREFIX: &str = ".upload-";

/// The directory of the archives.
///
/// An archive stays as long as a version of an artifact has it, or the latest build of some version of
/// an image was made from it. It goes when that is deleted; what else is not used any more goes when the platform
/// starts.
pub(crate) struct Artifacts {
    directory: PathBuf,
    /// Held to read by whoever keeps or opens an archive until the state says so, and to write while some are removed.
    removing: RwLock<()>,
}

/// The archives, none of which is removed while this is there. An archive is kept, and what has it is written down,
/// under the same hold: in between nobody else knows that it is used.
pub(crate) struct Hold<'a> {
    artifacts: &'a Artifacts,
    _removing: RwLockReadGuard<'a, ()>,
}

/// An archive that is still arriving. Dropping it removes what has arrived.
pub(crate) struct Spool {
    file: tokio::fs::File,
    path: TempPath,
    hasher: Hasher,
    size: u64,
    /// The first bytes, which say what it is.
    signature: Vec<u8>,
}

/// An archive that has arrived whole but is not kept yet. Dropping it removes it.
pub(crate) struct Spooled {
    path: TempPath,
    digest: Digest,
    size: u64,
    is_zip: bool,
}

/// An archive that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) path: PathBuf,
}

impl Artifacts {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            removing: RwLock::new(()),
        }
    }

    /// Keeps archives from being removed. Blocks while some are.
    pub(crate) fn hold(&self) -> Hold<'_> {
        Hold {
            artifacts: self,
            // It guards no data that a panic could have left half changed.
            _removing: self.removing.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Removes those of `archives` that are not among what `used` then says. Blocks.
    pub(crate) fn remove_unused<E: From<io::Error>>(
        &self,
        archives: &[Digest],
        used: impl FnOnce() -> Result<Vec<Digest>, E>,
    ) -> Result<(), E> {
        let _removing = self
            .removing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let used: HashSet<PathBuf> = used()?.iter().map(|digest| self.path(digest)).collect();
        for path in archives.iter().map(|digest| self.path(digest)) {
            if used.contains(&path) {
                continue;
            }
            match fs::remove_file(&path) {
                // Two versions may have had the same one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Begins to receive an archive. Blocks for the creation of one file.
    pub(crate) fn spool(&self) -> io::Result<Spool> {
        let (file, path) = tempfile::Builder::new()
            .prefix(SPOOL_PREFIX)
            .tempfile_in(&self.directory)?
            .into_parts();
        let file = tokio::fs::File::from_std(file);
        Ok(Spool {
            file,
            path,
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            signature: Vec::new(),
        })
    }

    /// Removes every archive but these, and what uploads left that never ended. Blocks.
    pub(crate) fn sweep(&self, used: &[Digest]) -> io::Result<()> {
        let used: HashSet<PathBuf> = used.iter().map(|digest| self.path(digest)).collect();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if is_ours(&path) && !used.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory
            .join(format!("{}-{}{SUFFIX}", digest.algorithm(), digest.hex()))
    }
}

impl Hold<'_> {
    /// Keeps an archive under its digest. Blocks.
    pub(crate) fn keep(&self, spooled: Spooled) -> io::Result<Artifact> {
        let path = self.artifacts.path(&spooled.digest);
        spooled.path.persist(&path)?;
        sync_entries(&self.artifacts.directory)?;
        Ok(Artifact {
            digest: spooled.digest,
            size: spooled.size,
            path,
        })
    }

    /// Opens an archive that is kept. Blocks.
    pub(crate) fn open(&self, digest: &Digest) -> io::Result<fs::File> {
        fs::File::open(self.artifacts.path(digest))
    }
}

/// Whether a file has a name that this module gives; anything else was put there by someone else.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    name.starts_with(SPOOL_PREFIX)
        || name
            .strip_suffix(SUFFIX)
            .and_then(|name| name.split_once('-'))
            .is_some_and(|(algorithm, hex)| format!("{algorithm}:{hex}").parse::<Digest>().is_ok())
}

impl Spool {
    /// How many bytes have arrived.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.hasher.update(bytes);
        let missing = SIGNATURE_LENGTH.saturating_sub(self.signature.len());
        self.signature.extend(bytes.iter().take(missing));
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Waits until everything is on the disk.
    pub(crate) async fn finish(mut self) -> io::Result<Spooled> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        Ok(Spooled {
            path: self.path,
            digest: self.hasher.finish(),
            size: self.size,
            is_zip: ZIP_SIGNATURES.contains(&self.signature.as_slice()),
        })
    }
}

impl Spooled {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it begins as a zip does.
    pub(crate) fn is_zip(&self) -> bool {
        self.is_zip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn upload(artifacts: &Artifacts, content: &[u8]) -> Spooled {
        let mut spool = artifacts.spool().unwrap();
        for piece in content.chunks(3) {
            spool.write(piece).await.unwrap();
        }
        spool.finish().await.unwrap()
    }

    async fn keep(artifacts: &Artifacts, content: &[u8]) -> Artifact {
        let spooled = upload(artifacts, content).await;
        artifacts.hold().keep(spooled).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn equal_archives_are_kept_once_and_dropped_ones_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        drop(upload(&artifacts, b"dropped").await);
        let first = keep(&artifacts, b"content").await;
        let second = keep(&artifacts, b"content").await;
        assert_eq!(first.path, second.path);
        assert_eq!(first.digest, Digest::sha256_of(b"content"));
        assert_eq!(fs::read(&first.path).unwrap(), b"content");
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[tokio::test]
    async fn the_sweep_takes_only_what_is_ours_and_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        let used = keep(&artifacts, b"used").await;
        keep(&artifacts, b"unused").await;
        fs::write(directory.path().join(".upload-left"), "half").unwrap();
        fs::write(directory.path().join("letter-to-mother.zip"), "not ours").unwrap();
        artifacts.sweep(&[used.digest]).unwrap();
        let left = names(directory.path());
        assert_eq!(
            left,
            [
                "letter-to-mother.zip",
                used.path.file_name().unwrap().to_str().unwrap()
            ]
        );
    }

    #[tokio::test]
    async fn only_what_nothing_has_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_owned());
        let (used, unused) = (
            keep(&artifacts, b"used").await,
            keep(&artifacts, b"unused").await,
        );
        keep(&artifacts, b"not asked about").await;
        let asked = [used.digest.clone(), unused.digest.clone(), unused.digest];
        artifacts
            .remove_unused(&asked, || Ok::<_, io::Error>(vec![used.digest]))
            .unwrap();
        assert!(used.path.exists() && !unused.path.exists());
        assert_eq!(names(directory.path()).len(), 2);
    }
}
