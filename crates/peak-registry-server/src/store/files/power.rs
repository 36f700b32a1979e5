//! A disk whose power fails at a given step, for tests.
//!
//! It keeps apart what a running process sees and what is durable, and after the failure gives a
//! disk as it may come back: as a process that was killed leaves it, with only what was synced, or
//! with any part of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;

use crate::store::files::memory::Pieces;
use crate::store::files::{BlobReader, FileState, FileSystem, FileWriter};

/// What is left of changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The process was killed: everything that it did.
    Kill,
    /// The power failed: nothing.
    LoseAll,
    /// The power failed: some names and parts of files, by this number.
    LoseSome(u64),
}

/// A handle to the disk.
#[derive(Debug, Clone)]
pub(crate) struct FailingDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Bits>,
    seen: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    /// The names that were given since their directory was last synced, and maybe taken away again.
    given: BTreeMap<PathBuf, Entry>,
    steps: usize,
    /// The step that does not happen any more, nor any later one.
    last: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Entry {
    Directory,
    File(usize),
}

#[derive(Debug, Default)]
struct Bits {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl FailingDisk {
    /// An empty disk with the one directory `root`.
    pub(crate) fn new(root: &Path) -> Self {
        let names = BTreeMap::from([(root.to_path_buf(), Entry::Directory)]);
        Self {
            state: Arc::new(Mutex::new(State {
                seen: names.clone(),
                durable: names,
                ..State::default()
            })),
        }
    }

    /// Lets the power fail at a step from now, the first being 0.
    pub(crate) fn fail_at(&self, step: usize) {
        let mut state = self.state();
        state.last = Some(state.steps + step);
    }

    /// How many steps were done.
    pub(crate) fn steps(&self) -> usize {
        self.state().steps
    }

    /// The disk as it is after the failure.
    pub(crate) fn after(&self, failure: Failure) -> Self {
        let state = self.state();
        let names = match failure {
            Failure::Kill => state.seen.clone(),
            Failure::LoseAll => state.durable.clone(),
            Failure::LoseSome(seed) => state.some_names(seed),
        };
        let names: BTreeMap<_, _> = names
            .iter()
            .filter(|(path, _)| {
                let mut above = path.ancestors().skip(1);
                // The root is there, and above it nothing is asked for.
                !above.any(|directory| {
                    state.seen.contains_key(directory)
                        && names.get(directory) != Some(&Entry::Directory)
                })
            })
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        let mut dice = Dice(match failure {
            Failure::LoseSome(seed) => seed.wrapping_add(1),
            _ => 0,
        });
        let files = state.files.iter().map(|bits| {
            let bytes = match failure {
                Failure::Kill => bits.seen.clone(),
                Failure::LoseAll => bits.durable.clone(),
                Failure::LoseSome(_) => bits.some(&mut dice),
            };
            Bits {
                durable: bytes.clone(),
                seen: bytes,
            }
        });
        Self {
            state: Arc::new(Mutex::new(State {
                files: files.collect(),
                seen: names.clone(),
                durable: names,
                ..State::default()
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Counts a change, or says that it does not happen.
    fn step(&mut self) -> io::Result<()> {
        self.check_power()?;
        if self.last == Some(self.steps) {
            self.last = Some(0);
            self.steps += 1;
            return Err(no_power());
        }
        self.steps += 1;
        Ok(())
    }

    fn check_power(&self) -> io::Result<()> {
        match self.last {
            Some(last) if last < self.steps => Err(no_power()),
            _ => Ok(()),
        }
    }

    fn give(&mut self, path: &Path, entry: Entry) {
        self.seen.insert(path.to_path_buf(), entry);
        self.given.insert(path.to_path_buf(), entry);
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.check_power()?;
        match self.seen.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            Some(Entry::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn need_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.seen.get(parent)) {
            Some(Entry::Directory) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Of every name either what is seen, or what was synced, or what it was in between: directories
    /// are written back at any time. A file that was renamed may have both names, but not neither.
    fn some_names(&self, seed: u64) -> BTreeMap<PathBuf, Entry> {
        let paths = self.seen.keys().chain(self.durable.keys());
        let paths: BTreeSet<&PathBuf> = paths.chain(self.given.keys()).collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let seen = self.seen.get(path);
            let (durable, given) = (self.durable.get(path), self.given.get(path));
            // By what is called so and not by the name, in which there may be a random number.
            let mut hasher = DefaultHasher::new();
            (seed, path.parent(), seen, durable, given).hash(&mut hasher);
            if [seen, durable, given].contains(&Some(&Entry::Directory)) {
                path.hash(&mut hasher);
            }
            let entry = match Dice(hasher.finish()).roll(3) {
                0 => seen,
                1 => durable,
                _ => given.or(seen),
            };
            if let Some(entry) = entry {
                names.insert(path.clone(), *entry);
            }
        }
        for (path, entry) in &self.durable {
            let still_there = self.seen.values().any(|seen| seen == entry);
            // By the old name or the new one; a third that it had on the way does not count.
            let kept = names.iter().any(|(name, kept)| {
                let has = |names: &BTreeMap<PathBuf, Entry>| names.get(name) == Some(entry);
                kept == entry && (has(&self.seen) || has(&self.durable))
            });
            if still_there && !kept && !names.contains_key(path) {
                names.insert(path.clone(), *entry);
            }
        }
        names
    }
}

impl Bits {
    /// What was synced, or more of it, right or not.
    fn some(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.seen.clone();
        match dice.roll(4) {
            0 => {}
            1 => bytes.clone_from(&self.durable),
            2 => bytes
                .iter_mut()
                .skip(self.durable.len())
                .for_each(|byte| *byte = 0),
            _ => {
                let more = bytes.len().saturating_sub(self.durable.len());
                bytes.truncate(self.durable.len() + dice.roll(more + 1));
            }
        }
        bytes
    }
}

/// Numbers that look like chance and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power failed")
}

#[derive(Debug)]
struct OpenFile {
    disk: FailingDisk,
    file: usize,
}

impl FileWriter for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_power()?;
        let result = state.step();
        // The write that fails gets half way.
        let done = if result.is_ok() {
            bytes
        } else {
            &bytes[..bytes.len() / 2]
        };
        state.files[self.file].seen.extend_from_slice(done);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let bits = &mut state.files[self.file];
        bits.durable.clone_from(&bits.seen);
        Ok(())
    }
}

impl FileSystem for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        let mut state = self.state();
        state.check_power()?;
        state.need_parent(path)?;
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.step()?;
        let file = state.files.len();
        state.files.push(Bits::default());
        state.give(path, Entry::File(file));
        Ok(Box::new(OpenFile {
            disk: self.clone(),
            file,
        }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        let file = self.state().file(path)?;
        Ok(Box::new(OpenFile {
            disk: self.clone(),
            file,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<BlobReader> {
        let state = self.state();
        let file = state.file(path)?;
        let bytes = Bytes::from(state.files[file].seen.clone());
        Ok(BlobReader::of_memory(Pieces::of(bytes)))
    }

    fn look_at(&self, path: &Path) -> io::Result<FileState> {
        let state = self.state();
        let file = state.file(path)?;
        let names = state
            .seen
            .values()
            .filter(|entry| **entry == Entry::File(file));
        Ok(FileState {
            size: state.files[file].seen.len() as u64,
            modified: SystemTime::now(),
            shared: names.count() > 1,
        })
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.state().file(path).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(from)?;
        state.need_parent(to)?;
        state.step()?;
        state.seen.remove(from);
        state.give(to, Entry::File(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.file(path)?;
        state.step()?;
        state.seen.remove(path);
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        state.need_parent(path)?;
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.step()?;
        state.give(path, Entry::Directory);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        if state.seen.keys().any(|other| other.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.step()?;
        state.seen.remove(path);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inside = |path: &PathBuf| path.parent() == Some(directory);
        state.durable.retain(|path, _| !inside(path));
        state.given.retain(|path, _| !inside(path));
        let names: Vec<_> = state
            .seen
            .iter()
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        state
            .durable
            .extend(names.into_iter().filter(|(path, _)| inside(path)));
        Ok(())
    }

    fn list(&self, directory: &Path, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        let state = self.state();
        state.check_power()?;
        if state.seen.get(directory) != Some(&Entry::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names: Vec<String> = state
            .seen
            .keys()
            .filter(|path| path.parent() == Some(directory))
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        drop(state);
        for name in &names {
            if !visit(name) {
                break;
            }
        }
        Ok(())
    }
}
