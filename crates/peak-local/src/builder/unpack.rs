//! Unpacking the uploaded zip.
//!
//! Only contents reach the disk, under numbers; names and links stay in memory, where they are
//! checked. All the same an archive that tries to leave its directory is refused as a whole: it was
//! not made by an honest packer.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use zip::read::{ArchiveOffset, Config, ZipFile};
use zip::result::ZipError;
use zip::{ZipArchive, ZipReadOptions};

use super::contents::Contents;
use super::error::BuildError;
use super::limits::Limits;
use super::path;
use super::stop::{self, CopyError, Stop};
use super::tree::{Content, DIRECTORY_MODE, Kind, Node, Owner, Tree};
use super::unpack_error::{NameProblem, UnpackError};

/// The mode of files that come without one.
const FILE_MODE: u32 = 0o644;

/// The bits of a Unix mode that say what an entry is, and their values.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// Brings an entry's name into the form of a tree path, or refuses it.
pub(crate) fn entry_path(raw: &[u8], limits: &Limits) -> Result<String, NameProblem> {
    if raw.len() > limits.path_bytes {
        return Err(NameProblem::TooLong);
    }
    let name = std::str::from_utf8(raw).map_err(|_| NameProblem::NotUtf8)?;
    if name.contains('\0') {
        return Err(NameProblem::Nul);
    }
    if name.contains('\\') {
        return Err(NameProblem::Backslash);
    }
    if name.starts_with('/') {
        return Err(NameProblem::Absolute);
    }
    if let [drive, b':', ..] = name.as_bytes()
        && drive.is_ascii_alphabetic()
    {
        return Err(NameProblem::Drive);
    }
    // Even a `..` that stays inside is nothing that a packer writes.
    if name.split('/').any(|component| component == "..") {
        return Err(NameProblem::Leaves);
    }
    let path = path::resolve("", name).map_err(|_| NameProblem::Leaves)?;
    if path.is_empty() {
        return Err(NameProblem::Empty);
    }
    if path::components(&path).count() > limits.path_depth {
        return Err(NameProblem::TooDeep);
    }
    Ok(path)
}

/// Unpacks an archive: contents to disk, everything else into the tree.
pub(crate) fn unpack(
    archive: &Path,
    contents: &mut Contents,
    limits: &Limits,
    stop: Stop<'_>,
) -> Result<Tree, BuildError> {
    let read = |source| UnpackError::Read { source };
    let file = File::open(archive).map_err(read)?;
    let allowance = Cell::new(limits.directory_bytes);
    let reader = Metered {
        reader: BufReader::new(file),
        allowance: &allowance,
    };
    // Without the offset being known the library would look for a directory all over the file.
    let mut zip = ZipArchive::with_config(
        Config {
            archive_offset: ArchiveOffset::Known(0),
        },
        reader,
    )
    .map_err(|error| {
        if allowance.get() == 0 {
            UnpackError::TooManyEntries {
                limit: limits.entries,
            }
        } else {
            unreadable(error)
        }
    })?;
    allowance.set(u64::MAX);
    if zip.len() > limits.entries {
        return Err(UnpackError::TooManyEntries {
            limit: limits.entries,
        }
        .into());
    }
    if zip.has_duplicate_names() {
        return Err(UnpackError::DuplicateNames.into());
    }
    let mut unpacking = Unpacking {
        contents,
        limits,
        stop,
        nodes: BTreeMap::new(),
        total: 0,
    };
    for index in 0..zip.len() {
        stop.check()?;
        let options = ZipReadOptions::new().enforce_header_consistency(true);
        let mut entry = zip
            .by_index_with_options(index, options)
            .map_err(unreadable)?;
        let (path, mode, kind) = unpacking.look_at(&entry)?;
        let packed = entry.compressed_size();
        let kind = match kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::File => unpacking.file(&path, packed, &mut entry)?,
            EntryKind::Symlink => unpacking.symlink(&path, &mut entry)?,
        };
        if unpacking.nodes.contains_key(&path) {
            return Err(UnpackError::Duplicate { name: path }.into());
        }
        unpacking.nodes.insert(
            path,
            Node {
                kind,
                mode,
                owner: Owner::default(),
            },
        );
    }
    unpacking.into_tree()
}

/// A reader that gives no more bytes than it is allowed to.
///
/// The library keeps an archive's directory in memory, however large it is; this bounds what it
/// reads before it has told how many entries there are.
struct Metered<'a, R> {
    reader: R,
    allowance: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let left = self.allowance.get().saturating_sub(count as u64);
        self.allowance.set(left);
        if left == 0 {
            return Err(io::Error::other("the archive's directory is too large"));
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.reader.seek(position)
    }
}

enum EntryKind {
    Directory,
    File,
    Symlink,
}

struct Unpacking<'a> {
    contents: &'a mut Contents,
    limits: &'a Limits,
    stop: Stop<'a>,
    nodes: BTreeMap<String, Node>,
    total: u64,
}

impl Unpacking<'_> {
    fn look_at(
        &self,
        entry: &ZipFile<'_, impl Read>,
    ) -> Result<(String, u32, EntryKind), UnpackError> {
        let raw = entry.name_raw();
        let path = entry_path(raw, self.limits).map_err(|reason| UnpackError::Name {
            name: String::from_utf8_lossy(raw).chars().take(200).collect(),
            reason,
        })?;
        let mode = entry.unix_mode();
        let named_directory = raw.ends_with(b"/");
        let kind = match mode.map_or(0, |mode| mode & TYPE_MASK) {
            TYPE_SYMLINK if !named_directory => EntryKind::Symlink,
            TYPE_DIRECTORY => EntryKind::Directory,
            // An archive made where modes are unknown says by the name what an entry is.
            0 | TYPE_FILE if named_directory => EntryKind::Directory,
            0 | TYPE_FILE => EntryKind::File,
            _ => return Err(UnpackError::SpecialFile { name: path }),
        };
        let default = if matches!(kind, EntryKind::Directory) {
            DIRECTORY_MODE
        } else {
            FILE_MODE
        };
        let permissions = mode.map_or(default, |mode| mode & 0o7777);
        Ok((
            path,
            if permissions == 0 {
                default
            } else {
                permissions
            },
            kind,
        ))
    }

    fn file(&mut self, path: &str, packed: u64, reader: &mut dyn Read) -> Result<Kind, BuildError> {
        let write = BuildError::disk("write an unpacked file");
        let (number, file) = match self.contents.create() {
            Ok(created) => created,
            Err(error) => return Err(write(error)),
        };
        let mut writer = BufWriter::new(file);
        let (before, limits, stop) = (self.total, self.limits, self.stop);
        let copied = stop::copy(reader, &mut writer, |count| -> Result<(), BuildError> {
            stop.check()?;
            Ok(check_size(path, count, before + count, packed, limits)?)
        });
        let size = match copied {
            Ok(size) => size,
            Err(CopyError::Read(error)) => {
                return Err(unreadable_entry(path, &error.to_string()).into());
            }
            Err(CopyError::Write(error)) => return Err(write(error)),
            Err(CopyError::Refused(error)) => return Err(error),
        };
        writer.flush().map_err(write)?;
        self.total += size;
        Ok(Kind::File {
            size,
            content: Content::Disk(number),
        })
    }

    fn symlink(&mut self, path: &str, reader: &mut dyn Read) -> Result<Kind, UnpackError> {
        let limit = self.limits.path_bytes;
        let mut raw = Vec::new();
        reader
            .take(limit as u64 + 1)
            .read_to_end(&mut raw)
            .map_err(|error| unreadable_entry(path, &error.to_string()))?;
        let leaves = || UnpackError::LinkLeaves {
            name: path.to_owned(),
        };
        if raw.is_empty() || raw.len() > limit {
            return Err(unreadable_entry(
                path,
                "the link's target is empty or too long",
            ));
        }
        let target = String::from_utf8(raw)
            .map_err(|_| unreadable_entry(path, "the link's target is not UTF-8"))?;
        if target.contains(['\0', '\\']) || target.starts_with('/') {
            return Err(leaves());
        }
        path::resolve(path::parent(path).unwrap_or_default(), &target).map_err(|_| leaves())?;
        Ok(Kind::Symlink { target })
    }

    /// Checks what only the whole shows, and fills in the directories that have no entry.
    fn into_tree(self) -> Result<Tree, BuildError> {
        for path in self.nodes.keys() {
            for parent in path::ancestors(path) {
                if self
                    .nodes
                    .get(parent)
                    .is_some_and(|node| !node.is_directory())
                {
                    return Err(UnpackError::BelowNoDirectory {
                        name: path.clone(),
                        parent: parent.to_owned(),
                    }
                    .into());
                }
            }
        }
        let mut tree = Tree::default();
        for (path, node) in self.nodes {
            tree.insert_parents(&path);
            tree.insert(&path, node);
            if tree.len() > self.limits.entries {
                let limit = self.limits.entries;
                return Err(UnpackError::TooManyEntries { limit }.into());
            }
        }
        let mut winding = 0;
        for (path, node) in tree.iter() {
            let Kind::Symlink { target } = &node.kind else {
                continue;
            };
            if is_winding(target) {
                self.stop.check()?;
                winding += 1;
                if winding > MAX_WINDING || link_leaves(&tree, path, target) {
                    let name = path.to_owned();
                    return Err(UnpackError::LinkLeaves { name }.into());
                }
            }
        }
        Ok(tree)
    }
}

/// How many winding links an artifact may have: each is followed step by step.
const MAX_WINDING: usize = 100;

/// Whether a link goes down and then up. Such a one may go down through another link and so climb
/// higher than its text shows; of others the text tells all.
fn is_winding(target: &str) -> bool {
    path::components(target)
        .skip_while(|component| matches!(*component, "." | ".."))
        .any(|component| component == "..")
}

/// Whether a link leads above the root when the links on its way are followed.
fn link_leaves(tree: &Tree, path: &str, target: &str) -> bool {
    let mut place = path::parent(path).unwrap_or_default().to_owned();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => match path::parent(&place) {
                Some(parent) => place = parent.to_owned(),
                None => return true,
            },
            name => match tree.follow(&path::join(&place, name)) {
                Ok(next) => place = next,
                // A circle leads nowhere; whoever copies it gets the error.
                Err(_) => return false,
            },
        }
    }
    false
}

fn check_size(
    path: &str,
    count: u64,
    total: u64,
    packed: u64,
    limits: &Limits,
) -> Result<(), UnpackError> {
    let name = || path.to_owned();
    if total > limits.total_bytes {
        return Err(UnpackError::TooLarge {
            limit: limits.total_bytes,
        });
    }
    if count > limits.entry_bytes {
        return Err(UnpackError::EntryTooLarge {
            name: name(),
            limit: limits.entry_bytes,
        });
    }
    if count > limits.ratio_from_bytes && count / limits.ratio.max(1) > packed {
        return Err(UnpackError::Ratio {
            name: name(),
            limit: limits.ratio,
        });
    }
    Ok(())
}

fn unreadable_entry(path: &str, reason: &str) -> UnpackError {
    UnpackError::Entry {
        name: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unreadable(error: ZipError) -> UnpackError {
    match error {
        ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            UnpackError::Read { source }
        }
        other => UnpackError::Archive {
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    enum Entry<'a> {
        File(&'a str, &'a [u8]),
        Link(&'a str, &'a str),
    }

    fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for entry in entries {
            match entry {
                Entry::File(name, bytes) => {
                    zip.start_file(*name, SimpleFileOptions::default().unix_permissions(0o640))
                        .unwrap();
                    zip.write_all(bytes).unwrap();
                }
                Entry::Link(name, target) => {
                    zip.add_symlink(*name, *target, SimpleFileOptions::default())
                        .unwrap();
                }
            }
        }
        zip.finish().unwrap().into_inner()
    }

    fn unpack_bytes(bytes: &[u8], limits: &Limits) -> Result<Tree, BuildError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        let mut contents = Contents::new(directory.path());
        unpack(
            &path,
            &mut contents,
            limits,
            Stop::new(&AtomicBool::new(false)),
        )
    }

    fn refused(entries: &[Entry<'_>], limits: &Limits) -> UnpackError {
        match unpack_bytes(&archive(entries), limits) {
            Err(BuildError::Unpack(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_links_and_missing_directories() {
        let bytes = archive(&[
            Entry::File("a/b/c.txt", b"hi"),
            Entry::Link("a/link", "../a/b"),
        ]);
        let tree = unpack_bytes(&bytes, &Limits::default()).unwrap();
        let names: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c.txt", "a/link"]);
        let file = tree.get("a/b/c.txt").unwrap();
        assert_eq!(file.mode, 0o640);
        assert!(matches!(file.kind, Kind::File { size: 2, .. }));
        assert_eq!(tree.get("a").unwrap().mode, 0o755);
    }

    #[test]
    fn names_that_leave_are_refused() {
        for name in ["../x", "/x", "a/../../x", "a/../x", "a\\b", "C:x", "c:/x"] {
            let error = refused(&[Entry::File(name, b"")], &Limits::default());
            assert!(matches!(error, UnpackError::Name { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn links_that_leave_are_refused() {
        for target in ["/etc/passwd", "../x", "a/../../x", "..\\x"] {
            let error = refused(&[Entry::Link("link", target)], &Limits::default());
            assert!(
                matches!(error, UnpackError::LinkLeaves { .. }),
                "{target}: {error}"
            );
        }
        // `d` is the root by way of another link, so `d/..` is above it.
        let entries = [
            Entry::Link("x/d", ".."),
            Entry::Link("x/y/up", "../d/../out"),
        ];
        let error = refused(&entries, &Limits::default());
        assert!(matches!(error, UnpackError::LinkLeaves { .. }), "{error}");
    }

    #[test]
    fn nothing_is_written_through_a_link_or_a_file() {
        let through_link = [Entry::Link("d", "e"), Entry::File("d/x", b"")];
        let through_file = [Entry::File("d/x", b""), Entry::File("d", b"")];
        for entries in [&through_link, &through_file] {
            let error = refused(entries, &Limits::default());
            assert!(
                matches!(error, UnpackError::BelowNoDirectory { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn duplicates_are_refused() {
        let error = refused(
            &[Entry::File("a/b", b"1"), Entry::File("a//b", b"2")],
            &Limits::default(),
        );
        assert!(matches!(error, UnpackError::Duplicate { .. }), "{error}");
    }

    #[test]
    fn limits_hold_while_streaming() {
        let zeros = vec![0; 100_000];
        let entries = [Entry::File("a", &zeros), Entry::File("b", &zeros)];
        let with = |change: &dyn Fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            refused(&entries, &limits)
        };
        assert!(matches!(
            with(&|l| l.entries = 1),
            UnpackError::TooManyEntries { limit: 1 }
        ));
        assert!(matches!(
            with(&|l| l.total_bytes = 150_000),
            UnpackError::TooLarge { .. }
        ));
        assert!(matches!(
            with(&|l| l.entry_bytes = 99_999),
            UnpackError::EntryTooLarge { .. }
        ));
        let ratio = with(&|l| (l.ratio, l.ratio_from_bytes) = (10, 1000));
        assert!(matches!(ratio, UnpackError::Ratio { limit: 10, .. }));
        let long = [Entry::File("a/b/c", b"")];
        let deep = refused(
            &long,
            &Limits {
                path_depth: 2,
                ..Limits::default()
            },
        );
        assert!(matches!(
            deep,
            UnpackError::Name {
                reason: NameProblem::TooDeep,
                ..
            }
        ));
        let long = refused(
            &long,
            &Limits {
                path_bytes: 4,
                ..Limits::default()
            },
        );
        assert!(matches!(
            long,
            UnpackError::Name {
                reason: NameProblem::TooLong,
                ..
            }
        ));
    }

    #[test]
    fn declared_sizes_are_not_trusted() {
        // A content that is not what its headers say has a wrong checksum at the latest.
        let mut bytes = archive(&[Entry::File("a", &[7; 1000])]);
        let middle = bytes
            .windows(4)
            .position(|w| w == [b'P', b'K', 1, 2])
            .unwrap()
            - 1;
        bytes[middle] ^= 0xff;
        assert!(unpack_bytes(&bytes, &Limits::default()).is_err());
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in [b"".as_slice(), b"no zip at all", &[0; 4096]] {
            assert!(unpack_bytes(bytes, &Limits::default()).is_err());
        }
        let whole = archive(&[Entry::File("a", b"x")]);
        assert!(unpack_bytes(&whole[..whole.len() - 10], &Limits::default()).is_err());
    }

    #[test]
    fn stops_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.zip");
        std::fs::write(&path, archive(&[Entry::File("a", b"x")])).unwrap();
        let mut contents = Contents::new(directory.path());
        let stop = AtomicBool::new(true);
        let result = unpack(&path, &mut contents, &Limits::default(), Stop::new(&stop));
        assert!(matches!(result, Err(BuildError::Cancelled)));
    }

    proptest! {
        #[test]
        fn accepted_paths_stay_inside(raw in "[a-cA-C/.\\\\:\\x00ä]{0,24}") {
            if let Ok(path) = entry_path(raw.as_bytes(), &Limits::default()) {
                prop_assert!(!path.starts_with('/') && !path.is_empty());
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert!(!path.contains(['\\', '\0']));
            }
        }

        #[test]
        fn any_bytes_are_survived(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = entry_path(&raw, &Limits::default());
            let _ = unpack_bytes(&raw, &Limits::default());
        }
    }
}
