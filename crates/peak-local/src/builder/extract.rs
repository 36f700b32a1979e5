//! The archives of `ADD`: what is one, and what is in it.

use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::contents::{ContentNumber, Contents};
use super::copy::Item;
use super::error::{BuildError, Fault, Problem};
use super::limits::Limits;
use super::path;
use super::stop::Stop;
use super::stored_layers::{GZIP_MAGIC, ZSTD_MAGIC};
use super::tarball::{self, Member, MemberKind, TarError};
use super::tree::{Content, Kind, Node, Tree};

/// What was in an archive among the sources.
pub(crate) struct Extracted {
    /// What the archive is called in a destination directory.
    name: String,
    /// The path that a person may see.
    shown: String,
    tree: Tree,
}

impl Extracted {
    /// All that was in it, to be copied.
    pub(crate) fn item(&self) -> Item<'_> {
        Item {
            tree: &self.tree,
            path: String::new(),
            name: self.name.clone(),
            shown: self.shown.clone(),
        }
    }
}

/// Takes the archives of one build apart.
#[derive(Default)]
pub(crate) struct Extractor {
    /// Of all archives so far.
    bytes: u64,
}

impl Extractor {
    /// Takes the archives out of the items and gives what is in them.
    pub(crate) fn extract(
        &mut self,
        items: &mut Vec<Item<'_>>,
        contents: &mut Contents,
        limits: &Limits,
        stop: Stop<'_>,
    ) -> Result<Vec<Extracted>, Fault> {
        let mut extracted = Vec::new();
        let mut others = Vec::new();
        for item in items.drain(..) {
            let content = match item.node().map(|node| &node.kind) {
                Some(Kind::File {
                    content: Content::Disk(number),
                    ..
                }) => Some(*number),
                _ => None,
            };
            let tree = match content {
                Some(number) => self.archive(number, &item.shown, contents, limits, stop)?,
                None => None,
            };
            match tree {
                Some(tree) => extracted.push(Extracted {
                    name: item.name,
                    shown: item.shown,
                    tree,
                }),
                None => others.push(item),
            }
        }
        *items = others;
        Ok(extracted)
    }

    /// What is in an archive; `None` if the file is none.
    fn archive(
        &mut self,
        number: ContentNumber,
        shown: &str,
        contents: &mut Contents,
        limits: &Limits,
        stop: Stop<'_>,
    ) -> Result<Option<Tree>, Fault> {
        let open = |contents: &Contents| {
            contents
                .open(number)
                .map_err(BuildError::disk("read an unpacked file"))
        };
        let mut head = Vec::new();
        open(contents)?
            .take(tarball::BLOCK as u64)
            .read_to_end(&mut head)
            .map_err(BuildError::disk("read an unpacked file"))?;
        if let Some(format) = foreign_compression(&head) {
            return Err(Problem::ArchiveFormat {
                path: shown.to_owned(),
                format,
            }
            .into());
        }
        let compressed = head.starts_with(GZIP_MAGIC);
        if compressed {
            head.clear();
            // What does not decompress is no archive, but a file like others.
            let decoder = MultiGzDecoder::new(BufReader::new(open(contents)?));
            if decoder
                .take(tarball::BLOCK as u64)
                .read_to_end(&mut head)
                .is_err()
            {
                return Ok(None);
            }
        }
        if !tarball::is_header(&head) {
            return Ok(None);
        }
        let reader = BufReader::new(stop.watch(open(contents)?));
        let reader: Box<dyn Read> = if compressed {
            Box::new(MultiGzDecoder::new(reader))
        } else {
            Box::new(reader)
        };
        let mut extraction = Extraction {
            tree: Tree::default(),
            limits,
            count: 0,
            bytes: self.bytes,
        };
        let result = tarball::read(reader, |member, reader| {
            extraction.add(member, reader, contents)
        });
        self.bytes = extraction.bytes;
        stop.check()?;
        let malformed = |reason| Problem::Archive {
            path: shown.to_owned(),
            reason,
        };
        match result {
            Ok(()) => Ok(Some(extraction.tree)),
            Err(TarError::Visit(error)) => Err(error.into()),
            Err(TarError::Malformed(reason)) => Err(malformed(reason).into()),
            Err(TarError::Read(error)) => Err(malformed(error.to_string()).into()),
        }
    }
}

/// Compressions that Docker would undo and this builder cannot.
fn foreign_compression(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        _ if head.starts_with(ZSTD_MAGIC) => Some("zstd"),
        _ => None,
    }
}

/// Taking a tar of the artifact apart.
struct Extraction<'a> {
    tree: Tree,
    limits: &'a Limits,
    count: usize,
    bytes: u64,
}

impl Extraction<'_> {
    fn add(
        &mut self,
        member: Member,
        reader: &mut dyn Read,
        contents: &mut Contents,
    ) -> Result<(), TarError> {
        let Member {
            path,
            kind,
            mode,
            owner,
        } = member;
        let refuse = |reason: String| Err(TarError::Malformed(reason));
        self.count += 1;
        if self.count > self.limits.entries {
            return refuse(format!("it has more than {} entries", self.limits.entries));
        }
        if path.len() > self.limits.path_bytes
            || path::components(&path).count() > self.limits.path_depth
        {
            return refuse("it has a path that is too long".to_owned());
        }
        for parent in path::ancestors(&path) {
            if self
                .tree
                .get(parent)
                .is_some_and(|node| !node.is_directory())
            {
                return refuse(format!(
                    "{path:?} is below {parent:?}, which is no directory"
                ));
            }
        }
        let kind = match kind {
            MemberKind::Directory => Kind::Directory,
            MemberKind::Symlink { target } if !target.is_empty() => Kind::Symlink { target },
            MemberKind::Symlink { .. } => return refuse(format!("{path:?} is a link to nothing")),
            MemberKind::File { size } => {
                // The reader gives no more than the size, so this holds for what is written too.
                self.bytes = self.bytes.saturating_add(size);
                if size > self.limits.entry_bytes || self.bytes > self.limits.total_bytes {
                    return refuse("it is too large when it is extracted".to_owned());
                }
                Kind::File {
                    size,
                    content: tarball::save(reader, contents)?,
                }
            }
            MemberKind::HardLink { target } => match self.tree.get(&target) {
                Some(Node {
                    kind: kind @ Kind::File { .. },
                    ..
                }) => kind.clone(),
                _ => return refuse(format!("{path:?} is a link to nothing")),
            },
            MemberKind::Special => Kind::Special,
        };
        self.tree.insert_parents(&path);
        self.tree.insert(&path, Node { kind, mode, owner });
        if self.tree.len() > self.limits.entries {
            return refuse(format!("it has more than {} entries", self.limits.entries));
        }
        Ok(())
    }
}
