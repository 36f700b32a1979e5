//! A file that appears at its place when all of it is there.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::NamedTempFile;

use crate::error::Error;

/// How much is kept in memory before it is written, in bytes and in pieces.
const BATCH: usize = 256 * 1024;
const BATCH_FRAMES: usize = 1024;

/// The beginning of the file, under another name beside it. Dropped before it is published, it
/// vanishes.
pub(crate) struct Partial {
    file: NamedTempFile,
    pub(crate) target: PathBuf,
    /// How much has come, whether it is written or waits.
    pub(crate) received: u64,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

impl Partial {
    /// Makes the file. Blocks.
    pub(crate) fn begin(target: PathBuf) -> Result<Self, Error> {
        match std::fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(Error::TargetIsDirectory { path: target });
            }
            Ok(metadata) if !metadata.is_file() => {
                let source = io::Error::other("it is there and not a regular file");
                return Err(Error::file(&target)(source));
            }
            // Whatever else is wrong with it shows when the file is made.
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".peak-download-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As any other file: the umask decides. Temporary files are else for their owner only.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder
            .tempfile_in(directory_of(&target))
            .map_err(Error::file(&target))?;
        Ok(Self {
            file,
            target,
            received: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
        })
    }

    pub(crate) async fn accept(mut self, frame: Bytes) -> Result<Self, Error> {
        self.received = self.received.saturating_add(frame.len() as u64);
        self.waiting_bytes += frame.len();
        self.waiting.push(frame);
        if self.waiting_bytes < BATCH && self.waiting.len() < BATCH_FRAMES {
            return Ok(self);
        }
        let target = self.target.clone();
        blocking(&target, move || {
            self.write()?;
            Ok(self)
        })
        .await
    }

    /// Forgets all that has come.
    pub(crate) async fn restart(mut self) -> Result<Self, Error> {
        let target = self.target.clone();
        blocking(&target, move || {
            self.received = 0;
            self.waiting_bytes = 0;
            self.waiting.clear();
            let file = self.file.as_file_mut();
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .map_err(Error::file(&self.target))?;
            Ok(self)
        })
        .await
    }

    /// Writes what waits. Blocks.
    fn write(&mut self) -> Result<(), Error> {
        self.waiting_bytes = 0;
        for frame in self.waiting.drain(..) {
            self.file
                .write_all(&frame)
                .map_err(Error::file(&self.target))?;
        }
        Ok(())
    }

    /// Makes the content durable, then gives it its name in one step. Blocks.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        self.write()?;
        let target = self.target;
        self.file
            .as_file()
            .sync_all()
            .map_err(Error::file(&target))?;
        self.file
            .persist(&target)
            .map_err(|error| Error::file(&target)(error.error))?;
        #[cfg(unix)]
        std::fs::File::open(directory_of(&target))
            .and_then(|directory| directory.sync_all())
            .map_err(Error::file(&target))?;
        Ok(())
    }
}

fn directory_of(target: &Path) -> &Path {
    target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Work on the disk, off the threads that must not wait.
pub(crate) async fn blocking<T, F>(target: &Path, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::file(target)(io::Error::other(error))),
    }
}
