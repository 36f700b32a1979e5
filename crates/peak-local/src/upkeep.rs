//! Work on a state directory, whether or not a platform runs on it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use peak_registry_server::Store;
use secrecy::{ExposeSecret, SecretString};

use crate::control_file::{self, WayIn};
use crate::control_protocol::{CHECK_PATH, GARBAGE_PATH};
use crate::directory::{self, StateDirectory};
use crate::error::LocalError;

/// How work on a state directory gets done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Upkeep {
    /// No platform runs: this process has the directory to itself and does the work.
    Here(FreeState),
    /// A platform runs, and is asked to do it.
    There(RunningPlatform),
}

impl Upkeep {
    /// Finds out whether a platform runs on the directory. Blocks.
    ///
    /// # Errors
    ///
    /// [`LocalError::NoState`] if the directory is none of a platform, [`LocalError::Unreachable`] if it is in
    /// use by something that cannot be asked.
    pub fn open(state_directory: &Path) -> Result<Self, LocalError> {
        must_have_state(state_directory)?;
        match FreeState::open(state_directory) {
            Ok(free) => Ok(Self::Here(free)),
            Err(LocalError::StateInUse { path }) => {
                match control_file::read(&directory::control(&path)) {
                    Ok(way_in) => Ok(Self::There(RunningPlatform(way_in))),
                    Err(source) => Err(LocalError::Unreachable { path, source }),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// A state directory that this process has to itself, for as long as this value lives.
#[derive(Debug)]
pub struct FreeState {
    registry: Store,
    // Released last.
    _directory: StateDirectory,
}

impl FreeState {
    fn open(path: &Path) -> Result<Self, LocalError> {
        let directory = StateDirectory::open(path)?;
        let path = directory.registry();
        let registry = Store::open(&path).map_err(|source| LocalError::Registry {
            path,
            source: Box::new(source),
        })?;
        Ok(Self {
            registry,
            _directory: directory,
        })
    }

    /// The platform's registry.
    pub fn registry(&self) -> &Store {
        &self.registry
    }
}

/// A platform of another process, as it lets itself be reached by those who can read its state directory.
pub struct RunningPlatform(WayIn);

impl RunningPlatform {
    /// The base URL of its API, without a slash at its end, where it has written it down: what `PEAK_ENDPOINT_URL` is set
    /// to.
    pub fn url(&self) -> Option<&str> {
        self.0.platform.as_deref()
    }

    /// Where a `POST` of a [`GarbageRequest`](crate::GarbageRequest) as JSON is answered with an [`Outcome`](crate::Outcome) of a
    /// [`GarbageReport`](peak_registry_server::GarbageReport). Closing the connection stops the work.
    pub fn garbage_url(&self) -> String {
        self.at(GARBAGE_PATH)
    }

    /// The same for a [`CheckRequest`](crate::CheckRequest) and a [`CheckReport`](peak_registry_server::CheckReport).
    pub fn check_url(&self) -> String {
        self.at(CHECK_PATH)
    }

    /// What the header `Authorization` of these requests must be.
    pub fn authorization(&self) -> SecretString {
        SecretString::from(format!("Bearer {}", self.0.secret.expose_secret()))
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }
}

impl fmt::Debug for RunningPlatform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunningPlatform")
            .field("address", &self.0.address)
            .finish_non_exhaustive()
    }
}

/// Looks whether there is anything in a state directory that a platform could work on. Blocks.
///
/// # Errors
///
/// [`LocalError::NoState`] if the directory is not there, or is empty.
pub fn must_have_state(path: &Path) -> Result<(), LocalError> {
    let empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !path.exists() || empty() {
        return Err(LocalError::NoState {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Removes everything that a platform keeps in a state directory: images, artifacts, versions, builds and their
/// logs. Files that no platform put there are left, and returned. Blocks.
///
/// # Errors
///
/// [`LocalError::NoState`] if the directory is none of a platform, [`LocalError::StateInUse`] if one runs on it.
/// Then nothing is removed.
pub fn reset(state_directory: &Path) -> Result<Vec<PathBuf>, LocalError> {
    must_have_state(state_directory)?;
    StateDirectory::open(state_directory)?.clear()
}
