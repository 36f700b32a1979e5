//! Which files of a directory go into the archive.

use std::collections::HashSet;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use crate::cancel::CancelFlag;
use crate::error::{Change, PackError};
use crate::ignore_rules::{Decision, IgnoreRules};
use crate::options::PackOptions;

/// Most entries a scan looks at. Links can multiply a small tree into an endless one without ever
/// making a cycle; this is where that ends.
pub const MAX_ENTRIES: usize = 1_000_000;

/// Longest path in an archive, in bytes: what Linux opens (`PATH_MAX` without the final zero). It bounds
/// how deep links can lead as well.
pub const MAX_PATH_LENGTH: usize = 4095;

/// One file that goes into the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEntry {
    /// Path relative to the packed directory, parts separated by `/`.
    pub path: String,
    /// Size in bytes, not compressed.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    pub(crate) modified: Option<SystemTime>,
    /// Where its bytes are, links resolved up to its directory.
    pub(crate) source: PathBuf,
}

/// The files that go into the archive, sorted by the bytes of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileList {
    /// The files.
    pub files: Vec<FileEntry>,
}

impl FileList {
    /// Size of all files together in bytes, not compressed.
    pub fn total(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The largest files, largest first.
    pub(crate) fn largest(&self, count: usize) -> Vec<FileEntry> {
        let mut files: Vec<&FileEntry> = self.files.iter().collect();
        files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        files.into_iter().take(count).cloned().collect()
    }
}

/// Lists what [`pack`](crate::pack) would put into the archive, without reading any file: the dry
/// run.
///
/// # Errors
/// Everything of [`PackError`] but what only reading and writing files can show.
pub fn scan(directory: &Path, options: &PackOptions) -> Result<FileList, PackError> {
    scan_without(directory, options, |_| false)
}

/// As [`scan`], leaving out the entries whose resolved path `left_out` knows: the archive itself
/// when it is written into the directory that it is made of.
pub(crate) fn scan_without(
    directory: &Path,
    options: &PackOptions,
    left_out: impl Fn(&Path) -> bool,
) -> Result<FileList, PackError> {
    let root = resolve_root(directory)?;
    let rules = IgnoreRules::read(&root, options)?;
    // What does not exist cannot be met; it is looked up now, since it may have come into being lately.
    let named = options.left_out.iter();
    let named: HashSet<PathBuf> = named
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect();
    let mut scanner = Scanner {
        cancel_flag: &options.cancel_flag,
        rules: &rules,
        left_out: |path: &Path| named.contains(path) || left_out(path),
        files: Vec::new(),
        pending: vec![Directory {
            relative: PathBuf::new(),
            decision: Decision::NONE,
            chain: Rc::new(Chain {
                resolved: root,
                parent: None,
            }),
        }],
        seen: 0,
    };
    while let Some(directory) = scanner.pending.pop() {
        scanner.read(&directory)?;
    }
    let mut files = scanner.files;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(FileList { files })
}

fn resolve_root(directory: &Path) -> Result<PathBuf, PackError> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(PackError::NotADirectory {
                path: directory.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PackError::DirectoryNotFound {
                path: directory.to_owned(),
            });
        }
        Err(source) => return Err(unreadable(directory, source)),
    }
    fs::canonicalize(directory).map_err(|source| unreadable(directory, source))
}

fn unreadable(path: &Path, source: io::Error) -> PackError {
    PackError::Unreadable {
        path: display_path(path),
        source,
    }
}

/// The path as errors show it: `/` between its parts, replacement characters where it is not
/// Unicode.
fn display_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.is_empty() {
        return ".".to_owned();
    }
    if std::path::MAIN_SEPARATOR == '/' {
        text.into_owned()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

/// A directory still to be read.
struct Directory {
    relative: PathBuf,
    decision: Decision,
    chain: Rc<Chain>,
}

/// A directory's resolved path and those of the directories through which it was reached.
struct Chain {
    resolved: PathBuf,
    parent: Option<Rc<Chain>>,
}

impl Chain {
    /// Whether following a link to `target` would lead to a directory of the chain again.
    fn comes_back_from(&self, target: &Path) -> bool {
        let mut link = Some(self);
        while let Some(chain) = link {
            if chain.resolved.starts_with(target) {
                return true;
            }
            link = chain.parent.as_deref();
        }
        false
    }
}

struct Scanner<'a, L> {
    cancel_flag: &'a CancelFlag,
    rules: &'a IgnoreRules,
    left_out: L,
    files: Vec<FileEntry>,
    pending: Vec<Directory>,
    seen: usize,
}

impl<L: Fn(&Path) -> bool> Scanner<'_, L> {
    fn read(&mut self, directory: &Directory) -> Result<(), PackError> {
        let failed = |source| unreadable(&directory.relative, source);
        for entry in fs::read_dir(&directory.chain.resolved).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if self.cancel_flag.is_cancelled() {
                return Err(PackError::Cancelled);
            }
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return Err(PackError::TooManyEntries { limit: MAX_ENTRIES });
            }
            self.visit(directory, &entry)?;
        }
        Ok(())
    }

    fn visit(&mut self, directory: &Directory, entry: &fs::DirEntry) -> Result<(), PackError> {
        let relative = directory.relative.join(entry.file_name());
        let source = directory.chain.resolved.join(entry.file_name());
        if (self.left_out)(&source) {
            return Ok(());
        }
        let own_type = entry
            .file_type()
            .map_err(|error| unreadable(&relative, error))?;
        // Whatever is ignored may be broken, unreadable or special, so problems wait for the
        // decision.
        let target = if own_type.is_symlink() {
            fs::metadata(&source)
        } else if own_type.is_dir() {
            return self.enter(directory, relative, source, false);
        } else {
            entry.metadata()
        };
        if target.as_ref().is_ok_and(Metadata::is_dir) {
            return self.enter(directory, relative, source, true);
        }
        let decision = self.rules.decide(directory.decision, &relative, false);
        if self.rules.excludes(decision) {
            return Ok(());
        }
        match target {
            Ok(metadata) => self.include(&relative, source, &metadata),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unreadable(&relative, error))
            }
            Err(_) if own_type.is_symlink() => Err(PackError::BrokenLink {
                path: display_path(&relative),
            }),
            Err(_) => Err(PackError::Changed {
                path: display_path(&relative),
                change: Change::Vanished,
            }),
        }
    }

    /// Notes a directory as one to read, unless nothing below it can be included.
    fn enter(
        &mut self,
        parent: &Directory,
        relative: PathBuf,
        source: PathBuf,
        is_link: bool,
    ) -> Result<(), PackError> {
        let decision = self.rules.decide(parent.decision, &relative, true);
        if self.rules.excludes_all_below(decision) {
            return Ok(());
        }
        check_length(&relative)?;
        let resolved = if is_link {
            let target = fs::canonicalize(&source).map_err(|error| unreadable(&relative, error))?;
            if parent.chain.comes_back_from(&target) {
                return Err(PackError::Cycle {
                    path: display_path(&relative),
                    target,
                });
            }
            if (self.left_out)(&target) {
                return Ok(());
            }
            target
        } else {
            source
        };
        self.pending.push(Directory {
            relative,
            decision,
            chain: Rc::new(Chain {
                resolved,
                parent: Some(Rc::clone(&parent.chain)),
            }),
        });
        Ok(())
    }

    fn include(
        &mut self,
        relative: &Path,
        source: PathBuf,
        metadata: &Metadata,
    ) -> Result<(), PackError> {
        if !metadata.is_file() {
            return Err(PackError::SpecialFile {
                path: display_path(relative),
                kind: kind_of_special(metadata.file_type()),
            });
        }
        if relative.to_str().is_none() {
            return Err(PackError::NameNotUnicode {
                path: display_path(relative),
            });
        }
        check_length(relative)?;
        self.files.push(FileEntry {
            path: display_path(relative),
            size: metadata.len(),
            executable: is_executable(metadata),
            modified: metadata.modified().ok(),
            source,
        });
        Ok(())
    }
}

fn check_length(relative: &Path) -> Result<(), PackError> {
    if relative.as_os_str().len() > MAX_PATH_LENGTH {
        return Err(PackError::PathTooLong {
            path: display_path(relative),
            limit: MAX_PATH_LENGTH,
        });
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn kind_of_special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "special file"
    }
}

#[cfg(not(unix))]
fn kind_of_special(_: FileType) -> &'static str {
    "special file"
}
