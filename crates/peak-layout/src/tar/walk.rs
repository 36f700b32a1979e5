//! What a header says, and what an archive may consist of. No I/O: whoever reads gives the blocks.

use std::collections::HashMap;

use tar::{EntryType, Header, PaxExtensions};

use super::BLOCK_SIZE;
use crate::archive_error::ArchiveError;

/// How many entries an archive may have; an image has hundreds.
const MAX_ENTRIES: usize = 100_000;
/// How long a name may be, in bytes.
const MAX_NAME: usize = 4096;
/// How many bytes all names may have together.
const MAX_NAMES: usize = 16 * 1024 * 1024;
/// How much may stand before an entry to extend its header, in bytes.
const MAX_EXTENSION: usize = 64 * 1024;
/// How many links may lead from one to the next.
const MAX_LINKS: usize = 8;

/// Beginnings of files that hold a compressed archive.
const COMPRESSED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
];

/// Where the content of a file is within an archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// What a block turned out to be.
#[derive(Debug)]
pub(crate) enum Step {
    /// Content of so many bytes follows that [extends](Walk::extend) the header after it.
    Extension(ExtensionKind, usize),
    /// A file of so many bytes, which follow.
    File(String, u64),
    /// A link, and what it leads to as a name within the archive; `None` where that is outside.
    Link(String, Option<String>),
    /// Nothing that has content or is of use.
    Folder,
    /// An empty block: there follows another one, or nothing.
    End,
}

/// How content extends a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtensionKind(EntryType);

/// What stood before an entry to extend its header.
#[derive(Debug, Default)]
struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// From header to header.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    entries: usize,
    /// Bytes of all names.
    names: usize,
    extension: Extension,
}

impl Walk {
    /// Understands a block that stands where a header has to be. `at` is where, in bytes.
    pub(crate) fn block(
        &mut self,
        block: &[u8; BLOCK_SIZE],
        at: u64,
    ) -> Result<Step, ArchiveError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Step::End);
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(ArchiveError::TooMany { limit: MAX_ENTRIES });
        }
        let header = Header::from_byte_slice(block);
        if header.cksum().ok() != Some(checksum(block)) {
            return Err(if at == 0 {
                not_tar(block)
            } else {
                ArchiveError::Header { offset: at }
            });
        }
        let kind = header.entry_type();
        if matches!(
            kind,
            EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XHeader
                | EntryType::XGlobalHeader
        ) {
            let size = usize::try_from(size(header, at)?).unwrap_or(usize::MAX);
            if size > MAX_EXTENSION {
                return Err(ArchiveError::LongName {
                    limit: MAX_NAME,
                    offset: at,
                });
            }
            return Ok(Step::Extension(ExtensionKind(kind), size));
        }
        let extension = std::mem::take(&mut self.extension);
        self.entry(header, extension, at)
    }

    /// Takes in the content of an extension whose header stood `at`.
    pub(crate) fn extend(
        &mut self,
        kind: ExtensionKind,
        mut content: Vec<u8>,
        at: u64,
    ) -> Result<(), ArchiveError> {
        let ExtensionKind(kind) = kind;
        let invalid = || ArchiveError::Header { offset: at };
        let extension = &mut self.extension;
        if matches!(kind, EntryType::GNULongName | EntryType::GNULongLink) {
            if let Some(end) = content.iter().position(|byte| *byte == 0) {
                content.truncate(end);
            }
            if kind == EntryType::GNULongName {
                extension.name = Some(content);
            } else {
                extension.link = Some(content);
            }
            return Ok(());
        }
        for record in PaxExtensions::new(&content) {
            let record = record.map_err(|_| invalid())?;
            let key = record.key_bytes();
            let global = kind == EntryType::XGlobalHeader;
            match key {
                b"path" | b"linkpath" | b"size" if global => return Err(invalid()),
                b"path" => extension.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => extension.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|text| text.parse().ok());
                    extension.size = Some(size.ok_or_else(invalid)?);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(ArchiveError::Kind {
                        what: "a file with holes",
                        offset: at,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        extension: Extension,
        at: u64,
    ) -> Result<Step, ArchiveError> {
        let size = match extension.size {
            Some(size) => size,
            None => size(header, at)?,
        };
        // Tools differ in whether content follows a folder or a link, so it must have none.
        let no_content = || match size {
            0 => Ok(()),
            _ => Err(ArchiveError::Header { offset: at }),
        };
        let name = extension
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let is_folder = name.ends_with(b"/");
        let name = text(name, at)?;
        let Some(place) = inside("", &name).filter(|_| !climbs(&name)) else {
            return Err(ArchiveError::Outside { name });
        };
        self.names = self.names.saturating_add(place.len());
        if self.names > MAX_NAMES {
            return Err(ArchiveError::TooMany { limit: MAX_ENTRIES });
        }
        match header.entry_type() {
            EntryType::Directory => no_content().map(|()| Step::Folder),
            EntryType::Regular if is_folder => no_content().map(|()| Step::Folder),
            EntryType::Regular => Ok(Step::File(place, size)),
            kind @ (EntryType::Symlink | EntryType::Link) => {
                no_content()?;
                let target = extension
                    .link
                    .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default();
                let target = text(target, at)?;
                let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
                // A hard link names an entry, a symbolic link leads on from where it stands.
                let base = if kind == EntryType::Link { "" } else { folder };
                let target = inside(base, &target);
                Ok(Step::Link(place, target))
            }
            kind => {
                let what = match kind {
                    EntryType::Fifo => "a named pipe",
                    EntryType::Char | EntryType::Block => "a device",
                    EntryType::GNUSparse => "a file with holes",
                    _ => "of an unknown kind",
                };
                Err(ArchiveError::Kind { what, offset: at })
            }
        }
    }
}

/// What an archive is that does not begin like one.
pub(crate) fn not_tar(beginning: &[u8]) -> ArchiveError {
    match COMPRESSED
        .iter()
        .find(|(magic, _)| beginning.starts_with(magic))
    {
        Some((_, how)) => ArchiveError::Compressed { how },
        None => ArchiveError::NotTar,
    }
}

/// What the entries of an archive are called.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: HashMap<String, Named>,
}

/// What has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    File(Extent),
    /// What it leads to, as a name within the archive; `None` where that is outside.
    Link(Option<String>),
}

impl Names {
    /// Takes an entry in; gives back what had the name before.
    pub(crate) fn insert(&mut self, name: String, entry: Named) -> Option<Named> {
        self.entries.insert(name, entry)
    }

    /// The file of that name; links are not followed.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Extent>, ArchiveError> {
        match self.entries.get(name) {
            None => Ok(None),
            Some(Named::File(extent)) => Ok(Some(*extent)),
            Some(Named::Link(_)) => Err(ArchiveError::Link {
                name: name.to_owned(),
            }),
        }
    }

    /// The file of that name, also where the name is that of a link to another file of the archive.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<Extent>, ArchiveError> {
        let nowhere = || ArchiveError::Link {
            name: name.to_owned(),
        };
        let mut at = inside("", name);
        for _ in 0..=MAX_LINKS {
            match self.entries.get(at.as_deref().ok_or_else(nowhere)?) {
                None => return Ok(None),
                Some(Named::File(extent)) => return Ok(Some(*extent)),
                Some(Named::Link(target)) => at.clone_from(target),
            }
        }
        Err(nowhere())
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

/// Whether a name has `..` in it. It is refused even where it stays inside: nobody writes such names who means well.
fn climbs(name: &str) -> bool {
    name.split('/').any(|part| part == "..")
}

fn size(header: &Header, at: u64) -> Result<u64, ArchiveError> {
    header
        .entry_size()
        .map_err(|_| ArchiveError::Header { offset: at })
}

fn text(name: Vec<u8>, at: u64) -> Result<String, ArchiveError> {
    if name.len() > MAX_NAME {
        return Err(ArchiveError::LongName {
            limit: MAX_NAME,
            offset: at,
        });
    }
    String::from_utf8(name).map_err(|_| ArchiveError::Header { offset: at })
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
