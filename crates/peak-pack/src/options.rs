//! What the caller can choose.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::cancel::CancelFlag;

/// Largest archive in bytes unless the caller says otherwise: 10 MiB, what the platform takes.
pub const DEFAULT_SIZE_LIMIT: u64 = 10 * 1024 * 1024;

/// The ignore file that is read when none is named, if it exists.
pub const DEFAULT_IGNORE_FILE: &str = ".dockerignore";

/// How a directory is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackOptions {
    pub(crate) ignore_files: Vec<String>,
    pub(crate) size_limit: u64,
    pub(crate) left_out: Vec<PathBuf>,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) cancel_flag: CancelFlag,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            ignore_files: Vec::new(),
            size_limit: DEFAULT_SIZE_LIMIT,
            left_out: Vec::new(),
            threads: None,
            cancel_flag: CancelFlag::new(),
        }
    }
}

impl PackOptions {
    /// `.dockerignore` if there is one, and a limit of [`DEFAULT_SIZE_LIMIT`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The ignore files to read, in order, as paths relative to the packed directory; each must lie
    /// directly in it and exist. None named means [`DEFAULT_IGNORE_FILE`] if it exists.
    #[must_use]
    pub fn ignore_files<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.ignore_files = names.into_iter().map(Into::into).collect();
        self
    }

    /// Files and directories that do not go in whatever the ignore files say, such as places that a later step
    /// writes to. They may lie anywhere and need not exist.
    #[must_use]
    pub fn leave_out<I>(mut self, paths: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<PathBuf>,
    {
        self.left_out.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The largest archive in bytes, compressed and with all its headers.
    #[must_use]
    pub fn size_limit(mut self, bytes: u64) -> Self {
        self.size_limit = bytes;
        self
    }

    /// How many threads compress, the calling one included; all processors that this process may use
    /// unless this is called. The archive is the same for any number.
    #[must_use]
    pub fn threads(mut self, count: NonZeroUsize) -> Self {
        self.threads = Some(count);
        self
    }

    /// What ends the packing, or the scan, from another thread. Clones of these options share it.
    #[must_use]
    pub fn cancel_flag(mut self, flag: &CancelFlag) -> Self {
        self.cancel_flag = flag.clone();
        self
    }
}
