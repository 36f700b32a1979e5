//! Where each file of an archive is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::{EntryType, Header, PaxExtensions};

use super::{BLOCK, BLOCK_SIZE, padded};
use crate::archive_error::ArchiveError;
use crate::{LayoutError, positioned};

/// How many entries an archive may have; an image has hundreds.
const MAX_ENTRIES: usize = 100_000;
/// How long a name may be, in bytes.
const MAX_NAME: usize = 4096;
/// How many bytes all names may have together.
const MAX_NAMES: usize = 16 * 1024 * 1024;
/// How much may stand before an entry to extend its header, in bytes.
const MAX_EXTENSION: u64 = 64 * 1024;
/// How many links may lead from one to the next.
const MAX_LINKS: usize = 8;
/// How much is compared at a time where a name comes twice.
const COMPARED: usize = 64 * 1024;

/// Beginnings of files that hold a compressed archive.
const COMPRESSED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
];

/// Where the content of a file is within an archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File(Extent),
    /// What it leads to, as a name within the archive; `None` where that is outside.
    Link(Option<String>),
}

/// An open archive, and where each of its files is. Its content was not looked at.
#[derive(Debug)]
pub(crate) struct TarIndex {
    path: PathBuf,
    file: Arc<File>,
    entries: HashMap<String, Entry>,
}

impl TarIndex {
    /// Reads all headers.
    pub(crate) fn open(path: &Path) -> Result<Self, LayoutError> {
        // Looked at before it is opened: opening a named pipe would wait for ever.
        let metadata = fs::metadata(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                LayoutError::NoArchive {
                    path: path.to_path_buf(),
                }
            } else {
                LayoutError::reading(path)(error)
            }
        })?;
        if !metadata.is_file() {
            return Err(LayoutError::NotAFile {
                path: path.to_path_buf(),
            });
        }
        let file = File::open(path).map_err(LayoutError::reading(path))?;
        let length = file.metadata().map_err(LayoutError::reading(path))?.len();
        let mut walk = Walk {
            path,
            file: &file,
            length,
            position: 0,
            names: 0,
            entries: HashMap::new(),
        };
        walk.all()?;
        let entries = walk.entries;
        Ok(Self {
            path: path.to_path_buf(),
            file: Arc::new(file),
            entries,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The file of that name; links are not followed.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        match self.entries.get(name) {
            None => Ok(None),
            Some(Entry::File(extent)) => Ok(Some(*extent)),
            Some(Entry::Link(_)) => Err(self.error(ArchiveError::Link {
                name: name.to_owned(),
            })),
        }
    }

    /// The file of that name, also where the name is that of a link to another file of the archive.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        let mut at = inside("", name);
        for _ in 0..=MAX_LINKS {
            let Some(known) = at.as_deref() else {
                return Err(self.error(ArchiveError::Link {
                    name: name.to_owned(),
                }));
            };
            match self.entries.get(known) {
                None => return Ok(None),
                Some(Entry::File(extent)) => return Ok(Some(*extent)),
                Some(Entry::Link(target)) => at.clone_from(target),
            }
        }
        Err(self.error(ArchiveError::Link {
            name: name.to_owned(),
        }))
    }

    /// The content of a small file.
    pub(crate) fn content(
        &self,
        name: &str,
        extent: Extent,
        limit: u64,
    ) -> Result<Vec<u8>, LayoutError> {
        let size = usize::try_from(extent.size)
            .ok()
            .filter(|_| extent.size <= limit);
        let Some(size) = size else {
            return Err(LayoutError::TooLarge {
                path: self.within(name),
                limit,
            });
        };
        let mut content = vec![0; size];
        self.fill(&mut content, extent.offset)?;
        Ok(content)
    }

    /// The first bytes of a file, at most `count`.
    pub(crate) fn beginning(&self, extent: Extent, count: usize) -> Result<Vec<u8>, LayoutError> {
        let count = usize::try_from(extent.size).map_or(count, |size| size.min(count));
        let mut content = vec![0; count];
        self.fill(&mut content, extent.offset)?;
        Ok(content)
    }

    fn fill(&self, content: &mut [u8], offset: u64) -> Result<(), LayoutError> {
        let count = positioned::read(&self.file, content, offset)
            .map_err(LayoutError::reading(&self.path))?;
        if count == content.len() {
            Ok(())
        } else {
            Err(self.error(ArchiveError::Truncated))
        }
    }

    /// A name for errors about a file of the archive.
    pub(crate) fn within(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn error(&self, source: ArchiveError) -> LayoutError {
        LayoutError::Archive {
            path: self.path.clone(),
            source,
        }
    }
}

/// The name that `name` is when it is said in the folder `base`; `None` where that leaves the archive.
fn inside(base: &str, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What stood before an entry to extend its header.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

struct Walk<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    position: u64,
    /// Bytes of all names.
    names: usize,
    entries: HashMap<String, Entry>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), LayoutError> {
        self.refuse_compressed()?;
        let mut extension = Extension::default();
        let mut count = 0;
        loop {
            let at = self.position;
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                return self.end();
            }
            count += 1;
            if count > MAX_ENTRIES {
                return Err(self.error(ArchiveError::TooMany { limit: MAX_ENTRIES }));
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(self.error(if at == 0 {
                    ArchiveError::NotTar
                } else {
                    ArchiveError::Header { offset: at }
                }));
            }
            let kind = header.entry_type();
            if matches!(
                kind,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            ) {
                let content = self.extension(header, at)?;
                self.extend(&mut extension, kind, content, at)?;
            } else {
                let extension = std::mem::take(&mut extension);
                self.entry(header, extension, at)?;
            }
        }
    }

    fn refuse_compressed(&self) -> Result<(), LayoutError> {
        let mut first = [0; 6];
        let count =
            positioned::read(self.file, &mut first, 0).map_err(LayoutError::reading(self.path))?;
        let first = first.get(..count).unwrap_or_default();
        match COMPRESSED
            .iter()
            .find(|(magic, _)| first.starts_with(magic))
        {
            Some((_, how)) => Err(self.error(ArchiveError::Compressed { how })),
            None => Ok(()),
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK_SIZE], LayoutError> {
        let mut block = [0; BLOCK_SIZE];
        let count = positioned::read(self.file, &mut block, self.position)
            .map_err(LayoutError::reading(self.path))?;
        if count < block.len() {
            return Err(self.error(if self.position == 0 {
                ArchiveError::NotTar
            } else {
                ArchiveError::Truncated
            }));
        }
        self.position += BLOCK;
        Ok(block)
    }

    /// After one empty block there is another or nothing; what follows both is not looked at, as `tar` does it.
    fn end(&mut self) -> Result<(), LayoutError> {
        if self.position >= self.length {
            return Ok(());
        }
        let at = self.position;
        if self.block()?.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(self.error(ArchiveError::Header { offset: at }))
        }
    }

    /// Steps over content that has to be within the file.
    fn skip(&mut self, size: u64) -> Result<u64, LayoutError> {
        let begin = self.position;
        let end = begin
            .checked_add(size)
            .filter(|end| *end <= self.length)
            .and_then(|_| padded(size)?.checked_add(begin));
        match end {
            Some(end) => {
                self.position = end;
                Ok(begin)
            }
            None => Err(self.error(ArchiveError::Truncated)),
        }
    }

    /// The content of an entry that extends the next one's header.
    fn extension(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, LayoutError> {
        let size = self.size(header, at)?;
        if size > MAX_EXTENSION {
            return Err(self.error(ArchiveError::LongName {
                limit: MAX_NAME,
                offset: at,
            }));
        }
        let begin = self.skip(size)?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        let count = positioned::read(self.file, &mut content, begin)
            .map_err(LayoutError::reading(self.path))?;
        if count < content.len() {
            return Err(self.error(ArchiveError::Truncated));
        }
        Ok(content)
    }

    fn extend(
        &self,
        extension: &mut Extension,
        kind: EntryType,
        mut content: Vec<u8>,
        at: u64,
    ) -> Result<(), LayoutError> {
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                if let Some(end) = content.iter().position(|byte| *byte == 0) {
                    content.truncate(end);
                }
                if kind == EntryType::GNULongName {
                    extension.name = Some(content);
                } else {
                    extension.link = Some(content);
                }
            }
            _ => {
                for record in PaxExtensions::new(&content) {
                    let record = record.map_err(|_| self.header(at))?;
                    let key = record.key_bytes();
                    let global = kind == EntryType::XGlobalHeader;
                    match key {
                        b"path" | b"linkpath" | b"size" if global => {
                            return Err(self.header(at));
                        }
                        b"path" => extension.name = Some(record.value_bytes().to_vec()),
                        b"linkpath" => extension.link = Some(record.value_bytes().to_vec()),
                        b"size" => {
                            let size = record.value().ok().and_then(|text| text.parse().ok());
                            extension.size = Some(size.ok_or_else(|| self.header(at))?);
                        }
                        key if key.starts_with(b"GNU.sparse.") => {
                            return Err(self.error(ArchiveError::Kind {
                                what: "a file with holes",
                                offset: at,
                            }));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extension: Extension, at: u64) -> Result<(), LayoutError> {
        let size = match extension.size {
            Some(size) => size,
            None => self.size(header, at)?,
        };
        let name = extension
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let is_folder = name.ends_with(b"/");
        let name = self.name(name, at)?;
        let Some(place) = inside("", &name).filter(|_| !climbs(&name)) else {
            return Err(self.error(ArchiveError::Outside { name }));
        };
        let entry = match header.entry_type() {
            EntryType::Directory => return self.no_content(size, at),
            EntryType::Regular if is_folder => return self.no_content(size, at),
            EntryType::Regular => {
                let offset = self.skip(size)?;
                Entry::File(Extent { offset, size })
            }
            kind @ (EntryType::Symlink | EntryType::Link) => {
                self.no_content(size, at)?;
                let target = extension
                    .link
                    .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default();
                let target = self.name(target, at)?;
                let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
                // A hard link names an entry, a symbolic link leads on from where it stands.
                let base = if kind == EntryType::Link { "" } else { folder };
                Entry::Link(inside(base, &target))
            }
            kind => {
                let what = match kind {
                    EntryType::Fifo => "a named pipe",
                    EntryType::Char | EntryType::Block => "a device",
                    EntryType::GNUSparse => "a file with holes",
                    _ => "of an unknown kind",
                };
                return Err(self.error(ArchiveError::Kind { what, offset: at }));
            }
        };
        self.insert(place, entry)
    }

    fn insert(&mut self, name: String, entry: Entry) -> Result<(), LayoutError> {
        self.names = self.names.saturating_add(name.len());
        if self.names > MAX_NAMES {
            return Err(self.error(ArchiveError::TooMany { limit: MAX_ENTRIES }));
        }
        let Some(earlier) = self.entries.get(&name) else {
            self.entries.insert(name, entry);
            return Ok(());
        };
        let same = match (earlier, &entry) {
            (Entry::File(earlier), Entry::File(entry)) => self.are_equal(*earlier, *entry)?,
            (earlier, entry) => earlier == entry,
        };
        // Which of two different ones is meant, different tools see differently.
        if same {
            Ok(())
        } else {
            Err(self.error(ArchiveError::Duplicate { name }))
        }
    }

    fn are_equal(&self, one: Extent, other: Extent) -> Result<bool, LayoutError> {
        if one.size != other.size {
            return Ok(false);
        }
        let mut buffers = (vec![0; COMPARED], vec![0; COMPARED]);
        let mut done = 0;
        while done < one.size {
            let count =
                usize::try_from(one.size - done).map_or(COMPARED, |rest| rest.min(COMPARED));
            let (Some(first), Some(second)) =
                (buffers.0.get_mut(..count), buffers.1.get_mut(..count))
            else {
                return Ok(false);
            };
            for (buffer, extent) in [(&mut *first, one), (&mut *second, other)] {
                let read = positioned::read(self.file, buffer, extent.offset + done)
                    .map_err(LayoutError::reading(self.path))?;
                if read < count {
                    return Err(self.error(ArchiveError::Truncated));
                }
            }
            if first != second {
                return Ok(false);
            }
            done += count as u64;
        }
        Ok(true)
    }

    fn no_content(&self, size: u64, at: u64) -> Result<(), LayoutError> {
        // Tools differ in whether content follows a folder or a link, so it must have none.
        if size == 0 {
            Ok(())
        } else {
            Err(self.header(at))
        }
    }

    fn size(&self, header: &Header, at: u64) -> Result<u64, LayoutError> {
        header.entry_size().map_err(|_| self.header(at))
    }

    fn name(&self, name: Vec<u8>, at: u64) -> Result<String, LayoutError> {
        if name.len() > MAX_NAME {
            return Err(self.error(ArchiveError::LongName {
                limit: MAX_NAME,
                offset: at,
            }));
        }
        String::from_utf8(name).map_err(|_| self.header(at))
    }

    fn header(&self, offset: u64) -> LayoutError {
        self.error(ArchiveError::Header { offset })
    }

    fn error(&self, source: ArchiveError) -> LayoutError {
        LayoutError::Archive {
            path: self.path.to_path_buf(),
            source,
        }
    }
}

/// Whether a name has `..` in it. It is refused even where it stays inside: nobody writes such names who means well.
fn climbs(name: &str) -> bool {
    name.split('/').any(|part| part == "..")
}

/// The sum of all bytes of a header, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK_SIZE]) -> u32 {
    block
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            if (148..156).contains(&place) {
                u32::from(b' ')
            } else {
                u32::from(*byte)
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(bytes: &[u8]) -> TarIndex {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        TarIndex::open(file.path()).unwrap()
    }

    fn content(index: &TarIndex, name: &str) -> Vec<u8> {
        let extent = index.resolve(name).unwrap().unwrap();
        index.content(name, extent, 100).unwrap()
    }

    #[test]
    fn what_the_tar_crate_writes_is_found() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = format!("a/{}/{}", "b".repeat(150), "c".repeat(200));
        let mut names = vec!["short".to_owned(), "folder/file".to_owned(), long.clone()];
        for mut header in [Header::new_gnu(), Header::new_ustar(), Header::new_old()] {
            let name = format!("file-{}", names.len());
            header.set_size(name.len() as u64);
            builder
                .append_data(&mut header, &name, name.as_bytes())
                .unwrap();
            names.push(name);
        }
        for name in &names[..3] {
            let mut header = Header::new_gnu();
            header.set_size(name.len().min(50) as u64);
            builder
                .append_data(&mut header, name, &name.as_bytes()[..name.len().min(50)])
                .unwrap();
        }
        let mut link = Header::new_gnu();
        link.set_entry_type(EntryType::Symlink);
        link.set_size(0);
        let target = format!("../{long}");
        builder.append_link(&mut link, "x/link", &target).unwrap();
        let mut hard = Header::new_gnu();
        hard.set_entry_type(EntryType::Link);
        hard.set_size(0);
        builder.append_link(&mut hard, "y/hard", "x/link").unwrap();
        builder
            .append_pax_extensions([("path", "from/pax".as_bytes()), ("mtime", b"1.5")])
            .unwrap();
        let mut header = Header::new_ustar();
        header.set_size(3);
        header.set_entry_type(EntryType::Regular);
        header.set_path("not this").unwrap();
        header.set_cksum();
        builder.append(&header, &b"pax"[..]).unwrap();
        let index = index(&builder.into_inner().unwrap());

        for name in &names {
            assert_eq!(content(&index, name), name.as_bytes()[..name.len().min(50)]);
        }
        assert_eq!(content(&index, "x/link"), long.as_bytes()[..50]);
        assert_eq!(content(&index, "y/hard"), long.as_bytes()[..50]);
        assert_eq!(content(&index, "./from//pax"), b"pax");
        assert!(index.resolve("not this").unwrap().is_none());
        assert!(index.file("x/link").is_err());
        assert!(index.resolve("../x/link").is_err());
    }

    #[test]
    fn names_are_said_from_where_they_stand() {
        for (base, name, expected) in [
            ("", "a/b", Some("a/b")),
            ("", "./a//b/", Some("a/b")),
            ("a/b", "../c", Some("a/c")),
            ("a", "../../c", None),
            ("a", "/c", None),
            ("", "..", None),
        ] {
            assert_eq!(inside(base, name).as_deref(), expected, "{base} {name}");
        }
    }
}
