//! The state directory: who may use it, and what lies where.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::LocalError;

/// Also the mark by which a state directory is known, so it is the first file that is made.
const LOCK_FILE: &str = "peak-local.lock";

/// Everything else that a platform has in its state directory.
const PARTS: [&str; 6] = [
    "registry",
    "state.redb",
    "artifacts",
    "builds",
    "tls",
    CONTROL_FILE,
];

/// Says how the platform that runs is reached.
const CONTROL_FILE: &str = "control.json";

/// Where the platform that has the state directory says how it is reached.
pub(crate) fn control(state_directory: &Path) -> PathBuf {
    state_directory.join(CONTROL_FILE)
}

/// A state directory that this process alone uses, until this value is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    /// The operating system releases the lock when the file is closed, however the process ends.
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory where it is not there, readable to its owner alone, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, LocalError> {
        let failed = |action| {
            let path = path.to_owned();
            move |source| LocalError::StateDirectory {
                path,
                action,
                source,
            }
        };
        make_private(path).map_err(failed("creating it"))?;
        // Relative paths must not change their meaning when the process changes its directory.
        let path = fs::canonicalize(path).map_err(failed("finding it"))?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists()
            && fs::read_dir(&path)
                .map_err(failed("reading it"))?
                .next()
                .is_some()
        {
            return Err(LocalError::NotAStateDirectory { path });
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed("opening its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LocalError::StateInUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed("locking it")(source)),
        }
        let directory = Self { path, _lock: lock };
        // Whoever wrote it is gone.
        let _ = fs::remove_file(directory.control());
        for part in [directory.artifacts(), directory.builds()] {
            make_private(&part).map_err(failed("creating a part of it"))?;
        }
        Ok(directory)
    }

    /// What the registry keeps.
    pub(crate) fn registry(&self) -> PathBuf {
        self.path.join("registry")
    }

    /// Images, versions, builds and log lines.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("state.redb")
    }

    /// The archives that were uploaded.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// The authority that signs the platform's certificate.
    pub(crate) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// Where the platform says how it is reached.
    pub(crate) fn control(&self) -> PathBuf {
        control(&self.path)
    }

    /// Removes everything of the platform, the mark last, and returns what is left: files of somebody else.
    pub(crate) fn clear(self) -> Result<Vec<PathBuf>, LocalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LocalError::StateDirectory {
                path,
                action: "removing it",
                source,
            }
        };
        for part in PARTS {
            let path = self.path.join(part);
            remove(&path).map_err(failed(&path))?;
        }
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let entry = entry.map_err(failed(&self.path))?;
            if entry.file_name() != LOCK_FILE {
                left.push(entry.path());
            }
        }
        if left.is_empty() {
            // Without the mark a directory has to be empty to be used again.
            let lock = self.path.join(LOCK_FILE);
            remove(&lock).map_err(failed(&lock))?;
        }
        sync_entries(&self.path).map_err(failed(&self.path))?;
        Ok(left)
    }

    /// Where builds work; nothing in it outlives its build.
    pub(crate) fn builds(&self) -> PathBuf {
        self.path.join("builds")
    }

    /// Removes what builds left when the process died under them.
    pub(crate) fn clear_builds(&self) -> Result<(), LocalError> {
        let path = self.builds();
        let clear = || {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|source| LocalError::StateDirectory {
            path: path.clone(),
            action: "removing what earlier builds left",
            source,
        })
    }
}

/// Removes a file, or a directory with all that is in it. A symbolic link goes itself, not what it points to.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes a directory with its parents, so that they outlive a loss of power; only the owner may look
/// into what is made.
fn make_private(path: &Path) -> io::Result<()> {
    let missing = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .count();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    // Where nothing was missing, an earlier process may have died before it got here.
    path.ancestors()
        .skip(1)
        .take(missing.max(1))
        .try_for_each(sync_entries)
}

/// Makes durable which names a directory has.
pub(crate) fn sync_entries(directory: &Path) -> io::Result<()> {
    // A relative path of one component has the empty path above it.
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    // Only Unix lets a directory be opened and synced; elsewhere its making has to do.
    if cfg!(unix) {
        match File::open(directory).and_then(|handle| handle.sync_all()) {
            // One that we may pass through but not read was there before, made durable by its owner.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            result => result?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_for_its_owner_alone_and_used_by_one() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state/of/peak");
        let first = StateDirectory::open(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
        let Err(error) = StateDirectory::open(&path) else {
            panic!("opened twice")
        };
        assert!(matches!(error, LocalError::StateInUse { .. }));
        assert!(error.to_string().contains("state/of/peak"));
        drop(first);
        StateDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let letter = directory.path().join("builds");
        fs::write(&letter, "not ours").unwrap();
        assert!(matches!(
            StateDirectory::open(directory.path()),
            Err(LocalError::NotAStateDirectory { .. })
        ));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn clearing_leaves_only_what_somebody_else_put_there() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let directory = StateDirectory::open(&path).unwrap();
        fs::create_dir_all(directory.registry().join("blobs")).unwrap();
        fs::write(directory.database(), "").unwrap();
        let letter = path.join("letter");
        fs::write(&letter, "not ours").unwrap();
        let left = directory.clear().unwrap();
        assert_eq!(left, [fs::canonicalize(&letter).unwrap()]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "letter and mark");

        fs::remove_file(letter).unwrap();
        let directory = StateDirectory::open(&path).unwrap();
        assert_eq!(directory.clear().unwrap(), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        StateDirectory::open(&path).unwrap();
    }

    #[test]
    fn what_builds_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(parent.path()).unwrap();
        fs::create_dir_all(directory.builds().join("build-7/rootfs")).unwrap();
        fs::write(directory.builds().join("stray"), "").unwrap();
        directory.clear_builds().unwrap();
        assert_eq!(fs::read_dir(directory.builds()).unwrap().count(), 0);
    }
}
