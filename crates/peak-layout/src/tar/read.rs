//! Where each file of an archive is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::walk::{Extent, Named, Names, Step, Walk, not_tar};
use super::{BEGINNING, BLOCK, BLOCK_SIZE, Files, padded};
use crate::archive_error::ArchiveError;
use crate::{LayoutError, positioned};

/// How much is compared at a time where a name comes twice.
const COMPARED: usize = 64 * 1024;

/// An open archive, and where each of its files is. Its content was not looked at.
#[derive(Debug)]
pub(crate) struct TarIndex {
    path: PathBuf,
    file: Arc<File>,
    names: Names,
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
        let mut reader = Reader {
            path,
            file: &file,
            length,
            position: 0,
            names: Names::default(),
        };
        reader.all()?;
        let names = reader.names;
        Ok(Self {
            path: path.to_path_buf(),
            file: Arc::new(file),
            names,
        })
    }

    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
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
}

impl Files for TarIndex {
    fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        self.names.file(name).map_err(|error| self.error(error))
    }

    fn resolve(&self, name: &str) -> Result<Option<Extent>, LayoutError> {
        self.names.resolve(name).map_err(|error| self.error(error))
    }

    fn content(&self, name: &str, extent: Extent, limit: u64) -> Result<Vec<u8>, LayoutError> {
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

    fn beginning(&self, extent: Extent) -> Result<Vec<u8>, LayoutError> {
        let count = usize::try_from(extent.size).map_or(BEGINNING, |size| size.min(BEGINNING));
        let mut content = vec![0; count];
        self.fill(&mut content, extent.offset)?;
        Ok(content)
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    position: u64,
    names: Names,
}

impl Reader<'_> {
    fn all(&mut self) -> Result<(), LayoutError> {
        let mut walk = Walk::default();
        loop {
            let at = self.position;
            let block = self.block()?;
            let step = walk.block(&block, at).map_err(|error| self.error(error))?;
            match step {
                Step::End => return self.end(),
                Step::Folder => {}
                Step::Extension(kind, size) => {
                    let content = self.extension(size)?;
                    walk.extend(kind, content, at)
                        .map_err(|error| self.error(error))?;
                }
                Step::File(name, size) => {
                    let offset = self.skip(size)?;
                    self.insert(name, Named::File(Extent { offset, size }))?;
                }
                Step::Link(name, target) => self.insert(name, Named::Link(target))?,
            }
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK_SIZE], LayoutError> {
        let mut block = [0; BLOCK_SIZE];
        let count = positioned::read(self.file, &mut block, self.position)
            .map_err(LayoutError::reading(self.path))?;
        if count < block.len() {
            return Err(self.error(if self.position == 0 {
                not_tar(&block)
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
    fn extension(&mut self, size: usize) -> Result<Vec<u8>, LayoutError> {
        let begin = self.skip(size as u64)?;
        let mut content = vec![0; size];
        let count = positioned::read(self.file, &mut content, begin)
            .map_err(LayoutError::reading(self.path))?;
        if count < content.len() {
            return Err(self.error(ArchiveError::Truncated));
        }
        Ok(content)
    }

    fn insert(&mut self, name: String, entry: Named) -> Result<(), LayoutError> {
        let Some(earlier) = self.names.insert(name.clone(), entry.clone()) else {
            return Ok(());
        };
        let same = match (earlier, entry) {
            (Named::File(earlier), Named::File(entry)) => self.are_equal(earlier, entry)?,
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

    fn error(&self, source: ArchiveError) -> LayoutError {
        LayoutError::Archive {
            path: self.path.to_path_buf(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use tar::{EntryType, Header};

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
}
