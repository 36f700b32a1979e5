//! Writing the archive.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flate2::Crc;

use crate::compress::{Piece, Segment, Units, Worker};
use crate::error::PackError;
use crate::options::PackOptions;
use crate::pipeline;
use crate::scan::{FileList, scan, scan_without};
use crate::zip_format::{self, Entry};

/// The archive's directory is written in pieces of this many bytes.
const BUFFER_SIZE: usize = 64 * 1024;

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
/// Files are compressed by several threads. Memory holds the list of files, what the archive's directory
/// will say of them and a few MiB per thread. When this fails, `out` holds the beginning of an archive,
/// which is of no use. `out` gets large writes, so it needs no buffer.
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
        // The archive takes the place of what has the name: of `/dev/null` it would be the end.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let message = "it is there and is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
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
    let mut writer = ArchiveWriter::new(out, &files, options.size_limit)?;
    let units = Units::of(&files.files);
    let threads = options
        .threads
        .map_or_else(available_threads, NonZeroUsize::get);
    // No more threads than there is work for.
    let threads = units.clone().take(threads).count();
    let stopped = AtomicBool::new(false);
    pipeline::in_order(
        NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
        units,
        || Worker::new(&files.files, &options.cancel_flag, &stopped),
        Worker::compress,
        |piece| {
            let result = if options.cancel_flag.is_cancelled() {
                Err(PackError::Cancelled)
            } else {
                writer.add(piece)
            };
            stopped.fetch_or(result.is_err(), Ordering::Relaxed);
            result
        },
    )?;
    let size = writer.finish()?;
    Ok(Archive { size, files })
}

fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Puts the pieces of an archive together.
struct ArchiveWriter<'a, W> {
    out: W,
    /// Where the archive starts in `out`.
    start: u64,
    /// Bytes written so far.
    written: u64,
    limit: u64,
    files: &'a FileList,
    entries: Vec<Entry<'a>>,
    /// Checksum of the entry that is in the making.
    crc: Crc,
}

impl<'a, W: Write + Seek> ArchiveWriter<'a, W> {
    fn new(mut out: W, files: &'a FileList, limit: u64) -> Result<Self, PackError> {
        Ok(Self {
            start: out.stream_position().map_err(write_failed)?,
            out,
            written: 0,
            limit,
            files,
            entries: Vec::new(),
            crc: Crc::new(),
        })
    }

    fn add(&mut self, piece: Piece<'a>) -> Result<(), PackError> {
        let begin = self.written;
        let is_batch = piece.segment.is_none();
        for mut entry in piece.entries {
            entry.offset += begin;
            // A batch ends in the middle when that is where the limit is.
            if is_batch {
                self.check_limit(entry.offset + entry.compressed_size)?;
            }
            self.entries.push(entry);
        }
        self.write(&piece.bytes)?;
        match piece.segment {
            Some(segment) => self.add_segment(&segment),
            None => Ok(()),
        }
    }

    fn add_segment(&mut self, segment: &Segment) -> Result<(), PackError> {
        self.crc.combine(&segment.crc);
        let Some(entry) = self.entries.last_mut() else {
            return Ok(());
        };
        entry.compressed_size += segment.compressed_size;
        if !segment.is_last {
            return Ok(());
        }
        entry.crc = self.crc.sum();
        self.crc.reset();
        // The header went out before its data was known; it keeps its length.
        let mut header = Vec::new();
        entry.push_local_header(&mut header)?;
        let place = SeekFrom::Start(self.start + entry.offset);
        let end = SeekFrom::Start(self.start + self.written);
        self.out.seek(place).map_err(write_failed)?;
        self.out.write_all(&header).map_err(write_failed)?;
        self.out.seek(end).map_err(write_failed)?;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, PackError> {
        let begin = self.written;
        let mut buffer = Vec::new();
        let entries = mem::take(&mut self.entries);
        for entry in &entries {
            entry.push_central_header(&mut buffer)?;
            if buffer.len() >= BUFFER_SIZE {
                self.write(&buffer)?;
                buffer.clear();
            }
        }
        let size = self.written + buffer.len() as u64 - begin;
        zip_format::push_end(entries.len() as u64, begin, size, &mut buffer);
        self.write(&buffer)?;
        self.out.flush().map_err(write_failed)?;
        Ok(self.written)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        let end = self.written + bytes.len() as u64;
        self.check_limit(end)?;
        self.out.write_all(bytes).map_err(write_failed)?;
        self.written = end;
        Ok(())
    }

    fn check_limit(&self, end: u64) -> Result<(), PackError> {
        if end <= self.limit {
            return Ok(());
        }
        Err(PackError::SizeLimit {
            limit: self.limit,
            written: end,
            largest: self.files.largest(LARGEST_SHOWN),
        })
    }
}

fn write_failed(error: io::Error) -> PackError {
    PackError::Write {
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Cursor;

    use super::*;
    use crate::error::Change;

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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_became_a_pipe_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("data.bin");
        fs::write(&file, "1234").unwrap();
        let files = listed(place.path());
        fs::remove_file(&file).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let error = pack_listed(files);
        assert!(
            matches!(
                error,
                PackError::Changed {
                    change: Change::Kind,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn more_entries_than_16_bits_count_are_read_back() {
        let names: Vec<String> = (0..70_000).map(|number| format!("{number}/")).collect();
        let files = FileList { files: Vec::new() };
        let mut out = Cursor::new(Vec::new());
        let mut writer = ArchiveWriter::new(&mut out, &files, u64::MAX).unwrap();
        for name in &names {
            let mut piece = Piece {
                bytes: Vec::new(),
                entries: vec![Entry::directory(name, 0)],
                segment: None,
            };
            piece.entries[0]
                .push_local_header(&mut piece.bytes)
                .unwrap();
            writer.add(piece).unwrap();
        }
        writer.finish().unwrap();
        let mut archive = zip::ZipArchive::new(out).unwrap();
        assert_eq!(archive.len(), names.len());
        assert_eq!(archive.by_index(69_999).unwrap().name().unwrap(), "69999/");
    }
}
