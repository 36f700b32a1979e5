//! Files in memory, for tests and whatever else need not outlive the process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::store::files::{BlobReader, FileState, FileSystem, FileWriter};

/// The size of the pieces that a large file is kept in, in bytes.
const PIECE: usize = 1024 * 1024;

/// What a file counts besides its bytes, for its name and the like: files may be empty.
const OVERHEAD: u64 = 256;

/// Files in memory. A directory comes into being with the first file in it.
#[derive(Debug)]
pub(crate) struct Memory {
    directories: Mutex<HashMap<PathBuf, Names>>,
    usage: Arc<Usage>,
}

/// The files of one directory, and `None` for each directory in it.
type Names = BTreeMap<String, Option<Arc<Content>>>;

impl Memory {
    /// `limit` is how many bytes all files together may have, with 256 for each file itself.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            directories: Mutex::default(),
            usage: Arc::new(Usage {
                used: AtomicU64::new(0),
                limit,
            }),
        }
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<PathBuf, Names>> {
        // Each operation ends with a valid tree, and none of its steps panics.
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, file: &Path) -> io::Result<Arc<Content>> {
        let (parent, name) = split(file)?;
        self.directories()
            .get(parent)
            .and_then(|names| names.get(name))
            .and_then(Clone::clone)
            .ok_or_else(absent)
    }
}

impl FileSystem for Memory {
    fn create(&self, file: &Path) -> io::Result<Box<dyn FileWriter>> {
        let (parent, name) = split(file)?;
        let content = Content::new(&self.usage)?;
        let mut directories = self.directories();
        let names = make_directory(&mut directories, parent);
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.insert(name.to_owned(), Some(Arc::clone(&content)));
        Ok(Box::new(content))
    }

    fn append(&self, file: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(self.find(file)?))
    }

    fn open(&self, file: &Path) -> io::Result<BlobReader> {
        Ok(BlobReader::of_memory(self.find(file)?.read()))
    }

    fn look_at(&self, file: &Path) -> io::Result<FileState> {
        let content = self.find(file)?;
        let data = content.data();
        Ok(FileState {
            size: data.size(),
            modified: data.modified,
            shared: false,
        })
    }

    fn touch(&self, file: &Path) -> io::Result<()> {
        self.find(file)?.data().modified = SystemTime::now();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old_parent, old_name) = split(from)?;
        let (new_parent, new_name) = split(to)?;
        let mut directories = self.directories();
        let content = directories
            .get_mut(old_parent)
            .and_then(|names| names.remove(old_name))
            .ok_or_else(absent)?;
        let replaced =
            make_directory(&mut directories, new_parent).insert(new_name.to_owned(), content);
        // Freeing a large file takes a while, during which others need not wait.
        drop(directories);
        drop(replaced);
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let (parent, name) = split(file)?;
        let removed = self
            .directories()
            .get_mut(parent)
            .and_then(|names| names.remove(name));
        removed.map(drop).ok_or_else(absent)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        make_directory(&mut self.directories(), directory);
        Ok(())
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let (parent, name) = split(directory)?;
        let mut directories = self.directories();
        match directories.get(directory) {
            None => Err(absent()),
            Some(names) if !names.is_empty() => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            Some(_) => {
                directories.remove(directory);
                if let Some(names) = directories.get_mut(parent) {
                    names.remove(name);
                }
                Ok(())
            }
        }
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        // A copy, so that nobody waits while the names are looked at.
        let names: Vec<String> = self
            .directories()
            .get(directory)
            .ok_or_else(absent)?
            .keys()
            .cloned()
            .collect();
        for name in &names {
            if !visit(name) {
                break;
            }
        }
        Ok(())
    }
}

/// Makes a directory and those above it, and returns its names.
fn make_directory<'a>(
    directories: &'a mut HashMap<PathBuf, Names>,
    directory: &Path,
) -> &'a mut Names {
    if !directories.contains_key(directory)
        && let Ok((parent, name)) = split(directory)
    {
        make_directory(directories, parent).insert(name.to_owned(), None);
    }
    directories.entry(directory.to_path_buf()).or_default()
}

/// The directory that a path is in and the name that it has there.
fn split(path: &Path) -> io::Result<(&Path, &str)> {
    path.parent()
        .zip(path.file_name().and_then(|name| name.to_str()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// How many bytes all files have, and may have.
#[derive(Debug)]
struct Usage {
    used: AtomicU64,
    limit: u64,
}

impl Usage {
    fn take(&self, bytes: u64) -> io::Result<()> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.limit)
            })
            .map(drop)
            .map_err(|_| {
                io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!(
                        "the registry in memory is full: it was given {} bytes",
                        self.limit
                    ),
                )
            })
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One file. It counts until its last name and writer are gone; who has it open for reading may
/// keep its bytes for longer.
struct Content {
    data: Mutex<Data>,
    usage: Arc<Usage>,
}

struct Data {
    full: Pieces,
    /// What does not fill a piece yet.
    rest: Vec<u8>,
    modified: SystemTime,
}

impl Data {
    fn size(&self) -> u64 {
        self.full.size() + self.rest.len() as u64
    }
}

impl Content {
    fn new(usage: &Arc<Usage>) -> io::Result<Arc<Self>> {
        usage.take(OVERHEAD)?;
        Ok(Arc::new(Self {
            data: Mutex::new(Data {
                full: Pieces::default(),
                rest: Vec::new(),
                modified: SystemTime::now(),
            }),
            usage: Arc::clone(usage),
        }))
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mut bytes: &[u8]) -> io::Result<()> {
        self.usage.take(bytes.len() as u64)?;
        let mut data = self.data();
        data.modified = SystemTime::now();
        while !bytes.is_empty() {
            let room = PIECE.saturating_sub(data.rest.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            data.rest.extend_from_slice(now);
            bytes = later;
            if data.rest.len() >= PIECE {
                let piece = std::mem::take(&mut data.rest);
                data.full.push(Bytes::from(piece));
            }
        }
        Ok(())
    }

    /// What the file has now.
    fn read(&self) -> Pieces {
        let mut data = self.data();
        if !data.rest.is_empty() {
            let rest = std::mem::take(&mut data.rest);
            // A copy has no spare room, as the vector has that it grew in.
            data.full.push(Bytes::copy_from_slice(&rest));
        }
        data.full.clone()
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let size = self.data().size();
        self.usage.give_back(size.saturating_add(OVERHEAD));
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Content")
            .field("size", &self.data().size())
            .finish_non_exhaustive()
    }
}

impl FileWriter for Arc<Content> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.add(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a file, each piece with where it ends.
#[derive(Clone, Default)]
pub(crate) struct Pieces(Arc<Vec<(u64, Bytes)>>);

impl Pieces {
    #[cfg(test)]
    pub(crate) fn of(bytes: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(bytes);
        pieces
    }

    fn push(&mut self, piece: Bytes) {
        let end = self.size() + piece.len() as u64;
        Arc::make_mut(&mut self.0).push((end, piece));
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.last().map_or(0, |(end, _)| *end)
    }

    /// Bytes from `position` on, at most `limit` and no more than the piece there has.
    pub(crate) fn at(&self, position: u64, limit: usize) -> Bytes {
        let index = self.0.partition_point(|(end, _)| *end <= position);
        let Some((end, piece)) = self.0.get(index) else {
            return Bytes::new();
        };
        let left = usize::try_from(end - position).unwrap_or(piece.len());
        let start = piece.len().saturating_sub(left);
        piece.slice(start..start + left.min(limit))
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.size())
    }
}
