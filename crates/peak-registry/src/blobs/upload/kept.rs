//! Where the states of uploads are kept from one process to the next.
//!
//! Each upload has a file of its own, named after registry, repository and blob, and holds a lock on it as long as it
//! lives: two processes that send the same blob do not meet in one session. The lock goes with the process, whatever
//! ends it, and the file stays. What is in a file is believed only as far as it says where to ask.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use peak_oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::UploadState;
use crate::Repository;

/// Smaller blobs are sent again rather than kept track of, in bytes.
const WORTH_KEEPING: u64 = 1024 * 1024;

/// For how long a state is kept: registries forget a session after about as long.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most states that are kept; the oldest go first.
const MOST: usize = 256;

/// More than any state has, in bytes.
const MOST_BYTES: u64 = 64 * 1024;

const EXTENSION: &str = "json";

/// A directory with the states of uploads.
#[derive(Clone, Debug)]
pub(crate) struct States {
    directory: PathBuf,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Document {
    registry: String,
    repository: String,
    state: UploadState,
}

impl States {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The place for the state of one upload, and what an earlier process has left there. `None` where the blob is not
    /// worth it, or where somebody else is sending it.
    pub(super) fn place(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Option<(Place, Option<UploadState>)> {
        if descriptor.size < WORTH_KEEPING {
            return None;
        }
        let (registry, name) = (repository.registry(), repository.name().as_str());
        let key = format!("{registry}\n{name}\n{}", descriptor.digest);
        let key = Digest::sha256_of(key.as_bytes());
        let path = self.directory.join(key.hex()).with_extension(EXTENSION);
        let mut place = Place {
            path,
            registry: registry.to_owned(),
            repository: name.to_owned(),
            file: None,
            is_off: false,
        };
        match fs::symlink_metadata(&place.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some((place, None)),
            Ok(metadata) if metadata.is_file() => {}
            _ => return None,
        }
        let file = place.open(false).ok()?;
        let state = place
            .read(&file)
            .filter(|state| state.digest == descriptor.digest);
        place.file = Some(file);
        Some((place, state))
    }
}

/// The place for the state of one upload. Dropped, it leaves what is there for the next process.
pub(super) struct Place {
    path: PathBuf,
    registry: String,
    repository: String,
    /// Locked as long as it is open.
    file: Option<File>,
    /// It did not work, and is not tried again.
    is_off: bool,
}

impl Place {
    /// Whether there is something for the next process.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Keeps a state. Where that cannot be done the upload does without.
    pub(super) fn keep(&mut self, state: &UploadState) {
        if self.is_off {
            return;
        }
        if let Err(error) = self.write(state) {
            tracing::debug!(path = %self.path.display(), %error, "the state of an upload cannot be kept");
            self.remove();
            self.is_off = true;
        }
    }

    /// There is nothing to go on with.
    pub(super) fn remove(&mut self) {
        // Removed while it is locked, so that it is not what somebody else has just made.
        if let Some(file) = self.file.take() {
            let _ = fs::remove_file(&self.path);
            drop(file);
        }
    }

    fn write(&mut self, state: &UploadState) -> io::Result<()> {
        let mut file = if let Some(file) = self.file.take() {
            file
        } else {
            if let Some(directory) = self.path.parent() {
                make(directory)?;
                tidy(directory);
            }
            self.open(true)?
        };
        let document = Document {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            state: state.clone(),
        };
        let mut text = serde_json::to_vec(&document)?;
        text.push(b'\n');
        // In its place, since the lock is on the file. Cut off in the middle it is no document, and none is believed.
        let written = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(&text));
        self.file = Some(file);
        written
    }

    fn read(&self, file: &File) -> Option<UploadState> {
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
        let document: Document = serde_json::from_slice(&text).ok()?;
        let is_this = document.registry == self.registry && document.repository == self.repository;
        is_this.then_some(document.state)
    }

    /// The file, locked.
    fn open(&self, is_new: bool) -> io::Result<File> {
        let file = open(&self.path, is_new)?;
        file.try_lock()?;
        // Whoever had it before may have removed it before we had the lock.
        if is_at(&file, &self.path) {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Place")
            .field("path", &self.path)
            .field("is_kept", &self.is_kept())
            .finish_non_exhaustive()
    }
}

/// Makes the directory, for nobody else to look into: where an upload goes on may be as good as a password.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(directory)
}

fn open(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(is_new);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(unix)]
fn is_at(held: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (held.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_held: &File, path: &Path) -> bool {
    path.exists()
}

/// Removes what is old, and so many of the others that there is room for one more. What cannot be removed stays.
fn tidy(directory: &Path) {
    let mut all: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == EXTENSION)
        })
        .filter_map(|path| {
            let metadata = fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
            Some((metadata.modified().ok()?, path))
        })
        .collect();
    all.sort();
    let mut count = all.len();
    let now = SystemTime::now();
    for (time, path) in &all {
        // A clock that was set back makes nothing old.
        let is_old = now.duration_since(*time).is_ok_and(|age| age > KEPT_FOR);
        if !is_old && count < MOST {
            continue;
        }
        // What is locked is in use.
        if let Ok(file) = open(path, false)
            && file.try_lock().is_ok()
            && is_at(&file, path)
        {
            count -= usize::from(fs::remove_file(path).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use peak_oci::MediaType;
    use url::Url;

    use super::*;
    use crate::Registry;

    fn repository(name: &str) -> Repository {
        let registry = Registry::builder().build().unwrap();
        registry.repository(&format!("r.example/{name}").parse().unwrap())
    }

    fn blob(name: &str) -> Descriptor {
        let mut blob = Descriptor::of(MediaType::OCI_LAYER, name.as_bytes());
        blob.size = WORTH_KEEPING;
        blob
    }

    fn state(blob: &Descriptor, acknowledged: u64) -> UploadState {
        UploadState {
            digest: blob.digest.clone(),
            acknowledged,
            location: Url::parse("https://r.example/u/1?_state=geheim").unwrap(),
        }
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_one_process_leaves_the_next_one_finds_for_the_same_blob_of_the_same_repository() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("deep/uploads");
        let states = States::new(directory.clone());
        let (here, blob) = (repository("a"), blob("x"));
        let (mut place, found) = states.place(&here, &blob).unwrap();
        assert_eq!(found, None);
        assert!(
            !directory.exists(),
            "nothing is made before there is a session"
        );
        place.keep(&state(&blob, 1_000_000));
        place.keep(&state(&blob, 7));

        // As long as it lives nobody else gets it.
        assert!(states.place(&here, &blob).is_none());
        drop(place);
        let (place, found) = states.place(&here, &blob).unwrap();
        assert_eq!(found, Some(state(&blob, 7)));
        drop(place);

        let (_, found) = states.place(&repository("b"), &blob).unwrap();
        assert_eq!(found, None);
        let other = super::tests::blob("y");
        assert_eq!(states.place(&here, &other).unwrap().1, None);
        let small = Descriptor::of(MediaType::OCI_LAYER, b"x");
        assert!(states.place(&here, &small).is_none());

        let (mut place, _) = states.place(&here, &blob).unwrap();
        place.remove();
        assert!(files(&directory).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it_and_it_is_written_behind_no_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("uploads");
        let states = States::new(directory.clone());
        let (here, blob) = (repository("a"), blob("x"));
        let (mut place, _) = states.place(&here, &blob).unwrap();
        place.keep(&state(&blob, 7));
        let file = files(&directory).remove(0);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert!(!format!("{place:?}").contains("geheim"));
        place.remove();

        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(states.place(&here, &blob).is_none());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    }

    #[test]
    fn what_is_no_state_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::new(folder.path().to_path_buf());
        let (here, blob) = (repository("a"), blob("x"));
        let (mut place, _) = states.place(&here, &blob).unwrap();
        place.keep(&state(&blob, 7));
        drop(place);
        let file = files(folder.path()).remove(0);
        let whole = fs::read(&file).unwrap();
        let foreign = String::from_utf8(whole.clone()).unwrap();
        let foreign = foreign.replace(
            "\"registry\":\"r.example\"",
            "\"registry\":\"evil.example\"",
        );
        let mut texts = vec![foreign.into_bytes(), b"{}".to_vec(), vec![b' '; 1 << 20]];
        texts.extend((0..whole.len() - 1).map(|length| whole[..length].to_vec()));
        for text in texts {
            fs::write(&file, &text).unwrap();
            let (_, found) = states.place(&here, &blob).unwrap();
            assert_eq!(found, None, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn what_is_old_or_too_much_goes_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::new(folder.path().to_path_buf());
        let here = repository("a");
        let keep = |name: &str, age: Duration| {
            let blob = blob(name);
            let (mut place, _) = states.place(&here, &blob).unwrap();
            place.keep(&state(&blob, 1));
            let time = SystemTime::now() - age;
            place.file.as_ref().unwrap().set_modified(time).unwrap();
            place
        };
        let in_use = keep("in use", KEPT_FOR * 2);
        drop(keep("old", KEPT_FOR * 2));
        for number in 0..MOST {
            drop(keep(&number.to_string(), Duration::from_secs(1000)));
        }
        assert!(in_use.path.exists());
        assert!(
            files(folder.path()).len() <= MOST,
            "{}",
            files(folder.path()).len()
        );
        assert_eq!(states.place(&here, &blob("old")).unwrap().1, None);
        let last = blob(&(MOST - 1).to_string());
        assert!(states.place(&here, &last).unwrap().1.is_some());
    }
}
