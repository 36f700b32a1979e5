//! Why an uploaded zip is refused.

use std::io;

/// Why an artifact is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UnpackError {
    #[error("the artifact is not a zip archive that can be read: {reason}")]
    Archive { reason: String },
    #[error("the artifact could not be read")]
    Read {
        #[source]
        source: io::Error,
    },
    #[error("the artifact's file {name:?} cannot be read: {reason}")]
    Entry { name: String, reason: String },
    #[error("the artifact has the entry {name:?}, which is refused: {reason}")]
    Name { name: String, reason: NameProblem },
    #[error("the artifact has {name:?} twice")]
    Duplicate { name: String },
    #[error("the artifact has two entries of the same name")]
    DuplicateNames,
    #[error("the artifact has the symbolic link {name:?}, which points out of it")]
    LinkLeaves { name: String },
    #[error("the artifact has {name:?} below {parent:?}, which is no directory")]
    BelowNoDirectory { name: String, parent: String },
    #[error(
        "the artifact has {name:?}, which is neither a file, nor a directory, nor a symbolic link"
    )]
    SpecialFile { name: String },
    #[error("the artifact has more than {limit} entries")]
    TooManyEntries { limit: usize },
    #[error("the artifact's files have more than {limit} bytes together")]
    TooLarge { limit: u64 },
    #[error("the artifact's file {name:?} has more than {limit} bytes")]
    EntryTooLarge { name: String, limit: u64 },
    #[error("the artifact's file {name:?} grows more than {limit} times when it is unpacked")]
    Ratio { name: String, limit: u64 },
}

/// What is wrong with the name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NameProblem {
    #[error("it is empty")]
    Empty,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it has a NUL character")]
    Nul,
    #[error("it is an absolute path")]
    Absolute,
    #[error("it leaves the artifact's directory")]
    Leaves,
    #[error("it has a backslash")]
    Backslash,
    #[error("it starts with a drive letter")]
    Drive,
    #[error("it is too long")]
    TooLong,
    #[error("it is nested too deeply")]
    TooDeep,
}
