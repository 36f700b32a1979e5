//! Writing the archive.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::error::{Change, PackError};
use crate::options::PackOptions;
use crate::scan::{FileEntry, FileList, scan, scan_without};

/// Read and write buffer in bytes.
const BUFFER_SIZE: usize = 64 * 1024;

/// From this size on an entry gets 64-bit size fields; a bit under 4 GiB, since what does not
/// compress grows a little.
const LARGE_FILE_SIZE: u64 = 4_000_000_000;

/// Stated, so that an archive does not change when the zip library's default does.
const COMPRESSION_LEVEL: i64 = 6;

/// How many files the error about the size limit names.
const LARGEST_SHOWN: usize = 5;

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Archive {
    /// Size of the archive in bytes.
    pub size: u64,
    /// The files in it.
    pub files: FileList,
}

/// Packs a directory into a zip that is written to `out`, from where it stands.
///
/// Files are streamed; memory holds the list of files and one buffer. When this fails, `out` holds
/// the beginning of an archive, which is of no use.
///
/// # Errors
/// Everything of [`PackError`] but [`PackError::Output`].
pub fn pack(
    directory: &Path,
    options: &PackOptions,
    out: impl Write + Seek,
) -> Result<Archive, PackError> {
    write_archive(scan(directory, options)?, options, out)
}

/// Packs a directory into a zip file, which appears under its name only when it is complete and
/// replaces what had that name.
///
/// The archive may lie in the directory it is made of; it does not become part of itself.
///
/// # Errors
/// Everything of [`PackError`].
pub fn pack_to_file(
    directory: &Path,
    options: &PackOptions,
    output: &Path,
) -> Result<Archive, PackError> {
    let failed = |source| PackError::Output {
        path: output.to_owned(),
        source,
    };
    let output = Output::resolve(output).map_err(failed)?;
    let files = scan_without(directory, options, |path| output.owns(path))?;
    let temporary = output.temporary_file().map_err(failed)?;
    let archive = write_archive(files, options, temporary.as_file())?;
    // Without this a power cut could leave the name on an empty file.
    temporary.as_file().sync_all().map_err(failed)?;
    temporary
        .persist(output.path())
        .map_err(|error| failed(error.error))?;
    Ok(archive)
}

/// Where the archive goes.
struct Output {
    directory: PathBuf,
    name: OsString,
    temporary_prefix: OsString,
}

/// End of the names under which archives are written until they are complete.
const TEMPORARY_SUFFIX: &str = ".partial";

impl Output {
    fn resolve(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name")
        })?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut temporary_prefix = OsString::from(".");
        temporary_prefix.push(name);
        temporary_prefix.push(".");
        Ok(Self {
            directory: fs::canonicalize(parent)?,
            name: name.to_owned(),
            temporary_prefix,
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Whether the path is the archive's, or one that a packing to it left behind when it was
    /// killed.
    fn owns(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else {
            return false;
        };
        if path.parent() != Some(self.directory.as_path()) {
            return false;
        }
        let bytes = name.as_encoded_bytes();
        name == self.name
            || (bytes.starts_with(self.temporary_prefix.as_encoded_bytes())
                && bytes.ends_with(TEMPORARY_SUFFIX.as_bytes()))
    }

    fn temporary_file(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder
            .prefix(&self.temporary_prefix)
            .suffix(TEMPORARY_SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any other new file: the user's mask decides, not the default for secrets.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        builder.tempfile_in(&self.directory)
    }
}

fn write_archive(
    files: FileList,
    options: &PackOptions,
    out: impl Write + Seek,
) -> Result<Archive, PackError> {
    let progress = Progress::default();
    let out = BufWriter::with_capacity(BUFFER_SIZE, out);
    let result = Gate::new(out, options.size_limit, &progress)
        .map_err(write_failed)
        .and_then(|gate| write_entries(&files, gate, &progress));
    if progress.over_limit.get() {
        return Err(PackError::SizeLimit {
            limit: options.size_limit,
            written: progress.written.get(),
            largest: files.largest(LARGEST_SHOWN),
        });
    }
    result?;
    Ok(Archive {
        size: progress.written.get(),
        files,
    })
}

fn write_entries<W: Write + Seek>(
    files: &FileList,
    gate: Gate<'_, W>,
    progress: &Progress,
) -> Result<(), PackError> {
    let mut zip = ZipWriter::new(gate);
    let written = write_files(&mut zip, files);
    if written.is_err() {
        // The zip writer finishes its archive when it is dropped; nobody wants this one.
        progress.closed.set(true);
        return written;
    }
    let mut gate = zip.finish().map_err(write_failed)?;
    gate.flush().map_err(write_failed)?;
    if progress.closed.get() {
        return Err(write_failed(io::Error::other("a write failed unnoticed")));
    }
    Ok(())
}

fn write_files<W: Write + Seek>(
    zip: &mut ZipWriter<Gate<'_, W>>,
    files: &FileList,
) -> Result<(), PackError> {
    let common = SimpleFileOptions::default()
        .system(System::Unix)
        .last_modified_time(DateTime::DEFAULT)
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(COMPRESSION_LEVEL));
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut previous = "";
    for file in &files.files {
        for parent in new_parents(previous, &file.path) {
            let options = common.compression_level(None).unix_permissions(0o755);
            zip.add_directory(parent, options).map_err(write_failed)?;
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        let options = common
            .unix_permissions(mode)
            .large_file(file.size >= LARGE_FILE_SIZE);
        write_file(zip, file, options, &mut buffer)?;
        previous = &file.path;
    }
    Ok(())
}

/// The directories of `path`, outermost first and with their final `/`, that `previous` was not in.
/// Files come sorted by their bytes, so this visits each directory once and the whole archive stays
/// sorted.
fn new_parents<'a>(previous: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    path.match_indices('/')
        .filter_map(|(index, _)| path.get(..=index))
        .filter(move |parent| !previous.starts_with(parent))
}

fn write_file<W: Write + Seek>(
    zip: &mut ZipWriter<Gate<'_, W>>,
    entry: &FileEntry,
    options: SimpleFileOptions,
    buffer: &mut [u8],
) -> Result<(), PackError> {
    let changed = |change| PackError::Changed {
        path: entry.path.clone(),
        change,
    };
    let read_failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            changed(Change::Vanished)
        } else {
            PackError::Unreadable {
                path: entry.path.clone(),
                source,
            }
        }
    };
    // Looked at before it is opened as well: opening what has become a pipe would wait for ever.
    let metadata = fs::metadata(&entry.source).map_err(read_failed)?;
    check_unchanged(entry, &metadata).map_err(changed)?;
    let mut file = File::open(&entry.source).map_err(read_failed)?;
    zip.start_file(&entry.path, options).map_err(write_failed)?;
    let mut read = 0;
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_failed(error)),
        };
        read += count as u64;
        // At once, not at the end: a file that grows as fast as it is read has none.
        if read > entry.size {
            return Err(changed(Change::Size));
        }
        zip.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(write_failed)?;
    }
    if read != entry.size {
        return Err(changed(Change::Size));
    }
    check_unchanged(entry, &file.metadata().map_err(read_failed)?).map_err(changed)
}

fn check_unchanged(entry: &FileEntry, metadata: &Metadata) -> Result<(), Change> {
    if !metadata.is_file() {
        Err(Change::Kind)
    } else if metadata.len() != entry.size {
        Err(Change::Size)
    } else if metadata.modified().ok() != entry.modified {
        Err(Change::Content)
    } else {
        Ok(())
    }
}

fn write_failed(error: impl Into<ZipError>) -> PackError {
    PackError::Write {
        source: match error.into() {
            ZipError::Io(error) => Box::new(error),
            other => Box::new(other),
        },
    }
}

/// What is known of an archive while the zip writer holds the way to it.
#[derive(Default)]
struct Progress {
    /// End of what was written, from the archive's start.
    written: Cell<u64>,
    over_limit: Cell<bool>,
    closed: Cell<bool>,
}

/// Lets bytes through up to a limit.
///
/// After its first error it swallows everything: the zip writer tries to finish its archive when it
/// is dropped, and would tell standard error if it could not.
struct Gate<'a, W> {
    inner: W,
    /// Where the archive starts in `inner`.
    start: u64,
    position: u64,
    limit: u64,
    progress: &'a Progress,
}

impl<'a, W: Write + Seek> Gate<'a, W> {
    fn new(mut inner: W, limit: u64, progress: &'a Progress) -> io::Result<Self> {
        Ok(Self {
            start: inner.stream_position()?,
            inner,
            position: 0,
            limit,
            progress,
        })
    }

    fn close_on_error<T>(&self, result: io::Result<T>) -> io::Result<T> {
        match result {
            // Whoever called will try again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.progress.closed.set(true);
                Err(error)
            }
            Ok(value) => Ok(value),
        }
    }
}

impl<W: Write + Seek> Write for Gate<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = if self.progress.closed.get() {
            bytes.len()
        } else {
            let end = self.position.saturating_add(bytes.len() as u64);
            if end > self.limit {
                self.progress.over_limit.set(true);
                self.progress
                    .written
                    .set(end.max(self.progress.written.get()));
                return self.close_on_error(Err(io::Error::other("over the size limit")));
            }
            let result = self.inner.write(bytes);
            self.close_on_error(result)?
        };
        self.position = self.position.saturating_add(count as u64);
        if !self.progress.closed.get() {
            self.progress
                .written
                .set(self.position.max(self.progress.written.get()));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.progress.closed.get() {
            return Ok(());
        }
        let result = self.inner.flush();
        self.close_on_error(result)
    }
}

impl<W: Write + Seek> Seek for Gate<'_, W> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.progress.written.get().checked_add_signed(distance),
        };
        let position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if position != self.position && !self.progress.closed.get() {
            let result = self.inner.seek(SeekFrom::Start(self.start + position));
            self.close_on_error(result)?;
        }
        self.position = position;
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn each_directory_is_new_once() {
        let parents = |previous, path| new_parents(previous, path).collect::<Vec<_>>();
        assert_eq!(parents("", "a/b/c"), ["a/", "a/b/"]);
        assert_eq!(parents("a/b/c", "a/b/d"), [""; 0]);
        assert_eq!(parents("a/b/c", "a/bb/c"), ["a/bb/"]);
        assert_eq!(parents("a", "a-b/c"), ["a-b/"]);
        assert_eq!(parents("", "c"), [""; 0]);
    }

    /// Fails from a given number of bytes on, as a full disk does.
    struct FullDisk(Cursor<Vec<u8>>, u64);

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.position() + bytes.len() as u64 > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for FullDisk {
        fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
            self.0.seek(target)
        }
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_strikes() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "a".repeat(1000)).unwrap();
        fs::write(place.path().join("b"), "b").unwrap();
        let options = PackOptions::new();
        let mut whole = Cursor::new(Vec::new());
        let size = pack(place.path(), &options, &mut whole).unwrap().size;
        assert_eq!(size, whole.get_ref().len() as u64);
        for room in 0..size {
            let disk = FullDisk(Cursor::default(), room);
            let error = pack(place.path(), &options, disk).unwrap_err();
            assert!(matches!(error, PackError::Write { .. }), "{room}: {error}");
        }
        assert!(pack(place.path(), &options, FullDisk(Cursor::default(), size)).is_ok());
    }

    #[test]
    fn the_archive_starts_where_the_writer_stands() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "text").unwrap();
        let mut plain = Cursor::new(Vec::new());
        pack(place.path(), &PackOptions::new(), &mut plain).unwrap();
        let mut prefixed = Cursor::new(b"prefix".to_vec());
        prefixed.set_position(6);
        let archive = pack(place.path(), &PackOptions::new(), &mut prefixed).unwrap();
        assert_eq!(archive.size, plain.get_ref().len() as u64);
        assert_eq!(&prefixed.get_ref()[6..], plain.get_ref().as_slice());
    }

    fn listed(path: &Path) -> FileList {
        scan(path, &PackOptions::new()).unwrap()
    }

    fn pack_listed(files: FileList) -> PackError {
        write_archive(files, &PackOptions::new(), Cursor::new(Vec::new())).unwrap_err()
    }

    #[test]
    fn a_change_between_scan_and_packing_names_the_file() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("data.bin");
        fs::write(&file, "1234").unwrap();

        let files = listed(place.path());
        fs::write(&file, "12345").unwrap();
        let error = pack_listed(files);
        assert!(
            matches!(&error, PackError::Changed { path, change: Change::Size } if path == "data.bin")
        );

        let files = listed(place.path());
        let later = files.files[0].modified.unwrap() + std::time::Duration::from_secs(2);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        let error = pack_listed(files);
        assert!(matches!(
            error,
            PackError::Changed {
                change: Change::Content,
                ..
            }
        ));

        let files = listed(place.path());
        fs::remove_file(&file).unwrap();
        let error = pack_listed(files);
        assert!(matches!(
            error,
            PackError::Changed {
                change: Change::Vanished,
                ..
            }
        ));
        assert!(
            error
                .to_string()
                .starts_with("`data.bin` vanished while it was being packed")
        );

        fs::write(&file, "1").unwrap();
        let files = listed(place.path());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = pack_listed(files);
        assert!(matches!(
            error,
            PackError::Changed {
                change: Change::Kind,
                ..
            }
        ));
    }
}
