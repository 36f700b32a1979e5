//! Files in, pieces of the archive out: what the threads of a packing do.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use crate::cancel::CancelFlag;
use crate::error::{Change, PackError};
use crate::scan::FileEntry;
use crate::zip_format::Entry;

/// Files up to this many bytes are compressed in one go, larger ones in segments of this size, each by
/// whichever thread is free. With the other sizes here it bounds the memory of a packing. Changing it
/// changes the bytes of archives.
const SEGMENT_SIZE: u64 = 512 * 1024;

/// How far back deflate can refer, and so what a segment needs to see of the one before it.
const WINDOW_SIZE: u64 = 32 * 1024;

/// A thread gets small files by the batch; this is what a batch weighs, in bytes.
const BATCH_WEIGHT: u64 = 128 * 1024;

/// What a file weighs in a batch on top of its size: about the work of opening it.
const FILE_WEIGHT: u64 = 1024;

/// Level of files that are compressed in one go. On 4,000 files of source code (15 MB) this is a little
/// smaller than zlib's default in two thirds of the time; the next level saves 0.4 % for 15 % more time.
const LEVEL_IN_ONE_GO: i32 = 5;

/// Level of files that are compressed in segments: zlib's default.
const LEVEL_IN_SEGMENTS: u32 = 6;

/// A piece of work, small enough to be held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    /// These files, each in one go.
    Batch(Range<usize>),
    /// A part of one large file.
    Segment { file: usize, start: u64, end: u64 },
}

/// Cuts the files into units. The cuts depend on nothing but the list, or the bytes of the archive would
/// depend on the machine.
#[derive(Debug, Clone)]
pub(crate) struct Units<'a> {
    files: &'a [FileEntry],
    file: usize,
    /// Where the next segment of `file` starts.
    start: u64,
}

impl<'a> Units<'a> {
    pub(crate) fn of(files: &'a [FileEntry]) -> Self {
        Self {
            files,
            file: 0,
            start: 0,
        }
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let first = self.file;
        let size = self.files.get(first)?.size;
        if size > SEGMENT_SIZE {
            let start = self.start;
            let end = size.min(start + SEGMENT_SIZE);
            if end == size {
                self.file += 1;
                self.start = 0;
            } else {
                self.start = end;
            }
            return Some(Unit::Segment {
                file: first,
                start,
                end,
            });
        }
        let mut weight = 0;
        while let Some(file) = self.files.get(self.file)
            && file.size <= SEGMENT_SIZE
            && weight < BATCH_WEIGHT
        {
            weight += file.size + FILE_WEIGHT;
            self.file += 1;
        }
        Some(Unit::Batch(first..self.file))
    }
}

/// A piece of the archive.
pub(crate) struct Piece<'a> {
    pub(crate) bytes: Vec<u8>,
    /// The entries that begin in it, their offsets counted from its start. The last one is unfinished
    /// if there is a segment.
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) segment: Option<Segment>,
}

/// What a piece adds to the last entry.
pub(crate) struct Segment {
    pub(crate) crc: Crc,
    /// Bytes of the piece that are the file's compressed data.
    pub(crate) compressed_size: u64,
    /// No more segments of the file follow.
    pub(crate) is_last: bool,
}

/// What one thread needs to compress; kept from unit to unit.
pub(crate) struct Worker<'a> {
    files: &'a [FileEntry],
    cancel: &'a CancelFlag,
    /// Set when the result is of no use any more.
    stopped: &'a AtomicBool,
    contents: Vec<u8>,
    compressed: Vec<u8>,
    in_one_go: Option<Compressor>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        files: &'a [FileEntry],
        cancel: &'a CancelFlag,
        stopped: &'a AtomicBool,
    ) -> Self {
        Self {
            files,
            cancel,
            stopped,
            contents: Vec::new(),
            compressed: Vec::new(),
            in_one_go: None,
        }
    }

    pub(crate) fn compress(&mut self, unit: Unit) -> Result<Piece<'a>, PackError> {
        match unit {
            Unit::Batch(range) => {
                let mut piece = Piece {
                    bytes: Vec::new(),
                    entries: Vec::with_capacity(range.len()),
                    segment: None,
                };
                for index in range {
                    self.check_going_on()?;
                    self.add_file(index, &mut piece)?;
                }
                Ok(piece)
            }
            Unit::Segment { file, start, end } => {
                self.check_going_on()?;
                self.segment(file, start, end)
            }
        }
    }

    fn check_going_on(&self) -> Result<(), PackError> {
        if self.stopped.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        Ok(())
    }

    /// A whole file: read, compressed, and its header with what came of it in front.
    fn add_file(&mut self, index: usize, piece: &mut Piece<'a>) -> Result<(), PackError> {
        let Some(file) = self.files.get(index) else {
            return Ok(());
        };
        self.read(file, 0, file.size)?;
        self.in_one_go()?;
        let mut entry = self.begin(index, file, piece)?;
        entry.crc = libdeflater::crc32(&self.contents);
        entry.compressed_size = self.compressed.len() as u64;
        entry.push_local_header(&mut piece.bytes)?;
        piece.bytes.extend_from_slice(&self.compressed);
        piece.entries.push(entry);
        Ok(())
    }

    /// Compresses the contents into a deflate stream of its own.
    fn in_one_go(&mut self) -> Result<(), PackError> {
        let compressor = match &mut self.in_one_go {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(
                CompressionLvl::new(LEVEL_IN_ONE_GO)
                    .map_err(|_| broken("the compression library does not know the level"))?,
            )),
        };
        let bound = compressor.deflate_compress_bound(self.contents.len());
        self.compressed.resize(bound, 0);
        let length = compressor
            .deflate_compress(&self.contents, &mut self.compressed)
            .map_err(broken)?;
        self.compressed.truncate(length);
        Ok(())
    }

    /// A part of a file. Every part but the last ends at a byte without ending the deflate stream, so
    /// that the parts one after the other are one stream; each refers back into the one before it.
    fn segment(&mut self, index: usize, start: u64, end: u64) -> Result<Piece<'a>, PackError> {
        let mut piece = Piece {
            bytes: Vec::new(),
            entries: Vec::new(),
            segment: None,
        };
        let Some(file) = self.files.get(index) else {
            return Ok(piece);
        };
        let window = start.saturating_sub(WINDOW_SIZE);
        self.read(file, window, end)?;
        let (before, contents) = usize::try_from(start - window)
            .ok()
            .and_then(|length| self.contents.split_at_checked(length))
            .ok_or_else(|| broken("a segment has fewer bytes than were read"))?;
        let is_last = end == file.size;
        if start == 0 {
            let entry = self.begin(index, file, &mut piece)?;
            entry.push_local_header(&mut piece.bytes)?;
            piece.entries.push(entry);
        }
        let header_length = piece.bytes.len();
        let mut compress = Compress::new(Compression::new(LEVEL_IN_SEGMENTS), false);
        if !before.is_empty() {
            compress.set_dictionary(before).map_err(broken)?;
        }
        deflate(&mut compress, contents, is_last, &mut piece.bytes)?;
        let mut crc = Crc::new();
        crc.update(contents);
        piece.segment = Some(Segment {
            crc,
            compressed_size: (piece.bytes.len() - header_length) as u64,
            is_last,
        });
        Ok(piece)
    }

    /// Adds the directories that are new with this file, and says where its own header comes.
    fn begin(
        &self,
        index: usize,
        file: &'a FileEntry,
        piece: &mut Piece<'a>,
    ) -> Result<Entry<'a>, PackError> {
        let previous = index
            .checked_sub(1)
            .and_then(|index| self.files.get(index))
            .map_or("", |file| file.path.as_str());
        for parent in new_parents(previous, &file.path) {
            let entry = Entry::directory(parent, piece.bytes.len() as u64);
            entry.push_local_header(&mut piece.bytes)?;
            piece.entries.push(entry);
        }
        Ok(Entry {
            name: &file.path,
            executable: file.executable,
            crc: 0,
            compressed_size: 0,
            size: file.size,
            offset: piece.bytes.len() as u64,
        })
    }

    /// Fills the buffer with the bytes from `start` to `end` of a file that is still what the scan saw.
    fn read(&mut self, entry: &FileEntry, start: u64, end: u64) -> Result<(), PackError> {
        let changed = |change| PackError::Changed {
            path: entry.path.clone(),
            change,
        };
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::NotFound {
                changed(Change::Vanished)
            } else {
                PackError::Unreadable {
                    path: entry.path.clone(),
                    source,
                }
            }
        };
        let mut file = open(&entry.source).map_err(failed)?;
        check_unchanged(entry, &file.metadata().map_err(failed)?).map_err(changed)?;
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(failed)?;
        }
        let wanted = usize::try_from(end - start).map_err(broken)?;
        // One more than the file should have: some file systems give sizes that are not true.
        let beyond = usize::from(end == entry.size);
        self.contents.resize(wanted + beyond, 0);
        let mut filled = 0;
        loop {
            match file.read(self.contents.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
            // There was room for one byte more, so this is the end of the file, or of the segment.
            if filled >= wanted {
                break;
            }
        }
        if filled != wanted {
            return Err(changed(Change::Size));
        }
        self.contents.truncate(wanted);
        check_unchanged(entry, &file.metadata().map_err(failed)?).map_err(changed)
    }
}

/// Opens a file without waiting for the other end of what has become a pipe since the scan.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    match File::options().read(true).custom_flags(flags).open(path) {
        // Only files with a lease, such as a file server holds, are refused so; waiting ends the lease.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path),
        result => result,
    }
}

/// Opens a file.
#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
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

/// Adds the compressed contents to `out`, in one step: where the library's output meets the end of its room
/// can show in the bytes.
fn deflate(
    compress: &mut Compress,
    contents: &[u8],
    is_last: bool,
    out: &mut Vec<u8>,
) -> Result<(), PackError> {
    // What does not compress grows by less than a thousandth.
    out.reserve(contents.len() + contents.len() / 64 + 1024);
    let flush = if is_last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    let status = compress
        .compress_vec(contents, out, flush)
        .map_err(broken)?;
    let is_whole = compress.total_in() == contents.len() as u64
        && (status == Status::StreamEnd) == is_last
        && out.len() < out.capacity();
    if !is_whole {
        return Err(broken("the compression library did not finish a segment"));
    }
    Ok(())
}

/// What cannot go wrong while the libraries and this crate do what they say.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PackError {
    PackError::Write {
        source: error.into(),
    }
}

/// The directories of `path`, outermost first and with their final `/`, that `previous` was not in.
/// Files come sorted by their bytes, so this visits each directory once and the whole archive stays
/// sorted.
fn new_parents<'a>(previous: &str, path: &'a str) -> impl Iterator<Item = &'a str> {
    path.match_indices('/')
        .filter_map(|(index, _)| path.get(..=index))
        .filter(move |parent| !previous.starts_with(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_is_new_once() {
        let parents = |previous, path| new_parents(previous, path).collect::<Vec<_>>();
        assert_eq!(parents("", "a/b/c"), ["a/", "a/b/"]);
        assert_eq!(parents("a/b/c", "a/b/d"), [""; 0]);
        assert_eq!(parents("a/b/c", "a/bb/c"), ["a/bb/"]);
        assert_eq!(parents("a", "a-b/c"), ["a-b/"]);
        assert_eq!(parents("", "c"), [""; 0]);
    }

    fn file(size: u64) -> FileEntry {
        FileEntry {
            path: size.to_string(),
            size,
            executable: false,
            modified: None,
            source: std::path::PathBuf::new(),
        }
    }

    #[test]
    fn small_files_go_in_batches_and_large_ones_in_segments() {
        let sizes = [
            10,
            20,
            SEGMENT_SIZE,
            5,
            SEGMENT_SIZE * 2,
            SEGMENT_SIZE + 1,
            7,
        ];
        let files = sizes.map(file);
        let segment = |file, start, end| Unit::Segment { file, start, end };
        assert_eq!(
            Units::of(&files).collect::<Vec<_>>(),
            [
                Unit::Batch(0..3),
                Unit::Batch(3..4),
                segment(4, 0, SEGMENT_SIZE),
                segment(4, SEGMENT_SIZE, SEGMENT_SIZE * 2),
                segment(5, 0, SEGMENT_SIZE),
                segment(5, SEGMENT_SIZE, SEGMENT_SIZE + 1),
                Unit::Batch(6..7),
            ]
        );
        assert_eq!(Units::of(&[]).next(), None);
    }

    proptest::proptest! {
        #[test]
        fn units_cover_each_file_once_and_are_bounded(sizes in proptest::collection::vec(0_u64..2_000_000, 0..60)) {
            let files: Vec<FileEntry> = sizes.iter().copied().map(file).collect();
            let mut covered = vec![0; files.len()];
            let mut next = (0, 0);
            for unit in Units::of(&files) {
                let bytes = match unit {
                    Unit::Batch(range) => {
                        proptest::prop_assert_eq!((range.start, 0), next);
                        next = (range.end, 0);
                        range.map(|index| {
                            covered[index] += files[index].size;
                            files[index].size
                        }).sum()
                    }
                    Unit::Segment { file, start, end } => {
                        proptest::prop_assert_eq!((file, start), next);
                        next = if end == files[file].size { (file + 1, 0) } else { (file, end) };
                        covered[file] += end - start;
                        end - start
                    }
                };
                proptest::prop_assert!(bytes <= SEGMENT_SIZE + BATCH_WEIGHT);
            }
            proptest::prop_assert_eq!(next, (files.len(), 0));
            proptest::prop_assert_eq!(covered, sizes);
        }
    }
}
