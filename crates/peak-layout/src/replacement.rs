//! A file that takes the place of another one in a single step, once it is complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;

use crate::{LayoutError, file};

/// How often somebody may take our new file for a leftover before it is locked.
const ATTEMPTS: usize = 16;

/// Where the file is to be. Nothing is written yet.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    name: OsString,
}

/// The unfinished file, beside the place it is for. It vanishes when it is dropped.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: Arc<File>,
    path: TempPath,
    place: Place,
}

/// How far the making of a replacement is.
#[derive(Debug, Default)]
pub(crate) enum Making {
    #[default]
    NotBegun,
    Begun(Replacement),
    Finished,
}

impl Making {
    /// The unfinished file, begun when it is first needed, and whether that was now.
    pub(crate) fn file(&mut self, place: &Place) -> Result<(Arc<File>, bool), LayoutError> {
        match self {
            Self::Finished => Err(LayoutError::Finished { path: place.path() }),
            Self::Begun(replacement) => Ok((replacement.handle(), false)),
            Self::NotBegun => {
                let begun = place.begin()?;
                let file = begun.handle();
                *self = Self::Begun(begun);
                Ok((file, true))
            }
        }
    }

    /// Ends the making: what is returned is to be published, and nothing more can be written.
    pub(crate) fn finish(&mut self) -> Option<Replacement> {
        match std::mem::replace(self, Self::Finished) {
            Self::Begun(replacement) => Some(replacement),
            Self::NotBegun | Self::Finished => None,
        }
    }
}

impl Place {
    /// Looks whether a file can be written there, and removes what runs that were killed have left of it.
    ///
    /// The folder of the file exists afterwards.
    pub(crate) fn new(path: &Path) -> Result<Self, LayoutError> {
        // A link stays, and what it leads to is replaced.
        let real = match path.canonicalize() {
            Ok(real) if real.is_file() => real,
            Ok(_) => {
                return Err(LayoutError::NotAFile {
                    path: path.to_path_buf(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(LayoutError::writing(path)(error)),
        };
        let Some(name) = real.file_name() else {
            return Err(LayoutError::NotAFile {
                path: path.to_path_buf(),
            });
        };
        let folder = match real.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(LayoutError::writing(folder))?;
        let place = Self {
            folder: folder
                .canonicalize()
                .map_err(LayoutError::writing(folder))?,
            name: name.to_owned(),
        };
        place.remove_leftovers();
        tempfile::tempfile_in(&place.folder).map_err(LayoutError::writing(path))?;
        Ok(place)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// What the names of unfinished files begin with.
    fn prefix(&self) -> OsString {
        let mut prefix = OsString::from(".");
        prefix.push(&self.name);
        prefix.push(".unfinished-");
        prefix
    }

    /// Makes the unfinished file.
    pub(crate) fn begin(&self) -> Result<Replacement, LayoutError> {
        let prefix = self.prefix();
        for _ in 0..ATTEMPTS {
            let begun =
                file::begin(&self.folder, &prefix).map_err(LayoutError::writing(&self.folder))?;
            let (file, path) = begun.into_parts();
            // Where files cannot be locked nobody removes leftovers either.
            let _ = file.try_lock();
            if file::is_at(&file, &path) {
                return Ok(Replacement {
                    file: Arc::new(file),
                    path,
                    place: self.clone(),
                });
            }
        }
        Err(LayoutError::Busy { path: self.path() })
    }

    /// Unfinished files of this place that nobody holds any longer.
    fn remove_leftovers(&self) {
        let prefix = self.prefix();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ours = name
                .as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes());
            if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            let path = entry.path();
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
                && file::is_at(&file, &path)
            {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Replacement {
    /// For writing at any position.
    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Makes the content durable, puts it in its place in one step, and makes that durable.
    pub(crate) fn publish(self) -> Result<(), LayoutError> {
        let target = self.place.path();
        let written = || -> io::Result<()> {
            self.file.sync_all()?;
            self.path.persist(&target).map_err(|error| error.error)?;
            file::sync_directory(&self.place.folder)
        };
        written().map_err(LayoutError::writing(&target))
    }
}
