//! Files that say who may do what, read again when they change.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The largest file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;

/// How long a file is not looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a text is not a list of users or of rules. It never quotes a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
#[non_exhaustive]
pub struct AuthSyntaxError {
    /// The line, from 1, where it can be said by itself.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl AuthSyntaxError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            line: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            reason: reason.into(),
        }
    }
}

/// Why a file of users or of rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFileError {
    /// The file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// The file does not follow its format.
    #[error("{} cannot be used", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: AuthSyntaxError,
    },
}

/// A value that is fixed, or follows a file.
pub(crate) struct Watched<T> {
    current: Mutex<Arc<T>>,
    file: Option<Followed<T>>,
}

struct Followed<T> {
    path: PathBuf,
    parse: fn(&str) -> Result<T, AuthSyntaxError>,
    look_again: Mutex<Instant>,
    /// What was read last. Locked while the file is read, so that of two who read it, as happens where a
    /// disk is slow, the one with the older text is not the last to say what counts.
    version: Mutex<Option<Version>>,
}

/// What differs between two versions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    length: u64,
}

impl<T: Send + Sync + 'static> Watched<T> {
    pub(crate) fn fixed(value: T) -> Self {
        Self {
            current: Mutex::new(Arc::new(value)),
            file: None,
        }
    }

    /// Reads the file, and follows it from now on. Blocks.
    pub(crate) fn follow(
        path: &Path,
        parse: fn(&str) -> Result<T, AuthSyntaxError>,
    ) -> Result<Self, AuthFileError> {
        // Looked at before it is read: a change in between is seen the next time.
        let version = version_of(path).ok();
        let value = load(path, parse)?;
        Ok(Self {
            current: Mutex::new(Arc::new(value)),
            file: Some(Followed {
                path: path.to_path_buf(),
                parse,
                look_again: Mutex::new(Instant::now() + LOOK_EVERY),
                version: Mutex::new(version),
            }),
        })
    }

    /// The value, after a look at the file if the last one is a second ago.
    ///
    /// If the file cannot be used any more, what was there before stays, and the log says so: a
    /// slip in an editor locks nobody out.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.file.as_ref().is_some_and(Followed::is_due) {
            let watched = Arc::clone(self);
            if let Err(error) = tokio::task::spawn_blocking(move || watched.look()).await {
                tracing::error!(%error, "a file of the registry's authentication could not be looked at");
            }
        }
        Arc::clone(&lock(&self.current))
    }

    /// Reads the file if it is another one than the last time. Blocks.
    fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut seen = lock(&file.version);
        let version = version_of(&file.path).ok();
        if *seen == version {
            return;
        }
        // Also where it cannot be used: the log says that once for each version.
        *seen = version;
        match load(&file.path, file.parse) {
            Ok(value) => {
                *lock(&self.current) = Arc::new(value);
                tracing::info!(path = %file.path.display(), "read again, as it has changed");
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(
                    %error,
                    cause = cause.unwrap_or_default(),
                    "a file changed and cannot be used; what it said before goes on to count"
                );
            }
        }
    }
}

impl<T> Followed<T> {
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut look_again = lock(&self.look_again);
        let due = now >= *look_again;
        if due {
            *look_again = now + LOOK_EVERY;
        }
        due
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.file.as_ref().map(|file| &file.path);
        formatter
            .debug_struct("Watched")
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change behind these locks is one assignment, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version_of(path: &Path) -> io::Result<Version> {
    let metadata = fs::metadata(path)?;
    Ok(Version {
        modified: metadata.modified().ok(),
        length: metadata.len(),
    })
}

fn load<T>(path: &Path, parse: fn(&str) -> Result<T, AuthSyntaxError>) -> Result<T, AuthFileError> {
    let text = read(path).map_err(|source| AuthFileError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    parse(&text).map_err(|source| AuthFileError::Syntax {
        path: path.to_path_buf(),
        source,
    })
}

fn read(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    // Opening a pipe would wait for somebody who writes into it.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, AuthSyntaxError> {
        text.trim()
            .parse()
            .map_err(|_| AuthSyntaxError::at(1, "this is no number"))
    }

    /// Writes a version that no earlier one can be taken for.
    fn write(path: &Path, text: &str, seconds: u64) {
        fs::write(path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_when_it_has_changed_and_a_second_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        write(&path, "1", 1000);
        let watched = Arc::new(Watched::follow(&path, number).unwrap());
        write(&path, "2", 2000);
        assert_eq!(*watched.current().await, 1);
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*watched.current().await, 2);

        // What cannot be used, and a file that is gone, leave what was there.
        write(&path, "three", 3000);
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*watched.current().await, 2);
        fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*watched.current().await, 2);
        write(&path, "4", 3000);
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*watched.current().await, 4);
    }

    #[test]
    fn what_cannot_be_used_at_the_start_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let error = Watched::follow(&path, number).unwrap_err();
        assert!(matches!(error, AuthFileError::Read { .. }), "{error}");
        assert!(error.to_string().contains("number"));
        let error = Watched::follow(folder.path(), number).unwrap_err();
        assert!(matches!(error, AuthFileError::Read { .. }), "{error}");
        fs::write(&path, "x").unwrap();
        let error = Watched::follow(&path, number).unwrap_err();
        let AuthFileError::Syntax { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(source.to_string(), "line 1: this is no number");
        fs::write(&path, vec![b'1'; 1024 * 1024 + 1]).unwrap();
        let error = Watched::follow(&path, number).unwrap_err();
        assert!(matches!(error, AuthFileError::Read { .. }), "{error}");
    }
}
