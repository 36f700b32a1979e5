//! Everything that can stop a scan or a packing.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::scan::FileEntry;
use crate::size::Size;

/// Why a directory could not be scanned or packed.
///
/// Paths of entries are relative to the packed directory, with `/` between their parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The path to pack does not exist.
    #[error("`{}` does not exist; name a directory to pack", path.display())]
    DirectoryNotFound {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// The path to pack is a file or something else that holds no files.
    #[error("`{}` is not a directory; name a directory to pack", path.display())]
    NotADirectory {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// An ignore file was named by an absolute path or lies outside or deeper than the directory.
    #[error(
        "the ignore file `{name}` must lie directly in the packed directory; name it relative to that directory"
    )]
    IgnoreFileOutside {
        /// The name as the caller gave it.
        name: String,
    },
    /// An ignore file that the caller named does not exist.
    #[error("the ignore file `{name}` does not exist in the packed directory")]
    IgnoreFileNotFound {
        /// The name as the caller gave it.
        name: String,
    },
    /// An ignore file could not be read.
    #[error("cannot read the ignore file `{name}`")]
    IgnoreFileUnreadable {
        /// The name as the caller gave it.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An ignore file is too large to be one.
    #[error("the ignore file `{name}` is larger than {}", Size(*limit))]
    IgnoreFileTooLarge {
        /// The name as the caller gave it.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A line of an ignore file is not a pattern.
    #[error("line {line} of the ignore file `{name}` is not a valid pattern: `{pattern}`")]
    IgnorePattern {
        /// The name of the ignore file.
        name: String,
        /// The line, counting from 1.
        line: usize,
        /// The line's text.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The patterns of all ignore files are too much to compile into one matcher.
    #[error("the patterns of the ignore files are too large to match together")]
    IgnorePatterns {
        /// What the matcher said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A file or directory could not be read.
    #[error("cannot read `{path}`; make it readable or exclude it with an ignore file")]
    Unreadable {
        /// The entry.
        path: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A symbolic link leads to nothing.
    #[error(
        "the symbolic link `{path}` leads to nothing; remove it or exclude it with an ignore file"
    )]
    BrokenLink {
        /// The link.
        path: String,
    },
    /// A symbolic link leads back to a directory that contains it.
    #[error("the symbolic link `{path}` leads back to `{}`, which contains it; remove it or exclude it with an ignore file", target.display())]
    Cycle {
        /// The link.
        path: String,
        /// The directory it leads to.
        target: PathBuf,
    },
    /// A socket, pipe or device, which an archive cannot hold.
    #[error("`{path}` is a {kind}, which cannot be packed; exclude it with an ignore file")]
    SpecialFile {
        /// The entry.
        path: String,
        /// What it is: `socket`, `named pipe`, `device`, `special file`.
        kind: &'static str,
    },
    /// A name that is not Unicode, which the platform could not show or unpack.
    #[error(
        "the name of `{path}` is not valid Unicode; rename it or exclude it with an ignore file"
    )]
    NameNotUnicode {
        /// The entry, with replacement characters.
        path: String,
    },
    /// More entries than any project has.
    #[error(
        "the directory holds more than {limit} entries; exclude what is not needed with an ignore file"
    )]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// A path is longer than a machine that unpacks the archive could open. A chain of links from directory
    /// to directory ends here.
    #[error(
        "the path `{}…` is longer than {limit} bytes; look for links that lead deeper and deeper, or exclude it with an ignore file",
        path.chars().take(100).collect::<String>()
    )]
    PathTooLong {
        /// The path.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller ended it ([`CancelFlag`](crate::CancelFlag)).
    #[error("packing was cancelled")]
    Cancelled,
    /// A file was changed by someone else between the scan and the end of its packing.
    #[error(
        "`{path}` {change} while it was being packed; pack again when nothing writes to the directory"
    )]
    Changed {
        /// The file.
        path: String,
        /// What happened to it.
        change: Change,
    },
    /// The archive would be larger than allowed.
    #[error("{}", SizeLimitText { limit: *limit, written: *written, largest })]
    SizeLimit {
        /// The limit in bytes.
        limit: u64,
        /// Compressed bytes so far when packing stopped.
        written: u64,
        /// The largest files of the directory, largest first; at most five.
        largest: Vec<FileEntry>,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write {
        /// What the writer or the archive format said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The archive's file could not be made or put in its place.
    #[error("cannot write the archive to `{}`", path.display())]
    Output {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// How a file changed while it was being packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It is gone.
    Vanished,
    /// It became longer or shorter.
    Size,
    /// It has the same length but was written again.
    Content,
    /// It is no longer a regular file.
    Kind,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vanished => "vanished",
            Self::Size => "changed its size",
            Self::Content => "was written to",
            Self::Kind => "became something other than a file",
        })
    }
}

struct SizeLimitText<'a> {
    limit: u64,
    written: u64,
    largest: &'a [FileEntry],
}

impl fmt::Display for SizeLimitText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the archive is over its limit of {} ({} bytes, compressed) after {} bytes",
            Size(self.limit),
            self.limit,
            self.written
        )?;
        for (position, file) in self.largest.iter().enumerate() {
            formatter.write_str(if position == 0 {
                "; the largest files are "
            } else {
                ", "
            })?;
            write!(formatter, "`{}` ({})", file.path, Size(file.size))?;
        }
        formatter.write_str("; exclude what is not needed with an ignore file")
    }
}
