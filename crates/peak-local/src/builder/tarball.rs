//! Reading tar archives entry by entry, with bounds on what describes an entry.
//!
//! The `tar` crate's own handling of long names reads them whole into memory, however long an
//! archive says they are, so its raw entries are used and the extensions are read here.

use std::io::{self, BufWriter, Read, Write as _};

use tar::EntryType;

use super::contents::Contents;
use super::error::BuildError;
use super::path;
use super::stop::{self, CopyError};
use super::tree::{Content, Owner};

/// The largest extension of an entry that is read, in bytes.
const MAX_EXTENSION: u64 = 64 * 1024;

/// How much may follow the end of an archive, in bytes: archives are filled up to whole records.
const MAX_PADDING: u64 = 1024 * 1024;

/// The size of a tar block, in bytes.
pub(crate) const BLOCK: usize = 512;

/// An entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Never empty, never leaving the root.
    pub path: String,
    pub kind: MemberKind,
    pub mode: u32,
    pub owner: Owner,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemberKind {
    Directory,
    File {
        size: u64,
    },
    Symlink {
        target: String,
    },
    /// Another name of the file at this path.
    HardLink {
        target: String,
    },
    Special,
}

/// Why an archive cannot be read to its end.
#[derive(Debug)]
pub(crate) enum TarError {
    Read(io::Error),
    Malformed(String),
    /// The visitor's own error.
    Visit(BuildError),
}

impl From<BuildError> for TarError {
    fn from(error: BuildError) -> Self {
        Self::Visit(error)
    }
}

/// What extensions say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
}

/// Calls `visit` with each entry and a reader of its content.
pub(crate) fn read(
    reader: impl Read,
    mut visit: impl FnMut(Member, &mut dyn Read) -> Result<(), TarError>,
) -> Result<(), TarError> {
    let mut archive = tar::Archive::new(reader);
    let mut extensions = Extensions::default();
    for entry in archive.entries().map_err(TarError::Read)?.raw(true) {
        let mut entry = entry.map_err(TarError::Read)?;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::GNULongName => extensions.path = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => extensions.link = Some(long_name(&mut entry)?),
            EntryType::XHeader => pax(&extension(&mut entry)?, &mut extensions)?,
            _ => {
                let member = member(entry.header(), std::mem::take(&mut extensions))?;
                if let Some(member) = member {
                    visit(member, &mut entry)?;
                }
            }
        }
    }
    drain(&mut archive.into_inner())
}

/// Saves the content of a member.
pub(crate) fn save(reader: &mut dyn Read, contents: &mut Contents) -> Result<Content, TarError> {
    let write = |error| TarError::Visit(BuildError::disk("write a file of a layer")(error));
    let (number, file) = contents.create().map_err(write)?;
    let mut writer = BufWriter::new(file);
    match stop::copy(reader, &mut writer, |_| Ok::<(), TarError>(())) {
        Ok(_) => {}
        Err(CopyError::Read(error)) => return Err(TarError::Read(error)),
        Err(CopyError::Write(error)) => return Err(write(error)),
        Err(CopyError::Refused(error)) => return Err(error),
    }
    writer.flush().map_err(write)?;
    Ok(Content::Disk(number))
}

/// Reads what follows the end of the archive, so that a compression round it gets to check its sum.
fn drain(rest: &mut impl Read) -> Result<(), TarError> {
    let count =
        io::copy(&mut rest.take(MAX_PADDING + 1), &mut io::sink()).map_err(TarError::Read)?;
    if count > MAX_PADDING {
        return Err(TarError::Malformed("it goes on after its end".to_owned()));
    }
    Ok(())
}

/// Whether a block is the header of a tar entry.
pub(crate) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else {
        return false;
    };
    if block.iter().all(|byte| *byte == 0) {
        return false;
    }
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            if (148..156).contains(&index) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    header.cksum().is_ok_and(|stated| stated == sum)
}

fn extension(entry: &mut impl Read) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    entry
        .take(MAX_EXTENSION + 1)
        .read_to_end(&mut bytes)
        .map_err(TarError::Read)?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(TarError::Malformed(
            "an entry has a name that is too long".to_owned(),
        ));
    }
    Ok(bytes)
}

fn long_name(entry: &mut impl Read) -> Result<Vec<u8>, TarError> {
    let mut name = extension(entry)?;
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

fn pax(bytes: &[u8], extensions: &mut Extensions) -> Result<(), TarError> {
    for record in tar::PaxExtensions::new(bytes) {
        let record = record.map_err(TarError::Read)?;
        let number = || {
            record
                .value()
                .ok()
                .and_then(|value| value.parse().ok())
                .ok_or_else(|| {
                    TarError::Malformed("an entry has an extension that is no number".to_owned())
                })
        };
        match record.key_bytes() {
            b"path" => extensions.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => extensions.link = Some(record.value_bytes().to_vec()),
            b"size" => extensions.size = Some(number()?),
            b"uid" => extensions.user = Some(number()?),
            b"gid" => extensions.group = Some(number()?),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(TarError::Malformed("it has sparse files".to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn member(header: &tar::Header, extensions: Extensions) -> Result<Option<Member>, TarError> {
    let raw = extensions
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let name = text(raw)?;
    let path = inside(&name)?;
    if path.is_empty() {
        return Ok(None);
    }
    let size = header.entry_size().map_err(TarError::Read)?;
    if extensions.size.is_some_and(|stated| stated != size) {
        return Err(TarError::Malformed(format!(
            "{path:?} is larger than its header can say"
        )));
    }
    let link = || {
        text(
            extensions
                .link
                .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
        )
    };
    let kind = match header.entry_type() {
        EntryType::Directory => MemberKind::Directory,
        // Archives from before there were types.
        EntryType::Regular if name.ends_with('/') => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous => MemberKind::File { size },
        EntryType::Symlink => MemberKind::Symlink { target: link()? },
        EntryType::Link => MemberKind::HardLink {
            target: inside(&link()?)?,
        },
        EntryType::GNUSparse => {
            return Err(TarError::Malformed("it has sparse files".to_owned()));
        }
        _ => MemberKind::Special,
    };
    let identity = |stated: Option<u64>, own: io::Result<u64>| {
        let number = match stated {
            Some(number) => number,
            None => own.map_err(TarError::Read)?,
        };
        u32::try_from(number)
            .map_err(|_| TarError::Malformed(format!("{path:?} has no usable owner")))
    };
    let owner = Owner {
        user: identity(extensions.user, header.uid())?,
        group: identity(extensions.group, header.gid())?,
    };
    let mode = header.mode().map_err(TarError::Read)? & 0o7777;
    Ok(Some(Member {
        path,
        kind,
        mode,
        owner,
    }))
}

fn text(bytes: Vec<u8>) -> Result<String, TarError> {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(TarError::Malformed(
            "it has a name that is not UTF-8".to_owned(),
        )),
    }
}

/// Names in archives are taken from the root; those that climb are refused.
fn inside(name: &str) -> Result<String, TarError> {
    let refused = || TarError::Malformed(format!("{name:?} leaves the archive"));
    if name.split('/').any(|component| component == "..") {
        return Err(refused());
    }
    path::resolve("", name).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    fn header(kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(8);
        header
    }

    fn members(bytes: &[u8]) -> Result<Vec<Member>, TarError> {
        let mut members = Vec::new();
        read(bytes, |member, _| {
            members.push(member);
            Ok(())
        })?;
        Ok(members)
    }

    #[test]
    fn long_names_and_links_are_read() {
        let long = format!("{}/file", "d".repeat(150));
        let bytes = archive(|builder| {
            builder
                .append_data(&mut header(EntryType::Regular, 2), &long, &b"hi"[..])
                .unwrap();
            let mut link = header(EntryType::Symlink, 0);
            builder.append_link(&mut link, "./link", &long).unwrap();
            builder
                .append_pax_extensions([("path", b"pax/name".as_slice()), ("uid", b"99")])
                .unwrap();
            builder
                .append_data(&mut header(EntryType::Regular, 0), "x", &b""[..])
                .unwrap();
        });
        let members = members(&bytes).unwrap();
        assert_eq!(members[0].path, long);
        assert_eq!(members[0].kind, MemberKind::File { size: 2 });
        assert_eq!(
            (members[1].path.as_str(), &members[1].kind),
            ("link", &MemberKind::Symlink { target: long })
        );
        assert_eq!(
            (members[2].path.as_str(), members[2].owner.user),
            ("pax/name", 99)
        );
        assert!(is_header(&bytes));
        assert!(!is_header(&[0; BLOCK]));
        assert!(!is_header(b"short"));
    }

    #[test]
    fn names_that_climb_are_refused() {
        let bytes = archive(|builder| {
            let mut header = header(EntryType::Regular, 0);
            header.as_gnu_mut().unwrap().name[..4].copy_from_slice(b"../x");
            header.set_cksum();
            builder.append(&header, &b""[..]).unwrap();
        });
        assert!(matches!(members(&bytes), Err(TarError::Malformed(_))));
    }

    #[test]
    fn endless_names_are_refused() {
        let bytes = archive(|builder| {
            let name = vec![b'a'; 100_000];
            let mut header = header(EntryType::GNULongName, name.len() as u64);
            header.set_cksum();
            builder.append(&header, name.as_slice()).unwrap();
        });
        assert!(matches!(members(&bytes), Err(TarError::Malformed(_))));
    }
}
